"""Public checks: an error that names the first law that a group or a space breaks."""

import jax
import jax.numpy as jnp
import numpy as np

from eqattn.groups import LieGroup
from eqattn.laws import orbits, samples
from eqattn.laws.derivatives import check_finite, group_formulas, space_maps
from eqattn.laws.errors import bound_for, raise_first
from eqattn.laws.generators import find_generators, turned_to
from eqattn.laws.groups import group_laws
from eqattn.laws.samples import STANDARD_ERRORS, sample_laws, stabilizer_sample_laws
from eqattn.laws.spaces import space_laws
from eqattn.spaces.base import Space
from eqattn.typing import Array, DType, Key

NUM = 32
"""Samples that a check draws, at least."""

SMALL_ANGLES = np.geomspace(1e-4, 0.3, 8)
"""Angles in radians at which log is checked too; cosines of smaller ones are 1 in float32."""

NEAR_HALF_TURN = 1e-3
"""How close to a half-turn, in radians, the rotations come at which log is checked."""


def check_group(
    group: LieGroup,
    *,
    key: Key[Array, ""] | None = None,
    dtype: DType = float,
    tolerance: float | None = None,
) -> None:
    """Raises an AssertionError unless a group keeps its laws.

    Checks that values, first and second derivatives of every formula are finite, then
    :func:`group_laws` at random elements and at rotations by all angles up to a half-turn, then
    that samples are what they should be: see :func:`sample_laws`.

    Args:
      group: Any group; random elements come from its ``sample_bounded``.
      key: Random key of the draws; ``jax.random.key(0)`` by default.
      dtype: Data type of the draws.
      tolerance: Bound on errors relative to the values; by default 1e-10 in float64 and 2e-6 in
        float32.

    Raises:
      AssertionError: For the first law that fails, with its error.
      ValueError: If ``tolerance`` is needed for another dtype.

    >>> from eqattn.groups import SE
    >>> check_group(SE(2))
    """
    forget_programs()
    bound = bound_for(dtype, tolerance)
    key = jax.random.key(0) if key is None else key
    g, h, k, algebra, small, points = group_samples(group, key, dtype)
    check_finite(str(group), group_formulas(group, (g, h), algebra, points))
    raise_first(str(group), group_laws(group, g, h, k, algebra, small, points), bound)
    drawn = sample_laws(group, jax.random.fold_in(key, 1), dtype)
    raise_first(str(group), drawn, STANDARD_ERRORS, " standard errors")


def forget_programs() -> None:
    """Forgets what is compiled or known of each group and space.

    A group is known by its fields. Where somebody edits one of its methods and checks it again,
    nothing of what it was before may be found.
    """
    find_generators.cache_clear()
    for program in (*orbits.PROGRAMS, *samples.PROGRAMS):
        program.clear_cache()


def group_samples(
    group: LieGroup, key: Key[Array, ""], dtype: DType = float
) -> tuple[Array, Array, Array, Array, Array, Array]:
    """Random arguments g, h, k, algebra, small and points of :func:`group_laws`.

    Equal elements, the identity, and rotations by all angles up to a half-turn, small ones among
    them: 32 of each, or twice as many as the algebra has dimensions.

    Args:
      group: The group.
      key: Random key of the draws.
      dtype: Data type of the draws.
    """
    keys, num = jax.random.split(key, 6), max(NUM, 2 * group.algebra_dim)
    g, h, k = (group.sample_bounded(k, (num,), dtype) for k in keys[:3])
    g = g.at[0].set(group.identity((), dtype))
    h = h.at[:4].set(g[:4])
    algebra, small = (_in_unit_ball(k, num, group.algebra_dim, dtype) for k in keys[3:5])
    generators = find_generators(group, algebra.dtype.name)
    angles = np.linspace(0.0, np.pi - NEAR_HALF_TURN, num)
    larger = np.linspace(SMALL_ANGLES[-1], angles[-1], num - len(SMALL_ANGLES))
    of_small = np.concatenate([[0.0], SMALL_ANGLES[:-1], larger])
    small = jnp.asarray(turned_to(generators, small.at[0].set(0.0), of_small), algebra.dtype)
    turned = turned_to(generators, algebra[1::2], angles[1::2])
    algebra = algebra.at[0].set(0.0).at[1::2].set(jnp.asarray(turned, algebra.dtype))
    return g, h, k, algebra, small, _in_unit_ball(keys[5], num, group.point_dim, dtype)


def check_space(
    space: Space,
    *,
    key: Key[Array, ""] | None = None,
    dtype: DType = float,
    tolerance: float | None = None,
) -> None:
    """Raises an AssertionError unless a space keeps its laws.

    Checks that values, first and second derivatives of the section, the orbit invariants and the
    squared distance are finite at the origin and at random points, then :func:`space_laws` there,
    then that samples of the stabilizer are Haar: see :func:`stabilizer_sample_laws`. Check its
    group first, by :func:`check_group`.

    Args:
      space: Any space; random points come from its ``sample_points``.
      key: Random key of the draws; ``jax.random.key(0)`` by default.
      dtype: Data type of the draws.
      tolerance: Bound on relative errors, as for :func:`check_group`.

    Raises:
      AssertionError: For the first law that fails, with its error.
      ValueError: If ``tolerance`` is needed for another dtype.

    >>> from eqattn.groups import SO
    >>> from eqattn.spaces import euclidean
    >>> check_space(euclidean(SO(2)))
    """
    forget_programs()
    bound = bound_for(dtype, tolerance)
    key = jax.random.key(0) if key is None else key
    points, others, u, h, h_other = space_samples(space, key, dtype)
    check_finite(str(space), space_maps(space, points, others))
    laws_key = jax.random.fold_in(key, 1)
    laws = space_laws(space, points, others, u, h, h_other, laws_key)
    raise_first(str(space), laws, bound)
    if space.stabilizer.is_compact:
        drawn = stabilizer_sample_laws(space, points[1], jax.random.fold_in(key, 2), dtype)
        raise_first(str(space), drawn, STANDARD_ERRORS, " standard errors")


def space_samples(
    space: Space, key: Key[Array, ""], dtype: DType = float
) -> tuple[Array, Array, Array, Array, Array]:
    """Random arguments points, others, u, h and h_other of :func:`space_laws`.

    The origin, and pairs of equal points, are among them.

    Args:
      space: The space.
      key: Random key of the draws.
      dtype: Data type of the draws.
    """
    keys = jax.random.split(key, 5)
    points, others = (space.sample_points(k, (NUM,), dtype) for k in keys[:2])
    points = points.at[0].set(jnp.asarray(space.origin(), points.dtype))
    others = others.at[:4].set(points[:4])
    u = space.group.sample_bounded(keys[2], (NUM,), dtype)
    h, h_other = (space.stabilizer.sample_bounded(k, (NUM,), dtype) for k in keys[3:])
    return points, others, u, h, h_other


def _in_unit_ball(key: Array, num: int, size: int, dtype: DType) -> Array:
    vectors = jax.random.normal(key, (num, size), dtype)
    return vectors / jnp.maximum(1.0, jnp.linalg.norm(vectors, axis=-1, keepdims=True))
