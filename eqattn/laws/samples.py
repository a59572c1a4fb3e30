"""Laws of random elements: Haar where they should be, and nowhere confined.

Haar samples are those that no element of the group changes in distribution. So the means of
functions over samples g, and over moved samples u g, must agree, up to their standard errors: for
the entries of the matrices of g, and for waves of them, which see what no low moment does (such as
samples of a finite group).
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from eqattn.groups import LieGroup
from eqattn.groups.base import unstack
from eqattn.laws.errors import TOLERANCES, wide
from eqattn.spaces.base import Space
from eqattn.typing import Array, DType, Key

NUM_DRAWS = 4096
"""Samples that means are taken over."""

STANDARD_ERRORS = 5.0
"""Bound on differences of means, in standard errors: one in two million is larger by chance."""

SPREAD = 1e-2
"""Standard deviation that logarithms of samples have in every direction, at least."""

NUM_FEW, NUM_MOVES, NUM_WAVES = 32, 4, 16


def sample_laws(group: LieGroup, key: Key[Array, ""], dtype: DType) -> dict[str, np.ndarray]:
    """Errors of the laws of ``sample`` and ``sample_bounded``, in standard errors.

    Args:
      group: The group.
      key: Random key of the samples.
      dtype: Data type of the samples.

    Returns:
      For each law by its name an array of errors; of directions, how often a smallest spread goes
      into that of the samples, times ``STANDARD_ERRORS``.
    """
    draw_key, move_key = jax.random.split(key)
    moves = group.exp(_any_size(move_key, group.algebra_dim, dtype))
    has_parities = bool(
        group.parity_components(tuple(map(jnp.asarray, group.identity_components())))
    )
    found = {}
    for name, sampler in (("sample", group.sample), ("sample_bounded", group.sample_bounded)):
        num = max(NUM_FEW, 4 * group.algebra_dim)
        log = wide(group.log)(sampler(draw_key, (num,), dtype))
        spread = np.linalg.svd(log - log.mean(0), compute_uv=False) / np.sqrt(num)
        found[f"{name} in every direction"] = STANDARD_ERRORS * SPREAD / np.maximum(spread, 1e-9)
        # Vectors of a group of isometries, or of similarities, are turned by a compact group.
        has_turns = group.is_orthogonal and name == "sample_bounded"
        if not (has_parities or group.is_compact or has_turns):
            continue
        g = sampler(draw_key, (NUM_DRAWS,), dtype)
        if has_parities:
            parities = np.stack(group.parity_components(unstack(g)), axis=-1)
            found[f"{name} of both parities"] = np.sqrt(NUM_DRAWS) * np.abs(parities.mean(0))
        if group.is_compact:
            found[f"{name} is Haar"] = _moved_means(group.matrix(g), group.matrix(moves))
        elif has_turns:
            found["rotations of sample_bounded are Haar"] = _moved_means(
                group.linear_matrix(g), group.linear_matrix(moves)
            )
    return found


def stabilizer_sample_laws(
    space: Space, point: Array, key: Key[Array, ""], dtype: DType
) -> dict[str, np.ndarray]:
    """Errors of the laws of ``sample_stabilizer``, in standard errors.

    Args:
      space: The space, with a compact stabilizer.
      point: Point in general position.
      key: Random key of the samples.
      dtype: Data type of the samples.
    """
    places = {"samples of the stabilizer are Haar": point}
    center = jnp.zeros_like(point)
    if space.has_exceptional_orbits and space.group.is_compact and not space.unliftable(center):
        places["samples at the exceptional origin are Haar"] = center
    return {
        law: _moved_means(*_draw_stabilizer(space, place is center, place, key, dtype))
        for law, place in places.items()
    }


@functools.partial(jax.jit, static_argnums=(0, 1, 4))
def _draw_stabilizer(
    space: Space, is_center: bool, point: Array, key: Array, dtype: DType
) -> tuple[Array, Array]:
    """Matrices of samples [N m m] at a point, and of elements [M m m] of the group they are of."""
    group, keys = space.group, jax.random.split(key, 3)
    of = group if is_center else space.stabilizer
    turns = of.exp(_any_size(keys[0], of.algebra_dim, dtype))
    moves = jnp.concatenate([turns, of.sample(keys[1], (NUM_MOVES,), dtype)])
    samples = jax.vmap(space.sample_stabilizer, (0, None))(
        jax.random.split(keys[2], NUM_DRAWS), point
    )
    moves = moves if is_center else space.embed_stabilizer(moves)
    return group.matrix(samples), group.matrix(moves)


PROGRAMS: Any = (_draw_stabilizer,)
"""What is compiled here for each space."""


def _any_size(key: Array, size: int, dtype: DType) -> Array:
    """Algebra coordinates of a few elements, rotations by any angle among them."""
    return 2.0 * jax.random.normal(key, (NUM_MOVES, size), dtype)


def _moved_means(samples: Array, moves: Array) -> np.ndarray:
    """Differences of means over samples and moved ones, in standard errors [K F].

    Args:
      samples: Matrices [N m m] of the samples.
      moves: Matrices [K m m] of the elements that move them.
    """
    matrices = np.asarray(samples, np.float64)
    size = matrices.shape[-1] ** 2
    frequencies = np.random.default_rng(0).normal(size=(size, NUM_WAVES))
    frequencies[:, NUM_WAVES // 2 :] *= 3.0

    def functions(x: np.ndarray) -> np.ndarray:
        entries = x.reshape(-1, size)
        phases = entries @ frequencies
        return np.concatenate([entries, np.cos(phases), np.sin(phases)], axis=-1)

    at_rest, found = functions(matrices), []
    for move in np.asarray(moves, np.float64):
        difference = functions(move @ matrices) - at_rest
        error = difference.std(0) / np.sqrt(len(difference)) + TOLERANCES["float32"]
        found.append(np.abs(difference.mean(0)) / error)
    return np.stack(found)
