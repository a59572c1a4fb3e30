"""Trees of many small arrays as a few long vectors.

A model of a hundred small parameters makes a training state of four hundred arrays, and for a small
model handing these to the compiled step, and updating them one by one, takes as long as the
gradient. As vectors they are handed over at once and updated in a few loops. Inside of the step the
tree is cut out of them, which costs one more copy of the parameters.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from eqattn.pytrees import register_dataclass

__all__ = ["Layout", "PackedTree", "unpacked"]


@dataclass(frozen=True)
class Layout:
    """Where the arrays of a tree lie in vectors: one after the other, in the order of the tree.

    Attributes:
      structure: Structure of the tree.
      shapes: Shapes of its arrays, without the axes that vectors have, too.
      groups: Names of the vectors that the arrays lie in.
    """

    structure: Any
    shapes: tuple[tuple[int, ...], ...]
    groups: tuple[str, ...]


@register_dataclass
@dataclass(frozen=True)
class PackedTree:
    """A tree of arrays that are parts of a few vectors.

    As a tree of its own it has these vectors for leaves, so that what is elementwise is done on
    them, as an optimizer does.

    Attributes:
      vectors: The vectors [*K P] by name, or what an optimizer knows of each; axes before the last,
        such as that of the members of an ensemble, are those with which all arrays begin.
      layout: Where arrays lie in them.
    """

    vectors: dict[str, Any]
    layout: Layout = field(metadata={"static": True})

    @classmethod
    def of(cls, tree: Any, marks: Any, num_axes: int = 0) -> PackedTree:
        """Packs a tree. Arrays of different types, or marks, are put into different vectors.

        Args:
          tree: A tree of arrays.
          marks: A word for each array, in a tree of the same structure.
          num_axes: Number of axes that all arrays begin with, and vectors, too.
        """
        leaves, structure = jax.tree.flatten(tree)
        groups = tuple(
            f"{mark} {leaf.dtype}"
            for mark, leaf in zip(jax.tree.leaves(marks), leaves, strict=True)
        )
        shapes = tuple(tuple(leaf.shape[num_axes:]) for leaf in leaves)
        return cls({}, Layout(structure, shapes, groups)).like(tree)

    def like(self, tree: Any) -> PackedTree:
        """Packs another tree of the same structure and shapes, such as a gradient.

        Arrays of NumPy are packed by NumPy, which compiles nothing.

        Args:
          tree: The tree.
        """
        leaves = self.layout.structure.flatten_up_to(tree)
        parts: dict[str, list[Any]] = {}
        for leaf, shape, group in zip(leaves, self.layout.shapes, self.layout.groups, strict=True):
            first = leaf.shape[: leaf.ndim - len(shape)]
            parts.setdefault(group, []).append(leaf.reshape((*first, math.prod(shape))))
        return PackedTree({group: _joined(rows) for group, rows in parts.items()}, self.layout)

    @property
    def tree(self) -> Any:
        """The tree, cut out of the vectors."""
        ends = {group: itertools.accumulate(sizes) for group, sizes in self._sizes().items()}
        leaves = []
        for shape, group in zip(self.layout.shapes, self.layout.groups, strict=True):
            vector, end = self.vectors[group], next(ends[group])
            part = vector[..., end - math.prod(shape) : end]
            leaves.append(part.reshape((*vector.shape[:-1], *shape)))
        return self.layout.structure.unflatten(leaves)

    def _sizes(self) -> dict[str, list[int]]:
        sizes: dict[str, list[int]] = {}
        for shape, group in zip(self.layout.shapes, self.layout.groups, strict=True):
            sizes.setdefault(group, []).append(math.prod(shape))
        return sizes


def unpacked(tree: Any) -> Any:
    """Returns a tree with all that is packed in it as trees of arrays on the host.

    Args:
      tree: Any tree.
    """
    return jax.tree.map(
        lambda x: jax.tree.map(np.asarray, x).tree if isinstance(x, PackedTree) else x,
        tree,
        is_leaf=lambda x: isinstance(x, PackedTree),
    )


def _joined(rows: list[Any]) -> Any:
    xp: Any = np if all(isinstance(row, np.ndarray) for row in rows) else jnp
    return xp.concatenate(rows, axis=-1)
