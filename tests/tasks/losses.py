"""The mean loss of a batch, as a training step takes it."""

import numpy as np

from eqattn.tasks import AugmentingProblem


def mean_loss(problem, model, batch, key):
    """The loss of all rows of a batch, each counted once."""
    batch = {**batch, "weight": np.ones(len(batch["id"]), np.float32)}
    if isinstance(problem, AugmentingProblem):
        batch = problem.augment(batch, key)
    total, weight = problem.loss(model, batch, key)
    return total / weight
