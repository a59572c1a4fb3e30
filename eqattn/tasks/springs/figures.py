"""What a run of the task "springs" shows: roll-outs beside the truth, and what they conserve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from eqattn.tasks.core.task import Panel, Predictions, Series
from eqattn.tasks.springs import data as springs
from eqattn.typing import Float

__all__ = ["drifts", "spring_figures"]

NUM_SYSTEMS = 3


def drifts(
    states: Float[np.ndarray, "M T 6 4"], features: Float[np.ndarray, "M 6 2"]
) -> dict[str, Float[np.ndarray, "M T"]]:
    """Returns how far what the true motion conserves has moved along roll-outs.

    Args:
      states: Positions and momenta.
      features: Masses and spring constants.

    Returns:
      "energy", the change of the true energy relative to its start; "momentum", the length of
      the change of total momentum.
    """
    masses, constants = features[:, None, :, 0], features[:, None, :, 1]
    energies = springs.energy(states[..., :2], states[..., 2:], masses, constants)
    momenta = np.sum(states[..., 2:], axis=-2)
    return {
        "energy": np.abs(energies - energies[:, :1]) / energies[:, :1],
        "momentum": np.linalg.norm(momenta - momenta[:, :1], axis=-1),
    }


def spring_figures(predictions: Predictions) -> Mapping[str, Sequence[Panel]]:
    """Returns ``roll_outs``, the paths of a few systems, and ``drift``, errors against time.

    Args:
      predictions: What the problem's ``predict`` returned, over a whole split.
    """
    states, target, features = (
        predictions[name].astype(np.float64) for name in ("start", "start_target", "features")
    )
    times = springs.TIMES[: states.shape[1]]
    paths = tuple(
        Panel(
            f"system {index} until t = {times[-1]:.1f}",
            "x",
            "y",
            (_paths("truth", target[index], "background"), _paths("model", states[index])),
            is_spatial=True,
        )
        for index in range(min(NUM_SYSTEMS, len(states)))
    )
    errors = np.mean((states - target) ** 2, axis=(2, 3))
    changes = {name: change[:, 1:] for name, change in drifts(states, features).items()}
    return {
        "roll_outs": paths,
        "drift": (
            _over_time("squared error", times[1:], errors[:, 1:]),
            _over_time("relative drift of the energy", times[1:], changes["energy"]),
            _over_time("drift of total momentum", times[1:], changes["momentum"]),
        ),
    }


def _paths(
    label: str,
    states: Float[np.ndarray, "T 6 4"],
    style: Literal["line", "background"] = "line",
) -> Series:
    """One line through all particles, interrupted between them."""
    gap = np.full((states.shape[1], 1), np.nan)
    x, y = (np.concatenate([states[..., axis].T, gap], axis=1).ravel() for axis in (0, 1))
    return Series(label, x, y, style)


def _over_time(name: str, times: np.ndarray, values: Float[np.ndarray, "M T"]) -> Panel:
    """The median over systems and the ninth decile; dimensionless, like all of this data set."""
    series = (
        Series("median", times, np.median(values, axis=0)),
        Series("90 % of systems below", times, np.quantile(values, 0.9, axis=0), "dashes"),
    )
    return Panel(name, "time", name, series, log_y=True)
