"""Training, evaluation, and the folders they write and read."""

from eqattn.interruption import Interrupted
from eqattn.train.evaluate import evaluate
from eqattn.train.loop import RunResult, resume, train
from eqattn.train.model_files import load, save
from eqattn.train.predict import PredictionTable, predict
from eqattn.train.progress import LogReporter, Reporter, TerminalReporter
from eqattn.train.run import TrainingDivergedError

__all__ = [
    "Interrupted",
    "LogReporter",
    "PredictionTable",
    "Reporter",
    "RunResult",
    "TerminalReporter",
    "TrainingDivergedError",
    "evaluate",
    "load",
    "predict",
    "resume",
    "save",
    "train",
]
