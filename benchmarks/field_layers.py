"""Times one layer of fields beside the layers of e3nn-jax and e3j, with equal radial functions.

Run by ``python -m benchmarks.field_layers [--degree L] [--json-path FILE]``. Each layer takes 16
examples of 18 points, of which all see all, with 16 copies of each degree from 0 to L, to as many;
harmonics have degrees to L, too, and there are 8 radial functions. Rows have milliseconds of the
layer, and of the layer with its derivatives with respect to weights, points and fields.

Layers come in two forms:

* ``full``: a weight for each radial function, path, channel in and channel out, as our layer has.
  The others sum tensor products times radial functions over points, and then apply a linear map;
* ``depthwise``: as these libraries are mostly used. Radial functions give a factor for each path
  and channel of a pair, and a linear map is applied to the sums: fewer weights by a factor of 5.

Libraries that are not installed are left out. They are opponents, and no dependencies; whoever
wants to measure them installs them beside this package, with its bound on jax::

    pip install "e3nn-jax==0.21.0" "e3j==0.1.1" "jax<0.10.2"
"""

import functools
import importlib
import importlib.util
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from flax import nnx

from benchmarks.measuring import compile_program, device, medians, versions
from benchmarks.runs import check_at_least
from eqattn.fields import FieldType
from eqattn.groups import E
from eqattn.layers import BernsteinValues
from eqattn.layers.steerable import FieldLayer, HarmonicKernel, Places
from eqattn.spaces import euclidean

BATCH, NUM_POINTS, CHANNELS = 16, 18, 16
NUM_RADIAL, CUTOFF = 8, 5.0
NUM_ROUNDS = 21

Layer = tuple[Any, Callable[[Any, jax.Array, jax.Array], jax.Array]]
"""Parameters, and a function of them, of points [B N 3] and of fields [B N (L + 1)² C]."""


def our_layer(degree: int) -> Layer:
    """Returns our layer: a convolution, without content and location.

    Args:
      degree: Highest degree of fields and harmonics.
    """
    names = ["scalar", "vector", *(f"irrep({n})" for n in range(2, degree + 1))]
    field = FieldType.parse(" + ".join(f"{CHANNELS}x {name}" for name in names[: degree + 1]))
    radial = BernsteinValues(num_basis=NUM_RADIAL, cutoff=CUTOFF)
    options = FieldLayer(
        num_heads=1,
        content=None,
        location=None,
        kernel=HarmonicKernel(radial=radial, max_degree=degree),
        differences=False,
    )
    layer = options.build(field, euclidean(E(3)), rngs=nnx.Rngs(0))
    graphdef, params = nnx.split(layer)
    ends = [n**2 for n in range(1, degree + 1)]

    def apply(params: Any, points: jax.Array, fields: jax.Array) -> jax.Array:
        places = Places(points, jnp.ones(points.shape[:-1], bool), jnp.zeros(points.shape[:-1]))
        parts = tuple(jnp.split(fields, ends, axis=-2))
        return jnp.concatenate(nnx.merge(graphdef, params)(parts, places), axis=-2)

    return params, apply


