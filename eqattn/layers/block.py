"""Residual blocks: of the transformer, and the bottleneck of convolutional networks."""

from typing import Literal

import jax
from flax import nnx

from eqattn.activations import activation_fn
from eqattn.attention import Neighborhood
from eqattn.checks import check_option, check_sizes
from eqattn.layers.dropout import dropout
from eqattn.layers.family import LayerModule
from eqattn.layers.group_layer import GroupLayer
from eqattn.layers.linear import Linear
from eqattn.layers.norm import LayerNorm
from eqattn.lift import Lifted
from eqattn.sharding import on_any_mesh
from eqattn.typing import Activation, Array, DType, Float, Int, Key

Norm = Literal["pre", "post", "none"]


class TokenMLP(nnx.Module):
    """Linear, activation, linear, applied to each token.

    Args:
      dim: Channels in and out.
      hidden_dim: Channels between.
      activation: Activation function, or its name in ``jax.nn``.
      final_activation: Whether it follows the second linear map too, as published.
      dtype: Data type of the products.
      param_dtype: Data type of the parameters.
      precision: Precision of the products.
      rngs: Random streams of the initial values.

    Raises:
      TypeError: For a size that is not an integer.
      ValueError: For a size below 1.
    """

    def __init__(
        self,
        dim: int,
        hidden_dim: int,
        *,
        activation: Activation = "swish",
        final_activation: bool = False,
        dtype: DType | None = None,
        param_dtype: DType = float,
        precision: jax.lax.Precision | None = None,
        rngs: nnx.Rngs,
    ):
        check_sizes({"dim": dim, "hidden_dim": hidden_dim})
        options = {"dtype": dtype, "param_dtype": param_dtype, "precision": precision}
        self.input = Linear(dim, hidden_dim, **options, rngs=rngs)
        self.output = Linear(hidden_dim, dim, **options, rngs=rngs)
        self.activation = activation
        self.final_activation = final_activation

    def __call__(self, x: Float[Array, "*B C"]) -> Float[Array, "*B C"]:
        """Applies the MLP along the last axis."""
        activation = activation_fn(self.activation)
        out = self.output(activation(self.input(x)))
        return activation(out) if self.final_activation else out


class TransformerBlock(nnx.Module):
    """Residual attention and a residual MLP.

    ``norm="pre"``: x + f(LN(x)); ``"post"``: x + LN(f(x)), on the branch as published;
    ``"none"``: x + f(x), for f the attention, then the MLP.

    Equivariance: that of :class:`GroupLayer`; the rest acts on each token alone.

    Args:
      attention: The layer of attention, or another of its family.
      mlp: The MLP of every token.
      dim: Channels.
      norm: Where the layer norms (epsilon 1e-5) stand.
      dropout: Share of the channels of each branch that is dropped where a key is given.
      param_dtype: Data type of the parameters of the norms, which compute in float32 or wider.
      rngs: Random streams of the initial values.

    Raises:
      TypeError: For a ``dim`` that is not an integer.
      ValueError: For an unknown ``norm``, or a ``dim`` below 1.
    """

    def __init__(
        self,
        attention: LayerModule,
        mlp: TokenMLP,
        dim: int,
        *,
        norm: Norm = "pre",
        dropout: float = 0.0,
        param_dtype: DType = float,
        rngs: nnx.Rngs,
    ):
        check_option("norm", norm, Norm)
        check_sizes({"dim": dim})
        self.norm, self.dropout = norm, dropout
        self.attention = attention
        self.mlp = mlp
        self.attention_norm, self.mlp_norm = (
            LayerNorm(dim, param_dtype=param_dtype, rngs=rngs) if norm != "none" else None
            for _ in range(2)
        )

    @on_any_mesh("lifted", 3)
    def __call__(
        self,
        lifted: Lifted,
        neighborhood: Neighborhood | None = None,
        dropout_key: Key[Array, ""] | None = None,
        example_ids: Int[Array, "*B"] | None = None,
    ) -> Lifted:
        """The same elements with new features.

        Args:
          lifted: Elements and features.
          neighborhood: Keys that each query sees; all by default.
          dropout_key: Key of the dropout of both branches; None for none, as in evaluation.
          example_ids: Identity of each example, which that draw is keyed by.
        """
        keys = [None if dropout_key is None else jax.random.fold_in(dropout_key, i) for i in (0, 1)]

        def attend(y: Array) -> Array:
            out = self.attention(lifted=lifted.replace_features(y), neighborhood=neighborhood)
            return dropout(out, self.dropout, keys[0], example_ids)

        def transform(y: Array) -> Array:
            return dropout(self.mlp(y), self.dropout, keys[1], example_ids)

        x = self._residual(lifted.features, self.attention_norm, attend)
        x = self._residual(x, self.mlp_norm, transform)
        return lifted.replace_features(x)

    def _residual(self, x: Array, norm: LayerNorm | None, branch) -> Array:
        if norm is None:
            return x + branch(x)
        if self.norm == "pre":
            return x + branch(norm(x).astype(x.dtype))
        return x + norm(branch(x)).astype(x.dtype)


