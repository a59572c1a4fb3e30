"""Energies of the elements, which are taken off total energies before these are learned.

Total energies are large and much alike: -309 eV of ethanol, of which the geometry changes 0.1 eV.
What the formula says of them is found by least squares, in float64, and float32 holds the rest.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from eqattn.data.atoms.configurations import Configurations
from eqattn.data.atoms.elements import SYMBOLS, element_symbol


def elements_of(configurations: Configurations) -> tuple[str, ...]:
    """Returns the symbols of the elements that occur, by atomic number.

    Args:
      configurations: Any number of them.
    """
    return tuple(element_symbol(int(number)) for number in np.unique(configurations.numbers))


def element_counts(
    configurations: Configurations, elements: Sequence[str]
) -> Float[np.ndarray, "M K"]:
    """Returns how many atoms of each of these elements configurations have.

    Args:
      configurations: Any number of them.
      elements: Symbols of elements.
    """
    counts = np.zeros((len(configurations), len(SYMBOLS) + 1))
    np.add.at(counts, (configurations.owners, configurations.numbers), 1.0)
    return counts[:, [SYMBOLS.index(symbol) + 1 for symbol in elements]]


def fit_references(
    configurations: Configurations, energies: Float[np.ndarray, "M"]
) -> dict[str, float]:
    """Returns an energy for each element, of which sums over atoms are next to the energies.

    By least squares, the smallest of several solutions: where all configurations have one formula,
    only the sum over its atoms is determined.

    Args:
      configurations: Configurations of the training split.
      energies: Energy of each configuration; NaN where it is not known.

    Raises:
      ValueError: If none is known.
    """
    known = ~np.isnan(energies)
    if not known.any():
        raise ValueError("energies: none of these configurations has a known energy (NaN).")
    elements = elements_of(configurations)
    counts = element_counts(configurations, elements)[known]
    found, *_ = np.linalg.lstsq(counts, energies[known], rcond=None)
    return dict(zip(elements, found.tolist(), strict=True))


def sum_references(
    configurations: Configurations, references: Mapping[str, float]
) -> Float[np.ndarray, "M"]:
    """Returns the sum of the references of the atoms of each configuration, in float64.

    Args:
      configurations: Configurations of these elements.
      references: Energy of each element, by its symbol.

    Raises:
      ValueError: If there is another element.
    """
    unknown = [name for name in elements_of(configurations) if name not in references]
    if unknown:
        raise ValueError(
            f"the element {unknown[0]} has no reference energy; known are {', '.join(references)}."
        )
    return element_counts(configurations, list(references)) @ np.array(list(references.values()))
