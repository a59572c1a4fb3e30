"""Whether values, first and second derivatives of every formula are finite."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from eqattn.groups import LieGroup
from eqattn.groups.base import unstack
from eqattn.spaces.base import Space
from eqattn.typing import Array, Components


def group_formulas(
    group: LieGroup, elements: Sequence[Array], algebra: Array, points: Array
) -> dict[str, tuple]:
    """The formulas of a group over components, each with arguments."""
    g, h, a, p = (unstack(x) for x in (*elements, algebra, points))

    def squared_distance(g: Components, h: Components) -> Array:
        between = group.compose_components(group.inverse_components(g), h)
        return group.squared_distance_components(between, 1.0)

    return {
        "exp": (group.exp_components, a),
        "log": (group.log_components, g),
        "compose": (group.compose_components, g, h),
        "inverse": (group.inverse_components, g),
        "act": (group.act_components, g, p),
        "embedding": (group.embedding_components, g),
        "squared distance": (squared_distance, g, h),
        "matrix": (group.matrix, elements[0]),
        "linear matrix": (group.linear_matrix, elements[0]),
        "adjoint": (group.adjoint, elements[0]),
    }


def space_maps(space: Space, points: Array, others: Array) -> dict[str, tuple]:
    """The maps of a space, each with arguments; of pairs, as functions of two points."""

    def pair(x: Array, y: Array) -> Components:
        return space.pair(unstack(space.section(x)), unstack(space.section(y)))

    def squared_distance(x: Array, y: Array) -> Array:
        orbits = unstack(space.orbit_invariants(x)), unstack(space.orbit_invariants(y))
        return space.squared_distance_components(pair(x, y), *orbits)

    def double_coset(x: Array, y: Array) -> Components:
        return space.pair_invariants(pair(x, y))

    return {
        "section": (space.section, points),
        "orbit invariants": (space.orbit_invariants, points),
        "squared distance": (squared_distance, points, others),
        "invariants": (double_coset, points, others),
    }


def check_finite(subject: str, functions: Mapping[str, tuple]) -> None:
    """Raises an AssertionError where a value, first or second derivative is not finite.

    In dense random directions, which meet every entry of the Jacobian and the Hessian.

    Args:
      subject: The group or space.
      functions: Functions by name, each with its arguments.
    """
    rng = np.random.default_rng(0)

    def random_like(tree):
        return jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype), tree)

    for name, (function, *inputs) in functions.items():
        value, forward = jax.jvp(function, tuple(inputs), tangents := random_like(tuple(inputs)))
        cotangents = random_like(value)

        def reverse(*x, function=function, cotangents=cotangents):
            return jax.vjp(function, *x)[1](cotangents)

        results = (value, forward, *jax.jvp(reverse, tuple(inputs), tangents))
        if not all(np.all(np.isfinite(x)) for x in jax.tree.leaves(results)):
            raise AssertionError(f"{subject}: a value or derivative of {name} is not finite")
