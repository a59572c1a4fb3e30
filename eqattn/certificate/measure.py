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
from eqattn.fields import FieldType
from eqattn.layers import build_layer
from eqattn.layers.family import LayerKind
from eqattn.lift import (
    Coset,
    Frames,
    Grid,
    Haar,
    Lifted,
    Strategy,
    Subgroup,
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
    guaranteed_elements,
    random_elements,
)
from eqattn.typing import Array, Key

LAYERS = ("attention", "attentive_convolution", "convolution", "model")
"""What is certified: the three layers of the family, and a LieTransformer of one block."""

NUM_POINTS, NUM_EXAMPLES = 4, 4
NUM_DRAWS = 256
"""Draws of the lift for each of ``NUM_EXAMPLES`` examples, where it is random."""
STANDARD_ERRORS = 4.0
"""Bound on the length of a mean difference that should be 0, in standard errors of it."""
_CLEAR_GAP = 0.2  # of frames in the data: rounding turns them by its inverse
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
    data, turns = _data(space, strategy, field)
    stand_in = _stand_in(space, strategy)
    models = [_model(layer, space, stand_in, field.size(space)) for layer in layers]
    lifted, wide = _lift(space, strategy, field, dtype, data)
    where = np.concatenate([data.points, data.coupled_points])
    outputs = _outputs(space, field, models, lifted, where)
    turned = _turn(space, field, turns, outputs)
    precise = None if wide is None else _outputs(space, field, models, wide, where)
    out, turned, precise = jax.device_get((outputs, turned, precise))
    stops = np.cumsum([type_.size(space) for _, type_ in fields]).tolist()
    found = []
    for index, layer in enumerate(layers):
        for (name, _), start, stop in zip(fields, [0, *stops[:-1]], stops, strict=True):
            bound, title = TOLERANCES[dtype], f"{layer} of {name} with {strategy} on {space}"
            values, expected = out[index, ..., start:stop], turned[index, ..., start:stop]
            if precise is not None:
                exact = precise[index, ..., start:stop]
                difference = np.abs(values - exact).max()
                bound = float32_tolerance(float(difference / _spread(exact, title)))
            errors = _errors(space, strategy, title, values.astype(np.float64), expected, bound)
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
        pairs.append((promise.text.partition("; in")[0], out[e : 2 * e], turned[:e]))
    elif isinstance(strategy, Haar) and strategy.shared:
        pairs.append(("exactly equivariant to N for a fixed key", out[e : 2 * e], turned[:e]))
    found = []
    for text, actual, expected in pairs:
        if not np.all(np.isfinite(actual)):
            raise FloatingPointError(f"the output of {name} must be finite: {text}")
        error = np.abs(actual - expected) / _spread(expected, name)
        found.append((text, float(error.max()), float(error.mean()), bound))
    if _is_random(space, strategy):
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


class Data(NamedTuple):
    """Inputs of a program, in float64: examples, first as they are, then moved.

    The rows are ``NUM_EXAMPLES`` as they are, those moved by u, and, where the lift is random,
    ``NUM_DRAWS`` copies of each as they are and of each moved by w.
    """

    points: Any
    features: Any
    ids: Any
    coupled_points: Any
    v: Any


class Turns(NamedTuple):
    """What outputs at rows that were not moved are turned by: u, v, and copies of w."""

    rows: Any
    elements: Any
    points: Any


