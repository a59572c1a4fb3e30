"""What kernels leave to be done after the sums over pairs: one linear map for each point."""

import itertools
from collections.abc import Set
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from eqattn.fields import FieldType, Term
from eqattn.kernels.solver import term_kernels
from eqattn.layers.steerable.linear import term_linears
from eqattn.layers.steerable.parts import Parts
from eqattn.representations.harmonics import harmonic_size
from eqattn.spaces.base import Space
from eqattn.typing import Array, Float


class KernelMap(nnx.Module):
    """Kernels, applied to sums over pairs: Σ_m Σ_l W_lm C_l A_lm.

    The sums are A_lm = Σ_j w_ij φ_m(|x|) Y_l(x) ⊗ f_j with x = x_j - x_i. So a kernel κ(x) =
    Σ φ_m W_lm C_l · Y_l(x) is applied, with all tensors C of :func:`eqattn.kernels.kernel_basis`.
    No matrix is made for a pair: neither kernels nor Clebsch-Gordan coefficients are ever applied
    to one.

    Equivariance: exact, from the fields f of the points to a field of the output.

    Args:
      space: Rⁿ under translations and a compact group of isometries.
      input_field: Type of the fields f, of all heads together.
      output_field: Type of the output.
      num_heads: Number of heads; divides the copies of each term.
      num_radial: Number of radial functions.
      max_degree: Highest degree of harmonics.
      rngs: Random streams of the initial values.
      **types: Data types and precision, as ``flax.nnx.Linear`` takes them.
    """

    def __init__(
        self,
        space: Space,
        input_field: FieldType,
        output_field: FieldType,
        *,
        num_heads: int,
        num_radial: int,
        max_degree: int,
        rngs: nnx.Rngs,
        **types: Any,
    ):
        self.space, self.input_field, self.output_field = space, input_field, output_field
        self.num_heads, self.num_radial, self.max_degree = num_heads, num_radial, max_degree
        sizes = [
            num_radial
            * sum(
                len(self._tensor(before, after, degree)) * before.multiplicity
                for before in input_field.terms
                for degree in range(max_degree + 1)
            )
            for after in output_field.terms
        ]
        self.linears = nnx.List(term_linears(output_field, sizes, rngs=rngs, **types))

    def reached(self, sources: Set[int]) -> set[int]:
        """Numbers of the output's terms that are not zeros.

        Args:
          sources: Numbers of the input's terms that are not zeros.
        """
        return {
            j
            for j, after in enumerate(self.output_field.terms)
            if after.is_trivial
            or any(
                len(self._tensor(self.input_field.terms[i], after, degree))
                for i in sources
                for degree in range(self.max_degree + 1)
            )
        }

    def sees_directions(self, before: Term) -> bool:
        """Whether a kernel that depends on directions leads from a term to the output.

        Args:
          before: Term of the input.
        """
        return any(
            len(self._tensor(before, after, degree))
            for after in self.output_field.terms
            for degree in range(1, self.max_degree + 1)
        )

    def __call__(self, sums: Float[Array, "*B H _"]) -> Parts:
        """The output's fields; zeros where no kernel leads to.

        Args:
          sums: A for each head: harmonics, then radial functions, then channels, those of a term
            in one row with components before copies.
        """
        *batch, num_heads, _ = sums.shape
        sizes = [harmonic_size(d, self.space.point_dim) for d in range(self.max_degree + 1)]
        sums = sums.reshape(*batch, num_heads, sum(sizes), self.num_radial, -1)
        widths = [t.size(self.space) * t.multiplicity // num_heads for t in self.input_field.terms]
        collected: list[list[Array]] = [[] for _ in self.output_field.terms]
        ends = list(itertools.accumulate(sizes))[:-1]
        channels = jnp.split(sums, list(itertools.accumulate(widths))[:-1], axis=-1)
        for before, part in zip(self.input_field.terms, channels, strict=True):
            size = before.size(self.space)
            part = part.reshape(*part.shape[:-1], size, part.shape[-1] // size)
            for degree, block in enumerate(jnp.split(part, ends, axis=len(batch) + 1)):
                self._apply(before, degree, block, collected)
        linears, out = iter(self.linears), []
        for term, rows in zip(self.output_field.terms, collected, strict=True):
            if rows:
                out.append(next(linears)(jnp.concatenate(rows, axis=-1)))
            else:
                shape = (*batch, term.size(self.space), term.multiplicity)
                out.append(jnp.zeros(shape, sums.dtype))
        return tuple(out)

    def _apply(
        self,
        before: Term,
        degree: int,
        block: Float[Array, "*B H Y M I C"],
        collected: list[list[Array]],
    ) -> None:
        """Applies all tensors of a degree to the sums of one term, as one product."""
        tensors = [self._tensor(before, after, degree) for after in self.output_field.terms]
        shapes = [t.shape[:2] for t in tensors]
        rows = [t.reshape(-1, *t.shape[2:]) for t in tensors]  # (K O) I Y
        matrix = np.concatenate(rows)
        if not len(matrix):
            return
        found = jnp.einsum(
            "qiy,...hymic->...qhmc",
            jnp.asarray(matrix, block.dtype),
            block,
            precision=jax.lax.Precision.HIGHEST,
        )
        found = found.reshape(*found.shape[:-3], -1)
        ends = list(itertools.accumulate(k * o for k, o in shapes))[:-1]
        for (num, size), part, place in zip(
            shapes, jnp.split(found, ends, axis=-2), collected, strict=True
        ):
            if num:
                part = part.reshape(*part.shape[:-2], num, size, part.shape[-1])
                part = jnp.swapaxes(part, -3, -2)
                place.append(part.reshape(*part.shape[:-2], num * part.shape[-1]))

    def _tensor(self, before: Term, after: Term, degree: int) -> Float[np.ndarray, "K O I Y"]:
        tensors = term_kernels(self.space, before, after, degree)
        return np.sqrt(tensors.shape[1]) * tensors
