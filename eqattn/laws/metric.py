"""Laws of the distance and of the embedding of a group."""

import jax.numpy as jnp
import numpy as np

from eqattn.groups import LieGroup, MatrixGroup, Product
from eqattn.groups.reflected import Reflected
from eqattn.laws.errors import chord, moduli, relative_error, wide
from eqattn.laws.generators import Generators, basis_steps, find_generators, turned_to
from eqattn.typing import Array

NEARBY = 1e-3
"""How far from an element its embedding must have moved by no more than 20 times that."""

ROTATION_SCALE = 2.5
"""A rotation scale other than 1, at which distances are measured too."""


def metric_laws(
    group: LieGroup, g: Array, h: Array, k: Array, algebra: Array
) -> dict[str, np.ndarray]:
    """Errors of the laws of distance and embedding.

    Args:
      group: The group.
      g: Elements.
      h: Elements.
      k: Elements.
      algebra: Lie-algebra coordinates of steps between elements.
    """
    generators = find_generators(group, algebra.dtype.name)
    compose, inverse = group.compose, group.inverse
    distance = wide(group.distance)
    g_inverse, kg, kh = inverse(g), compose(k, g), compose(k, h)
    d_gh, apart = distance(g, h), chord(group, g, h)
    return {
        "distance of the same": relative_error(
            distance(g, g), np.zeros(len(g)), moduli(group, g, g_inverse)
        ),
        "distance symmetric": relative_error(distance(h, g), d_gh, g, h),
        "distance left-invariant": relative_error(
            distance(kg, kh), d_gh, k, moduli(group, inverse(kg), kh), moduli(group, g_inverse, h)
        ),
        "triangle inequality": np.maximum(distance(g, k) - d_gh - distance(h, k), 0.0)
        / np.maximum(1.0, d_gh),
        "distance of others": _coincidences(group, g),
        "distance by radians and lengths": _unit_errors(group, generators, g),
        "embedding injective": np.maximum(0.05 * np.minimum(d_gh, 1.0) - apart, 0.0),
        "embedding continuous": np.maximum(
            _jump(group, g, compose(g, group.exp(NEARBY * algebra)), algebra),
            _jump_at_half_turns(group, generators, algebra),
        ),
    }


def _coincidences(group: LieGroup, g: Array) -> np.ndarray:
    """1 for each element from which a step along a coordinate has no distance, else 0."""
    steps = basis_steps(np.ones(group.algebra_dim, bool), 1.0, len(g))
    moved = group.compose(g, group.exp(jnp.asarray(steps, g.dtype)))
    is_other = np.any(steps != 0, axis=-1)
    return np.where(is_other & (wide(group.distance)(g, moved) < 1e-3), 1.0, 0.0)


def _unit_errors(group: LieGroup, generators: Generators, g: Array) -> np.ndarray:
    """How far distances of steps are from angles times the rotation scale, and from lengths.

    Rotations by one radian, and short translations: along longer ones space may be curved.
    """
    if not _measures_steps(group):
        return np.zeros(1)
    errors = []
    for which, size, scales in (
        (generators.rotations, 1.0, (1.0, ROTATION_SCALE)),
        (generators.translations, NEARBY, (1.0, 1.0)),
    ):
        steps = basis_steps(which, size, len(g))
        moved = group.exp(jnp.asarray(steps, g.dtype))
        identity = group.identity(g.shape[:-1], g.dtype)
        length = np.max(np.abs(steps), axis=-1, initial=0.0)
        for scale, factor in zip((1.0, ROTATION_SCALE), scales, strict=True):
            found = np.asarray(group.distance(identity, moved, rotation_scale=scale))
            errors.append(relative_error(found, factor * length))
    return np.concatenate(errors)


def _measures_steps(group: LieGroup) -> bool:
    """Whether the group has a distance of its own, not the one of any matrix group."""
    if isinstance(group, Product):
        return all(_measures_steps(factor) for factor in group.factors)
    if isinstance(group, Reflected):
        return _measures_steps(group.proper)
    formula = "squared_distance_components"
    inherited = getattr(MatrixGroup, formula)
    return not isinstance(group, MatrixGroup) or getattr(type(group), formula) is not inherited


def _jump(group: LieGroup, g: Array, moved: Array, algebra: Array | np.ndarray) -> np.ndarray:
    """How much further than 20 times a small step the embedding moves, over the step."""
    step = NEARBY * np.maximum(1.0, np.linalg.norm(algebra, axis=-1))
    return np.maximum(chord(group, g, moved) / step - 20.0, 0.0)


def _jump_at_half_turns(group: LieGroup, generators: Generators, algebra: Array) -> np.ndarray:
    """The same between turns of a little less and a little more than half, where log jumps."""
    rotations = np.where(generators.rotations, np.asarray(algebra, np.float64), 0.0)
    half = np.full(len(rotations), np.pi)
    before, after = (
        group.exp(jnp.asarray(turned_to(generators, rotations, angles), algebra.dtype))
        for angles in (half - NEARBY / 2, half + NEARBY / 2)
    )
    return _jump(group, before, after, np.zeros((1, 1)))
