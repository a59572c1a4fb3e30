"""Arguments of a wrong Python type: one clear error that names the argument, wherever it is given.

Users have no checks of types at run time, so here they are switched off.
"""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn import attention, groups, layers, lift, models, spaces, testing
from eqattn.checks import check_flags, check_instance, check_key, check_numbers, check_sizes
from tests import small

SPACE = spaces.euclidean(groups.SE(3))
POINTS, FEATURES = jnp.ones((2, 3, 3)), jnp.ones((2, 3, 4))
KEY = jax.random.key(0)

pytestmark = pytest.mark.usefixtures("no_type_checks")


def test_sizes_are_integers_of_any_kind():
    check_sizes({"a": 1, "b": np.int32(3)})
    check_sizes({"c": 0}, minimum=0)
    for value in (2.0, "2", True, None, np.float32(1), np.bool_(True)):
        with pytest.raises(TypeError, match="b must be an integer, got "):
            check_sizes({"a": 1, "b": value})
    with pytest.raises(ValueError, match="c must be at least 2, got 1"):
        check_sizes({"c": 1}, minimum=2)


def test_numbers_are_real():
    check_numbers({"a": 1, "b": 2.5, "c": np.float32(3)})
    for value in ("2", True, None, 1j, jnp.ones(())):
        with pytest.raises(TypeError, match="b must be a real number, got "):
            check_numbers({"a": 1.0, "b": value})


def test_flags_are_true_or_false():
    check_flags({"a": True, "b": np.bool_(False)})
    for value in (1, 0.0, "no", None, jnp.ones((), bool)):
        with pytest.raises(TypeError, match="b must be True or False, got "):
            check_flags({"a": True, "b": value})


def test_instances_are_of_a_class_or_one_of_several():
    check_instance("a", 1, int)
    check_instance("a", None, int | str | None)
    with pytest.raises(TypeError, match="a must be a int, got 'x'"):
        check_instance("a", "x", int)
    with pytest.raises(TypeError, match=r"a must be a int, str or None, got 1\.5"):
        check_instance("a", 1.5, int | str | None)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: attention.NearestNeighbors(2.5), "num_neighbors must be an integer, got 2.5"),
        (lambda: attention.NearestNeighbors(True), "num_neighbors must be an integer, got True"),
        (lambda: attention.NearestNeighbors(2, 3.5), "candidates must be an integer, got 3.5"),
        (lambda: attention.RadiusNeighbors("2", 3), "radius must be a real number, got '2'"),
        (lambda: attention.RadiusNeighbors(2.0, "3"), "num_neighbors must be an integer, got '3'"),
        (lambda: attention.PairFeatures("SE(3)"), r"space must be a Space, got 'SE\(3\)'"),
        (lambda: attention.PairFeatures(SPACE, num_radial=2.5), "num_radial must be an integer"),
        (lambda: attention.PairFeatures(SPACE, cutoff="6"), "cutoff must be a real number"),
        (lambda: lift.Haar(2.0), "num_samples must be an integer, got 2.0"),
        (lambda: lift.Haar(shared="no"), "shared must be True or False, got 'no'"),
        (lambda: lift.Grid(2.0), "num_samples must be an integer, got 2.0"),
        (lambda: lift.Subgroup("cyclic(2)", 1), "reflections must be True or False, got 1"),
        (lambda: lift.Frames(min_gap="x"), "min_gap must be a real number, got 'x'"),
        (lambda: lift.Coset("R3xS2", lift.Haar()), "space of Coset must be a Space, got 'R3xS2'"),
        (
            lambda: lift.Coset(SPACE, lift.Frames()),
            r"lift of Coset must be a StabilizerLift, got Frames\(",
        ),
        (lambda: spaces.group_space("SE(3)"), "group of GroupSpace must be a LieGroup, got 'SE"),
        (lambda: layers.LieSelfAttention(8.0, SPACE, rngs=nnx.Rngs(0)), "dim must be an int"),
        (
            lambda: layers.Attention(num_heads=2.0),
            r"num_heads of Attention must be an integer, got 2\.0",
        ),
        (
            lambda: layers.MLPLocation(cutoff="6"),
            "cutoff of MLPLocation must be a number, got '6'",
        ),
        (
            lambda: layers.LieSelfAttention(8, groups.SE(3), rngs=nnx.Rngs(0)),
            r"space must be a Space, got SE\(3\)",
        ),
        (
            lambda: layers.LieSelfAttention(8, SPACE, "attention", rngs=nnx.Rngs(0)),
            "layer must be a Attention, got 'attention'",
        ),
        (lambda: layers.TokenMLP(8, 8.0, rngs=nnx.Rngs(0)), "hidden_dim must be an integer"),
        (lambda: layers.Head(8, 1, depth=1.5, rngs=nnx.Rngs(0)), "depth must be an integer"),
        (
            lambda: layers.TransformerBlock(None, None, 8.0, rngs=nnx.Rngs(0)),
            "dim must be an integer, got 8.0",
        ),
        (
            lambda: models.LieTransformer(SPACE, 4, 1, num_layers=1.0, rngs=nnx.Rngs(0)),
            "num_layers of LieTransformerConfig must be an integer, got 1.0",
        ),
        (
            lambda: models.LieTransformer(SPACE, 4, 1, mlp_ratio="2", rngs=nnx.Rngs(0)),
            "mlp_ratio of LieTransformerConfig must be a number, got '2'",
        ),
        (
            lambda: models.PotentialMLP(6, 2, 2, dim=8.0, rngs=nnx.Rngs(0)),
            "dim must be an integer, got 8.0",
        ),
        (
            lambda: models.HamiltonianNetwork("se3"),
            "potential_model must be a model such as a LieTransformer, got 'se3'",
        ),
    ],
)
def test_constructors_name_what_is_of_a_wrong_type(make, message):
    with pytest.raises(TypeError, match=message):
        make()


