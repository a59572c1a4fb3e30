"""The published LieTransformer's arguments, and what they are called here."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from eqattn import groups
from eqattn.attention.api import Normalize
from eqattn.checks import check_instance, check_sizes

KINDS = ("EquivairantMultiheadAttention", "EquivariantTransformer", "HamiltonianLieTransformer")
GROUPS = {
    "T2": groups.T(2),
    "T3": groups.T(3),
    "SO2": groups.SO(2),
    "SO3": groups.SO(3),
    "SE2": groups.SE(2),
    "SE3": groups.SE(3),
    "RxSO2": groups.RxSO2(),
}
NORMALIZE: dict[str, Normalize] = {
    "softmax": "softmax",
    "dot_product": "mean",
    "norm_exp": "exponential_mean",
}
NORMS: dict[str, Literal["pre", "post", "none"]] = {
    "none": "none", "layer_pre": "pre", "layer_post": "post",
}  # fmt: skip
HEADS: dict[str, Literal["mlp", "token"]] = {"model_1": "mlp", "lieconv": "token"}
ACTIVATIONS = ("swish", "relu", "softplus")
DEFAULTS: dict[str, Any] = {
    "kernel_type": "mlp",
    "kernel_dim": 16,
    "kernel_act": "swish",
    "block_norm": "layer_pre",
    "output_norm": "none",
    "attention_fn": None,
    "architecture": "model_1",
    "global_pool_mean": True,
    "feature_embed_dim": None,
    "liftsamples": 1,
    "mc_samples": 0,
    "fill": 1.0,
}
LAYER_KEYS = ("c", "n_heads")
TRANSFORMER_KEYS = ("group", "dim_input", "dim_hidden", "num_layers", "num_heads")
OF_TRANSFORMERS = ("block_norm", "architecture", "global_pool_mean", "liftsamples")
"""Of the defaults, those that a single layer has not."""
RECORDED = ("kind", "seed", "num_steps", "dt")
"""Keys that say how a vector was made, and change no model."""

CONTENT_CODES = {"1": "dot_product", "2": "linear_concat", "3": "linear_concat_linear"}


class Names(NamedTuple):
    """Where a kernel keeps its parameters, below ``kernel.``."""

    query: str
    key: str
    location: str = ""


@dataclasses.dataclass(frozen=True)
class PublishedConfig:
    """A published configuration, in this library's words.

    Attributes:
      kind: Name of the class that was saved.
      group: Group of the lift.
      dim_input: Channels of the points' features.
      dim: Width.
      num_layers: Transformer blocks.
      num_heads: Heads of each.
      content: Content term.
      location: Location term.
      combine: Combination of content and location.
      normalize: Normalization of the logits.
      names: Names of the kernel's parameters.
      kernel_dim: Width of the kernels' MLPs.
      kernel_act: Activation, everywhere.
      feature_embed_dim: Channels of a head in the concat kernels.
      liftsamples: Stabilizer samples.
      norm: Normalization of the blocks.
      pool: Over points and samples.
      head: Map from features to outputs.
    """

    kind: str
    group: groups.LieGroup
    dim_input: int
    dim: int
    num_layers: int
    num_heads: int
    content: str
    location: str
    combine: str
    normalize: Normalize
    names: Names
    kernel_dim: int
    kernel_act: str
    feature_embed_dim: int
    liftsamples: int
    norm: Literal["pre", "post", "none"]
    pool: Literal["mean", "max"]
    head: Literal["mlp", "token"]


def parse_config(config: Mapping[str, Any]) -> PublishedConfig:
    """Reads a published configuration.

    Raises:
      TypeError: For anything but a mapping.
      NotImplementedError: For batch norms, an output norm or Monte Carlo neighborhoods.
      ValueError: For a key or value that is unknown, or missing.
    """
    check_instance("config", config, Mapping)
    kind = _known(config, "kind", dict.fromkeys(KINDS))
    is_layer = kind == KINDS[0]
    required = LAYER_KEYS if is_layer else TRANSFORMER_KEYS
    for key in required:
        if key not in config:
            raise ValueError(f"config must hold {key!r} for the kind {kind}, which is missing")
    known = [key for key in DEFAULTS if not (is_layer and key in OF_TRANSFORMERS)]
    for key in config:
        if key not in (*required, *known, *RECORDED):
            raise ValueError(f"config holds the unknown key {key!r} for the kind {kind}")
    values = {**DEFAULTS, **config}
    _refuse_what_is_not_here(values)
    dim, num_heads = (values[k] for k in (LAYER_KEYS if is_layer else ("dim_hidden", "num_heads")))
    sizes = {k: values[k] for k in ("kernel_dim", "liftsamples")} | {"num_heads": num_heads}
    if is_layer:
        sizes |= {"c": dim}
    else:
        sizes |= {k: values[k] for k in ("dim_input", "dim_hidden", "num_layers")}
    if values["feature_embed_dim"] is not None:
        sizes["feature_embed_dim"] = values["feature_embed_dim"]
    for key, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool):
            raise ValueError(f"{key} must be a whole number, got {size!r}")
    check_sizes(sizes)
    if not isinstance(values["global_pool_mean"], bool):
        raise ValueError(
            f"global_pool_mean must be True or False, got {values['global_pool_mean']!r}"
        )
    content, location, combine, names, digit = _kernel(values["kernel_type"])
    if values["attention_fn"] is not None:
        _known(values, "attention_fn", NORMALIZE)
    # There, the digit of a code comes last and wins, and configurations often give both.
    attention_fn = digit or values["attention_fn"] or "softmax"
    width = values["feature_embed_dim"]
    return PublishedConfig(
        kind=kind,
        group=groups.T(3) if is_layer else GROUPS[_known(values, "group", GROUPS)],
        dim_input=0 if is_layer else values["dim_input"],
        dim=dim,
        num_layers=0 if is_layer else values["num_layers"],
        num_heads=num_heads,
        content=content,
        location=location,
        combine=combine,
        normalize=NORMALIZE[attention_fn],
        names=names,
        kernel_dim=values["kernel_dim"],
        kernel_act=_known(values, "kernel_act", dict.fromkeys(ACTIVATIONS)),
        feature_embed_dim=dim // (4 * num_heads) if width is None else width,
        liftsamples=values["liftsamples"],
        norm=NORMS[_known(values, "block_norm", NORMS)],
        pool="mean" if values["global_pool_mean"] else "max",
        head=HEADS[_known(values, "architecture", HEADS)],
    )


def _known(values: Mapping[str, Any], key: str, options: Mapping[str, Any]) -> str:
    value: Any = values.get(key)
    if not isinstance(value, str) or value not in options:
        raise ValueError(f"{key} must be one of {', '.join(options)}, got {value!r}")
    return value


def _refuse_what_is_not_here(values: Mapping[str, Any]) -> None:
    refused = {
        "block_norm": str(values["block_norm"]).startswith("batch_"),
        "output_norm": values["output_norm"] != "none",
        "mc_samples": values["mc_samples"] != 0,
    }
    for key, is_refused in refused.items():
        if is_refused:
            raise NotImplementedError(f"{key}={values[key]!r} has no counterpart here")


def _kernel(kernel_type: Any) -> tuple[str, str, str, Names, str | None]:
    """Content, location, combine, names, and the normalization that a code asks for."""
    plain = Names("feature_kernel.fc_q", "feature_kernel.fc_k", "location_kernel")
    kinds: dict[str, tuple[str, str, str, Names, str | None]] = {
        "mlp": ("dot_product", "mlp_per_head", "sum", plain, None),
        "dot_product_only": ("dot_product", "none", "sum", plain, None),
        "location_only": ("none", "mlp_per_head", "sum", plain, None),
        "relative_position": ("relative_position", "none", "sum", Names("W_q", "W_k"), None),
    }
    if isinstance(kernel_type, str) and kernel_type in kinds:
        return kinds[kernel_type]
    if not re.fullmatch("[12]2[123][12]", str(kernel_type)):
        known = ", ".join(kinds)
        raise ValueError(
            f"kernel_type must be one of {known} or a code NCFL with N in 12, C 2, F in 123 and "
            f"L in 12, got {kernel_type!r}"
        )
    normalization, _, content, location = str(kernel_type)
    features = "feature_featurisation"
    # There, the features called K index the query in the concat kinds.
    query, key = ("fc_q", "fc_k") if content == "1" else ("fc_k", "fc_q")
    names = Names(f"{features}.{query}", f"{features}.{key}", "location_featurisation.1")
    return (
        CONTENT_CODES[content],
        "mlp_per_head" if location == "1" else "raw",
        "mlp",
        names,
        "softmax" if normalization == "1" else "dot_product",
    )
