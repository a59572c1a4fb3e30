"""Lifts to cosets: to the space itself, or to a space between it and the group.

On G/H' only F = P ρ(g)⁻¹ f is a function, with P the projector on the H'-fixed vectors of ρ. The
mean of ρ(g_k) P ρ(g_k)⁻¹ over the samples of a point is no longer the identity but a matrix A that
commutes with the stabilizer; project takes Z = A⁻¹ into account: 3 for vectors on R³×S².
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from eqattn.checks import check_instance
from eqattn.fields import FieldType, Term
from eqattn.fields.action import GroupAction
from eqattn.groups.base import probe_elements
from eqattn.lift.base import Guarantee, Lift, Lifting, LiftInputs, StabilizerLift, exact
from eqattn.spaces.base import Coordinates, Space
from eqattn.typing import Array, DType, Float, Key

_NUM_PROBES = 64
_MAX_STEPS = 100
_SMALLEST = 1e-3  # of the singular values of A: 1/(2l+1) for an irrep of degree l under Haar


@dataclasses.dataclass(frozen=True, repr=False)
class NoLift(Lift):
    """No samples: data stays on the space, as the coset section(x) H.

    Only for fields that the stabilizer does not change (scalars) and kernels of the pair
    coordinates ``"invariants"``, which no choice in H changes; then equivariance is exact. Where
    these are distances or angles alone, on Rⁿ under SE(n) and on S² under SO(3), it is to
    reflections too: mirror images get the same output.
    """

    is_coset = True

    def check(self, space: Space) -> None:
        """See :meth:`Lift.check`."""
        if space.has_exceptional_orbits:
            raise ValueError(
                f"NoLift is exact only on spaces without exceptional orbits, got {space}; "
                "use Haar(num_samples)"
            )

    def check_field(self, space: Space, field: FieldType) -> None:
        """See :meth:`Lift.check_field`: the stabilizer must not change it."""
        for term in field.terms:
            if term.is_trivial:
                continue
            matrices = _representation(space, term, space)
            if not np.allclose(matrices, np.eye(matrices.shape[-1]), atol=1e-4):
                raise ValueError(
                    f"NoLift needs a field that the stabilizer {space.stabilizer} does not "
                    f"change, got {term.single} on {space}; use Haar(num_samples)"
                )

    def guarantee(self, space: Space) -> Guarantee:
        """See :meth:`Lift.guarantee`."""
        return exact(str(space.group))

    def elements(self, space: Space, inputs: LiftInputs) -> Lifting:
        """See :meth:`Lift.elements`: the section."""
        return Lifting(space.section(inputs.points)[..., None, :])


@dataclasses.dataclass(frozen=True, repr=False)
class Coset(Lift):
    """A lift to a space G/H' between X and G: samples count up to H', and H' is never sampled.

    From R³ under SE(3) to positions and orientations R³×S², for example, where H' = SO(2). On such
    a lift functions are constant on cosets g H', so that kernels see the pair coordinates
    ``"invariants"`` of G/H' only. Of a field, what H' leaves alone is lifted: of a vector its
    component along the orientation.

    The coset space is named by a space of the library, because layers take their pair coordinates
    from it. It stands around another lift, because which elements are chosen does not depend on up
    to what they count.

    Equivariance: that of the lift inside.

    Args:
      space: The space G/H', with the same group as the space of the points.
      lift: The lift that chooses the samples.

    Raises:
      TypeError: For a space or lift of another type.
    """

    is_coset = True

    space: Space
    lift: StabilizerLift

    def __post_init__(self):
        check_instance("space of Coset", self.space, Space)
        check_instance("lift of Coset", self.lift, StabilizerLift)

    def check(self, space: Space) -> None:
        """See :meth:`Lift.check`: G/H' must have H' in the stabilizer."""
        self.lift.check(space)
        coset = self.space
        if coset.group != space.group or space.has_exceptional_orbits or coset.num_orbit_invariants:
            raise ValueError(
                f"space of Coset must be a homogeneous space of {space.group} over {space}, "
                f"got {coset}"
            )
        if not coset.stabilizer.is_compact or not _keeps_origin(space, coset):
            raise ValueError(
                f"space of Coset must have a compact stabilizer inside that of {space}, "
                f"{space.stabilizer}; got {coset} with {coset.stabilizer}"
            )

    def check_field(self, space: Space, field: FieldType) -> None:
        """See :meth:`Lift.check_field`: what H' leaves alone must span it as the samples turn."""
        for term in field.terms:
            if not term.is_trivial:
                coset_matrices(space, self, term)

    def is_stochastic(self, space: Space) -> bool:
        """See :meth:`Lift.is_stochastic`."""
        return self.lift.is_stochastic(space)

    def guarantee(self, space: Space) -> Guarantee:
        """See :meth:`Lift.guarantee`."""
        return self.lift.guarantee(space)

    def elements(self, space: Space, inputs: LiftInputs) -> Lifting:
        """See :meth:`Lift.elements`."""
        return self.lift.elements(space, inputs)

    def pair_space(self, space: Space) -> Space:
        """See :meth:`Lift.pair_space`: G/H'."""
        del space
        return self.space

    def check_coordinates(self, space: Space, coordinates: Coordinates | None) -> None:
        """See :meth:`Lift.check_coordinates`: they must be of G/H'."""
        super().check_coordinates(space, coordinates)
        if coordinates is not None and space != self.space:
            raise ValueError(
                f"space of a layer must be {self.space} on a lift to its points, got {space}"
            )

    def fixed_part(self, space: Space, field: FieldType, features: Array) -> Array:
        """P of features ρ(g)⁻¹ f [*B C]; see :meth:`Lift.fixed_part`."""
        return _apply_each(space, field, features, lambda t: coset_matrices(space, self, t)[0])

    def restored(self, space: Space, field: FieldType, features: Array) -> Array:
        """Z P of features on G/H' [*B C]; see :meth:`Lift.restored`."""

        def matrix(term: Term) -> np.ndarray:
            fixed, inverse = coset_matrices(space, self, term)
            return inverse @ fixed

        return _apply_each(space, field, features, matrix)

    def exact_elements(
        self, space: Space, key: Key[Array, ""], shape: tuple[int, ...], dtype: DType
    ) -> Float[Array, "*S E"] | None:
        """See :meth:`Lift.exact_elements`."""
        return self.lift.exact_elements(space, key, shape, dtype)


