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
from types import MappingProxyType

import jax.numpy as jnp
import numpy as np
from flax import nnx

from eqattn import groups
from eqattn.config import (
    ModelConfig,
    OptimizerConfig,
    RunConfig,
    Standardization,
)
from eqattn.data import images
from eqattn.data.motions import RandomMotion
from eqattn.numerics import safe_norm
from eqattn.spaces import position_orientation
from eqattn.tasks.build import check_lift_options, without_lift
from eqattn.tasks.classification import ClassificationProblem, build_classifier, check_run
from eqattn.tasks.config_checks import reject_unused
from eqattn.typing import Array, Bool, Float, Key

__all__ = ["ImagesTask", "outward"]

TARGET = "class"
PLAIN = "T(2)"
_CENTER = 1e-5  # of the farthest point's distance: rounding of the mean is smaller

DEMO = RunConfig(
    task="images",
    preset="demo",
    data="digits",
    targets=(TARGET,),
    batch_size=32,
    steps=1_000,
    eval_every=200,
    model=ModelConfig(
        group="SE(2)",
        lift="outward",
        coordinates="embedding",
        dim=64,
        num_layers=3,
        layer="attentive_convolution",
        num_heads=8,
        location="mlp",
        location_dim=32,
        location_layers=2,
        num_radial=24,
        radial_cutoff=2.0,
        combine="product",
        normalize="mean",
    ),
    optimizer=OptimizerConfig(learning_rate=2e-3, ema_decay=0.99),
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


class ImagesTask:
    """Classes of images."""

    name = "images"
    description = "what an image shows, upright and turned by any angle"
    targets: Mapping[str, str] = MappingProxyType({TARGET: "1"})
    presets: Mapping[str, RunConfig] = MappingProxyType({"demo": DEMO})
    baseline_names = ("commonest_class", "plain")

    def build_model(
        self, config: ModelConfig, in_features: int, out_features: int, seed: int
    ) -> nnx.Module:
        """Returns the model with fresh parameters.

        Args:
            config: The model's configuration.
            in_features: Input channels per point.
            out_features: Number of classes.
            seed: Seed of the parameters.

        Raises:
            ValueError: If a value is out of range, the output is not invariant, or the group does
                not act on the plane.
        """
        if config.lift != "outward":
            return build_classifier(config, self.name, 2, in_features, out_features, seed)
        if config.group != "SE(2)":
            raise ValueError(
                f"group must be 'SE(2)' with the lift 'outward', got {config.group!r}."
            )
        check_lift_options(config)
        space = position_orientation(groups.SE(2))
        return build_classifier(
            without_lift(config), self.name, 2, in_features, out_features, seed, space=space
        )

    def prepare(
        self, config: RunConfig, standardization: Sequence[Standardization] | None = None
    ) -> ImagesProblem:
        """Loads the images.

        Args:
            config: The run.
            standardization: That of an earlier run; labels are never changed.

        Raises:
            FileNotFoundError: If the data are missing.
            ValueError: If the data are wrong, or a value is out of range or not used by this task.
        """
        reject_unused(config, ("split", "augment_rotations", "buckets"))
        check_run(config, TARGET, standardization)
        held = {split: images.load(config.data, split=split) for split in images.SPLITS}
        sizes = {part.pixels.shape[1:] for part in held.values()}
        if len(sizes) > 1:
            raise ValueError(
                f"data {config.data!r}: images must be of one size, got "
                f"{' and '.join(f'{rows} x {columns}' for rows, columns in sorted(sizes))}."
            )
        threshold = config.images.threshold
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
        if config.images.baseline == "none":
            return None
        model = dataclasses.replace(
            without_lift(config.model), group=PLAIN, coordinates="embedding"
        )
        options = dataclasses.replace(config.images, positions=True, baseline="none")
        return dataclasses.replace(config, model=model, images=options, num_lifts=1)


class ImagesProblem(ClassificationProblem):
    """Images in memory, ready to train on; see :class:`eqattn.tasks.Problem`.

    Args:
        config: The run.
        clouds: Images of each split.
    """

    def __init__(self, config: RunConfig, clouds: Mapping[str, images.ImageClouds]):
        options = config.images
        super().__init__(
            config,
            TARGET,
            clouds,
            num_classes=1 + max(int(np.max(part.images.labels)) for part in clouds.values()),
            in_features=1 + 2 * options.positions + (config.model.lift == "outward"),
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
            key: Not used; nothing is random.
        """
        intensities = features[..., 0]
        if self.config.images.positions:
            features = jnp.concatenate([features, points], axis=-1)
        if self.config.model.lift == "outward":
            vectors, distances = outward(points, intensities, mask)
            points = jnp.concatenate([points, vectors], axis=-1)
            is_apart = mask & (distances > 0)  # nowhere, if all points are at one place
            mask = jnp.where(jnp.any(is_apart, axis=-1, keepdims=True), is_apart, mask)
            features = jnp.concatenate([features, distances[..., None]], axis=-1)
        return super().views(points, features, mask, key)
