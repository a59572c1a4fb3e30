"""Times training steps of the published models, ours and those of the published code.

The rows have the columns of :mod:`benchmarks.attention`. ``forward_ms`` is of the loss alone,
``forward_backward_ms`` of the loss and its gradients with respect to all weights, lifting
included; what the optimizer takes in addition, ``optimizer_ms``, is measured of a reference only.
Ours is the preset ``paper`` of the task on the back ends that are picked by default, with a
location MLP for each head, as published, and with one trunk that the heads share. Layers are
measured by :mod:`benchmarks.attention`.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import tyro
from flax import nnx

from benchmarks.attention import empty_row, print_rows, write_rows
from benchmarks.measuring import compile_program, medians
from benchmarks.reference_process import LOCATION, Reference, make_reference, prepared
from eqattn.groups import SE, T
from eqattn.layers import MLPLocation, PerHeadMLPLocation
from eqattn.lift import Haar, NoLift
from eqattn.spaces import euclidean
from eqattn.tasks import get_preset
from eqattn.tasks.springs.task import SpringsProblem

MOLECULE_FEATURES = 15
NUM_TIMES = 5
"""Times of a training example of springs."""
LOCATIONS = {"mlp_per_head": PerHeadMLPLocation, "mlp": MLPLocation}


@dataclasses.dataclass(frozen=True)
class Step:
    """A published model's step of training, whose sizes are the published ones (2012.10885).

    Attributes:
      name: How results call it.
      kind: ``"molecules"`` or ``"springs"``.
      group: ``"T"`` or ``"SE3"``.
      space_dim: Dimension of the points.
      batch: Examples.
      num_points: Points of each example; none is padding.
      num_samples: Lift samples of each point.
      dim: Channels of a token.
      num_layers: Blocks of attention.
      num_heads: Attention heads.
      location_dim: Width of the location MLP.
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


def our_step(step: Step, location: str) -> tuple[Callable[..., jax.Array], Any, dict[str, Any]]:
    """Our loss, and what it is a function of: parameters, and a batch of random numbers."""
    preset = get_preset(step.kind, "paper")
    network: Any = preset.model.network
    term = LOCATIONS[location](dim=step.location_dim, num_layers=3, num_radial=0)
    layer = dataclasses.replace(network.layer, num_heads=step.num_heads, location=term)
    sizes = {"dim": step.dim, "num_layers": step.num_layers, "layer": layer}
    model = preset.model.replace_network(**sizes)
    keys = jax.random.split(jax.random.key(0))
    points = (step.batch, step.num_points)
    if step.kind == "springs":
        problem = SpringsProblem(dataclasses.replace(preset, model=model), {})
        built = model.build(problem.in_features, problem.out_features, rngs=nnx.Rngs(0))
        batch = {
            "chunk": jax.random.normal(keys[0], (step.batch, NUM_TIMES, step.num_points, 4)),
            "features": jax.random.uniform(keys[1], (*points, 2), minval=0.5, maxval=2.0),
            "id": jnp.arange(step.batch),
            "weight": jnp.ones(step.batch),
        }
    else:
        group, lift = (T(3), NoLift()) if step.group == "T" else (SE(3), Haar(step.num_samples))
        model = model.replace_network(space=euclidean(group), lift=lift)
        built = model.build(MOLECULE_FEATURES, 1, rngs=nnx.Rngs(0))
        batch = {
            "points": jax.random.normal(keys[0], (*points, 3)),
            "features": jax.random.normal(keys[1], (*points, MOLECULE_FEATURES)),
        }
    graphdef, params = nnx.split(built, nnx.Param)

    def loss(params: Any, batch: dict[str, Any]) -> jax.Array:
        model = nnx.merge(graphdef, params)
        if step.kind == "springs":
            total, weight = problem.loss(model, batch, jax.random.key(0))
            return total / weight
        return jnp.mean(jnp.abs(model(batch["points"], batch["features"], key=jax.random.key(0))))

    return loss, params, batch


def measure(step: Step, reference: Reference | None = None) -> list[dict[str, Any]]:
    """One row of ours for each location term; with a reference, one for each setting of malloc."""
    tokens = step.num_points * step.num_samples
    rows, calls = {}, {}
    for location in LOCATIONS:
        case = ("eqattn", location)
        rows[case] = empty_row(step.name, tokens, case, jnp.float32)
        loss, *arguments = our_step(step, location)
        for name, function in (("forward", loss), ("forward_backward", jax.value_and_grad(loss))):
            program, seconds, size = compile_program(function, *arguments)
            rows[case].update(compile_s=round(seconds, 2), temp_bytes=size)
            calls[case, name] = functools.partial(program, *arguments)
    others = contextlib.nullcontext(({}, {}))
    if reference is not None:
        others = prepared(reference, dataclasses.asdict(step))
    with others as (found, timers):
        times = medians(calls, timers=timers)
    for implementation, columns in found.items():
        case = (implementation, LOCATION)
        rows[case] = {**empty_row(step.name, tokens, case, jnp.float32), **columns}
    for (case, name), milliseconds in times.items():
        rows[case][f"{name}_ms"] = round(milliseconds, 3)
    return list(rows.values())


def get_step(name: str) -> Step:
    """The step of that name.

    Raises:
      ValueError: For another name.
    """
    found = {step.name: step for step in STEPS}
    if name not in found:
        raise ValueError(f"workload must be one of {', '.join(found)}, got {name!r}")
    return found[name]


def main(
    reference: Path | None = None,
    reference_python: Path | None = None,
    workload: str | None = None,
    json: Path | None = None,
) -> None:
    """Times training steps of the published models.

    Args:
      reference: Checkout of the published PyTorch LieTransformer, to be measured too.
      reference_python: Interpreter that has torch, numpy, einops and torchdiffeq; by default the
        running one.
      workload: Only this one.
      json: File for the rows, a list of objects; by default they go to stdout.
    """
    published, rows = make_reference(reference, reference_python), []
    for step in STEPS if workload is None else (get_step(workload),):
        found = measure(step, published)
        print_rows(found)
        rows += found
    write_rows(rows, json)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