def _data(space: Space, strategy: Strategy, field: FieldType) -> tuple[Data, Turns]:
    keys = jax.random.split(jax.random.key(0), 4)
    x = _points(space, strategy, keys[0])
    u = _guaranteed(space, strategy, keys[1])
    v = np.asarray(_elements(space, keys[2]))
    f = np.random.default_rng(1).normal(size=(*x.shape[:-1], field.size(space)))
    w = _averaged(space, strategy, v, keys[3])
    moved_x, moved_f = map(np.asarray, _move(space, field, np.concatenate([u, v, w]), x, f))
    at_u, at_v, at_w = np.split(moved_x, 3)
    rows = np.arange(NUM_EXAMPLES)
    points, features, ids = [x, at_u], [f, moved_f[:NUM_EXAMPLES]], [rows, rows]
    turned, turns, turned_points = [rows, rows], [u, v], [x, x]
    if _is_random(space, strategy):
        many = np.arange(NUM_EXAMPLES * NUM_DRAWS) + 2 * NUM_EXAMPLES
        points += [_repeat(x), _repeat(at_w)]
        features += [_repeat(f), _repeat(moved_f[2 * NUM_EXAMPLES :])]
        ids += [many, many + len(many)]
        turned += [many]
        turns += [_repeat(w)]
        turned_points += [_repeat(x)]
    join = np.concatenate
    data = Data(join(points), join(features), join(ids), at_v, v)
    return data, Turns(join(turned), join(turns), join(turned_points))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _move(
    space: Space, field: FieldType, elements: Array, points: Array, features: Array
) -> tuple[Array, Array]:
    """Examples, all moved by the first elements, all by the second and all by the third."""
    points, features = jnp.tile(points, (3, 1, 1)), jnp.tile(features, (3, 1, 1))
    images = space.act(elements[:, None], points)
    return images, field.transform(space, elements[:, None], features, points=points, images=images)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _turn(space: Space, field: FieldType, turns: Turns, out: Array) -> Array:
    """ρ(g) of outputs [L rows N C], in float64."""
    values = out[:, turns.rows].astype(jnp.float64)
    return field.transform(space, turns.elements[:, None], values, points=turns.points)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _lift(
    space: Space, strategy: Strategy, field: FieldType, dtype: str, data: Data
) -> tuple[Lifted, Lifted | None]:
    """All rows and after them the coupled ones; in float32 also the same elements in float64."""
    key = jax.random.key(2)

    def lifted(dtype: Any) -> Lifted:
        x, f = data.points.astype(dtype), data.features.astype(dtype)
        found = lift(space, x, f, key=key, strategy=strategy, field=field, example_ids=data.ids)
        # What Frames chose is known; programs that differ in nothing else are compiled once.
        known = found.strategy if found.is_coset else None
        found = dataclasses.replace(found, strategy=known, fallback=None)
        first = jax.tree.map(lambda x: x[:NUM_EXAMPLES], found)
        v = data.v.astype(dtype)[:, None, None]
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


def _repeat(x: np.ndarray) -> np.ndarray:
    return np.repeat(x, NUM_DRAWS, axis=0)


def _is_random(space: Space, strategy: Strategy) -> bool:
    """Whether the mean over draws is to be measured; for ``Frames`` that is its fallback alone."""
    is_turned = isinstance(strategy, Grid) and strategy.offset == "random"
    return is_turned or not guarantee(space, strategy).exact


def _points(space: Space, strategy: Strategy, key: Key[Array, ""]) -> np.ndarray:
    """Random examples in float64; for ``Frames`` such whose axes are separated clearly."""
    found = np.asarray(_many_points(space, key))
    if isinstance(strategy, Frames):
        found = found[np.argsort(_has_unclear_axes(space, found), kind="stable")]
    return found[:NUM_EXAMPLES]


@functools.partial(jax.jit, static_argnums=0)
def _has_unclear_axes(space: Space, points: Array) -> Any:
    ones = jnp.ones((*points.shape[:-1], 1))
    key = jax.random.key(0)  # the axes that it draws are not used
    return lift(space, points, ones, key=key, strategy=Frames(_CLEAR_GAP)).fallback


@functools.partial(jax.jit, static_argnums=0)
def _many_points(space: Space, key: Key[Array, ""]) -> Array:
    return space.sample_points(key, (16 * NUM_EXAMPLES, NUM_POINTS), jnp.float64)


@functools.partial(jax.jit, static_argnums=0)
def _elements(space: Space, key: Key[Array, ""]) -> Array:
    return random_elements(space.group, key, (NUM_EXAMPLES,), jnp.float64)


def _guaranteed(space: Space, strategy: Strategy, key: Key[Array, ""]) -> np.ndarray:
    """Elements that each single lift is equivariant to; often all of the group."""
    chosen = strategy.strategy if isinstance(strategy, Coset) else strategy
    if isinstance(chosen, Grid | Subgroup) or (isinstance(chosen, Haar) and chosen.shared):
        found = guaranteed_elements(space, strategy, key, (NUM_EXAMPLES,), jnp.float64)
        return np.asarray(found)
    return np.asarray(_elements(space, key))


def _averaged(space: Space, strategy: Strategy, v: np.ndarray, key: Key[Array, ""]) -> np.ndarray:
    """Elements that the mean over draws is equivariant to: v, of all of the group.

    With a random grid those are its rotations and N alone, and not, say, changes of scale.
    """
    if not isinstance(strategy, Grid):
        return v
    turn_key, move_key = jax.random.split(key)
    angles = jax.random.uniform(turn_key, (NUM_EXAMPLES, 1), jnp.float64, -jnp.pi, jnp.pi)
    zeros = jnp.zeros((NUM_EXAMPLES, space.stabilizer.algebra_dim - 1))
    turns = space.stabilizer.exp(jnp.concatenate([angles, zeros], axis=-1))
    moves = space.section(space.sample_points(move_key, (NUM_EXAMPLES,), jnp.float64))
    return np.asarray(space.group.compose(moves, space.embed_stabilizer(turns)))


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
    programs: Any = (_move, _turn, _lift, _outputs, _has_unclear_axes, _many_points, _elements)
    for program in programs:
        program.clear_cache()
