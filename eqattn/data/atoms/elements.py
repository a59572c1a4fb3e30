"""The chemical elements, and how files name them."""

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

SYMBOLS = (
    "H", "He", "Li", "Be", "B", "C", "N", "O", "F", "Ne", "Na", "Mg", "Al", "Si", "P", "S", "Cl",
    "Ar", "K", "Ca", "Sc", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn", "Ga", "Ge", "As",
    "Se", "Br", "Kr", "Rb", "Sr", "Y", "Zr", "Nb", "Mo", "Tc", "Ru", "Rh", "Pd", "Ag", "Cd", "In",
    "Sn", "Sb", "Te", "I", "Xe", "Cs", "Ba", "La", "Ce", "Pr", "Nd", "Pm", "Sm", "Eu", "Gd", "Tb",
    "Dy", "Ho", "Er", "Tm", "Yb", "Lu", "Hf", "Ta", "W", "Re", "Os", "Ir", "Pt", "Au", "Hg", "Tl",
    "Pb", "Bi", "Po", "At", "Rn", "Fr", "Ra", "Ac", "Th", "Pa", "U", "Np", "Pu", "Am", "Cm", "Bk",
    "Cf", "Es", "Fm", "Md", "No", "Lr", "Rf", "Db", "Sg", "Bh", "Hs", "Mt", "Ds", "Rg", "Cn", "Nh",
    "Fl", "Mc", "Lv", "Ts", "Og",
)  # fmt: skip
"""Symbols by atomic number, of which the first is 1."""

_NUMBERS = {symbol: number for number, symbol in enumerate(SYMBOLS, start=1)} | {"D": 1, "T": 1}
_LABEL = re.compile(r"([1-9][0-9]{0,2})?([A-Za-z]{1,2})([0-9]*)")
_NUMBER = re.compile(r"[1-9][0-9]{0,2}")


def atomic_number(word: str) -> int:
    """Returns the atomic number that a word of a file stands for.

    It is the number itself; or a symbol in any case of letters, perhaps with a mass number before
    it or the number of the atom behind it. D and T are hydrogen.

    Example:
      >>> [atomic_number(word) for word in ("6", "C", "cl", "C1", "13C", "D")]
      [6, 6, 17, 6, 6, 1]

    Args:
      word: Letters of the word, without white space.

    Raises:
      ValueError: If it is no element.
    """
    if _NUMBER.fullmatch(word) and int(word) <= len(SYMBOLS):
        return int(word)
    match = _LABEL.fullmatch(word)
    number = _NUMBERS.get(match[2].capitalize()) if match else None
    if match is None or number is None:
        raise ValueError(f"unknown element {word[:60]!r}")
    # No nucleus has fewer nucleons than protons, or three times as many but tritium.
    if match[1] and not number <= int(match[1]) <= 3 * number:
        raise ValueError(f"unknown element {word[:60]!r}: there is no such isotope")
    return number


def element_symbol(number: int) -> str:
    """Returns the symbol of an element.

    Args:
      number: Atomic number, from 1 to 118.
    """
    return SYMBOLS[number - 1]


def one_hot_table(elements: Sequence[str]) -> Float[np.ndarray, "_ K"]:
    """Returns a row for each atomic number: the one-hot of these elements.

    Row 0, of padding, is zeros; those of other elements are NaN.

    Args:
      elements: Symbols of K elements.

    Raises:
      ValueError: If one is unknown.
    """
    for symbol in elements:
        if symbol not in SYMBOLS:
            raise ValueError(f"elements: {symbol!r} is unknown.")
    table = np.full((len(SYMBOLS) + 1, len(elements)), np.nan, np.float32)
    table[[0, *(_NUMBERS[symbol] for symbol in elements)]] = np.eye(
        len(elements) + 1, len(elements), -1
    )
    return table
