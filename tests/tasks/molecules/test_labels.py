"""Targets by name, of molecules and of atoms, some of which are not known."""

import dataclasses

import numpy as np
import pytest

from eqattn.tasks.molecules import load
from eqattn.tasks.molecules.labels import (
    check_finite,
    check_known,
    select_labels,
    unknown_labels,
)


@pytest.fixture(scope="module")
def molecules():
    some = load()[:4]
    charge = np.arange(len(some.numbers)) * 1.0
    charge[: some.num_atoms[0]] = np.nan
    size, dipole = np.array([1.0, np.nan, 3.0, np.nan]), np.zeros((4, 3))
    return dataclasses.replace(
        some,
        properties={"size": size, "dipole": dipole, "nothing": np.full(4, np.nan)},
        atom_properties={"charge": charge, "force": np.zeros((len(charge), 3))},
    )


def test_labels_are_those_of_the_names(molecules):
    found = select_labels(molecules, ["size"], of_atoms=False)
    np.testing.assert_array_equal(found.values[:, 0], molecules.properties["size"])
    np.testing.assert_array_equal(found.owners, range(4))
    kept = found.without_unlabeled()
    np.testing.assert_array_equal(kept.molecules.ids, molecules.ids[[0, 2]])
    assert kept.without_unlabeled() is kept
    again = found[np.array([2, 1])]
    np.testing.assert_array_equal(again.values[:, 0], [3.0, np.nan])
    np.testing.assert_array_equal(again.molecules.ids, molecules.ids[[2, 1]])


def test_molecules_are_kept_of_which_something_is_known(molecules):
    mass = np.array([1.0, 2.0, np.nan, np.nan])
    both = dataclasses.replace(molecules, properties={**molecules.properties, "mass": mass})
    kept = select_labels(both, ["size", "mass"], of_atoms=False).without_unlabeled()
    np.testing.assert_array_equal(kept.molecules.ids, molecules.ids[:3])
    np.testing.assert_array_equal(kept.values, [[1.0, 1.0], [np.nan, 2.0], [3.0, np.nan]])


def test_labels_of_atoms_go_with_their_molecules(molecules):
    found = select_labels(molecules, ["charge"], of_atoms=True)
    np.testing.assert_array_equal(found.owners, molecules.owners)
    kept = found.without_unlabeled()
    np.testing.assert_array_equal(kept.molecules.ids, molecules.ids[1:])
    assert kept.values[0, 0] == molecules.num_atoms[0]
    begin, end = molecules.offsets[3:5]
    np.testing.assert_array_equal(found[np.array([3])].values[:, 0], np.arange(begin, end))
    assert unknown_labels({"train": found, "test": kept}, ["charge"]) == {
        "train": {"charge": molecules.num_atoms[0]}
    }


@pytest.mark.parametrize(
    ("names", "of_atoms", "message"),
    [
        ([], False, r"one or more names, got \[\]"),
        ("size", False, "one or more names, got 'size'"),
        (["size", "size"], False, "'size' is given twice"),
        (
            ["mass"],
            False,
            "'mass' is unknown; known are size, dipole, nothing, charge of atoms, force of atoms",
        ),
        (["mass"], True, "'mass' is unknown; known are size"),
        (["dipole"], False, r"'dipole' has the shape \[3\] for each molecule; only single numbers"),
        (["force"], True, r"'force' has the shape \[3\] for each atom; only single numbers are"),
        (["nothing"], False, r"these molecules have no values of 'nothing' \(NaN\)"),
        (
            ["charge"],
            False,
            "'charge' is known of each atom, and the model gives one number for each molecule; it "
            "must have the output 'per_point'",
        ),
        (
            ["size"],
            True,
            "'size' is known of each molecule, and the model gives one number for each atom; it "
            "must have the output 'invariant'",
        ),
    ],
)
def test_names_that_mean_nothing(molecules, names, of_atoms, message):
    with pytest.raises(ValueError, match=message):
        select_labels(molecules, names, of_atoms=of_atoms)


def test_a_file_that_names_nothing(molecules):
    bare = dataclasses.replace(molecules, properties={}, atom_properties={})
    with pytest.raises(ValueError, match="'gap' is unknown; known are none"):
        select_labels(bare, ["gap"], of_atoms=False)


def test_a_split_without_labels(molecules):
    found = select_labels(molecules, ["size"], of_atoms=False)
    with pytest.raises(
        ValueError, match=r"'size' is not known of any of the 1 molecules of the te"
    ):
        check_known({"train": found, "test": found[np.array([1])]}, ["size"])


def test_values_too_large_are_named(molecules):
    found = select_labels(molecules, ["charge"], of_atoms=True)
    check_finite(found.values, found, ["charge"])
    last = np.where(np.arange(len(found.values)) == len(found.values) - 1, np.inf, 0.0)
    value = found.values[-1, 0]
    with pytest.raises(ValueError, match=f"'charge' of molecule {molecules.ids[3]} is {value:g}, "):
        check_finite(last[:, None], found, ["charge"])
