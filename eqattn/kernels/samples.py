"""Elements of stabilizers, and matrices of fields at them, in float64 whatever jax's setting."""

import contextlib
import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from eqattn.fields import FieldType, Term
from eqattn.groups.base import LieGroup, unstack
from eqattn.spaces.base import Space
from eqattn.typing import Float

NUM_SAMPLES = 4
NUM_STARTS = 24
_POOL = 64
_STEPS = 60
_CLOSE = 1e-11


@contextlib.contextmanager
def constants_in_float64() -> Iterator[None]:
    """Computes at once and in float64, also while a function is traced."""
    with jax.ensure_compile_time_eval(), jax.enable_x64(True):
        yield


def term_matrices(
    space: Space, term: Term, elements: np.ndarray, points: np.ndarray | None = None
) -> Float[np.ndarray, "S r r"]:
    """ρ(u) of one field, or with a gauge ρ of what u is at a point; call it in float64.

    Args:
      space: Where the field lives.
      term: The field.
      elements: Elements u [S E].
      points: Point that they act at; the origin of the space by default.
    """
    single = FieldType((term._replace(multiplicity=1),))
    single.check(space)

    @jax.jit
    def columns(elements: jax.Array, points: jax.Array | None) -> jax.Array:
        units = jnp.eye(term.size(space))
        return single.transform(space, elements[:, None], units, points=points)

    at = None if points is None else jnp.asarray(points)
    return np.swapaxes(np.asarray(columns(jnp.asarray(elements), at)), -1, -2)


@functools.lru_cache(maxsize=64)
def stabilizer_samples(space: Space) -> Float[np.ndarray, "S E"]:
    """Some Haar samples of the stabilizer of the origin that generate it, as far as it matters.

    Two random elements of a connected compact group generate it up to closure. Of a group with
    reflections elements of each combination of parities are among them.
    """
    with constants_in_float64():
        stabilizer = space.stabilizer
        sample = jax.jit(lambda key: stabilizer.sample(key, (_POOL,), jnp.float64))
        chosen = _covering(stabilizer, np.asarray(sample(jax.random.key(11))))
        return np.asarray(jax.jit(space.embed_stabilizer)(jnp.asarray(chosen)))


def _covering(group: LieGroup, pool: np.ndarray) -> np.ndarray:
    """The first samples, and the first two of each combination of parities."""
    parities = [np.asarray(p) for p in group.parity_components(unstack(jnp.asarray(pool)))]
    patterns = [tuple(float(p[i]) for p in parities) for i in range(len(pool))]
    chosen = list(range(NUM_SAMPLES))
    for pattern in dict.fromkeys(patterns):
        chosen += [i for i, other in enumerate(patterns) if other == pattern][:2]
    return pool[sorted(set(chosen))]


Point = tuple[float, ...]


@functools.lru_cache(maxsize=256)
def keeper_matrices(
    space: Space, term: Term, query: Point, key: Point, *, at_key: bool
) -> Float[np.ndarray, "S r r"]:
    """Matrices of one field at one of two points, by the elements that keep both.

    Args:
      space: Where the field lives.
      term: The field.
      query: The first point.
      key: The second point.
      at_key: Whether the field is at the second point.
    """
    with constants_in_float64():
        keepers = pair_stabilizer(space, query, key)
        return term_matrices(space, term, keepers, np.array(key if at_key else query))


@functools.lru_cache(maxsize=64)
def pair_stabilizer(space: Space, query: Point, key: Point) -> Float[np.ndarray, "S E"]:
    """Elements that keep two points, found by Gauss-Newton from elements that keep the first.

    They are found where the first point is the origin of its orbit, and moved back.

    Args:
      space: Where the points live.
      query: A point.
      key: Another, or the same.

    Raises:
      ValueError: For points that are too close, or too far apart, to find these elements.
    """
    with constants_in_float64():
        group, section = space.group, space.section(jnp.asarray(query))
        back = group.inverse(section)
        points = space.act(back[None], jnp.stack([jnp.asarray(query), jnp.asarray(key)]))
        scale = jnp.maximum(1.0, jnp.abs(points).max())
        elements = _keepers(space, points[0])

        def miss(element: jax.Array, algebra: jax.Array) -> jax.Array:
            moved = group.compose(group.exp(algebra), element)
            return (space.act(moved[None], points) - points).ravel()

        def step(element: jax.Array) -> jax.Array:
            zero = jnp.zeros(group.algebra_dim)
            value = miss(element, zero)
            slope = jax.jacfwd(functools.partial(miss, element))(zero)
            algebra = -jnp.linalg.pinv(slope, rtol=1e-5) @ value
            length = jnp.linalg.norm(slope @ algebra) / scale
            return group.compose(group.exp(algebra / jnp.maximum(1.0, length)), element)

        if group.algebra_dim:
            repeated = functools.partial(
                jax.lax.fori_loop, 0, _STEPS, lambda _, y: jax.vmap(step)(y)
            )
            elements = jax.jit(repeated)(elements)
        zero = jnp.zeros(group.algebra_dim)
        misses = jax.vmap(lambda x: jnp.abs(miss(x, zero)).max(initial=0.0))(elements)
        found = misses < _CLOSE * scale
        if jnp.sum(found) < NUM_STARTS / 2:
            raise ValueError(
                "query_point and key_point must be neither too close nor too far apart to find "
                f"the elements of {group} that keep both, got {query} and {key}"
            )
        moved = group.compose(group.compose(section, elements[found]), back)
        return np.asarray(moved)


def _keepers(space: Space, point: jax.Array) -> jax.Array:
    """Elements that keep a point: the identity, and samples of its stabilizer."""
    group, keys = space.group, jax.random.split(jax.random.key(13), NUM_STARTS)
    section = space.section(point)
    if space.stabilizer.is_compact:
        samples = jnp.stack([space.sample_stabilizer(key, point) for key in keys])
    else:
        samples = space.embed_stabilizer(
            space.stabilizer.sample(keys[0], (NUM_STARTS,), jnp.float64)
        )
    kept = group.compose(group.compose(section, samples), group.inverse(section))
    return jnp.concatenate([group.identity((1,), kept.dtype), kept])
