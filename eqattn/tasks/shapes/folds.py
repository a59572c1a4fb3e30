"""Parts of a labeled data set, alike in their classes and without relatives in two of them."""

import numpy as np
from jaxtyping import Int

from eqattn.checks import check_sizes


def assign_parts(
    labels: Int[np.ndarray, "M"], groups: Int[np.ndarray, "M"], num_parts: int
) -> Int[np.ndarray, "M"]:
    """Returns which part each example is in: classes evenly over the parts, groups whole.

    Group by group, the largest first and equally large ones in an order drawn once for all, each
    goes where its classes are rarest so far, and among those to the smallest part. The result
    depends on the arguments alone.

    Example:
      >>> assign_parts(np.array([0, 0, 0, 0, 1, 1]), np.array([7, 7, 2, 3, 4, 5]), 2)
      array([0, 0, 1, 1, 1, 0])

    Args:
      labels: Class of each example, from 0.
      groups: Examples of one number are relatives, and end up in one part.
      num_parts: How many parts.

    Raises:
      ValueError: If ``num_parts`` is not positive, a label is negative, or lengths differ.
    """
    check_sizes({"num_parts": num_parts})
    if labels.shape != groups.shape:
        raise ValueError(
            f"labels and groups must be equally long, got {len(labels)} and {len(groups)}."
        )
    if not labels.size:
        return np.zeros(0, np.int64)
    if labels.min() < 0:
        raise ValueError(f"labels must not be negative, got {labels.min()}.")
    _, owner, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    counts = np.zeros((len(sizes), int(labels.max()) + 1), np.int64)  # of each class in each group
    np.add.at(counts, (owner, labels), 1)
    # RandomState, because its streams are the same in every version of numpy.
    order = np.random.RandomState(0).permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    held = np.zeros((num_parts, counts.shape[1]), np.int64)
    part_of_group = np.zeros(len(sizes), np.int64)
    for group in order:
        crowding = held @ counts[group]
        part = min(range(num_parts), key=lambda p: (crowding[p], held[p].sum(), p))
        part_of_group[group] = part
        held[part] += counts[group]
    return part_of_group[owner]
