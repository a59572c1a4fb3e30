"""Configurations of format 1, of eqattn 0.1, as those of today.

Then a model was one flat dataclass of 38 names for all architectures.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

from eqattn.attention import NearestNeighbors, RadiusNeighbors
from eqattn.attention.neighborhoods import NeighborhoodKind
from eqattn.groups import LieGroup, RxSO2
from eqattn.layers import (
    AddLogits,
    Attention,
    AttentiveConvolution,
    BernsteinValues,
    Combination,
    ContentTerm,
    Convolution,
    DotProductContent,
    FourierValues,
    Layer,
    LinearConcatContent,
    LocationTerm,
    MLPLocation,
    MLPLogits,
    MLPValues,
    MultiplyLogits,
    PerHeadMLPLocation,
    RadialLocation,
    RawLocation,
    RelativePositionContent,
    RepresentationAttention,
    ValueBasis,
)
from eqattn.lift import Frames, Grid, Haar, Lift, NoLift, Subgroup
from eqattn.models import (
    AccelerationNetworkConfig,
    FieldModelConfig,
    HamiltonianNetworkConfig,
    LieTransformerConfig,
    ModelConfig,
    PotentialMLPConfig,
)
from eqattn.spaces import Space, euclidean, position_orientation, sphere
from eqattn.specification import convert, parse
from eqattn.tasks import get_task
from eqattn.tasks.winds.model import WindFrames, WindModelConfig
from eqattn.train.config_json import to_json

__all__ = ["from_format_1", "model_of_format_1"]

_DEFAULTS: Mapping[str, Any] = {
    "architecture": "lie_transformer",
    "group": "SE(3)",
    "lift": "none",
    "num_samples": 1,
    "shared_samples": False,
    "subgroup": "",
    "coordinates": "invariants",
    "dim": 128,
    "num_layers": 4,
    "layer": "attention",
    "attention": "location",
    "kernel": "softmax",
    "turns_values": True,
    "length": 1.0,
    "basis": "mlp",
    "num_basis": 8,
    "num_heads": 8,
    "content": "dot_product",
    "content_features": 1,
    "location": "mlp",
    "location_features": 1,
    "location_dim": 32,
    "location_layers": 3,
    "num_radial": 24,
    "radial_cutoff": 12.0,
    "combine": "sum",
    "normalize": "softmax",
    "num_neighbors": 0,
    "neighbor_pool": 0,
    "neighbor_radius": 0.0,
    "norm": "pre",
    "mlp_ratio": 2.0,
    "activation": "swish",
    "final_activation": False,
    "pool": "mean",
    "head": "mlp",
    "output": "invariant",
    "dtype": "float32",
}


_CHOICES: Mapping[str, Any] = {
    "architecture": Literal["lie_transformer", "field_model", "mlp"],
    "lift": Literal["haar", "grid", "random_grid", "subgroup", "frames", "outward", "none"],
    "layer": Literal["attention", "attentive_convolution", "convolution"],
    "attention": Literal["location", "representation"],
    "basis": Literal["mlp", "fourier", "bernstein"],
    "content": Literal[
        "dot_product", "linear_concat", "linear_concat_linear", "relative_position", "none"
    ],
    "location": Literal["mlp", "mlp_per_head", "radial", "raw", "none"],
    "combine": Literal["sum", "product", "mlp"],
}


_SECTIONS = ("springs", "shapes", "constellations", "images", "winds")
_OF_MOLECULES = ("split", "augment_rotations", "buckets")


def from_format_1(content: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the entries of a ``config.json`` of format 1 as those of today.

    Then a run had the options of all tasks, of which only its own could be changed.

    Args:
      content: Entries of the file but for the format.

    Raises:
      TypeError: If an entry is of a wrong type.
      ValueError: If there is an unknown name or value.
    """
    task = content.get("task")
    found = {k: v for k, v in content.items() if k not in (*_SECTIONS, *_OF_MOLECULES)}
    found["model"] = to_json(model_of_format_1(content.get("model"), task, "model"))
    if task is None:
        return found
    section = content.get(task, {}) if task in _SECTIONS else {}
    if task == "molecules":
        section = {name: content[name] for name in _OF_MOLECULES if name in content}
    if not isinstance(section, Mapping):
        raise TypeError(f"{task} must be an object, got {section!r}.")
    kind = get_task(task).options
    found["options"] = to_json(convert(kind, {"class": kind.__name__, **section}, task))
    return found


def model_of_format_1(old: Any, task: str | None, where: str) -> ModelConfig:
    """Returns the architecture that a configuration of format 1 describes.

    Args:
      old: Entry "model" of the file.
      task: Name of the task; None for a model without one.
      where: What to call the entry in messages.

    Raises:
      TypeError: If the entry is of a wrong type.
      ValueError: If it holds an unknown name or value.
    """
    if not isinstance(old, Mapping):
        raise TypeError(f"{where} must be an object, got {old!r}.")
    for name in old:
        if name not in _DEFAULTS:
            raise ValueError(f"{where}.{name} is unknown.")
    values = {
        name: convert(_CHOICES.get(name, type(default)), old.get(name, default), f"{where}.{name}")
        for name, default in _DEFAULTS.items()
    }
    if values["architecture"] == "mlp":
        shared = ("dim", "num_layers", "activation", "dtype")
        network = PotentialMLPConfig(**{name: values[name] for name in shared})
        return HamiltonianNetworkConfig(potential=network, center=False)
    network = _transformer(values, task)
    if values["architecture"] == "field_model":
        inner = FieldModelConfig(
            model=network, input_field="vector + 2x scalar", output_field="vector"
        )
        return AccelerationNetworkConfig(field_model=inner)
    if task == "springs":
        return HamiltonianNetworkConfig(potential=network)
    return WindModelConfig(inner=network) if task == "winds" else network


