"""The task "constellations": how many squares, triangles, pentagons and L's are among the points.

An example has four labels, each a count from 0 to 2. Six pairs of motions, of training and of the
test, are the columns that arXiv:2012.10885 reports; its figures are shares of right answers in the
mean over labels, 1 - ``error`` here. Data are generated, see :mod:`eqattn.data.constellations`,
without the faults of the published ones: the figures are of a like task, not of the same examples.

References:
    Hutchinson et al., "LieTransformer: Equivariant self-attention for Lie groups",
    arXiv:2012.10885.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import jax.numpy as jnp
from flax import nnx

from eqattn.checks import check_sizes
from eqattn.config import (
    ModelConfig,
    OptimizerConfig,
    RunConfig,
    Standardization,
)
from eqattn.data import constellations
from eqattn.numerics import safe_sqrt
from eqattn.tasks.classification import ClassificationProblem, build_classifier, check_run
from eqattn.tasks.config_checks import reject_unused
from eqattn.typing import Array, Bool, Float, Key

__all__ = ["ConstellationsTask", "nearness"]

TARGET = "count"
NUM_COUNTS = constellations.ConstellationParameters().repetitions + 1
MAX_CORNERS = (NUM_COUNTS - 1) * sum(map(len, constellations.PATTERNS.values()))
NEAR = 0.25
"""The distance at which nearness has fallen to 1/e; a polygon's radius is 0.1 or so."""

DEMO = RunConfig(
    task="constellations",
    preset="demo",
    data="generated",
    targets=(TARGET,),
    batch_size=64,
    steps=1_500,
    eval_every=250,
    model=ModelConfig(
        group="SE(2)",
        lift="none",
        coordinates="invariants",
        dim=64,
        num_layers=3,
        num_heads=8,
        location="mlp",
        location_dim=32,
        location_layers=2,
        num_radial=32,
        radial_cutoff=1.0,
        combine="product",
        normalize="mean",
    ),
    optimizer=OptimizerConfig(learning_rate=2e-3),
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
    model=ModelConfig(
        group="SE(2)",
        lift="haar",
        num_samples=1,
        coordinates="log",
        dim=512,
        num_layers=6,
        num_heads=8,
        location="mlp_per_head",
        location_dim=16,
        location_layers=3,
        num_radial=0,
        mlp_ratio=1.0,
        final_activation=True,
    ),
    optimizer=OptimizerConfig(
        learning_rate=1e-4, weight_decay=0.0, warmup_steps=0, clip_norm=0.0, ema_decay=0.0
    ),
)
"""LieTransformer-SE2 in the size that is the default of the public code: 6 layers of width 512, 8
heads, per-head location MLPs of width 16 on logarithms, one lift sample. The length of training is
ours. LieTransformer-T2 is ``--model.group "T(2)" --model.lift none``. It wants an accelerator."""


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
    description = "how many patterns of each kind are among points in the plane"
    targets: Mapping[str, str] = MappingProxyType({TARGET: "1"})
    presets: Mapping[str, RunConfig] = MappingProxyType({"demo": DEMO, "paper": PAPER})

    def build_model(
        self, config: ModelConfig, in_features: int, out_features: int, seed: int
    ) -> nnx.Module:
        """Returns the model with fresh parameters.

        Args:
            config: The model's configuration.
            in_features: Input channels per point.
            out_features: Number of logits, of all counts of all kinds.
            seed: Seed of the parameters.

        Raises:
            ValueError: If a value is out of range, the output is not invariant, or the group does
                not act on the plane.
        """
        return build_classifier(config, self.name, 2, in_features, out_features, seed)

    def prepare(
        self, config: RunConfig, standardization: Sequence[Standardization] | None = None
    ) -> ConstellationsProblem:
        """Makes the examples.

        Args:
            config: The run.
            standardization: That of an earlier run; labels are never changed.

        Raises:
            ValueError: If a value is out of range or not used by this task.
        """
        reject_unused(config, ("split", "augment_rotations", "buckets"))
        check_run(config, TARGET, standardization)
        if config.data != "generated":
            raise ValueError(f"data must be 'generated' for constellations, got {config.data!r}.")
        options = config.constellations
        sizes = {name: getattr(options, f"num_{name}") for name in constellations.SPLITS}
        check_sizes({f"constellations.num_{name}": size for name, size in sizes.items()})
        return ConstellationsProblem(
            config,
            {name: constellations.generate(size, split=name) for name, size in sizes.items()},
        )


class ConstellationsProblem(ClassificationProblem):
    """Constellations in memory, ready to train on; see :class:`eqattn.tasks.Problem`.

    Args:
        config: The run.
        parts: Examples of each split.
    """

    def __init__(self, config: RunConfig, parts: Mapping[str, constellations.Constellations]):
        options = config.constellations
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
            key: Not used; nothing is random.
        """
        if self.config.constellations.features == "nearness":
            features = nearness(points, mask)
        return super().views(points, features, mask, key)
