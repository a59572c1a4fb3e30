"""What must not change an output: padding, a point split in two, the order of points, the back end.

A layer that ignores its mask, or its quadrature weights, is equivariant all the same. So each back
end is compared with the dense one on data without padding, where it gets the same data padded, with
a point split into two of half its weight, and in another order.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from eqattn.certificate.models import apply_model, make_model
from eqattn.certificate.options import Options
from eqattn.lift import Lift, Lifted, project
from eqattn.lift import lift as lift_field
from eqattn.spaces import Space
from eqattn.testing import TOLERANCES, relative_error, spreads
from eqattn.typing import Array

NUM_EXAMPLES, NUM_POINTS, NUM_CHANNELS = 4, 6, 3
DTYPE = "float64"
"""The number type in which these are measured: what is ignored is so in all."""

STATEMENTS = {
    "padded": "the dense back end without padding: the same",
    "garbage": "masked points hold anything: no change",
    "shuffled": "points in another order: the same order of outputs",
    "split": "a point as two of half the weight: no change",
}
"""What each form of the data must give, by its name."""


class Data(NamedTuple):
    """One form of the data: points [B N D], features, mask, log-weights.

    Attributes:
      points: Coordinates.
      features: Scalars.
      mask: Marks the points that exist.
      log_weights: Log-weights of the points.
    """

    points: np.ndarray
    features: np.ndarray
    mask: np.ndarray
    log_weights: np.ndarray


Layer = Callable[[Data], Array]
"""A function of data that gives scalars at the points [B N C]."""


@functools.partial(jax.jit, static_argnums=(0, 1))
def lift_data(space: Space, lift: Lift, data: Data) -> Lifted:
    """The lift of one form of the data, which all layers share.

    Args:
      space: Where the points live.
      lift: The lift, which draws nothing.
      data: Any form.
    """
    x, f, mask, log_weights = map(jnp.asarray, data)
    key = jax.random.key(0)  # Frames wants one for axes that are not clear, which these are
    return lift_field(space, x, f, mask, key=key, lift=lift, log_weights=log_weights)


PROGRAMS: Any = (lift_data,)
"""What is compiled here, but for the layers."""


def make_layer(options: Options, space: Space, lift: Lift) -> Layer:
    """A layer between lift and projection, compiled.

    Args:
      options: Options that name the layer and how it is called.
      space: Where the points live.
      lift: The lift, which draws nothing.
    """
    graph, state = make_model(options, space, lift, NUM_CHANNELS)

    @jax.jit
    def apply(state: Any, lifted: Lifted) -> Array:
        out = apply_model(nnx.merge(graph, state), options, lift.pair_space(space), lifted)
        return project(space, lifted.replace_features(out))

    return lambda data: apply(state, lift_data(space, lift, data))


def measure_invariances(
    layer: Layer, reference: Layer, space: Space, *, can_split: bool = True
) -> list[tuple[str, float, float, float]]:
    """Statements with largest and mean errors and bounds.

    Args:
      layer: Layer that gets the data in each form.
      reference: The same layer by the dense back end, which gets the data as they are.
      space: Where the points live.
      can_split: Whether a point may be split: not so where the nearest few are counted.
    """
    plain, forms = _make_forms(space)
    expected = np.asarray(reference(plain))
    forms = {name: form for name, form in forms.items() if can_split or name != "split"}
    joined = Data(
        *(np.concatenate(parts) for parts in zip(*(f[0] for f in forms.values()), strict=True))
    )
    outputs = np.split(np.asarray(layer(joined)), len(forms))
    found = []
    for (name, (_, places)), out in zip(forms.items(), outputs, strict=True):
        error = np.abs(out[:, places] - expected) / spreads(expected)
        largest = relative_error(jnp.asarray(out[:, places]), jnp.asarray(expected))
        found.append((STATEMENTS[name], largest, float(np.mean(error)), TOLERANCES[DTYPE]))
    return found


def _make_forms(space: Space) -> tuple[Data, dict[str, tuple[Data, np.ndarray]]]:
    """The data as they are; and in each form, with the places of the points in it."""
    points_key, features_key, weights_key, other_key = jax.random.split(jax.random.key(4), 4)
    shape = (NUM_EXAMPLES, NUM_POINTS)
    x = np.asarray(space.sample_points(points_key, shape, jnp.float64))
    f = np.asarray(jax.random.normal(features_key, (*shape, NUM_CHANNELS), jnp.float64))
    w = np.asarray(jax.random.normal(weights_key, shape, jnp.float64))
    plain = Data(x, f, np.ones(shape, bool), w)
    pad = (NUM_EXAMPLES, 2)
    garbage = np.asarray(space.sample_points(other_key, pad, jnp.float64))

    def padded(points: np.ndarray, features: float, weights: float) -> Data:
        ends = (points, np.full((*pad, NUM_CHANNELS), features), np.zeros(pad, bool))
        parts = zip(plain, (*ends, np.full(pad, weights)), strict=True)
        return Data(*(np.concatenate(pair, axis=1) for pair in parts))

    first, dirty = padded(0.0 * garbage, 0.0, 0.0), padded(garbage, 30.0, 3.0)
    order = np.array([6, 3, 1, 0, 7, 5, 2, 4])
    shuffled = Data(*(part[:, order] for part in dirty))
    split = Data(*(np.array(part) for part in dirty))
    for part in (split.points, split.features, split.mask):
        part[:, 6] = part[:, 0]
    split.log_weights[:, 0] -= np.log(2.0)
    split.log_weights[:, 6] = split.log_weights[:, 0]
    places = np.arange(NUM_POINTS)
    return plain, {
        "padded": (first, places),
        "garbage": (dirty, places),
        "shuffled": (shuffled, np.argsort(order)[:NUM_POINTS]),
        "split": (split, places),
    }