def e3nn_layer(degree: int, *, depthwise: bool) -> Layer:
    """Returns a layer of e3nn-jax: tensor products of pairs, summed, and a linear map.

    Args:
      degree: Highest degree of fields and harmonics.
      depthwise: Whether radial functions give a factor for each path and channel of a pair.
    """
    e3nn = importlib.import_module("e3nn_jax")

    irreps = e3nn.Irreps.spherical_harmonics(degree)
    linear = e3nn.flax.Linear(CHANNELS * irreps)

    def sums(weights: jax.Array | None, points: jax.Array, fields: jax.Array) -> Any:
        differences, radial = pairs(points)
        vectors = e3nn.IrrepsArray("1o", differences)
        harmonics = e3nn.spherical_harmonics(irreps, vectors, normalize=False)
        keys = e3nn.IrrepsArray(irreps, jnp.swapaxes(fields, -1, -2))[:, None]
        products = e3nn.tensor_product(keys, harmonics[..., None, :], filter_ir_out=irreps)
        if weights is not None:
            ends = np.cumsum([mul for mul, _ in products.irreps])[:-1]
            parts = jnp.split(factors(radial, weights), ends, axis=-1)
            chunks = [
                jnp.einsum("bqkcp,bqkcpr->bqcpr", part, chunk)
                for part, chunk in zip(parts, products.chunks, strict=True)
            ]
            shape = (*fields.shape[:2], CHANNELS)
            return e3nn.from_chunks(products.irreps, chunks, shape, fields.dtype).axis_to_mul()
        chunks = [jnp.einsum("bqkm,bqkcpr->bqmcpr", radial, chunk) for chunk in products.chunks]
        shape = (*fields.shape[:2], NUM_RADIAL, CHANNELS)
        summed = e3nn.from_chunks(products.irreps, chunks, shape, fields.dtype)
        return summed.axis_to_mul().axis_to_mul()

    def apply(params: Any, points: jax.Array, fields: jax.Array) -> jax.Array:
        out = linear.apply(params["linear"], sums(params["radial"], points, fields))
        return jnp.swapaxes(out.mul_to_axis(CHANNELS).array, -1, -2)

    paths = sum(mul for mul, _ in e3nn.tensor_product(irreps, irreps, filter_ir_out=irreps))
    weights = radial_weights(paths) if depthwise else None
    example = sums(weights, *inputs(degree))
    return {"radial": weights, "linear": linear.init(jax.random.key(1), example)}, apply


def e3j_layer(degree: int, *, depthwise: bool) -> Layer:
    """Returns a layer of e3j on its portable path: its tensor product or convolution, and a map.

    Args:
      degree: Highest degree of fields and harmonics.
      depthwise: Whether radial functions give a factor for each path and channel of a pair.
    """
    e3j = importlib.import_module("e3j")

    irreps = "+".join(f"{n}{'eo'[n % 2]}" for n in range(degree + 1))
    spaces = (e3j.O3Space(irreps), e3j.O3Space(irreps))
    harmonics = e3j.core.Harmonics(degree)
    layout = "TRAILING_CHANNELS"
    product = e3j.core.TensorProduct(spaces, irreps, layout=layout, normalization="SQRT_DIM_OUT")
    convolution = e3j.core.Convolution(
        spaces, e3j.O3Space(irreps), graph_ordering="NONE", layout=layout
    )
    width = CHANNELS if depthwise else CHANNELS * NUM_RADIAL
    linear = e3j.linen.Linear(
        str(product.target), irreps, channels=(width, CHANNELS), layout=layout
    )

    def sums(weights: jax.Array | None, points: jax.Array, fields: jax.Array) -> jax.Array:
        differences, radial = pairs(points)
        batch, num = fields.shape[:2]
        functions = harmonics(differences.reshape(-1, 3))
        if weights is not None:
            queries, keys = jnp.divmod(jnp.arange(batch * num * num), num)
            scalars = jnp.swapaxes(factors(radial, weights), -1, -2)
            return convolution(
                fields.reshape(batch * num, *fields.shape[2:]),
                functions,
                scalars.reshape(-1, *scalars.shape[3:]),
                queries // num * num + keys,
                queries,
            )
        of_pairs = jnp.broadcast_to(fields[:, None], (batch, num, *fields.shape[1:]))
        products = product(of_pairs.reshape(-1, *fields.shape[2:]), functions)
        products = products.reshape(batch, num, num, *products.shape[1:])
        summed = jnp.einsum("bqkm,bqkrc->bqrmc", radial, products)
        return summed.reshape(batch * num, summed.shape[2], -1)

    def apply(params: Any, points: jax.Array, fields: jax.Array) -> jax.Array:
        out = linear.apply(params["linear"], sums(params["radial"], points, fields))
        return out.reshape(*fields.shape)

    weights = radial_weights(sum(mul for mul, _ in product.target)) if depthwise else None
    example = sums(weights, *inputs(degree))
    return {"radial": weights, "linear": linear.init(jax.random.key(1), example)}, apply


