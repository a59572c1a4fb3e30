"""The task "molecules": properties of molecules from atoms in space, and its data."""

from eqattn.tasks.molecules.batches import (
    choose_buckets,
    choose_max_pairs,
    evaluation_batches,
    pad,
    training_batches,
)
from eqattn.tasks.molecules.data import examples, load, split
from eqattn.tasks.molecules.features import features
from eqattn.tasks.molecules.targets import TARGETS, Target

__all__ = [
    "TARGETS",
    "Target",
    "choose_buckets",
    "choose_max_pairs",
    "evaluation_batches",
    "examples",
    "features",
    "load",
    "pad",
    "split",
    "training_batches",
]
