import numpy as np
import pytest

from eqattn.tasks.core.standardization import fit, standardize, unstandardize

RNG = np.random.default_rng(0)
VALUES = np.stack([RNG.normal(-400.0, 2.0, 500), RNG.normal(5.0, 1e-3, 500)], axis=1)


def test_standardized_columns_have_mean_0_and_deviation_1():
    constants = fit(VALUES, ["a", "b"], ["eV", "D"])
    assert [(c.target, c.unit) for c in constants] == [("a", "eV"), ("b", "D")]
    standardized = standardize(VALUES, constants)
    assert standardized.dtype == np.float32
    np.testing.assert_allclose(standardized.mean(0), 0.0, atol=1e-6)
    np.testing.assert_allclose(standardized.std(0), 1.0, rtol=1e-6)


def test_constants_are_of_what_is_known():
    unknown = np.full((7, 2), np.nan)
    assert fit(np.concatenate([VALUES, unknown]), ["a", "b"], ["eV", "D"]) == fit(
        VALUES, ["a", "b"], ["eV", "D"]
    )
    constants = fit(VALUES, ["a", "b"], ["eV", "D"])
    assert np.isnan(standardize(unknown, constants)).all()


def test_there_and_back():
    constants = fit(VALUES, ["a", "b"], ["eV", "D"])
    back = unstandardize(standardize(VALUES, constants), constants)
    assert back.dtype == np.float64
    np.testing.assert_allclose(back, VALUES, atol=1e-6)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full((5, 1), 3.0), r"targets: 'a' is constant over the training split \(3 eV\)"),
        (np.full((1, 1), 3.0), "targets: 'a' is constant"),
        (np.array([[1.0], [np.nan]]), r"targets: 'a' is constant over the training split \(1 eV\)"),
        (np.array([[np.nan], [np.nan]]), "targets: 'a' is not known of any training example"),
        (np.array([[1.0], [np.inf]]), "targets: 'a' has values that are not finite"),
    ],
)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_targets_without_a_scale_are_named(values, message):
    with pytest.raises(ValueError, match=message):
        fit(values, ["a"], ["eV"])
