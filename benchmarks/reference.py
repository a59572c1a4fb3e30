"""Times training steps of the published PyTorch LieTransformer, from the user's checkout.

The rows have the columns of :mod:`benchmarks.attention`. ``forward_ms`` is of the loss alone,
``forward_backward_ms`` of the loss and its gradients with respect to all weights, lifting
included; ``optimizer_ms`` is of Adam, which a step of training takes in addition. Layers are
measured beside ours by ``python -m benchmarks.attention --reference PATH``.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import tyro

from benchmarks.attention import empty_row, print_rows, write_rows
from benchmarks.measuring import medians
from benchmarks.reference_process import LOCATION, Reference, prepared


@dataclasses.dataclass(frozen=True)
class Step:
    """A published model's step of training, whose sizes are the published ones (2012.10885).

    Attributes:
      name: how results call it.
      kind: ``"molecules"`` or ``"springs"``.
      group: ``"T"`` or ``"SE3"``.
      space_dim: of the points.
      batch: examples.
      num_points: points of each example; none is padding.
      num_samples: lift samples of each point.
      dim: channels of a token.
      num_layers: blocks of attention.
      num_heads: attention heads.
      location_dim: width of the location MLP.
    """

    name: str
    kind: str
    group: str
    space_dim: int = 3
    batch: int = 16
    num_points: int = 19
    num_samples: int = 1
    dim: int = 512
    num_layers: int = 6
    num_heads: int = 8
    location_dim: int = 16


STEPS = (
    Step("molecules-t3-19-step", "molecules", "T"),
    Step("molecules-se3-19-step", "molecules", "SE3"),
    Step("molecules-se3-19x4-step", "molecules", "SE3", num_samples=4),
    # Five times of a trajectory of six particles in the plane, so four steps of Runge-Kutta.
    Step(
        "springs-step", "springs", "T", space_dim=2, batch=100, num_points=6, dim=160, num_layers=5
    ),
)


def measure(step: Step, reference: Reference) -> list[dict[str, Any]]:
    """One row for each setting of malloc."""
    rows = {}
    with prepared(reference, dataclasses.asdict(step)) as (found, timers):
        times = medians({}, timers=timers)
    for implementation, columns in found.items():
        case = (implementation, LOCATION)
        tokens = step.num_points * step.num_samples
        rows[case] = {**empty_row(step.name, tokens, case, "float32"), **columns}
    for (case, name), milliseconds in times.items():
        rows[case][f"{name}_ms"] = round(milliseconds, 3)
    return list(rows.values())


def get_step(name: str) -> Step:
    """The step of that name.

    Raises:
      ValueError: for another name.
    """
    found = {step.name: step for step in STEPS}
    if name not in found:
        raise ValueError(f"workload must be one of {', '.join(found)}, got {name!r}")
    return found[name]


def main(
    reference: Path,
    reference_python: Path = Path(sys.executable),
    workload: str | None = None,
    json: Path | None = None,
) -> None:
    """Times the published models' training steps.

    Args:
      reference: checkout of the published PyTorch LieTransformer.
      reference_python: interpreter that has torch, numpy, einops and torchdiffeq.
      workload: only this one.
      json: file for the rows, a list of objects; by default they go to stdout.
    """
    published, rows = Reference(reference, reference_python), []
    for step in STEPS if workload is None else (get_step(workload),):
        found = measure(step, published)
        print_rows(found)
        rows += found
    write_rows(rows, json)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
