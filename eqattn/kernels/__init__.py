"""Equivariant kernels: all linear maps between fields that commute with a group."""

from eqattn.kernels.solver import KernelBasis, kernel_basis, pair_homomorphisms

__all__ = ["KernelBasis", "kernel_basis", "pair_homomorphisms"]
