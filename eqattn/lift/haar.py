"""Lifts by random samples of the stabilizer."""

import dataclasses
from typing import cast

import jax
import jax.numpy as jnp

from eqattn.checks import check_flags, check_sizes
from eqattn.lift.base import Guarantee, Lifting, LiftInputs, StabilizerLift, exact, random_moves
from eqattn.lift.prng import point_keys
from eqattn.spaces.base import Space
from eqattn.typing import Array, DType, Float, Key


@dataclasses.dataclass(frozen=True, repr=False)
class Haar(StabilizerLift):
    """Haar samples of the stabilizer.

    Equivariance: exact in expectation over the key for compact stabilizers and every number of
    samples; the prediction of one draw deviates by O(num_samples^-1/2). Where the stabilizer is
    trivial (T(n)), exact.

    Args:
      num_samples: Number of samples over each point, at least 1.
      shared: Whether all points of an example share one set of samples, which adds exact
        equivariance to translations for a fixed key. Needs a space whose section is normal (Rⁿ
        under SE(n)); elsewhere it would be biased.

    Raises:
      TypeError: If ``num_samples`` is not an integer, or ``shared`` neither True nor False.
      ValueError: If ``num_samples`` is below 1.
    """

    num_samples: int = 1
    shared: bool = False

    def __post_init__(self):
        check_sizes({"num_samples": self.num_samples})
        check_flags({"shared": self.shared})

    def check(self, space: Space) -> None:
        """See :meth:`Lift.check`."""
        if not space.stabilizer.is_compact:
            raise ValueError(
                f"Haar needs a compact stabilizer, that of {space} is {space.stabilizer}; use "
                "Frames(), or give each point its scale and orientation as data "
                "(eqattn.spaces.group_space)"
            )
        if self.shared and not space.section_is_normal:
            raise ValueError(
                f"shared samples would be biased on {space}, whose section is not in a normal "
                "subgroup; use Haar(num_samples, shared=False)"
            )

    def is_stochastic(self, space: Space) -> bool:
        """See :meth:`Lift.is_stochastic`."""
        return space.draws_samples

    def guarantee(self, space: Space) -> Guarantee:
        """See :meth:`Lift.guarantee`."""
        group = str(space.group)
        if not space.draws_samples:
            return exact(group)
        if space.stabilizer.element_dim:
            text = (
                f"equivariant to {group} in expectation over the key; one draw deviates like n^-1/2"
            )
            if self.shared:
                text += "; exactly equivariant to N for a fixed key"
            return Guarantee(False, group, text, part="N" if self.shared else "")
        if space.has_exceptional_orbits:
            text = (
                f"exactly equivariant to {group}; of points at an exceptional origin in "
                "expectation over the key"
            )
            return Guarantee(True, group, text)
        return exact(group)

    def elements(self, space: Space, inputs: LiftInputs) -> Lifting:
        """See :meth:`Lift.elements`."""
        if space.draws_samples:
            return super().elements(space, inputs)
        section = space.section(inputs.points)[..., None, :]  # all samples are the same
        shape = (*section.shape[:-2], self.num_samples, section.shape[-1])
        return Lifting(jnp.broadcast_to(section, shape))

    def samples(self, space: Space, inputs: LiftInputs) -> Float[Array, "*B N S E"]:
        """Stabilizer samples h_ik, keyed by example id, point index and sample index.

        The sample of a point therefore depends on neither padding nor the other examples of a
        batch.

        Args:
          space: Space of the points.
          inputs: The points, and what draws are keyed by.
        """

        def sample(point_key: Key[Array, ""], point: Array) -> Array:
            keys = jax.vmap(lambda k: jax.random.fold_in(point_key, k))(
                jnp.arange(self.num_samples)
            )
            return jax.vmap(lambda k: space.sample_stabilizer(k, point))(keys)

        *batch, num_points, _ = inputs.points.shape
        indices = jnp.where(self.shared, 0, jnp.arange(num_points))
        draw = sample
        for _ in inputs.points.shape[:-1]:
            draw = jax.vmap(draw)
        key = cast(Array, inputs.key)  # lift makes sure that there is one
        return draw(point_keys(key, tuple(batch), indices, inputs.example_ids), inputs.points)

    def finite_samples(self, space: Space) -> None:
        """See :meth:`StabilizerLift.finite_samples`: all of the stabilizer is sampled."""
        del space

    def exact_elements(
        self, space: Space, key: Key[Array, ""], shape: tuple[int, ...], dtype: DType
    ) -> Float[Array, "*S E"] | None:
        """See :meth:`Lift.exact_elements`."""
        return random_moves(space, key, shape, dtype) if self.shared else None
