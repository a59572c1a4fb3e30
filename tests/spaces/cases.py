"""Every space, and samples of its points that include the hard ones."""

import jax.numpy as jnp
import numpy as np

from eqattn.groups import SE, SO, RxSO2, T
from eqattn.spaces import Space, euclidean
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
