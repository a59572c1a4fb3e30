import numpy as np
import pytest

from eqattn.tasks.molecules import TARGETS, target_columns

KCAL_PER_MOL_IN_EV = 0.0433641


def test_the_order_is_the_usual_one_of_qm9():
    usual = "mu, alpha, homo, lumo, gap, r2, zpve, u0, u, h, g, cv"
    assert ", ".join(TARGETS) == usual
    assert all(name == target.name for name, target in TARGETS.items())


def test_energies_are_in_ev_and_the_rest_in_their_own_units():
    units = {name: target.unit for name, target in TARGETS.items()}
    assert units.pop("mu") == "D"
    assert units.pop("alpha") == "bohr^3"
    assert units.pop("r2") == "bohr^2"
    assert units.pop("cv") == "cal/(mol K)"
    assert set(units.values()) == {"eV"}


@pytest.mark.parametrize(
    ("name", "hartree", "kcal_per_mol"),
    # Total and atomization energies of methane as published with QM9.
    [
        ("u0", -40.47893, -395.9996),
        ("u", -40.476062, -398.6433),
        ("h", -40.475117, -401.0146),
        ("g", -40.498597, -372.4718),
    ],
)
def test_thermochemical_energies_are_atomization_energies(name, hartree, kcal_per_mol):
    value = TARGETS[name].convert(hartree, np.array([6, 1, 1, 1, 1]))
    np.testing.assert_allclose(value, kcal_per_mol * KCAL_PER_MOL_IN_EV, rtol=2e-6)


def test_orbital_energies_have_no_reference():
    assert TARGETS["gap"].convert(0.5048, np.array([6])) == pytest.approx(13.7363, abs=1e-4)


def test_columns_follow_the_names():
    np.testing.assert_array_equal(target_columns(("cv", "mu", "gap")), [11, 0, 4])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["gap", "mass"], "'mass' is unknown; known are mu, alpha"),
        (["gap", "mu", "gap"], "'gap' is given twice"),
        ([], "one or more names, got \\[\\]"),
        ("gap", "one or more names, got 'gap'"),
    ],
)
def test_bad_names(names, message):
    with pytest.raises(ValueError, match=message):
        target_columns(names)
