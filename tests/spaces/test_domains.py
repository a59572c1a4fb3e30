"""Points that are none of their space are refused where values are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn import spaces
from eqattn.groups import SE, SO, E, O, Product, RxSO2, Sim, T
from eqattn.lift import Frames, Haar, lift

SPHERE = spaces.sphere(SO(3))
RESTRICTED = {
    "sphere": SPHERE,
    "circle": spaces.sphere(O(2)),
    "oriented": spaces.position_orientation(SE(3)),
    "oriented in the plane": spaces.position_orientation(E(2)),
    "rotations": spaces.group_space(SO(2)),
    "poses": spaces.group_space(SE(3)),
    "poses and mirrors": spaces.group_space(E(3)),
    "scalings": spaces.group_space(RxSO2()),
    "similarities": spaces.group_space(Sim(3)),
    "products of groups": spaces.group_space(Product((T(1), SO(2)))),
    "products": spaces.product_space(spaces.euclidean(T(2)), SPHERE),
}
FREE = {
    "space": spaces.euclidean(SE(3)),
    "rotated": spaces.euclidean(SO(3)),
    "translations": spaces.group_space(T(3)),
    "upright": spaces.euclidean(Product((SE(2), T(1)))),
}


@pytest.mark.parametrize("name", RESTRICTED)
def test_points_of_the_space_pass_and_others_do_not(name):
    space = RESTRICTED[name]
    points = space.sample_points(jax.random.key(0), (2, 3), jnp.float32)
    space.check_domain(points)
    space.check_domain(points * 1.0004)
    mask = jnp.ones((2, 3), bool).at[1, 2].set(False)
    wrong = points.at[1, 2].multiply(2.0)
    space.check_domain(wrong, mask)
    with pytest.raises(
        ValueError, match=r"points of .* must be .*: 1 are not, such as .* at \[1, 2\]"
    ):
        space.check_domain(wrong)
    space.check_domain(points.at[0, 1].set(jnp.nan).at[0, 0, -1].set(jnp.inf))
    jax.jit(space.check_domain)(wrong)  # values are not known


@pytest.mark.parametrize("name", FREE)
def test_where_all_vectors_are_points_nothing_is_refused(name):
    space = FREE[name]
    space.check_domain(6371.0 * space.sample_points(jax.random.key(0), (2, 3), jnp.float32))


@pytest.mark.parametrize(
    ("dtype", "error", "passes"),
    [
        ("float64", 5e-4, True),
        ("float64", 2e-3, False),
        ("float16", 2e-3, True),
        ("int32", 0, True),
    ],
)
def test_the_tolerance_is_that_of_the_type(dtype, error, passes, no_type_checks):
    points = np.array([[0, 0, 1 + error]], dtype)
    if passes:
        SPHERE.check_domain(points)
        return
    with pytest.raises(
        ValueError, match=r"must be unit vectors: 1 are not, such as \[0.0, 0.0, 1.002"
    ):
        SPHERE.check_domain(points)


def test_a_lift_names_points_and_the_value():
    on_earth = 6371.0 * jnp.eye(3)
    with pytest.raises(
        ValueError, match=r"points of sphere.*3 are not, such as \[6371.0, 0.0, 0.0\]"
    ):
        lift(SPHERE, on_earth, jnp.ones((3, 1)), key=jax.random.key(0), lift=Haar(1))
    with pytest.raises(ValueError, match="points has 3 valid points at 0 in sphere"):
        lift(SPHERE, 0.0 * on_earth, jnp.ones((3, 1)), key=jax.random.key(0), lift=Frames())
    mask = jnp.array([False, False, True])
    lifted = lift(
        SPHERE,
        on_earth.at[2].set(on_earth[2] / 6371.0),
        jnp.ones((3, 1)),
        mask,
        key=jax.random.key(0),
    )
    assert lifted.mask.tolist() == mask.tolist()


def test_complex_numbers_are_refused(no_type_checks):
    z = np.ones((3, 3), np.complex64)
    space = spaces.euclidean(SE(3))
    with pytest.raises(TypeError, match="points must be real, got complex64"):
        space.section(z)
    with pytest.raises(TypeError, match="point must be real, got complex64"):
        SE(3).act(SE(3).identity(), z)
    with pytest.raises(TypeError, match="features must be real, got complex64"):
        lift(space, jnp.ones((3, 3)), jnp.asarray(z), key=jax.random.key(0))
    with pytest.raises(TypeError, match="points must be real, got complex64"):
        lift(space, jnp.asarray(z), jnp.ones((3, 3)), key=jax.random.key(0))
