"""The task "images": what an image shows, as a cloud of points with intensities.

A pixel is a point of the plane, and turning the points turns the image by any angle, exactly, with
no regridding. The test is scored twice, upright and with each image turned by its own random angle:
a model that is invariant to SE(2) keeps its accuracy, though it was trained upright.

With the lift "outward" a point carries an orientation, the direction from the image's center, the
mean of its points weighted by intensity: data on R²×S¹, on which SE(2) acts freely, so that one
token above each point is exactly equivariant and sees every relative position. Near the center
that direction turns fast; how far a point is from it is a feature, so that a model can know. At the
center it is not defined, and a point there is left out.

The baseline that is trained is a network of the same size without the symmetry: it sees differences
of positions, and the positions themselves as features.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from eqattn.config import (
    OptimizerConfig,
    RunConfig,
    Standardization,
    TaskOptions,
)
from eqattn.data.motions import RandomMotion
from eqattn.groups import SE, T
from eqattn.layers import AttentiveConvolution, MLPLocation, MLPValues, MultiplyLogits
from eqattn.models import LieTransformerConfig
from eqattn.numerics import safe_norm
from eqattn.spaces import PositionOrientation, euclidean, position_orientation
from eqattn.tasks.core.classification import ClassificationProblem, check_run
from eqattn.tasks.core.config_checks import check_model, task_options, without_symmetry
from eqattn.tasks.images import data as images
from eqattn.typing import Array, Bool, Float, Key

__all__ = ["ImagesTask", "outward"]

TARGET = "class"
PLAIN = euclidean(T(2))
_CENTER = 1e-5  # of the farthest point's distance: rounding of the mean is smaller


@dataclass(frozen=True, repr=False, kw_only=True)
class ImagesOptions(TaskOptions):
    """What the task "images" asks for beside what all runs have."""

    train_motion: Literal["none", "SO(2)"] = "none"
    """Whether images are turned by random angles in training and validation; the test always has
    both."""
    threshold: float | None = 0.0
    """Pixels above this share of the greatest intensity are points; "None" for all pixels."""
    positions: bool = False
    """Whether a point's coordinates are features too, which gives up every symmetry."""
    baseline: Literal["plain", "none"] = "plain"
    """Whether a network of the same size without the symmetry is trained after the model, for the
    same time, as a baseline: with T(2) for the group, and positions."""


DEMO = RunConfig(
    task="images",
    preset="demo",
    data="digits",
    targets=(TARGET,),
    batch_size=32,
    steps=1_000,
    eval_every=200,
    model=LieTransformerConfig(
        space=position_orientation(SE(2)),
        dim=64,
        num_layers=3,
        layer=AttentiveConvolution(
            num_heads=8,
            location=MLPLocation(dim=32, num_layers=2, num_radial=24, cutoff=2.0),
            values=MLPValues(dim=32, num_layers=2, num_radial=24, cutoff=2.0),
            combine=MultiplyLogits(),
            normalize="mean",
        ),
    ),
    optimizer=OptimizerConfig(learning_rate=2e-3, ema_decay=0.99),
    options=ImagesOptions(),
)
"""SE(2)-invariant attentive convolution of oriented points; minutes on two CPU cores."""


def outward(
    points: Float[Array, "B N 2"], intensities: Float[Array, "B N"], mask: Bool[Array, "B N"]
) -> tuple[Float[Array, "B N 2"], Float[Array, "B N"]]:
    """Returns unit vectors away from the center of each image, and distances from it.

    The center is the mean of the points, weighted by their intensities. Turning the points turns
    the vectors; moving them all changes nothing. At the center, which is nearer than 1e-5 of the
    farthest point, there is no such direction: the vector is (1, 0) and the distance 0.

    Args:
      points: Points of the images.
      intensities: Intensities of the points, not negative.
      mask: True where there is a point.
    """
    weights = jnp.where(mask, intensities, 0.0)
    is_dark = jnp.sum(weights, axis=-1, keepdims=True) <= 0
    weights = jnp.where(is_dark, mask, weights)[..., None]
    total = jnp.maximum(jnp.sum(weights, axis=1, keepdims=True), jnp.finfo(points.dtype).tiny)
    offsets = points - jnp.sum(weights * points, axis=1, keepdims=True) / total
    distances = safe_norm((offsets[..., 0], offsets[..., 1]))
    farthest = jnp.max(jnp.where(mask, distances, 0.0), axis=-1, keepdims=True, initial=0.0)
    is_center = distances <= _CENTER * farthest
    vectors = offsets / jnp.where(is_center, 1.0, distances)[..., None]
    vectors = jnp.where(is_center[..., None], jnp.asarray([1.0, 0.0], points.dtype), vectors)
    return vectors, jnp.where(is_center, 0.0, distances)


