"""Runs lifts, layers, back ends and models on eight devices: ``python -m tests.sharded CASE...``.

Needs ``XLA_FLAGS=--xla_force_host_platform_device_count=8`` and ``JAX_ENABLE_X64=1``.

Prints a line of JSON for each case: by how much values and gradients in each way of spreading a
batch differ from those on one device, relative to the largest; and which collectives XLA made.
"""

import json
import re
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from eqattn import groups, layers, lift, models, spaces
from eqattn.attention import (
    NearestNeighbors,
    RadiusNeighbors,
    farthest_points,
    find_neighbors,
    subsample,
)
from eqattn.fields import FieldType
from eqattn.layers import steerable
from tests import small

BATCH, POINTS, CHANNELS = 16, 6, 4
NO_LIFT = lift.NoLift()
SE2, SE3 = spaces.euclidean(groups.SE(2)), spaces.euclidean(groups.SE(3))
SO3 = spaces.sphere(groups.SO(3))
COLLECTIVE = re.compile(
    r"(all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)(?:-start)?\("
)
Inputs = dict[str, Any]


class Case(NamedTuple):
    """What is differentiated.

    Attributes:
      module: Has the parameters.
      run: Function of the module and a batch, of which the sum is differentiated.
    """

    module: Any
    run: Callable[[Any, Inputs], jax.Array]


def lifted_by(by: lift.Lift, space: spaces.Space = SE3, with_ids: bool = True, **options: Any):
    """A function of a batch that lifts it."""

    def run(x: Inputs) -> lift.Lifted:
        ids = x["ids"] if with_ids else None
        points = x["points"][..., : space.point_dim]
        if space is SO3:
            points = points / jnp.linalg.norm(points, axis=-1, keepdims=True)
        key = jax.random.key(1)
        return lift.lift(
            space, points, x["features"], x["mask"], key=key, lift=by, example_ids=ids, **options
        )

    return run


def layer_case(
    layer: layers.Layer,
    by: lift.Lift = NO_LIFT,
    near: Any = None,
    space: spaces.Space = SE3,
    finish: Callable[[lift.Lifted], Any] | None = None,
    **options: Any,
) -> Case:
    """A layer on a lift."""
    to_group = lifted_by(by, space, **options)
    layer = layer.on_lift(by, space)
    module = layer.build(CHANNELS, by.pair_space(space), rngs=nnx.Rngs(0))

    def run(module: Any, x: Inputs) -> jax.Array:
        lifted = to_group(x)
        found = None
        if near is not None:
            draw = {"key": jax.random.key(2), "example_ids": x["ids"]}
            found = find_neighbors(space, lifted, near, **draw)
        out = lifted.replace_features(module(lifted, found))
        return layers.pool(out) if finish is None else finish(out)

    return Case(module, run)


def subsample_case() -> Case:
    """A layer from a few points to all."""
    module = small.attention(coordinates="embedding").build(CHANNELS, SE3, rngs=nnx.Rngs(0))
    to_group = lifted_by(lift.Haar(2))

    def run(module: Any, x: Inputs) -> jax.Array:
        lifted = to_group(x)
        kept = subsample(SE3, lifted, 3)
        near = find_neighbors(SE3, lifted, NearestNeighbors(2), queries=kept)
        chosen = farthest_points(SE3, lifted, 2)
        return layers.pool(kept.replace_features(module(kept, near, keys=lifted))) + jnp.sum(
            chosen.indices, axis=-1, keepdims=True
        )

    return Case(module, run)


def model_case(build: Callable[..., Any], *words: Any, **options: Any) -> Case:
    """A model of points."""
    module = build(*words, **options, rngs=nnx.Rngs(0))

    def run(module: Any, x: Inputs) -> jax.Array:
        key = jax.random.key(3) if module.is_stochastic else None
        return module(x["points"], x["features"], x["mask"], key, example_ids=x["ids"])

    return Case(module, run)


