"""Tasks: a data set, a model configuration, loss and metrics, bound together by name."""

from eqattn.tasks.core.registry import TASKS, get_preset, get_task
from eqattn.tasks.core.task import (
    AugmentingProblem,
    Batch,
    DrawingProblem,
    HasBaseline,
    NewExamples,
    Panel,
    PartlyLabeled,
    PredictingTask,
    Predictions,
    Problem,
    RangedProblem,
    Score,
    Series,
    Task,
    objective,
    weighted_sums,
)

__all__ = [
    "TASKS",
    "AugmentingProblem",
    "Batch",
    "DrawingProblem",
    "HasBaseline",
    "NewExamples",
    "Panel",
    "PartlyLabeled",
    "PredictingTask",
    "Predictions",
    "Problem",
    "RangedProblem",
    "Score",
    "Series",
    "Task",
    "get_preset",
    "get_task",
    "objective",
    "weighted_sums",
]
