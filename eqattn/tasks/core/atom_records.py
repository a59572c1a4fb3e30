"""Examples of atoms in records of TensorFlow Datasets; importing this imports those."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

__all__ = ["atom_features", "exact"]

Shape = tuple[int, ...]


def atom_features(
    known: Mapping[str, Shape], known_of_atoms: Mapping[str, Shape]
) -> dict[str, Any]:
    """Returns the features of :func:`eqattn.tasks.core.atoms.configuration_examples`.

    Args:
      known: Shape of each property of a configuration.
      known_of_atoms: Shape of each property of an atom.
    """
    return {
        "id": tfds.features.Scalar(np.int64),
        "numbers": tfds.features.Tensor(shape=(None,), dtype=np.uint8),
        "positions": exact(None, 3),
        "properties": {name: exact(*shape) for name, shape in known.items()},
        "atom_properties": {name: exact(None, *shape) for name, shape in known_of_atoms.items()},
    }


def exact(*shape: int | None) -> tfds.features.Tensor:
    """Returns the feature of numbers in float64.

    They are written as bytes, because records hold other floats as float32.

    Args:
      *shape: Sizes of the axes; None for those that differ from example to example.
    """
    return tfds.features.Tensor(
        shape=shape, dtype=np.float64, encoding=tfds.features.Encoding.BYTES
    )
