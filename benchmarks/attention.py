"""Times one attention layer's back ends, forward and forward + backward, beside plain attention.

Every workload is measured with three location terms: ``none``, ``mlp`` (one trunk shared by the
heads) and ``mlp_per_head`` (as published, arXiv 2012.10885), each on every back end; ``plain`` is
``jax.nn.dot_product_attention``, which knows no geometry, and ``representation`` is attention by
the representation that the group has by default, which has no location term. All of a workload take
turns in one process, so that ratios compare like with like; absolute times are of this machine at
this moment.

With ``--reference PATH``, a checkout of the published PyTorch LieTransformer takes turns too, as
``reference`` and, with another setting of malloc, ``reference_tuned``: processes of their own,
which time themselves in the same way. See :mod:`benchmarks.reference_programs` for what they run.

A row of the result:

====================  ========================================================================
``compile_s``         of forward + backward
``forward_ms``        median of 5; on CPU of processor time of all threads
``temp_bytes``        that the compiled forward + backward allocates; of the reference, how far its
                      resident memory rises
``useful_flop``       of the products of one forward: content, values and location MLP, with no
                      activations and no geometry
``roofline_fraction``  the time that these take at the speed of a large matrix product, of the
                      time of forward
``skipped``           why there are no times
``pairs_ms``          of the reference: of the pairs, which are in ``forward_ms`` too
``linear_…_ms``       of the reference: of its linear maps, which are in no other column
====================  ========================================================================
"""

import contextlib
import dataclasses
import functools
import itertools
import json
import sys
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import tyro

from benchmarks.measuring import (
    compile_program,
    device,
    medians,
    memory_limit,
    on_cpu,
    peak_flop_per_ms,
    versions,
)
from benchmarks.reference_process import LOCATION, Reference, make_reference, prepared
from benchmarks.workloads import WORKLOADS, Workload, get_workload
from eqattn.attention import (
    PairFeatures,
    PairMLP,
    attend,
    representation_attend,
)
from eqattn.attention.terms.mlp import init_mlp
from eqattn.groups import LieGroup
from eqattn.lift import Haar, lift
from eqattn.pytrees import register_dataclass
from eqattn.representations import Representation, default_representation

LOCATIONS = ("none", "mlp", "mlp_per_head")
IMPLEMENTATIONS = ("dense", "folded", "chunked", "pallas")
MAX_FOLDED = 32
"""Tokens of an example beyond which folding is not worth the time that measuring it takes."""
WITHOUT_LOCATION = ("plain", "representation")
"""What has a row of its own, beside those of each back end and location term."""
COORDINATES = "log"
GROUPS_OF_REFERENCE = ("T", "SE3")


@register_dataclass
@dataclasses.dataclass(frozen=True)
class GroupRepresentation:
    """A representation, and the group that elements are of."""

    group: LieGroup = dataclasses.field(metadata={"static": True})
    representation: Representation


Geometry = PairMLP | GroupRepresentation | None


def location_sizes(workload: Workload, kind: str) -> tuple[int, ...]:
    """Widths of the location MLP: three linear maps, as published."""
    features = PairFeatures(workload.space, COORDINATES)
    last = 1 if kind == "mlp_per_head" else workload.num_heads
    return features.size, workload.location_dim, workload.location_dim, last


def location_term(workload: Workload, kind: str) -> PairMLP | None:
    """A location term with random weights."""
    if kind == "none":
        return None
    num_heads = workload.num_heads if kind == "mlp_per_head" else None
    weights, biases = init_mlp(jax.random.key(0), location_sizes(workload, kind), num_heads)
    features = PairFeatures(workload.space, COORDINATES)
    # As published, and as the reference does.
    return PairMLP(weights, biases, features, final_activation=kind == "mlp_per_head")


def geometry(workload: Workload, implementation: str, kind: str) -> Geometry:
    """What attention sees of elements: a location term, or a representation."""
    if implementation == "representation":
        channels = workload.dim // workload.num_heads
        group = workload.space.group
        representation = default_representation(group, channels, dtype=jnp.float32)
        return GroupRepresentation(group, representation)
    return location_term(workload, kind)


def useful_flop(workload: Workload, kind: str) -> int:
    """Operations of the products of one forward."""
    flop_of_pair = 4 * workload.dim
    if kind != "none":
        products = sum(a * b for a, b in itertools.pairwise(location_sizes(workload, kind)))
        flop_of_pair += 2 * products * (workload.num_heads if kind == "mlp_per_head" else 1)
    return workload.num_pairs * flop_of_pair


