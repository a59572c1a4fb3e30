"""What the tasks that tell classes apart have in common: loss, predictions and scores.

An example has one label, or several, each out of the same number of classes; a model gives a logit
for each class of each label. The loss is the cross-entropy, in the mean over labels. Scores of a
split are shares of wrong answers, beside those of the trivial predictor that always gives the
commonest class of the training examples:

* ``error``: in the mean over labels;
* ``error_rotated``, of tests that ask for it: the same after each example was moved by a random
  motion of its own;
* ``error_<name>``, where there are several labels: of each of them;
* ``error_all``, where there are several: the share of examples with any wrong answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from eqattn.config import RunConfig, Standardization
from eqattn.data.labeled_batches import LabeledClouds, evaluation_batches, training_batches
from eqattn.data.motions import RandomMotion
from eqattn.fields import FieldType, scalars
from eqattn.tasks.core.config_checks import check_fields
from eqattn.tasks.core.frames import drawn_frames, drawn_score
from eqattn.tasks.core.task import Batch, Predictions, Score, weighted_sums
from eqattn.typing import Array, Bool, Float, Int, Key

__all__ = ["ClassificationProblem", "check_run", "unchanged"]

INPUTS = ("points", "features", "mask")
"""What a model sees of a batch."""
EVALUATION_SEED = 0
"""Of the motions of validation and test, the same for every run."""


def unchanged(target: str) -> tuple[Standardization]:
    """Returns the standardization of labels, which has nothing to do.

    Args:
      target: Name of the target.
    """
    return (Standardization(target, "1", 0.0, 1.0),)


def check_run(config: RunConfig, target: str, standardization: Any) -> None:
    """Raises unless a run has the one target of its task, and labels are left as they are.

    Args:
      config: Configuration of the run.
      target: The only target.
      standardization: Standardization of an earlier run, or None.

    Raises:
      ValueError: If one of them is another.
    """
    if config.targets != (target,):
        raise ValueError(f"targets must be {(target,)} for {config.task}, got {config.targets}.")
    if standardization is not None and tuple(standardization) != unchanged(target):
        raise ValueError(f"standardization must be {unchanged(target)} for {config.task}.")


class ClassificationProblem:
    """Labeled clouds of points in memory, ready to train on; see :class:`eqattn.tasks.Problem`.

    Tasks with inputs of their own override :meth:`views`.

    Args:
      config: Configuration of the run.
      target: Name of its target.
      clouds: Examples of each split.
      num_classes: Classes of each label.
      in_features: Channels of a point that a model sees.
      input_field: Type of the field that these channels are; scalars by default.
      label_names: Names of the labels of an example.
      train_motion: What moves the examples of training and validation.
      test_motion: What moves those of the test.
      turned_motion: Motion of a second copy. If given, the test also has a copy of each example
        that is moved by it.
      label_smoothing: Share of the probability that the loss spreads over all classes.

    Raises:
      ValueError: If ``label_smoothing`` is not in [0, 1), or a network of fields has others.
    """

    def __init__(
        self,
        config: RunConfig,
        target: str,
        clouds: Mapping[str, LabeledClouds],
        *,
        num_classes: int,
        in_features: int,
        input_field: FieldType | None = None,
        label_names: tuple[str, ...] = ("class",),
        train_motion: RandomMotion | None = None,
        test_motion: RandomMotion | None = None,
        turned_motion: RandomMotion | None = None,
        label_smoothing: float = 0.0,
    ):
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}.")
        self.config = config
        self.in_features = in_features
        self.out_features = num_classes * len(label_names)
        check_fields(config, input_field or scalars(in_features), scalars(self.out_features))
        self.standardization = unchanged(target)
        self.num_examples = {name: len(part) for name, part in clouds.items()}
        self._target, self._clouds, self._label_names = target, clouds, label_names
        self._num_classes, self._label_smoothing = num_classes, label_smoothing
        train_motion = train_motion or RandomMotion()
        self._motions = {"train": train_motion, "validation": train_motion, "test": test_motion}
        self._turned_motion = turned_motion
        self._dtype = np.dtype(jnp.promote_types(jnp.float32, config.model.network.dtype))
        self._commonest = _commonest(clouds["train"], num_classes)

    def training_batches(self) -> Any:
        """Returns the endless stream of training batches; batch ``i`` is seen by step ``i``."""
        return training_batches(
            self._clouds["train"],
            batch_size=self.config.batch_size,
            seed=self.config.seed,
            motion=self._motions["train"],
            dtype=self._dtype,
        )

    def evaluation_batches(self, split: str) -> Iterable[Batch]:
        """Returns each example of a split once, moved in a way that its id decides.

        Args:
          split: "train", "validation" or "test".
        """

        def moved(motion: RandomMotion | None) -> Iterable[Batch]:
            size = min(self.config.batch_size, len(self._clouds[split]))
            return evaluation_batches(
                self._clouds[split],
                batch_size=size,
                seed=EVALUATION_SEED,
                motion=motion,
                dtype=self._dtype,
            )

        batches = moved(self._motions[split])
        if split != "test" or self._turned_motion is None:
            return batches
        turned = moved(self._turned_motion)
        return (
            {**batch, "turned": other["points"]}
            for batch, other in zip(batches, turned, strict=True)
        )

    def views(
        self,
        points: Float[Array, "B N D"],
        features: Float[Array, "B N C"],
        mask: Bool[Array, "B N"],
        key: Key[Array, ""] | None,
    ) -> tuple[Float[Array, "B V K D"], Float[Array, "B V K F"], Bool[Array, "B V K"]]:
        """Returns V views of each example, of K points each, as a model sees them.

        Args:
          points: Points of a batch.
          features: Features as they are in the data.
          mask: True where there is a point.
          key: Random key of what training draws; None in evaluation.
        """
        del key
        return points[:, None], features[:, None], mask[:, None]

    def augment(self, batch: Batch, key: Key[Array, ""]) -> Batch:
        """Returns the batch with fresh views of its examples in place of these.

        Args:
          batch: A training batch.
          key: Key of the views.
        """
        return self._seen(batch, jax.random.split(key)[1])

    def loss(
        self, model: nnx.Module, batch: Batch, key: Key[Array, ""]
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Returns the summed cross-entropy of views, under fresh lifts.

        Args:
          model: The model.
          batch: What :meth:`augment` made of a training batch.
          key: Key of the lifts.
        """
        key = jax.random.split(key)[0]
        found = self._log_probabilities(model, batch, key=key, training=True)
        return weighted_sums(self._losses(found, batch, self._label_smoothing), batch)

    def predict(
        self, model: nnx.Module, batch: Batch, num_lifts: int
    ) -> dict[str, Float[Array, "B ..."] | Int[Array, "B ..."]]:
        """Returns log probabilities [B, L, K] of the K classes of L labels, labels and losses.

        Args:
          model: The model.
          batch: An evaluation batch.
          num_lifts: Lifts to average, drawn with the fixed key of evaluation.
        """
        seen = self._seen(batch)
        found = self._log_probabilities(model, seen, num_lifts=num_lifts)
        out = {
            "log_probabilities": found,
            "labels": self._labels(batch),
            "loss": self._losses(found, batch, self._label_smoothing),
        }
        for name, drawn in drawn_frames(model, seen["points"], seen["mask"]).items():
            out[name] = jnp.mean(drawn, axis=1)  # over views
        if "turned" in batch:
            turned = self._seen({**batch, "points": batch["turned"]})
            out["turned"] = self._log_probabilities(model, turned, num_lifts=num_lifts)
        return out

    def score(self, split: str, predictions: Predictions) -> tuple[Score, ...]:
        """Returns shares of wrong answers, beside those of the commonest classes.

        Of a model with the lift ``Frames``, the share of views whose axes were drawn follows.

        Args:
          split: "train", "validation" or "test".
          predictions: What :meth:`predict` returned, over the whole split.
        """
        del split  # its labels are in the predictions
        labels = predictions["labels"]
        wrong = _wrong(predictions["log_probabilities"], labels)
        trivial = self._commonest != labels

        def error(name: str, ours: np.ndarray, baseline: np.ndarray) -> Score:
            return Score(self._target, name, float(np.mean(ours)), float(np.mean(baseline)), "1")

        scores = [error("error", wrong, trivial)]
        if "turned" in predictions:
            turned = _wrong(predictions["turned"], labels)
            scores.append(error("error_rotated", turned, trivial))
        if len(self._label_names) > 1:
            for place, name in enumerate(self._label_names):
                scores.append(error(f"error_{name}", wrong[:, place], trivial[:, place]))
            scores.append(error("error_all", wrong.max(axis=1), trivial.any(axis=1)))
        return (*scores, *drawn_score(self._target, predictions))

    def _labels(self, batch: Batch) -> Int[Array, "B L"]:
        labels = jnp.asarray(batch["labels"])
        return labels.reshape(labels.shape[0], len(self._label_names))

    def _losses(
        self, log_probabilities: Float[Array, "B L K"], batch: Batch, smoothing: float
    ) -> Float[Array, " B"]:
        """The cross-entropy of each example, in the mean over labels."""
        true = jnp.take_along_axis(log_probabilities, self._labels(batch)[..., None], axis=-1)
        even = jnp.mean(log_probabilities, axis=-1)
        return -jnp.mean((1 - smoothing) * true[..., 0] + smoothing * even, axis=-1)

    def _seen(self, batch: Batch, key: Key[Array, ""] | None = None) -> Batch:
        """The batch with views of its examples in place of these."""
        points, features, mask = (jnp.asarray(batch[name]) for name in INPUTS)
        views = self.views(points, features, mask, key)
        return {**batch, **dict(zip(INPUTS, views, strict=True))}

    def _log_probabilities(self, model: Any, seen: Batch, **options: Any) -> Float[Array, "B L K"]:
        """Log probabilities of the classes, in the mean over views."""
        points, features, mask = (jnp.asarray(seen[name]) for name in INPUTS)
        ids = jnp.broadcast_to(jnp.asarray(seen["id"])[:, None], points.shape[:2])
        logits = model(points, features, mask, example_ids=ids, **options)
        shape = (*logits.shape[:2], len(self._label_names), self._num_classes)
        logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32)).reshape(shape)
        return jnp.mean(jax.nn.log_softmax(logits), axis=1)


def _wrong(
    log_probabilities: Float[np.ndarray, "M L K"], labels: Int[np.ndarray, "M L"]
) -> Float[np.ndarray, "M L"]:
    """1 where the likeliest class is not the label, else 0; NaN of NaN, which is no answer."""
    wrong = np.argmax(log_probabilities, axis=-1) != labels
    return np.where(np.isnan(log_probabilities).any(axis=-1), np.nan, wrong)


def _commonest(clouds: LabeledClouds, num_classes: int) -> Int[np.ndarray, " L"]:
    """The commonest class of each label."""
    labels = np.asarray(clouds.gather(np.arange(len(clouds)))["labels"]).reshape(len(clouds), -1)
    return np.stack([np.bincount(column, minlength=num_classes).argmax() for column in labels.T])
