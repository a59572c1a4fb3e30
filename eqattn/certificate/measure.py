"""How far layers and models are from what a lift guarantees, measured in one program.

For one space, strategy and number type everything is one compiled program: inputs are a direct sum
of all fields, so that errors of each field are slices. Three batches go through each layer at once:
data x, moved data u x, and the coupled lift, whose elements g are replaced by u g. Where a lift
draws samples two more do, of many draws of the same data, whose mean difference is in standard
errors.

Bounds are 1e-10 in float64. In float32 rounding in the lift and the projection is part of what is
measured, and averages over samples may cancel: the bound is
:func:`eqattn.testing.float32_tolerance` of what rounding alone does to the same outputs, their
difference to those of the same elements in float64, and never above 1e-4.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from eqattn.certificate.catalog import coordinates_for
from eqattn.certificate.inputs import (
    NUM_DRAWS,
    NUM_EXAMPLES,
    PROGRAMS,
    Inputs,
    is_random,
    make_inputs,
)
from eqattn.fields import FieldType
from eqattn.layers import build_layer
from eqattn.layers.family import LayerKind
from eqattn.lift import (
    Coset,
    Frames,
    Haar,
    Lifted,
    Strategy,
    Unlifted,
    guarantee,
    lift,
    pair_space,
    project,
)
from eqattn.models import LieTransformer
from eqattn.spaces import Space
from eqattn.testing import (
    MIN_STD,
    TOLERANCES,
    float32_tolerance,
)
from eqattn.typing import Array

LAYERS = ("attention", "attentive_convolution", "convolution", "model")
"""What is certified: the three layers of the family, and a LieTransformer of one block."""

STANDARD_ERRORS = 4.0
"""Bound on the length of a mean difference that should be 0, in standard errors of it."""
_WIDTH, _GAIN = 8, 2.0

COUPLED = "coupled lift: project(u g, F) = ρ(u) project(g, F), for every u"
EXPECTED = "equivariant in expectation over the key: mean over draws, in standard errors"


class Measurement(NamedTuple):
    """An error of one field in one layer; see :class:`eqattn.certificate.Row`."""

    layer: str
    field: str
    guarantee: str
    max_error: float
    mean_error: float
    bound: float


def measure(
    space: Space,
    strategy: Strategy,
    fields: Sequence[tuple[str, FieldType]],
    layers: Sequence[str],
    dtype: str,
) -> list[Measurement]:
    """Measures what a lift guarantees, and the coupled lift, for each layer and field.

    Args:
      space: where the points live.
      strategy: of the lift.
      fields: names and types, of which none is excluded.
      layers: some of ``LAYERS``.
      dtype: ``"float32"``, or ``"float64"`` with ``jax_enable_x64``.

    Raises:
      FloatingPointError: if an output is not finite, or hardly varies.
    """
    field = sum((type_ for _, type_ in fields[1:]), fields[0][1])
    inputs, moves = make_inputs(space, strategy, fields)
    stand_in = _stand_in(space, strategy)
    models = [_model(layer, space, stand_in, field.size(space)) for layer in layers]
    lifted, wide = _lift(space, strategy, field, dtype, inputs)
    where = np.concatenate([inputs.points, inputs.coupled_points])
    outputs = _outputs(space, field, models, lifted, where)
    precise = None if wide is None else _outputs(space, field, models, wide, where)
    out, precise = jax.device_get((outputs, precise))
    stops = np.cumsum([type_.size(space) for _, type_ in fields]).tolist()
    found = []
    for index, layer in enumerate(layers):
        for (name, _), stop in zip(fields, stops, strict=True):
            of_field = slice(stop - moves.matrices[name].shape[-1], stop)
            bound, title = TOLERANCES[dtype], f"{layer} of {name} with {strategy} on {space}"
            values = out[index, ..., of_field].astype(np.float64)
            if precise is not None:
                exact = precise[index, ..., of_field]
                difference = np.abs(values - exact).max()
                bound = float32_tolerance(float(difference / _spread(exact, title)))
            expected = moves.apply(name, values)
            errors = _errors(space, strategy, title, values, expected, bound)
            found += [Measurement(layer, name, *error) for error in errors]
    return found


def _errors(
    space: Space, strategy: Strategy, name: str, out: np.ndarray, turned: np.ndarray, bound: float
) -> list[tuple[str, float, float, float]]:
    """Statements with largest and mean errors and bounds, from outputs [rows N C] of one field."""
    promise = guarantee(space, strategy)
    e = NUM_EXAMPLES
    pairs = [(COUPLED, out[-e:], turned[e : 2 * e])]
    if promise.exact:
        pairs.append((promise.text.partition(";")[0], out[e : 2 * e], turned[:e]))
    elif isinstance(strategy, Haar) and strategy.shared:
        pairs.append(("exactly equivariant to N for a fixed key", out[e : 2 * e], turned[:e]))
    found = []
    for text, actual, expected in pairs:
        if not np.all(np.isfinite(actual)):
            raise FloatingPointError(f"the output of {name} must be finite: {text}")
        error = np.abs(actual - expected) / _spread(expected, name)
        found.append((text, float(error.max()), float(error.mean()), bound))
    if is_random(space, strategy):
        shape = (e, NUM_DRAWS, *out.shape[1:])
        draws = out[2 * e + e * NUM_DRAWS : -e].reshape(shape)
        errors = _standard_errors(draws, turned[2 * e :].reshape(shape), bound)
        found.append((EXPECTED, float(errors.max()), float(errors.mean()), STANDARD_ERRORS))
    return found


def _spread(values: np.ndarray, name: str) -> float:
    std = float(np.std(values))
    if not math.isfinite(std) or std <= MIN_STD:
        raise FloatingPointError(
            f"the output of {name} must be finite and vary, got a standard deviation of {std}"
        )
    return std


def _standard_errors(draws: np.ndarray, expected: np.ndarray, rounding: float) -> np.ndarray:
    """Lengths of the mean differences [E D N C] over draws, in those expected of noise alone."""
    difference = draws - expected
    number = difference.shape[1]
    mean = difference.mean(axis=1)
    variance = difference.var(axis=1, ddof=1) / number + rounding**2
    return np.sqrt(np.sum(mean**2, (1, 2)) / np.sum(variance, (1, 2)))


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _lift(
    space: Space, strategy: Strategy, field: FieldType, dtype: str, inputs: Inputs
) -> tuple[Lifted, Lifted | None]:
    """All rows and after them the coupled ones; in float32 also the same elements in float64."""
    key = jax.random.key(2)

    def lifted(dtype: Any) -> Lifted:
        x, f = inputs.points.astype(dtype), inputs.features.astype(dtype)
        found = lift(space, x, f, key=key, strategy=strategy, field=field, example_ids=inputs.ids)
        # What Frames chose is known; programs that differ in nothing else are compiled once.
        known = found.strategy if found.is_coset else None
        found = dataclasses.replace(found, strategy=known, fallback=None)
        first = jax.tree.map(lambda x: x[:NUM_EXAMPLES], found)
        v = inputs.v.astype(dtype)[:, None, None]
        coupled = dataclasses.replace(first, elements=space.group.compose(v, first.elements))
        return jax.tree.map(lambda *x: jnp.concatenate(x), found, coupled)

    narrow = lifted(jnp.dtype(dtype))
    if dtype == "float64":
        return narrow, None
    return narrow, lifted(jnp.float64) if isinstance(strategy, Frames) else _widened(narrow)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _outputs(
    space: Space,
    field: FieldType,
    models: Sequence[tuple[Any, Any]],
    lifted: Lifted,
    points: Array,
) -> Array:
    """The fields [L rows N C] that layers make of a lift, projected all at once."""
    features = jnp.stack([_features(nnx.merge(*model), lifted) for model in models])
    each = jax.tree.map(lambda x: jnp.broadcast_to(x, (len(models), *x.shape)), lifted)
    where = jnp.broadcast_to(points.astype(features.dtype), (len(models), *points.shape))
    return project(space, each.replace_features(features), field, points=where)


def _widened(lifted: Lifted) -> Lifted:
    """The same elements in float64."""
    return jax.tree.map(
        lambda x: x.astype(jnp.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x, lifted
    )


def _features(fn: nnx.Module, lifted: Lifted) -> Array:
    if isinstance(fn, LieTransformer):
        return fn.apply_regular(lifted).features
    return fn(lifted)


def _stand_in(space: Space, strategy: Strategy) -> Strategy:
    """A strategy that models may be made for in place of one that chooses other elements.

    On the group they are the same models; then they are compiled once.
    """
    if isinstance(strategy, Coset | Unlifted):
        return strategy
    return Haar(1) if space.stabilizer.is_compact else Frames()


@functools.cache
def _model(layer: str, space: Space, strategy: Strategy, channels: int) -> tuple[Any, Any]:
    """The graph and state of a layer or model on the group, with random parameters.

    They are larger than at the start of a training, and biases are not 0, so that outputs vary
    much with the place and the sample.
    """
    abstract = nnx.eval_shape(lambda: _make(layer, space, strategy, channels))
    graph, state = nnx.split(abstract)
    random = np.random.default_rng(0)

    def draw(x: jax.ShapeDtypeStruct) -> np.ndarray:
        scale = _GAIN / math.sqrt(math.prod(x.shape[:-1]) or 1)
        return scale * random.normal(size=x.shape).astype(x.dtype)

    return graph, jax.tree.map(draw, state)


def _make(layer: str, space: Space, strategy: Strategy, channels: int) -> nnx.Module:
    coordinates = coordinates_for(strategy)
    rngs = nnx.Rngs(0)
    if layer == "model":
        return LieTransformer(
            space,
            channels,
            channels,
            dim=_WIDTH,
            num_heads=2,
            num_layers=1,
            strategy=strategy,
            coordinates=coordinates,
            location_dim=_WIDTH,
            location_layers=2,
            param_dtype=jnp.float32,
            rngs=rngs,
        )
    kind: LayerKind = layer  # pyright: ignore[reportAssignmentType]
    heads: dict[str, Any] = {} if layer == "convolution" else {"num_heads": 1}
    return build_layer(
        kind,
        channels,
        pair_space(space, strategy),
        coordinates=coordinates,
        location_dim=_WIDTH,
        location_layers=2,
        param_dtype=jnp.float32,
        rngs=rngs,
        **heads,
    )


def forget_programs() -> None:
    """Gives back the memory of all compiled programs; hundreds exhaust what a process may map."""
    programs: Any = (*PROGRAMS, _lift, _outputs)
    for program in programs:
        program.clear_cache()
