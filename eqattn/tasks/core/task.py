"""What a task is: a data set, a model, a loss and metrics, bound together.

The training loop knows nothing else about a task, so that a new one is one folder, here or in
another package: see :mod:`eqattn.tasks.core.registry`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from eqattn.config import RunConfig, SavedConfig, Standardization, TaskOptions, TrainingRange
from eqattn.data.atoms import Configurations
from eqattn.typing import Array, Float, Key

__all__ = [
    "Batch",
    "DrawingProblem",
    "ElementsProblem",
    "HasBaseline",
    "HasConfigurations",
    "NewExamples",
    "Panel",
    "PartlyLabeled",
    "PredictingTask",
    "Predictions",
    "Problem",
    "RangedProblem",
    "ReferencedProblem",
    "Score",
    "Series",
    "Task",
    "objective",
]

Batch = Mapping[str, Any]
"""Arrays of one batch by name; "points", "features", "mask", "targets", "id" where they apply, and
"weight" (0 on filler rows) in evaluation batches."""

Predictions = Mapping[str, np.ndarray]
"""Arrays [M, …] over the M examples of a split: "loss" [M], which averages to the training loss,
"num_known" [M] where that average is weighted by how many labels are known, and whatever else the
task's metrics need."""


@dataclass(frozen=True)
class Score:
    """One metric of one target, beside that of a trivial predictor on the same examples."""

    target: str
    """Name of the target."""
    metric: str
    """Name of the metric, such as "mae"; smaller is better. The first of each target counts."""
    value: float = field(metadata={"is_measured": True})  # not finite where a roll-out diverged
    """The model's, in ``unit``."""
    baseline: float = field(metadata={"is_measured": True})
    """The trivial predictor's, in ``unit``."""
    unit: str
    """Unit of ``value`` and ``baseline``."""


