"""Times dense attention, forward and forward + backward, against attention without location term.

Run by ``make bench``. Every workload is measured with three location terms: ``none`` (plain
dot-product attention), ``mlp`` (one trunk shared by the heads) and ``mlp_per_head`` (as published,
arXiv 2012.10885). The three take turns in one process, in an order drawn anew each round, and the
median of each is reported, so that a ratio compares like with like; absolute times are of this
machine at this moment.

The last line of stdout is one JSON object; a table for people goes to stderr.
"""

import functools
import json
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import eqattn
from benchmarks.workloads import WORKLOADS, Workload
from eqattn.attention import PairFeatures, PairMLP, attend
from eqattn.attention.mlp import init_mlp
from eqattn.lift import Haar, lift

LOCATIONS = ("none", "mlp", "mlp_per_head")
NUM_ROUNDS = 5
COORDINATES = "log"


def location_term(workload: Workload, kind: str) -> PairMLP | None:
    """A location term with random weights: three linear maps, as published."""
    if kind == "none":
        return None
    features = PairFeatures(workload.space, COORDINATES)
    per_head = kind == "mlp_per_head"
    sizes = (features.size, workload.location_dim, workload.location_dim)
    sizes = (*sizes, 1 if per_head else workload.num_heads)
    weights, biases = init_mlp(jax.random.key(0), sizes, workload.num_heads if per_head else None)
    return PairMLP(weights, biases, features)


def inputs(workload: Workload) -> dict[str, Any]:
    """Random queries, keys, values and lifted elements."""
    keys = jax.random.split(jax.random.key(1), 5)
    points = jax.random.normal(keys[0], (workload.batch, workload.num_points, 3))
    space, strategy = workload.space, Haar(workload.num_samples)
    lifted = jax.jit(lambda x: lift(space, x, x, key=keys[1], strategy=strategy))(points)
    shape = (workload.batch, workload.num_tokens)
    elements = lifted.elements.reshape(*shape, -1)
    heads = (*shape, workload.num_heads, workload.dim // workload.num_heads)
    query, key, value = (jax.random.normal(k, heads) for k in keys[2:])
    return {"query": query, "key": key, "value": value, "elements": elements}


def forward(location: PairMLP | None, arrays: dict[str, Any]) -> jax.Array:
    """One call of attention."""
    return attend(
        arrays["query"],
        arrays["key"],
        arrays["value"],
        arrays["elements"],
        arrays["elements"],
        location,
        implementation="dense",
    )


def forward_backward(location: PairMLP | None, arrays: dict[str, Any]) -> Any:
    """Gradients with respect to queries, keys, values and the location term's weights."""

    def loss(location: PairMLP | None, features: dict[str, Any]) -> jax.Array:
        return jnp.sum(forward(location, {**arrays, **features}) ** 2)

    features = {name: arrays[name] for name in ("query", "key", "value")}
    if location is None:
        return jax.grad(lambda f: loss(None, f))(features)
    return jax.grad(loss, argnums=(0, 1))(location, features)


def medians(functions: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Median milliseconds of each function; they take turns, after one call that compiles."""
    clock = time.process_time if jax.default_backend() == "cpu" else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        jax.block_until_ready(function())
    generator = random.Random(0)
    for _ in range(NUM_ROUNDS):
        for name in generator.sample(list(functions), len(functions)):
            start = clock()
            jax.block_until_ready(functions[name]())
            times[name].append(1e3 * (clock() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def measure(workload: Workload) -> list[dict[str, Any]]:
    """One row for each location term."""
    arrays = inputs(workload)
    terms = {kind: location_term(workload, kind) for kind in LOCATIONS}
    columns = {}
    for name, function in (("forward", forward), ("forward_backward", forward_backward)):
        compiled = jax.jit(function)
        calls = {k: functools.partial(compiled, term, arrays) for k, term in terms.items()}
        columns[name] = medians(calls)
    return [
        {
            "workload": workload.name,
            "location": kind,
            **{f"{name}_ms": round(times[kind], 3) for name, times in columns.items()},
            **{
                f"{name}_ratio": round(times[kind] / times["none"], 2)
                for name, times in columns.items()
            },
        }
        for kind in LOCATIONS
    ]


def main() -> None:
    """Measures every workload."""
    device = jax.devices()[0]
    on_cpu = device.platform == "cpu"
    result = {
        "benchmark": "attention",
        "device": platform.machine() if on_cpu else device.device_kind,
        "clock": "CPU time of all threads" if on_cpu else "wall",
        "rounds": NUM_ROUNDS,
        "coordinates": COORDINATES,
        "versions": {"eqattn": eqattn.__version__, "jax": jax.__version__},
        "results": [],
    }
    row_format = "{:26}{:14}{:>12}{:>8}{:>14}{:>8}"
    header = ("workload", "location", "forward ms", "ratio", "+ backward ms", "ratio")
    print(row_format.format(*header), file=sys.stderr)
    for workload in WORKLOADS:
        for row in measure(workload):
            result["results"].append(row)
            cells = ("forward_ms", "forward_ratio", "forward_backward_ms", "forward_backward_ratio")
            texts = [row["workload"], row["location"], *(str(row[cell]) for cell in cells)]
            print(row_format.format(*texts), file=sys.stderr)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
