"""Linear maps between fields at a point."""

import math
from collections.abc import Sequence, Set
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from eqattn.fields import FieldType, Term
from eqattn.kernels.solver import term_kernels
from eqattn.layers.linear import Linear
from eqattn.layers.steerable.parts import Parts
from eqattn.spaces.base import Space
from eqattn.typing import Array, Float


class FieldLinear(nnx.Module):
    """The equivariant linear maps of fields at one point, between all copies of all terms.

    Between two terms they are the basis of Hom_H(ρ_in, ρ_out), by Schur's lemma the multiples of
    one isomorphism where both are the same irrep of O(n), or of two in the plane without
    reflections; solved for by :func:`eqattn.kernels.kernel_basis`. Only scalars have a bias.

    Equivariance: exact, from the one field to the other.

    Args:
      space: Rⁿ under translations and a compact group H of isometries.
      input_field: Type of the input.
      output_field: Type of the output.
      rngs: Random streams of the initial values.
      **types: Data types and precision, as ``flax.nnx.Linear`` takes them.
    """

    def __init__(
        self,
        space: Space,
        input_field: FieldType,
        output_field: FieldType,
        *,
        rngs: nnx.Rngs,
        **types: Any,
    ):
        self.space, self.input_field, self.output_field = space, input_field, output_field
        self.paths: tuple[tuple[int, ...], ...] = tuple(
            tuple(i for i, _ in enumerate(input_field.terms) if len(self._maps(i, j)))
            for j, _ in enumerate(output_field.terms)
        )
        sizes = [
            sum(len(self._maps(i, j)) * input_field.terms[i].multiplicity for i in sources)
            for j, sources in enumerate(self.paths)
        ]
        self.linears = nnx.List(term_linears(output_field, sizes, rngs=rngs, **types))

    @property
    def lost_terms(self) -> tuple[Term, ...]:
        """Terms of the input that no map leads from."""
        used = {i for sources in self.paths for i in sources}
        return tuple(t for i, t in enumerate(self.input_field.terms) if i not in used)

    @property
    def empty_terms(self) -> tuple[Term, ...]:
        """Terms of the output that no map leads to: they are zeros."""
        terms = zip(self.output_field.terms, self.paths, strict=True)
        return tuple(term for term, sources in terms if not sources)

    def reached(self, sources: Set[int]) -> set[int]:
        """Numbers of the output's terms that are not zeros.

        Args:
          sources: Numbers of the input's terms that are not zeros.
        """
        terms = zip(self.output_field.terms, self.paths, strict=True)
        return {j for j, (t, path) in enumerate(terms) if t.is_trivial or sources & set(path)}

    def __call__(self, parts: Parts) -> Parts:
        """The fields of the output; zeros where no map leads to."""
        linears, out = iter(self.linears), []
        for j, sources in enumerate(self.paths):
            if not sources:
                term = self.output_field.terms[j]
                shape = (*parts[0].shape[:-2], term.size(self.space), term.multiplicity)
                out.append(jnp.zeros(shape, parts[0].dtype))
                continue
            inputs = [mapped(self._maps(i, j), parts[i]) for i in sources]
            out.append(next(linears)(jnp.concatenate(inputs, -1) if inputs[1:] else inputs[0]))
        return tuple(out)

    def _maps(self, i: int, j: int) -> Float[np.ndarray, "K O I"]:
        before, after = self.input_field.terms[i], self.output_field.terms[j]
        return schur_maps(self.space, before, after)


def schur_maps(space: Space, before: Term, after: Term) -> Float[np.ndarray, "K O I"]:
    """A basis of the equivariant maps between two single fields, whose outputs are of size 1.

    Args:
      space: Where they live.
      before: Term of the input.
      after: Term of the output.
    """
    tensors = term_kernels(space, before, after, degree=0)[..., 0]
    return math.sqrt(tensors.shape[1]) * tensors


def mapped(maps: Float[np.ndarray, "K O I"], x: Float[Array, "*B I C"]) -> Float[Array, "*B O _"]:
    """All maps of all copies, side by side.

    Args:
      maps: Matrices.
      x: Fields of one term.
    """
    num_maps, size, _ = maps.shape
    if num_maps == 1 and np.allclose(maps[0], np.eye(size), rtol=0, atol=1e-12):
        return x
    out = jnp.einsum(
        "koi,...ic->...okc", jnp.asarray(maps, x.dtype), x, precision=jax.lax.Precision.HIGHEST
    )
    return out.reshape(*out.shape[:-2], num_maps * x.shape[-1])


def term_linears(
    field: FieldType, num_inputs: Sequence[int], *, rngs: nnx.Rngs, **types: Any
) -> list[Linear]:
    """A linear map to the copies of each term that anything leads to; scalars have a bias.

    Args:
      field: Type of the output.
      num_inputs: Number of inputs of each term, 0 where none leads to it.
      rngs: Random streams of the initial values.
      **types: Data types and precision.
    """
    return [
        Linear(size, term.multiplicity, use_bias=term.is_trivial, rngs=rngs, **types)
        for size, term in zip(num_inputs, field.terms, strict=True)
        if size
    ]


def check_reach(terms: tuple[Term, ...], what: str) -> None:
    """Raises an error where equivariance leaves no linear map to or from some terms.

    Args:
      terms: Terms without such a map; none where all is well.
      what: Beginning of the message, before the terms.

    Raises:
      ValueError: If there are any.
    """
    if terms:
        names = ", ".join(term.single for term in terms)
        raise ValueError(f"{what} {names}: no equivariant linear map does; give it another term")