def _transformer(values: Mapping[str, Any], task: str | None) -> LieTransformerConfig:
    same = ("dim", "num_layers", "norm", "mlp_ratio", "activation", "final_activation")
    more = ("pool", "head", "output", "dtype")
    space = _space(values, task)
    return LieTransformerConfig(
        space=space,
        layer=_layer(values),
        lift=_lift(values, space, task),
        neighborhood=_neighborhood(values),
        **{name: values[name] for name in (*same, *more)},
    )


def _space(values: Mapping[str, Any], task: str | None) -> Space:
    name = values["group"]
    group = RxSO2() if name in ("RxSO2", "RxSO(2)") else parse(name, LieGroup, "model.group")
    if values["lift"] == "outward":
        return position_orientation(cast(Any, group))
    return sphere(group) if task == "winds" and name == "SO(3)" else euclidean(group)


def _lift(values: Mapping[str, Any], space: Space, task: str | None) -> Lift:
    size = values["num_samples"]
    lifts: dict[str, Lift] = {
        "haar": Haar(size, shared=values["shared_samples"]),
        "grid": Grid(size),
        "random_grid": Grid(size, offset="random"),
        "frames": Frames(pairs="across"),
        "outward": NoLift(),
        "none": NoLift(),
    }
    if values["lift"] == "subgroup":
        return Subgroup(values["subgroup"])
    if values["lift"] == "none" and task == "winds" and values["group"] == "SO(3)":
        return WindFrames()
    return lifts[values["lift"]]


def _layer(values: Mapping[str, Any]) -> Layer:
    if values["attention"] == "representation":
        names = ("num_heads", "kernel", "turns_values", "length")
        return RepresentationAttention(**{name: values[name] for name in names})
    kind, coordinates = values["layer"], values["coordinates"]
    if kind == "convolution":
        return Convolution(coordinates=coordinates, values=_values(values))
    options: dict[str, Any] = {
        "coordinates": coordinates,
        "num_heads": values["num_heads"],
        "content": _content(values),
        "location": _location(values),
        "combine": _combination(values),
        "normalize": values["normalize"],
    }
    if kind == "attention":
        return Attention(**options)
    return AttentiveConvolution(**options, values=_values(values))


def _pairs(values: Mapping[str, Any]) -> dict[str, Any]:
    return {"num_radial": values["num_radial"], "cutoff": values["radial_cutoff"]}


def _mlp(values: Mapping[str, Any]) -> dict[str, Any]:
    return {"dim": values["location_dim"], "num_layers": values["location_layers"]}


def _values(values: Mapping[str, Any]) -> ValueBasis:
    size = {"num_basis": values["num_basis"]}
    if values["basis"] == "mlp":
        return MLPValues(**size, **_pairs(values), **_mlp(values))
    if values["basis"] == "fourier":
        return FourierValues(**size, **_pairs(values))
    return BernsteinValues(**size, cutoff=values["radial_cutoff"])


def _content(values: Mapping[str, Any]) -> ContentTerm | None:
    contents: dict[str, ContentTerm | None] = {
        "dot_product": DotProductContent(),
        "linear_concat": LinearConcatContent(),
        "linear_concat_linear": LinearConcatContent(map_features=values["content_features"]),
        "relative_position": RelativePositionContent(**_pairs(values)),
        "none": None,
    }
    return contents[values["content"]]


def _location(values: Mapping[str, Any]) -> LocationTerm | None:
    pairs, mlp = _pairs(values), _mlp(values)
    locations: dict[str, LocationTerm | None] = {
        "mlp": MLPLocation(**pairs, **mlp),
        "mlp_per_head": PerHeadMLPLocation(**pairs, **mlp, outputs=values["location_features"]),
        "radial": RadialLocation(**pairs),
        "raw": RawLocation(**pairs),
        "none": None,
    }
    return locations[values["location"]]


def _combination(values: Mapping[str, Any]) -> Combination:
    combinations: dict[str, Combination] = {
        "sum": AddLogits(),
        "product": MultiplyLogits(),
        "mlp": MLPLogits(**_mlp(values)),
    }
    return combinations[values["combine"]]


def _neighborhood(values: Mapping[str, Any]) -> NeighborhoodKind | None:
    size = values["num_neighbors"]
    if not size:
        return None
    if values["neighbor_radius"]:
        return RadiusNeighbors(values["neighbor_radius"], size)
    return NearestNeighbors(size, values["neighbor_pool"] or None)
