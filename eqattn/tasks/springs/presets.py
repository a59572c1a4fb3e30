"""The presets of the task "springs"."""

from __future__ import annotations

import dataclasses

from eqattn.config import OptimizerConfig, RunConfig
from eqattn.groups import SE, T
from eqattn.layers import (
    Attention,
    Convolution,
    Layer,
    MLPLocation,
    MLPValues,
    MultiplyLogits,
    PerHeadMLPLocation,
)
from eqattn.models import (
    AccelerationNetworkConfig,
    FieldModelConfig,
    HamiltonianNetworkConfig,
    LieTransformerConfig,
    PotentialMLPConfig,
)
from eqattn.spaces import euclidean
from eqattn.tasks.springs.models import SpringsOptions

__all__ = ["DEMO", "DROPIN", "DROPIN_CONVOLUTION", "MLP", "PAPER", "PRECISE", "TARGET"]

TARGET = "springs"

DEMO = RunConfig(
    task="springs",
    preset="demo",
    data="generated",
    targets=(TARGET,),
    batch_size=64,
    steps=2_400,
    eval_every=400,
    model=HamiltonianNetworkConfig(
        potential=LieTransformerConfig(
            space=euclidean(SE(2)),
            dim=32,
            num_layers=1,
            layer=Attention(
                num_heads=4,
                location=MLPLocation(dim=16, num_layers=3, num_radial=0),
                combine=MultiplyLogits(),
                normalize="mean",
            ),
            norm="none",
            pool="sum",
            head="token",
        )
    ),
    optimizer=OptimizerConfig(learning_rate=1e-2, weight_decay=0.0, ema_decay=0.99),
    options=SpringsOptions(solver="symplectic"),
)
"""SE(2)-invariant attention over distances, 400 trajectories; a few minutes on two CPU cores. What
matters: content times location without norms, and a sum over particles, which is the shape of a sum
over pairs; and a symplectic solver, which asks for the force once a step and not four times."""

PRECISE = dataclasses.replace(
    DEMO,
    preset="precise",
    batch_size=8,
    steps=64_000,
    eval_every=4_000,
    optimizer=dataclasses.replace(DEMO.optimizer, learning_rate=3e-3, clip_norm=1e-3),
    options=SpringsOptions(num_test=1_000, solver="symplectic", num_substeps=3),
)
"""The model of ``demo`` at less than a five hundredth of its error, after eleven minutes on one CPU
core. What matters: three steps of the solver an interval, since with one the true potential itself
is off by 1.9e-6 in ``mse5``; batches of 8, because the model can fit all trajectories at once, so
that more steps are worth more than better gradients; clipping most gradients to the same norm,
because a few stiff systems have the largest by far; and a learning rate that many steps bear: at
1e-2 a run of 48,000 collapsed."""


def _accelerations(layer: Layer) -> AccelerationNetworkConfig:
    return AccelerationNetworkConfig(
        field_model=FieldModelConfig(
            model=LieTransformerConfig(
                space=euclidean(T(2)),
                dim=32,
                num_layers=1,
                layer=layer,
                norm="none",
                head="token",
                output="per_point",
            ),
            input_field="vector + 2x scalar",
            output_field="vector",
        )
    )


DROPIN = RunConfig(
    task="springs",
    preset="dropin",
    data="generated",
    targets=(TARGET,),
    batch_size=64,
    steps=2_400,
    eval_every=400,
    model=_accelerations(
        Attention(
            num_heads=4,
            location=PerHeadMLPLocation(dim=16, num_layers=2, num_radial=0),
            combine=MultiplyLogits(),
            normalize="mean",
        )
    ),
    optimizer=OptimizerConfig(learning_rate=1e-2, weight_decay=0.0, ema_decay=0.99),
    options=SpringsOptions(solver="rk4"),
)
"""Accelerations as a vector field of positions and velocities, equivariant to translations exactly;
a few minutes on two CPU cores. Attention, or
``--model.field-model.model.layer 'AttentiveConvolution()'``. The location
term has a function for each head, without a softmax: a force needs both components of a difference,
and with the defaults nothing was learned. ``mse5`` ended at 8.3e-4 and 1.1e-3, and with LieConv
(below) at 3.0e-4; the Hamiltonian network of ``demo``, which knows more, at 1.2e-5."""

DROPIN_CONVOLUTION = dataclasses.replace(
    DROPIN,
    preset="dropin_convolution",
    model=_accelerations(Convolution(values=MLPValues(dim=16, num_layers=2, num_radial=0))),
)
"""The same with LieConv inside: without what belongs to heads and weights; the rest is equal."""

PAPER = RunConfig(
    task="springs",
    preset="paper",
    data="generated",
    targets=(TARGET,),
    batch_size=100,
    steps=20_000,  # 200 epochs of 10,000 trajectories
    eval_every=1_000,
    model=HamiltonianNetworkConfig(
        potential=LieTransformerConfig(
            space=euclidean(T(2)),
            dim=160,
            num_layers=5,
            layer=Attention(
                coordinates="log",
                num_heads=8,
                location=PerHeadMLPLocation(dim=16, num_layers=3, num_radial=0),
                normalize="mean",
            ),
            mlp_ratio=1.0,
            final_activation=True,
        )
    ),
    optimizer=OptimizerConfig(
        learning_rate=1e-3, weight_decay=0.0, warmup_steps=0, clip_norm=0.0, ema_decay=0.0
    ),
    options=SpringsOptions(num_train=10_000, num_validation=2_000, num_test=2_000, solver="rk4"),
)
"""LieTransformer-T(2) as published (arXiv:2012.10885, and its public code): 841,641 parameters, the
largest of its training sets, Adam at 1e-3 for 200 epochs of batches of 100 with a cosine. It wants
an accelerator. Its 200 epochs of N trajectories are ``--springs.num-train N --steps 2N``."""

MLP = HamiltonianNetworkConfig(potential=PotentialMLPConfig(dim=200, num_layers=3), center=False)
"""The Hamiltonian MLP of the baseline."""
