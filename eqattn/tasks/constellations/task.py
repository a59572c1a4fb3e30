"""The task "constellations": how many squares, triangles, pentagons and L's are among the points.

An example has four labels, each a count from 0 to 2. Six pairs of motions, of training and of the
test, are the columns that arXiv:2012.10885 reports; its figures are shares of right answers in the
mean over labels, 1 - ``error`` here. Data are generated, see
:mod:`eqattn.tasks.constellations.data`, without the faults of the published ones: the figures are
of a like task, not of the same examples.

References:
  Hutchinson et al., "LieTransformer: Equivariant self-attention for Lie groups",
  arXiv:2012.10885.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import jax.numpy as jnp

from eqattn.checks import check_sizes
from eqattn.config import (
    OptimizerConfig,
    RunConfig,
    Standardization,
    TaskOptions,
)
from eqattn.groups import SE
from eqattn.layers import Attention, MLPLocation, MultiplyLogits, PerHeadMLPLocation
from eqattn.lift import Haar
from eqattn.models import FieldNetworkConfig, LieTransformerConfig, LiftedModelConfig
from eqattn.numerics import safe_sqrt
from eqattn.spaces import euclidean
from eqattn.tasks.constellations import data as constellations
from eqattn.tasks.core.classification import ClassificationProblem, check_run
from eqattn.tasks.core.config_checks import check_model, task_options
from eqattn.typing import Array, Bool, Float, Key

__all__ = ["ConstellationsTask", "nearness"]

TARGET = "count"
NUM_COUNTS = constellations.ConstellationParameters().repetitions + 1
MAX_CORNERS = (NUM_COUNTS - 1) * sum(map(len, constellations.PATTERNS.values()))
NEAR = 0.25
"""The distance at which nearness has fallen to 1/e; a polygon's radius is 0.1 or so."""


@dataclass(frozen=True, repr=False, kw_only=True)
class ConstellationsOptions(TaskOptions):
    """What the task "constellations" asks for beside what all runs have."""

    train_motion: Literal["none", "T2", "SE2"] = "none"
    """How whole examples are moved in training and validation: not, shifted, or turned and
    shifted."""
    test_motion: Literal["none", "T2", "SE2"] = "none"
    """The same, in the test."""
    features: Literal["nearness", "constant"] = "nearness"
    """Features of a point: how near the others are, in order; or the constant 1."""
    num_train: int = 10_000
    """Examples to train on."""
    num_validation: int = 1_000
    """Examples to choose the best parameters by."""
    num_test: int = 1_000
    """Examples to score."""


DEMO = RunConfig(
    task="constellations",
    preset="demo",
    data="generated",
    targets=(TARGET,),
    batch_size=64,
    steps=1_500,
    eval_every=250,
    model=LieTransformerConfig(
        space=euclidean(SE(2)),
        dim=64,
        num_layers=3,
        layer=Attention(
            num_heads=8,
            location=MLPLocation(dim=32, num_layers=2, num_radial=32, cutoff=1.0),
            combine=MultiplyLogits(),
            normalize="mean",
        ),
    ),
    optimizer=OptimizerConfig(learning_rate=2e-3),
    options=ConstellationsOptions(),
)
"""SE(2)-invariant attention over distances, the same in all six columns; minutes on two cores."""

PAPER = RunConfig(
    task="constellations",
    preset="paper",
    data="generated",
    targets=(TARGET,),
    batch_size=32,
    steps=150_000,
    eval_every=5_000,
    model=LieTransformerConfig(
        space=euclidean(SE(2)),
        lift=Haar(1),
        dim=512,
        num_layers=6,
        layer=Attention(
            coordinates="log",
            num_heads=8,
            location=PerHeadMLPLocation(dim=16, num_layers=3, num_radial=0),
        ),
        mlp_ratio=1.0,
        final_activation=True,
    ),
    optimizer=OptimizerConfig(
        learning_rate=1e-4, weight_decay=0.0, warmup_steps=0, clip_norm=0.0, ema_decay=0.0
    ),
    options=ConstellationsOptions(),
)
"""LieTransformer-SE2 in the size that is the default of the public code: 6 layers of width 512, 8
heads, per-head location MLPs of width 16 on logarithms, one lift sample. The length of training is
ours. LieTransformer-T2 is ``--model.space "euclidean(T(2))"
--model.lift "NoLift()"``. It wants an accelerator."""


