"""Times one training step of the task "springs": forces by one derivative, a loss by a second.

Each preset of ``WORKLOADS`` is one row, compiled as training compiles it; states, masses and spring
constants are random numbers, since time and memory do not depend on them.

==============  ==================================================================
``compile_s``   of the step
``step_ms``     median of 5; on CPU of processor time of all threads
``temp_bytes``  that the compiled step allocates
==============  ==================================================================
"""

import functools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from flax import nnx

from benchmarks.attention import write_rows
from benchmarks.measuring import compile_program, device, medians
from benchmarks.workloads import SPRING_WORKLOADS, SpringWorkload
from eqattn.config import RunConfig
from eqattn.data.springs import NUM_PARTICLES
from eqattn.tasks import get_preset, get_task
from eqattn.tasks.springs import SpringsProblem
from eqattn.train.state import init_state, make_step

CHUNK = 5
"""Times of a training example."""


def random_batch(config: RunConfig) -> dict[str, np.ndarray]:
    """A training batch of the shapes of the task, of random numbers."""
    random = np.random.default_rng(0)
    size = config.batch_size
    return {
        "chunk": random.normal(size=(size, CHUNK, NUM_PARTICLES, 4)).astype(np.float32),
        "features": random.uniform(0.5, 2.0, (size, NUM_PARTICLES, 2)).astype(np.float32),
        "id": np.arange(size, dtype=np.int32),
    }


def measure(workload: SpringWorkload, config: RunConfig | None = None) -> dict[str, Any]:
    """The row of a workload.

    Args:
      workload: names the preset.
      config: another configuration in its place.
    """
    config = get_preset("springs", workload.preset) if config is None else config
    problem = SpringsProblem(config, {})
    model = get_task("springs").build_model(
        config.model, problem.in_features, problem.out_features, config.seed
    )
    graphdef, params = nnx.split(model)
    state, batch = init_state(params, config), random_batch(config)
    step = make_step(graphdef, problem, config)
    program, seconds, size = compile_program(step, state, batch)
    (milliseconds,) = medians({"step": functools.partial(program, state, batch)}).values()
    return {
        "workload": workload.name,
        "implementation": workload.preset,
        "dtype": config.model.dtype,
        "batch": config.batch_size,
        "device": device(),
        "compile_s": round(seconds, 2),
        "step_ms": round(milliseconds, 3),
        "temp_bytes": size,
    }


def main(json: Path | None = None) -> None:
    """Times training steps of springs.

    Args:
      json: file for the rows, a list of objects; by default they go to stdout.
    """
    rows = []
    for workload in SPRING_WORKLOADS:
        rows.append(measure(workload))
        print(
            "{workload} {implementation}: {step_ms:.1f} ms a step, compiled in {compile_s:.1f} s, "
            "{temp_bytes:,} bytes".format(**rows[-1]),
            file=sys.stderr,
        )
    write_rows(rows, json)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
