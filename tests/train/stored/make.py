"""The run folders and saved models beside this file, which the code of commit 12951b8 wrote.

They are of format 1, and stay as they are: what later code reads them as is tested against the
scores and outputs in ``expected.json``, which the code that wrote them computed. Their recipe is
in that commit. ``frames`` is of format 2, written by commit 841a10b: a model of fields with the
lift ``Frames()``, with its first weights, by ``eqattn.save``.
"""

from pathlib import Path

import jax
import numpy as np
from flax import nnx

from eqattn.models import ModelConfig
from eqattn.train import RunResult

FOLDER = Path(__file__).parent


def outputs(model: nnx.Module, dim: int) -> np.ndarray:
    """Outputs of a saved model for points that need no generator."""
    steps = np.arange(2 * 5 * dim, dtype=np.float32).reshape(2, 5, dim)
    points, features = 1.5 * np.sin(1.0 + steps), np.cos(steps[..., :2])
    mask = np.arange(5) < np.array([[5], [3]])
    call = jax.jit(lambda model, *inputs: model(*inputs, key=jax.random.key(1)))
    return np.asarray(call(model, points, features, mask), np.float32)


def objectives(result: RunResult) -> dict[str, float]:
    """The first score of each target."""
    return {score.target: score.value for score in reversed(result.scores)}


def dimension(config: ModelConfig) -> int:
    """Coordinates of a point."""
    return config.network.space.point_dim
