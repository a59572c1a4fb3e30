"""Public checks of groups and spaces: does a class of your own keep the laws of its interface?

:func:`check_group` and :func:`check_space` draw elements and points and raise an ``AssertionError``
that names the first law that fails. The library's own groups and spaces are tested by the same
laws, at hard samples besides: :func:`group_laws` and :func:`space_laws` take the samples and return
all errors.
"""

import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from eqattn.groups import LieGroup, Product
from eqattn.groups.base import stack, unstack
from eqattn.spaces.base import Space
from eqattn.typing import Array, Components, DType, Float, Key

TOLERANCES = {"float64": 1e-10, "float32": 2e-6}
"""Bounds on |error| / max(1, |values|)."""

NUM = 32
"""Samples that a check draws."""

NEARBY = 1e-3
"""How far from an element its embedding must have moved by no more than 20 times that."""


def check_group(
    group: LieGroup,
    *,
    key: Key[Array, ""] | None = None,
    dtype: DType = float,
    tolerance: float | None = None,
) -> None:
    """Raises an AssertionError unless a group keeps its laws at random elements.

    Checks :func:`group_laws`, and that values, first and second derivatives of every formula are
    finite at the identity and at the random elements.

    Args:
      group: any group; random elements come from its ``sample_bounded``.
      key: for the draws; ``jax.random.key(0)`` by default.
      dtype: of the draws.
      tolerance: bound on errors relative to the values; by default 1e-10 in float64 and 2e-6 in
        float32.

    Raises:
      AssertionError: for the first law that fails, with its error.
      ValueError: if ``tolerance`` is needed for another dtype.

    >>> from eqattn.groups import SE
    >>> check_group(SE(2))
    """
    key = jax.random.key(0) if key is None else key
    keys = jax.random.split(key, 7)
    elements = [group.sample_bounded(k, (NUM,), dtype) for k in keys[:3]]
    algebra, small = (_in_unit_ball(k, group.algebra_dim, dtype) for k in keys[3:5])
    points = _in_unit_ball(keys[5], group.point_dim, dtype)
    # Equal elements, and an identity, are samples like others.
    elements[0] = elements[0].at[0].set(group.identity((), dtype))
    elements[1] = elements[1].at[:4].set(elements[0][:4])
    algebra, small = algebra.at[0].set(0.0), small.at[0].set(0.0)
    g, h, k = elements
    laws = group_laws(group, g, h, k, algebra, small, points)
    _raise_first(str(group), laws, dtype, tolerance)
    _check_finite(str(group), _formulas(group, elements, algebra, points))


def check_space(
    space: Space,
    *,
    key: Key[Array, ""] | None = None,
    dtype: DType = float,
    tolerance: float | None = None,
) -> None:
    """Raises an AssertionError unless a space keeps its laws at random points.

    Checks :func:`space_laws`, and that values, first and second derivatives of the section, the
    orbit invariants and the squared distance are finite at the origin and at the random points.
    Check its group first, by :func:`check_group`.

    Args:
      space: any space; random points come from its ``sample_points``.
      key: for the draws; ``jax.random.key(0)`` by default.
      dtype: of the draws.
      tolerance: as of :func:`check_group`.

    Raises:
      AssertionError: for the first law that fails, with its error.
      ValueError: if ``tolerance`` is needed for another dtype.

    >>> from eqattn.groups import SO
    >>> from eqattn.spaces import euclidean
    >>> check_space(euclidean(SO(2)))
    """
    key = jax.random.key(0) if key is None else key
    keys = jax.random.split(key, 6)
    points, others = (space.sample_points(k, (NUM,), dtype) for k in keys[:2])
    points = points.at[0].set(jnp.asarray(space.origin(), points.dtype))
    others = others.at[:4].set(points[:4])
    u = space.group.sample_bounded(keys[2], (NUM,), dtype)
    h = [space.stabilizer.sample_bounded(k, (NUM,), dtype) for k in keys[3:5]]
    laws = space_laws(space, points, others, u, h[0], h[1], keys[5])
    _raise_first(str(space), laws, dtype, tolerance)
    _check_finite(str(space), _maps(space, points, others))


