"""Laws of a space at given points: its section, stabilizer, orbits, pairs and distance."""

import jax
import jax.numpy as jnp
import numpy as np

from eqattn.groups.base import unstack
from eqattn.laws.errors import double_coset, moduli, relative_error, wide
from eqattn.laws.orbits import dimension_laws, distance_to_stabilizer
from eqattn.spaces.base import Space
from eqattn.typing import Array, Components, Float, Key


def space_laws(
    space: Space,
    points: Float[Array, "N D"],
    others: Float[Array, "N D"],
    u: Float[Array, "N E"],
    h: Float[Array, "N _"],
    h_other: Float[Array, "N _"],
    key: Key[Array, ""],
) -> dict[str, np.ndarray]:
    """Errors of every law of a space at given samples, relative to max(1, |values|).

    Args:
      space: The space.
      points: Points that can be lifted.
      others: The same.
      u: Group elements.
      h: Elements of the stabilizer, as a group of its own.
      h_other: The same.
      key: Random key of the samples of the stabilizer.

    Returns:
      For each law by its name an array of errors: mostly [N], of each sample.
    """
    laws = {
        **domain_laws(space, points, u),
        **dimension_laws(space, points, others),
        **stabilizer_laws(space, points, others, h, h_other),
        **section_laws(space, points, others, u, key),
    }
    if space.stabilizer.is_compact:
        laws |= {
            "samples keep the origin": origin_errors(space, points, key),
            **distance_laws(space, points, others, h, h_other),
        }
    return laws


def domain_laws(space: Space, points: Array, u: Array) -> dict[str, np.ndarray]:
    """Laws of what is a point, and of which points can be lifted: no element changes either."""
    moved = space.act(u, points)
    defects = [space.domain_defect(x) for x in (points, moved)]
    known = [
        np.broadcast_to(np.asarray(d, np.float64), len(u)) for d in (0.0, *defects) if d is not None
    ]
    lost, lost_moved = (np.asarray(space.unliftable(x)) for x in (points, moved))
    return {
        "points are of the space": np.max(known, axis=0),
        "what cannot be lifted is invariant": np.where(lost != lost_moved, 1.0, 0.0),
    }


def section_laws(
    space: Space, points: Array, others: Array, u: Array, key: Array
) -> dict[str, np.ndarray]:
    """Laws of the action and the section: they meet in c(u, x) = section(ux)⁻¹ u section(x)."""
    close, act, group = relative_error, space.act, space.group
    compose, inverse, matrix = group.compose, group.inverse, wide(group.matrix)
    origin = jnp.broadcast_to(jnp.asarray(space.origin(), points.dtype), points.shape)
    section, section_other = space.section(points), space.section(others)
    moved = act(u, points)
    section_moved = space.section(moved)
    around = moduli(group, inverse(section_moved), u, section)
    # The origin of the orbit of each point: section(x) takes it to x.
    base = act(inverse(section), points)
    cocycle = compose(inverse(section_moved), compose(u, section))
    laws = {
        "action of a product": close(
            act(compose(u, section_other), points), act(u, act(section_other, points)), u, moved
        ),
        "action of the identity": close(
            act(group.identity(points.shape[:-1], points.dtype), points), points
        ),
        "section of the origin": close(
            matrix(space.section(origin)), matrix(group.identity(points.shape[:-1], points.dtype))
        ),
        "one origin for an orbit": close(act(inverse(section_moved), moved), base, around),
        "orbit invariants": close(
            space.orbit_invariants(moved), space.orbit_invariants(points), moved
        ),
        "cocycle keeps the origin": close(act(cocycle, base), base, around),
        "cocycle in the stabilizer": distance_to_stabilizer(space, cocycle, key)
        / np.maximum(1.0, np.max(around, axis=(1, 2), initial=0.0)),
    }
    if space.num_orbit_invariants == 0:
        laws["one orbit"] = close(base, origin, moduli(group, inverse(section), section))
    if space.section_is_normal:
        same = jnp.broadcast_to(u[:1], u.shape)
        alike = matrix(compose(inverse(space.section(act(same, points))), compose(same, section)))
        laws["normal section"] = close(alike, np.broadcast_to(alike[:1], alike.shape), section)
    return laws


def stabilizer_laws(
    space: Space, points: Array, others: Array, h: Array, h_other: Array
) -> dict[str, np.ndarray]:
    """Laws of the embedded stabilizer, and of what of a pair it leaves alone."""
    group, close = space.group, relative_error
    compose, matrix = group.compose, wide(group.matrix)
    origin = jnp.broadcast_to(jnp.asarray(space.origin(), points.dtype), points.shape)
    inside, inside_other = space.embed_stabilizer(h), space.embed_stabilizer(h_other)
    both = space.embed_stabilizer(space.stabilizer.compose(h, h_other))
    pair = compose(group.inverse(space.section(points)), space.section(others))
    between = compose(compose(inside, pair), inside_other)
    return {
        "stabilizer keeps the origin": close(space.act(inside, origin), origin),
        "stabilizer of a product": close(
            matrix(both), matrix(inside) @ matrix(inside_other), inside, inside_other
        ),
        "double coset": close(double_coset(space, between), double_coset(space, pair), between),
    }


def origin_errors(space: Space, points: Array, key: Array) -> np.ndarray:
    """How far samples of the stabilizer of each point move the origin of its orbit: [N]."""
    section = space.section(points)
    back = space.group.inverse(section)
    base, keys = space.act(back, points), jax.random.split(key, len(points))
    samples = jax.jit(jax.vmap(space.sample_stabilizer))(keys, points)
    return relative_error(space.act(samples, base), base, moduli(space.group, back, section))


def distance_laws(
    space: Space, points: Array, others: Array, h: Array, h_other: Array
) -> dict[str, np.ndarray]:
    """Laws of the distance between points, as a function of pairs of lifted elements."""
    inside, inside_other = space.embed_stabilizer(h), space.embed_stabilizer(h_other)
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
            distance(g, g, query, query), 0.0 * found, moduli(space.group, inverse(g), g)
        ),
        "distance of others": np.where(apart & (found < 1e-3), 1.0, 0.0),
    }
