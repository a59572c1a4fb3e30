"""What attention, attentive convolution and LieConv share, as one layer."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from eqattn import attention
from eqattn.activations import activation_fn
from eqattn.attention import BernsteinBasis, Neighborhood, PairFeatures, PairMLP
from eqattn.attention.api import Implementation
from eqattn.checks import check_instance, check_option, check_sizes
from eqattn.layers.linear import Linear
from eqattn.layers.terms import FourierParameters, MLPParameters
from eqattn.layers.tokens import Tokens, flat_tokens, one_hot
from eqattn.lift import Lifted
from eqattn.spaces.base import Coordinates, Space
from eqattn.typing import Activation, Array, DType, Float

Basis = Literal["mlp", "fourier", "bernstein"]
NUM_BASIS = 8
"""Basis functions of location-dependent values, where no number is given."""


class GroupLayer(nnx.Module):
    """Sums over pairs of group elements, with weights w that subclasses choose.

    out_i = W_O concat_hm Σ_j w_ij^h φ_m(g_i⁻¹ g_j) W_V^h F_j, which without a basis is attention
    (φ = 1), and with one lets location decide what is done to F_j: by Σ_m φ_m(g_i⁻¹ g_j) W_Om W_V.
    No matrix is made for a pair, since W_O follows the sums.

    Equivariance: exact to G acting on the elements of the lift, [u·F](g) = F(u⁻¹ g); on data, as
    exact as the lift is.

    Args:
      dim: channels in and out.
      num_heads: number of heads.
      space: where the points live.
      coordinates: Coordinates of the pairs that terms and bases see.
      basis: Basis of the values: ``"mlp"``, the outputs of an MLP of the pair; ``"fourier"``,
        cosines of learned frequencies and phases of its coordinates; ``"bernstein"``, polynomials
        of the squared distance of the points, smooth up to and at ``cutoff`` (isotropic: it sees
        nothing else); None for values that location does not change.
      num_basis: number of basis functions, 8 by default.
      location_dim: width of the MLPs of pairs.
      location_layers: number of their linear maps, at least 1.
      num_radial: radial basis functions of the distance that they see besides the coordinates; see
        :class:`eqattn.attention.PairFeatures`. Only where something sees them.
      cutoff: where the last of them is centered, and Bernstein polynomials end (under T(n) and
        SE(n), in the unit of the points).
      activation: Activation function of the MLPs, or its name in ``jax.nn``.
      final_activation: whether it also follows the last layer of the MLPs, as published.
      dtype: Data type of the products; geometry, logits and bases stay float32 or wider.
      param_dtype: Data type of the parameters.
      precision: Precision of the products.
      implementation: back end of :func:`eqattn.attention.attend`.
      rngs: for the initial values.

    Raises:
      TypeError: for a size that is not an integer, or a ``space`` that is none.
      ValueError: for a size below 1, an unknown option, or ``num_basis`` without a basis; in a
        call, for a lift of another space or width, a neighborhood of others, or other coordinates
        than ``"invariants"`` on a lift by ``NoLift``.
    """

    value: Linear | None
    output: Linear

    def __init__(
        self,
        dim: int,
        num_heads: int,
        space: Space,
        *,
        coordinates: Coordinates = "embedding",
        basis: Basis | None = None,
        num_basis: int | None = None,
        location_dim: int = 32,
        location_layers: int = 3,
        num_radial: int = 0,
        cutoff: float = 1.0,
        activation: Activation = "swish",
        final_activation: bool = False,
        dtype: DType | None = None,
        param_dtype: DType = float,
        precision: jax.lax.Precision | None = None,
        implementation: Implementation | None = None,
        rngs: nnx.Rngs,
    ):
        check_instance("rngs", rngs, nnx.Rngs)
        check_sizes({"dim": dim, "num_heads": num_heads})
        check_sizes({"location_dim": location_dim, "location_layers": location_layers})
        activation_fn(activation)
        if implementation is not None:
            check_option("implementation", implementation, Implementation)
        self.dim = dim
        self.num_heads = num_heads
        self.features = PairFeatures(space, coordinates, num_radial, cutoff)
        self.hidden = (location_dim,) * (location_layers - 1)
        self.activation = activation
        self.final_activation = final_activation
        self.dtype, self.param_dtype, self.precision = dtype, param_dtype, precision
        self.implementation: Implementation | None = implementation
        self.basis_kind = basis
        self.num_basis = _num_basis(basis, num_basis)
        sizes = (self.features.size, *self.hidden, self.num_basis)
        types: dict[str, Any] = {"param_dtype": param_dtype, "rngs": rngs}
        self.basis = (
            MLPParameters(sizes, 1, preserve=activation, **types)
            if basis == "mlp"
            else FourierParameters(self.features, self.num_basis, **types)
            if basis == "fourier"
            else None
        )

    def __call__(
        self,
        lifted: Lifted,
        neighborhood: Neighborhood | None = None,
        keys: Lifted | None = None,
    ) -> Float[Array, "*B N S C"]:
        """New features at the elements of ``lifted``, zeros at masked points.

        Args:
          lifted: elements and features of the queries.
          neighborhood: which keys each query sees, from :func:`eqattn.attention.find_neighbors`
            (with ``queries`` where the keys are others); all by default.
          keys: what is summed over; ``lifted`` itself by default.
        """
        rows, columns = self._rows_and_columns(lifted, neighborhood, keys)
        value = columns.features if self.value is None else self.value(columns.features)
        attended = self._attend(rows, columns, neighborhood, self._heads(value), self._basis())
        *batch, num_points, num_samples, _ = lifted.features.shape
        sums = attended.reshape(*batch, num_points, num_samples, self.num_basis * self.dim)
        return jnp.where(lifted.mask[..., None, None], self.output(sums), 0)

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
            implementation=self.implementation,
            **self._weights(rows, columns),
        )

    def _weights(self, queries: Tokens, keys: Tokens) -> dict[str, Any]:
        """What of the arguments of ``attend`` makes the weights: here nothing, they are uniform."""
        return {"query": None, "key": None}

    @property
    def _sees_coordinates(self) -> bool:
        return self.basis is not None

    def _linear(self, size_in: int, size_out: int, rngs: nnx.Rngs) -> Linear:
        types = {"dtype": self.dtype, "param_dtype": self.param_dtype, "precision": self.precision}
        return Linear(size_in, size_out, **types, rngs=rngs)

    def _heads(self, x: Float[Array, "*B T C"]) -> Float[Array, "*B T H _"]:
        return x.reshape(*x.shape[:-1], self.num_heads, x.shape[-1] // self.num_heads)

    def _basis(self) -> attention.Location | None:
        if self.basis_kind == "bernstein":
            return BernsteinBasis(self.features.space, self.num_basis, self.features.cutoff)
        if isinstance(self.basis, FourierParameters):
            return self.basis.term()
        return None if self.basis is None else self._pair_mlp(self.basis)

    def _pair_mlp(self, parameters: MLPParameters) -> PairMLP:
        weights, biases = parameters.arrays()
        return PairMLP(weights, biases, self.features, self.activation, self.final_activation)

    def _tokens(self, name: str, lifted: Lifted) -> Tokens:
        """Points and samples on one axis, with zeros for features that do not count."""
        if self._sees_coordinates and isinstance(lifted, Lifted):
            lifted.check_coordinates(self.features.space, self.features.coordinates)
        return flat_tokens(name, lifted, self.dim, self.features.space.group)


def _num_basis(basis: Basis | None, num_basis: int | None) -> int:
    """How many basis functions there are: 1, the constant, without a basis."""
    if basis is None:
        if num_basis is not None:
            raise ValueError(f"num_basis must be None without a basis, got {num_basis}")
        return 1
    check_option("basis", basis, Basis)
    num_basis = NUM_BASIS if num_basis is None else num_basis
    check_sizes({"num_basis": num_basis})
    return num_basis
