"""The task "winds": next month's wind field on the globe, vectors in and vectors out.

An example has, at points of the sphere, the wind of a month, the climatology of that month and of
the next (three tangent vectors in R³), and four scalars: the phase of the year (cosine and sine),
the height and the part of land. A model predicts how the next month's wind departs from its
climatology; a part of its output that is not tangent is dropped. The group is SO(3), not O(3): the
Coriolis force tells left from right. Cell areas weight the loss, the scores and, as quadrature
weights, the keys of attention.

Scores of a split, over the points' areas:

* ``rms`` (m/s): root of the mean square length of errors, beside the better one of persistence and
  climatology;
* ``rms_rotated`` (m/s), of the test: the same after points and vectors of each example were turned
  by its own random rotation;
* ``unexplained``: 1 - R², with R² as in :func:`eqattn.data.wind_forecasts.r_squared`.

The baseline that is trained is the same network without the symmetry: it sees differences of
positions in R³, and the positions themselves as features.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from eqattn import groups
from eqattn.checks import check_sizes
from eqattn.config import ModelConfig, OptimizerConfig, RunConfig, Standardization, WindsConfig
from eqattn.data import wind_batches, wind_forecasts, winds
from eqattn.data.wind_forecasts import Forecasts
from eqattn.spaces import Space, euclidean, sphere
from eqattn.tasks.build import build_model, check_lift_options, without_lift
from eqattn.tasks.config_checks import reject_unused
from eqattn.tasks.task import Batch, Panel, Predictions, Score
from eqattn.tasks.wind_maps import wind_maps
from eqattn.tasks.wind_model import NUM_OUTPUTS, WindModel
from eqattn.typing import Array, Float, Int, Key

__all__ = ["WindsTask"]

TARGET, VARIANCE = "wind", "variance"
SYMMETRIC, PLAIN = "SO(3)", "T(3)"
NUM_SCALARS = 4
"""Cosine and sine of the phase of the year, height, and part of land."""
ROTATION_SEED = 0

DEMO = RunConfig(
    task="winds",
    preset="demo",
    data="embedded",
    targets=(TARGET,),
    batch_size=4,
    steps=600,
    eval_every=100,
    num_lifts=1,
    model=ModelConfig(
        group=SYMMETRIC,
        lift="none",
        coordinates="embedding",
        dim=32,
        num_layers=2,
        num_heads=4,
        location="mlp",
        location_dim=16,
        location_layers=2,
        num_radial=0,
        output="per_point",
    ),
    optimizer=OptimizerConfig(learning_rate=2e-3, ema_decay=0.99),
    winds=WindsConfig(num_points=200, step=10.0),
)
"""Two blocks of attention over the globe, in the frames of the winds, on a grid of 10°: minutes on
two CPU cores. Few parameters and few points at a time, as there are 95 months to learn from."""


class WindsTask:
    """Forecasts of a tangent vector field on the sphere."""

    name = "winds"
    description = "next month's wind on the globe, a tangent vector field on the sphere"
    targets: Mapping[str, str] = MappingProxyType({TARGET: "m/s"})
    presets: Mapping[str, RunConfig] = MappingProxyType({"demo": DEMO})
    baseline_names = ("persistence_or_climatology", "plain")

    def build_model(
        self, config: ModelConfig, in_features: int, out_features: int, seed: int
    ) -> WindModel:
        """Returns the model with fresh parameters: vectors and scalars in, a tangent vector out.

        Args:
            config: The configuration of the network inside.
            in_features: Input channels of a point.
            out_features: 3, the components of a vector.
            seed: Seed of the parameters.

        Raises:
            ValueError: If a value is out of range, the output is not one of each point, or the
                group does not act on the globe.
        """
        if config.output != "per_point" or out_features != 3:
            raise ValueError(f"output must be 'per_point' for winds, got {config.output!r}.")
        if config.pool != ModelConfig().pool:
            raise ValueError(f"pool is not used by the task winds, got {config.pool!r}.")
        space, frames = _space(config), config.group == SYMMETRIC and config.lift == "none"
        if frames:
            check_lift_options(config)
            config = dataclasses.replace(config, lift="haar")  # one element above each point
        network = build_model(config, in_features, NUM_OUTPUTS, seed, space=space)
        num_vectors = _num_vectors(config)
        return WindModel(network, num_vectors=num_vectors, num_scalars=NUM_SCALARS, frames=frames)

    def prepare(
        self, config: RunConfig, standardization: Sequence[Standardization] | None = None
    ) -> WindsProblem:
        """Loads the winds and splits them in time.

        Args:
            config: The run.
            standardization: That of an earlier run; by default from the training split.

        Raises:
            FileNotFoundError: If the data are missing.
            ValueError: If the data are wrong, or a value is out of range or not used by this task.
        """
        reject_unused(config, ("split", "augment_rotations", "buckets"))
        if config.targets != (TARGET,):
            raise ValueError(f"targets must be {(TARGET,)} for winds, got {config.targets}.")
        check_sizes({"winds.num_points": config.winds.num_points}, minimum=0)
        record = winds.load(config.data, step=config.winds.step or None)
        parts = {name: wind_forecasts.forecasts(record, name) for name in wind_forecasts.SPLITS}
        if standardization is None:
            train = parts["train"]
            scale = wind_forecasts.rms(train.targets - train.target_climatology, train.areas)
            if not scale > 0:
                raise ValueError(
                    f"data {config.data!r}: no wind of the training months departs from its "
                    "climatology, so that there is nothing to learn."
                )
            standardization = (Standardization(TARGET, "m/s", 0.0, scale),)
        return WindsProblem(config, parts, tuple(standardization))

    def baseline(self, config: RunConfig) -> RunConfig | None:
        """Returns the run of the same network without the symmetry, if one is wanted.

        Args:
            config: The run of the model.
        """
        if config.winds.baseline == "none" or config.model.group == PLAIN:
            return None
        model = dataclasses.replace(
            without_lift(config.model), group=PLAIN, coordinates="embedding"
        )
        return dataclasses.replace(config, model=model, num_lifts=1)


def _space(config: ModelConfig) -> Space:
    if config.group == SYMMETRIC:
        return sphere(groups.SO(3))
    if config.group == PLAIN:
        return euclidean(groups.T(3))
    raise ValueError(
        f"group must be {SYMMETRIC!r} for winds, or {PLAIN!r} for the model without the symmetry, "
        f"got {config.group!r}."
    )


def _num_vectors(config: ModelConfig) -> int:
    """Three winds; without the symmetry also the position."""
    return 3 + int(config.group == PLAIN)


class WindsProblem:
    """Winds in memory, ready to train on; see :class:`eqattn.tasks.Problem`.

    Args:
        config: The run.
        parts: Examples of each split.
        standardization: The scale of departures from the climatology, in m/s.
    """

    out_features = 3

    def __init__(
        self,
        config: RunConfig,
        parts: Mapping[str, Forecasts],
        standardization: tuple[Standardization, ...],
    ):
        self.config = config
        self.standardization = standardization
        self.num_examples = {name: len(part) for name, part in parts.items()}
        self.in_features = 3 * _num_vectors(config.model) + NUM_SCALARS
        self._parts = parts
        self._dtype = np.dtype(jnp.promote_types(jnp.float32, config.model.dtype))
        (constants,) = standardization
        self._scale = constants.scale

    def training_batches(self) -> Any:
        """Returns the endless stream of training batches; batch ``i`` is seen by step ``i``."""
        return wind_batches.training_batches(
            self._parts["train"],
            batch_size=self.config.batch_size,
            num_points=self.config.winds.num_points or None,
            seed=self.config.seed,
            dtype=self._dtype,
        )

    def evaluation_batches(self, split: str) -> Iterable[Batch]:
        """Returns each example of a split once, at all points; with a rotation in the test.

        Args:
            split: "train", "validation" or "test".
        """
        batches = wind_batches.evaluation_batches(
            self._parts[split], batch_size=self.config.batch_size, dtype=self._dtype
        )
        for batch in batches:
            yield batch | {"rotation": _rotations(batch["id"])} if split == "test" else batch

    def loss(self, model: nnx.Module, batch: Batch, key: Key[Array, ""]) -> Float[Array, ""]:
        """Returns the mean squared length of the standardized errors, by area, in fresh lifts.

        Args:
            model: The model.
            batch: A training batch.
            key: Draws the lifts.
        """
        departure = self._departure(model, batch, key=key, training=True)
        return jnp.mean(self._losses(departure, batch))

    def predict(
        self,
        model: nnx.Module,
        batch: Batch,
        num_lifts: int,
        key: Key[Array, ""] | None = None,
    ) -> dict[str, Float[Array, "B ..."] | Int[Array, " B"]]:
        """Returns predicted winds in m/s, rotated ones too where the batch asks, and the losses.

        A rotated prediction is that of the rotated scene, rotated back.

        Args:
            model: The model.
            batch: An evaluation batch.
            num_lifts: Lifts to average.
            key: Draws them; by default the fixed key of evaluation.
        """
        departure = self._departure(model, batch, num_lifts=num_lifts, key=key)
        normal = jnp.asarray(batch["target_climatology"])
        out = {
            "id": jnp.asarray(batch["id"]),
            "loss": self._losses(departure, batch),
            "prediction": normal + self._scale * departure,
        }
        if "rotation" in batch:
            rotation = jnp.asarray(batch["rotation"], normal.dtype)
            turned = dict(batch) | {
                name: _turn(rotation, jnp.asarray(batch[name])) for name in wind_batches.VECTORS
            }
            there = self._departure(model, turned, num_lifts=num_lifts, key=key)
            back = _turn(jnp.swapaxes(rotation, 1, 2), there)
            out["rotated"] = normal + self._scale * back
        return out

    def score(self, split: str, predictions: Predictions) -> tuple[Score, ...]:
        """Returns the errors beside those of persistence or climatology, whichever is better.

        Args:
            split: "train", "validation" or "test".
            predictions: What :meth:`predict` returned, over the whole split.
        """
        data = self._parts[split]
        order = np.argsort(predictions["id"])[np.argsort(np.argsort(data.ids))]
        trivial = min(
            (wind_forecasts.persistence(data), wind_forecasts.climatology(data)),
            key=lambda forecast: wind_forecasts.rms(forecast - data.targets, data.areas),
        )
        baseline = wind_forecasts.rms(trivial - data.targets, data.areas)
        scores = [
            Score(TARGET, metric, self._rms(predictions[name][order], data), baseline, "m/s")
            for metric, name in (("rms", "prediction"), ("rms_rotated", "rotated"))
            if name in predictions
        ]
        explained = [
            wind_forecasts.r_squared(forecast, data.targets, data.areas)
            for forecast in (predictions["prediction"][order], trivial)
        ]
        return (*scores, Score(VARIANCE, "unexplained", 1 - explained[0], 1 - explained[1], "1"))

    def figures(self, split: str, predictions: Predictions) -> Mapping[str, Sequence[Panel]]:
        """Returns ``maps``: predicted and true arrows of a month, and their departures.

        Args:
            split: "train", "validation" or "test".
            predictions: What :meth:`predict` returned, over the whole split.
        """
        return wind_maps(self._parts[split], predictions)

    def _rms(self, forecast: Float[np.ndarray, "M N 3"], data: Forecasts) -> float:
        return wind_forecasts.rms(forecast - data.targets, data.areas)

    def _losses(self, departure: Float[Array, "B N 3"], batch: Batch) -> Float[Array, " B"]:
        """The mean square error of each example, by area, in standardized units."""
        true = (batch["target"] - batch["target_climatology"]) / self._scale
        areas = jnp.exp(jnp.asarray(batch["log_weights"]))
        squares = jnp.sum((departure - true) ** 2, axis=-1)
        return jnp.sum(areas * squares, axis=-1) / jnp.sum(areas, axis=-1)

    def _departure(self, model: Any, batch: Batch, **options: Any) -> Float[Array, "B N 3"]:
        """The predicted departure from the climatology, standardized and tangent."""
        points = jnp.asarray(batch["points"])
        vectors = [batch["wind"] - batch["climatology"], batch["climatology"]]
        vectors = [vector / self._scale for vector in (*vectors, batch["target_climatology"])]
        if self.config.model.group == PLAIN:
            vectors.insert(1, points)
        phase = jnp.broadcast_to(jnp.asarray(batch["phase"])[:, None], (*points.shape[:-1], 2))
        return model(
            points,
            jnp.stack(vectors, axis=-2),
            jnp.concatenate([phase, jnp.asarray(batch["relief"])], axis=-1),
            example_ids=jnp.asarray(batch["id"]),
            log_weights=jnp.asarray(batch["log_weights"]),
            **options,
        )


def _turn(rotation: Float[Array, "B 3 3"], vectors: Float[Array, "B N 3"]) -> Array:
    """Applies a rotation to the vectors of each example, without a lower-precision product."""
    return jnp.sum(rotation[:, None] * vectors[:, :, None, :], axis=-1)


def _rotations(ids: np.ndarray) -> Float[np.ndarray, "B 3 3"]:
    """A random rotation of each example, which depends on its id alone."""
    matrices = []
    for number in ids.tolist():
        random = np.random.RandomState(
            np.random.SeedSequence((ROTATION_SEED, number)).generate_state(4)
        )
        q, r = np.linalg.qr(random.normal(size=(3, 3)))
        q = q * np.sign(np.diagonal(r))
        matrices.append(q * np.sign(np.linalg.det(q)))
    return np.stack(matrices)
