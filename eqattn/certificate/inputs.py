"""What the certificate puts into layers: data as they are and moved, and how outputs must move."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from eqattn.certificate.expected import representation
from eqattn.fields import FieldType
from eqattn.lift import Frames, Grid, Lift, guarantee
from eqattn.lift import lift as lift_field
from eqattn.spaces import Space
from eqattn.testing import random_elements
from eqattn.typing import Array, Key

NUM_POINTS, NUM_EXAMPLES = 4, 4
NUM_AVERAGED, NUM_DRAWS = 2, 4096
"""Examples whose mean over draws is measured where a lift is random, and draws of each: as many as
show that samples leave out a tenth of the angles."""
_CLEAR_GAP = 0.2  # of frames in the data: rounding turns them by its inverse


class Inputs(NamedTuple):
    """Inputs of a program, in float64: examples, first as they are, then moved.

    The rows are ``NUM_EXAMPLES`` as they are, those moved by u, and, where the lift is random,
    ``NUM_DRAWS`` copies of each of the first ``NUM_AVERAGED`` as they are, and moved by w.
    """

    points: Any
    features: Any
    ids: Any
    coupled_points: Any
    v: Any


class Moves(NamedTuple):
    """What outputs at rows that were not moved are turned by: u, v, and copies of w.

    Attributes:
      rows: The rows [R] that are turned.
      elements: Index of the matrix that turns each example.
      matrices: Matrices of each field by its name, transposed ρ(g) [G N C C] at each point.
    """

    rows: np.ndarray
    elements: np.ndarray
    matrices: Mapping[str, np.ndarray]

    def apply(self, name: str, values: np.ndarray) -> np.ndarray:
        """ρ(g) of the rows [R N C] of values [rows N C] of a field."""
        return _turn(self.matrices[name][self.elements], values[self.rows])


def make_inputs(
    space: Space, lift: Lift, fields: Sequence[tuple[str, FieldType]]
) -> tuple[Inputs, Moves]:
    """Inputs for a lift on a space, of a direct sum of fields, and how their outputs must move."""
    keys = jax.random.split(jax.random.key(0), 4)
    x = _points(space, lift, keys[0])
    u = _guaranteed(space, lift, keys[1])
    v = np.asarray(_elements(space, keys[2]))
    w = _averaged(space, lift, v, keys[3])
    elements, points = np.concatenate([u, v, w]), np.tile(x, (3, 1, 1))
    images = np.asarray(_images(space, elements, points))
    matrices = {
        name: np.swapaxes(representation(space, field, elements, points, images), -1, -2)
        for name, field in fields
    }
    sizes = [matrix.shape[-1] for matrix in matrices.values()]
    f = np.random.default_rng(1).normal(size=(*x.shape[:-1], sum(sizes)))
    parts = np.split(np.tile(f, (3, 1, 1)), np.cumsum(sizes)[:-1], axis=-1)
    turned = [_turn(matrix, part) for matrix, part in zip(matrices.values(), parts, strict=True)]
    moved_f = np.concatenate(turned, axis=-1)
    e = NUM_EXAMPLES
    first = np.arange(e)
    points, features, ids = [x, images[:e]], [f, moved_f[:e]], [first, first]
    rows, turns = [first, first], [first, first + e]
    if is_random(space, lift):
        many = np.arange(NUM_AVERAGED * NUM_DRAWS) + 2 * e
        points += [_repeat(x), _repeat(images[2 * e :])]
        features += [_repeat(f), _repeat(moved_f[2 * e :])]
        ids += [many, many + len(many)]
        rows += [many]
        turns += [_repeat(first + 2 * e)]
    join = np.concatenate
    inputs = Inputs(join(points), join(features), join(ids), images[e : 2 * e], v)
    return inputs, Moves(join(rows), join(turns), matrices)


def _turn(matrices: np.ndarray, values: np.ndarray) -> np.ndarray:
    return (values[..., None, :] @ matrices)[..., 0, :]


@functools.partial(jax.jit, static_argnums=0)
def _images(space: Space, elements: Array, points: Array) -> Array:
    return space.act(elements[:, None], points)


def _repeat(x: np.ndarray) -> np.ndarray:
    return np.repeat(x[:NUM_AVERAGED], NUM_DRAWS, axis=0)


def is_random(space: Space, lift: Lift) -> bool:
    """Whether the mean over draws is to be measured; for ``Frames`` that is its fallback alone."""
    promise = guarantee(space, lift)
    return bool(promise.mean) or not promise.exact


def _points(space: Space, lift: Lift, key: Key[Array, ""]) -> np.ndarray:
    """Random examples in float64; for ``Frames`` such whose axes are separated clearly."""
    found = np.asarray(_many_points(space, key))
    if lift.has_fallback:
        found = found[np.argsort(_has_unclear_axes(space, found), kind="stable")]
    return found[:NUM_EXAMPLES]


@functools.partial(jax.jit, static_argnums=0)
def _has_unclear_axes(space: Space, points: Array) -> Any:
    ones = jnp.ones((*points.shape[:-1], 1))
    key = jax.random.key(0)  # the axes that it draws are not used
    return lift_field(space, points, ones, key=key, lift=Frames(_CLEAR_GAP)).fallback


@functools.partial(jax.jit, static_argnums=0)
def _many_points(space: Space, key: Key[Array, ""]) -> Array:
    return space.sample_points(key, (16 * NUM_EXAMPLES, NUM_POINTS), jnp.float64)


@functools.partial(jax.jit, static_argnums=0)
def _elements(space: Space, key: Key[Array, ""]) -> Array:
    return random_elements(space.group, key, (NUM_EXAMPLES,), jnp.float64)


def _guaranteed(space: Space, lift: Lift, key: Key[Array, ""]) -> np.ndarray:
    """Elements that each single lift is equivariant to; often all of the group."""
    found = lift.exact_elements(space, key, (NUM_EXAMPLES,), jnp.float64)
    return np.asarray(_elements(space, key) if found is None else found)


def _averaged(space: Space, lift: Lift, v: np.ndarray, key: Key[Array, ""]) -> np.ndarray:
    """Elements that the mean over draws is equivariant to: v, of all of the group.

    With a random grid those are its rotations and N alone, and not, say, changes of scale.
    """
    if not isinstance(lift, Grid):
        return v
    turn_key, move_key = jax.random.split(key)
    angles = jax.random.uniform(turn_key, (NUM_EXAMPLES, 1), jnp.float64, -jnp.pi, jnp.pi)
    zeros = jnp.zeros((NUM_EXAMPLES, space.stabilizer.algebra_dim - 1))
    turns = space.stabilizer.exp(jnp.concatenate([angles, zeros], axis=-1))
    moves = space.section(space.sample_points(move_key, (NUM_EXAMPLES,), jnp.float64))
    return np.asarray(space.group.compose(moves, space.embed_stabilizer(turns)))


PROGRAMS: Any = (_images, _has_unclear_axes, _many_points, _elements)
"""What is compiled here."""
