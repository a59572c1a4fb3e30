"""Charged or heavy particles in space: the data set of the task "nbody", made here.

N particles with charges c = ±1 (or masses) move in R³ under

    d²x_i/dt² = Σ_j c_i c_j (x_i - x_j) / |x_i - x_j|³,

or, with the interaction ``"gravity"``, of masses c between 0.5 and 1.5, under -Σ_j c_j (x_i - x_j)
/ |x_i - x_j|³. Accelerations are cut off at ±100 in each component, and steps are 0.001. Particles
start at positions ~ N(0, 1) (N/5)^(1/3) with velocities of norm 0.5 in random directions. What is
known of a system is its state after 3,100 steps; what is asked for are the positions 1,000 steps
later. All quantities are dimensionless.

Charges are the published benchmark, number by number: the same legacy draws of NumPy in the same
order, seed 43 by default, draws that are multiplied by zero included, of 10,000 systems for
training, of which the first are used, then 2,000 for validation and 2,000 for the test.

References:
  Satorras et al., "E(n) equivariant graph neural networks", arXiv:2102.09844; Kipf et al., "Neural
  relational inference", arXiv:1802.04687.
"""

import dataclasses
import functools
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from eqattn.checks import check_option, check_sizes
from eqattn.data.cache import cache_folder, save_arrays

logger = logging.getLogger("eqattn")

Interaction = Literal["charges", "gravity"]
DRAWN = {"train": 10_000, "validation": 2_000, "test": 2_000}
"""Systems that are drawn of each split, in this order, however many are used."""
FIRST_STEP, NUM_STEPS = 3_100, 1_000
STEP = 0.001
LARGEST_FORCE = 100.0
_SAVED = 49  # states that the published code saves of a system, for each of which it draws noise
_BOX, _SPEED = 5.0, 0.5
_CACHE_VERSION = 1
_LARGEST_SEED = 2**32


@dataclass(frozen=True, eq=False)
class Systems:
    """States of M systems of N particles, at two times; see the top of this file.

    Attributes:
      ids: Number of each system within its split.
      charges: Charges of the particles, or masses.
      positions: Positions at the first time.
      velocities: Velocities at the first time.
      targets: Positions at the second time.
    """

    ids: Int[np.ndarray, "M"]
    charges: Float[np.ndarray, "M N"]
    positions: Float[np.ndarray, "M N 3"]
    velocities: Float[np.ndarray, "M N 3"]
    targets: Float[np.ndarray, "M N 3"]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, indices: Int[np.ndarray, "B"] | slice) -> "Systems":
        """Returns the systems at these places, in this order."""
        return Systems(**{name: array[indices] for name, array in _arrays(self).items()})


def generate(
    num_systems: int,
    *,
    split: str = "train",
    num_bodies: int = 5,
    interaction: Interaction = "charges",
    seed: int = 43,
) -> Systems:
    """Returns the first systems of a split: the definition of the data set.

    Args:
      num_systems: How many, at most as many as are drawn (see :data:`DRAWN`).
      split: "train", "validation" or "test".
      num_bodies: Number of particles.
      interaction: Whether particles have charges, or masses that attract.
      seed: Seed of the whole data set.

    Raises:
      ValueError: If a number is out of range, or there is no such split or interaction.
    """
    check_sizes({"num_systems": num_systems})
    check_sizes({"num_bodies": num_bodies}, minimum=2)
    check_option("interaction", interaction, Interaction)
    if split not in DRAWN:
        raise ValueError(f"split must be one of {tuple(DRAWN)}, got {split!r}")
    if num_systems > DRAWN[split]:
        raise ValueError(
            f"num_systems must be at most {DRAWN[split]} for the split {split!r}, got {num_systems}"
        )
    if not 0 <= seed < _LARGEST_SEED:
        raise ValueError(f"seed must be in [0, 2**32), got {seed}")
    arrays = _starts(num_bodies, interaction, seed)[split]
    charges, positions, velocities = (array[:num_systems] for array in arrays)
    strengths = charges[:, :, None] * charges[:, None, :]
    if interaction == "gravity":
        strengths = np.broadcast_to(-charges[:, None, :], strengths.shape)
    positions, velocities = _integrate(strengths, positions, velocities, FIRST_STEP)
    targets, _ = _integrate(strengths, positions, velocities, NUM_STEPS)
    return Systems(np.arange(num_systems), charges, positions, velocities, targets)


def examples(num_systems: int, **options: Any) -> Iterator[dict[str, Any]]:
    """Yields the systems of :func:`generate` one at a time.

    Args:
      num_systems: How many.
      **options: Further arguments of :func:`generate`.

    Yields:
      ``id`` (int), ``charges`` [N], ``positions``, ``velocities`` and ``targets`` [N, 3], all
      float64.

    Raises:
      ValueError: As :func:`generate`.
    """
    systems = generate(num_systems, **options)
    for index in range(num_systems):
        example = {name: array[index] for name, array in _arrays(systems).items()}
        example["id"] = int(example.pop("ids"))
        yield example


