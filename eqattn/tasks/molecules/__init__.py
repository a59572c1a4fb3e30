"""The task "molecules": properties of molecules from atoms in space, and its data."""

from eqattn.tasks.molecules.batches import (
    choose_buckets,
    choose_max_pairs,
    evaluation_batches,
    pad,
    training_batches,
)
from eqattn.tasks.molecules.data import Molecules, examples, features, load, split
from eqattn.tasks.molecules.structures import read_structures
from eqattn.tasks.molecules.targets import TARGETS, Target, target_columns

__all__ = [
    "TARGETS",
    "Molecules",
    "Target",
    "choose_buckets",
    "choose_max_pairs",
    "evaluation_batches",
    "examples",
    "features",
    "load",
    "pad",
    "read_structures",
    "split",
    "target_columns",
    "training_batches",
]