def field_model_case() -> Case:
    """Scalars and vectors in and out, in frames of the points."""
    inner = models.LieTransformer(
        SE3, CHANNELS, CHANNELS, dim=8, num_layers=1, layer=ATTENTION, lift=lift.Frames(),
        rngs=nnx.Rngs(0),
    )  # fmt: skip
    return model_case(lambda rngs: models.FieldModel(inner, FIELD, FIELD))


def particles_case() -> Case:
    """A trajectory under a learned potential."""
    potential = models.LieTransformer(
        spaces.euclidean(groups.T(3)), 1, 1, dim=8, num_layers=1, layer=small.attention(),
        lift=lift.Haar(1), rngs=nnx.Rngs(0),
    )  # fmt: skip
    module = models.HamiltonianNetwork(potential)

    def run(module: Any, x: Inputs) -> jax.Array:
        masses = 1 + x["features"][..., :1] ** 2
        return module.roll_out(
            x["points"], x["features"][..., :3], masses, np.array([0.0, 0.1]), x["mask"]
        )

    return Case(module, run)


def together(*names: str) -> Case:
    """Several cases as one, which takes less time to compile."""
    cases = [CASES[name]() for name in names]

    def run(module: Any, x: Inputs) -> jax.Array:
        parts = [case.run(part, x) for case, part in zip(cases, module, strict=True)]
        return jnp.concatenate(parts, axis=-1)

    return Case(nnx.List([case.module for case in cases]), run)


FIELD = "scalar + vector"
LOCATION = layers.MLPLocation(dim=4, num_layers=2, num_radial=3, cutoff=3.0)
KERNEL = steerable.HarmonicKernel(radial=layers.BernsteinValues(num_basis=2, cutoff=3.0))
ATTENTION = small.attention(coordinates=None)
CASES: dict[str, Callable[[], Case]] = {
    **{
        f"attention {name}": lambda name=name: layer_case(
            small.attention(coordinates=None, implementation=name)
        )
        for name in ("dense", "folded", "chunked")
    },
    **{
        f"lift {by!r}": lambda by=by: layer_case(ATTENTION, by)
        for by in (
            lift.NoLift(), lift.Haar(2), lift.Haar(2, shared=True), lift.Frames(),
            lift.Subgroup("tetrahedral"),
        )
    },
    "lift without ids": lambda: layer_case(ATTENTION, lift.Haar(2), with_ids=False),
    "project": lambda: layer_case(
        ATTENTION, lift.Haar(2), finish=lambda out: lift.project(SE3, out, FieldType.parse(FIELD)),
        field=FieldType.parse(FIELD),
    ),
    "sphere": lambda: layer_case(ATTENTION, lift.Haar(2), space=SO3),
    "plane, grid": lambda: layer_case(ATTENTION, lift.Grid(2), space=SE2),
    "nearest": lambda: layer_case(ATTENTION, near=NearestNeighbors(3)),
    "random nearest": lambda: layer_case(ATTENTION, near=NearestNeighbors(2, candidates=4)),
    "radius": lambda: layer_case(ATTENTION, near=RadiusNeighbors(1.0, 4, smooth=True)),
    "subsample": subsample_case,
    "attentive convolution": lambda: layer_case(small.attentive_convolution(), lift.Haar(2)),
    "convolution": lambda: layer_case(small.convolution(), lift.Haar(2)),
    **{
        f"representation {kernel}": lambda kernel=kernel: layer_case(
            layers.RepresentationAttention(num_heads=1, kernel=kernel), lift.Haar(2)
        )
        for kernel in ("softmax", "linear")
    },
    "LieTransformer": lambda: model_case(
        models.LieTransformer, SE3, CHANNELS, 2, dim=8, num_layers=2, layer=ATTENTION,
        lift=lift.Haar(2), neighborhood=NearestNeighbors(3),
    ),
    "LieConvNetwork": lambda: model_case(
        models.LieConvNetwork, SE3, CHANNELS, 2, dim=8, num_layers=2, subsampling=(4,),
        layer=small.convolution(), lift=lift.Haar(2),
    ),
    "FieldModel": field_model_case,
    **{
        f"FieldNetwork {name}": lambda name=name, kernel=kernel, near=near: model_case(
            models.FieldNetwork, SE3, FIELD, FIELD, hidden_field="4x scalar + 2x vector",
            num_layers=1, neighborhood=near, layer=steerable.FieldLayer(
                num_heads=2, location=LOCATION, kernel=kernel, cutoff=3.0, implementation=name
            ),
        )
        for name, kernel, near in (
            ("dense", None, None),
            ("folded", KERNEL, None),
            ("chunked", KERNEL, NearestNeighbors(3)),
        )
    },
    "roll_out": particles_case,
    "few": lambda: together("attention folded", "attention chunked", "radius"),
}  # fmt: skip


