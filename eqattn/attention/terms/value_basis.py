"""Bases of location-dependent values: W_V(g_i⁻¹ g_j) = Σ_m φ_m(g_i⁻¹ g_j) W_m.

A basis is a function of pairs like a :class:`~eqattn.attention.Location`, whose M features are the
φ_m. No matrix is made for a pair: attention sums w_ij φ_m v_j over the keys for each m, and one
dense map over (m, channels) follows. Besides those here, a :class:`~eqattn.attention.PairMLP` with
a head axis of size 1 and M outputs is one.
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp

from eqattn.attention.terms.location import PairFeatures, TokenBlock
from eqattn.checks import check_instance, check_numbers, check_sizes
from eqattn.pytrees import register_dataclass
from eqattn.spaces.base import Space
from eqattn.typing import Array, Float


@register_dataclass
@dataclasses.dataclass(frozen=True)
class FourierBasis:
    """φ_m = √2 cos(ω_m·x + b_m) of the features x of a pair; a phase makes a sine of the cosine.

    Args:
      frequencies: ω, in radians per unit of each feature.
      phases: b, in radians.
      features: What the basis sees of a pair.
    """

    frequencies: Float[Array, "F M"]
    phases: Float[Array, " M"]
    features: PairFeatures = dataclasses.field(metadata={"static": True})

    def __call__(self, query: TokenBlock, key: TokenBlock) -> Float[Array, "M *B 1 T K"]:
        pairs = self.features(query, key)
        frequencies, phases = (x.astype(pairs.dtype) for x in (self.frequencies, self.phases))
        angles = jnp.einsum(
            "fm,f...->m...", frequencies, pairs, precision=jax.lax.Precision.HIGHEST
        )
        angles = angles + phases.reshape(-1, *(1,) * (pairs.ndim - 1))
        return math.sqrt(2.0) * jnp.cos(angles)[..., None, :, :]


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class BernsteinBasis:
    """Bernstein polynomials of u = (d / cutoff)², d the left-invariant distance of the points.

    The first M of degree M + 2, c binom(M + 2, m) u^m (1 - u)^(M + 2 - m): those that vanish to
    third order at the cutoff, beyond which they are 0. Being polynomials of the square, they are
    smooth where points coincide, and twice continuously differentiable everywhere. They see no
    direction: the kernel is isotropic. The factor c makes their mean square over u and m 1.

    Args:
      space: Where the tokens live.
      num_basis: Number of basis functions M.
      cutoff: Distance; under T(n) and SE(n) in the length unit of the points.

    Raises:
      TypeError: For an argument of a wrong type.
      ValueError: For a ``num_basis`` below 1, or a ``cutoff`` that is not finite and above 0.
    """

    space: Space
    num_basis: int
    cutoff: float = 1.0

    def __post_init__(self):
        check_instance("space", self.space, Space)
        check_sizes({"num_basis": self.num_basis})
        check_numbers({"cutoff": self.cutoff})
        if not 0.0 < self.cutoff < math.inf:
            raise ValueError(f"cutoff must be finite and above 0, got {self.cutoff}")

    def __call__(self, query: TokenBlock, key: TokenBlock) -> Float[Array, "M *B 1 T K"]:
        pair = self.space.pair(query.elements, key.elements)
        squared = self.space.squared_distance_components(pair, query.orbits, key.orbits)
        ratio = squared / self.cutoff**2
        ratio = jnp.where(ratio >= 1.0, 1.0, ratio)  # where all of them are 0, with no slope
        degree = self.num_basis + 2
        polynomials = [
            factor * ratio**m * (1.0 - ratio) ** (degree - m)
            for m, factor in enumerate(_bernstein_factors(self.num_basis))
        ]
        return jnp.stack(polynomials)[..., None, :, :]


@functools.cache
def _bernstein_factors(num_basis: int) -> tuple[float, ...]:
    """Binomials of the degree, scaled so that the mean square over [0, 1] and the basis is 1."""
    degree = num_basis + 2
    binomials = [math.comb(degree, m) for m in range(num_basis)]
    # The integral of u^2m (1 - u)^(2 degree - 2m) is 1 / ((2 degree + 1) binom(2 degree, 2m)).
    squares = [
        b**2 / ((2 * degree + 1) * math.comb(2 * degree, 2 * m)) for m, b in enumerate(binomials)
    ]
    scale = math.sqrt(num_basis / math.fsum(squares))
    return tuple(scale * b for b in binomials)