LIFTS = "lift must be a Lift"


@pytest.mark.parametrize("given", ["haar", None, lift.Haar], ids=str)
def test_a_lift_is_an_object_and_no_name(given):
    message = f"{LIFTS}, got {re.escape(repr(given))}"
    for use in (
        lambda: lift.lift(SPACE, POINTS, FEATURES, key=KEY, lift=given),
        lambda: lift.guarantee(SPACE, given),
    ):
        with pytest.raises(TypeError, match=message):
            use()
    # Models also read how a lift is written, as files hold it; that is no name alone either.
    error = ValueError if isinstance(given, str) else TypeError
    with pytest.raises(error, match=r"lift of LieTransformerConfig must be (a Lift|one of Coset)"):
        models.LieTransformer(SPACE, 4, 1, lift=given, rngs=nnx.Rngs(0))


def test_spaces_and_fields_are_objects_and_no_names():
    x, f = POINTS, FEATURES
    for use, message in (
        (lambda: lift.lift("R3", x, f, key=KEY), "space must be a Space, got 'R3'"),
        (lambda: lift.project("R3", lifted()), "space must be a Space, got 'R3'"),
        (lambda: lift.project(SPACE, f), "lifted must be a Lifted, got "),
        (
            lambda: lift.lift(SPACE, x, f, key=KEY, field="scalar + vector"),
            r"field must be a FieldType or None, got 'scalar \+ vector'",
        ),
        (
            lambda: lift.project(SPACE, lifted(), "scalar + vector"),
            r"field must be a FieldType or None, got 'scalar \+ vector'",
        ),
        (
            lambda: models.LieTransformer(SPACE, 4, 1, neighborhood=8, rngs=nnx.Rngs(0)),
            "neighborhood of LieTransformerConfig must be a NeighborhoodKind, got 8",
        ),
    ):
        with pytest.raises(TypeError, match=message):
            use()


BAD_KEYS = [
    (0, "key must be made by jax.random.key, got 0"),
    ("0", "key must be made by jax.random.key, got '0'"),
    (jax.random.PRNGKey(0), r"key must be .*, got an array of uint32 of shape \(2,\)"),
    (np.zeros(2, np.uint32), r"key must be .*, got an array of uint32 of shape \(2,\)"),
    (jnp.ones(()), r"key must be .*, got an array of float64 of shape \(\)"),
]


@functools.cache
def lifted():
    return lift.lift(SPACE, POINTS, FEATURES, key=KEY)


def transformer(**options):
    sizes = {"dim": 4, "num_layers": 1, "layer": small.attention(num_heads=1, width=2)}
    sizes["lift"] = lift.Haar()
    return models.LieTransformer(SPACE, 4, 1, **sizes, **options, rngs=nnx.Rngs(0))


TAKE_KEYS = {
    "lift": lambda key: lift.lift(SPACE, POINTS, FEATURES, key=key),
    "lift_without_samples": lambda key: lift.lift(
        spaces.euclidean(groups.T(3)), POINTS, FEATURES, key=key
    ),
    "neighbors": lambda key: attention.find_neighbors(
        SPACE, lifted(), attention.NearestNeighbors(1, 2), key
    ),
    "model": lambda key: transformer()(POINTS, FEATURES, key=key),
    "model_of_many_lifts": lambda key: transformer()(POINTS, FEATURES, key=key, num_lifts=2),
    "hamiltonian": lambda key: models.HamiltonianNetwork(transformer()).roll_out(
        POINTS, POINTS, FEATURES, jnp.arange(2.0), key=key
    ),
    "coupled_lift": lambda key: testing.coupled_lift_error(
        lambda lifted: lifted.features, SPACE, key=key
    ),
}


@pytest.mark.parametrize("name", TAKE_KEYS)
def test_keys_are_refused_alike_everywhere(name):
    for key, message in BAD_KEYS:
        with pytest.raises(TypeError, match=message):
            TAKE_KEYS[name](key)
    with pytest.raises(ValueError, match=r"key must be one key, got an array of keys of shape \(2"):
        TAKE_KEYS[name](jax.random.split(KEY))


def test_good_keys_pass_also_inside_transformations():
    check_key(None)
    check_key(KEY)
    check_key(jax.random.key(0, impl="rbg"))
    jax.jit(check_key)(KEY)
    jax.vmap(check_key)(jax.random.split(KEY))
