"""The Lie algebra of a group as its exponential map shows it, by derivatives at 0.

What a coordinate of the algebra does is found from how it moves vectors and points: a pure rotation
turns vectors and keeps the point 0, a translation moves points and turns nothing.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from eqattn.groups import LieGroup
from eqattn.typing import Array

SMALL = 1e-4
"""Derivatives of exp at 0 that are smaller count as 0."""


class Generators(NamedTuple):
    """Derivatives at 0 along each of the A coordinates of the algebra.

    Attributes:
      matrices: Derivatives of ``matrix(exp(a))`` [A m m].
      linear: Derivatives of ``linear_matrix(exp(a))`` [A D D].
      shifts: Derivatives of ``act(exp(a), 0)`` [A D].
      scales: Derivatives of ``log_scale(exp(a))`` [A].
    """

    matrices: np.ndarray
    linear: np.ndarray
    shifts: np.ndarray
    scales: np.ndarray

    @property
    def turns(self) -> np.ndarray:
        """Which coordinates [A] turn vectors: those with a skew-symmetric matrix that is not 0."""
        skew = np.max(np.abs(self.linear + np.swapaxes(self.linear, 1, 2)), (1, 2), initial=0.0)
        return (skew < SMALL) & (np.max(np.abs(self.linear), (1, 2), initial=0.0) > SMALL)

    @property
    def rotations(self) -> np.ndarray:
        """Which coordinates [A] are pure rotations about the point 0."""
        shift = np.max(np.abs(self.shifts), 1, initial=0.0)
        return self.turns & (shift < SMALL) & (np.abs(self.scales) < SMALL)

    @property
    def translations(self) -> np.ndarray:
        """Which coordinates [A] move points, and neither turn nor stretch."""
        linear = np.max(np.abs(self.linear), (1, 2), initial=0.0)
        shift = np.max(np.abs(self.shifts), 1, initial=0.0)
        return (linear < SMALL) & (shift > SMALL) & (np.abs(self.scales) < SMALL)

    def rate(self, algebra: Array | np.ndarray) -> np.ndarray:
        """By how many radians exp of algebra coordinates [N A] turns vectors: [N]."""
        generator = np.tensordot(np.asarray(algebra, np.float64), self.linear, 1)
        return np.max(np.abs(np.linalg.eigvals(generator).imag), -1, initial=0.0)


@functools.cache
def find_generators(group: LieGroup, dtype: str) -> Generators:
    """The generators of a group, by derivatives in a number type."""
    zero = jnp.zeros(group.algebra_dim, dtype)
    origin = jnp.zeros(group.point_dim, dtype)

    def functions(a: Array) -> tuple[Array, ...]:
        g = group.exp(a)
        return group.matrix(g), group.linear_matrix(g), group.act(g, origin), group.log_scale(g)

    derivatives = jax.jit(jax.jacfwd(functions))(zero)
    return Generators(*(np.moveaxis(np.asarray(x, np.float64), -1, 0) for x in derivatives))


def turned_to(
    generators: Generators, algebra: Array | np.ndarray, angles: np.ndarray
) -> np.ndarray:
    """Algebra coordinates [N A] whose pure rotations are scaled to turn by given angles [N].

    The other coordinates stay as they are. Where there is no rotation, nothing changes.
    """
    turned = np.array(algebra, np.float64)
    chosen = generators.rotations
    if not np.any(chosen):
        return turned
    part = np.where(chosen, turned, 0.0)
    weak = generators.rate(part) < SMALL
    part[weak] = np.eye(len(chosen))[np.argmax(chosen)]
    part *= (np.asarray(angles) / generators.rate(part))[:, None]
    return np.where(chosen, part, turned)


def basis_steps(which: np.ndarray, size: float, num: int) -> np.ndarray:
    """Steps [num A] along coordinates of the algebra, one after the other and from the first again.

    As many as the samples of a law, so that the same programs serve both.

    Args:
      which: Coordinates [A] that are taken; where there is none, all steps are 0.
      size: Length of each step.
      num: Number of steps, at least A.
    """
    steps = size * np.eye(len(which))[which]
    return np.resize(steps, (num, len(which))) if len(steps) else np.zeros((num, len(which)))
