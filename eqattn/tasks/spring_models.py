"""The models of the task "springs": a Hamiltonian network, accelerations, and an MLP beside them.

What the network sees of a particle and gives for it depends on the architecture:

=================== ============================================= =======================
``lie_transformer`` mass and spring constant                      a potential, of a system
``field_model``     velocity (a vector), mass and spring constant acceleration (a vector)
``mlp``             mass and spring constant                      a potential, of a system
=================== ============================================= =======================
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
from flax import nnx

from eqattn.config import ModelConfig
from eqattn.data.springs import NUM_PARTICLES
from eqattn.fields import FieldType
from eqattn.models import AccelerationNetwork, FieldModel, HamiltonianNetwork, PotentialMLP
from eqattn.spaces import euclidean
from eqattn.tasks.build import build_model, check_float64, parse_group
from eqattn.tasks.frames import drawn_frames
from eqattn.typing import Array, Float

__all__ = ["build_spring_model", "drawn_along", "feature_sizes", "knows_origin"]

NUM_FEATURES = 2  # mass and spring constant
POINT_DIM = 2
INPUT, OUTPUT = FieldType.parse(f"vector + {NUM_FEATURES}x scalar"), FieldType.parse("vector")


def feature_sizes(config: ModelConfig) -> tuple[int, int]:
    """Returns how many features the network takes of a particle, and how many outputs it has.

    Args:
        config: The configuration of the model.
    """
    if config.architecture == "field_model":
        return POINT_DIM + NUM_FEATURES, POINT_DIM
    return NUM_FEATURES, 1


def knows_origin(config: ModelConfig) -> bool:
    """Returns whether a model sees where the particles are; the others see them centered.

    Args:
        config: The configuration of the network inside.
    """
    return config.architecture == "mlp"


def drawn_along(model: Any, states: Float[Array, "B T N 4"]) -> dict[str, Float[Array, " B"]]:
    """Returns the share of states whose axes were drawn; see :mod:`eqattn.tasks.frames`.

    Args:
        model: The network.
        states: Positions and momenta that it meets.
    """
    inside = model.field_model if isinstance(model, AccelerationNetwork) else model.potential_model
    positions = states[..., :2] - jnp.mean(states[..., :2], axis=-2, keepdims=True)
    found = drawn_frames(inside, positions, None)
    return {name: jnp.mean(drawn, axis=1) for name, drawn in found.items()}


def build_spring_model(
    config: ModelConfig, in_features: int, out_features: int, seed: int
) -> HamiltonianNetwork | AccelerationNetwork:
    """Returns what moves the particles, with fresh parameters.

    Args:
        config: The configuration of the network inside.
        in_features: Its features of a particle.
        out_features: Its outputs.
        seed: Seed of the parameters.

    Raises:
        ValueError: If a value is out of range or not used, the network does not have the outputs
            of its architecture, or the group does not act on the plane.
    """
    is_field = config.architecture == "field_model"
    output = "per_point" if is_field else "invariant"
    if config.output != output or out_features != feature_sizes(config)[1]:
        raise ValueError(
            f"output must be {output!r} for springs with the architecture "
            f"{config.architecture!r}, got {config.output!r} with {out_features} channels."
        )
    if config.architecture == "mlp":
        return HamiltonianNetwork(_build_mlp(config, in_features, seed), center=False)
    point_dim = euclidean(parse_group(config.group)).point_dim
    if point_dim != POINT_DIM:
        raise ValueError(
            f"group must act on R^2 for springs, got {config.group!r}, which acts on R^{point_dim}."
        )
    if not is_field:
        return HamiltonianNetwork(build_model(config, in_features, out_features, seed))
    if config.pool != ModelConfig().pool:
        raise ValueError(
            f"pool is not used by the architecture 'field_model', got {config.pool!r}."
        )
    inside = dataclasses.replace(config, architecture="lie_transformer")
    network = build_model(inside, in_features, out_features, seed)
    return AccelerationNetwork(FieldModel(network, INPUT, OUTPUT))


def _build_mlp(config: ModelConfig, in_features: int, seed: int) -> PotentialMLP:
    used = ("architecture", "dim", "num_layers", "activation", "dtype")
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name not in used and value != field.default:
            raise ValueError(f"model.{field.name} is not used by the MLP, got {value!r}.")
    check_float64(config)
    return PotentialMLP(
        NUM_PARTICLES,
        POINT_DIM,
        in_features,
        dim=config.dim,
        num_layers=config.num_layers,
        activation=config.activation,
        dtype=jnp.dtype(config.dtype),
        param_dtype=jnp.promote_types(config.dtype, jnp.float32),
        rngs=nnx.Rngs(seed),
    )
