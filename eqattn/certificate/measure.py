"""How far layers and models are from what a lift guarantees, measured in one program.

For one space, lift, layer and number type everything is one compiled program: inputs are a
direct sum of fields, so that errors of each field are slices. Three batches go through the layer at
once: data x, moved data u x, and the coupled lift, whose elements g are replaced by u g. Where a
lift draws samples two more do, of many draws of the same data, whose mean difference is in standard
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

from eqattn.certificate.inputs import (
    NUM_AVERAGED,
    NUM_DRAWS,
    NUM_EXAMPLES,
    Inputs,
    is_random,
    make_inputs,
)
from eqattn.certificate.models import apply_model, make_model
from eqattn.certificate.options import Options
from eqattn.fields import FieldType
from eqattn.lift import Lift, Lifted, guarantee, project
from eqattn.lift import lift as lift_field
from eqattn.spaces import Space
from eqattn.testing import MIN_STD, TOLERANCES, float32_tolerance, spreads
from eqattn.typing import Array

STANDARD_ERRORS = 5.0
"""Bound on the differences of means that should be 0, in standard errors, of every component."""

COUPLED = "coupled lift: project(u g, F) = ρ(u) project(g, F), for every u"
EXPECTED = "equivariant in expectation over the key: mean over draws, in standard errors"


class Measurement(NamedTuple):
    """An error of one field; see :class:`eqattn.certificate.Row`."""

    field: str
    guarantee: str
    max_error: float
    mean_error: float
    bound: float


def measure(
    space: Space,
    lift: Lift,
    fields: Sequence[tuple[str, FieldType]],
    options: Options,
    dtype: str,
) -> list[Measurement]:
    """Measures what a lift guarantees, and the coupled lift, of a layer for each field.

    Args:
      space: Where the points live.
      lift: The lift.
      fields: Names and types, of which none is excluded.
      options: Options that name the layer and how it sees pairs.
      dtype: ``"float32"``, or ``"float64"`` with ``jax_enable_x64``.

    Raises:
      FloatingPointError: If an output is not finite, or hardly varies.
    """
    field = sum((type_ for _, type_ in fields[1:]), fields[0][1])
    inputs, moves = make_inputs(space, lift, fields)
    model = make_model(options, space, lift, field.size(space))
    lifted, wide = _lift(space, lift, field, dtype, inputs)
    where = np.concatenate([inputs.points, inputs.coupled_points])
    seen = lift.pair_space(space)
    out = np.asarray(_outputs(space, seen, field, options, model, lifted, where), np.float64)
    precise = None
    if wide is not None:
        precise = np.asarray(_outputs(space, seen, field, options, model, wide, where))
    stops = np.cumsum([type_.size(space) for _, type_ in fields]).tolist()
    found = []
    for (name, _), stop in zip(fields, stops, strict=True):
        of_field = slice(stop - moves.matrices[name].shape[-1], stop)
        bound = TOLERANCES[dtype]
        title = f"{options.layer} ({options}) of {name} with {lift} on {space}"
        values = out[..., of_field]
        if precise is not None:
            exact = precise[..., of_field]
            difference = np.abs(values - exact).max()
            bound = float32_tolerance(float(difference / _spread(exact, title)))
        expected = moves.apply(name, values)
        errors = _errors(space, lift, title, values, expected, bound)
        found += [Measurement(name, *error) for error in errors]
    return found


def _errors(
    space: Space, lift: Lift, name: str, out: np.ndarray, turned: np.ndarray, bound: float
) -> list[tuple[str, float, float, float]]:
    """Statements with largest and mean errors and bounds, from outputs [rows N C] of one field."""
    promise = guarantee(space, lift)
    e = NUM_EXAMPLES
    pairs = [(COUPLED, out[-e:], turned[e : 2 * e])]
    if promise.exact:
        pairs.append((promise.text.partition(";")[0], out[e : 2 * e], turned[:e]))
    elif promise.part:
        text = f"exactly equivariant to {promise.part} for a fixed key"
        pairs.append((text, out[e : 2 * e], turned[:e]))
    found = []
    for text, actual, expected in pairs:
        if not np.all(np.isfinite(actual)):
            raise FloatingPointError(f"the output of {name} must be finite: {text}")
        error = np.abs(actual - expected) / _spread(expected, name)
        found.append((text, float(error.max()), float(error.mean()), bound))
    if is_random(space, lift):
        shape = (NUM_AVERAGED, NUM_DRAWS, *out.shape[1:])
        draws = out[2 * e + NUM_AVERAGED * NUM_DRAWS : -e].reshape(shape)
        errors = _standard_errors(draws, turned[2 * e :].reshape(shape), bound)
        found.append((EXPECTED, float(errors.max()), float(errors.mean()), STANDARD_ERRORS))
    return found


def _spread(values: np.ndarray, name: str) -> float:
    (std,) = spreads(values, [values.shape[-1]]).tolist()
    if not math.isfinite(std) or std <= MIN_STD:
        raise FloatingPointError(
            f"the output of {name} must be finite and vary, got a standard deviation over examples "
            f"of {std}"
        )
    return std


def _standard_errors(draws: np.ndarray, expected: np.ndarray, rounding: float) -> np.ndarray:
    """Mean differences [E N C] over draws [E D N C], in standard errors of them."""
    difference = draws - expected
    variance = difference.var(axis=1, ddof=1) / difference.shape[1] + rounding**2
    return np.abs(difference.mean(axis=1)) / np.sqrt(variance)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _lift(
    space: Space, lift: Lift, field: FieldType, dtype: str, inputs: Inputs
) -> tuple[Lifted, Lifted | None]:
    """All rows and after them the coupled ones; in float32 also the same elements in float64."""
    key = jax.random.key(2)

    def lifted(dtype: Any) -> Lifted:
        x, f = inputs.points.astype(dtype), inputs.features.astype(dtype)
        found = lift_field(space, x, f, key=key, lift=lift, field=field, example_ids=inputs.ids)
        # How elements were chosen does not matter further on, but for what layers may see of them;
        # programs that differ in nothing else are compiled once.
        known = found.lift if found.is_coset or lift.keeps_samples_apart else None
        found = dataclasses.replace(found, lift=known, fallback=None)
        first = jax.tree.map(lambda x: x[:NUM_EXAMPLES], found)
        v = inputs.v.astype(dtype)[:, None, None]
        coupled = dataclasses.replace(first, elements=space.group.compose(v, first.elements))
        return jax.tree.map(lambda *x: jnp.concatenate(x), found, coupled)

    narrow = lifted(jnp.dtype(dtype))
    if dtype == "float64":
        return narrow, None
    return narrow, lifted(jnp.float64) if lift.has_fallback else _widened(narrow)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _outputs(
    space: Space,
    seen: Space,
    field: FieldType,
    options: Options,
    model: tuple[Any, Any],
    lifted: Lifted,
    points: Array,
) -> Array:
    """The fields [rows N C] that a layer makes of a lift."""
    features = apply_model(nnx.merge(*model), options, seen, lifted)
    out = lifted.replace_features(features)
    return project(space, out, field, points=points.astype(features.dtype))


def _widened(lifted: Lifted) -> Lifted:
    """The same elements in float64."""
    return jax.tree.map(
        lambda x: x.astype(jnp.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x, lifted
    )


PROGRAMS: Any = (_lift, _outputs)
"""What is compiled here."""
