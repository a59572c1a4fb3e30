"""What the certificate measures: small where it must be, and large where something is wrong."""

import jax.numpy as jnp
import pytest

from eqattn.certificate import CONTROLS, LAYERS, controls, passing_controls
from eqattn.certificate.measure import EXPECTED, STANDARD_ERRORS, measure
from eqattn.certificate.options import Options
from eqattn.fields import FieldType
from eqattn.groups import SE, SO, Sim
from eqattn.lift import Grid, Haar, Subgroup, lift
from eqattn.spaces import AffineSpace, Sphere, euclidean
from eqattn.testing import TOLERANCES
from tests.grids import some
from tests.tolerances import NEGATIVE_CONTROL

FIELDS = tuple((name, FieldType.parse(name)) for name in ("scalar", "vector"))
SPACE = euclidean(SE(2))
ATTENTION = Options("attention", "embedding", "dense", "all")
CONVOLUTION = Options("convolution", "embedding", "dense", "all")


# One of each family of rows; `eqattn check` itself measures them all.
QUICK = (*("samples of nine tenths of a circle", "a mask that is ignored", "pairs g_j g_i^-1"),)


@pytest.mark.parametrize("name", some(CONTROLS, *QUICK))
def test_controls_are_noticed(name):
    assert CONTROLS[name]() > NEGATIVE_CONTROL


@pytest.mark.slow
def test_what_controls_do_wrong_is_all_that_is_wrong():
    """The same measurement of the right lift is as small as rounding."""
    space, strategy, vector = controls._SPACE, controls._LIFT, FieldType.parse("vector")
    right = controls._error(space, lambda x, f: lift(space, x, f, lift=strategy, field=vector))
    assert right < TOLERANCES["float64"]


def test_a_control_that_passes_is_named(monkeypatch):
    monkeypatch.setattr(controls, "CONTROLS", {"harmless": lambda: 1e-3, "bad": lambda: 1.0})
    assert passing_controls() == {"harmless": 1e-3}
    monkeypatch.setattr(controls, "CONTROLS", {"not a number": lambda: float("nan")})
    assert list(passing_controls()) == ["not a number"]


@pytest.mark.parametrize("layer", some(LAYERS, "attention", "convolution", "representation"))
def test_exact_strategies(layer):
    dtype = "float32" if layer in ("attention", "model") else "float64"
    coordinates = "none" if layer == "representation" else "embedding"
    neighborhood = "all" if layer == "representation" else "NearestNeighbors(3)"
    options = Options(layer, coordinates, "chunked", neighborhood)
    found = measure(SPACE, Subgroup("cyclic(3)"), FIELDS, options, dtype)
    assert {m.field for m in found} == {name for name, _ in FIELDS}
    assert len(found) == 2 * len(FIELDS)  # the promise, and the coupled lift
    for m in found:
        assert 0 < m.mean_error <= m.max_error <= m.bound, m
        assert m.bound == 1e-10 if dtype == "float64" else 2e-6 <= m.bound <= 1e-4


def test_samples_are_right_in_their_mean():
    found = measure(SPACE, Haar(1), FIELDS, ATTENTION, "float64")
    expected = [m for m in found if m.guarantee == EXPECTED]
    assert len(expected) == len(FIELDS)
    for m in expected:
        assert 0.1 < m.mean_error <= m.max_error <= m.bound == STANDARD_ERRORS, m


@pytest.mark.slow
def test_a_random_grid_is_right_in_its_mean_for_rotations():
    """Also where the group scales, which the grid does not."""
    strategy = Grid(3, offset="random")
    found = measure(euclidean(Sim(2)), strategy, FIELDS, CONVOLUTION, "float64")
    assert sum(m.guarantee == EXPECTED for m in found) == len(FIELDS)
    assert all(m.max_error <= m.bound for m in found)


class SharedSphere(Sphere):
    """Says that samples may be shared, which the section of a sphere does not allow."""

    section_is_normal = True  # pyright: ignore[reportAssignmentType]


@pytest.mark.slow
def test_a_bias_is_noticed():
    found = measure(SharedSphere(SO(3)), Haar(1, shared=True), FIELDS, ATTENTION, "float64")
    biased = [m for m in found if m.guarantee == EXPECTED]
    assert all(m.max_error > m.bound == STANDARD_ERRORS for m in biased)
    right = measure(Sphere(SO(3)), Haar(1), FIELDS, ATTENTION, "float64")
    assert all(m.max_error <= m.bound for m in right)


def test_wrong_pairs_are_noticed():
    space = controls.WrongWayRound(SE(2))
    found = measure(space, Subgroup("cyclic(3)"), FIELDS, CONVOLUTION, "float64")
    assert all(m.max_error > NEGATIVE_CONTROL for m in found)


class Nowhere(AffineSpace):
    """Its points are no numbers."""

    def sample_points(self, key, shape=(), dtype=float):
        return jnp.full((*shape, self.point_dim), jnp.nan, dtype)


def test_outputs_that_hardly_vary_are_refused():
    with pytest.raises(
        FloatingPointError, match=r"the output of convolution .* of scalar with .* must be finite"
    ):
        measure(Nowhere(SE(2)), Subgroup("cyclic(3)"), FIELDS, CONVOLUTION, "float64")
