"""project(lift(f)) = f for each space, field and H' of a lift; and what is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn.fields import FieldType
from eqattn.lift import Coset, Frames, Grid, Haar, Subgroup, Unlifted, guarantee, lift, project
from tests.spaces.cases import MORE_SPACES, SPACES
from tests.tolerances import tolerance

ALL = SPACES | MORE_SPACES
KEY = jax.random.key(95)
N = 3
ANYWHERE = "scalar + pseudoscalar + vector"
FIELDS = {
    "SO(3)": "irrep(2)",
    "SE(2)": "tensor(2) + gauge(vector)",
    "SE(3)": "pseudovector + irrep(2, odd)",
    "RxSO2": "vector[1] + irrep(2)[-0.5]",
    "R2 E(2)": "gauge(pseudoscalar)",
    "R3 E(3)": "pseudovector",
    "R3 Sim(3)": "vector[1] + scalar[-1]",
    "R3 upright": "tensor(2)",
    "R3 about an axis": "pseudovector",
    "S2 SO(3)": "gauge(vector) + 2x gauge(irrep(3))",
    "S2 O(3)": "pseudovector + gauge(vector) + gauge(pseudoscalar)",
    "R3xS2 SE(3)": "gauge(vector)",
    "S2xR2": "tensor(2)",
}


def strategy_for(space):
    return Haar(2) if space.stabilizer.is_compact else Frames()


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def there_and_back(space, strategy, field, x, f):
    lifted = lift(space, x, f, key=KEY, strategy=strategy, field=field)
    return project(space, lifted, field, points=x)


@pytest.mark.parametrize("name", FIELDS)
def test_all_fields_on_the_group(name):
    space = ALL[name]
    field = FieldType.parse(f"{ANYWHERE} + {FIELDS[name]}")
    x = space.sample_points(KEY, (N,))
    f = jax.random.normal(KEY, (N, field.size(space)))
    out = there_and_back(space, strategy_for(space), field, x, f)
    np.testing.assert_allclose(out, f, atol=tolerance(jnp.float64))


@pytest.mark.parametrize(
    ("name", "over", "strategy", "text"),
    [
        ("SE(3)", "R3xS2 SE(3)", Subgroup("octahedral"), "scalar + vector[0] + pseudovector"),
        ("SE(3)", "R3xS2 SE(3)", Subgroup("icosahedral"), "tensor(2) + irrep(3) + gauge(vector)"),
        ("R3 E(3)", "R3xS2 E(3)", Subgroup("octahedral", True), "vector + 2x scalar"),
        ("R2 E(2)", "R2xS1 E(2)", Grid(3), "vector"),
    ],
)
def test_fields_on_coset_spaces(name, over, strategy, text):
    """H' = SO(2) or O(2): the samples of a finite group give the field back exactly."""
    space, field = ALL[name], FieldType.parse(text)
    x = space.sample_points(KEY, (N,))
    f = jax.random.normal(KEY, (N, field.size(space)))
    out = there_and_back(space, Coset(ALL[over], strategy), field, x, f)
    np.testing.assert_allclose(out, f, atol=tolerance(jnp.float64))


@pytest.mark.parametrize("name", ["T(3)", "R2xS1 SE(2)", "Sim(3) itself"])
def test_any_field_without_a_stabilizer(name):
    """H' = H trivial: nothing is sampled, and nothing is lost."""
    space, field = ALL[name], FieldType.parse(ANYWHERE)
    x = space.sample_points(KEY, (N,))
    f = jax.random.normal(KEY, (N, field.size(space)))
    out = there_and_back(space, Unlifted(), field, x, f)
    np.testing.assert_allclose(out, f, atol=tolerance(jnp.float64))


REFUSED = {
    "vectors on R3 with H' = H": ("SE(3)", Unlifted(), "vector", "Unlifted needs a field that the"),
    "vectors on S2 with H' = H": ("S2 SO(3)", Unlifted(), "vector", "Unlifted needs a field"),
    "winds with H' = H": ("S2 SO(3)", Unlifted(), "gauge(vector)", "Unlifted needs a field"),
    "pseudoscalars under O(3)": ("S2 O(3)", Unlifted(), "pseudoscalar", "Unlifted needs a field"),
    "too few directions": (
        *("SE(3)", Coset(ALL["R3xS2 SE(3)"], Subgroup("cyclic(4)")), "vector"),
        "field vector cannot be had back from a lift to PositionOrientation.*cyclic.4.*SO2",
    ),
    "nothing fixed": (
        *("R3 E(3)", Coset(ALL["R3xS2 E(3)"], Haar(4)), "scalar + pseudovector"),
        "field pseudovector cannot be had back .* leaves alone of it does not span it",
    ),
    "another group": (
        *("R3 E(3)", Coset(ALL["R3xS2 SE(3)"], Haar(4)), "scalar"),
        "space of Coset must be a homogeneous space of Reflected.* over Translated.*, got Position",
    ),
    "not between": (
        *("R3xS2 SE(3)", Coset(ALL["SE(3)"], Haar(4)), "scalar"),
        "space of Coset must have a compact stabilizer inside that of PositionOr.*; got Translated",
    ),
    "frames of elements": ("SE(2) itself", Frames(), "scalar", "Frames has nothing to choose on"),
    "frames of a product": ("S2xR2", Frames(), "scalar", None),
    "haar of scalings": ("R3 Sim(3)", Haar(2), "scalar", r"Haar needs a compact .*use Frames\(\)"),
    "subgroup on S2": ("S2 SO(3)", Subgroup("cyclic(2)"), "scalar", "needs a section in a normal"),
    "grid about an axis": (
        "R3 about an axis",
        Grid(3),
        "scalar",
        "Grid needs a product of trivial",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_triples_raise(name):
    space, strategy, text, message = REFUSED[name]
    space, field = ALL[space], FieldType.parse(text)
    if message is None:
        assert guarantee(space, strategy, field).exact
        return
    with pytest.raises(ValueError, match=message):
        guarantee(space, strategy, field)
    x = space.sample_points(KEY, (N,))
    with pytest.raises(ValueError, match=message):
        lift(space, x, jnp.ones((N, field.size(space))), strategy=strategy, field=field, key=KEY)
