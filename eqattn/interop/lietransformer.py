"""Models of the published LieTransformer (arXiv 2012.10885), from their weights.

Its pairs are log(g_j⁻¹ g_i) for query i and key j, the negative of ours: the weights that multiply
pair coordinates change sign. At half-turns, where both logarithms are the same, the two differ.
Outputs at masked points are zero here, and arbitrary there.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from eqattn import groups, spaces
from eqattn.interop.published_config import PublishedConfig, parse_config
from eqattn.interop.state_dicts import StateDictReader, read_state_dict
from eqattn.layers import (
    AddLogits,
    Attention,
    ContentTerm,
    DotProductContent,
    LieSelfAttention,
    LinearConcatContent,
    LocationTerm,
    MLPLogits,
    PerHeadMLPLocation,
    RawLocation,
    RelativePositionContent,
    TransformerBlock,
    pool,
)
from eqattn.lift import Haar, Lifted, lift
from eqattn.models import HamiltonianNetwork, LieTransformer
from eqattn.typing import Array, Bool, Float, Key

__all__ = ["PublishedAttention", "from_state_dict", "read_state_dict"]


class PublishedAttention(nnx.Module):
    """One published attention layer on points: lifts to T(3), attends, and takes the lift away.

    Equivariance: exact to translations.

    Args:
      layer: The attention layer.
      space: Where the points live.
    """

    def __init__(self, layer: LieSelfAttention, space: spaces.Space):
        self.layer = layer
        self.space = space

    def __call__(
        self,
        points: Float[Array, "*B N D"],
        features: Float[Array, "*B N C"],
        mask: Bool[Array, "*B N"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, "*B N C"]:
        """Features of the points; zeros at masked ones. The lift draws nothing with ``key``."""
        return self.apply_lifted(lift(self.space, points, features, mask, key=key))

    def apply_lifted(self, lifted: Lifted) -> Float[Array, "*B N C"]:
        """The mean of the layer's output over the samples of each point."""
        return pool(lifted.replace_features(self.layer(lifted)), "mean", over_points=False)


def from_state_dict(
    state_dict: Mapping[str, np.ndarray], config: Mapping[str, Any]
) -> PublishedAttention | LieTransformer | HamiltonianNetwork:
    """Builds a model from the published system's weights and configuration.

    Args:
      state_dict: Arrays by the published names; their type becomes that of the parameters. See
        :func:`read_state_dict` for files.
      config: The published arguments, by name; ``kind`` says which of its classes was saved:
        ``"EquivairantMultiheadAttention"`` (one layer on T(3)), ``"EquivariantTransformer"`` or
        ``"HamiltonianLieTransformer"``. Absent arguments have the published defaults.

    Returns:
      The model: called with ``points, features, mask, key``, or (the Hamiltonian) with
      :meth:`eqattn.models.HamiltonianNetwork.potential`.

    Raises:
      NotImplementedError: For a configuration that has no counterpart here, naming the key.
      TypeError: For anything but mappings.
      ValueError: For a bad configuration, an unknown or missing name, a wrong shape, or 64-bit
        weights without ``jax_enable_x64``.
    """
    published = parse_config(config)
    reader = StateDictReader(state_dict)
    if reader.dtype == np.float64 and not jax.config.read("jax_enable_x64"):
        raise ValueError(
            "state_dict holds float64 arrays, which need jax_enable_x64; or cast them to float32"
        )
    space = spaces.euclidean(published.group)
    if published.kind == "EquivairantMultiheadAttention":
        layer = LieSelfAttention(
            published.dim,
            space,
            attention_of(published),
            activation=published.kernel_act,
            final_activation=True,
            param_dtype=reader.dtype,
            rngs=nnx.Rngs(0),
        )
        _load_attention(layer, reader, "", published)
        model = PublishedAttention(layer, space)
    else:
        model = _transformer(published, space, reader)
        if published.kind == "HamiltonianLieTransformer":
            model = HamiltonianNetwork(model)
    reader.close()
    return model


def attention_of(published: PublishedConfig) -> Attention:
    """The attention that computes what the published layer does."""
    width = published.feature_embed_dim
    if published.content == "linear_concat":
        width = width // 2  # of query and key each
    is_concat = published.content.startswith("linear_concat")
    contents: dict[str, ContentTerm | None] = {
        "dot_product": DotProductContent(),
        "linear_concat": LinearConcatContent(),
        "linear_concat_linear": LinearConcatContent(map_features=width),
        "relative_position": RelativePositionContent(num_radial=0),
        "none": None,
    }
    mlp: dict[str, Any] = {"dim": published.kernel_dim, "num_layers": 3}
    locations: dict[str, LocationTerm | None] = {
        "mlp_per_head": PerHeadMLPLocation(num_radial=0, **mlp),
        "raw": RawLocation(num_radial=0),
        "none": None,
    }
    return Attention(
        coordinates="log",
        num_heads=published.num_heads,
        content=contents[published.content],
        content_dim=width * published.num_heads if is_concat else published.dim,
        location=locations[published.location],
        combine=MLPLogits(**mlp) if published.combine == "mlp" else AddLogits(),
        normalize=published.normalize,
    )


