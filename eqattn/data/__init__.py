"""Data sets as examples and as arrays; no model code.

The builders for TensorFlow Datasets are in `eqattn.data.builders`, which is not imported here.
"""

from eqattn.data.batches import (
    choose_buckets,
    choose_max_pairs,
    evaluation_batches,
    pad,
    training_batches,
)
from eqattn.data.molecules import Molecules, examples, features, load, split
from eqattn.data.structures import read_structures
from eqattn.data.targets import TARGETS, Target, target_columns

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
