"""Every space, and samples of its points that include the hard ones."""

import jax.numpy as jnp
import numpy as np

from eqattn.groups import SE, SO, E, O, Product, RxSO2, Sim, T, Trivial
from eqattn.spaces import (
    Space,
    euclidean,
    group_space,
    position_orientation,
    product_space,
    sphere,
)
from tests.groups.cases import algebra_samples

SPACES: dict[str, Space] = {
    name: euclidean(group)
    for name, group in {
        "T(1)": T(1),
        "T(3)": T(3),
        "SO(2)": SO(2),
        "SO(3)": SO(3),
        "SE(2)": SE(2),
        "SE(3)": SE(3),
        "RxSO2": RxSO2(),
    }.items()
}
"""Rⁿ under groups without reflections: where a vector has as many components as a point."""
MORE_SPACES: dict[str, Space] = {
    "R2 O(2)": euclidean(O(2)),
    "R3 O(3)": euclidean(O(3)),
    "R2 E(2)": euclidean(E(2)),
    "R3 E(3)": euclidean(E(3)),
    "R2 Sim(2)": euclidean(Sim(2)),
    "R3 Sim(3)": euclidean(Sim(3)),
    "R2 unmoved": euclidean(Trivial(2)),
    "R3 about an axis": euclidean(Product((SO(2), Trivial(1)))),
    "R3 upright": euclidean(Product((SE(2), T(1)))),
    "S1 O(2)": sphere(O(2)),
    "S2 SO(3)": sphere(SO(3)),
    "S2 O(3)": sphere(O(3)),
    "R2xS1 SE(2)": position_orientation(SE(2)),
    "R2xS1 E(2)": position_orientation(E(2)),
    "R3xS2 SE(3)": position_orientation(SE(3)),
    "R3xS2 E(3)": position_orientation(E(3)),
    "SE(2) itself": group_space(SE(2)),
    "Sim(3) itself": group_space(Sim(3)),
    "S2xR2": product_space(sphere(SO(3)), euclidean(SE(2))),
}
NUM = 32


def points(space: Space, dtype=jnp.float64) -> jnp.ndarray:
    """Points [NUM D] in general position, with |x| at most 1."""
    rng = np.random.default_rng(20)
    x = rng.normal(size=(NUM, space.point_dim))
    x *= rng.uniform(0.2, 1.0, (NUM, 1)) / np.linalg.norm(x, axis=-1, keepdims=True)
    return jnp.asarray(x, dtype)


def hard_points(space: Space, dtype=jnp.float64) -> jnp.ndarray:
    """Points [NUM D] on the axes, within 1e-7 of them, around the origin, and some others."""
    poles = np.concatenate([np.eye(space.point_dim), -np.eye(space.point_dim)])
    near = np.concatenate([poles + 1e-7, poles - 1e-7])
    x = np.concatenate([0 * poles[:1], 1e-7 * poles[:1], 1e-5 * poles[:2], poles, near])
    return jnp.asarray(np.concatenate([x, np.asarray(points(space))])[:NUM], dtype)


def elements(space: Space, seed: int = 21, dtype=jnp.float64) -> jnp.ndarray:
    """Group elements [NUM E] in general position."""
    algebra = algebra_samples(space.group, num=NUM, seed=seed)
    return space.group.exp(jnp.asarray(algebra, dtype))
