"""From the names in a model configuration to the objects they stand for."""

from __future__ import annotations

import dataclasses
import itertools
import re
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from eqattn import groups, lift, spaces
from eqattn.attention import NearestNeighbors, RadiusNeighbors
from eqattn.attention.neighborhoods import NeighborhoodKind
from eqattn.config import ModelConfig
from eqattn.layers import layer_options
from eqattn.models import LieTransformer

__all__ = [
    "build_model",
    "check_float64",
    "check_lift_options",
    "parse_group",
    "without_lift",
]

_MAKERS = {"T": groups.T, "SO": groups.SO, "SE": groups.SE}
_KNOWN = "T(n), SO(2), SO(3), SE(2), SE(3), RxSO2"


def parse_group(name: str) -> groups.LieGroup:
    """Returns the group with this name.

    Example:
        >>> parse_group("SE(3)").algebra_dim
        6

    Args:
        name: "T(n)", "SO(2)", "SO(3)", "SE(2)", "SE(3)" or "RxSO2".

    Raises:
        ValueError: If the name is none of these.
    """
    if name in ("RxSO2", "RxSO(2)"):
        return groups.RxSO2()
    match = re.fullmatch(r"(T|SO|SE)\((\d+)\)", name)
    if match is None or (match[1] != "T" and match[2] not in ("2", "3")) or match[2] == "0":
        raise ValueError(f"group {name!r} is unknown; known are {_KNOWN}.")
    return _MAKERS[match[1]](int(match[2]))


def build_model(
    config: ModelConfig,
    in_features: int,
    out_features: int,
    seed: int,
    *,
    space: spaces.Space | None = None,
) -> LieTransformer:
    """Returns the model that a configuration describes, with fresh parameters.

    Args:
        config: The model's configuration.
        in_features: Input channels per point.
        out_features: Outputs per example, or per point.
        seed: Seed of the parameters.
        space: Where the points live; by default Rⁿ under the group of the configuration.

    Raises:
        ValueError: If a name is unknown, a value is out of range, or float64 is asked for without
            ``jax_enable_x64``.
    """
    if config.architecture != "lie_transformer":
        raise ValueError(
            f"architecture must be 'lie_transformer' here, got {config.architecture!r}."
        )
    check_float64(config)
    space = spaces.euclidean(parse_group(config.group)) if space is None else space
    return LieTransformer(
        space,
        in_features,
        out_features,
        dim=config.dim,
        num_layers=config.num_layers,
        layer=config.layer,
        lift=_lift(config, space),
        neighborhood=_neighborhood(config),
        norm=config.norm,
        mlp_ratio=config.mlp_ratio,
        activation=config.activation,
        final_activation=config.final_activation,
        pool=config.pool,
        head=config.head,
        output=config.output,
        dtype=jnp.dtype(config.dtype),
        # bfloat16 is a type to compute in; what is learned keeps the digits of small updates.
        param_dtype=jnp.promote_types(config.dtype, jnp.float32),
        rngs=nnx.Rngs(seed),
        **_layer_options(config),
    )


_OF_SOME_LAYERS = (
    *("attention", "kernel", "turns_values", "length"),
    *("coordinates", "basis", "num_basis", "num_heads", "content", "content_features"),
    *("location", "location_features", "location_dim", "location_layers"),
    *("num_radial", "radial_cutoff", "combine", "normalize"),
)


def _layer_options(config: ModelConfig) -> dict[str, Any]:
    """Returns those options that not every kind of layer uses, for the kind that is configured.

    Raises:
        ValueError: If another is not what it is by default; the message names all of them.
    """
    used, fresh = layer_options(config.layer, config.attention), ModelConfig()
    values = {name: (getattr(config, name), getattr(fresh, name)) for name in _OF_SOME_LAYERS}
    unused = [
        f"{name} (default {default!r}, got {value!r})"
        for name, (value, default) in values.items()
        if _option(name) not in used and value != default
    ]
    if unused:
        by = " by a representation" if config.attention == "representation" else ""
        raise ValueError(f"layer {config.layer!r}{by} does not use {', '.join(unused)}.")
    return {_option(n): value for n, (value, _) in values.items() if _option(n) in used}


def _option(name: str) -> str:
    """What the layer calls a field of the configuration."""
    return "cutoff" if name == "radial_cutoff" else name


def _neighborhood(config: ModelConfig) -> NeighborhoodKind | None:
    size, pool, radius = config.num_neighbors, config.neighbor_pool, config.neighbor_radius
    if not size:
        for name, value in (("neighbor_pool", pool), ("neighbor_radius", radius)):
            if value:
                raise ValueError(f"num_neighbors must be at least 1 for {name} {value}, got 0.")
        return None
    if radius and pool:
        raise ValueError(f"neighbor_pool must be 0 with a neighbor_radius, got {pool}.")
    return RadiusNeighbors(radius, size) if radius else NearestNeighbors(size, pool or None)


def check_float64(config: ModelConfig) -> None:
    """Raises a ValueError if float64 is asked for without ``jax_enable_x64``.

    Args:
        config: The model's configuration.
    """
    if config.dtype == "float64" and not jax.config.read("jax_enable_x64"):
        raise ValueError("dtype 'float64' needs jax_enable_x64 (on the command line: --x64).")


_OF_LIFTS = {
    "haar": ("num_samples", "shared_samples"),
    "grid": ("num_samples",),
    "random_grid": ("num_samples",),
    "subgroup": ("subgroup",),
    "frames": (),
    "outward": (),
    "none": (),
}
"""The options that each lift uses."""


def check_lift_options(config: ModelConfig) -> None:
    """Raises a ValueError that names an option of other lifts than that of the configuration.

    Args:
        config: The model's configuration.
    """
    fresh = ModelConfig()
    for name in dict.fromkeys(itertools.chain.from_iterable(_OF_LIFTS.values())):
        value = getattr(config, name)
        if name not in _OF_LIFTS[config.lift] and value != getattr(fresh, name):
            raise ValueError(f"{name} is not used with the lift {config.lift!r}, got {value!r}.")


def without_lift(config: ModelConfig) -> ModelConfig:
    """Returns a configuration whose lift is "none", with no option of another.

    Args:
        config: The model's configuration.
    """
    fresh = ModelConfig()
    names = itertools.chain.from_iterable(_OF_LIFTS.values())
    return dataclasses.replace(
        config, lift="none", **{name: getattr(fresh, name) for name in names}
    )


def _lift(config: ModelConfig, space: spaces.Space) -> lift.Lift:
    check_lift_options(config)
    match config.lift:
        case "haar":
            return lift.Haar(config.num_samples, shared=config.shared_samples)
        case "grid":
            return lift.Grid(config.num_samples)
        case "random_grid":
            return lift.Grid(config.num_samples, offset="random")
        case "subgroup":
            return lift.Subgroup(config.subgroup)
        case "frames":
            return lift.Frames()
        case "outward":
            raise ValueError("lift 'outward' is of the task images, got it for another.")
    if space.stabilizer.element_dim == 0 and not space.has_exceptional_orbits:
        return lift.Haar(1)  # of a trivial stabilizer: nothing is drawn, every pair coordinate goes
    return lift.NoLift()
