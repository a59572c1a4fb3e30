"""Arrays that are spread over the devices of a mesh.

The type of an array that lies on a mesh knows it, under ``jit`` too. Where the axes of the mesh are
``Auto``, XLA decides how each array is split; a loop over examples, or a reshape that joins them
with something else, would make it gather the whole batch on every device. :func:`on_each_part`
keeps the parts of a batch apart, so that each device goes through its own. Where axes are
``Explicit``, the type says how an array is split, and most reshapes are refused:
:func:`on_any_mesh` lets a function see automatic axes instead.
"""

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from eqattn.typing import Array

P = ParamSpec("P")
T = TypeVar("T")


def num_parts(arrays: Any, size: int) -> int:
    """Number of equal parts of a batch that devices may hold.

    Args:
      arrays: Arrays that say by their types on which mesh they lie.
      size: Number of examples.

    Returns:
      The largest divisor of ``size`` that the devices of the mesh can share evenly, as far as the
      mesh is still to be split: 1 on one device, and under ``jax.shard_map`` and ``jax.pmap``.
    """
    for leaf in jax.tree.leaves(arrays):
        mesh = jax.typeof(leaf).sharding.mesh
        if not mesh.empty:
            sizes = zip(mesh.axis_sizes, mesh.axis_types, strict=True)
            return math.gcd(size, math.prod(n for n, kind in sizes if kind != AxisType.Manual))
    return 1


def share_of_device(arrays: Any, size: int) -> int:
    """Number of examples of a batch that each device may have; see :func:`num_parts`.

    Args:
      arrays: Arrays that say by their types on which mesh they lie.
      size: Number of examples.
    """
    return size // num_parts(arrays, size)


def on_each_part(function: Callable[..., Array], *arrays: Any) -> Array:
    """A function of a batch [B ...], applied to each part of it that a device may hold.

    Args:
      function: Function of a batch of any size, whose result does not depend on which examples are
        in it together.
      *arrays: Arguments of the function: trees of arrays [B ...].
    """
    size = jax.tree.leaves(arrays)[0].shape[0]
    parts = num_parts(arrays, size)
    if parts <= 1:
        return function(*arrays)
    split = jax.tree.map(lambda x: x.reshape(parts, size // parts, *x.shape[1:]), arrays)
    out = jax.vmap(function)(*split)
    return out.reshape(size, *out.shape[2:])


def on_any_mesh(name: str, num_axes: int) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Makes a function of batches work on meshes with explicit axes.

    It then runs with automatic axes; its results are split over the batch as its inputs are. What
    it closes over is not seen: an array on the mesh must be in an argument, as that of a registered
    dataclass if it belongs to a function.

    Args:
      name: Name of the argument that has the batch in front; of a pytree, its first leaf has.
      num_axes: Number of axes that follow the batch in that argument.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        position = list(inspect.signature(function).parameters).index(name)

        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> T:
            leaves, tree = jax.tree.flatten((args, kwargs))
            places = [i for i, leaf in enumerate(leaves) if _is_explicit(leaf)]
            if not places:
                return function(*args, **kwargs)
            given = args[position] if position < len(args) else kwargs.get(name)
            batch = _batch_shape(given, num_axes)

            def body(*arrays: Array) -> Any:
                filled = dict(enumerate(leaves)) | dict(zip(places, arrays, strict=True))
                words: Any = jax.tree.unflatten(tree, filled.values())
                return cast(Any, function)(*words[0], **words[1])

            split = [jax.typeof(leaves[i]).sharding for i in places]
            mesh, spec = split[0].mesh, PartitionSpec()
            for i, sharding in zip(places, split, strict=True):
                own = sharding.spec[: len(batch)]
                if leaves[i].shape[: len(batch)] == batch and any(axis is not None for axis in own):
                    spec = PartitionSpec(*own)
                    break
            placed: Any = NamedSharding(mesh, spec)
            axes = tuple(mesh.explicit_axes)
            run_there: Any = jax.sharding.auto_axes(body, axes=axes, out_sharding=placed)
            return run_there(*(leaves[i] for i in places))

        return run

    return decorate


def _batch_shape(given: Any, num_axes: int) -> tuple[int, ...]:
    """The leading axes of an argument, without so many at the end."""
    first = next(iter(jax.tree.leaves(given)), None)
    shape = jnp.shape(given if first is None or jnp.ndim(first) == 0 else first)
    return shape[: max(0, len(shape) - num_axes)]


def _is_explicit(x: Any) -> bool:
    """Whether it is an array whose type says how it is split."""
    return isinstance(x, jax.Array) and bool(jax.typeof(x).sharding.mesh.explicit_axes)
