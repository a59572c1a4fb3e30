"""What is done to the fields of each point alone: gates, products and an MLP of invariants."""

from collections.abc import Set
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from eqattn.activations import activation_fn
from eqattn.fields import FieldType, Term
from eqattn.kernels.products import product_maps
from eqattn.layers.linear import Linear
from eqattn.layers.steerable.linear import FieldLinear
from eqattn.layers.steerable.parts import Parts
from eqattn.spaces.base import Space
from eqattn.typing import Activation, Array, Float


class FieldMLP(nnx.Module):
    """An MLP of the invariants at a point, whose outputs are scalars and gates of the other fields.

    Two linear maps u and v of the fields are made, and v is divided by √(1 + |u|² + |v|²), so that
    products of both grow no faster than they do. The hidden layer sees the scalars and the inner
    products of u and v, which are invariants; it gives new scalars, and a factor between 0 and 2
    for each copy of every other term of u. With ``products`` those products of u and v that are
    terms of the field again are added to them, such as the cross products of vectors under SO(3):
    the first copy with the first, and so on for as many copies as both terms have.

    Equivariance: exact for fields of orthogonal representations. Activations act on true scalars
    alone: nothing is applied to the components of another field, nor to pseudoscalars.

    Args:
      field: Type of the fields in and out, which has scalars.
      space: Rⁿ under translations and a compact group of isometries.
      ratio: Hidden width, as a multiple of the scalars of the field.
      products: Whether products of fields are fields of the output, too.
      activation: Activation function, or its name in ``jax.nn``.
      rngs: Random streams of the initial values.
      **types: Data types and precision, as ``flax.nnx.Linear`` takes them.

    Raises:
      ValueError: For a field without scalars, or products where no two terms have any.
    """

    def __init__(
        self,
        field: FieldType,
        space: Space,
        *,
        ratio: float = 2.0,
        products: bool = False,
        activation: Activation = "swish",
        rngs: nnx.Rngs,
        **types: Any,
    ):
        scalar, others = split_terms(field)
        self.field, self.space, self.activation = field, space, activation
        width = max(1, round(ratio * scalar.multiplicity))
        self.others = others
        num_copies = sum(term.multiplicity for term in others)
        inputs = scalar.multiplicity + num_copies
        self.input = Linear(inputs, width, rngs=rngs, **types)
        self.output = Linear(width, scalar.multiplicity, rngs=rngs, **types)
        if not others:
            _check_products(products, (), field)
            return
        self.first, self.second = (
            FieldLinear(space, field, FieldType(others), rngs=rngs, **types) for _ in range(2)
        )
        self.gates = Linear(width, num_copies, rngs=rngs, **types)
        self.paths = tuple(self._paths()) if products else ()
        _check_products(products, self.paths, field)
        made = [
            others[c]._replace(multiplicity=min(others[a].multiplicity, others[b].multiplicity))
            for a, b, c, _ in self.paths
        ]
        self.last = FieldLinear(
            space, FieldType((*others, *made)), FieldType(others), rngs=rngs, **types
        )

    def reached(self, sources: Set[int]) -> set[int]:
        """Numbers of the field's terms that are not zeros in the output.

        Args:
          sources: Numbers of its terms that are not zeros in the input.
        """
        trivial = {i for i, term in enumerate(self.field.terms) if term.is_trivial}
        if not self.others:
            return trivial
        first, second = self.first.reached(sources), self.second.reached(sources)
        products = enumerate(self.paths, len(self.others))
        made = {n for n, (a, b, _, _) in products if a in first and b in second}
        numbers = [i for i, _ in enumerate(self.field.terms) if i not in trivial]
        return trivial | {numbers[k] for k in self.last.reached(first | made)}

    def __call__(self, parts: Parts) -> Parts:
        """New fields at each point."""
        activation = activation_fn(self.activation)
        trivial = [x for x, term in zip(parts, self.field.terms, strict=True) if term.is_trivial]
        scalars = jnp.concatenate([x[..., 0, :] for x in trivial], axis=-1)
        if not self.others:
            hidden = activation(self.input(scalars))
            return self._join(self.output(hidden), ())
        first, second = self.first(parts), self.second(parts)
        second = tuple(_bounded(v, u) for u, v in zip(first, second, strict=True))
        inner = [jnp.mean(u * v, axis=-2) for u, v in zip(first, second, strict=True)]
        hidden = activation(self.input(jnp.concatenate([scalars, *inner], axis=-1)))
        gates, start, gated = 2.0 * jax.nn.sigmoid(self.gates(hidden)), 0, []
        for u in first:
            gated.append(u * gates[..., None, start : start + u.shape[-1]])
            start += u.shape[-1]
        made = [self._product(path, first, second) for path in self.paths]
        return self._join(self.output(hidden), self.last((*gated, *made)))

    def _join(self, scalars: Float[Array, "*B C"], others: Parts) -> Parts:
        """All terms in the order of the field."""
        out, rest, start = [], iter(others), 0
        for term in self.field.terms:
            if term.is_trivial:
                out.append(scalars[..., None, start : start + term.multiplicity])
                start += term.multiplicity
            else:
                out.append(next(rest))
        return tuple(out)

    def _paths(self) -> list[tuple[int, int, int, int]]:
        """Terms a and b of u and v, a term c, and a number of the product."""
        terms = self.others
        return [
            (i, j, k, number)
            for i, a in enumerate(terms)
            for j, b in enumerate(terms)
            for k, c in enumerate(terms)
            for number in range(len(product_maps(self.space, a, b, c)))
        ]

    def _product(self, path: tuple[int, int, int, int], first: Parts, second: Parts) -> Array:
        i, j, k, number = path
        a, b, c = (self.others[n] for n in (i, j, k))
        tensor = product_maps(self.space, a, b, c)[number]
        copies = min(a.multiplicity, b.multiplicity)
        return jnp.einsum(
            "cab,...ax,...bx->...cx",
            jnp.asarray(tensor, first[i].dtype),
            first[i][..., :copies],
            second[j][..., :copies],
            precision=jax.lax.Precision.HIGHEST,
        )


def split_terms(field: FieldType) -> tuple[Term, tuple[Term, ...]]:
    """The scalars of a field as one term, and its other terms.

    Args:
      field: Type of the fields.

    Raises:
      ValueError: For a field without scalars.
    """
    trivial = [term for term in field.terms if term.is_trivial]
    if not trivial:
        raise ValueError(f"field must have scalars, which gates are made of, got {field}")
    num_scalars = sum(term.multiplicity for term in trivial)
    others = tuple(term for term in field.terms if not term.is_trivial)
    return trivial[0]._replace(multiplicity=num_scalars), others


def _check_products(products: bool, paths: tuple[Any, ...], field: FieldType) -> None:
    if products and not paths:
        raise ValueError(
            f"products must be False for the field {field}: no two of its terms but scalars have "
            "an equivariant product that is one of them"
        )


def _bounded(v: Float[Array, "*B r C"], u: Float[Array, "*B r C"]) -> Float[Array, "*B r C"]:
    """V / √(1 + |u|² + |v|²), with means over components, so that a product with u is no larger.

    Products themselves would grow like a power of two with each block, and overflow where nothing
    is normalized.
    """
    wide_u, wide_v = (x.astype(jnp.promote_types(x.dtype, jnp.float32)) for x in (u, v))
    squares = jnp.mean(wide_u**2 + wide_v**2, axis=-2, keepdims=True)
    return (wide_v * jax.lax.rsqrt(1.0 + squares)).astype(v.dtype)
