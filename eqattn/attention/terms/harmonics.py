"""Bases of values that see directions: radial functions times solid harmonics."""

import dataclasses

import jax.numpy as jnp

from eqattn import numerics
from eqattn.attention.terms.location import Location, TokenBlock
from eqattn.pytrees import register_dataclass
from eqattn.representations.harmonics import harmonic_size, solid_harmonics
from eqattn.spaces.base import Space
from eqattn.typing import Array, Float


@register_dataclass
@dataclasses.dataclass(frozen=True)
class HarmonicBasis:
    """φ_m(|x|) Y_lk(x / √(length² + |x|²)) of the difference x = x_j - x_i of two positions.

    Harmonics are slow, radial functions fast: feature (l, k, m) lies behind (l, k, m - 1). Of a
    bounded argument, the harmonics are bounded too, and as smooth as polynomials where points
    coincide. What they are worth as kernels says :func:`eqattn.kernels.kernel_basis`.

    Args:
      radial: Basis φ of the distance, the same for all heads.
      num_radial: Number of its functions.
      space: Rⁿ under its translations, whose elements are positions.
      max_degree: Highest degree l.
      length: Distance about which harmonics grow as those of x / length, and beyond which they tend
        to those of the direction, in the length unit of the points.
    """

    radial: Location
    num_radial: int = dataclasses.field(metadata={"static": True})
    space: Space = dataclasses.field(metadata={"static": True})
    max_degree: int = dataclasses.field(metadata={"static": True})
    length: float = dataclasses.field(default=1.0, metadata={"static": True})

    @property
    def width(self) -> int:
        """Numbers that are made of a pair."""
        return self.num_radial * self.num_harmonics

    @property
    def num_harmonics(self) -> int:
        """Number of harmonics of all degrees."""
        degrees = range(self.max_degree + 1)
        return sum(harmonic_size(degree, self.space.point_dim) for degree in degrees)

    def __call__(self, query: TokenBlock, key: TokenBlock) -> Float[Array, "F *B 1 T K"]:
        difference = self.space.pair(query.elements, key.elements)
        size = jnp.sqrt(self.length**2 + numerics.squared_norm(difference))
        beyond = jnp.where(size < jnp.inf, 0.0, jnp.nan)  # a square that overflows is no distance
        harmonics = solid_harmonics(self.max_degree, tuple(x / size for x in difference))
        rows = jnp.stack([y + beyond for degree in harmonics for y in degree])[..., None, :, :]
        radial = self.radial(query, key).astype(rows.dtype)
        features = rows[:, None] * radial[None]
        return features.reshape(-1, *features.shape[2:])
