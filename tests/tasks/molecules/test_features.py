"""What models know of atoms."""

import numpy as np
import pytest

from eqattn.data.atoms.elements import one_hot_table
from eqattn.tasks.molecules import features


def test_features_are_one_hot_times_powers_of_the_charge():
    result = features(np.array([[1, 6, 7, 8, 9, 0]], np.uint8))
    assert result.shape == (1, 6, 15)
    assert result.dtype == np.float32
    expected = np.zeros((6, 5, 3))
    for element, number in enumerate((1, 6, 7, 8, 9)):
        expected[element, element] = [1.0, number / 9, (number / 9) ** 2]
    np.testing.assert_allclose(result[0], expected.reshape(6, 15), rtol=1e-6)


def test_features_of_other_elements_are_one_hot():
    result = features(np.array([[16, 0, 118, 1]], np.uint8), ["H", "S", "Og"])
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result[0], [[0, 1, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0]])


@pytest.mark.parametrize("number", [-1, 2, 5, 10, 118, 119])
@pytest.mark.parametrize("elements", [(), ("H", "S")])
def test_features_of_an_unknown_element(number, elements):
    known = "H 1, S 16" if elements else "H 1, C 6, N 7, O 8, F 9"
    message = f"unknown element with atomic number {number}; known are {known}"
    with pytest.raises(ValueError, match=message):
        features(np.array([1, number, 0]), elements)


def test_elements_that_there_are_not():
    with pytest.raises(ValueError, match="elements: 'Xx' is unknown"):
        one_hot_table(["H", "Xx"])