class BottleneckBlock(nnx.Module):
    """x + up(a(conv(a(down(a(LN(x))))))), with a convolution of fewer channels (arXiv 2002.12880).

    The block of LieConv, with a layer norm of each token for its batch norms. With fewer queries
    than keys it also reduces points: x is then what the queries have.

    Equivariance: that of :class:`GroupLayer`; the rest acts on each token alone.

    Args:
      convolution: The layer, of the family, that sums over points.
      dim: Channels in and out.
      norm: ``"pre"`` for the layer norm (epsilon 1e-5), ``"none"`` without.
      dropout: Share of the channels of the branch that is dropped where a key is given.
      activation: The function a, or its name in ``jax.nn``.
      dtype: Data type of the products.
      param_dtype: Data type of the parameters.
      precision: Precision of the products.
      rngs: Random streams of the initial values.

    Raises:
      TypeError: For a ``dim`` that is not an integer.
      ValueError: For an unknown ``norm`` or activation, or a ``dim`` below 1.
    """

    def __init__(
        self,
        convolution: GroupLayer,
        dim: int,
        *,
        norm: Literal["pre", "none"] = "pre",
        dropout: float = 0.0,
        activation: Activation = "swish",
        dtype: DType | None = None,
        param_dtype: DType = float,
        precision: jax.lax.Precision | None = None,
        rngs: nnx.Rngs,
    ):
        check_option("norm", norm, Literal["pre", "none"])
        check_sizes({"dim": dim})
        activation_fn(activation)
        options = {"dtype": dtype, "param_dtype": param_dtype, "precision": precision}
        self.norm = LayerNorm(dim, param_dtype=param_dtype, rngs=rngs) if norm == "pre" else None
        self.dropout = dropout
        self.down = Linear(dim, convolution.dim, **options, rngs=rngs)
        self.convolution = convolution
        self.up = Linear(convolution.dim, dim, **options, rngs=rngs)
        self.activation = activation

    @on_any_mesh("lifted", 3)
    def __call__(
        self,
        lifted: Lifted,
        neighborhood: Neighborhood | None = None,
        keys: Lifted | None = None,
        dropout_key: Key[Array, ""] | None = None,
        example_ids: Int[Array, "*B"] | None = None,
    ) -> Lifted:
        """The elements of ``lifted`` with new features.

        Args:
          lifted: Queries.
          neighborhood: Keys that each query sees; all by default.
          keys: What the convolution sums over; ``lifted`` itself by default.
          dropout_key: Key of the dropout of the branch; None for none, as in evaluation.
          example_ids: Identity of each example, which that draw is keyed by.
        """
        activation = activation_fn(self.activation)
        narrow = self._narrow(lifted)
        convolved = self.convolution(
            lifted=narrow,
            neighborhood=neighborhood,
            keys=narrow if keys is None else self._narrow(keys),
        )
        branch = dropout(self.up(activation(convolved)), self.dropout, dropout_key, example_ids)
        return lifted.replace_features(lifted.features + branch)

    def _narrow(self, lifted: Lifted) -> Lifted:
        activation, x = activation_fn(self.activation), lifted.features
        if self.norm is not None:
            x = self.norm(x).astype(x.dtype)
        return lifted.replace_features(activation(self.down(activation(x))))