def group_laws(
    group: LieGroup,
    g: Float[Array, "N E"],
    h: Float[Array, "N E"],
    k: Float[Array, "N E"],
    algebra: Float[Array, "N A"],
    small: Float[Array, "N A"],
    points: Float[Array, "N D"],
) -> dict[str, np.ndarray]:
    """Errors [N] of every law of a group at given samples, relative to max(1, |values|).

    Args:
      group: the group, whose action on R^D is affine.
      g: elements.
      h: elements.
      k: elements.
      algebra: Lie-algebra coordinates.
      small: the same, with rotations of less than a half-turn, where log inverts exp.
      points: points of R^D.
    """
    close, act = relative_error, group.act
    compose, inverse = group.compose, group.inverse
    identity = group.identity(g.shape[:-1], g.dtype)
    gh, g_inverse = compose(g, h), inverse(g)
    kg, kh = compose(k, g), compose(k, h)
    matrix, distance = _wide(group.matrix), _wide(group.distance)
    linear, linear_h = _wide(group.linear_matrix)(g), _wide(group.linear_matrix)(h)
    adjoint, adjoint_h = _wide(group.adjoint)(g), _wide(group.adjoint)(h)
    eye = np.broadcast_to(np.eye(linear.shape[-1]), linear.shape)
    moved_by = group.exp(algebra)
    conjugate = compose(compose(g, moved_by), g_inverse)
    there_and_back = _moduli(group, g, g_inverse)
    turned = jnp.asarray(_apply(adjoint, algebra), algebra.dtype)
    d_gh, zero = distance(g, h), np.zeros(len(g))
    size = np.maximum(1.0, d_gh)
    moved, start = act(g, points), act(g, jnp.zeros_like(points))
    shift = _apply(linear, points) * _stretch(group, g)
    laws = {
        "associativity": close(compose(gh, k), compose(g, compose(h, k)), g, h, k),
        "left identity": close(compose(identity, g), g),
        "right identity": close(compose(g, identity), g),
        "left inverse": close(
            matrix(compose(g_inverse, g)), matrix(identity), _moduli(group, g_inverse, g)
        ),
        "right inverse": close(matrix(compose(g, g_inverse)), matrix(identity), there_and_back),
        "inverse of a product": close(inverse(gh), compose(inverse(h), g_inverse), g, h),
        "matrix of a product": close(matrix(gh), matrix(g) @ matrix(h), g, h),
        "action of a product": close(act(gh, points), act(g, act(h, points)), g, h, points),
        "action of the identity": close(act(identity, points), points),
        "linear part of the action": close(np.asarray(moved) - start, shift, g, moved),
        "linear matrix of a product": close(group.linear_matrix(gh), linear @ linear_h, g, h),
        "determinant": close(group.determinant(g), np.sign(np.linalg.det(linear))),
        "log-scale of a product": close(
            group.log_scale(gh), np.asarray(group.log_scale(g)) + group.log_scale(h)
        ),
        "adjoint": close(
            matrix(conjugate), matrix(group.exp(turned)), _moduli(group, g, moved_by, g_inverse)
        ),
        "adjoint of a product": close(group.adjoint(gh), adjoint @ adjoint_h, g, h),
        "exp of log": close(matrix(group.exp(group.log(g))) @ _component(group, g), matrix(g)),
        "log of exp": close(group.log(group.exp(small)), small),
        "distance of the same": close(distance(g, g), zero, there_and_back),
        "distance symmetric": close(distance(h, g), d_gh, g, h),
        "distance left-invariant": close(
            distance(kg, kh), d_gh, k, _moduli(group, inverse(kg), kh), _moduli(group, g_inverse, h)
        ),
        "triangle inequality": np.maximum(distance(g, k) - d_gh - distance(h, k), 0.0) / size,
        "embedding injective": np.maximum(0.05 * np.minimum(d_gh, 1.0) - _chord(group, g, h), 0.0),
        "embedding continuous": _jump(group, g, algebra),
    }
    if group.is_orthogonal:
        laws["linear matrix orthogonal"] = close(linear @ np.swapaxes(linear, -1, -2), eye)
    return laws


