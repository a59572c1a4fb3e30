"""Laws of energies, forces and stresses as rows of the certificate: of crystals, through lists."""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from eqattn.groups import SE
from eqattn.layers import Attention, MLPLocation, MultiplyLogits
from eqattn.layers.steerable import FieldLayer
from eqattn.models import FieldNetworkConfig, LieTransformerConfig, PotentialNetworkConfig
from eqattn.neighbors import NeighborList, VerletList
from eqattn.spaces import euclidean
from eqattn.typing import Array, Float

Measurement = tuple[str, float, float, float]

CUTOFF = 3.0
WEIGHTS = {
    "num_heads": 2,
    "location": MLPLocation(dim=8, num_layers=2, num_radial=6, cutoff=CUTOFF),
    "combine": MultiplyLogits(),
    "normalize": "mean",
    "cutoff": CUTOFF,
}
SPACE = euclidean(SE(3))
POTENTIALS = {
    "attention": PotentialNetworkConfig(
        atoms=LieTransformerConfig(
            space=SPACE,
            dim=8,
            num_layers=1,
            layer=Attention(**WEIGHTS),
            output="per_point",
            dtype="float64",
        )
    ),
    "fields": PotentialNetworkConfig(
        atoms=FieldNetworkConfig(
            space=SPACE,
            input_field="3x scalar",
            hidden_field="8x scalar + 4x vector",
            num_layers=1,
            layer=FieldLayer(**WEIGHTS),
            dtype="float64",
        )
    ),
}
"""What energies are certified with: a model of distances, and a network of fields."""

CELL = np.array([[4.1, 0.0, 0.0], [0.7, 3.8, 0.0], [-0.5, 0.6, 4.4]])
NUM_CRYSTALS, NUM_ATOMS, PLACES = 3, 6, 64


@functools.partial(jax.jit, static_argnums=0)
def _run(
    graph: Any,
    state: Any,
    points: Float[Array, "B N 3"],
    features: Float[Array, "B N F"],
    neighbors: NeighborList,
) -> tuple[Array, Array, Array]:
    model = nnx.merge(graph, state)
    return model.energies_forces_and_stresses(points, features, neighbors=neighbors)


PROGRAMS = (_run,)
"""What is compiled, see :func:`eqattn.certificate.rows.forget_programs`."""


def measure_potential(name: str) -> list[Measurement]:
    """Statements with largest and mean errors and bounds, in float64.

    Args:
      name: Name of one of :data:`POTENTIALS`.

    Raises:
      FloatingPointError: If an energy, force or stress is not finite.
    """
    graph, state = nnx.split(POTENTIALS[name].build(3, 1, rngs=nnx.Rngs(0)))
    shares = np.random.default_rng(3).uniform(size=(NUM_CRYSTALS, NUM_ATOMS, 3))
    points = shares @ CELL
    kinds = np.eye(3)[np.arange(NUM_ATOMS) % 3]

    def run(points: np.ndarray, cell: np.ndarray, skin: float = 0.0) -> list[np.ndarray]:
        lists = [
            VerletList(CUTOFF, skin, num_neighbors=PLACES).update(x, cell, True) for x in points
        ]
        features = np.broadcast_to(
            np.tile(kinds, (points.shape[1] // NUM_ATOMS, 1)), (*points.shape[:2], 3)
        )
        given = jnp.asarray(points), jnp.asarray(features), NeighborList.stack(lists)
        found = [np.asarray(x) for x in _run(graph, state, *given)]
        if not all(np.isfinite(x).all() for x in found):
            raise FloatingPointError(f"energies of {name!r} in a cell are not finite")
        return found

    energies, forces, stresses = run(points, CELL)
    spread = float(np.std(energies))
    element = SE(3).sample(jax.random.key(1), (), jnp.float64)
    turn = np.asarray(SE(3).linear_matrix(element))
    moved = np.asarray(SE(3).act(element, jnp.asarray(points)))
    turned = run(moved, CELL @ turn.T)
    outside = points.copy()
    outside[:, 2] += 2 * CELL[0] - CELL[2]
    corners = np.array(list(itertools.product(range(2), repeat=3))) @ CELL
    many = (points[:, None] + corners[None, :, None]).reshape(NUM_CRYSTALS, -1, 3)
    cells = run(many, 2 * CELL)[0]
    found = [
        ("crystal rotated and moved: energy, by the spread of energies",
         (turned[0] - energies) / spread, 1e-12),
        ("the same: forces turn, in eV/Å", turned[1] - forces @ turn.T, 1e-12),
        ("an atom moved by a lattice vector: energy, by the spread",
         (run(outside, CELL)[0] - energies) / spread, 1e-12),
        ("list with a skin of 1 Å: energy, by the spread",
         (run(points, CELL, 1.0)[0] - energies) / spread, 1e-12),
        ("2×2×2 supercell: energy, by 8 times that of the cell",
         (cells / 8 - energies) / np.abs(energies), 1e-10),
    ]  # fmt: skip
    direction, step = np.random.default_rng(1).normal(size=points.shape), 1e-5
    ahead, behind = (run(points + s * step * direction, CELL)[0] for s in (1, -1))
    slopes = -(ahead - behind) / (2 * step) - np.sum(forces * direction, axis=(1, 2))
    found.append(("forces against central differences, in eV/Å", slopes, 1e-7))
    strain, step = np.random.default_rng(2).normal(size=(3, 3)), 1e-4
    strain = strain + strain.T
    ahead, behind = (
        run(points @ (np.eye(3) + s * step * strain), CELL @ (np.eye(3) + s * step * strain))[0]
        for s in (1, -1)
    )
    # Σ σ_ab ε_ab: what is off the diagonal stands once in Voigt's order, and twice in the sum.
    by_voigt = strain[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]] * np.array([1, 1, 1, 2, 2, 2])
    volume = abs(np.linalg.det(CELL))
    slopes = (ahead - behind) / (2 * step * volume) - stresses @ by_voigt
    found.append(("stresses against strained crystals, in eV/Å³", slopes, 1e-6))
    return [
        (text, float(np.abs(error).max()), float(np.abs(error).mean()), bound)
        for text, error, bound in found
    ]
