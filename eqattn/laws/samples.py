"""Laws of random elements: Haar where they should be, and nowhere confined.

Haar samples are those that no element of the group changes in distribution. So the means of
functions over samples g, and over moved samples u g, must agree, up to their standard errors: for
the entries of the matrices of g, and for waves of them, which see what no low moment does (such as
samples of a finite group).
"""

from collections.abc import Callable

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
      group: the group.
      key: for the samples.
      dtype: of the samples.

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
        log = wide(group.log)(sampler(draw_key, (NUM_FEW,), dtype))
        spread = np.linalg.svd(log - log.mean(0), compute_uv=False) / np.sqrt(NUM_FEW)
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
            found[f"{name} is Haar"] = _moved_means(wide(group.matrix), g, moves)
        elif has_turns:
            found["rotations of sample_bounded are Haar"] = _moved_means(
                wide(group.linear_matrix), g, moves
            )
    return found


def stabilizer_sample_laws(
    space: Space, point: Array, key: Key[Array, ""], dtype: DType
) -> dict[str, np.ndarray]:
    """Errors of the laws of ``sample_stabilizer``, in standard errors.

    Args:
      space: the space, with a compact stabilizer.
      point: in general position.
      key: for the samples.
      dtype: of the samples.
    """
    keys = jax.random.split(key, 5)
    group, stabilizer = space.group, space.stabilizer

    def moves(group: LieGroup, exp_key: Array, sample_key: Array) -> Array:
        turns = group.exp(_any_size(exp_key, group.algebra_dim, dtype))
        return jnp.concatenate([turns, group.sample(sample_key, (NUM_MOVES,), dtype)])

    inside = space.embed_stabilizer(moves(stabilizer, keys[0], keys[1]))
    draw = jax.vmap(space.sample_stabilizer, (0, None))
    many, matrix = jax.random.split(keys[2], NUM_DRAWS), wide(group.matrix)
    found = {"samples of the stabilizer are Haar": _moved_means(matrix, draw(many, point), inside)}
    center = jnp.zeros_like(point)
    if space.has_exceptional_orbits and group.is_compact and not space.unliftable(center):
        found["samples at the exceptional origin are Haar"] = _moved_means(
            matrix, draw(many, center), moves(group, keys[3], keys[4])
        )
    return found


def _any_size(key: Array, size: int, dtype: DType) -> Array:
    """Algebra coordinates of a few elements, rotations by any angle among them."""
    return 2.0 * jax.random.normal(key, (NUM_MOVES, size), dtype)


def _moved_means(matrix: Callable[[Array], np.ndarray], samples: Array, moves: Array) -> np.ndarray:
    """Differences of means over samples [N E] and moved ones, in standard errors [K F]."""
    matrices = matrix(samples)
    size = matrices.shape[-1] ** 2
    frequencies = np.random.default_rng(0).normal(size=(size, NUM_WAVES))
    frequencies[:, NUM_WAVES // 2 :] *= 3.0

    def functions(x: np.ndarray) -> np.ndarray:
        entries = x.reshape(-1, size)
        phases = entries @ frequencies
        return np.concatenate([entries, np.cos(phases), np.sin(phases)], axis=-1)

    at_rest, found = functions(matrices), []
    for move in matrix(moves):
        difference = functions(move @ matrices) - at_rest
        error = difference.std(0) / np.sqrt(len(difference)) + TOLERANCES["float32"]
        found.append(np.abs(difference.mean(0)) / error)
    return np.stack(found)
