"""Laws of exp and log: against matrix exponentials, in radians and lengths, and up to half-turns.

A law that compares exp with log alone does not see both go wrong together. What fixes them is
outside of them: the matrices of a group, the angle by which a rotation turns vectors, and how far a
translation moves points.
"""

import jax.numpy as jnp
import numpy as np
import scipy.linalg

from eqattn.groups import LieGroup, MatrixGroup, Product
from eqattn.groups.base import stack, unstack
from eqattn.groups.reflected import Reflected
from eqattn.laws.errors import relative_error, wide
from eqattn.laws.generators import Generators, basis_steps, find_generators
from eqattn.typing import Array


def exponential_laws(
    group: LieGroup, g: Array, algebra: Array, small: Array
) -> dict[str, np.ndarray]:
    """Errors of the laws of exp and log.

    Args:
      group: The group.
      g: Elements.
      algebra: Lie-algebra coordinates.
      small: The same, with rotations of less than a half-turn.
    """
    matrix, generators = wide(group.matrix), find_generators(group, algebra.dtype.name)
    exact = scipy.linalg.expm(np.tensordot(np.asarray(algebra, float), generators.matrices, 1))
    log = group.log(g)
    return {
        "dimension of the algebra": _missing_dimensions(group, generators),
        "units of the algebra": _unit_errors(group, generators),
        "exp of generators": relative_error(matrix(group.exp(algebra)), exact, exact),
        "exp of log": relative_error(matrix(group.exp(log)) @ _component(group, g), matrix(g)),
        "log of exp": relative_error(group.log(group.exp(small)), small),
        "log up to a half-turn": np.maximum(generators.rate(log) - np.pi, 0.0),
        "one value for each element": _difference_of_forms(group, generators, g, small),
    }


def _missing_dimensions(group: LieGroup, generators: Generators) -> np.ndarray:
    """How many coordinates [1] of the algebra do nothing that the others do not."""
    found = int(np.linalg.matrix_rank(_flat(generators.matrices), tol=1e-3))
    return np.array([float(group.algebra_dim - found)])


def _flat(matrices: np.ndarray) -> np.ndarray:
    return matrices.reshape(len(matrices), matrices[0].size if len(matrices) else 0)


def _unit_errors(group: LieGroup, generators: Generators) -> np.ndarray:
    """How far the coordinates [A] of the algebra are from radians, lengths and log-scales.

    A coordinate that turns vectors turns them by one radian for each unit, one of translations
    moves points by one unit of length, and that of scalings is the logarithm of the stretch. The
    algebra of a matrix group has the basis that the group states, whatever its units are: also as
    a part of another group, where only the others are looked at.
    """
    if isinstance(group, MatrixGroup):
        return np.abs(_flat(generators.matrices) - _flat(np.asarray(group.generators, float)))
    turns = np.linalg.norm(generators.linear, 2, (1, 2)) - 1.0
    moves = np.linalg.norm(generators.shifts, axis=1) - 1.0
    stretch = np.minimum(np.abs(generators.scales), np.abs(generators.scales - 1.0))
    errors = [
        np.where(generators.turns, turns, 0.0),
        np.where(generators.translations, moves, 0.0),
        stretch,
    ]
    # Everything is 0 for the coordinates of a matrix group.
    checked = ~_has_own_units(group)
    return np.abs(np.concatenate([*(checked * error for error in errors), [0.0]]))


def _has_own_units(group: LieGroup) -> np.ndarray:
    """Which coordinates [A] of the algebra are in units of a matrix group's own."""
    if isinstance(group, Product):
        return np.concatenate([_has_own_units(factor) for factor in group.factors])
    if isinstance(group, Reflected):
        return _has_own_units(group.proper)
    return np.full(group.algebra_dim, isinstance(group, MatrixGroup))


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


def _difference_of_forms(
    group: LieGroup, generators: Generators, g: Array, small: Array
) -> np.ndarray:
    """How functions of elements differ for two forms in which one element is stored.

    A full turn leads back to the same element, if not to the same numbers (the quaternions q and
    -q): embedding, distance and log must not tell them apart.
    """
    turns = basis_steps(generators.rotations, 2.0 * np.pi, len(g))
    identity = group.identity(g.shape[:-1], g.dtype)
    loops = wide(group.matrix)(group.exp(jnp.asarray(turns, g.dtype)))
    closed = relative_error(loops, wide(group.matrix)(identity))
    # A group may count turns (a helix does): then that is no loop.
    turns = np.where((closed < 1e-5)[:, None], turns, 0.0)
    loop = group.exp(jnp.asarray(turns, g.dtype))
    again, inside = group.compose(g, loop), group.exp(small)
    log = group.log(group.compose(inside, loop))
    far = generators.rate(small) > np.pi - 1e-2  # where the sign of the logarithm may differ
    return np.maximum.reduce(
        [
            relative_error(group.embedding(again), group.embedding(g)),
            relative_error(group.distance(again, identity), group.distance(g, identity)),
            np.where(far, 0.0, relative_error(log, small)),
        ]
    )
