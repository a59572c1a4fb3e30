"""Systems of particles as a model sees them, in training and in prediction for new ones.

A file of new systems is an npz file with M systems of N particles in space, in the dimensionless
units of `eqattn.tasks.nbody.data`: ``positions`` [M, N, 3], ``velocities`` [M, N, 3] and
``charges`` [M, N] (masses, of a run on gravity), and if you like ``ids`` [M], different integers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from eqattn.config import SavedConfig
from eqattn.data.archives import check_ids, check_names, read_archive, to_numbers
from eqattn.data.streams import Rows, batches_once, int32_ids
from eqattn.tasks.core.ranges import Quantity, reasons_outside
from eqattn.tasks.core.task import Batch, Predictions
from eqattn.tasks.nbody.data import Systems
from eqattn.typing import Array, Float

__all__ = ["NewSystems", "inputs", "nbody_quantities", "predict", "read_systems"]

_NEEDED = ("positions", "velocities", "charges")


class NewSystems:
    """Systems that no run has seen; see :class:`eqattn.tasks.NewExamples`.

    Args:
      systems: The systems; their targets are not looked at.
      config: The run whose model predicts.
    """

    def __init__(self, systems: Systems, config: SavedConfig):
        self._systems, self._config = systems, config
        self._dtype = np.dtype(jnp.promote_types(jnp.float32, config.model.network.dtype))

    def batches(self) -> Iterable[Batch]:
        """Returns each system once."""
        size = min(self._config.batch_size, len(self._systems))
        return batches_once(
            lambda rows: inputs(self._systems, rows, self._dtype),
            len(self._systems),
            batch_size=size,
        )

    def predict(self, model: Any, batch: Batch, num_lifts: int) -> dict[str, Float[Array, "B ..."]]:
        """Returns by how much each particle moves.

        Args:
          model: The model.
          batch: A batch of :meth:`batches`.
          num_lifts: Lifts to average, of a model that draws some.
        """
        return {"displacement": predict(model, batch, num_lifts=num_lifts)}

    def table(self, predictions: Predictions) -> dict[str, np.ndarray]:
        """Returns one row for each particle: its system's id, its number, and where it goes.

        Args:
          predictions: What :meth:`predict` returned, over all systems.

        Raises:
          ValueError: If a prediction is not finite.
        """
        moved, ids = predictions["displacement"].astype(np.float64), self._systems.ids
        if not np.isfinite(moved).all():
            place = int(np.argmin(np.isfinite(moved).all(axis=(1, 2))))
            raise ValueError(f"system {ids[place]}: the prediction is not finite.")
        positions = self._systems.positions + moved
        shape = positions.shape[:2]
        columns = {
            "id": np.broadcast_to(ids[:, None], shape).ravel(),
            "particle": np.broadcast_to(np.arange(shape[1]), shape).ravel(),
        }
        return columns | {name: positions[..., k].ravel() for k, name in enumerate("xyz")}

    def outside_training(self) -> Mapping[int, str]:
        """Returns the ids of systems unlike those that the run was trained on, and what is."""
        reasons = reasons_outside(nbody_quantities(self._systems), self._config.training_ranges)
        return {int(self._systems.ids[place]): reason for place, reason in reasons.items()}


def nbody_quantities(systems: Systems) -> tuple[Quantity, ...]:
    """Returns the number of particles, their charges and speeds, and the distances of pairs.

    Args:
      systems: Systems.
    """
    count = np.full(len(systems), float(systems.charges.shape[1]))
    speeds = np.linalg.norm(systems.velocities, axis=-1)
    first, second = np.triu_indices(systems.charges.shape[1], k=1)
    apart = np.linalg.norm(systems.positions[:, first] - systems.positions[:, second], axis=-1)
    rows = {"charge or mass": systems.charges, "speed": speeds, "distance of two particles": apart}
    return (
        Quantity("particles", "", count, count),
        *(Quantity(name, "", x.min(axis=1), x.max(axis=1)) for name, x in rows.items()),
    )


def read_systems(path: Path) -> Systems:
    """Returns the systems in a file; see the top of this file.

    Args:
      path: An npz file.

    Raises:
      FileNotFoundError: If there is no such file.
      ValueError: If it does not hold systems of particles; the message names what is wrong.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist.")
    if not path.is_file():
        raise ValueError(f"{path} is not a file.")
    arrays = read_archive(path, "particles")
    check_names(path, arrays, _NEEDED, ("ids",))
    shape = arrays["positions"].shape
    if len(shape) != 3 or shape[-1] != 3 or shape[0] == 0 or shape[1] < 2:
        raise ValueError(
            f"{path}: 'positions' must be [M, N, 3] with M > 0 and N > 1, got {list(shape)}."
        )
    arrays.setdefault("ids", np.arange(shape[0]))
    for name, wanted in (("velocities", shape), ("charges", shape[:2]), ("ids", shape[:1])):
        if arrays[name].shape != wanted:
            raise ValueError(
                f"{path}: {name!r} must be {list(wanted)} for {shape[0]} systems of {shape[1]} "
                f"particles, got {list(arrays[name].shape)}."
            )
    check_ids(path, arrays["ids"])
    numbers = {name: to_numbers(path, name, arrays[name]) for name in _NEEDED}
    ids = arrays["ids"].astype(np.int64)
    return Systems(ids=ids, targets=np.full(shape, np.nan), **numbers)


def inputs(systems: Systems, rows: Rows, dtype: np.dtype) -> dict[str, np.ndarray]:
    """Returns what a model sees of some systems, with positions about the mean of each.

    Args:
      systems: Systems.
      rows: Places of those that are wanted.
      dtype: Data type of the arrays.
    """
    positions, charges = systems.positions[rows], systems.charges[rows]
    centered = positions - positions.mean(axis=1, keepdims=True)
    features = np.concatenate([systems.velocities[rows], charges[..., None]], axis=-1)
    products = charges[:, :, None, None] * charges[:, None, :, None]
    return {
        "points": centered.astype(dtype),
        "features": features.astype(dtype),
        "pair_data": products.astype(dtype),
        "id": int32_ids(systems.ids[rows]),
    }


def predict(model: Any, batch: Batch, **options: Any) -> Float[Array, "B N 3"]:
    """Returns by how much the particles of each system of a batch move.

    Args:
      model: The model.
      batch: What :func:`inputs` gives.
      **options: Further arguments of the model.
    """
    points, features = jnp.asarray(batch["points"]), jnp.asarray(batch["features"])
    if getattr(getattr(model, "config", None), "num_pair_data", 0):
        options["pair_data"] = jnp.asarray(batch["pair_data"])
    return model(points, features, example_ids=jnp.asarray(batch["id"]), **options)
