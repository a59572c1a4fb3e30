"""What a checkpoint of a run says beside its arrays: where the run stood."""

from __future__ import annotations

from dataclasses import dataclass

from eqattn.config import RunConfig
from eqattn.tasks import Score

__all__ = ["Best", "RunRecord", "StepRecord", "has_lost_patience"]


@dataclass(frozen=True)
class Best:
    """The best validation so far."""

    step: int
    """Steps taken before it."""
    objective: float
    """What it was judged by; see :func:`eqattn.tasks.objective`."""
    scores: tuple[Score, ...]
    """Its scores."""


def has_lost_patience(config: RunConfig, validated_step: int, best: Best | None) -> bool:
    """Returns whether a run ends because its last validations were not better than one before.

    Args:
      config: Configuration of the run.
      validated_step: Step of the last validation.
      best: The best validation so far.
    """
    if config.patience == 0 or best is None:
        return False
    return validated_step - best.step >= config.patience * config.eval_every


@dataclass(frozen=True)
class StepRecord:
    """What one training step leaves for the log."""

    loss: float
    """Its loss, in which each example counts as in a batch of the configured size."""
    gradient_norm: float
    """Norm of its gradient."""
    share: float
    """Examples of its batch per configured batch size; below 1 where they are large."""


@dataclass(frozen=True)
class RunRecord:
    """Where a run stands, apart from its arrays."""

    step: int
    """Steps taken."""
    data: dict[str, int]
    """Position in the data, as grain states it."""
    validated_step: int
    """Step of the last validation that succeeded; 0 before the first."""
    best: Best | None
    """The best validation so far. Its parameters are in ``best/``; until they are, those of the
    newest checkpoint are meant, which then is of the same step."""
    learning_rate: float
    """That of the last step."""
    seconds: float
    """Wall time of the run so far."""
    window: tuple[StepRecord, ...]
    """The steps since the last line of training in ``metrics.jsonl``."""