def space_laws(
    space: Space,
    points: Float[Array, "N D"],
    others: Float[Array, "N D"],
    u: Float[Array, "N E"],
    h: Float[Array, "N _"],
    h_other: Float[Array, "N _"],
    key: Key[Array, ""],
) -> dict[str, np.ndarray]:
    """Errors [N] of every law of a space at given samples, relative to max(1, |values|).

    Args:
      space: the space.
      points: points that can be lifted.
      others: the same.
      u: group elements.
      h: elements of the stabilizer, as a group of its own.
      h_other: the same.
      key: for samples of the stabilizer, where it is compact.
    """
    close, act, group = relative_error, space.act, space.group
    compose, inverse, matrix = group.compose, group.inverse, _wide(group.matrix)
    identity = group.identity(points.shape[:-1], points.dtype)
    origin = jnp.broadcast_to(jnp.asarray(space.origin(), points.dtype), points.shape)
    section, section_other = space.section(points), space.section(others)
    moved = act(u, points)
    section_moved = space.section(moved)
    back = _moduli(group, inverse(section), section)
    around = _moduli(group, inverse(section_moved), u, section)
    # The origin of the orbit of each point: section(x) takes it to x.
    base = act(inverse(section), points)
    cocycle = compose(inverse(section_moved), compose(u, section))
    inside, inside_other = space.embed_stabilizer(h), space.embed_stabilizer(h_other)
    both = space.embed_stabilizer(space.stabilizer.compose(h, h_other))
    pair = compose(inverse(section), section_other)
    between = compose(compose(inside, pair), inside_other)
    laws = {
        "action of a product": close(
            act(compose(u, section_other), points), act(u, act(section_other, points)), u, moved
        ),
        "action of the identity": close(act(identity, points), points),
        "section of the origin": close(matrix(space.section(origin)), matrix(identity)),
        "one origin for an orbit": close(act(inverse(section_moved), moved), base, around),
        "orbit invariants": close(
            space.orbit_invariants(moved), space.orbit_invariants(points), moved
        ),
        "cocycle in the stabilizer": close(act(cocycle, base), base, around),
        "stabilizer keeps the origin": close(act(inside, origin), origin),
        "stabilizer of a product": close(
            matrix(both), matrix(inside) @ matrix(inside_other), inside, inside_other
        ),
        "double coset": close(_double_coset(space, between), _double_coset(space, pair), between),
    }
    if space.num_orbit_invariants == 0:
        laws["one orbit"] = close(base, origin, back)
    if space.section_is_normal:
        same = jnp.broadcast_to(u[:1], u.shape)
        alike = matrix(compose(inverse(space.section(act(same, points))), compose(same, section)))
        laws["normal section"] = close(alike, np.broadcast_to(alike[:1], alike.shape), section)
    if space.stabilizer.is_compact:
        samples = jax.vmap(space.sample_stabilizer)(jax.random.split(key, len(points)), points)
        laws["samples keep the origin"] = close(act(samples, base), base, back)
        laws |= _distance_laws(space, points, others, inside, inside_other)
    return laws


def _distance_laws(
    space: Space, points: Array, others: Array, inside: Array, inside_other: Array
) -> dict[str, np.ndarray]:
    """Laws of the distance between points, as a function of pairs of lifted elements."""
    compose, inverse = space.group.compose, space.group.inverse
    g, k = space.section(points), space.section(others)
    query, key = (unstack(space.orbit_invariants(x)) for x in (points, others))

    def distance(g: Array, k: Array, query: Components, key: Components) -> np.ndarray:
        pair = unstack(compose(inverse(g), k))
        found = space.base_distance_components(pair, query, key)
        return np.broadcast_to(np.asarray(found, np.float64), len(g))

    found = distance(g, k, query, key)
    apart = np.max(np.abs(np.asarray(points) - np.asarray(others)), axis=-1) > 0.1
    return {
        "distance of any lift": relative_error(
            distance(compose(g, inside), compose(k, inside_other), query, key), found, g, k
        ),
        "distance symmetric": relative_error(distance(k, g, key, query), found, g, k),
        "distance of the same": relative_error(
            distance(g, g, query, query), 0.0 * found, _moduli(space.group, inverse(g), g)
        ),
        "distance of others": np.where(apart & (found < 1e-3), 1.0, 0.0),
    }


def relative_error(found, expected, *magnitudes) -> np.ndarray:
    """Largest |found - expected| over the last axes, per sample, over max(1, |values|).

    In numpy and float64: the arithmetic of the comparison adds no error and compiles nothing.
    """

    def largest(x):
        x = np.asarray(x, np.float64)
        return np.max(np.abs(x), axis=tuple(range(1, x.ndim)), initial=0.0)

    scale = functools.reduce(np.maximum, [largest(x) for x in (expected, *magnitudes)])
    difference = np.asarray(found, np.float64) - np.asarray(expected, np.float64)
    return largest(difference) / np.maximum(1.0, scale)


def _wide(function: Callable[..., Array]) -> Callable[..., np.ndarray]:
    """The function with results in float64, so that what follows rounds no more."""
    return lambda *arguments: np.asarray(function(*arguments), np.float64)


def _apply(matrices: np.ndarray, vectors: Array) -> np.ndarray:
    return (matrices @ np.asarray(vectors, np.float64)[..., None])[..., 0]


def _moduli(group: LieGroup, *elements: Array) -> np.ndarray:
    """Product of the moduli of matrices: as large as what rounds in the product of elements."""
    return functools.reduce(np.matmul, [np.abs(_wide(group.matrix)(g)) for g in elements])


def _stretch(group: LieGroup, g: Array) -> np.ndarray:
    """Factors [N D] by which the action stretches each coordinate of space."""
    if not isinstance(group, Product):
        scale = np.exp(np.asarray(group.log_scale(g), np.float64))
        return np.repeat(scale[:, None], group.point_dim, axis=-1)
    ends = np.cumsum([factor.element_dim for factor in group.factors])[:-1].tolist()
    parts = zip(group.factors, jnp.split(g, ends, axis=-1), strict=True)
    return np.concatenate([_stretch(factor, part) for factor, part in parts], axis=-1)