def _is_oriented(config: RunConfig) -> bool:
    """Whether points have an axis, which points away from the center."""
    space = getattr(config.model.network, "space", None)
    return isinstance(space, PositionOrientation) and space.point_dim == 4


class ImagesTask:
    """Classes of images."""

    name = "images"
    options = ImagesOptions
    data_names = ("digits",)
    description = "what an image shows, upright and turned by any angle"
    targets: Mapping[str, str] = MappingProxyType({TARGET: "1"})
    presets: Mapping[str, RunConfig] = MappingProxyType({"demo": DEMO})
    baseline_names = ("commonest_class", "plain")

    def prepare(
        self, config: RunConfig, standardization: Sequence[Standardization] | None = None
    ) -> ImagesProblem:
        """Loads the images.

        Args:
          config: Configuration of the run.
          standardization: Standardization of an earlier run; labels are never changed.

        Raises:
          FileNotFoundError: If the data are missing.
          ValueError: If the data are wrong, or a value is out of range or not used by this task.
        """
        options = task_options(config, ImagesOptions)
        check_run(config, TARGET, standardization)
        check_model(config, point_dim=None if _is_oriented(config) else 2)
        held = {split: images.load(config.data, split=split) for split in images.SPLITS}
        sizes = {part.pixels.shape[1:] for part in held.values()}
        if len(sizes) > 1:
            raise ValueError(
                f"data {config.data!r}: images must be of one size, got "
                f"{' and '.join(f'{rows} x {columns}' for rows, columns in sorted(sizes))}."
            )
        threshold = options.threshold
        num_points = max(images.max_points(part, threshold) for part in held.values())
        clouds = {
            split: images.ImageClouds(part, num_points, threshold) for split, part in held.items()
        }
        return ImagesProblem(config, clouds)

    def baseline(self, config: RunConfig) -> RunConfig | None:
        """Returns the run of the network without the symmetry, if one is wanted.

        Args:
          config: The run of the model.
        """
        options = task_options(config, ImagesOptions)
        if options.baseline == "none":
            return None
        network: Any = config.model.network
        model = without_symmetry(network, PLAIN)
        options = dataclasses.replace(options, positions=True, baseline="none")
        return dataclasses.replace(config, model=model, options=options, num_lifts=1)


class ImagesProblem(ClassificationProblem):
    """Images in memory, ready to train on; see :class:`eqattn.tasks.Problem`.

    Args:
      config: Configuration of the run.
      clouds: Images of each split.
    """

    def __init__(self, config: RunConfig, clouds: Mapping[str, images.ImageClouds]):
        options = task_options(config, ImagesOptions)
        self.options = options
        super().__init__(
            config,
            TARGET,
            clouds,
            num_classes=1 + max(int(np.max(part.images.labels)) for part in clouds.values()),
            in_features=1 + 2 * options.positions + _is_oriented(config),
            train_motion=RandomMotion(options.train_motion),
            turned_motion=RandomMotion("SO(2)"),
        )

    def views(
        self,
        points: Float[Array, "B N 2"],
        features: Float[Array, "B N C"],
        mask: Bool[Array, "B N"],
        key: Key[Array, ""] | None,
    ) -> tuple[Float[Array, "B 1 N D"], Float[Array, "B 1 N F"], Bool[Array, "B 1 N"]]:
        """Returns each image, with orientations and positions if they are asked for.

        Args:
          points: Points of the images.
          features: Intensities.
          mask: True where there is a point.
          key: Random key that is not used: nothing is random.
        """
        intensities = features[..., 0]
        if self.options.positions:
            features = jnp.concatenate([features, points], axis=-1)
        if _is_oriented(self.config):
            vectors, distances = outward(points, intensities, mask)
            points = jnp.concatenate([points, vectors], axis=-1)
            is_apart = mask & (distances > 0)  # nowhere, if all points are at one place
            mask = jnp.where(jnp.any(is_apart, axis=-1, keepdims=True), is_apart, mask)
            features = jnp.concatenate([features, distances[..., None]], axis=-1)
        return super().views(points, features, mask, key)


TASK = ImagesTask()
