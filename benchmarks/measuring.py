"""How programs are measured: compiled ahead, their memory read, and run in turns."""

import functools
import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

import eqattn

NUM_ROUNDS = 5
SIZE_OF_PEAK = 1024


def compile_program(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float, int]:
    """A program compiled for those arguments, the seconds that took, and its temporary bytes."""
    # As leaves: terms check the types of their arrays, which lowering replaces by descriptions.
    leaves, structure = jax.tree.flatten(arguments)
    program = jax.jit(lambda leaves: function(*jax.tree.unflatten(structure, leaves)))
    start = time.perf_counter()
    compiled = program.lower(leaves).compile()
    seconds = time.perf_counter() - start

    def run(*arguments: Any) -> Any:
        return compiled(jax.tree.leaves(arguments))

    return run, seconds, compiled.memory_analysis().temp_size_in_bytes


def medians(
    calls: dict[Hashable, Callable[[], Any]],
    num_rounds: int = NUM_ROUNDS,
    timers: Mapping[Hashable, Callable[[], float | None]] | None = None,
) -> dict[Hashable, float]:
    """Median milliseconds of each call, as :func:`interleaved` measures them.

    Args:
      calls: What runs in this process.
      num_rounds: How often each call takes its turn.
      timers: See :func:`interleaved`; one that returns None is left out.
    """
    times = interleaved(calls, num_rounds, timers)
    return {name: statistics.median(t) for name, t in times.items() if None not in t}


def interleaved(
    calls: Mapping[Any, Callable[[], Any]],
    num_rounds: int,
    timers: Mapping[Any, Callable[[], float | None]] | None = None,
) -> dict[Any, list[Any]]:
    """Milliseconds of each call in each round; they take turns, in an order drawn anew each round.

    On CPU it is processor time of all threads, which other programs disturb least.

    Args:
      calls: What runs in this process.
      num_rounds: How often each call takes its turn, after a first one that is not counted.
      timers: Run something elsewhere, and return the milliseconds that it took there, or None
        where it cannot run. Their first turn counts.
    """
    clock = time.process_time if on_cpu() else time.perf_counter

    def timer(call: Callable[[], Any]) -> float:
        start = clock()
        jax.block_until_ready(call())
        return 1e3 * (clock() - start)

    for call in calls.values():
        jax.block_until_ready(call())
    turns = {name: functools.partial(timer, call) for name, call in calls.items()}
    turns.update(timers or {})
    times: dict[Hashable, list[float | None]] = {name: [] for name in turns}
    generator = random.Random(0)
    for _ in range(num_rounds):
        for name in generator.sample(list(turns), len(turns)):
            times[name].append(turns[name]())
    return times


def peak_flop_per_ms(dtype: Any = jnp.float32) -> float:
    """What a large matrix product reaches here, in the clock of :func:`medians`."""
    a = jnp.ones((SIZE_OF_PEAK, SIZE_OF_PEAK), dtype)
    product = jax.jit(lambda a: a @ a)
    (milliseconds,) = medians({"product": lambda: product(a)}).values()
    return 2 * SIZE_OF_PEAK**3 / milliseconds


def memory_limit() -> int:
    """Bytes that a program may take: half the memory of the machine, or the device's limit."""
    if on_cpu():
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return jax.devices()[0].memory_stats()["bytes_limit"]


def on_cpu() -> bool:
    """Whether programs run on the CPU."""
    return jax.default_backend() == "cpu"


def device() -> str:
    """Where programs run, in words."""
    if not on_cpu():
        return jax.devices()[0].device_kind
    return f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores"


def versions() -> dict[str, str]:
    """Of this library and of jax."""
    return {"eqattn": eqattn.__version__, "jax": jax.__version__}
