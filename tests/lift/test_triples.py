"""project(lift(f)) = f for each space, field and H' of a lift; and what is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn.fields import FieldType
from eqattn.groups import SO
from eqattn.groups.reflected import Reflected
from eqattn.lift import Coset, Frames, Grid, Haar, NoLift, Subgroup, guarantee, lift, project
from eqattn.spaces import group_space
from tests.grids import some
from tests.spaces.cases import MORE_SPACES, SPACES
from tests.tolerances import NEGATIVE_CONTROL, tolerance

ALL = SPACES | MORE_SPACES
KEY = jax.random.key(95)
N = 3
TERMS = (
    *("scalar", "pseudoscalar", "vector", "pseudovector", "tensor(2)", "irrep(2)"),
    *("gauge(vector)", "gauge(pseudoscalar)", "scalar[-1]", "vector[1]"),
)
SCALED = ("RxSO2", "R2 Sim(2)", "R3 Sim(3)", "Sim(3) itself")
PSEUDOSCALARS = {"pseudoscalar", "gauge(pseudoscalar)"}
# Programs are slow to compile: the other spaces run with `make test-all`.
QUICK = {"RxSO2", "R2 E(2)", "S2 SO(3)"}
UNTURNED = {"T(1)", "T(3)", "R2 unmoved"}
OTHERS = {  # further fields, on the spaces that they are made for
    "SO(3)": "irrep(3)",
    "SE(3)": "irrep(2, odd) + tensor(3)",
    "S2 SO(3)": "2x gauge(irrep(3))",
}


def existing(name):
    """Which of the terms make sense on a space, by its dimension, scalings and orbits."""
    space, missing = ALL[name], set()
    if space.vector_dim != 3:
        missing |= {"pseudovector"}
    if space.vector_dim not in (2, 3):
        missing |= {"irrep(2)"}
    if space.has_exceptional_orbits:  # at which a gauge has no meaning
        missing |= {"gauge(vector)", "gauge(pseudoscalar)"}
    if name not in SCALED:
        missing |= {"scalar[-1]", "vector[1]"}
    return {term for term in TERMS if term not in missing}


def left_alone(name):
    """Which of them the stabilizer does not change, so that they need no lift (H' = H)."""
    space = ALL[name]
    if space.has_exceptional_orbits:
        return set()
    if space.stabilizer.element_dim == 0:
        return existing(name)
    return {"scalar"} if isinstance(space.stabilizer, Reflected) else {"scalar"} | PSEUDOSCALARS


def strategy_for(space):
    if space.stabilizer.element_dim == 0 and not space.has_exceptional_orbits:
        return NoLift()
    return Haar(2) if space.stabilizer.is_compact else Frames()


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def there_and_back(space, strategy, field, f):
    x = space.sample_points(KEY, (N,))
    lifted = lift(space, x, f, key=KEY, lift=strategy, field=field)
    return lifted.features, project(space, lifted, field, points=x)


def check_there_and_back(space, strategy, terms):
    """project(lift(f)) = f for the direct sum of the terms; and the features that are lifted."""
    field = FieldType.parse(" + ".join(sorted(terms)))
    f = jnp.asarray(np.random.default_rng(0).normal(size=(N, field.size(space))))
    features, out = there_and_back(space, strategy, field, f)
    np.testing.assert_allclose(out, f, atol=tolerance(jnp.float64))
    return np.asarray(features), np.asarray(f)


def check_refused(space, strategy, terms, message):
    for term in terms:
        with pytest.raises(ValueError, match=message):
            guarantee(space, strategy, FieldType.parse(term))


def check_allowed(space, strategy, terms):
    for term in terms:
        guarantee(space, strategy, FieldType.parse(term))


def by_speed(names):
    """The names as parameters, with those that are not quick for `make test-all`."""
    return [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in names]


@pytest.mark.parametrize("name", by_speed(ALL))
def test_what_is_allowed(name):
    """H' = {e}: every field that makes sense. H' = H: what the stabilizer leaves alone."""
    space, makes_sense, fixed = ALL[name], existing(name), left_alone(name)
    nonsense = r"pseudovector needs|irrep.* needs|gauge.* needs one stabilizer|scale weight of "
    changed = "NoLift (needs a field that the stabilizer .* does not change|is exact only on)"
    check_refused(space, strategy_for(space), set(TERMS) - makes_sense, nonsense)
    check_refused(space, NoLift(), makes_sense - fixed, changed)
    check_allowed(space, strategy_for(space), makes_sense)
    check_allowed(space, NoLift(), fixed)


@pytest.mark.parametrize("name", by_speed(ALL))
def test_all_fields_on_the_group(name):
    """H' = {e}; where there is nothing to draw, H' = H is the same."""
    others = OTHERS.get(name, "scalar").split(" + ")
    features, f = check_there_and_back(
        ALL[name], strategy_for(ALL[name]), [*existing(name), *others]
    )
    if name not in UNTURNED:
        assert np.abs(features - f[:, None]).max() > NEGATIVE_CONTROL


@pytest.mark.parametrize(
    "name", by_speed(n for n in ALL if 0 < len(left_alone(n)) < len(existing(n)))
)
def test_fields_without_a_lift(name):
    """H' = H, where it is not trivial."""
    features, f = check_there_and_back(ALL[name], NoLift(), left_alone(name))
    if left_alone(name) == {"scalar"}:
        np.testing.assert_array_equal(features, f[:, None])


POLAR = {"scalar", "vector", "irrep(2)", "gauge(vector)"}
"""What has a part that mirror planes leave alone; tensor(2) contains a pseudovector."""
COSETS = {
    "R2xS1 SE(2)": ("SE(2)", ALL["R2xS1 SE(2)"], Grid(3), existing("SE(2)")),
    "R2xS1 E(2)": ("R2 E(2)", ALL["R2xS1 E(2)"], Grid(3), POLAR),
    "R3xS2 SE(3)": ("SE(3)", ALL["R3xS2 SE(3)"], Subgroup("icosahedral"), existing("SE(3)")),
    "R3xS2 E(3)": ("R3 E(3)", ALL["R3xS2 E(3)"], Subgroup("icosahedral", True), POLAR),
    "SO(3) over S2": ("S2 SO(3)", group_space(SO(3)), Haar(2), existing("S2 SO(3)")),
    "S2 itself": ("S2 SO(3)", ALL["S2 SO(3)"], Haar(2), {"scalar"} | PSEUDOSCALARS),
    "R3 itself": ("R3 E(3)", ALL["R3 E(3)"], Haar(2), {"scalar"}),
}
"""H' between: the space, G/H', samples that give the field back exactly, and which fields."""


QUICK_COSETS = ("R2xS1 E(2)",)


@pytest.mark.parametrize("name", some(COSETS, *QUICK_COSETS))
def test_fields_on_coset_spaces(name):
    """H' = {e}, a mirror, SO(2), O(2), or H: samples that count up to H' give the field back."""
    below, over, strategy, allowed = COSETS[name]
    space = ALL[below]
    check_there_and_back(space, Coset(over, strategy), allowed)
    for samples in (strategy, Haar(1)):
        message = "cannot be had back from a lift to .* leaves alone of it does not span it"
        check_refused(space, Coset(over, samples), existing(below) - allowed, message)
        check_allowed(space, Coset(over, samples), allowed)


REFUSED = {
    "vectors on R3 with H' = H": ("SE(3)", NoLift(), "vector", "NoLift needs a field that the"),
    "vectors on S2 with H' = H": ("S2 SO(3)", NoLift(), "vector", "NoLift needs a field"),
    "winds with H' = H": ("S2 SO(3)", NoLift(), "gauge(vector)", "NoLift needs a field"),
    "pseudoscalars under O(3)": ("S2 O(3)", NoLift(), "pseudoscalar", "NoLift needs a field"),
    "too few directions": (
        *("SE(3)", Coset(ALL["R3xS2 SE(3)"], Subgroup("cyclic(4)")), "vector"),
        "field vector cannot be had back from a lift to position_orientation.*cyclic.4.*SO.2",
    ),
    "nothing fixed": (
        *("R3 E(3)", Coset(ALL["R3xS2 E(3)"], Haar(4)), "scalar + pseudovector"),
        "field pseudovector cannot be had back .* leaves alone of it does not span it",
    ),
    "another group": (
        *("R3 E(3)", Coset(ALL["R3xS2 SE(3)"], Haar(4)), "scalar"),
        "space of Coset must be a homogeneous space of E.3. over euclidean.*, got position",
    ),
    "not between": (
        *("R3xS2 SE(3)", Coset(ALL["SE(3)"], Haar(4)), "scalar"),
        "space of Coset must have a compact stabilizer inside that of position_or.*; got euclid",
    ),
    "frames of elements": ("SE(2) itself", Frames(), "scalar", "Frames has nothing to choose on"),
    "haar of scalings": ("R3 Sim(3)", Haar(2), "scalar", r"Haar needs a compact .*use Frames\(\)"),
    "subgroup on S2": ("S2 SO(3)", Subgroup("cyclic(2)"), "scalar", "needs a section in a normal"),
    "grid about an axis": (
        "R3 about an axis",
        Grid(3),
        "scalar",
        "Grid.* needs one stabilizer for all points",
    ),
}


def test_frames_of_a_product_are_those_of_the_factors():
    assert guarantee(ALL["S2xR2"], Frames(), FieldType.parse("vector")).exact


@pytest.mark.parametrize("name", REFUSED)
def test_other_triples_raise(name):
    space, strategy, text, message = REFUSED[name]
    space, field = ALL[space], FieldType.parse(text)
    with pytest.raises(ValueError, match=message):
        guarantee(space, strategy, field)
    x = jax.jit(lambda: space.sample_points(KEY, (N,)))()
    with pytest.raises(ValueError, match=message):
        lift(space, x, jnp.ones((N, field.size(space))), lift=strategy, field=field, key=KEY)
