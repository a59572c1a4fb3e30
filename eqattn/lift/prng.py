"""Keys of random draws: one for each example and point, whatever else is in the batch."""

import jax
import jax.numpy as jnp

from eqattn.typing import Array, Int, Key

EVALUATION_SEED = 0
"""Seed of the key that models use in evaluation when they are given none."""


def check_example_ids(example_ids: Int[Array, "*B"] | None, batch: tuple[int, ...]) -> None:
    """Makes sure that there is one identity of each example.

    Args:
      example_ids: Identity of each example, or None.
      batch: Shape of the batch.

    Raises:
      TypeError: For ``example_ids`` that are no integers.
      ValueError: For ``example_ids`` of another shape than the batch.
    """
    if example_ids is None:
        return
    ids = jnp.asarray(example_ids)
    if not jnp.issubdtype(ids.dtype, jnp.integer):
        raise TypeError(f"example_ids must be integers, got {ids.dtype}")
    if ids.shape != batch:
        raise ValueError(f"example_ids must have shape {batch}, got {ids.shape}")


def point_keys(
    key: Key[Array, ""],
    batch: tuple[int, ...],
    indices: Int[Array, " N"],
    example_ids: Int[Array, "*B"] | None = None,
) -> Key[Array, "..."]:
    """A key for each point [*B N]: the given one, folded with the example's id and the index.

    Args:
      key: Random key of all draws.
      batch: Shape of the batch.
      indices: Indices of the points.
      example_ids: Identity of each example; 0 by default.

    Raises:
      TypeError: For ``example_ids`` that are no integers.
      ValueError: For ``example_ids`` of another shape than the batch.
    """
    ids = jnp.zeros(batch, jnp.int32) if example_ids is None else jnp.asarray(example_ids)
    check_example_ids(ids, batch)

    def of_example(example_id: Array) -> Array:
        example_key = jax.random.fold_in(key, example_id)
        return jax.vmap(lambda i: jax.random.fold_in(example_key, i))(indices)

    fold = of_example
    for _ in batch:
        fold = jax.vmap(fold)
    return fold(ids)