def _transformer(
    published: PublishedConfig, space: spaces.Space, reader: StateDictReader
) -> LieTransformer:
    last = published.num_layers + 2
    if published.head == "mlp":
        names = [f"net.{last}.{index}" for index in (2, 5, 8)]
    else:
        names = [f"net.{last - 1}.linear.module"]
    model = LieTransformer(
        space,
        published.dim_input,
        _num_outputs(reader, f"{names[-1]}.weight"),
        dim=published.dim,
        num_layers=published.num_layers,
        layer=attention_of(published),
        lift=Haar(published.liftsamples),
        mlp_ratio=1.0,
        norm=published.norm,
        pool=published.pool,
        head=published.head,
        activation=published.kernel_act,
        final_activation=True,
        param_dtype=reader.dtype,
        rngs=nnx.Rngs(0),
    )
    _load_linear(model.embedding, reader, "net.0.module")
    for index, block in enumerate(model.blocks, start=1):
        _load_block(block, reader, f"net.{index}.", published)
    for linear, name in zip(model.head.linears, names, strict=True):
        _load_linear(linear, reader, name)
    return model


def _num_outputs(reader: StateDictReader, name: str) -> int:
    shape = reader.shape(name)
    if len(shape) != 2:
        raise ValueError(f"{name!r} must have shape [outputs, inputs], got {shape}")
    return shape[0]


def _load_block(
    block: TransformerBlock, reader: StateDictReader, prefix: str, published: PublishedConfig
) -> None:
    _load_attention(block.attention, reader, f"{prefix}ema.", published)
    _load_linear(block.mlp.input, reader, f"{prefix}mlp.LinNormAct_1.linear.module")
    _load_linear(block.mlp.output, reader, f"{prefix}mlp.LinNormAct_2.linear.module")
    for norm, name in ((block.attention_norm, "ln_ema"), (block.mlp_norm, "ln_mlp")):
        if norm is not None and norm.scale is not None and norm.bias is not None:
            _set(norm.scale, reader.take(f"{prefix}{name}.weight", norm.scale.shape))
            _set(norm.bias, reader.take(f"{prefix}{name}.bias", norm.bias.shape))


def _load_attention(
    layer: Any, reader: StateDictReader, prefix: str, published: PublishedConfig
) -> None:
    kernel = f"{prefix}kernel."
    _load_linear(layer.value, reader, f"{prefix}input_linear")
    _load_linear(layer.output, reader, f"{prefix}output_linear")
    names = published.names
    if layer.query is not None and layer.key is not None:
        _load_linear(layer.query, reader, kernel + names.query)
        _load_linear(layer.key, reader, kernel + names.key)
    if published.content == "relative_position":
        _load_relative_position(layer.content_term, reader, kernel, published)
    elif published.content == "linear_concat_linear":
        term: Any = layer.content_term
        name = f"{kernel}feature_featurisation.fc_o"
        weight = reader.take(f"{name}.weight", term.weight.shape[::-1])
        _set(term.weight, weight.T)
        _set(term.bias, reader.take(f"{name}.bias", term.bias.shape))
    if published.location == "mlp_per_head":
        _load_mlp(layer.location, reader, kernel + names.location, published, first_pair=0)
    if published.combine == "mlp":
        size = None
        if published.location == "raw":
            size = layer.combination.weights[0].shape[1] - published.group.algebra_dim
        name = f"{kernel}location_feature_combination.1"
        _load_mlp(layer.combination, reader, name, published, first_pair=size)


def _load_mlp(
    mlp: Any,
    reader: StateDictReader,
    name: str,
    published: PublishedConfig,
    *,
    first_pair: int | None,
) -> None:
    """Loads an MLP for each head; ``first_pair`` is the first row of pair coordinates, if any."""
    for index, (weight, bias) in enumerate(zip(mlp.weights, mlp.biases, strict=True), start=1):
        prefix = f"{name}.LinNormAct_{index}.linear.module"
        values = reader.take(f"{prefix}.weight", weight.shape)
        if index == 1 and first_pair is not None:
            values = _to_our_pairs(values, 1, first_pair, published)
        _set(weight, values)
        _set(bias, reader.take(f"{prefix}.bias", bias.shape))


def _load_relative_position(
    term: Any, reader: StateDictReader, kernel: str, published: PublishedConfig
) -> None:
    num_features, num_heads, head_dim = term.weight.shape
    weight = reader.take(f"{kernel}W_l.weight", (num_heads * head_dim, num_features))
    weight = _to_our_pairs(weight.T, 0, 0, published)
    _set(term.weight, weight.reshape(num_features, num_heads, head_dim))
    bias = reader.take(f"{kernel}W_l.bias", (num_heads * head_dim,))
    _set(term.bias, bias.reshape(num_heads, head_dim))
    for parameter, name in ((term.key_vector, "u"), (term.pair_vector, "v")):
        _set(parameter, reader.take(f"{kernel}{name}", (num_heads, 1, head_dim))[:, 0])


def _to_our_pairs(
    weight: np.ndarray, axis: int, start: int, published: PublishedConfig
) -> np.ndarray:
    """Weights of log(g_i⁻¹ g_j), from those of its negative, in our order of the algebra."""
    size = published.group.algebra_dim
    order = np.arange(size)
    if published.group == groups.RxSO2():
        order = order[::-1]  # (log r, angle) there
    taken = np.moveaxis(weight, axis, 0).copy()
    taken[start : start + size] = -taken[start : start + size][order]
    return np.moveaxis(taken, 0, axis)


def _load_linear(linear: nnx.Linear, reader: StateDictReader, name: str) -> None:
    _set(linear.kernel, reader.take(f"{name}.weight", linear.kernel.shape[::-1]).T)
    if linear.bias is not None:
        _set(linear.bias, reader.take(f"{name}.bias", linear.bias.shape))


def _set(parameter: nnx.Param, value: np.ndarray) -> None:
    parameter[...] = jnp.asarray(value)
