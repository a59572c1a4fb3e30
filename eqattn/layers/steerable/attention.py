"""Attention and convolution of fields: exact, local, smooth, and with directions."""

import itertools
import math
from collections.abc import Set
from dataclasses import dataclass
from typing import Any, Unpack

import jax.numpy as jnp
from flax import nnx

from eqattn import attention
from eqattn.attention import (
    Content,
    DotProduct,
    HarmonicBasis,
    KernelContent,
    Neighborhood,
)
from eqattn.attention.api import Implementation
from eqattn.checks import check_instance, check_sizes
from eqattn.fields import FieldType, scalars, vectors
from eqattn.groups import T
from eqattn.layers.contents import DotProductContent
from eqattn.layers.family import LayerTypes
from eqattn.layers.pairs import Surroundings, term_of
from eqattn.layers.steerable.kernel_map import KernelMap
from eqattn.layers.steerable.kernel_query import KernelQuery
from eqattn.layers.steerable.linear import FieldLinear
from eqattn.layers.steerable.parts import Parts, Places, check_field, check_parts
from eqattn.layers.values import BernsteinValues, ValueBasis
from eqattn.layers.weights import WeightOptions
from eqattn.numerics import at_least_float32, centered
from eqattn.spaces import DistanceSpace
from eqattn.spaces.base import Space
from eqattn.specification import Specification
from eqattn.typing import Array, Float


@dataclass(frozen=True, repr=False, kw_only=True)
class HarmonicKernel(Specification):
    """Kernels that see directions: radial functions times solid harmonics."""

    radial: ValueBasis = BernsteinValues()
    """Basis of functions of the distance."""
    max_degree: int = 1
    """Highest degree of the harmonics."""
    in_logits: bool = False
    """Whether the content term sees keys through kernels, too: q_i · (κ(x_j - x_i) k_j), as in the
    SE(3)-Transformer (arXiv 2006.10503)."""
    length: float = 1.0
    """Distance about which harmonics grow, in the length unit of the points; see
    :class:`eqattn.attention.HarmonicBasis`."""

    def __post_init__(self):
        super().__post_init__()
        check_sizes({"max_degree": self.max_degree}, minimum=0)
        if not 0 < self.length < math.inf:
            raise ValueError(f"length must be finite and above 0, got {self.length}")


@dataclass(frozen=True, repr=False, kw_only=True)
class FieldLayer(WeightOptions):
    """A layer that sums fields over points; without content and location it is a convolution.

    Of the content terms only inner products of fields are invariants, so that there is no other
    than :class:`DotProductContent`.
    """

    kernel: HarmonicKernel | None = None
    """Kernels that are applied to fields as they are summed; None for none."""
    differences: bool = True
    """Whether the differences of positions are summed as well: one vector for each head."""
    implementation: Implementation | None = None
    """Back end of :func:`eqattn.attention.attend`; None for the one that fits the sizes."""

    def __post_init__(self):
        super().__post_init__()
        if not isinstance(self.content, DotProductContent | None):
            raise ValueError(
                "content of a FieldLayer must be DotProductContent() or None: of fields only inner "
                f"products are invariants, got {self.content}"
            )
        if self.content is None and self.kernel is not None and self.kernel.in_logits:
            raise ValueError("content must be given where kernels are in the logits, got None")
        if self.kernel is None and self.content is self.location is None:
            raise ValueError("kernel must be given where there is neither content nor location")

    def build(
        self,
        field: FieldType,
        space: Space,
        *,
        output_field: FieldType | None = None,
        num_pair_data: int = 0,
        rngs: nnx.Rngs,
        **types: Unpack[LayerTypes],
    ) -> "FieldAttention":
        """The layer with fresh parameters; arguments as of :class:`FieldAttention`."""
        given: dict[str, Any] = {"num_pair_data": num_pair_data, "rngs": rngs, **types}
        return FieldAttention(field, space, self, output_field=output_field, **given)