@functools.cache
def _keeps_origin(space: Space, coset: Space) -> bool:
    """Whether the stabilizer of ``coset`` lies in that of ``space``, as far as samples tell."""
    with jax.ensure_compile_time_eval():
        samples = coset.embed_stabilizer(jnp.asarray(probe_elements(coset.stabilizer)))
        origin = jnp.asarray(space.origin())
        return bool(np.allclose(space.act(samples, origin), origin, atol=1e-4))


def _apply_each(space: Space, field: FieldType, features: Array, matrix_for) -> Array:
    """Applies a constant matrix to the fields of each term."""
    parts = []
    for term, part in field.split(space, features):
        if not term.is_trivial:
            matrix = jnp.asarray(matrix_for(term), part.dtype)
            values = part.reshape(*part.shape[:-1], term.multiplicity, len(matrix))
            part = jnp.sum(matrix * values[..., None, :], axis=-1).reshape(part.shape)
        parts.append(part)
    return jnp.concatenate(parts, axis=-1)


@functools.cache
def coset_matrices(space: Space, lift: Coset, term: Term) -> tuple[np.ndarray, np.ndarray]:
    """P, and Z = A⁻¹.

    Raises:
      ValueError: If A has no inverse: the samples do not turn the H'-fixed vectors to all others.
    """
    fixed = _mean_of_powers(_representation(lift.space, term, space))
    mean = _mean_conjugate(space, lift.lift, term, fixed)
    if np.linalg.svd(mean, compute_uv=False)[-1] < _SMALLEST:
        raise ValueError(
            f"field {term.single} cannot be had back from a lift to {lift.space} with "
            f"{lift.lift}: what {lift.space.stabilizer} leaves alone of it does not span it; lift "
            "to the group"
        )
    return fixed, np.linalg.inv(mean)


def _representation(coset: Space, term: Term, space: Space) -> np.ndarray:
    """ρ of some elements of the stabilizer of ``coset`` [n r r], for fields on ``space``."""
    return _matrices(space, term, coset, probe_elements(coset.stabilizer, _NUM_PROBES))


def _matrices(space: Space, term: Term, coset: Space, elements: np.ndarray) -> np.ndarray:
    with jax.ensure_compile_time_eval():
        embedded = coset.embed_stabilizer(jnp.asarray(elements))
        found = np.asarray(term.matrix(GroupAction(space, embedded)), np.float64)
    return np.broadcast_to(found, (len(elements), *found.shape[-2:]))


def _mean_of_powers(matrices: np.ndarray) -> np.ndarray:
    """The mean of ρ over the closed group that the elements generate: a projector.

    It is the limit of powers of their mean M: M is the identity on the fixed vectors and contracts
    the others.
    """
    mean = matrices.mean(axis=0)
    for _ in range(6):
        mean = mean @ mean
    for _ in range(4):  # rounding of the elements moved eigenvalues off 0 and 1: to those again
        square = mean @ mean
        mean = 3.0 * square - 2.0 * square @ mean
    return mean


def _mean_conjugate(
    space: Space, lift: StabilizerLift, term: Term, matrix: np.ndarray
) -> np.ndarray:
    """The mean of ρ(h) M ρ(h)⁻¹ over the samples h; with ``Haar``, over the stabilizer."""
    elements = lift.finite_samples(space)
    if elements is not None:
        return _conjugate(_matrices(space, term, space, elements), matrix)
    matrices = _representation(space, term, space)
    for _ in range(_MAX_STEPS):
        matrix, last = _conjugate(matrices, matrix), matrix
        if np.max(np.abs(matrix - last)) < 1e-14:
            break
    return matrix


def _conjugate(matrices: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return np.mean(matrices @ matrix @ np.linalg.inv(matrices), axis=0)
