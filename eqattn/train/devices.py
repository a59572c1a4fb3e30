"""Spreading a training step over the devices of the process, and over parts of a batch.

Each device differentiates the sum of the losses of its own examples; sums, weights and gradients
are added up over devices and parts, and then divided once. So a step is the same on any number of
devices, up to rounding: the mean of means, which counts examples differently, is never taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from eqattn.checks import check_sizes
from eqattn.tasks import Batch
from eqattn.typing import Array

__all__ = ["DataParallel"]

AXIS = "data"

SumFn = Callable[[Any, Any, jax.Array], tuple[Array, Array]]
"""A function of parameters, a batch and a key: the sum of losses, and of their weights."""


class DataParallel:
    """Gradients of a mean loss over all devices of the process.

    Args:
      accumulate: Parts of a batch that each device takes one after the other; more need less
        memory.
      devices: The devices; by default all that the process has.

    Raises:
      ValueError: If ``accumulate`` is below 1.
    """

    def __init__(self, accumulate: int = 1, devices: Sequence[Any] | None = None):
        check_sizes({"accumulate": accumulate})
        self.accumulate = accumulate
        self.devices = list(jax.local_devices() if devices is None else devices)
        self.mesh = Mesh(np.array(self.devices), (AXIS,), axis_types=(AxisType.Auto,))

    def spread(self, batch: Batch) -> Batch:
        """Returns a batch whose rows the devices share evenly, with the "weight" of each row.

        Rows that only fill it repeat the last one, and have the weight 0; the others have that of
        the batch, or 1.

        Args:
          batch: A training batch of arrays with the same number of rows.
        """
        num_rows = len(next(iter(batch.values())))
        num_parts = len(self.devices) * self.accumulate
        rows = np.arange(-(-num_rows // num_parts) * num_parts)
        weight = (rows < num_rows).astype(np.float32)
        if len(rows) > num_rows:
            kept = np.minimum(rows, num_rows - 1)
            batch = {name: np.asarray(array)[kept] for name, array in batch.items()}
        batch = {**batch, "weight": weight * batch.get("weight", np.float32(1))}
        if len(self.devices) == 1:
            return batch
        return jax.device_put(batch, NamedSharding(self.mesh, PartitionSpec(AXIS)))

    def value_and_gradient(
        self, sum_fn: SumFn, params: Any, batch: Batch, key: jax.Array
    ) -> tuple[Array, Any]:
        """Returns the weighted mean of losses over the whole batch, and its gradient.

        Args:
          sum_fn: What each device computes of its rows.
          params: Parameters, the same on all devices.
          batch: What :meth:`spread` returned.
          key: Key of the step; draws are keyed by example, so that all devices may have it.
        """

        def work(params: Any, batch: Batch, key: jax.Array) -> tuple[Array, Any]:
            return self._of_device(sum_fn, params, batch, key)

        if len(self.devices) == 1:
            return work(params, batch, key)
        rows, whole = PartitionSpec(AXIS), PartitionSpec()
        shared = jax.shard_map(
            lambda *inputs: jax.lax.psum(work(*inputs), AXIS),
            mesh=self.mesh,
            in_specs=(whole, rows, whole),
            out_specs=whole,
            check_vma=False,
        )
        return shared(params, batch, key)

    def _of_device(
        self, sum_fn: SumFn, params: Any, batch: Batch, key: jax.Array
    ) -> tuple[Array, Any]:
        """The share that the rows of one device have in the mean and its gradient."""

        def divisor(weight: Array) -> Array:
            total = weight if len(self.devices) == 1 else jax.lax.psum(weight, AXIS)
            return jnp.where(total > 0, total, 1)

        def share(params: Any, batch: Batch, key: jax.Array) -> Array:
            part, weight = sum_fn(params, batch, key)
            return (part / divisor(jax.lax.stop_gradient(weight))).astype(part.dtype)

        if self.accumulate == 1:
            return jax.value_and_grad(share)(params, batch, key)
        sums = jax.value_and_grad(sum_fn, has_aux=True)
        parts = jax.tree.map(lambda x: x.reshape(self.accumulate, -1, *x.shape[1:]), batch)
        first, rest = (
            jax.tree.map(lambda x, cut=cut: x[cut], parts) for cut in (0, slice(1, None))
        )
        (part, weight), gradient = jax.lax.scan(
            lambda sofar, rows: (jax.tree.map(jnp.add, sofar, sums(params, rows, key)), None),
            sums(params, first, key),
            rest,
        )[0]
        total = divisor(weight)
        return jax.tree.map(lambda x: (x / total).astype(x.dtype), (part, gradient))
