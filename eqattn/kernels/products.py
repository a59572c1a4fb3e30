"""Products of two fields at a point that are fields again."""

import functools
import math

import numpy as np

from eqattn.fields import Term
from eqattn.kernels.fixed import fixed_vectors
from eqattn.kernels.solver import origin_matrices
from eqattn.spaces.base import Space
from eqattn.typing import Float


def product_maps(
    space: Space, first: Term, second: Term, output: Term
) -> Float[np.ndarray, "K c a b"]:
    """A basis of the bilinear equivariant maps of two single fields at a point, such as v × w.

    They are the vectors of ρ_c ⊗ ρ_a* ⊗ ρ_b* that the stabilizer H leaves alone, scaled so that
    products of standard normal components have the mean square 1.

    Args:
      space: Rⁿ under translations and a compact group of isometries.
      first: Term of the first factor.
      second: Term of the second factor.
      output: Term of the product.
    """
    return _solve(space, *(term._replace(multiplicity=1) for term in (first, second, output)))


@functools.lru_cache(maxsize=1024)
def _solve(space: Space, first: Term, second: Term, output: Term) -> Float[np.ndarray, "K c a b"]:
    a, b, c = (origin_matrices(space, term) for term in (first, second, output))
    duals = [np.swapaxes(np.linalg.inv(x), -1, -2) for x in (a, b)]
    sizes = c.shape[1], a.shape[1], b.shape[1]
    constraints = [
        np.kron(np.kron(z, x), y) - np.eye(math.prod(sizes))
        for x, y, z in zip(*duals, c, strict=True)
    ]
    name = f"products of {first.single} and {second.single} to {output.single}"
    found = fixed_vectors(constraints, name).reshape(-1, *sizes)
    found = math.sqrt(sizes[0]) * found
    found.flags.writeable = False
    return found
