import numpy as np
import pytest

from eqattn.tasks.molecules import TARGETS
from eqattn.tasks.molecules.targets import target_units

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


def test_units_of_a_file_are_given_or_those_of_the_same_name():
    names = ("gap", "charge")
    assert target_units(names, (), is_named=True) == ("eV", "1")
    assert target_units(names, (), is_named=False) == ("eV", "1")
    assert target_units(names, ("meV",), is_named=False) == ("meV", "meV")
    assert target_units(names, ("meV", "e"), is_named=False) == ("meV", "e")


def test_a_unit_that_is_assumed_is_told(caplog):
    """A gap in hartree would be called one in electronvolts without a word."""
    with caplog.at_level("INFO", logger="eqattn"):
        target_units(("gap", "charge"), ("hartree", "e"), is_named=False)
        target_units(("gap",), (), is_named=True)
        assert caplog.text == ""
        target_units(("gap", "charge"), (), is_named=False)
    assert "gap is taken to be in eV, as in QM9; --options.unit says another unit." in caplog.text
    assert "charge" not in caplog.text


def test_bad_units():
    with pytest.raises(ValueError, match="unit must be given for a file only, got eV"):
        target_units(("gap",), ("eV",), is_named=True)
    with pytest.raises(ValueError, match="one for each of the 3 targets, got a, b"):
        target_units(("x", "y", "z"), ("a", "b"), is_named=False)
