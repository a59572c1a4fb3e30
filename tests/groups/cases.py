"""Every group, and samples of its elements that include the hard ones."""

import functools

import jax.numpy as jnp
import numpy as np

from eqattn.groups import SE, SO, LieGroup, Product, RxSO2, T, Trivial

GROUPS: dict[str, LieGroup] = {
    "T(1)": T(1),
    "T(2)": T(2),
    "T(3)": T(3),
    "SO(2)": SO(2),
    "SO(3)": SO(3),
    "SE(2)": SE(2),
    "SE(3)": SE(3),
    "RxSO2": RxSO2(),
    "Trivial": Trivial(),
    "SO(3)xT(2)": Product((SO(3), T(2))),
    "SE(2)xRxSO2": Product((SE(2), RxSO2())),
}
DTYPES = (jnp.float64, jnp.float32)

NEAR_IDENTITY = (0.0, 1e-7, 1e-4)
NEAR_PI = (np.pi - 1e-3, np.pi - 1e-7, np.pi)


def rotation_slices(group: LieGroup) -> list[slice]:
    """Where the algebra holds rotation angles or vectors."""
    if isinstance(group, Product):
        slices, start = [], 0
        for factor in group.factors:
            slices += [slice(start + s.start, start + s.stop) for s in rotation_slices(factor)]
            start += factor.algebra_dim
        return slices
    if isinstance(group, T | Trivial):
        return []
    return [slice(0, 3 if group in (SO(3), SE(3)) else 1)]


def algebra_samples(
    group: LieGroup, angles: tuple[float, ...] = (), *, num: int = 32, seed: int = 0
) -> np.ndarray:
    """Lie-algebra coordinates [num A]: |x_i| <= 1 beside rotations by the angles, then by any."""
    rng = np.random.default_rng(seed)
    algebra = rng.uniform(-1.0, 1.0, (num, group.algebra_dim))
    for part in rotation_slices(group):
        axis = rng.normal(size=(num, part.stop - part.start))
        axis /= np.linalg.norm(axis, axis=-1, keepdims=True)
        angle = rng.uniform(0.0, np.pi - 1e-3, num)
        given = min(len(angles), num)
        angle[:given] = angles[:given]
        algebra[:, part] = angle[:, None] * axis
    return algebra


def relative_error(found, expected, *magnitudes) -> np.ndarray:
    """Largest |found - expected| over the last axes, per sample, over max(1, |values|).

    In numpy and float64: the arithmetic of the comparison adds no error and compiles nothing.
    """

    def largest(x):
        x = np.asarray(x, np.float64)
        return np.max(np.abs(x), axis=tuple(range(1, x.ndim)), initial=0.0)

    scale = functools.reduce(np.maximum, [largest(x) for x in (expected, *magnitudes)])
    difference = np.asarray(found, np.float64) - np.asarray(expected, np.float64)
    return largest(difference) / np.maximum(1.0, scale)


_CIRCLE = [
    *([1.0, 0.0], [-1.0, 0.0], [-1.0, -0.0], [1.0, 1e-7], [1.0, -1e-7], [-1.0, 1e-7]),
    *([-1.0, -1e-7], [0.0, 1.0]),
]
_QUATERNIONS = [
    *([1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, -0.6, 0.8, 0], [1.0, 5e-8, 0, 0], [-1.0, 0, 1e-7, 0]),
    *([5e-8, 0, 0, -1.0], [-5e-8, 0.6, 0, 0.8], [-1.0, 0, 0, 0]),
]


def special_elements(group: LieGroup) -> np.ndarray:
    """Elements [8 E] at the identity and at half-turns, exactly and within 1e-7, in either sign."""
    if isinstance(group, Product):
        return np.concatenate([special_elements(f) for f in group.factors], axis=-1)
    rotations = {2: _CIRCLE, 4: _QUATERNIONS, 0: np.zeros((8, 0))}
    num_others = {SO(2): 0, SO(3): 0, SE(2): 2, SE(3): 3, RxSO2(): 1}.get(group, group.element_dim)
    others = np.outer([0.0, 1e-7, 0.3, 0.0, 1e-7, 0.3, 0.0, 1.0], np.ones(num_others))
    return np.concatenate([rotations[group.element_dim - num_others], others], axis=-1)