def pairs(points: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns differences of all pairs, and radial functions of them as our layer has them.

    Args:
      points: Points.
    """
    differences = points[:, None, :, :] - points[:, :, None, :]
    ratio = jnp.minimum(jnp.sum(differences**2, axis=-1) / CUTOFF**2, 1.0)
    end = NUM_RADIAL + 2
    rows = [math.comb(end, m) * ratio**m * (1 - ratio) ** (end - m) for m in range(NUM_RADIAL)]
    return differences, jnp.stack(rows, axis=-1)


def factors(radial: jax.Array, weights: jax.Array) -> jax.Array:
    """Returns the factors of channels and paths of each pair.

    Args:
      radial: Radial functions of each pair.
      weights: Weights of the radial functions, for each channel and path.
    """
    return jnp.einsum("bqkm,mcp->bqkcp", radial, weights)


def radial_weights(num_paths: int) -> jax.Array:
    """Returns weights for each radial function, channel and path.

    Args:
      num_paths: Number of paths.
    """
    return jax.random.normal(jax.random.key(0), (NUM_RADIAL, CHANNELS, num_paths))


def inputs(degree: int) -> tuple[jax.Array, jax.Array]:
    """Returns points and fields.

    Args:
      degree: Highest degree of the fields.
    """
    generator = np.random.default_rng(0)
    shapes = (3,), ((degree + 1) ** 2, CHANNELS)
    points, fields = (generator.normal(size=(BATCH, NUM_POINTS, *shape)) for shape in shapes)
    return jnp.asarray(points, jnp.float32), jnp.asarray(fields, jnp.float32)


def measure(layers: dict[str, Layer], degree: int) -> list[dict[str, Any]]:
    """Returns a row for each layer; all take turns.

    Args:
      layers: Layers by name.
      degree: Highest degree of the fields.
    """
    calls: dict[Any, Callable[[], Any]] = {}
    for name, (params, apply) in layers.items():
        arguments = (params, *inputs(degree))

        def loss(*arguments: Any, apply: Any = apply) -> jax.Array:
            return jnp.sum(apply(*arguments) ** 2)

        both = jax.grad(loss, argnums=(0, 1, 2))
        for kind, function in (("forward_ms", apply), ("forward_backward_ms", both)):
            program, _, _ = compile_program(function, *arguments)
            calls[name, kind] = functools.partial(program, *arguments)
    times = medians(calls, NUM_ROUNDS)
    rows = [
        {
            "layer": name,
            "weights": sum(leaf.size for leaf in jax.tree.leaves(params)),
            "forward_ms": times[name, "forward_ms"],
            "forward_backward_ms": times[name, "forward_backward_ms"],
        }
        for name, (params, _) in layers.items()
    ]
    ours = rows[0]["forward_backward_ms"]
    return [{**row, "ours_over_this": ours / row["forward_backward_ms"]} for row in rows]


def main(degree: int = 2, json_path: Path | None = None) -> None:
    """Prints a row for each layer.

    Args:
      degree: Highest degree of fields and harmonics.
      json_path: File to write the rows to, with the versions and the device.
    """
    check_at_least(0, degree=degree)
    layers = {"eqattn, full": our_layer(degree)}
    others = {"e3nn_jax": ("e3nn-jax", e3nn_layer), "e3j": ("e3j", e3j_layer)}
    for module, (name, build) in others.items():
        if importlib.util.find_spec(module) is not None:
            layers[f"{name}, full"] = build(degree, depthwise=False)
            layers[f"{name}, depthwise"] = build(degree, depthwise=True)
    rows = measure(layers, degree)
    for row in rows:
        print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}))
    if json_path is not None:
        record = {"device": device(), "versions": versions(), "degree": degree, "rows": rows}
        json_path.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    tyro.cli(main)
