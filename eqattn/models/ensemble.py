"""Several models of one architecture side by side, whose predictions are averaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from eqattn.checks import check_instance


class Ensemble(nnx.Module):
    """K models that differ in their parameters alone, computed as one by ``vmap``.

    How far the members differ says where a prediction is not to be trusted, such as for inputs
    unlike those that they were trained on.

    Equivariance: that of its members; a mean of equivariant outputs is equivariant.

    Args:
      models: The members, two or more of one architecture.

    Raises:
      TypeError: For anything but models.
      ValueError: For fewer than two, or models that differ in more than their parameters.

    >>> import eqattn
    >>> config = eqattn.models.LieTransformerConfig(dim=8, num_layers=1)
    >>> ensemble = Ensemble([config.build(3, 1, rngs=nnx.Rngs(seed)) for seed in range(4)])
    >>> points = jax.random.normal(jax.random.key(0), (2, 5, 3))
    >>> out = ensemble.of_members(lambda model: model(points, points))
    >>> out.shape, ensemble(points, points).shape
    ((4, 2, 1), (2, 1))
    """

    def __init__(self, models: Sequence[nnx.Module]):
        if len(models) < 2:
            raise ValueError(f"models must be two or more, got {len(models)}")
        for model in models:
            check_instance("models", model, nnx.Module)
        parts = [nnx.split(model, nnx.Param) for model in models]
        states = [state for _, state in parts]
        shapes = [jax.tree.map(jnp.shape, state) for state in states]
        if any(type(model) is not type(models[0]) for model in models) or any(
            shape != shapes[0] for shape in shapes
        ):
            raise ValueError("models must have one architecture")
        self.size = len(models)
        self.members = nnx.merge(parts[0][0], jax.tree.map(lambda *x: jnp.stack(x), *states))

    @property
    def config(self) -> Any:
        """What each member is built from."""
        return getattr(self.members, "config", None)

    @property
    def _any_member(self) -> Any:
        return self.members

    @property
    def in_features(self) -> int:
        """Channels of the features of a point."""
        return self._any_member.in_features

    @property
    def out_features(self) -> int:
        """Channels of the output."""
        return self._any_member.out_features

    def of_members(self, function: Callable[..., Any], *args: Any) -> Any:
        """What a function gives for each member, stacked along a new first axis.

        Args:
          function: Takes a model, and what each member has of the other arguments.
          *args: Arrays, or trees of them, whose first axis is that of the members.
        """
        graphdef, state = nnx.split(self.members, nnx.Param)
        each = jax.vmap(lambda values, *rest: function(nnx.merge(graphdef, values), *rest))
        return each(state, *args)

    def __call__(self, *args: Any, **options: Any) -> Any:
        """The mean of what the members give, called like one of them."""
        return jnp.mean(self.of_members(lambda model: model(*args, **options)), axis=0)