def batch() -> Inputs:
    """Points, features, masks and ids of 16 examples."""
    rng = np.random.default_rng(0)
    mask = rng.random((BATCH, POINTS)) < 0.8
    mask[:, :2] = True
    points, features = (rng.normal(size=(BATCH, POINTS, n)) for n in (3, CHANNELS))
    return {"points": points, "features": features, "mask": mask, "ids": np.arange(BATCH)}


def main() -> None:
    """Measures the cases that are named, or all."""
    for name in sys.argv[1:] or CASES:
        print(json.dumps({"case": name} | measure(CASES[name]())), flush=True)


def measure(case: Case) -> dict[str, Any]:
    """What each way of spreading the batch gives."""
    graph, params = nnx.split(case.module, nnx.Param)
    inputs = batch()

    def work(params: Any, x: Inputs) -> tuple[jax.Array, Any]:
        """Outputs, and the gradient of a sum over examples: those of parts add up."""

        def total(params: Any) -> tuple[jax.Array, jax.Array]:
            out = case.run(nnx.merge(graph, params), x)
            return jnp.sum(jnp.sin(out)), out

        gradient, out = jax.grad(total, has_aux=True)(params)
        return out, gradient

    expected = jax.jit(work)(params, inputs)
    found: dict[str, Any] = {"scale": float(np.abs(expected[0]).max())}
    rows, whole = PartitionSpec("data"), PartitionSpec()
    for kind in (AxisType.Auto, AxisType.Explicit):
        mesh = jax.make_mesh((8,), ("data",), axis_types=(kind,))
        place = lambda x, spec, mesh=mesh: jax.device_put(x, NamedSharding(mesh, spec))
        args = place(params, whole), place(inputs, rows)
        compiled = jax.jit(work).lower(*args).compile()
        out, gradient = compiled(*args)
        found[kind.name] = _error(expected, (out, gradient))
        found[f"{kind.name} is spread"] = out.sharding.shard_shape(out.shape)[0] == BATCH // 8
        found[f"{kind.name} collectives"] = sorted(set(COLLECTIVE.findall(compiled.as_text())))
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))

    def added(params: Any, x: Inputs) -> tuple[jax.Array, Any]:
        out, gradient = work(params, x)
        return out, jax.lax.psum(gradient, "data")

    options = {"mesh": mesh, "in_specs": (whole, rows), "out_specs": (rows, whole)}
    mapped = jax.shard_map(added, **options, check_vma=False)
    found["shard_map"] = _error(expected, jax.jit(mapped)(params, inputs))
    parts = jax.tree.map(lambda x: x.reshape(8, BATCH // 8, *x.shape[1:]), inputs)
    for name, transform in {"vmap": jax.vmap, "pmap": jax.pmap}.items():
        out, gradients = jax.jit(transform(work, in_axes=(None, 0)))(params, parts)
        gradient = jax.tree.map(lambda x: jnp.sum(x, axis=0), gradients)
        found[name] = _error(expected, (out.reshape(expected[0].shape), gradient))
    return found


def _error(expected: Any, found: Any) -> float:
    """The largest error of outputs and of the gradient by each parameter, relative to each.

    Of parameters that hardly matter, errors are relative to a thousandth of the largest gradient.
    """
    pairs = zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True)
    pairs = [(np.asarray(a, float), np.asarray(b, float)) for a, b in pairs]
    least = 1e-3 * max(np.abs(a).max() for a, _ in pairs[1:])
    return max(float(np.abs(a - b).max() / max(np.abs(a).max(), least)) for a, b in pairs)


if __name__ == "__main__":
    main()
