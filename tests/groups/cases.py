"""Every group, and samples of its elements that include the hard ones."""

import jax
import jax.numpy as jnp
import numpy as np

from eqattn.groups import SE, SO, E, LieGroup, O, Product, RxSO2, RxSO3, Sim, T, Trivial
from eqattn.groups.reflected import Reflected
from eqattn.laws import relative_error as relative_error

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
    "O(2)": O(2),
    "O(3)": O(3),
    "E(2)": E(2),
    "E(3)": E(3),
    "RxSO3": RxSO3(),
    "Sim(2)": Sim(2),
    "Sim(3)": Sim(3),
}
ONE_OF_EACH = ["E(2)", "Sim(2)", *list(GROUPS)[:11]]
"""Groups that between them run every line: enough where each costs a compilation."""
BY_DEFAULT = [name for name in GROUPS if name not in ("T(1)", "T(3)", "SO(3)xT(2)", "O(3)", "E(2)")]
"""Groups that between them have every formula and every combination; the others are slow."""
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
    if isinstance(group, Reflected):
        return rotation_slices(group.proper)
    if isinstance(group, T | Trivial):
        return []
    return [slice(0, 3 if group in (SO(3), SE(3), RxSO3(), Sim(3)) else 1)]


def elements(group: LieGroup, algebra, *, seed: int = 0, reflect: bool = True) -> jax.Array:
    """exp of algebra coordinates, of either parity where the group has reflections."""
    g = group.exp(jnp.asarray(algebra))
    if not (isinstance(group, Reflected) and reflect):
        return g
    parity = np.random.default_rng(seed).choice([-1.0, 1.0], g.shape[:-1])
    reflection = group.identity(g.shape[:-1], g.dtype).at[..., -1].set(jnp.asarray(parity, g.dtype))
    return group.compose(g, reflection)


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
    if isinstance(group, Reflected):
        parity = np.array([[1.0, -1.0, 1.0, -1.0, -1.0, 1.0, -1.0, 1.0]]).T
        return np.concatenate([special_elements(group.proper), parity], axis=-1)
    rotations = {2: _CIRCLE, 4: _QUATERNIONS, 0: np.zeros((8, 0))}
    num_others = {
        SO(2): 0,
        SO(3): 0,
        SE(2): 2,
        SE(3): 3,
        RxSO2(): 1,
        RxSO3(): 1,
        Sim(2): 3,
        Sim(3): 4,
    }.get(group, group.element_dim)
    others = np.outer([0.0, 1e-7, 0.3, 0.0, 1e-7, 0.3, 0.0, 1.0], np.ones(num_others))
    return np.concatenate([rotations[group.element_dim - num_others], others], axis=-1)
