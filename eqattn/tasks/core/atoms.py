"""What tasks on atoms share: elements that a run knows, and rows of one length."""

from __future__ import annotations

import os
from collections.abc import Iterable

import jax.numpy as jnp
import numpy as np

from eqattn.data.atoms import Configurations
from eqattn.data.atoms.elements import SYMBOLS, element_symbol
from eqattn.typing import Array

__all__ = ["check_elements", "widened"]


def check_elements(
    where: str | os.PathLike[str],
    configurations: Configurations,
    elements: Iterable[str],
    *,
    kind: str = "configuration",
) -> None:
    """Makes sure that a run knows all elements of some configurations.

    Args:
      where: Where they come from, for the message.
      configurations: What a model is to take.
      elements: Symbols of the elements that the run knows.
      kind: What a configuration is called in the message.

    Raises:
      ValueError: If one holds another element.
    """
    known = list(elements)
    is_known = np.isin(configurations.numbers, [SYMBOLS.index(symbol) + 1 for symbol in known])
    if not is_known.all():
        atom = int(np.argmin(is_known))
        number = configurations.ids[configurations.owners[atom]]
        raise ValueError(
            f"{where}: {kind} {number} holds the element "
            f"{element_symbol(int(configurations.numbers[atom]))}, which the run does not know; it "
            f"was trained on {', '.join(known)}."
        )


def widened(x: Array, num_points: int) -> Array:
    """Returns rows of atoms that are filled to one length, whatever that of their batch.

    Args:
      x: Values [B, N, …].
      num_points: The length.
    """
    missing = num_points - x.shape[1]
    return jnp.pad(jnp.asarray(x), [(0, 0), (0, missing), *[(0, 0)] * (x.ndim - 2)])
