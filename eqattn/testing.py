"""Public checks of equivariance: how far is f(u·x) from u·f(x)?

The error is max |f(u·x) - u·f(x)| / std f over random inputs of size O(1) and random elements with
translations of length at most 1 and scales in [1/2, 2], the worst of all fields of the output. One
that hardly varies from example to example (std below 1e-3) is refused, since any bound would hold
for it.

A small error means little until another is large: a network with initial weights may hardly see
directions, and one that is equivariant to six turns then passes for all rotations in float32.
Measure elements that are not promised as well, in float64 or with trained weights.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from eqattn import fields
from eqattn.checks import check_instance, check_key, check_sizes
from eqattn.groups import LieGroup
from eqattn.lift import Haar, Lift, Lifted, project
from eqattn.lift import lift as lift_field
from eqattn.spaces.base import Space
from eqattn.typing import Array, Bool, DType, Float, Int, Key

TOLERANCES = {"float64": 1e-10, "float32": 2e-6}
"""Bounds for groups and single layers; whole models in float32 may need more (see below)."""

MIN_STD = 1e-3
"""What every field of the output must vary by, for an error relative to that to mean anything."""

PointFunction: TypeAlias = Callable[[Array, Array], Array]
"""A function of points [*B N D] and features [*B N C]."""


def float32_tolerance(difference: float) -> float:
    """Bound for a whole model in float32, from its own float32-against-float64 difference.

    max(2e-6, 8 × difference), capped at 1e-4, with the difference relative to the output's std.
    """
    return min(max(TOLERANCES["float32"], 8.0 * difference), 1e-4)


def random_elements(
    group: LieGroup, key: Key[Array, ""], shape: tuple[int, ...] = (), dtype: DType = float
) -> Float[Array, "..."]:
    """Random elements [*shape E] for tests: the group's own bounded samples.

    Rotations are Haar, translations at most 1 long, scales in [1/2, 2], rapidities at most 1:
    :meth:`~eqattn.groups.LieGroup.sample_bounded`.

    Args:
      group: Any group.
      key: Random key of the draw.
      shape: Leading shape.
      dtype: Data type of the elements.
    """
    return group.sample_bounded(key, shape, dtype)


def equivariance_error(
    fn: PointFunction,
    space: Space,
    *,
    num_features: int = 4,
    input_field: fields.FieldType | str | None = None,
    output_field: fields.FieldType | str | None = None,
    num_points: int = 6,
    num_examples: int = 16,
    elements: Float[Array, "B E"] | None = None,
    key: Key[Array, ""] | None = None,
    dtype: DType = float,
) -> float:
    """Max |f(u·x) - u·f(x)| / std f over random inputs and elements, one element per example.

    Args:
      fn: Function of ``points`` [B N D] and ``features`` [B N C]; its output transforms by
        ``output_field`` along the last axis, for the example as a whole or each point.
      space: Where the points live.
      num_features: C, where ``input_field`` is not given.
      input_field: Type of the features, or how it is written; scalars by default.
      output_field: Type of the output; invariant by default.
      num_points: Number of points N.
      num_examples: Number of examples B.
      elements: u of each example; by default any of the group. What a lift is exact for is
        drawn by :func:`guaranteed_elements`.
      key: Random key of inputs and elements; ``jax.random.key(0)`` by default.
      dtype: Data type of the inputs.

    Returns:
      The error, relative to the standard deviation of f.

    Raises:
      ValueError: If the output is not finite, or its standard deviation is not above 1e-3.

    >>> import eqattn
    >>> plane = eqattn.spaces.euclidean(eqattn.groups.SE(2))
    >>> equivariance_error(lambda points, features: points.var(-2).sum(-1), plane) < 1e-5
    True
    """
    check_sizes({"num_examples": num_examples}, minimum=2)
    check_sizes({"num_points": num_points})
    check_instance("space", space, Space)
    input_field = fields.FieldType.read(
        fields.scalars(num_features) if input_field is None else input_field
    )
    output_field = None if output_field is None else fields.FieldType.read(output_field)
    key = jax.random.key(0) if key is None else key
    check_key(key)
    shape = (num_examples, num_points)
    points, features, drawn = _random_inputs(key, space, input_field, shape, dtype)
    space.check_domain(points)  # within a program values are not seen
    elements = drawn if elements is None else elements
    if elements.shape != drawn.shape:
        raise ValueError(f"elements must have shape {drawn.shape}, got {elements.shape}")
    out = fn(points, features)
    turned = fn(*_moved(elements, points, features, space, input_field))
    expected, widths = out, None
    if output_field is not None:
        widths = output_field.widths(space)
        _check_channels(out, widths, output_field)
        at_points = points if out.ndim == points.ndim else None
        expected = _transformed(elements, out, at_points, space, output_field)
    return relative_error(turned, expected, widths)


def guaranteed_elements(
    space: Space,
    lift: Lift,
    key: Key[Array, ""],
    shape: tuple[int, ...] = (),
    dtype: DType = float,
) -> Float[Array, "..."]:
    """Random elements [*shape E] that a lift is equivariant to for each single key.

    Those of N ⋊ F for ``Subgroup`` and ``Grid`` (with a random offset the proper ones alone,
    because reflections are about axes that turn with it), those of N for shared ``Haar`` samples,
    and of the whole group otherwise: see :func:`eqattn.lift.guarantee`.

    Args:
      space: Where the points live.
      lift: Lift that is measured.
      key: Random key of the draw.
      shape: Leading shape.
      dtype: Data type of the elements.
    """
    found = lift.exact_elements(space, key, shape, dtype)
    return random_elements(space.group, key, shape, dtype) if found is None else found


def assert_equivariant(
    fn: PointFunction, space: Space, *, tolerance: float | None = None, **options
) -> None:
    """Raises an AssertionError unless :func:`equivariance_error` is within the tolerance.

    Args:
      fn: Function that is checked, as for :func:`equivariance_error`.
      space: Where the points live.
      tolerance: Bound; by default 1e-10 in float64 and 2e-6 in float32.
      **options: Further arguments of :func:`equivariance_error`.

    Raises:
      AssertionError: If the error is larger, with both numbers.
      ValueError: As :func:`equivariance_error`.
    """
    error = equivariance_error(fn, space, **options)
    if tolerance is None:
        name = jnp.zeros((), options.get("dtype", float)).dtype.name
        if name not in TOLERANCES:
            raise ValueError(f"tolerance must be given for {name}; known are {TOLERANCES}")
        tolerance = TOLERANCES[name]
    if not error <= tolerance:
        raise AssertionError(
            f"not equivariant to {space.group}: error {error:.3g} is above {tolerance:.3g}"
        )


def coupled_lift_error(
    fn: Callable[[Lifted], Array],
    space: Space,
    *,
    lift: Lift = Haar(2),
    num_features: int = 4,
    input_field: fields.FieldType | str | None = None,
    output_field: fields.FieldType | str | None = None,
    num_points: int = 6,
    num_examples: int = 16,
    key: Key[Array, ""] | None = None,
    dtype: DType = float,
) -> float:
    """The sharpest check of a layer, without sampling: every element g becomes u·g.

    With the same features, the output of a layer or model is then identical, whatever samples the
    lift drew; how the lift chose them is not tested, see :func:`guaranteed_elements`. With an
    ``output_field`` the outputs are functions on the group [B N S C] that are projected to that
    field, and ``project(u·g, F) = ρ(u) project(g, F)`` is measured.

    Args:
      fn: Function of a :class:`Lifted` batch.
      space: Where the points live.
      lift: Lift that makes the elements.
      num_features: C, where ``input_field`` is not given.
      input_field: Type of the features, or how it is written; scalars by default.
      output_field: Type of the projected output; without it outputs are compared as they are.
      num_points: Number of points N.
      num_examples: Number of examples B.
      key: Random key of inputs, samples and elements; ``jax.random.key(0)`` by default.
      dtype: Data type of the inputs.

    Returns:
      The error, relative to the standard deviation of the output.

    Raises:
      ValueError: If the output is not finite, or its standard deviation is not above 1e-3.
    """
    check_sizes({"num_examples": num_examples}, minimum=4)
    check_sizes({"num_points": num_points})
    check_instance("space", space, Space)
    input_field = fields.FieldType.read(
        fields.scalars(num_features) if input_field is None else input_field
    )
    output_field = None if output_field is None else fields.FieldType.read(output_field)
    key = jax.random.key(0) if key is None else key
    check_key(key)
    shape = (num_examples, num_points)
    points, u, lifted, moved = _random_lifts(key, space, input_field, lift, shape, dtype)
    space.check_domain(points, lifted.mask)  # within a program values are not seen
    out, turned, widths = fn(lifted), fn(moved), None
    if output_field is not None:
        widths = output_field.widths(space)
        _check_channels(out, widths, output_field)
        out = _projected(lifted, out, space, output_field)
        turned = _projected(moved, turned, space, output_field)
        out = _transformed(u, out, points, space, output_field)
    complete = np.asarray(np.all(np.asarray(lifted.mask), axis=1))  # masked points are zeros
    return relative_error(turned, out, widths, complete)


def _check_channels(out: Any, widths: Sequence[int], field: fields.FieldType) -> None:
    shape = getattr(out, "shape", None)
    if shape is None or len(shape) < 2 or shape[-1] != sum(widths):
        given = f"a {type(out).__name__}" if shape is None else f"shape {shape}"
        raise ValueError(
            f"outputs of fn must have the {sum(widths)} channels of output_field {field} on their "
            f"last axis, got {given}"
        )


# What surrounds the function that is measured, each part one program: operations that are called
# one by one are compiled one by one, and take several times as long.


@functools.partial(jax.jit, static_argnames=("space", "field", "shape", "dtype"))
def _random_inputs(
    key: Key[Array, ""],
    space: Space,
    field: fields.FieldType,
    shape: tuple[int, int],
    dtype: DType,
) -> tuple[Array, Array, Array]:
    """Points [B N D], features [B N C], and one element for each example [B E]."""
    points_key, features_key, elements_key = jax.random.split(key, 3)
    points = space.sample_points(points_key, shape, dtype)
    features = jax.random.normal(features_key, (*shape, field.size(space)), dtype)
    return points, features, random_elements(space.group, elements_key, shape[:1], dtype)


@functools.partial(jax.jit, static_argnames=("space", "field"))
def _moved(
    elements: Array, points: Array, features: Array, space: Space, field: fields.FieldType
) -> tuple[Array, Array]:
    """Points [B N D] and features [B N C] of examples that are moved by elements [B E]."""
    each = elements[:, None]
    moved = space.act(each, points).astype(points.dtype)
    return moved, field.transform(space, each, features, points=points)


@functools.partial(jax.jit, static_argnames=("space", "field"))
def _transformed(
    elements: Array, out: Array, points: Array | None, space: Space, field: fields.FieldType
) -> Array:
    """A field [B ... C] whose examples are moved by elements [B E]."""
    each = elements.reshape(len(elements), *(1,) * (out.ndim - 2), -1)
    return field.transform(space, each, out, points=points)


@functools.partial(jax.jit, static_argnames=("space", "field", "kind", "shape", "dtype"))
def _random_lifts(
    key: Key[Array, ""],
    space: Space,
    field: fields.FieldType,
    kind: Lift,
    shape: tuple[int, int],
    dtype: DType,
) -> tuple[Array, Array, Lifted, Lifted]:
    """Points, one element for each example, and what is lifted from the points, as is and moved."""
    num_examples, num_points = shape
    points, features, u = _random_inputs(key, space, field, shape, dtype)
    sizes = jnp.maximum(num_points - jnp.arange(num_examples) % 3, 1)
    lifted = lift_field(
        space,
        points,
        features,
        jnp.arange(num_points) < sizes[:, None],
        key=jax.random.fold_in(key, 3),
        lift=kind,
        field=field,
        example_ids=jnp.arange(num_examples),
    )
    elements = space.group.compose(u[:, None, None], lifted.elements)
    return points, u, lifted, dataclasses.replace(lifted, elements=elements)


@functools.partial(jax.jit, static_argnames=("space", "field"))
def _projected(lifted: Lifted, out: Array, space: Space, field: fields.FieldType) -> Array:
    """The field of functions on the group [B N S C]."""
    return project(space, lifted.replace_features(out), field)


def relative_error(
    actual: Float[Array, "..."],
    expected: Float[Array, "..."],
    widths: Sequence[int] | None = None,
    complete: Bool[np.ndarray, " B"] | None = None,
) -> float:
    """Max |actual - expected| of a field over the spread of what is expected; the worst field's.

    The spread is the standard deviation over examples, the first axis, as the root of its mean
    square over points and components. So numbers that do not hang on the example, such as a bias or
    the number of a point, are no variation, and a large channel does not hide a small one.

    Args:
      actual: Outputs [B ... C], or [B].
      expected: What they should be.
      widths: Channels of each field, which add up to C; by default each channel is one.
      complete: Examples that the spread is taken over; all by default.

    Raises:
      TypeError: If outputs are no arrays of real numbers.
      ValueError: If they are not finite, their shapes differ, or a field does not vary by more than
        1e-3.
    """
    for array in (actual, expected):
        if not isinstance(array, jax.Array | np.ndarray):
            raise TypeError(f"outputs must be arrays, got a {type(array).__name__}")
        is_real = jnp.issubdtype(array.dtype, jnp.number) and not jnp.iscomplexobj(array)
        if not is_real:
            raise TypeError(f"outputs must hold real numbers, got {array.dtype}")
    if actual.shape != expected.shape:
        raise ValueError(
            f"outputs must have one shape, got {actual.shape} where {expected.shape} is expected"
        )
    if not actual.size:
        raise ValueError(f"outputs must not be empty, got shape {actual.shape}")
    found, wanted = (_by_channel(x) for x in (actual, expected))
    sizes = [1] * wanted.shape[-1] if widths is None else widths
    if not np.all(np.isfinite(found)):
        raise ValueError("the output must be finite, and is not")
    spread = spreads(wanted if complete is None else wanted[complete], sizes)
    if not np.all(spread > MIN_STD):  # of NaN too
        worst = int(np.argmin(np.where(np.isnan(spread), -1.0, spread)))
        raise ValueError(
            f"the output's standard deviation over examples must be finite and above {MIN_STD} in "
            f"every field, got {spread[worst]} in field {worst} of {len(spread)}"
        )
    largest = np.abs(found - wanted).max(axis=(0, 1), initial=0.0)
    return float(np.max(np.maximum.reduceat(largest, _starts(sizes)) / spread))


def spreads(
    outputs: Float[np.ndarray, "B ..."], widths: Sequence[int] | None = None
) -> Float[np.ndarray, " F"]:
    """Returns the standard deviation over examples of each field, see :func:`relative_error`.

    Args:
      outputs: Outputs [B ... C], or [B]; of one example, they are compared over the other axes.
      widths: Channels of each field; by default each channel is one.
    """
    outputs = _by_channel(outputs)
    squares = outputs.var(axis=1)[0] if len(outputs) == 1 else outputs.var(axis=0).mean(axis=0)
    sizes = [1] * len(squares) if widths is None else widths
    return np.sqrt(np.add.reduceat(squares, _starts(sizes)) / np.asarray(sizes))


def _by_channel(outputs: Any) -> Float[np.ndarray, "B P C"]:
    """Outputs in float64, with one axis between examples and channels."""
    array = np.asarray(outputs).astype(np.float64)
    array = array[:, None] if array.ndim == 1 else array
    return array.reshape(len(array), -1, array.shape[-1])


def _starts(widths: Sequence[int]) -> Int[np.ndarray, " F"]:
    """Where the channels of each field begin."""
    return np.cumsum([0, *widths[:-1]])
