"""Symmetric traceless matrices as the components of the irrep of degree 2, and back."""

import jax.numpy as jnp

from eqattn import numerics
from eqattn.representations.harmonics import harmonic_size, traceless_basis
from eqattn.typing import Array, Float


def pack_traceless(matrices: Float[Array, "*B D D"]) -> Float[Array, "*B M"]:
    """Components of the symmetric traceless part of matrices, as the field ``irrep(2)`` has them.

    They keep the norm: Σ m_a² = Σ A_ij² for symmetric traceless A.

    Args:
      matrices: Matrices of the plane (2 components) or of space (5 components).

    Raises:
      ValueError: If the last two axes are neither (2, 2) nor (3, 3).

    >>> strain = jnp.diag(jnp.array([1.0, 0.0, -1.0]))
    >>> bool(jnp.allclose(unpack_traceless(pack_traceless(strain)), strain, atol=1e-6))
    True
    """
    if matrices.shape[-2:] not in ((2, 2), (3, 3)):
        raise ValueError(f"matrices must have the last axes (2, 2) or (3, 3), got {matrices.shape}")
    matrices = numerics.at_least_float32(matrices)
    basis = jnp.asarray(traceless_basis(matrices.shape[-1]), matrices.dtype)
    return jnp.sum(basis * matrices[..., None, :, :], (-2, -1))


def unpack_traceless(components: Float[Array, "*B M"]) -> Float[Array, "*B D D"]:
    """Symmetric traceless matrices from components of the field ``irrep(2)``.

    Raises:
      ValueError: If the last axis is neither 2 (of the plane) nor 5 (of space).
    """
    dims = {harmonic_size(2, dim): dim for dim in (2, 3)}
    if components.shape[-1] not in dims:
        raise ValueError(f"components must have a last axis of 2 or 5, got {components.shape}")
    components = numerics.at_least_float32(components)
    basis = jnp.asarray(traceless_basis(dims[components.shape[-1]]), components.dtype)
    return jnp.sum(basis * components[..., :, None, None], -3)