def inputs(workload: Workload, dtype: Any = jnp.float32) -> dict[str, jax.Array]:
    """Random queries, keys and values of that type, and lifted elements of float32."""
    keys = jax.random.split(jax.random.key(1), 5)
    points = jax.random.normal(
        keys[0], (workload.batch, workload.num_points, workload.space.point_dim)
    )
    space, chosen = workload.space, Haar(workload.num_samples)
    lifted = jax.jit(lambda x: lift(space, x, x, key=keys[1], lift=chosen))(points)
    shape = (workload.batch, workload.num_tokens)
    heads = (*shape, workload.num_heads, workload.dim // workload.num_heads)
    query, key, value = (jax.random.normal(k, heads).astype(dtype) for k in keys[2:])
    elements = lifted.elements.reshape(*shape, -1)
    return {"query": query, "key": key, "value": value, "elements": elements}


def forward(implementation: str, geometry: Geometry, arrays: dict[str, jax.Array]) -> jax.Array:
    """One call of attention."""
    query, key, value, elements = (arrays[n] for n in ("query", "key", "value", "elements"))
    if implementation == "plain":
        return jax.nn.dot_product_attention(query, key, value)
    arguments: Any = (query, key, value, elements, elements)
    if isinstance(geometry, GroupRepresentation):
        return representation_attend(*arguments, geometry.group, geometry.representation)
    return attend(*arguments, geometry, implementation=implementation)  # pyright: ignore


def forward_backward(implementation: str, geometry: Geometry, arrays: dict[str, jax.Array]) -> Any:
    """Gradients with respect to queries, keys, values, and what geometry has of parameters."""

    def loss(geometry: Geometry, features: dict[str, jax.Array]) -> jax.Array:
        out = forward(implementation, geometry, {**arrays, **features})
        return jnp.sum(out.astype(jnp.float32) ** 2)

    features = {name: arrays[name] for name in ("query", "key", "value")}
    if not jax.tree.leaves(geometry):
        return jax.grad(lambda f: loss(geometry, f))(features)
    return jax.grad(loss, argnums=(0, 1))(geometry, features)


def cases() -> list[tuple[str, str]]:
    """Implementations and location terms, in the order of the rows."""
    without = [(name, "none") for name in WITHOUT_LOCATION]
    return [*without, *itertools.product(IMPLEMENTATIONS, LOCATIONS)]


def empty_row(name: str, tokens: int, case: tuple[str, str], dtype: Any) -> dict[str, Any]:
    """What is known before anything is measured."""
    return {
        "workload": name,
        "implementation": case[0],
        "location": case[1],
        "dtype": jnp.dtype(dtype).name,
        "tokens": tokens,
        "device": device(),
        "compile_s": None,
        "forward_ms": None,
        "forward_backward_ms": None,
        "temp_bytes": None,
        "useful_flop": None,
        "roofline_fraction": None,
        "skipped": None,
    }


def layer_of_reference(workload: Workload) -> dict[str, Any]:
    """The workload, in words that the reference's process understands.

    Raises:
      ValueError: For a group other than T and SE(3).
    """
    group = type(workload.space.group).__name__
    if group not in GROUPS_OF_REFERENCE:
        raise ValueError(f"workload must have a group of the reference, T or SE3, got {group}")
    sizes = ("batch", "num_points", "num_samples", "dim", "num_heads", "location_dim")
    return {
        "kind": "layer",
        "group": group,
        "space_dim": workload.space.point_dim,
        **{name: getattr(workload, name) for name in sizes},
    }


def measure(
    workload: Workload, dtype: Any = jnp.float32, reference: Reference | None = None
) -> list[dict[str, Any]]:
    """One row for each back end and location term, those that have none, and two of a reference."""
    arrays = inputs(workload, dtype)
    peak, limit = peak_flop_per_ms(dtype), memory_limit()
    columns = {"forward": forward, "forward_backward": forward_backward}
    calls, rows = {}, {}
    for case in cases():
        implementation, kind = case
        term = geometry(workload, implementation, kind)
        rows[case] = empty_row(workload.name, workload.num_tokens, case, dtype)
        if implementation == "pallas" and on_cpu():  # where it is interpreted
            rows[case]["skipped"] = "needs a GPU"
            continue
        if implementation == "folded" and workload.num_tokens > MAX_FOLDED:
            rows[case]["skipped"] = f"not for more than {MAX_FOLDED} tokens"
            continue
        for name, function in columns.items():
            # Without buffers: what does not fit is told by the compiler, before it runs.
            program, seconds, size = compile_program(
                functools.partial(function, implementation), term, arrays
            )
            rows[case].update(compile_s=round(seconds, 2), temp_bytes=size)
            calls[case, name] = functools.partial(program, term, arrays)
        if size > limit:
            rows[case]["skipped"] = f"{size / 1e9:.1f} GB do not fit in {limit / 1e9:.1f} GB"
            calls = {key: call for key, call in calls.items() if key[0] != case}
    others = contextlib.nullcontext(({}, {}))
    if reference is not None:
        others = prepared(reference, layer_of_reference(workload))
    with others as (found, timers):
        times = medians(calls, timers=timers)
    for implementation, own in found.items():
        case = (implementation, LOCATION)
        rows[case] = {**empty_row(workload.name, workload.num_tokens, case, dtype), **own}
    for (case, name), milliseconds in times.items():
        rows[case][f"{name}_ms"] = round(milliseconds, 3)
    for (_, kind), row in rows.items():
        row["useful_flop"] = useful_flop(workload, kind)
        if row["forward_ms"] is not None:
            fraction = row["useful_flop"] / peak / row["forward_ms"]
            row["roofline_fraction"] = round(fraction, 3)
    return list(rows.values())


def skipped(workload: Workload, reason: str) -> dict[str, Any]:
    """The row of a workload that cannot be measured here."""
    return {"workload": workload.name, "tokens": workload.num_tokens, "skipped": reason}


def measure_suite(
    suite: str, workload: str | None, reference: Reference | None = None
) -> list[dict[str, Any]]:
    """Rows of a suite, or of one workload of it.

    Raises:
      ValueError: For a reference with another suite than ``"cpu"``.
    """
    if reference is not None and suite != "cpu":
        raise ValueError(f"reference is measured in the suite cpu only, got suite {suite!r}")
    chosen = [w for w in WORKLOADS if suite in w.suites]
    if workload is not None:
        chosen = [get_workload(workload)]
        if suite not in chosen[0].suites:
            return [skipped(chosen[0], f"{workload} is not in the suite {suite}")]
    if on_cpu() != (suite == "cpu"):
        return [
            skipped(w, f"the suite {suite} needs another device than {device()}") for w in chosen
        ]
    dtypes = (jnp.float32,) if suite == "cpu" else (jnp.float32, jnp.bfloat16)
    rows = []
    for one, dtype in itertools.product(chosen, dtypes):
        found = measure(one, dtype, reference)
        print_rows(found)
        rows += found
    return rows


def print_rows(rows: list[dict[str, Any]]) -> None:
    """A table for people, on stderr."""
    row_format = "{:24}{:17}{:14}{:>12}{:>14}{:>10}{:>10}"
    header = ("workload", "back end", "location", "forward ms", "+ backward ms", "MB", "roofline")
    print(row_format.format(*header), file=sys.stderr)
    for row in rows:
        texts = [row[name] for name in ("workload", "implementation", "location")]
        times = [row["forward_ms"], row["forward_backward_ms"]]
        texts += [row["skipped"] or "-" if t is None else f"{t:.1f}" for t in times]
        size = row["temp_bytes"]
        texts += ["-" if size is None else f"{size / 1e6:.1f}", str(row["roofline_fraction"])]
        print(row_format.format(*texts), file=sys.stderr)


def main(
    suite: Literal["cpu", "gpu"] = "cpu",
    workload: str | None = None,
    json: Path | None = None,
    reference: Path | None = None,
    reference_python: Path | None = None,
) -> None:
    """Times the back ends of attention.

    Args:
      suite: Workloads, and the devices that they are measured on.
      workload: Only this one.
      json: File for the rows, a list of objects; by default they go to stdout.
      reference: Checkout of the published PyTorch LieTransformer, to be measured beside.
      reference_python: Interpreter for it, which has torch, numpy and einops; by default this one.

    Raises:
      ValueError: For an interpreter of no checkout.
    """
    published = make_reference(reference, reference_python)
    write_rows(measure_suite(suite, workload, published), json)


def write_rows(rows: list[dict[str, Any]], path: Path | None) -> None:
    """Writes the rows, each with the versions that it was measured with."""
    text = json.dumps([{**row, **versions()} for row in rows], indent=1)
    if path is None:
        print(text)
    else:
        path.write_text(text + "\n")


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
