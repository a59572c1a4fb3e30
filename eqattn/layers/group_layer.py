"""What attention, attentive convolution and LieConv share, as one layer."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from eqattn import attention
from eqattn.activations import activation_fn
from eqattn.attention import Neighborhood
from eqattn.attention.api import Implementation
from eqattn.checks import check_instance, check_sizes
from eqattn.layers.family import Layer
from eqattn.layers.linear import Linear
from eqattn.layers.pairs import Surroundings, term_of
from eqattn.layers.tokens import Tokens, flat_tokens, one_hot
from eqattn.layers.values import ValueBasis
from eqattn.lift import Lift, Lifted
from eqattn.sharding import on_any_mesh
from eqattn.spaces.base import Coordinates, Space
from eqattn.typing import Activation, Array, DType, Float


@dataclass(frozen=True, repr=False, kw_only=True)
class PairLayer(Layer):
    """A layer whose terms see pairs of group elements."""

    coordinates: Coordinates | None = None
    """Coordinates of the pairs that terms and bases see; None for those of the lift that a model
    has ("invariants" without samples, "embedding" with them), and "invariants" in a layer alone."""
    implementation: Implementation | None = None
    """Back end of :func:`eqattn.attention.attend`; None for the one that fits the sizes."""

    @property
    def sees_coordinates(self) -> bool:
        """Whether a term or basis depends on the coordinates of pairs."""
        raise NotImplementedError

    def on_lift(self, lift: Lift, space: Space) -> "PairLayer":
        """See :meth:`Layer.on_lift`: the coordinates that the lift allows."""
        pair_space = lift.pair_space(space)
        chosen = self.coordinates or lift.default_coordinates(pair_space)
        lift.check_coordinates(pair_space, chosen if self.sees_coordinates else None)
        return dataclasses.replace(self, coordinates=chosen)


class GroupLayer(nnx.Module):
    """Sums over pairs of group elements, with weights w that subclasses choose.

    out_i = W_O concat_hm Σ_j w_ij^h φ_m(g_i⁻¹ g_j) W_V^h F_j, which without a basis is attention
    (φ = 1), and with one lets location decide what is done to F_j: by Σ_m φ_m(g_i⁻¹ g_j) W_Om W_V.
    No matrix is made for a pair, since W_O follows the sums.

    Equivariance: exact to G acting on the elements of the lift, [u·F](g) = F(u⁻¹ g); on data, as
    exact as the lift is.

    Args:
      dim: Channels in and out.
      space: Space of the points.
      layer: Options of the layer.
      num_heads: Number of heads.
      head_dim: Channels of a query, and of a key, in one head.
      values: Basis of the values; None for values that location does not change.
      activation: Activation function of the MLPs, or its name in ``jax.nn``.
      final_activation: Whether it also follows the last layer of the MLPs, as published.
      dtype: Data type of the products; geometry, logits and bases stay float32 or wider.
      param_dtype: Data type of the parameters.
      precision: Precision of the products.
      rngs: Random streams of the initial values.

    Raises:
      TypeError: For a size that is not an integer, or a ``space`` of another type.
      ValueError: For a size below 1, or an unknown option; in a call, for a lift of another space
        or width, a neighborhood of others, or other coordinates than ``"invariants"`` on a lift by
        ``NoLift``.
    """

    value: Linear | None
    output: Linear

    def __init__(
        self,
        dim: int,
        space: Space,
        layer: PairLayer,
        *,
        num_heads: int,
        head_dim: int,
        values: ValueBasis | None,
        activation: Activation = "swish",
        final_activation: bool = False,
        dtype: DType | None = None,
        param_dtype: DType = float,
        precision: jax.lax.Precision | None = None,
        rngs: nnx.Rngs,
    ):
        check_instance("rngs", rngs, nnx.Rngs)
        check_instance("space", space, Space)
        check_sizes({"dim": dim})
        activation_fn(activation)
        self.dim, self.num_heads, self.space = dim, num_heads, space
        self.coordinates: Coordinates = layer.coordinates or "invariants"
        space.num_coordinates(self.coordinates)
        self.options = layer
        self.dtype, self.param_dtype, self.precision = dtype, param_dtype, precision
        self.activation, self.final_activation = activation, final_activation
        self.num_basis = 1 if values is None else values.num_basis
        self.basis = None if values is None else values.build(self._around(head_dim, rngs))

    @on_any_mesh("lifted", 3)
    def __call__(
        self,
        lifted: Lifted,
        neighborhood: Neighborhood | None = None,
        keys: Lifted | None = None,
    ) -> Float[Array, "*B N S C"]:
        """New features at the elements of ``lifted``, zeros at masked points.

        Args:
          lifted: Elements and features of the queries.
          neighborhood: Keys that each query sees, from :func:`eqattn.attention.find_neighbors`
            (with ``queries`` where the keys are others); all by default.
          keys: What is summed over; ``lifted`` itself by default.
        """
        rows, columns = self._rows_and_columns(lifted, neighborhood, keys)
        value = columns.features if self.value is None else self.value(columns.features)
        attended = self._attend(
            rows, columns, neighborhood, self._heads(value), term_of(self.basis)
        )
        *batch, num_points, num_samples, _ = lifted.features.shape
        sums = attended.reshape(*batch, num_points, num_samples, self.num_basis * self.dim)
        return jnp.where(lifted.mask[..., None, None], self.output(sums), 0)

    @on_any_mesh("lifted", 3)
    def attention_weights(
        self,
        lifted: Lifted,
        neighborhood: Neighborhood | None = None,
        keys: Lifted | None = None,
    ) -> Float[Array, "*B T H K"]:
        """The weights w_ij^h that each element i gives the elements j, to look at.

        Tokens are elements, those of one point in a row. Memory grows like T·K·H.

        Args:
          lifted: Elements and features of the queries.
          neighborhood: Keys that each query sees; all by default. Others get the weight 0.
          keys: Elements that are summed over; ``lifted`` itself by default.
        """
        rows, columns = self._rows_and_columns(lifted, neighborhood, keys)
        weights = self._attend(rows, columns, neighborhood, one_hot(columns, self.num_heads), None)
        return jnp.where(rows.mask[..., None, None], weights, 0)

    def _rows_and_columns(
        self, lifted: Lifted, neighborhood: Neighborhood | None, keys: Lifted | None
    ) -> tuple[Tokens, Tokens]:
        if neighborhood is not None and not isinstance(neighborhood, Neighborhood):
            raise ValueError(
                f"neighborhood must be a Neighborhood, which find_neighbors makes, "
                f"got {neighborhood!r}"
            )
        keys = lifted if keys is None else keys
        return self._tokens("lifted", lifted), self._tokens("keys", keys)

    def _attend(
        self,
        rows: Tokens,
        columns: Tokens,
        neighborhood: Neighborhood | None,
        value: Float[Array, "*B K H V"],
        basis: attention.Location | None,
    ) -> Float[Array, "*B T H _"]:
        return attention.attend(
            value=value,
            query_elements=rows.elements,
            key_elements=columns.elements,
            basis=basis,
            neighborhood=neighborhood,
            query_orbits=rows.orbit_invariants,
            key_orbits=columns.orbit_invariants,
            query_mask=rows.mask,
            key_mask=columns.mask,
            log_weights=columns.log_weights,
            precision=self.precision,
            implementation=self.options.implementation,
            **self._weights(rows, columns),
        )

    def _weights(self, queries: Tokens, keys: Tokens) -> dict[str, Any]:
        """What of the arguments of ``attend`` makes the weights: here nothing, they are uniform."""
        return {"query": None, "key": None}

    def _around(self, head_dim: int, rngs: nnx.Rngs) -> Surroundings:
        return Surroundings(
            self.space,
            self.coordinates,
            self.num_heads,
            head_dim,
            self.activation,
            self.final_activation,
            self.param_dtype,
            rngs,
        )

    def _linear(self, size_in: int, size_out: int, rngs: nnx.Rngs) -> Linear:
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype, "precision": self.precision}
        return Linear(size_in, size_out, **types, rngs=rngs)

    def _heads(self, x: Float[Array, "*B T C"]) -> Float[Array, "*B T H _"]:
        return x.reshape(*x.shape[:-1], self.num_heads, x.shape[-1] // self.num_heads)

    def _tokens(self, name: str, lifted: Lifted) -> Tokens:
        """Points and samples on one axis, with zeros for features that do not count."""
        if self.options.sees_coordinates and isinstance(lifted, Lifted):
            lifted.check_coordinates(self.space, self.coordinates)
        return flat_tokens(name, lifted, self.dim, self.space.group)
