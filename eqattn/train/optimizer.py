"""The optimizer: AdamW on a warm-up and cosine schedule, clipped, with averaged parameters."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import optax

from eqattn.config import OptimizerConfig
from eqattn.train.named_leaves import leaf_names
from eqattn.train.packing import PackedTree
from eqattn.typing import Array, Int

__all__ = ["decay_mask", "make_optimizer", "make_schedule", "pack_parameters", "update_average"]

Tree = TypeVar("Tree")


def make_schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """Returns the learning rate by step: linear warm-up from 0, then a cosine to 0 at ``steps``.

    Args:
      config: Peak rate and length of the warm-up.
      steps: Steps of the whole run.

    Raises:
      ValueError: If a number is negative.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}.")
    if not 0.0 <= config.learning_rate < float("inf"):
        raise ValueError(f"learning_rate must be at least 0, got {config.learning_rate}.")
    if config.warmup_steps < 0:
        raise ValueError(f"warmup_steps must be at least 0, got {config.warmup_steps}.")
    # So that a short trial of a long preset does not spend itself warming up.
    warmup = min(config.warmup_steps, steps // 10)
    return optax.warmup_cosine_decay_schedule(
        init_value=0.0 if warmup else config.learning_rate,
        peak_value=config.learning_rate,
        warmup_steps=warmup,
        decay_steps=max(steps, warmup + 1),
    )


_NOT_MATRICES = {"bias", "biases", "scale", "key_vector", "pair_vector", "frequencies"}


def decay_mask(params: Tree) -> Tree:
    """Returns which parameters decay: matrices do; biases, scales and vectors do not.

    A bias or a vector of each head is an array [H, C], and frequencies of a basis are no weights,
    so names decide besides the number of axes.

    Args:
      params: Tree of parameters, or of their shapes.
    """

    def decays(name: str, parameter: Any) -> bool:
        parts = name.split("/")
        return parameter.ndim >= 2 and not _NOT_MATRICES.intersection(parts)

    return jax.tree.map(decays, leaf_names(params), params)


DECAYS, STAYS = "decays", "stays"


def pack_parameters(params: Any, *, num_axes: int = 0) -> PackedTree:
    """Returns parameters as vectors: those that decay apart from those that do not.

    Args:
      params: Tree of parameters.
      num_axes: Number of axes that all of them begin with, and that no member of an ensemble has.
    """
    of_one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[num_axes:], x.dtype), params)
    marks = jax.tree.map(lambda decays: DECAYS if decays else STAYS, decay_mask(of_one))
    return PackedTree.of(params, marks, num_axes)


def make_optimizer(
    config: OptimizerConfig, schedule: optax.Schedule
) -> optax.GradientTransformation:
    """Returns AdamW (arXiv:1711.05101) on a schedule, after clipping by global norm.

    It is for parameters as :func:`pack_parameters` returns them.

    Args:
      config: Weight decay and clipping.
      schedule: Learning rate by step.

    Raises:
      ValueError: If a number is out of range.
    """
    if not 0.0 <= config.weight_decay < float("inf"):
        raise ValueError(f"weight_decay must be at least 0, got {config.weight_decay}.")
    if not 0.0 <= config.clip_norm < float("inf"):
        raise ValueError(f"clip_norm must be at least 0, and finite, got {config.clip_norm}.")
    if not 0.0 <= config.ema_decay < 1.0:
        raise ValueError(f"ema_decay must be in [0, 1), got {config.ema_decay}.")
    clip = optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity()
    adamw = optax.adamw(schedule, weight_decay=config.weight_decay, mask=_decaying_vectors)
    return optax.chain(clip, adamw)


def _decaying_vectors(params: PackedTree) -> PackedTree:
    flags = {group: group.startswith(DECAYS) for group in params.vectors}
    return dataclasses.replace(params, vectors=flags)


def update_average(average: Tree, params: Tree, step: Int[Array, ""], decay: float) -> Tree:
    """Returns the exponential moving average after one more step.

    ``average ← d average + (1 - d) params`` with ``d = min(decay, (1 + step) / (10 + step))``, so
    that the first parameters are forgotten early in a run.

    Args:
      average: The average so far.
      params: The new parameters.
      step: Steps taken before this one.
      decay: Decay once the run is long; 0 returns ``params``.
    """
    step = step.astype(jnp.float32)
    rate = 1.0 - jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda a, p: (a + rate * (p - a)).astype(a.dtype), average, params)