def nearness(points: Float[Array, "B N 2"], mask: Bool[Array, "B N"]) -> Float[Array, "B N F"]:
    """Returns how near the other points are to each, the nearest first, 0 for those missing.

    It is exp(-distance / 0.25), and invariant to E(2).

    Args:
      points: Points of the examples, at most as many as all patterns have corners.
      mask: True where there is a point.
    """
    squares = jnp.sum((points[:, :, None] - points[:, None]) ** 2, axis=-1)
    near = jnp.exp(-safe_sqrt(squares) / NEAR)
    num_points = points.shape[1]
    is_other = mask[:, None, :] & mask[:, :, None] & ~jnp.eye(num_points, dtype=bool)
    ordered = -jnp.sort(-jnp.where(is_other, near, 0.0), axis=-1)[..., : MAX_CORNERS - 1]
    return jnp.pad(ordered, ((0, 0), (0, 0), (0, MAX_CORNERS - 1 - ordered.shape[-1])))


class ConstellationsTask:
    """Counts of patterns of points in the plane."""

    name = "constellations"
    options = ConstellationsOptions
    data_names = ("generated",)
    description = "how many patterns of each kind are among points in the plane"
    targets: Mapping[str, str] = MappingProxyType({TARGET: "1"})
    presets: Mapping[str, RunConfig] = MappingProxyType({"demo": DEMO, "paper": PAPER})

    def prepare(
        self, config: RunConfig, standardization: Sequence[Standardization] | None = None
    ) -> ConstellationsProblem:
        """Makes the examples.

        Args:
          config: Configuration of the run.
          standardization: Standardization of an earlier run; labels are never changed.

        Raises:
          ValueError: If a value is out of range or not used by this task.
        """
        options = task_options(config, ConstellationsOptions)
        check_run(config, TARGET, standardization)
        check_model(config, point_dim=2, kinds=LiftedModelConfig | FieldNetworkConfig)
        if config.data != "generated":
            raise ValueError(f"data must be 'generated' for constellations, got {config.data!r}.")
        sizes = {name: getattr(options, f"num_{name}") for name in constellations.SPLITS}
        check_sizes({f"constellations.num_{name}": size for name, size in sizes.items()})
        return ConstellationsProblem(
            config,
            {name: constellations.generate(size, split=name) for name, size in sizes.items()},
        )


class ConstellationsProblem(ClassificationProblem):
    """Constellations in memory, ready to train on; see :class:`eqattn.tasks.Problem`.

    Args:
      config: Configuration of the run.
      parts: Examples of each split.
    """

    def __init__(self, config: RunConfig, parts: Mapping[str, constellations.Constellations]):
        options = task_options(config, ConstellationsOptions)
        self.options = options
        super().__init__(
            config,
            TARGET,
            parts,
            num_classes=NUM_COUNTS,
            in_features=MAX_CORNERS - 1 if options.features == "nearness" else 1,
            label_names=tuple(constellations.PATTERNS),
            train_motion=constellations.MOTIONS[options.train_motion],
            test_motion=constellations.MOTIONS[options.test_motion],
        )

    def views(
        self,
        points: Float[Array, "B N 2"],
        features: Float[Array, "B N C"],
        mask: Bool[Array, "B N"],
        key: Key[Array, ""] | None,
    ) -> tuple[Float[Array, "B 1 N 2"], Float[Array, "B 1 N F"], Bool[Array, "B 1 N"]]:
        """Returns each example with its features.

        Args:
          points: Points of the examples.
          features: The constant 1 at every point.
          mask: True where there is a point.
          key: Random key that is not used: nothing is random.
        """
        if self.options.features == "nearness":
            features = nearness(points, mask)
        return super().views(points, features, mask, key)


TASK = ConstellationsTask()
