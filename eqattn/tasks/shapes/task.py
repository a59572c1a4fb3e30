"""The task "shapes": what kind of thing a cloud of points in space is the surface of.

Training and test turn the shapes by the protocol: about the vertical axis z, or by any rotation.
The default model is exactly invariant to SE(3), for which all protocols are one; see
:mod:`eqattn.tasks.shapes.baseline` for the random forest to compare it with.

References:
  Esteves et al., arXiv:1711.06721 (the protocols); Qi et al., arXiv:1612.00593.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import jax
import jax.numpy as jnp

from eqattn.checks import check_sizes
from eqattn.config import (
    OptimizerConfig,
    RunConfig,
    Standardization,
    TaskOptions,
)
from eqattn.fields import FieldType
from eqattn.groups import SE, E
from eqattn.layers import Attention, MLPLocation, MultiplyLogits
from eqattn.layers.steerable import FieldLayer
from eqattn.models import FieldNetworkConfig, LieTransformerConfig, LiftedModelConfig
from eqattn.spaces import euclidean
from eqattn.tasks.core.classification import ClassificationProblem, check_run
from eqattn.tasks.core.config_checks import check_model, task_options
from eqattn.tasks.shapes import data as shapes
from eqattn.tasks.shapes.features import (
    MOMENT_FIELD,
    NUM_MOMENT_FEATURES,
    moment_features,
    moment_fields,
)
from eqattn.typing import Array, Bool, Float, Key

__all__ = ["ShapesTask"]

TARGET = "class"
MOMENTS = {"moments": moment_features, "fields": moment_fields}
INPUT_FIELDS = {
    "moments": f"{NUM_MOMENT_FEATURES}x scalar",
    "fields": MOMENT_FIELD,
    "constant": "scalar",
}


@dataclass(frozen=True, repr=False, kw_only=True)
class ShapesOptions(TaskOptions):
    """What the task "shapes" asks for beside what all runs have."""

    protocol: Literal["z/z", "z/SO(3)", "SO(3)/SO(3)"] = "SO(3)/SO(3)"
    """How shapes are turned in training and validation / in the test: about the vertical axis, or
    by any rotation."""
    fold: int = 0
    """Number of the fold that is the test."""
    num_points: int = 0
    """Points of each shape; 0 for all there are."""
    subset: int = 64
    """Points that the network sees at once: drawn anew at every step of training; in evaluation,
    disjoint sets of so many points, whose log probabilities are averaged. 0 for all at once."""
    features: Literal["moments", "fields", "constant"] = "moments"
    """Features of a point: invariants of the moments of its surroundings and of its place in the
    whole; the same and, as vectors and tensors, these moments themselves, for a network of fields;
    or the constant 1."""
    stretch: float = 0.1
    """In training, each shape is stretched along random axes, by a factor of 1 and a normal number
    of this standard deviation."""
    label_smoothing: float = 0.1
    """Share of the probability that training spreads evenly over all classes."""


_WEIGHTS: dict[str, Any] = {
    "num_heads": 8,
    "location": MLPLocation(dim=16, num_layers=2, num_radial=16, cutoff=2.0),
    "combine": MultiplyLogits(),
    "normalize": "mean",
}

DEMO = RunConfig(
    task="shapes",
    preset="demo",
    data="embedded",
    targets=(TARGET,),
    batch_size=32,
    steps=800,
    eval_every=100,
    model=LieTransformerConfig(
        space=euclidean(SE(3)),
        dim=64,
        num_layers=2,
        layer=Attention(**_WEIGHTS),
        pool="max",
    ),
    optimizer=OptimizerConfig(learning_rate=2e-3, weight_decay=0.1, ema_decay=0.99),
    options=ShapesOptions(),
)
"""SE(3)-invariant attention over distances between points that know the moments of their
surroundings; minutes on two CPU cores."""


FIELDS = dataclasses.replace(
    DEMO,
    preset="fields",
    model=FieldNetworkConfig(
        space=euclidean(E(3)),
        input_field=MOMENT_FIELD,
        output_field="14x scalar",
        hidden_field="64x scalar + 16x vector + 8x irrep(2)",
        num_layers=2,
        layer=FieldLayer(**_WEIGHTS),
        pool="max",
        output="invariant",
    ),
    options=ShapesOptions(features="fields"),
)
"""The same of points that know these moments as vectors and tensors too, in a network of fields."""


class ShapesTask:
    """Classes of clouds of points in space."""

    name = "shapes"
    options = ShapesOptions
    data_names = ("embedded",)
    description = "what kind of thing a cloud of points in space is the surface of"
    targets: Mapping[str, str] = MappingProxyType({TARGET: "1"})
    presets: Mapping[str, RunConfig] = MappingProxyType({"demo": DEMO, "fields": FIELDS})

    def prepare(
        self, config: RunConfig, standardization: Sequence[Standardization] | None = None
    ) -> ShapesProblem:
        """Loads the shapes and splits them by the fold.

        Args:
          config: Configuration of the run.
          standardization: Standardization of an earlier run; labels are never changed.

        Raises:
          FileNotFoundError: If the data are missing.
          ModuleNotFoundError: If the data need a package that is not installed.
          ValueError: If the data are wrong, or a value is out of range or not used by this task.
        """
        options = task_options(config, ShapesOptions)
        check_run(config, TARGET, standardization)
        check_model(config, point_dim=3, kinds=LiftedModelConfig | FieldNetworkConfig)
        sizes = {"num_points": options.num_points, "subset": options.subset}
        check_sizes(sizes, minimum=0)
        if not 0 <= options.stretch < 1:
            raise ValueError(f"stretch must be in [0, 1), got {options.stretch}.")
        if options.features == "fields" and not isinstance(config.model, FieldNetworkConfig):
            raise ValueError(
                "features 'fields' are for a model of FieldNetworkConfig, got "
                f"{type(config.model).__name__}."
            )
        held = shapes.load(config.data, num_points=options.num_points or None)
        num_points = held.points.shape[1]
        if options.subset > num_points:
            raise ValueError(
                f"subset must be at most the {num_points} points of a shape, got {options.subset}."
            )
        parts = shapes.split(held, options.fold)
        return ShapesProblem(
            config, {name: held[rows] for name, rows in parts.items()}, len(held.class_names)
        )


class ShapesProblem(ClassificationProblem):
    """Shapes in memory, ready to train on; see :class:`eqattn.tasks.Problem`.

    Args:
      config: Configuration of the run.
      parts: Shapes of each split.
      num_classes: How many classes there are.
    """

    def __init__(self, config: RunConfig, parts: Mapping[str, shapes.Shapes], num_classes: int):
        options = task_options(config, ShapesOptions)
        self.options = options
        field = FieldType.parse(INPUT_FIELDS[options.features])
        train_motion, test_motion = shapes.PROTOCOLS[options.protocol]
        super().__init__(
            config,
            TARGET,
            parts,
            num_classes=num_classes,
            in_features=field.size(euclidean(E(3))),
            input_field=field,
            train_motion=train_motion,
            test_motion=test_motion,
            label_smoothing=options.label_smoothing,
        )

    def views(
        self,
        points: Float[Array, "B N 3"],
        features: Float[Array, "B N C"],
        mask: Bool[Array, "B N"],
        key: Key[Array, ""] | None,
    ) -> tuple[Float[Array, "B V K 3"], Float[Array, "B V K F"], Bool[Array, "B V K"]]:
        """Returns a random subset of each stretched shape, or in evaluation disjoint ones.

        Args:
          points: Points of the shapes.
          features: The constant 1.
          mask: True everywhere.
          key: Draws subset and stretch; without one there are as many subsets as fit.
        """
        num_shapes, num_points, _ = points.shape
        size = self.options.subset or num_points
        if key is None:
            num_views = num_points // size
            chosen = jnp.arange(num_views * size).reshape(num_views, size)
            chosen = jnp.broadcast_to(chosen, (num_shapes, num_views, size))
        else:
            subset_key, stretch_key = jax.random.split(key)
            order = jax.random.uniform(subset_key, (num_shapes, num_points), jnp.float32)
            chosen = jax.lax.top_k(order, size)[1][:, None]
            points = _stretched(stretch_key, points, self.options.stretch)
        take = jax.vmap(lambda array, rows: array[rows])
        seen = take(points, chosen)
        if self.options.features in MOMENTS:
            flat = seen.reshape(num_shapes, -1, 3)
            found = MOMENTS[self.options.features](points, flat).reshape(*chosen.shape, -1)
        else:
            found = take(features, chosen)
        return seen, found, take(mask, chosen)


def _stretched(
    key: Key[Array, ""], points: Float[Array, "B N 3"], deviation: float
) -> Float[Array, "B N 3"]:
    """Each shape multiplied by 1 + a random symmetric matrix, alike in all directions."""
    noise = deviation * jax.random.normal(key, (points.shape[0], 3, 3), points.dtype)
    symmetric = (noise + jnp.swapaxes(noise, -1, -2)) / 2
    return points + jnp.sum(symmetric[:, None] * points[..., None, :], axis=-1)


TASK = ShapesTask()
