"""What models know of atoms: their elements."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Integer

from eqattn.data.atoms.elements import SYMBOLS, one_hot_table
from eqattn.tasks.molecules.targets import ELEMENTS

__all__ = ["feature_table", "features", "num_features"]

NUM_POWERS = 3


def features(
    numbers: Integer[np.ndarray, "*B N"], elements: Sequence[str] = ()
) -> Float[np.ndarray, "*B N F"]:
    """Returns the input features of atoms: the one-hot of some elements.

    Without elements they are those of arXiv:2012.10885 for H, C, N, O and F: one-hot
    x (1, Z/9, (Z/9)²), in component ``3 * element + power``. Zeros where there is no atom.

    Example:
      >>> features(np.array([1, 0]))[:, :3].round(3)
      array([[1.   , 0.111, 0.012],
             [0.   , 0.   , 0.   ]], dtype=float32)
      >>> features(np.array([16, 1]), ["H", "S"])
      array([[0., 1.],
             [1., 0.]], dtype=float32)

    Args:
      numbers: Atomic numbers, 0 for padding.
      elements: Symbols of the elements of the one-hot.

    Raises:
      ValueError: If there is another element.
    """
    numbers = np.asarray(numbers)
    table = feature_table(elements)
    inside = (numbers >= 0) & (numbers < len(table))
    found = table[np.where(inside, numbers, 0)]
    unknown = ~inside | np.isnan(found[..., 0])
    if unknown.any():
        known = ", ".join(f"{name} {SYMBOLS.index(name) + 1}" for name in elements or ELEMENTS)
        raise ValueError(
            f"numbers: unknown element with atomic number {numbers[unknown].min()}; "
            f"known are {known}."
        )
    return found


def feature_table(elements: Sequence[str] = ()) -> Float[np.ndarray, "_ F"]:
    """Returns the features of each atomic number; NaN of elements that are not known.

    Args:
      elements: Symbols of the elements of the one-hot; none for those of arXiv:2012.10885.
    """
    return one_hot_table(elements) if elements else _PUBLISHED


def num_features(elements: Sequence[str]) -> int:
    """Returns the number of components of :func:`features`.

    Args:
      elements: Symbols of the elements of the one-hot; none for those of arXiv:2012.10885.
    """
    return len(elements) or NUM_POWERS * len(ELEMENTS)


def _published() -> Float[np.ndarray, "_ 15"]:
    table = np.full((len(SYMBOLS) + 1, num_features(())), np.nan, np.float32)
    table[0] = 0.0
    for element, number in enumerate(ELEMENTS.values()):
        start = NUM_POWERS * element
        table[number] = 0.0
        table[number, start : start + NUM_POWERS] = (number / 9.0) ** np.arange(NUM_POWERS)
    return table


_PUBLISHED = _published()
