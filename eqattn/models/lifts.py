"""Predictions from one or more random lifts: which keys they use, and when one must be given."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from eqattn.checks import check_key, check_sizes
from eqattn.lift import EVALUATION_SEED
from eqattn.typing import Array, Key

NEIGHBOR_STREAM = 1 << 30
"""What the lift's key is folded with for random neighbors; example ids are smaller."""


def dropout_key_of(lift_key: Key[Array, ""]) -> Key[Array, ""]:
    """The key of the dropout that goes with a lift.

    Args:
      lift_key: Key of the lift.
    """
    return jax.random.fold_in(lift_key, NEIGHBOR_STREAM + 1)


def mean_over_lifts(
    predict: Callable[[Key[Array, ""], Key[Array, ""] | None], Array],
    key: Key[Array, ""] | None,
    *,
    num_lifts: int,
    draws: bool,
    training: bool,
    source: str,
) -> Array:
    """The mean of predictions over independent lifts.

    Args:
      predict: Function of the key of a lift, and of one for random neighbors (None where no key was
        given: then they are the nearest).
      key: Random key of all draws. Without one, evaluation lifts with the fixed key
        ``jax.random.key(eqattn.lift.EVALUATION_SEED)``.
      num_lifts: Number of lifts.
      draws: Whether predictions depend on the key.
      training: Whether a missing key is then an error.
      source: What draws, for the error.

    Raises:
      TypeError: For a ``key`` that ``jax.random.key`` did not make.
      ValueError: For ``num_lifts`` below 1, or a missing key in training.
    """
    check_key(key)
    check_sizes({"num_lifts": num_lifts})
    if key is None and draws and training:
        raise ValueError(f"key must be given in training with {source}")
    given = key is not None
    key = jax.random.key(EVALUATION_SEED) if key is None else key

    def once(lift_key: Key[Array, ""]) -> Array:
        return predict(lift_key, jax.random.fold_in(lift_key, NEIGHBOR_STREAM) if given else None)

    if num_lifts == 1 or not draws:
        return once(key)
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(num_lifts))
    return jnp.mean(jax.vmap(once)(keys), axis=0)
