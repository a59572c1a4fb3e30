"""Finite groups: closed, of the right size, and where they are."""

import jax.numpy as jnp
import numpy as np
import pytest

from eqattn.groups import SO, O, Product, RxSO2, RxSO3, T, Trivial
from eqattn.groups.finite import finite_elements, grid_elements, parse_name

SPATIAL = {
    "cyclic(1)": 1,
    "cyclic(5)": 5,
    "dihedral(1)": 2,
    "dihedral(4)": 8,
    "tetrahedral": 12,
    "octahedral": 24,
    "icosahedral": 60,
}
AXIS = Product((SO(2), Trivial(1)))


def matrices(group, elements):
    return np.asarray(group.linear_matrix(jnp.asarray(elements)))


def check_closed(found, size):
    """Distinct matrices, the identity first, and all products and inverses among them."""
    np.testing.assert_allclose(found[0], np.eye(found.shape[-1]), atol=1e-15)
    flat = found.reshape(len(found), -1)
    distances = np.abs(flat[:, None] - flat).max(-1)
    assert (distances < 1e-9).sum() == len(found) == size
    products = (found[:, None] @ found).reshape(-1, flat.shape[1])
    assert np.abs(products[:, None] - flat).max(-1).min(-1).max() < 1e-12


@pytest.mark.parametrize("name", SPATIAL)
def test_rotations_of_space(name):
    elements = finite_elements(SO(3), name)
    check_closed(matrices(SO(3), elements), SPATIAL[name])
    np.testing.assert_allclose(np.linalg.norm(elements, axis=-1), 1.0, rtol=1e-14)


def test_rotations_of_the_plane():
    check_closed(matrices(SO(2), finite_elements(SO(2), "cyclic(6)")), 6)
    np.testing.assert_array_equal(grid_elements(SO(2), 5), finite_elements(SO(2), "cyclic(5)"))


def test_main_axes_are_the_last_one():
    cyclic = matrices(SO(3), finite_elements(SO(3), "cyclic(4)"))
    np.testing.assert_allclose(cyclic[:, 2], np.tile([0, 0, 1], (4, 1)), atol=1e-15)
    dihedral = matrices(SO(3), finite_elements(SO(3), "dihedral(3)"))
    np.testing.assert_allclose(dihedral[:, 2, 2], [1, 1, 1, -1, -1, -1], atol=1e-15)


@pytest.mark.parametrize("name", ["tetrahedral", "octahedral", "icosahedral"])
def test_rotations_of_solids_average_matrices_as_all_rotations_do(name):
    """Mean of R_ij R_kl: δ_ik δ_jl / 3, the Haar moment."""
    found = matrices(SO(3), finite_elements(SO(3), name))
    moments = np.einsum("nij,nkl->ijkl", found, found) / len(found)
    expected = np.einsum("ik,jl->ijkl", np.eye(3), np.eye(3)) / 3
    np.testing.assert_allclose(moments, expected, atol=1e-14)


def test_groups_with_more_than_rotations():
    np.testing.assert_array_equal(finite_elements(RxSO3(), "icosahedral")[:, 4], 0.0)
    np.testing.assert_array_equal(grid_elements(O(2), 3), finite_elements(O(2), "dihedral(3)"))
    scaled = finite_elements(RxSO2(), "cyclic(4)")
    np.testing.assert_allclose(scaled[:, :2], finite_elements(SO(2), "cyclic(4)"))
    np.testing.assert_array_equal(scaled[:, 2], 0.0)
    np.testing.assert_array_equal(grid_elements(AXIS, 3), finite_elements(SO(2), "cyclic(3)"))


@pytest.mark.parametrize(
    ("group", "name", "reflections", "size"),
    [
        (O(2), "cyclic(4)", False, 4),
        (O(2), "cyclic(4)", True, 8),
        (O(2), "dihedral(3)", False, 6),
        (O(3), "octahedral", False, 24),
        (O(3), "octahedral", True, 48),
        (O(3), "dihedral(2)", True, 8),
    ],
)
def test_groups_with_reflections(group, name, reflections, size):
    found = finite_elements(group, name, reflections=reflections)
    check_closed(matrices(group, found), size)
    assert set(found[:, -1]) == ({1.0, -1.0} if size > len(found[found[:, -1] > 0]) else {1.0})
    assert {*np.sign(np.linalg.det(matrices(group, found)))} == {*found[:, -1]}


BAD = {
    "name": (lambda: parse_name("cubic"), "name of a finite group must be .*, got 'cubic'"),
    "size": (lambda: parse_name("cyclic(0)"), r"name of a finite group .*, got 'cyclic\(0\)'"),
    "solid in the plane": (
        lambda: finite_elements(SO(2), "tetrahedral"),
        r"the finite group 'tetrahedral' is not in SO\(2\)",
    ),
    "reflections": (
        lambda: finite_elements(SO(2), "dihedral(3)"),
        r"the finite group 'dihedral\(3\)' with reflections is not in SO\(2\)",
    ),
    "mirror images": (
        lambda: finite_elements(SO(3), "octahedral", reflections=True),
        r"'octahedral' with reflections is not in SO\(3\)",
    ),
    "nothing": (lambda: finite_elements(Trivial(), "cyclic(2)"), "is not in Trivial"),
    "product": (
        lambda: finite_elements(Product((SO(2), SO(2))), "cyclic(2)"),
        "the finite group 'cyclic.2.' needs a product of trivial groups and one other, got Product",
    ),
    "no elements": (lambda: finite_elements(SO(2), "cyclic(00)"), r"got 'cyclic\(00\)'"),
    "grid": (lambda: grid_elements(SO(3), 4), r"Grid needs planar rotations .*, got SO\(3\)"),
    "grid of a line": (lambda: grid_elements(T(1), 4), "Grid needs planar rotations"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_there_raises(name):
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        call()
