"""Tasks: a data set, a model configuration, loss and metrics, bound together by name."""

from eqattn.tasks.build import build_model, parse_group
from eqattn.tasks.registry import TASKS, get_preset, get_task
from eqattn.tasks.task import (
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
)

__all__ = [
    "TASKS",
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
    "build_model",
    "get_preset",
    "get_task",
    "objective",
    "parse_group",
]
