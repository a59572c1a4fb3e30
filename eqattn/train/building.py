"""The model of a run: one, or an ensemble of several."""

from __future__ import annotations

from flax import nnx

from eqattn.config import RunConfig
from eqattn.models import Ensemble

__all__ = ["build_model"]


def build_model(config: RunConfig, in_features: int, out_features: int) -> nnx.Module:
    """Returns the model of a run with fresh parameters.

    The parameters of the first member of an ensemble are those of the run without one, and those of
    the next are of the next seeds.

    Args:
      config: Configuration of the run.
      in_features: Channels of the features of a point.
      out_features: Channels of the output.

    Raises:
      ValueError: If values of the model do not go together.
    """
    models = [
        config.model.build(in_features, out_features, rngs=nnx.Rngs(config.seed + number))
        for number in range(config.ensemble)
    ]
    return models[0] if len(models) == 1 else Ensemble(models)
