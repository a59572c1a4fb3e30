"""What tasks on atoms share: elements that a run knows, rows of one length, and examples."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np

from eqattn.data.atoms import Configurations
from eqattn.data.atoms.elements import SYMBOLS, element_symbol
from eqattn.typing import Array

__all__ = ["check_elements", "configuration_examples", "widened"]


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


def configuration_examples(configurations: Configurations) -> Iterator[dict[str, Any]]:
    """Yields configurations one at a time, without their cells.

    Args:
      configurations: The configurations.

    Yields:
      ``id`` (int), ``numbers`` [N] uint8, ``positions`` [N, 3] float64 in ångström,
      ``properties`` and ``atom_properties``: what is known of the configuration and of its atoms,
      float64 by name.
    """
    bounds = zip(configurations.offsets[:-1], configurations.offsets[1:], strict=True)
    for index, (begin, end) in enumerate(bounds):
        yield {
            "id": int(configurations.ids[index]),
            "numbers": configurations.numbers[begin:end],
            "positions": configurations.positions[begin:end],
            "properties": {name: x[index] for name, x in configurations.properties.items()},
            "atom_properties": {
                name: x[begin:end] for name, x in configurations.atom_properties.items()
            },
        }