@runtime_checkable
class Problem(Protocol):
    """A task with its data in memory: everything that training and evaluation ask for."""

    in_features: int
    out_features: int
    standardization: tuple[Standardization, ...]
    num_examples: Mapping[str, int]

    def training_batches(self) -> Any:
        """Returns an endless ``grain.MapDataset``: batch ``i`` is what training step ``i`` sees."""
        ...

    def evaluation_batches(self, split: str) -> Iterable[Batch]:
        """Returns every example of a split once, with "weight" 0 on filler rows."""
        ...

    def loss(
        self, model: nnx.Module, batch: Batch, key: Key[Array, ""]
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Returns the sum of the losses of some rows, and of their weights; traced under ``jit``.

        Training minimizes the quotient of both, each summed over all rows. A row counts by its
        "weight", which is 0 where it only fills the batch. Draws are keyed by "id".
        """
        ...

    def predict(self, model: nnx.Module, batch: Batch, num_lifts: int) -> dict[str, jax.Array]:
        """Returns "loss" [B] and what else :meth:`score` needs, [B, …]; traced under ``jit``."""
        ...

    def score(self, split: str, predictions: Predictions) -> tuple[Score, ...]:
        """Returns the metrics of a split in physical units, the first target's first."""
        ...


@runtime_checkable
class BucketedProblem(Protocol):
    """A problem whose training batches have several shapes, each compiled before the first step."""

    def batch_of_each_shape(self) -> Sequence[Batch]:
        """Returns a training batch of each shape that may come."""
        ...


@runtime_checkable
class AugmentingProblem(Protocol):
    """A problem whose training batches are changed at random; not every problem's are."""

    def augment(self, batch: Batch, key: Key[Array, ""]) -> Batch:
        """Returns a whole training batch with what is random in its inputs; traced under ``jit``.

        It is called once, on all rows together. Those of "weight" 0 only fill the batch.
        """
        ...


@runtime_checkable
class RangedProblem(Protocol):
    """A problem that says what its training examples span; not every problem does."""

    def training_ranges(self) -> tuple[TrainingRange, ...]:
        """Returns the range of each quantity that is looked at in prediction."""
        ...


@runtime_checkable
class Task(Protocol):
    """A named task with its presets."""

    name: str
    options: type[TaskOptions]
    """Class of what the task asks for beside what all runs have."""
    data_names: tuple[str, ...]
    """Data that are meant by their name, even beside a file or folder of the same name."""
    description: str
    targets: Mapping[str, str]
    presets: Mapping[str, RunConfig]

    def prepare(
        self, config: RunConfig, standardization: Sequence[Standardization] | None = None
    ) -> Problem:
        """Loads, splits and standardizes the data of a run; with given constants, if there are."""
        ...


@runtime_checkable
class HasBaseline(Protocol):
    """A task that trains a baseline too: after the model, in the same way, for the same time."""

    baseline_names: tuple[str, str]
    """Of the trivial predictor of :meth:`Problem.score`, and of the baseline that is trained."""

    def baseline(self, config: RunConfig) -> RunConfig | None:
        """Returns the run of the baseline on the same data, or None if there is none.

        Its ``steps`` and ``eval_every`` are fitted to the time that the model took.
        """
        ...


@runtime_checkable
class PartlyLabeled(Protocol):
    """A problem whose examples may lack labels; not every problem is."""

    unknown_labels: Mapping[str, Mapping[str, int]]
    """How many labels are not known, by split and target, where any is not."""


@runtime_checkable
class ElementsProblem(Protocol):
    """A problem of atoms that models know by a one-hot of their elements; not every one is."""

    elements: tuple[str, ...]
    """Symbols of the elements; none where models know atoms otherwise."""


@runtime_checkable
class ReferencedProblem(Protocol):
    """A problem whose energies are learned beyond references of the elements; not every one is."""

    references: Mapping[str, float]
    """Energy of each element, by its symbol."""


@runtime_checkable
class NewExamples(Protocol):
    """Examples that no run has seen: everything that prediction asks for."""

    def batches(self) -> Iterable[Batch]:
        """Returns every example once, with "weight" 0 on filler rows."""
        ...

    def predict(self, model: nnx.Module, batch: Batch, num_lifts: int) -> dict[str, jax.Array]:
        """Returns what :meth:`table` needs, [B, …]; traced under ``jit``."""
        ...

    def table(self, predictions: Predictions) -> dict[str, np.ndarray]:
        """Returns the columns of the result by header, in physical units and the file's order.

        Raises:
          ValueError: If a prediction is not finite; the message names the example.
        """
        ...

    def outside_training(self) -> Mapping[int, str]:
        """Returns the ids of examples unlike those that the run was trained on, and the reasons."""
        ...


@runtime_checkable
class HasConfigurations(Protocol):
    """New examples that are configurations of atoms; not those of every task are."""

    def configurations(self, predictions: Predictions) -> Configurations:
        """Returns the examples with what is predicted of them, in the file's order.

        Raises:
          ValueError: If a prediction is not finite; the message names the example.
        """
        ...


@runtime_checkable
class PredictingTask(Protocol):
    """A task that predicts for examples from a file; not every task does."""

    def read_examples(self, path: Path, config: SavedConfig) -> NewExamples:
        """Returns the examples in a file, ready for the model of a run.

        Raises:
          OSError: If the file cannot be read.
          ValueError: If it does not hold such examples; the message names what is wrong.
        """
        ...


@dataclass(frozen=True)
class Series:
    """Points of a plot that belong together."""

    label: str
    """Its name in the legend; "" for none."""
    x: Sequence[float] | np.ndarray
    """Horizontal places."""
    y: Sequence[float] | np.ndarray
    """Vertical places, as many."""
    style: Literal["line", "dots", "dashes", "marked", "background", "outline"] = "line"
    """A line, dots, a dashed line, a line with its points marked, a broad gray one behind the
    others, or a fine gray one behind all. NaN interrupts a line."""


@dataclass(frozen=True)
class Panel:
    """One pair of axes, to be drawn by :mod:`eqattn.plot`."""

    title: str
    x_label: str
    """With the unit."""
    y_label: str
    """With the unit."""
    series: tuple[Series, ...]
    note: str = ""
    """What stands inside the axes, such as an error with its unit."""
    log_y: bool = False
    """Whether the vertical axis is logarithmic."""
    is_spatial: bool = False
    """Whether both axes are lengths, to be drawn to one scale."""
    is_comparison: bool = False
    """Whether both axes show the same quantity: they get the same limits and the identity line."""
    is_map: bool = False
    """Whether the axes are longitude and latitude in degrees, of the whole globe: the panel is
    twice as wide as high, and those of its figure stand below each other."""


@runtime_checkable
class DrawingProblem(Protocol):
    """A problem that has something to show besides its scores; not every problem does."""

    def figures(self, split: str, predictions: Predictions) -> Mapping[str, Sequence[Panel]]:
        """Returns the panels of each figure, by the name of its file without the suffix.

        Args:
          split: "train", "validation" or "test".
          predictions: What :meth:`Problem.predict` returned, over the whole split.
        """
        ...


def weighted_sums(
    losses: Float[Array, " B"], batch: Batch
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Returns the sum of the losses of the rows of a batch by their weights, and of these.

    Args:
      losses: Loss of each row.
      batch: Holds the "weight" of each row.
    """
    weight = jnp.asarray(batch["weight"])
    return jnp.sum(weight * losses), jnp.sum(weight)


def objective(scores: Iterable[Score]) -> float:
    """Returns the number by which the best parameters are chosen; smaller is better.

    It is the mean over targets of value / baseline, so targets of different units count alike, of
    the first metric of each target.

    Example:
      >>> objective([Score("gap", "mae", 0.5, 1.0, "eV"), Score("mu", "mae", 0.5, 2.0, "D")])
      0.375

    Args:
      scores: The scores of one split.
    """
    firsts: dict[str, Score] = {}
    for score in scores:
        firsts.setdefault(score.target, score)
    return float(np.mean([s.value / max(s.baseline, 1e-12) for s in firsts.values()]))