def _component(group: LieGroup, g: Array) -> np.ndarray:
    """Matrices of what is left of elements beside exp(log g): 1, or one element for each parity."""
    rest = group.matrix(group.compose(group.inverse(group.exp(group.log(g))), g))
    rest = np.array(rest, np.float64)
    parities = stack(group.parity_components(unstack(g)), g.shape[:-1], g.dtype)
    signs, index = np.unique(np.asarray(parities), axis=0, return_inverse=True)
    for number, sign in enumerate(signs):
        alike = index.reshape(-1) == number
        rest[alike] = np.eye(rest.shape[-1]) if np.all(sign > 0) else rest[alike][0]
    return rest


def _chord(group: LieGroup, g: Array, h: Array) -> np.ndarray:
    return np.linalg.norm(_wide(group.embedding)(g) - _wide(group.embedding)(h), axis=-1)


def _jump(group: LieGroup, g: Array, algebra: Array) -> np.ndarray:
    """How much further than 20 times a small step the embedding moves, over the step."""
    step = NEARBY * np.maximum(1.0, np.linalg.norm(algebra, axis=-1))
    moved = group.compose(g, group.exp(NEARBY * algebra))
    return np.maximum(_chord(group, g, moved) / step - 20.0, 0.0)


def _double_coset(space: Space, pair: Array) -> Array:
    return stack(space.double_coset_components(unstack(pair)), pair.shape[:-1], pair.dtype)


def _in_unit_ball(key: Array, size: int, dtype: DType) -> Array:
    vectors = jax.random.normal(key, (NUM, size), dtype)
    return vectors / jnp.maximum(1.0, jnp.linalg.norm(vectors, axis=-1, keepdims=True))


def _formulas(
    group: LieGroup, elements: list[Array], algebra: Array, points: Array
) -> dict[str, tuple]:
    """The formulas of a group over components, each with arguments."""
    g, h, a, p = (unstack(x) for x in (*elements[:2], algebra, points))

    def squared_distance(g: Components, h: Components) -> Array:
        between = group.compose_components(group.inverse_components(g), h)
        return group.squared_distance_components(between, 1.0)

    return {
        "exp": (group.exp_components, a),
        "log": (group.log_components, g),
        "compose": (group.compose_components, g, h),
        "inverse": (group.inverse_components, g),
        "act": (group.act_components, g, p),
        "embedding": (group.embedding_components, g),
        "squared distance": (squared_distance, g, h),
        "matrix": (group.matrix, elements[0]),
        "linear matrix": (group.linear_matrix, elements[0]),
        "adjoint": (group.adjoint, elements[0]),
    }


def _maps(space: Space, points: Array, others: Array) -> dict[str, tuple]:
    """The maps of a space, each with arguments; of pairs, as functions of two points."""

    def pair(x: Array, y: Array) -> Components:
        return space.pair(unstack(space.section(x)), unstack(space.section(y)))

    def squared_distance(x: Array, y: Array) -> Array:
        orbits = unstack(space.orbit_invariants(x)), unstack(space.orbit_invariants(y))
        return space.squared_distance_components(pair(x, y), *orbits)

    def double_coset(x: Array, y: Array) -> Components:
        return space.double_coset_components(pair(x, y))

    return {
        "section": (space.section, points),
        "orbit invariants": (space.orbit_invariants, points),
        "squared distance": (squared_distance, points, others),
        "invariants": (double_coset, points, others),
    }


def _check_finite(subject: str, functions: Mapping[str, tuple]) -> None:
    """In dense random directions, which meet every entry of the Jacobian and the Hessian."""
    rng = np.random.default_rng(0)

    def random_like(tree):
        return jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype), tree)

    for name, (function, *inputs) in functions.items():
        value, forward = jax.jvp(function, tuple(inputs), tangents := random_like(tuple(inputs)))
        cotangents = random_like(value)

        def reverse(*x, function=function, cotangents=cotangents):
            return jax.vjp(function, *x)[1](cotangents)

        results = (value, forward, *jax.jvp(reverse, tuple(inputs), tangents))
        if not all(np.all(np.isfinite(x)) for x in jax.tree.leaves(results)):
            raise AssertionError(f"{subject}: a value or derivative of {name} is not finite")


def _raise_first(
    subject: str, errors: Mapping[str, np.ndarray], dtype: DType, tolerance: float | None
) -> None:
    name = jnp.zeros((), dtype).dtype.name
    if tolerance is None and name not in TOLERANCES:
        raise ValueError(f"tolerance must be given for {name}; known are {TOLERANCES}")
    bound = TOLERANCES[name] if tolerance is None else tolerance
    for law, error in errors.items():
        if not float(np.max(error)) <= bound:
            raise AssertionError(
                f"{subject} breaks the law {law!r}: error {np.max(error):.3g} is above {bound:.3g}"
            )