NUMBER_TYPES = ("dtype", "param_dtype", "precision")
"""What of the types of a layer its linear maps take."""


class FieldAttention(nnx.Module):
    """Attention that takes fields to fields, with kernels κ(x_j - x_i) for values.

    out_i = Σ_j w_ij κ(x_j - x_i) f_j, with weights w of logits that are invariants: products
    q_i·k_j of fields, and functions of the distance. Uniform weights make it the Tensor Field
    Network (arXiv 1802.08219), attention weights the SE(3)-Transformer's family (arXiv 2006.10503).
    Both are published with sums over the other points alone: here weights are normalized over all
    points that are seen, and the point itself is one of them.

    Equivariance: exact to all of G = Rⁿ ⋊ H, for fields of orthogonal representations.

    >>> import eqattn, jax
    >>> from eqattn.layers.steerable import Places, join_parts, split_parts
    >>> space = eqattn.spaces.euclidean(eqattn.groups.SE(3))
    >>> field = FieldType.parse("8x scalar + 8x vector")
    >>> layer = FieldLayer().build(field, space, rngs=nnx.Rngs(0))
    >>> points = jax.random.normal(jax.random.key(0), (2, 5, 3))
    >>> features = jax.random.normal(jax.random.key(1), (2, 5, field.size(space)))
    >>> parts = jax.jit(layer)(split_parts(space, field, features), Places.of(points))
    >>> [part.shape for part in parts], join_parts(parts).shape
    ([(2, 5, 1, 8), (2, 5, 3, 8)], (2, 5, 32))

    Args:
      field: Type of the fields in; each term needs copies for all heads.
      space: Rⁿ under translations and a compact group of isometries.
      layer: Options of the layer.
      output_field: Type of the fields out; by default that of the fields in.
      num_pair_data: Numbers that are known of each pair.
      activation: Activation of the MLPs, or its name in ``jax.nn``.
      final_activation: Whether it also follows the last layer of the MLPs.
      dtype: Data type of the products; geometry, logits and bases stay float32 or wider.
      param_dtype: Data type of the parameters.
      precision: Precision of the products.
      rngs: Random streams of the initial values.

    Raises:
      TypeError: For an argument of another type.
      ValueError: For a space without such kernels, a field whose representation is not orthogonal,
        or whose copies the heads do not divide; for differences that no term takes up, and data of
        pairs that nothing sees.
    """

    def __init__(
        self,
        field: FieldType,
        space: Space,
        layer: FieldLayer = FieldLayer(),
        *,
        output_field: FieldType | None = None,
        num_pair_data: int = 0,
        rngs: nnx.Rngs,
        **types: Unpack[LayerTypes],
    ):
        check_instance("layer", layer, FieldLayer)
        check_instance("rngs", rngs, nnx.Rngs)
        check_sizes({"num_pair_data": num_pair_data}, minimum=0)
        check_field(field, space, layer.num_heads)
        self.field, self.space, self.options = field, space, layer
        self.output_field = field if output_field is None else output_field
        check_field(self.output_field, space)
        self.num_pair_data, self.precision = num_pair_data, types.get("precision")
        self.elements = DistanceSpace(T(space.point_dim))
        given: dict[str, Any] = dict(types)
        numbers = {name: given[name] for name in NUMBER_TYPES if name in given}

        def linear(before: FieldType, after: FieldType = field) -> FieldLinear:
            return FieldLinear(space, before, after, rngs=rngs, **numbers)

        self.query = None if layer.content is None else linear(field)
        self.key = None if layer.content is None else linear(field)
        # Kernels mix all channels after the sums, so that a map before them would add nothing.
        self.value = linear(field) if layer.kernel is None else None
        around = Surroundings(
            self.elements,
            "invariants",
            layer.num_heads,
            field.size(space) // layer.num_heads,
            types.get("activation", "swish"),
            types.get("final_activation", False),
            types.get("param_dtype", float),
            rngs,
            num_pair_data,
        )
        self.content, self.location, self.combination = layer.build_terms(around)
        heads = layer.num_heads
        kernels: dict[str, Any] = {"num_heads": heads, "rngs": rngs, **numbers}
        if layer.kernel is not None:
            kernels["num_radial"] = layer.kernel.radial.num_basis
            kernels["max_degree"] = layer.kernel.max_degree
        self._check_pair_data()
        self.kernel_query = (
            KernelQuery(space, field, **kernels)
            if layer.kernel is not None and layer.kernel.in_logits
            else None
        )
        self.radial = None if layer.kernel is None else layer.kernel.radial.build(around)
        summed = field if layer.kernel is None or not layer.differences else field + scalars(heads)
        self.output = (
            linear(field + vectors(heads) if layer.differences else field, self.output_field)
            if layer.kernel is None
            else KernelMap(space, summed, self.output_field, **kernels)
        )
        self._check_differences()

    def _check_differences(self) -> None:
        if not self.options.differences:
            return
        if isinstance(self.output, FieldLinear):
            leads = not self.output.lost_terms
        else:
            leads = self.output.sees_directions(self.output.input_field.terms[-1])
        if not leads:
            kernel = self.options.kernel
            degree = "" if kernel is None else f" with harmonics up to degree {kernel.max_degree}"
            raise ValueError(
                f"differences must be False for the field {self.output_field}{degree}, which takes "
                "up no vectors"
            )

    def _check_pair_data(self) -> None:
        layer = self.options
        sees = layer.kernel is not None and layer.kernel.radial.sees_coordinates
        if self.num_pair_data and layer.location is None and not sees:
            raise ValueError(
                f"num_pair_data must be 0 where nothing sees the data of pairs, got "
                f"{self.num_pair_data}: there is no location term, and radial functions such as "
                "BernsteinValues see the distance alone"
            )

    def reached(self, sources: Set[int]) -> set[int]:
        """Numbers of the field's terms that are not zeros in the output.

        Args:
          sources: Numbers of its terms that are not zeros in the input.
        """
        sources = set(sources) if self.value is None else self.value.reached(sources)
        if self.options.differences:  # The term behind those of the field.
            sources |= {len(self.field.terms)}
        return self.output.reached(sources)

    def __call__(
        self,
        parts: Parts,
        places: Places,
        neighborhood: Neighborhood | None = None,
        pair_data: Float[Array, "*B N _ P"] | None = None,
    ) -> Parts:
        """New fields at the points, zeros at masked ones.

        Args:
          parts: Fields, see :data:`Parts`; zeros at masked points.
          places: Where they are.
          neighborhood: Keys that each point sees; all by default.
          pair_data: What is known of pairs; with a neighborhood, of those with its neighbors.

        Raises:
          ValueError: For fields of other shapes, or other data of pairs than the layer is made for.
        """
        check_parts(parts, self.field, self.space)
        num_data = 0 if pair_data is None else pair_data.shape[-1]
        if num_data != self.num_pair_data:
            raise ValueError(
                f"pair_data must have {self.num_pair_data} numbers of each pair, got {num_data}"
            )
        moved = None if neighborhood is None else neighborhood.elements
        values, position = self._heads(parts if self.value is None else self.value(parts)), None
        differences = None
        if self.options.differences and self.radial is not None:
            # A constant is taken to vectors by the kernels of degree 1.
            values = jnp.concatenate([values, jnp.ones_like(values[..., :1])], axis=-1)
        elif self.options.differences and moved is not None:
            differences = at_least_float32(moved - places.positions[..., None, :])
            values = values.astype(jnp.promote_types(values.dtype, differences.dtype))
        elif self.options.differences:
            position = self._positions(places, values.shape)
            wide = jnp.promote_types(values.dtype, position.dtype)
            parts_of_value = (values, position, jnp.ones_like(position[..., :1]))
            values = jnp.concatenate([x.astype(wide) for x in parts_of_value], axis=-1)
        basis = self._basis()
        sums = attention.attend(
            query=self._queries(parts),
            key=None if self.key is None else self._heads(self.key(parts)),
            value=values,
            query_elements=places.positions,
            key_elements=places.positions,
            location=term_of(self.location),
            content=self._content(basis),
            basis=basis,
            envelope=self.options.envelope(self.elements),
            pair_data=pair_data,
            pair_values=differences,
            neighborhood=neighborhood,
            query_mask=places.mask,
            key_mask=places.mask,
            log_weights=places.log_weights,
            combine=term_of(self.combination),
            normalize=self.options.normalize,
            precision=self.precision,
            implementation=self.options.implementation,
        ).astype(parts[0].dtype)
        if isinstance(self.output, KernelMap):
            out = self.output(sums)
        else:
            out = self.output(self._fields(sums, position, differences is not None))
        return tuple(jnp.where(places.mask[..., None, None], x, 0) for x in out)

    def _queries(self, parts: Parts) -> Float[Array, "*B N H _"] | None:
        if self.query is None:
            return None
        query = self.query(parts)
        return self._heads(query) if self.kernel_query is None else self.kernel_query(query)

    def _content(self, basis: HarmonicBasis | None) -> Content:
        if self.kernel_query is None or basis is None:
            return term_of(self.content) or DotProduct()
        return KernelContent(basis, self.kernel_query.num_basis)

    def _basis(self) -> HarmonicBasis | None:
        kernel = self.options.kernel
        if kernel is None:
            return None
        radial, size = term_of(self.radial), kernel.radial.num_basis
        return HarmonicBasis(radial, size, self.elements, kernel.max_degree, kernel.length)

    def _positions(self, places: Places, shape: tuple[int, ...]) -> Float[Array, "*B N H D"]:
        """Positions for each head, about their mean: a sum of large numbers would lose digits."""
        positions = centered(at_least_float32(places.positions), places.mask)
        return jnp.broadcast_to(positions[..., None, :], (*shape[:-1], positions.shape[-1]))

    def _heads(self, parts: Parts) -> Float[Array, "*B N H _"]:
        """For each head its copies of all terms in a row, components before copies."""
        rows, heads = [], self.options.num_heads
        for x in parts:
            *batch, size, copies = x.shape
            x = jnp.moveaxis(x.reshape(*batch, size, heads, copies // heads), -2, -3)
            rows.append(x.reshape(*batch, heads, size * copies // heads))
        return jnp.concatenate(rows, axis=-1)

    def _fields(
        self,
        sums: Float[Array, "*B N H _"],
        position: Float[Array, "*B N H D"] | None,
        has_differences: bool,
    ) -> Parts:
        """The fields that were summed, and the vectors Σ_j w_ij (x_j - x_i).

        These are sums of differences, or of positions of which the query's is subtracted here.
        """
        sizes = [term.size(self.space) for term in self.field.terms]
        copies = [term.multiplicity // self.options.num_heads for term in self.field.terms]
        widths = [size * number for size, number in zip(sizes, copies, strict=True)]
        *rows, rest = jnp.split(sums, list(itertools.accumulate(widths)), axis=-1)
        out = []
        for size, row in zip(sizes, rows, strict=True):
            x = row.reshape(*row.shape[:-1], size, row.shape[-1] // size)
            x = jnp.moveaxis(x, -3, -2)
            out.append(x.reshape(*x.shape[:-2], x.shape[-2] * x.shape[-1]))
        if has_differences:
            out.append(jnp.swapaxes(rest, -1, -2))
        if position is not None:
            moved, total = rest[..., :-1], rest[..., -1:]
            out.append(jnp.swapaxes(moved - total * position.astype(rest.dtype), -1, -2))
        return tuple(out)
