"""Pooling of functions on the group to invariants, over points and samples."""

from typing import Literal

import jax.numpy as jnp

from eqattn.checks import check_option
from eqattn.lift import Lifted, normalized_weights
from eqattn.sharding import on_any_mesh
from eqattn.typing import Array, Float

Pool = Literal["mean", "sum", "max"]


@on_any_mesh("lifted", 3)
def pool(lifted: Lifted, kind: Pool = "mean", *, over_points: bool = True) -> Float[Array, "..."]:
    """Pools features over the samples of a lift, and over its points.

    ``"mean"`` is Σ ω F / Σ ω; ``"sum"`` is Σ ω F, which is extensive (the samples of a point share
    its weight); ``"max"`` is over valid elements. Masked points count for nothing; where all is
    masked the result is 0.

    Equivariance: invariant to G, exactly for the elements given.

    Args:
      lifted: Functions on the group.
      kind: ``"mean"``, ``"sum"`` or ``"max"``.
      over_points: Whether to pool over points as well as samples.

    Returns:
      [*B C], or [*B N C] without pooling over points.

    Raises:
      ValueError: For an unknown kind.
    """
    check_option("pool", kind, Pool)
    axes = (-2, -1) if over_points else (-1,)
    feature_axes = tuple(a - 1 for a in axes)
    valid = lifted.valid
    features = jnp.where(valid[..., None], lifted.features, 0)
    if kind == "max":
        candidates = jnp.where(valid[..., None], features, -jnp.inf)
        top = jnp.max(candidates, axis=feature_axes, initial=-jnp.inf)
        return jnp.where(jnp.any(valid, axis=axes)[..., None], top, 0).astype(features.dtype)
    if kind == "mean":
        weights = normalized_weights(lifted.log_weights, lifted.mask[..., None], axis=axes)
    else:
        weights = jnp.where(valid, jnp.exp(jnp.where(valid, lifted.log_weights, 0.0)), 0.0)
    pooled = jnp.sum(weights[..., None] * features, axis=feature_axes)
    return pooled.astype(features.dtype)
