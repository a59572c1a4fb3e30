"""Particles coupled by springs: the data set of the task "springs", made here and not downloaded.

Each of N = 6 particles in the plane is tied to every other by a spring of zero rest length and
stiffness k_i k_j. With masses m ~ U(0.1, 3.1), spring constants k ~ U(0, 5), positions
q ~ 0.4 N(0, 1) and momenta p ~ 0.6 N(0, 1) minus their mean over the particles, systems move under

    H = Σ_i |p_i|² / 2 m_i + ½ Σ_ij k_i k_j |q_i - q_j|²   (over ordered pairs)

and are recorded at 500 times from 0 to 5, in float64. All quantities are dimensionless.

A trajectory is drawn from (seed, split, index) alone: the first hundred are the same however many
are asked for, and no split holds a trajectory of another.

References:
  Finzi et al., "Generalizing convolutional neural networks for equivariance to Lie groups",
  arXiv:2002.12880; Hutchinson et al., "LieTransformer", arXiv:2012.10885. (The published code
  subtracts the mean of the momenta over systems, not over the particles of each.)
"""

import dataclasses
import functools
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from eqattn.checks import check_sizes
from eqattn.data.cache import cache_folder, save_arrays
from eqattn.data.streams import random_state

logger = logging.getLogger("eqattn")

NUM_PARTICLES = 6
NUM_TIMES = 500
TIMES: Float[np.ndarray, "500"] = np.linspace(0.0, 5.0, NUM_TIMES)
SPLITS = ("train", "validation", "test")
TOLERANCE = 1e-11
"""Relative and absolute, of each step of the integration."""
_CACHE_VERSION = 1
_FEW, _CHUNK = 16, 256  # trajectories integrated at once: two shapes to compile
_LARGEST_SEED = 2**32


@dataclass(frozen=True, eq=False)
class Springs:
    """Trajectories of M systems of springs; see the top of this file.

    Attributes:
      ids: Number of each trajectory within its split.
      masses: Masses of the particles.
      spring_constants: Spring constants of the particles.
      positions: Positions at the times `TIMES`.
      momenta: Momenta at the times `TIMES`.
    """

    ids: Int[np.ndarray, "M"]
    masses: Float[np.ndarray, "M 6"]
    spring_constants: Float[np.ndarray, "M 6"]
    positions: Float[np.ndarray, "M 500 6 2"]
    momenta: Float[np.ndarray, "M 500 6 2"]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, indices: Int[np.ndarray, "B"] | slice) -> "Springs":
        """Returns the trajectories at these places, in this order."""
        return Springs(**{name: array[indices] for name, array in _arrays(self).items()})


def energy(
    positions: Float[np.ndarray, "*B N D"],
    momenta: Float[np.ndarray, "*B N D"],
    masses: Float[np.ndarray, "*#B N"],
    spring_constants: Float[np.ndarray, "*#B N"],
) -> Float[np.ndarray, "*B"]:
    """Returns the true energy Σ|p_i|²/2m_i + ½ Σ_ij k_i k_j |q_i - q_j|², over ordered pairs.

    Example:
      >>> q, p = np.array([[[0.0, 0.0], [1.0, 0.0]]]), np.array([[[2.0, 0.0], [0.0, 0.0]]])
      >>> energy(q, p, np.array([[1.0, 1.0]]), np.array([[3.0, 1.0]]))
      array([5.])

    Args:
      positions: Positions of the particles.
      momenta: Momenta of the particles.
      masses: Masses of the particles.
      spring_constants: Spring constants of the particles.
    """
    kinetic = np.sum(np.sum(momenta**2, -1) / (2 * masses), -1)
    differences = positions[..., :, None, :] - positions[..., None, :, :]
    stiffness = spring_constants[..., :, None] * spring_constants[..., None, :]
    return kinetic + 0.5 * np.sum(stiffness * np.sum(differences**2, -1), (-2, -1))


def generate(
    num_trajectories: int, *, split: str = "train", seed: int = 0, first: int = 0
) -> Springs:
    """Returns trajectories of a split: the definition of the data set.

    Positions and momenta are integrated by diffrax in float64 (whatever jax is set to), with the
    method of Dormand and Prince of order 8 and steps that end on the times of the record.

    Args:
      num_trajectories: How many.
      split: "train", "validation" or "test".
      seed: Seed of the whole data set.
      first: Number of the first of them.

    Raises:
      ValueError: If a number is out of range, or there is no such split.
    """
    check_sizes({"num_trajectories": num_trajectories})
    check_sizes({"first": first}, minimum=0)
    if split not in SPLITS:
        raise ValueError(f"split must be one of {SPLITS}, got {split!r}")
    if not 0 <= seed < _LARGEST_SEED:
        raise ValueError(f"seed must be in [0, 2**32), got {seed}")
    ids = np.arange(first, first + num_trajectories)
    draws = [_draw(seed, SPLITS.index(split), int(number)) for number in ids]
    masses, constants, positions, momenta = (np.stack(a) for a in zip(*draws, strict=True))
    paths = [
        _integrate(masses[rows], constants[rows], positions[rows], momenta[rows])
        for rows in np.split(np.arange(len(ids)), range(_CHUNK, len(ids), _CHUNK))
    ]
    positions, momenta = (np.concatenate(parts) for parts in zip(*paths, strict=True))
    return Springs(ids, masses, constants, positions, momenta)


