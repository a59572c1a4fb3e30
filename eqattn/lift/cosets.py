"""Fields on lifts to G/H': the part that H' leaves alone, and how to get the field back from it.

On G/H' only F = P ρ(g)⁻¹ f is a function, with P the projector on the H'-fixed vectors of ρ. The
mean of ρ(g_k) P ρ(g_k)⁻¹ over the samples of a point is no longer the identity but a matrix A that
commutes with the stabilizer; project takes Z = A⁻¹ into account: 3 for vectors on R³×S².
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from eqattn.fields import FieldType, Term
from eqattn.fields.action import GroupAction, probe_elements
from eqattn.fields.types import matrix_of
from eqattn.lift.finite import finite_elements, grid_elements
from eqattn.lift.strategies import Coset, Grid, Haar, NoLift, Strategy, Subgroup
from eqattn.spaces.base import Space
from eqattn.typing import Array

_NUM_PROBES = 64
_MAX_STEPS = 100
_SMALLEST = 1e-3  # of the singular values of A: 1/(2l+1) for an irrep of degree l under Haar


def check_field(space: Space, strategy: Strategy, field: FieldType) -> None:
    """Makes sure that a field can be had back from such a lift.

    Raises:
      ValueError: for an ``NoLift`` lift of a field that the stabilizer changes, or a lift to
        cosets where what H' leaves alone does not span the field as the samples turn it.
    """
    for term in field.terms:
        if term.is_trivial:
            continue
        if isinstance(strategy, NoLift):
            matrices = _representation(space, term, space)
            if not np.allclose(matrices, np.eye(matrices.shape[-1]), atol=1e-4):
                raise ValueError(
                    f"NoLift needs a field that the stabilizer {space.stabilizer} does not "
                    f"change, got {term.single} on {space}; use Haar(num_samples)"
                )
        elif isinstance(strategy, Coset):
            coset_matrices(space, strategy, term)


def fixed_part(space: Space, strategy: Coset, field: FieldType, features: Array) -> Array:
    """P of features ρ(g)⁻¹ f [*B C]."""
    return _apply_each(space, field, features, lambda t: coset_matrices(space, strategy, t)[0])


def restored(space: Space, strategy: Coset, field: FieldType, features: Array) -> Array:
    """Z P of features on G/H' [*B C], whose weighted mean of ρ(g) is then the field."""

    def matrix(term: Term) -> np.ndarray:
        fixed, inverse = coset_matrices(space, strategy, term)
        return inverse @ fixed

    return _apply_each(space, field, features, matrix)


def _apply_each(space: Space, field: FieldType, features: Array, matrix_for) -> Array:
    """Applies a constant matrix to the fields of each term."""
    parts, start = [], 0
    for term in field.terms:
        size = term.kind.size(space)
        width = term.multiplicity * size
        part = features[..., start : start + width]
        if not term.is_trivial:
            matrix = jnp.asarray(matrix_for(term), part.dtype)
            values = part.reshape(*part.shape[:-1], term.multiplicity, size)
            part = jnp.sum(matrix * values[..., None, :], axis=-1).reshape(part.shape)
        parts.append(part)
        start += width
    return jnp.concatenate(parts, axis=-1)


@functools.cache
def coset_matrices(space: Space, strategy: Coset, term: Term) -> tuple[np.ndarray, np.ndarray]:
    """P, and Z = A⁻¹.

    Raises:
      ValueError: if A has no inverse: the samples do not turn the H'-fixed vectors to all others.
    """
    fixed = _mean_of_powers(_representation(strategy.space, term, space))
    mean = _mean_conjugate(space, strategy.strategy, term, fixed)
    if np.linalg.svd(mean, compute_uv=False)[-1] < _SMALLEST:
        raise ValueError(
            f"field {term.single} cannot be had back from a lift to {strategy.space} with "
            f"{strategy.strategy}: what {strategy.space.stabilizer} leaves alone of it does not "
            "span it; lift to the group"
        )
    return fixed, np.linalg.inv(mean)


def _representation(coset: Space, term: Term, space: Space) -> np.ndarray:
    """ρ of some elements of the stabilizer of ``coset`` [n r r], for fields on ``space``."""
    return _matrices(space, term, coset, probe_elements(coset.stabilizer, _NUM_PROBES))


def _matrices(space: Space, term: Term, coset: Space, elements: np.ndarray) -> np.ndarray:
    with jax.ensure_compile_time_eval():
        embedded = coset.embed_stabilizer(jnp.asarray(elements))
        found = np.asarray(matrix_of(term, GroupAction(space, embedded)), np.float64)
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
    space: Space, strategy: Haar | Grid | Subgroup, term: Term, matrix: np.ndarray
) -> np.ndarray:
    """The mean of ρ(h) M ρ(h)⁻¹ over the samples h; with ``Haar``, over the stabilizer."""
    if not isinstance(strategy, Haar):
        group = space.stabilizer
        elements = (
            grid_elements(group, strategy.num_angles)
            if isinstance(strategy, Grid)
            else finite_elements(group, strategy.name, reflections=strategy.reflections)
        )
        return _conjugate(_matrices(space, term, space, elements), matrix)
    matrices = _representation(space, term, space)
    for _ in range(_MAX_STEPS):
        matrix, last = _conjugate(matrices, matrix), matrix
        if np.max(np.abs(matrix - last)) < 1e-14:
            break
    return matrix


def _conjugate(matrices: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return np.mean(matrices @ matrix @ np.linalg.inv(matrices), axis=0)
