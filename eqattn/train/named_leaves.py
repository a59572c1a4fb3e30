"""Trees of arrays as flat dictionaries with readable names, for checkpoints and masks.

A name is the path of a leaf, such as ``blocks/0/attention/query/kernel``. Files written this way
depend neither on the order in which a tree is flattened nor on the classes it is made of, and a
checkpoint of another model is one clear error that names the first difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from eqattn.train.packing import PackedTree, unpacked

__all__ = ["from_named", "leaf_names", "to_named"]

Tree = TypeVar("Tree")


def leaf_names(tree: Tree) -> Tree:
    """Returns a tree of the same structure whose leaves are their own names.

    Example:
      >>> leaf_names({"a": [1.0, 2.0]})
      {'a': ['a/0', 'a/1']}

    Args:
      tree: Any pytree; the trailing ``value`` of Flax variables is left out.
    """
    return jax.tree_util.tree_map_with_path(lambda path, _: _name(path), tree)


def to_named(tree: Any) -> dict[str, np.ndarray]:
    """Returns copies of the leaves on the host, by name; PRNG keys as their raw words.

    Args:
      tree: Any pytree of arrays. What is packed has the names of the arrays in it.
    """
    leaves = jax.tree_util.tree_flatten_with_path(unpacked(tree))[0]
    # A copy: on CPU the host array may share memory with a buffer that the next step donates.
    return {_name(path): np.array(_raw(leaf)) for path, leaf in leaves}


def from_named(template: Tree, named: Mapping[str, np.ndarray], where: str) -> Tree:
    """Returns the tree with the template's structure and the named values.

    Args:
      template: A tree of arrays (or shapes) with the structure, shapes and types to restore.
      named: What :func:`to_named` returned.
      where: What to call the source in messages.

    Raises:
      ValueError: If a name is missing or unknown, or a shape or type differs; the message says
        which.
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(unpacked(template))
    expected = {_name(path): leaf for path, leaf in leaves}
    missing = next((name for name in expected if name not in named), None)
    unknown = next((name for name in named if name not in expected), None)
    if missing is not None or unknown is not None:
        difference = f"lacks {missing!r}" if missing is not None else f"holds {unknown!r}"
        raise ValueError(f"{where} is of another model: it {difference}.")
    restored = jax.tree_util.tree_unflatten(
        structure, [_restore(leaf, named[name], name, where) for name, leaf in expected.items()]
    )
    return jax.tree.map(
        _packed_again, template, restored, is_leaf=lambda x: isinstance(x, PackedTree)
    )


def _packed_again(template: Any, restored: Any) -> Any:
    if not isinstance(template, PackedTree):
        return restored
    packed = template.like(jax.tree.map(np.asarray, restored))
    return jax.tree.map(jnp.asarray, packed)


def _name(path: Any) -> str:
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    return name.removesuffix("/value")


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _raw(leaf: Any) -> Any:
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _restore(leaf: Any, value: np.ndarray, name: str, where: str) -> jax.Array:
    expected = jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf
    if tuple(value.shape) != tuple(expected.shape):
        raise ValueError(
            f"{where} is of another model: {name!r} has shape {tuple(value.shape)}, "
            f"this model's has {tuple(expected.shape)}."
        )
    if value.dtype != expected.dtype:
        raise ValueError(
            f"{where}: {name!r} is {value.dtype}, this model's is {expected.dtype}"
            " (float64 needs --x64, or jax_enable_x64)."
        )
    array = jnp.asarray(value)
    return jax.random.wrap_key_data(array) if _is_key(leaf) else array