def examples(
    num_trajectories: int, *, split: str = "train", seed: int = 0
) -> Iterator[dict[str, Any]]:
    """Yields the trajectories of :func:`generate` one at a time.

    Args:
      num_trajectories: How many.
      split: "train", "validation" or "test".
      seed: Seed of the whole data set.

    Yields:
      ``id`` (int), ``masses`` and ``spring_constants`` [6], ``positions`` and ``momenta``
      [500, 6, 2], all float64.

    Raises:
      ValueError: If a number is out of range, or there is no such split.
    """
    for first in range(0, num_trajectories, _CHUNK):
        size = min(_CHUNK, num_trajectories - first)
        systems = generate(size, split=split, seed=seed, first=first)
        for index in range(size):
            example = {name: array[index] for name, array in _arrays(systems).items()}
            example["id"] = int(example.pop("ids"))
            yield example


def load(
    num_trajectories: int,
    *,
    split: str = "train",
    seed: int = 0,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Springs:
    """Returns what :func:`generate` does, from a cache where there is one.

    Args:
      num_trajectories: How many.
      split: "train", "validation" or "test".
      seed: Seed of the whole data set.
      cache_dir: Folder for the cache; by default ``$EQATTN_DATA`` or ``~/.cache/eqattn``.

    Raises:
      ValueError: If a number is out of range, or there is no such split.
    """
    name = f"springs-{split}-{num_trajectories}-seed{seed}-v{_CACHE_VERSION}.npz"
    path = cache_folder(cache_dir) / name
    if path.is_file():
        try:
            return _read(path, num_trajectories)
        except (OSError, ValueError, KeyError, EOFError) as error:
            logger.warning("making the cache again: %s cannot be read (%s)", path, error)
    systems = generate(num_trajectories, split=split, seed=seed)
    try:
        save_arrays(path, _arrays(systems))
    except OSError as error:
        logger.warning("cannot write the cache %s (%s); going on without it", path, error)
    return systems


def _arrays(systems: Springs) -> dict[str, np.ndarray]:
    return {field.name: getattr(systems, field.name) for field in dataclasses.fields(systems)}


def _draw(*words: int) -> tuple[np.ndarray, ...]:
    """Returns masses, spring constants, positions and momenta of the trajectory of this key."""
    random = random_state(*words)
    masses = random.uniform(0.1, 3.1, NUM_PARTICLES)
    constants = random.uniform(0.0, 5.0, NUM_PARTICLES)
    positions = 0.4 * random.standard_normal((NUM_PARTICLES, 2))
    momenta = 0.6 * random.standard_normal((NUM_PARTICLES, 2))
    return masses, constants, positions, momenta - momenta.mean(axis=0)


def _integrate(
    masses: Float[np.ndarray, "B N"],
    constants: Float[np.ndarray, "B N"],
    positions: Float[np.ndarray, "B N D"],
    momenta: Float[np.ndarray, "B N D"],
) -> tuple[Float[np.ndarray, "B 500 N D"], Float[np.ndarray, "B 500 N D"]]:
    """Returns the paths of systems from their states at the first time."""
    import jax
    import jax.numpy as jnp

    size = len(masses)
    rows = np.minimum(np.arange(_FEW if size <= _FEW else _CHUNK), size - 1)  # filled up
    with jax.enable_x64(True):
        arrays = [jnp.asarray(a[rows]) for a in (positions, momenta, masses, constants)]
        paths = _integrator()(*arrays)
        return np.asarray(paths[0])[:size], np.asarray(paths[1])[:size]


@functools.cache
def _integrator() -> Callable[..., Any]:
    """Returns the jitted map from states and systems to paths; to be called with x64 enabled."""
    import diffrax  # slow to import, and only needed here
    import jax
    import jax.numpy as jnp

    def velocities(t: Any, state: Any, system: Any) -> Any:
        masses, constants = system
        positions, momenta = state
        # Σ_j k_j (q_j - q_i), from two sums.
        pull = constants @ positions - jnp.sum(constants) * positions
        return momenta / masses[:, None], 2 * constants[:, None] * pull

    def path(positions: Any, momenta: Any, *system: Any) -> Any:
        times = jnp.asarray(TIMES)
        return diffrax.diffeqsolve(
            diffrax.ODETerm(velocities),
            diffrax.Dopri8(),
            t0=times[0],
            t1=times[-1],
            dt0=None,
            y0=(positions, momenta),
            args=system,
            stepsize_controller=diffrax.ClipStepSizeController(
                diffrax.PIDController(rtol=TOLERANCE, atol=TOLERANCE), step_ts=times
            ),
            saveat=diffrax.SaveAt(ts=times),
            max_steps=None,
            adjoint=diffrax.ForwardMode(),
        ).ys

    return jax.jit(jax.vmap(path))


def _read(path: os.PathLike[str], num_trajectories: int) -> Springs:
    with np.load(path, allow_pickle=False) as file:
        systems = Springs(**{field.name: file[field.name] for field in dataclasses.fields(Springs)})
    shapes = {name: array.shape for name, array in _arrays(systems).items()}
    system, paths = (
        (num_trajectories, NUM_PARTICLES),
        (num_trajectories, NUM_TIMES, NUM_PARTICLES, 2),
    )
    expected = {"ids": system[:1], "masses": system, "spring_constants": system}
    if shapes != expected | {"positions": paths, "momenta": paths}:
        raise ValueError("its arrays have other shapes")
    return systems
