"""Which elements each strategy lifts to, for what it is exact, and where it is refused."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn import testing
from eqattn.fields import FieldType, scalars, vectors
from eqattn.groups import SE, SO, Sim, finite_elements
from eqattn.layers import Attention, LieSelfAttention
from eqattn.lift import (
    Frames,
    Grid,
    Haar,
    Lifted,
    NoLift,
    Subgroup,
    guarantee,
    lift,
    project,
)
from eqattn.models import LieTransformer
from eqattn.spaces import euclidean, product_space
from tests.compiled import compiled
from tests.grids import some
from tests.spaces.cases import MORE_SPACES
from tests.spaces.cases import SPACES as PLAIN_SPACES
from tests.tolerances import NEGATIVE_CONTROL, tolerance

SPACES = PLAIN_SPACES | MORE_SPACES
KEY = jax.random.key(80)
B, N = 4, 4
FIELD = FieldType.parse("scalar + vector")
ROWS = {
    "SE(2)": (Grid(3, offset=0.7), Grid(3, offset="random")),
    "SE(3)": (Subgroup("dihedral(3)"),),
    "R3 Sim(3)": (Frames(1e-3),),
}
SLOW_ROWS = {
    "SE(2)": (Subgroup("cyclic(6)"),),
    "SE(3)": (Haar(3, shared=True),),
    "SO(2)": (Frames(),),
    "SO(3)": (Frames(),),
    "R2 E(2)": (Subgroup("dihedral(3)"),),
    "R3 upright": (Grid(3),),
    "R3 E(3)": (Subgroup("dihedral(2)", reflections=True),),
    "S2 O(3)": (Frames(1e-3),),
    "R3xS2 SE(3)": (Frames(1e-3),),
}
rows = pytest.mark.parametrize(
    ("name", "strategy"),
    [
        *((name, s) for name, strategies in ROWS.items() for s in strategies),
        *(pytest.param(n, s, marks=pytest.mark.slow) for n, (s,) in SLOW_ROWS.items()),
    ],
    ids=str,
)


def smooth(lifted: Lifted, space, size: int):
    """An equivariant map of functions on the group: nonlinear attention with fixed weights."""
    pairs = space.pair_coordinates(
        lifted.elements[..., :, :, None, None, :],
        lifted.elements[..., None, None, :, :, :],
        "embedding",
    )
    mix = lambda seed, *shape: np.random.default_rng(seed).normal(size=shape) / np.sqrt(shape[0])
    logits = (
        2.0 * jnp.sin(pairs @ mix(1, pairs.shape[-1])) + lifted.log_weights[..., None, None, :, :]
    )
    weights = jax.nn.softmax(logits, axis=(-2, -1))
    values = jnp.sin(lifted.features @ mix(2, lifted.features.shape[-1], 8))
    pooled = jnp.einsum("...ikjl,...jlc->...ikc", weights, values)
    bend = jnp.einsum("...ikjl,...ikjlm->...ikm", weights, pairs) @ mix(3, pairs.shape[-1], 8)
    return jnp.sin(pooled + bend) @ mix(4, 8, size)


def model(space, strategy, points, features, log_weights=None, key=KEY):
    options = {"key": key, "lift": strategy, "field": FIELD, "log_weights": log_weights}
    lifted = lift(space, points, features, **options)
    out = smooth(lifted, space, FIELD.size(space))
    return project(space, lifted.replace_features(out), FIELD, points=points)


@functools.partial(jax.jit, static_argnums=(0, 1))
def guaranteed(space, strategy, key):
    return testing.guaranteed_elements(space, strategy, key, (B,))


@rows
def test_exact_to_what_is_guaranteed(name, strategy):
    """And, for finite groups, to nothing else."""
    space = SPACES[name]
    fn = jax.jit(functools.partial(model, space, strategy))
    options = {"input_field": FIELD, "output_field": FIELD, "num_points": N, "num_examples": B}
    u = guaranteed(space, strategy, KEY)
    testing.assert_equivariant(fn, space, elements=u, **options)
    control = (
        options
        if not isinstance(strategy, Frames)
        else options | {"output_field": scalars(FIELD.size(space)), "elements": u}
    )
    assert testing.equivariance_error(fn, space, **control) > NEGATIVE_CONTROL


@functools.partial(jax.jit, static_argnums=(0, 1))
def stabilizers(space, strategy, x, key=KEY, ids=None):
    """h_ik [B N S E] of a lift: section(x_i)⁻¹ g_ik."""
    lifted = lift(space, x, x, key=key, lift=strategy, example_ids=ids)
    section = space.section(x)[..., None, :]
    return space.group.compose(space.group.inverse(section), lifted.elements)


def positions(space, num=N):
    return jnp.asarray(np.random.default_rng(81).normal(size=(2, num, space.point_dim)))


def test_finite_samples_are_the_same_at_all_points():
    space = SPACES["SE(3)"]
    found = stabilizers(space, Subgroup("tetrahedral"), positions(space))
    expected = finite_elements(SO(3), "tetrahedral")
    np.testing.assert_allclose(found[..., :4], np.broadcast_to(expected, (2, N, 12, 4)), atol=1e-14)


def test_offsets_of_grids():
    """Fixed, or drawn for each example from its id and the key alone; the same at all points."""
    space = SPACES["SE(2)"]
    x = positions(space)
    angles = lambda h: np.arctan2(h[..., 1], h[..., 0])
    fixed = angles(stabilizers(space, Grid(4, offset=0.3), x))
    expected = [0.3, 0.3 + np.pi / 2, 0.3 - np.pi, 0.3 - np.pi / 2]
    np.testing.assert_allclose(fixed, np.broadcast_to(expected, (2, N, 4)), atol=1e-12)
    strategy, ids = Grid(4, offset="random"), jnp.array([5, 6])
    drawn = stabilizers(space, strategy, x, ids=ids)
    np.testing.assert_allclose(drawn, drawn[:, :1] + np.zeros((N, 1, 1)), atol=1e-14)
    assert np.abs(drawn[0] - drawn[1]).max() > 0.01
    np.testing.assert_allclose(
        stabilizers(space, strategy, x[::-1, :2], ids=ids[::-1])[:, :, 0],
        drawn[::-1, :2, 0],
        atol=1e-14,
    )
    np.testing.assert_allclose(np.diff(np.unwrap(angles(drawn))), np.pi / 2, atol=1e-12)
    assert np.abs(stabilizers(space, strategy, x, jax.random.key(1), ids) - drawn).max() > 0.01
    np.testing.assert_array_equal(drawn, stabilizers(space, strategy, x, ids=ids))


def test_random_grids_are_unbiased():
    """Means over keys before and after any rotation agree within 4 standard errors."""
    space, num = SPACES["SE(2)"], 1000
    x, f = positions(space)[0], jnp.asarray(np.random.default_rng(1).normal(size=(N, 3)))
    u = jax.jit(space.group.exp)(np.array([[0.5, 0.2, -0.1]]))
    turn = compiled(FIELD.transform)
    fn = functools.partial(model, space, Grid(2, offset="random"))
    run = jax.jit(jax.vmap(lambda x, f, key: fn(x, f, None, key), (None, None, 0)))
    keys = jax.random.split(jax.random.key(2), 2 * num)
    here = turn(space, u, run(x, f, keys[:num]))
    there = run(jax.jit(space.act)(u, x), turn(space, u, f), keys[num:])
    here, there = np.asarray(here), np.asarray(there)
    error = np.sqrt((np.var(here, 0) + np.var(there, 0)) / num)
    deviation = np.abs(np.mean(here, 0) - np.mean(there, 0)) / error
    assert deviation.max() < 4.0
    unturned = np.asarray(turn(space, u, here, inverse=True))
    assert (np.abs(np.mean(unturned, 0) - np.mean(there, 0)) / error).max() > 6.0


def test_haar_moments():
    """The mean of h ⊗ h over many draws at one point is δδ/3, within 4 standard errors."""
    space = SPACES["SE(3)"]
    num = 4096
    x = jnp.zeros((1, 3))
    h = jax.jit(lambda x: lift(space, x, x, key=KEY, lift=Haar(num)).elements)(x)[0]
    matrices = np.asarray(space.group.linear_matrix(h))
    products = np.einsum("nij,nkl->nijkl", matrices, matrices)
    expected = np.einsum("ik,jl->ijkl", np.eye(3), np.eye(3)) / 3
    error = np.abs(products.mean(0) - expected) / (products.std(0) / np.sqrt(num))
    assert error.max() < 4.5  # the largest of 81
    assert np.sqrt(np.mean(error**2)) < 1.5


@pytest.mark.parametrize("strategy", some([Subgroup("tetrahedral"), Frames()], Frames(), ids=str))
def test_two_points_of_half_weight_are_one(strategy):
    space = SPACES["SE(3)"]
    x, f = positions(space)[0], jnp.asarray(np.random.default_rng(1).normal(size=(N, 4)))
    w = jnp.array([0.3, -0.2, 0.0, 0.1])
    run = jax.jit(functools.partial(model, space, strategy))
    twice = jnp.array([0, 0, 1, 2, 3])
    halved = w[twice].at[:2].add(-jnp.log(2.0))
    padded = jnp.array([0, 1, 2, 3, 3])  # of weight 0: one program for both
    out = run(x[padded], f[padded], w[padded].at[4].set(-jnp.inf))[twice]
    assert testing.relative_error(run(x[twice], f[twice], halved), out) <= tolerance(jnp.float64)
    unequal = run(x[twice], f[twice], w[twice])  # negative control
    assert testing.relative_error(unequal, out) > NEGATIVE_CONTROL


def test_guarantees():
    plane, space = SPACES["SE(2)"], SPACES["SE(3)"]
    for where, strategy, exact, text in (
        (space, Haar(2), False, "in expectation over the key; one draw deviates like n^-1/2"),
        (space, Haar(2, shared=True), False, "exactly equivariant to N for a fixed key"),
        (SPACES["T(3)"], Haar(2), True, "exactly equivariant to T(3)"),
        (SPACES["SO(2)"], Haar(), True, "exactly equivariant to SO(2)"),
        (space, NoLift(), True, "exactly equivariant to SE(3)"),
        (space, Subgroup("octahedral"), True, "exactly equivariant to N ⋊ octahedral of SE(3)"),
        (plane, Grid(8), True, "exactly equivariant to N ⋊ cyclic(8) of SE(2)"),
        (plane, Grid(8, offset="random"), True, "in expectation over the key to all rotations"),
        (space, Frames(), True, "SE(3) where principal axes are separated by 0.05; elsewhere in"),
    ):
        found = guarantee(where, strategy)
        assert found.exact == exact
        assert text in found.text
        assert found.group in found.text
    assert guarantee(space, NoLift(), FieldType.parse("pseudoscalar")).exact
    assert guarantee(SPACES["T(3)"], NoLift(), vectors()).exact


def test_what_needs_a_key():
    space, plane = SPACES["SE(3)"], SPACES["SE(2)"]
    assert Haar().is_stochastic(space)
    assert Frames().is_stochastic(space)
    assert Grid(2, offset="random").is_stochastic(plane)
    for fixed in (Subgroup("tetrahedral"), NoLift()):
        assert not fixed.is_stochastic(space)
    assert not Grid(2).is_stochastic(plane)
    assert not Haar().is_stochastic(SPACES["T(3)"])
    for strategy in (Frames(), Grid(2, offset="random")):
        with pytest.raises(ValueError, match="key must be given to lift with "):
            lift(plane, jnp.zeros((3, 2)), jnp.ones((3, 1)), lift=strategy)


def test_coordinates_that_are_none():
    """Any two points are as far apart as any others, up to a similarity."""
    space = MORE_SPACES["R2 Sim(2)"]
    with pytest.raises(
        ValueError, match=r"coordinates 'invariants' of euclidean\(Sim\(2\)\) are none, so that"
    ):
        NoLift().check_coordinates(space, "invariants")
    Frames().check_coordinates(space, "embedding")
    NoLift().check_coordinates(space, None)


REFUSED = {
    "grid on spheres": ("SO(3)", Grid(4), None, r"Grid.* needs a section in a normal .*Frames\(\)"),
    "subgroup on spheres": (
        *("SO(3)", Subgroup("cyclic(4)"), None),
        r"Subgroup.* needs a section in a normal subgroup.*euclidean\(SO.*Frames\(\) or Haar",
    ),
    "shared": ("SO(3)", Haar(2, shared=True), None, r"samples would be biased on euclidean\(SO"),
    "grid in space": ("SE(3)", Grid(4), None, "Grid needs planar rotations.*use Subgroup"),
    "grid of nothing": ("T(3)", Grid(4), None, "Grid needs planar rotations"),
    "nothing": ("T(3)", Subgroup("cyclic(4)"), None, r"'cyclic\(4\)' is not in Trivial"),
    "solid": ("SE(2)", Subgroup("octahedral"), None, r"'octahedral' is not in SO\(2\)"),
    "mirrors": ("SE(2)", Subgroup("dihedral(2)"), None, r"with reflections is not in SO\(2\)"),
    "more frames than there are": (
        "SE(3)",
        Frames(training_frames=5),
        None,
        r"training_frames must be at most 4 on euclidean\(SE\(3\)\), got 5",
    ),
    "frames of nothing": ("T(3)", Frames(), None, r"Frames has nothing to choose on eucl.*T\(3\)"),
    "orbits": ("SO(3)", NoLift(), None, "NoLift is exact only on spaces without exceptional"),
    "vectors": ("SE(3)", NoLift(), vectors(), r"NoLift needs a field that .* SO\(3\)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_excluded_combinations_raise(name):
    """Lifts and guarantees give the same reason."""
    space, strategy, field, message = REFUSED[name]
    space = SPACES[space]
    field = scalars() if field is None else field
    with pytest.raises(ValueError, match=message):
        guarantee(space, strategy, field)
    x = jnp.ones((3, space.point_dim))
    with pytest.raises(ValueError, match=message):
        lift(space, x, jnp.ones((3, field.size(space))), lift=strategy, field=field, key=KEY)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Grid(0), "num_samples must be at least 1, got 0"),
        (lambda: Grid(2, offset=jnp.inf), "offset must be a finite angle or 'random', got inf"),
        (lambda: Grid(2, offset="any"), "offset must be a finite angle or 'random', got 'any'"),
        (lambda: Grid(2, offset=True), "offset must be a finite angle or 'random', got True"),
        (lambda: Subgroup("cubic"), "name of a finite group must be 'cyclic"),
        (lambda: Frames(0.0), "min_gap must be between 0 and 1, got 0.0"),
        (lambda: Frames(pairs="both"), r"pairs must be one of \('within', 'across'\), got 'both'"),
        (lambda: Frames(training_frames=0), "training_frames must be at least 1, got 0"),
        (
            lambda: Frames(pairs="across", training_frames=1),
            "training_frames must be None with pairs 'across', got 1",
        ),
    ],
)
@pytest.mark.usefixtures("no_type_checks")
def test_bad_strategies_raise(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def trivially_lifted(strategy):
    zeros = jnp.zeros((1, 1, 4))
    mask = jnp.ones(1, bool)
    return Lifted(zeros, zeros, zeros[0, :, :0], mask, zeros[..., 0], lift=strategy)


LOG = Attention(num_heads=1, coordinates="log")


@pytest.mark.parametrize("strategy", [Grid(4), Subgroup("cyclic(4)"), Frames()], ids=str)
def test_logarithms_are_refused(strategy):
    """Finite groups and frames are full of half-turns, where the logarithm jumps."""
    space = SPACES["SE(2)"]
    message = r"coordinates must not be 'log' on a lift by .*half-turns.*use 'embedding'"
    with pytest.raises(ValueError, match=message):
        LieTransformer(space, 4, 1, layer=LOG, lift=strategy, rngs=nnx.Rngs(0))
    lifted = trivially_lifted(strategy)
    with pytest.raises(ValueError, match=message):
        lifted.check_coordinates(space, "log")
    for allowed in ("embedding", "invariants", None):
        lifted.check_coordinates(space, allowed)


def test_layers_refuse_logarithms():
    space = SPACES["SE(2)"]
    lifted = trivially_lifted(Grid(1))
    layer = LieSelfAttention(4, space, LOG, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="coordinates must not be 'log'"):
        layer(lifted)
    without_location = dataclasses.replace(LOG, location=None)
    blind = LieSelfAttention(4, space, without_location, rngs=nnx.Rngs(0))
    assert jax.eval_shape(blind, lifted).shape == (1, 1, 4)


def test_a_vector_is_no_pseudovector():
    """Negative control: under reflections, an output that is read as the other kind fails."""
    space, strategy = SPACES["R3 E(3)"], Subgroup("dihedral(2)", reflections=True)
    fn = jax.jit(functools.partial(model, space, strategy))
    wrong = FieldType.parse("scalar + pseudovector")
    u = guaranteed(space, strategy, KEY)
    assert {-1.0, 1.0} == set(np.asarray(space.group.determinant(u)))
    options = {"num_points": N, "num_examples": B, "elements": u}
    error = testing.equivariance_error(fn, space, input_field=wrong, output_field=FIELD, **options)
    assert error > NEGATIVE_CONTROL


@pytest.mark.parametrize("strategy", [Subgroup("cyclic(3)"), Grid(3)])
def test_finite_samples_need_one_stabilizer(strategy):
    space = product_space(euclidean(SO(2)), euclidean(SE(2)))
    with pytest.raises(ValueError, match=r"needs one stabilizer for all points, got product_space"):
        guarantee(space, strategy)
    assert guarantee(euclidean(SO(2)), Haar(1)).text == (
        "exactly equivariant to SO(2); of points at an exceptional origin in expectation over the "
        "key"
    )
    assert "have no scale" in guarantee(euclidean(Sim(2)), Frames()).text