def load(
    num_systems: int,
    *,
    split: str = "train",
    num_bodies: int = 5,
    interaction: Interaction = "charges",
    seed: int = 43,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Systems:
    """Returns what :func:`generate` does, from a cache where there is one.

    Args:
      num_systems: How many.
      split: "train", "validation" or "test".
      num_bodies: Number of particles.
      interaction: Whether particles have charges, or masses that attract.
      seed: Seed of the whole data set.
      cache_dir: Folder for the cache; by default ``$EQATTN_DATA`` or ``~/.cache/eqattn``.

    Raises:
      ValueError: As :func:`generate`.
    """
    name = f"nbody-{interaction}{num_bodies}-{split}-{num_systems}-seed{seed}-v{_CACHE_VERSION}.npz"
    path = cache_folder(cache_dir) / name
    if path.is_file():
        try:
            return _read(path, num_systems, num_bodies)
        except (OSError, ValueError, KeyError, EOFError) as error:
            logger.warning("making the cache again: %s cannot be read (%s)", path, error)
    systems = generate(
        num_systems, split=split, num_bodies=num_bodies, interaction=interaction, seed=seed
    )
    try:
        save_arrays(path, _arrays(systems))
    except OSError as error:
        logger.warning("cannot write the cache %s (%s); going on without it", path, error)
    return systems


def _arrays(systems: Systems) -> dict[str, np.ndarray]:
    return {field.name: getattr(systems, field.name) for field in dataclasses.fields(systems)}


@functools.lru_cache(maxsize=4)
def _starts(
    num_bodies: int, interaction: Interaction, seed: int
) -> dict[str, tuple[np.ndarray, ...]]:
    """Charges, positions and velocities of all systems at their start, by split."""
    random = np.random.RandomState(seed)
    draws = {
        split: [_draw(random, num_bodies, interaction) for _ in range(number)]
        for split, number in DRAWN.items()
    }
    return {split: tuple(map(np.stack, zip(*rows, strict=True))) for split, rows in draws.items()}


def _draw(
    random: np.random.RandomState, num_bodies: int, interaction: Interaction
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One system, by the published draws in their order."""
    if interaction == "charges":
        types, shares = np.array([-1.0, 0.0, 1.0]), [0.5, 0.0, 0.5]
        charges = random.choice(types, size=(num_bodies, 1), p=shares)
    else:
        charges = random.uniform(0.5, 1.5, (num_bodies, 1))
    positions = random.randn(3, num_bodies) * (num_bodies / 5.0) ** (1 / 3)
    velocities = random.randn(3, num_bodies)
    velocities = velocities * _SPEED / np.sqrt((velocities**2).sum(axis=0))
    for _ in range(2):
        random.randn(_SAVED, 3, num_bodies)  # noise of observations, times zero
    over, under = positions > _BOX, positions < -_BOX
    velocities = np.where(over, -np.abs(velocities), velocities)
    velocities = np.where(under, np.abs(velocities), velocities)
    positions = np.where(over, 2 * _BOX - positions, positions)
    positions = np.where(under, -2 * _BOX - positions, positions)
    return charges[:, 0], positions.T, velocities.T


def _integrate(
    strengths: Float[np.ndarray, "M N N"],
    positions: Float[np.ndarray, "M N 3"],
    velocities: Float[np.ndarray, "M N 3"],
    num_steps: int,
) -> tuple[Float[np.ndarray, "M N 3"], Float[np.ndarray, "M N 3"]]:
    """Returns the states after a number of steps."""
    import jax
    import jax.numpy as jnp

    with jax.enable_x64(True):
        arrays = (jnp.asarray(x) for x in (strengths, positions, velocities))
        positions, velocities = map(np.asarray, _integrator()(*arrays, num_steps))
    return positions, velocities


@functools.cache
def _integrator() -> Callable[..., Any]:
    """Returns the jitted map from states to states; to be called with x64 enabled.

    Each step changes velocities by the forces, and then positions by the velocities.
    """
    import jax
    import jax.numpy as jnp

    def run(strengths: Any, positions: Any, velocities: Any, num_steps: Any) -> Any:
        def step(_: Any, state: Any) -> Any:
            x, v = state
            differences = [x[..., i][:, :, None] - x[..., i][:, None, :] for i in range(3)]
            squares = sum(d * d for d in differences)
            itself = jnp.eye(x.shape[1], dtype=bool)
            factors = jnp.where(itself, 0.0, strengths / jnp.where(itself, 1.0, squares) ** 1.5)
            forces = jnp.stack([jnp.sum(factors * d, axis=-1) for d in differences], axis=-1)
            v = v + STEP * jnp.clip(forces, -LARGEST_FORCE, LARGEST_FORCE)
            return x + STEP * v, v

        return jax.lax.fori_loop(0, num_steps, step, (positions, velocities))

    return jax.jit(run)


def _read(path: os.PathLike[str], num_systems: int, num_bodies: int) -> Systems:
    with np.load(path, allow_pickle=False) as file:
        systems = Systems(**{x.name: file[x.name] for x in dataclasses.fields(Systems)})
    shape = (num_systems, num_bodies)
    expected = {"ids": shape[:1], "charges": shape}
    expected |= dict.fromkeys(("positions", "velocities", "targets"), (*shape, 3))
    if {name: array.shape for name, array in _arrays(systems).items()} != expected:
        raise ValueError("its arrays have other shapes")
    return systems
