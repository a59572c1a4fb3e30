"""Queries that meet what a kernel makes of keys: attention of the SE(3)-Transformer."""

import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from eqattn.fields import FieldType, Term
from eqattn.kernels.solver import term_kernels
from eqattn.layers.linear import Linear
from eqattn.layers.steerable.parts import Parts
from eqattn.representations.harmonics import harmonic_size
from eqattn.spaces.base import Space
from eqattn.typing import Array, Float


class KernelQuery(nnx.Module):
    """Queries q'_lm = (W_lm C_l)ᵀ q, so that Σ_lm φ_m Y_l(x) (q'_lm · k) = q · (κ(x) k).

    κ is the kernel of :class:`KernelMap`, from the field of the keys to that of the queries. It is
    taken to the queries, so that no matrix is applied to a pair (arXiv 2006.10503).

    Equivariance: the products are invariants, for fields of orthogonal representations.

    Args:
      space: Rⁿ under translations and a compact group of isometries.
      field: Type of the fields of queries and keys, of all heads together.
      num_heads: Number of heads; divides the copies of each term.
      num_radial: Number of radial functions.
      max_degree: Highest degree of harmonics.
      rngs: Random streams of the initial values.
      **types: Data types and precision, as ``flax.nnx.Linear`` takes them.
    """

    def __init__(
        self,
        space: Space,
        field: FieldType,
        *,
        num_heads: int,
        num_radial: int,
        max_degree: int,
        rngs: nnx.Rngs,
        **types: Any,
    ):
        self.space, self.field = space, field
        self.num_heads, self.num_radial, self.max_degree = num_heads, num_radial, max_degree
        self.linears = nnx.List(
            [
                Linear(size, num_radial * key.multiplicity, use_bias=False, rngs=rngs, **types)
                for degree in range(max_degree + 1)
                for key in field.terms
                if (size := self._num_inputs(key, degree))
            ]
        )

    @property
    def num_basis(self) -> int:
        """Number of functions of a pair that the logits are made with."""
        dim = self.space.point_dim
        return self.num_radial * sum(harmonic_size(n, dim) for n in range(self.max_degree + 1))

    def __call__(self, parts: Parts) -> Float[Array, "*B H _"]:
        """Wide queries of each head: functions of a pair first, then the channels of a key.

        Args:
          parts: Fields of the queries.
        """
        linears, rows = iter(self.linears), []
        for degree in range(self.max_degree + 1):
            blocks = [
                self._block(parts, key, degree, linears if self._num_inputs(key, degree) else None)
                for key in self.field.terms
            ]
            rows.append(jnp.concatenate(blocks, axis=-1))
        wide = jnp.concatenate(rows, axis=-3)
        return wide.reshape(*wide.shape[:-3], math.prod(wide.shape[-3:]))

    def _block(
        self, parts: Parts, key: Term, degree: int, linears: Iterator[Linear] | None
    ) -> Float[Array, "*B H Y M _"]:
        """The queries that meet one term of keys, by harmonics of one degree."""
        batch, size = parts[0].shape[:-2], key.size(self.space)
        copies = key.multiplicity // self.num_heads
        num_harmonics = harmonic_size(degree, self.space.point_dim)
        if linears is None:
            shape = (*batch, self.num_heads, num_harmonics, self.num_radial, size * copies)
            return jnp.zeros(shape, parts[0].dtype)
        inputs = []
        for query, x in zip(self.field.terms, parts, strict=True):
            tensor = self._tensor(key, query, degree)
            found = jnp.einsum(
                "koiy,...oc->...iykc",
                jnp.asarray(tensor, x.dtype),
                x,
                precision=jax.lax.Precision.HIGHEST,
            )
            inputs.append(found.reshape(*found.shape[:-2], math.prod(found.shape[-2:])))
        out = next(linears)(jnp.concatenate(inputs, axis=-1))
        out = out.reshape(*out.shape[:-1], self.num_radial, self.num_heads, copies)
        out = jnp.moveaxis(jnp.moveaxis(out, -2, -5), -4, -2)  # heads first, components last
        return out.reshape(*out.shape[:-2], size * copies)

    def _num_inputs(self, key: Term, degree: int) -> int:
        """Copies of all queries and tensors that meet one term of keys."""
        return sum(
            len(self._tensor(key, query, degree)) * query.multiplicity for query in self.field.terms
        )

    def _tensor(self, key: Term, query: Term, degree: int) -> Float[np.ndarray, "K O I Y"]:
        tensor = term_kernels(self.space, key, query, degree)
        return np.sqrt(tensor.shape[2] * tensor.shape[3]) * tensor
