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
* ``unexplained``: 1 - R², with R² as in :func:`eqattn.tasks.winds.forecasts.r_squared`.

The baseline that is trained is the same network without the symmetry: it sees differences of
positions in R³, and the positions themselves as features.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from flax import nnx

from eqattn.checks import check_sizes
from eqattn.config import OptimizerConfig, RunConfig, Standardization, TaskOptions
from eqattn.data.streams import random_state
from eqattn.layers import Attention, MLPLocation
from eqattn.layers.steerable import FieldLayer
from eqattn.models import FieldNetworkConfig, LieTransformerConfig
from eqattn.tasks.core.config_checks import task_options, without_symmetry
from eqattn.tasks.core.task import Batch, Panel, Predictions, Score, weighted_sums
from eqattn.tasks.winds import batches as wind_batches
from eqattn.tasks.winds import data as winds
from eqattn.tasks.winds import forecasts as wind_forecasts
from eqattn.tasks.winds.forecasts import Forecasts
from eqattn.tasks.winds.maps import wind_maps
from eqattn.tasks.winds.model import (
    NUM_WINDS,
    OUTPUT,
    PLAIN,
    SYMMETRIC,
    WindFrames,
    WindModelConfig,
    check_wind_model,
    input_field,
    num_features,
    num_vectors,
)
from eqattn.typing import Array, Float, Int, Key

__all__ = ["WindsTask"]

TARGET, VARIANCE = "wind", "variance"
ROTATION_SEED = 0


@dataclass(frozen=True, repr=False, kw_only=True)
class WindsOptions(TaskOptions):
    """What the task "winds" asks for beside what all runs have."""

    num_points: int = 0
    """Points of the globe that are drawn anew for every training example, by area; 0 for all. Far
    fewer points than there are make neighborhoods by number reach farther in training."""
    step: float = 0.0
    """Degrees between points, to which the winds are averaged; 0 for those of the data (5)."""
    baseline: Literal["plain", "none"] = "plain"
    """Whether the same network without the symmetry is trained after the model, for the same time,
    as a baseline."""


DEMO = RunConfig(
    task="winds",
    preset="demo",
    data="embedded",
    targets=(TARGET,),
    batch_size=4,
    steps=600,
    eval_every=100,
    num_lifts=1,
    model=WindModelConfig(
        inner=LieTransformerConfig(
            space=SYMMETRIC,
            lift=WindFrames(),
            dim=32,
            num_layers=2,
            layer=Attention(num_heads=4, location=MLPLocation(dim=16, num_layers=2, num_radial=0)),
            output="per_point",
        )
    ),
    optimizer=OptimizerConfig(learning_rate=2e-3, ema_decay=0.99),
    options=WindsOptions(num_points=200, step=10.0),
)
"""Two blocks of attention over the globe, in the frames of the winds, on a grid of 10°: minutes on
two CPU cores. Few parameters and few points at a time, as there are 95 months to learn from."""

FIELDS = dataclasses.replace(
    DEMO,
    preset="fields",
    model=WindModelConfig(
        inner=FieldNetworkConfig(
            space=SYMMETRIC,
            input_field=input_field(NUM_WINDS),
            output_field=OUTPUT,
            hidden_field="16x scalar + 16x vector",
            num_layers=2,
            layer=FieldLayer(
                num_heads=4,
                location=MLPLocation(dim=16, num_layers=2, num_radial=16, cutoff=1.0),
                cutoff=1.0,
            ),
            mlp_ratio=1.0,
            products=True,
        )
    ),
)
"""Two blocks of a network of fields, without a lift. Its products tell left from right, and a point
sees others up to a chord of one radius, 60°: best on validation of cutoffs from 0.7 to none."""


class WindsTask:
    """Forecasts of a tangent vector field on the sphere."""

    name = "winds"
    options = WindsOptions
    data_names = ("embedded",)
    description = "next month's wind on the globe, a tangent vector field on the sphere"
    targets: Mapping[str, str] = MappingProxyType({TARGET: "m/s"})
    presets: Mapping[str, RunConfig] = MappingProxyType({"demo": DEMO, "fields": FIELDS})
    baseline_names = ("persistence_or_climatology", "plain")

    def prepare(
        self, config: RunConfig, standardization: Sequence[Standardization] | None = None
    ) -> WindsProblem:
        """Loads the winds and splits them in time.

        Args:
          config: Configuration of the run.
          standardization: Standardization of an earlier run; by default from the training split.

        Raises:
          FileNotFoundError: If the data are missing.
          ValueError: If the data are wrong, or a value is out of range or not used by this task.
        """
        options = task_options(config, WindsOptions)
        check_wind_model(config.model)
        if config.targets != (TARGET,):
            raise ValueError(f"targets must be {(TARGET,)} for winds, got {config.targets}.")
        check_sizes({"num_points": options.num_points}, minimum=0)
        record = winds.load(config.data, step=options.step or None)
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
        network: Any = config.model.network
        options = task_options(config, WindsOptions)
        if options.baseline == "none" or num_vectors(config.model) > NUM_WINDS:
            return None
        if isinstance(network, FieldNetworkConfig):
            field = input_field(NUM_WINDS + 1)
            plain: Any = dataclasses.replace(network, space=PLAIN, input_field=field)
        else:
            plain = without_symmetry(network, PLAIN)
        return dataclasses.replace(config, model=WindModelConfig(inner=plain), num_lifts=1)


class WindsProblem:
    """Winds in memory, ready to train on; see :class:`eqattn.tasks.Problem`.

    Args:
      config: Configuration of the run.
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
        self.options = task_options(config, WindsOptions)
        self.standardization = standardization
        self.num_examples = {name: len(part) for name, part in parts.items()}
        self.in_features = num_features(config.model)
        self._parts = parts
        self._dtype = np.dtype(jnp.promote_types(jnp.float32, config.model.network.dtype))
        (constants,) = standardization
        self._scale = constants.scale

    def training_batches(self) -> Any:
        """Returns the endless stream of training batches; batch ``i`` is seen by step ``i``."""
        return wind_batches.training_batches(
            self._parts["train"],
            batch_size=self.config.batch_size,
            num_points=self.options.num_points or None,
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

    def loss(
        self, model: nnx.Module, batch: Batch, key: Key[Array, ""]
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Returns the summed squared lengths of standardized errors, by area, in fresh lifts.

        Args:
          model: The model.
          batch: A training batch.
          key: Draws the lifts.
        """
        departure = self._departure(model, batch, key=key, training=True)
        return weighted_sums(self._losses(departure, batch), batch)

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
        if num_vectors(self.config.model) > NUM_WINDS:
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
        random = random_state(ROTATION_SEED, number)
        q, r = np.linalg.qr(random.normal(size=(3, 3)))
        q = q * np.sign(np.diagonal(r))
        matrices.append(q * np.sign(np.linalg.det(q)))
    return np.stack(matrices)


TASK = WindsTask()
