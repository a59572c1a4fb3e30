"""Draws how an atom leaves the sight of others: ``.venv/bin/python -m benchmarks.cutoff_figure``.

``cutoff.png``: energy, force and curvature along the way of a hydrogen atom that is taken away from
ethanol, across the cutoff of a field network, and the same with neighbors that are listed up to
that distance and no envelope. Parameters are random, and all is in float64: what is drawn is how
smooth the architecture is, and energies are in a unit of its own.
"""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from flax import nnx
from matplotlib import pyplot as plt
from PIL import Image

from benchmarks.concept_figures import ACCENT, FOLDER, GRAY, INK, LIGHT
from eqattn.data.atoms.elements import one_hot_table
from eqattn.layers.steerable import FieldLayer
from eqattn.models import FieldNetworkConfig, PotentialNetwork, PotentialNetworkConfig
from eqattn.neighbors import NeighborList, find_edges
from eqattn.tasks.forces.data import load
from eqattn.tasks.forces.presets import FIELDS

CUTOFF = 5.0
"""Distance in ångström from which on atoms do not see each other."""
ELEMENTS = ("H", "C", "O")


class Scan(NamedTuple):
    """Numbers along a way, by the place of the atom on it.

    Attributes:
      energies: Energies, in the unit of the model.
      forces: Forces along the way, in it per ångström.
      curvatures: Second derivatives of the energies, in it per square ångström.
    """

    energies: np.ndarray
    forces: np.ndarray
    curvatures: np.ndarray


class Way:
    """A hydrogen atom that is taken away from the first embedded frame of ethanol."""

    def __init__(self):
        whole = load("ethanol")[np.array([0])]
        rest = whole.positions - whole.positions.mean(axis=0)
        self.direction = np.array([0.36, 0.48, 0.8])
        self._positions = np.concatenate([rest, np.zeros((1, 3))])
        self.features = one_hot_table(ELEMENTS)[np.append(whole.numbers, 1)]

    def positions(self, place: float) -> np.ndarray:
        """All atoms, with the last so many ångström from the centroid of the others."""
        result = self._positions.copy()
        result[-1] = place * self.direction
        return result

    def crossings(self) -> np.ndarray:
        """Where the atom is at the cutoff from another one, in increasing order."""
        along = self._positions[:-1] @ self.direction
        aside = np.sum(self._positions[:-1] ** 2, axis=1) - along**2
        return np.sort(along + np.sqrt(CUTOFF**2 - aside))


def networks(
    hidden_field: str = "16x scalar + 8x vector", num_layers: int = 2
) -> tuple[PotentialNetwork, PotentialNetwork]:
    """A network with an envelope up to the cutoff, and one of the same parameters without it."""
    preset = FIELDS.model.network
    assert isinstance(preset, FieldNetworkConfig)
    assert isinstance(preset.layer, FieldLayer)

    def built(cutoff: float | None) -> PotentialNetwork:
        config: Any = PotentialNetworkConfig(atoms=preset).replace_network(
            hidden_field=hidden_field,
            num_layers=num_layers,
            layer=dataclasses.replace(preset.layer, cutoff=cutoff),
            dtype="float64",
        )
        return config.build(len(ELEMENTS), 1, rngs=nnx.Rngs(0))

    return built(CUTOFF), built(None)


def scan(model: PotentialNetwork, way: Way, places: np.ndarray, listed: float | None) -> Scan:
    """Energies along a way, and their derivatives by the place.

    Args:
      model: The model.
      way: The way.
      places: Places on it, in ångström.
      listed: Distance up to which neighbors are listed; None where a model needs no list.
    """
    features, direction = jnp.asarray(way.features), jnp.asarray(way.direction)
    points = np.stack([way.positions(place) for place in places])
    neighbors = None if listed is None else _lists(points, listed)

    def of_one(points: jax.Array, neighbors: NeighborList | None) -> tuple[jax.Array, ...]:
        def energy(shift: jax.Array) -> jax.Array:
            moved = points.at[-1].add(shift * direction)
            return model(moved, features, neighbors=neighbors)[0]

        def slope(shift: jax.Array) -> tuple[jax.Array, jax.Array]:
            value, change = jax.jvp(energy, (shift,), (jnp.ones_like(shift),))
            return change, value

        zero = jnp.zeros((), points.dtype)
        change, curvature, value = jax.jvp(slope, (zero,), (jnp.ones_like(zero),), has_aux=True)
        return value, -change, curvature

    found = jax.jit(jax.vmap(of_one))(jnp.asarray(points), neighbors)
    return Scan(*(np.asarray(x) for x in found))


def _lists(points: np.ndarray, distance: float) -> NeighborList:
    """Lists of all pairs up to a distance, of one width."""
    num = points.shape[1]
    rows = []
    for one in points:
        edges = find_edges(one, distance)
        rows.append(NeighborList.from_edges(edges.senders, edges.receivers, num, num_neighbors=num))
    return jax.tree.map(lambda *x: jnp.stack(x), *rows)


def main(path: Path = FOLDER / "cutoff.png", num_places: int = 400) -> None:
    """Writes the figure.

    Args:
      path: Where to.
      num_places: Number of places of the atom.
    """
    mpl.use("Agg")
    way = Way()
    crossings = way.crossings()
    places = np.linspace(crossings[0] - 1.0, crossings[-1] + 0.5, num_places)
    with jax.enable_x64(True):
        smooth, bare = networks()
        curves = {
            (f"listed up to {CUTOFF:g} Å, no envelope", GRAY): scan(bare, way, places, CUTOFF),
            ("envelope of the layer", ACCENT): scan(smooth, way, places, None),
        }
    figure, axes = plt.subplots(1, 3, figsize=(9.6, 3.5), layout="constrained", dpi=100)
    for ax, name, unit in zip(axes, Scan._fields, ("", " / Å", " / Å²"), strict=True):
        for place in crossings:
            ax.axvline(place, color=LIGHT, lw=0.8)
        for (label, color), found in curves.items():
            values = getattr(found, name)
            ax.plot(places, values - values[-1], ".", color=color, ms=2.5, label=label)
        ax.set_title(name, loc="left", fontsize=10.5, color=INK)
        ax.set(xlabel="distance from the centroid [Å]", ylabel=f"model's unit{unit}")
        ax.spines[["top", "right"]].set_visible(False)
    figure.legend(
        *axes[0].get_legend_handles_labels(),
        loc="outside upper right",
        ncols=2,
        frameon=False,
        markerscale=4,
    )
    figure.savefig(path, facecolor="white")
    with Image.open(path) as image:  # a third of the size in 64 colors
        few = image.convert("RGB").quantize(64)
    few.save(path, optimize=True)


if __name__ == "__main__":
    main()
