"""Which samples a lift draws, how it is transformed, and what it refuses."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn.fields import scalars, vectors
from eqattn.groups import SE, SO
from eqattn.lift import Haar, LiftInputs, NoLift, lift, project
from tests.grids import some
from tests.spaces.cases import SPACES, elements, points
from tests.tolerances import NEGATIVE_CONTROL

every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
SAMPLED = ("SE(2)", "SE(3)", "SO(3)")
sampled = pytest.mark.parametrize(
    "space",
    some(
        [SPACES[name] for name in SAMPLED],
        SPACES["SE(2)"],
        ids=lambda s: str(s.group),
    ),
)
KEY = jax.random.key(60)
B, N, S = 2, 4, 4
IDS = jnp.asarray([7, 3])


def positions(space):
    return points(space)[: B * N].reshape(B, N, -1)


@functools.partial(jax.jit, static_argnames=("space", "strategy"))
def draw(space, x, strategy=Haar(S), key=KEY, ids=IDS):
    return strategy.samples(
        space, LiftInputs(x, jnp.zeros(x.shape[:-1]), jnp.ones(x.shape[:-1], bool), key, ids)
    )


@functools.partial(jax.jit, static_argnames=("space", "strategy"))
def lifted_elements(space, x, strategy):
    features = jnp.ones((*x.shape[:-1], 1))
    return lift(space, x, features, key=KEY, lift=strategy, example_ids=IDS).elements


@sampled
def test_samples_depend_on_key_example_point_and_sample_alone(space):
    """Not on padding, batch mates, their order, the positions, or how many samples there are."""
    x = positions(space)
    h = draw(space, x)
    np.testing.assert_array_equal(draw(space, 0.5 * x), h)
    np.testing.assert_array_equal(draw(space, x[::-1], ids=IDS[::-1]), h[::-1])
    # Other programs may round differently.
    fewer = draw(space, x[:1, :2], Haar(2), ids=IDS[:1])
    np.testing.assert_allclose(fewer, h[:1, :2, :2], atol=1e-15)


@sampled
def test_samples_differ_between_keys_examples_points_and_samples(space):
    x = positions(space)
    h = np.asarray(draw(space, x))
    assert len(np.unique(h.reshape(-1, h.shape[-1]).round(9), axis=0)) == B * N * S
    for other in (draw(space, x, key=jax.random.key(61)), draw(space, x, ids=IDS + 1)):
        assert not np.any(np.all(np.isclose(other, h), axis=-1))


def test_examples_share_draws_by_default():
    space = SPACES["SE(2)"]
    x = positions(space)
    by_default = np.asarray(draw(space, x, ids=None))
    np.testing.assert_array_equal(by_default[0], by_default[1])
    np.testing.assert_array_equal(draw(space, x, ids=jnp.zeros(B, int)), by_default)


@pytest.mark.parametrize("name", some(["SE(2)", "SE(3)"], "SE(2)"))
def test_shared_samples(name):
    """One set of samples for all points: moving every point moves every element, for a fixed key.

    Per point too, under SE(n): both strategies are exactly equivariant to translations here.
    """
    space, x = SPACES[name], positions(SPACES[name])
    h = draw(space, x, Haar(S, shared=True))
    np.testing.assert_array_equal(h, jnp.broadcast_to(h[:, :1], h.shape))
    assert not np.allclose(h[0], h[1])
    np.testing.assert_array_equal(h[:, 0], draw(space, x)[:, 0])
    move = space.section(jnp.arange(1.0, 1.0 + space.point_dim))
    before = lifted_elements(space, x, Haar(S, shared=True))
    after = lifted_elements(space, space.group.act(move, x), Haar(S, shared=True))
    np.testing.assert_allclose(after, space.group.compose(move, before), atol=1e-14)
    # Rotations change relative orientations between samples of different points; shared ones keep
    # them: g_ik⁻¹ g_jk is a translation.
    pairs = space.pair_coordinates(before[:, :1], before, "log")
    turns = pairs[..., : space.group.algebra_dim - space.point_dim]
    np.testing.assert_allclose(turns, 0.0, atol=1e-14)


@pytest.mark.parametrize("space", some([SPACES["SE(2)"], SPACES["SO(3)"]], SPACES["SE(2)"]))
def test_one_program_over_draws(space):
    """A vmap over keys is a loop over keys; a lift compiles once."""
    x, f = positions(space), jnp.ones((B, N, space.point_dim))
    traces = []

    @jax.jit
    def lift_once(key, x):
        traces.append(key)
        F = lift(space, x, f, key=key, lift=Haar(S), field=vectors(), example_ids=IDS)
        return F.elements, F.features

    keys = jax.random.split(KEY, 3)
    loop = [lift_once(key, x) for key in keys]
    assert len(traces) == 1
    together = jax.jit(jax.vmap(lift_once, (0, None)))(keys, x)
    for index in range(2):
        stacked = jnp.stack([z[index] for z in loop])
        np.testing.assert_allclose(together[index], stacked, atol=1e-14)
    sections = jnp.repeat(space.section(x.reshape(B * N, -1)), S, axis=0)
    h = draw(space, x, key=keys[0]).reshape(sections.shape)
    np.testing.assert_allclose(
        loop[0][0].reshape(h.shape), space.group.compose(sections, h), atol=1e-14
    )


def test_the_origin_is_lifted_by_any_rotation():
    space = SPACES["SO(3)"]
    h = draw(space, jnp.zeros((B, N, 3))).reshape(B * N * S, -1)
    directions = space.group.act(h, jnp.asarray(space.origin()))
    assert np.linalg.norm(np.mean(directions, axis=0)) < 0.5
    assert np.all(np.var(directions, axis=0) > 0.1)


def test_the_punctured_origin_cannot_be_lifted():
    space = SPACES["RxSO2"]
    x, f = positions(space).at[1, 2].set(0.0), jnp.ones((B, N, 1))
    message = r"points has 1 valid points at 0 in euclidean\(RxSO2\(\)\).*cannot be sampled"
    for strategy in (Haar(), Haar(3)):
        with pytest.raises(ValueError, match=message):
            lift(space, x, f, key=KEY, lift=strategy)
    mask = jnp.ones((B, N), bool).at[1, 2].set(False)
    assert np.all(np.isfinite(lift(space, x, f, mask, key=KEY).elements))
    # Values are not known under jit: the point is dropped, as if it were masked.
    np.testing.assert_array_equal(jax.jit(lambda x: lift(space, x, f).mask)(x), mask)


@every_space
def test_keys_are_needed_only_where_samples_are(space):
    x, f = positions(space), jnp.ones((B, N, 1))
    assert space.draws_samples == (space.group in (SO(2), SO(3), SE(2), SE(3)))
    if not space.draws_samples:
        assert not space.draws_samples
        np.testing.assert_array_equal(lift(space, x, f).elements[:, :, 0], space.section(x))
    else:
        with pytest.raises(ValueError, match=r"key must be given to lift with Haar\(\) on"):
            lift(space, x, f)


def shape(*sizes):
    return jnp.zeros(sizes)


SE3 = SPACES["SE(3)"]
BAD = {
    "ids": (
        lambda: lift(SE3, shape(2, 3), shape(2, 1), key=KEY, example_ids=jnp.zeros(4, int)),
        r"example_ids must have shape \(\), got \(4,\)",
    ),
    "float mask": (
        lambda: lift(SE3, shape(2, 3), shape(2, 1), jnp.ones(2), key=KEY),
        "mask must be boolean, got float64",
    ),
    "projected coset": (
        lambda: project(SE3, lift(SE3, shape(2, 3), shape(2, 3), lift=NoLift()), vectors(1)),
        r"NoLift needs a field that the stabilizer .* does not change, got vector on eucl",
    ),
    "samples": (lambda: Haar(0), "num_samples must be at least 1, got 0"),
    "shared": (
        lambda: lift(SPACES["SO(3)"], shape(2, 3), shape(2, 1), key=KEY, lift=Haar(2, shared=True)),
        r"shared samples would be biased on euclidean\(SO\(3\)\).*shared=False",
    ),
    "unlifted orbits": (
        lambda: lift(SPACES["SO(3)"], shape(2, 3), shape(2, 1), lift=NoLift()),
        "NoLift is exact only on spaces without exceptional orbits, got euclidean",
    ),
    "unlifted vectors": (
        lambda: lift(SE3, shape(2, 3), shape(2, 3), lift=NoLift(), field=vectors()),
        "NoLift needs a field that the stabilizer SO.3. does not change, got vector",
    ),
    "points": (
        lambda: lift(SE3, shape(2, 2), shape(2, 1), key=KEY),
        r"points of .* must have a last axis of size 3, got shape \(2, 2\)",
    ),
    "one point": (
        lambda: lift(SE3, shape(3), shape(1), key=KEY),
        re.escape("points must have shape [*B N D], got (3,)"),
    ),
    "features": (
        lambda: lift(SE3, shape(2, 3), shape(4, 1), key=KEY),
        r"features must have the leading shape of points \(2,\), got shape \(4, 1\)",
    ),
    "mask": (
        lambda: lift(SE3, shape(2, 3), shape(2, 1), jnp.ones(3, bool), key=KEY),
        r"mask must have shape \(2,\), got \(3,\)",
    ),
    "mask dtype": (
        lambda: lift(SE3, shape(2, 3), shape(2, 1), jnp.ones(2, int), key=KEY),
        "mask must be boolean, got int64",
    ),
    "example ids": (
        lambda: lift(SE3, shape(2, 3), shape(2, 1), key=KEY, example_ids=jnp.arange(2)),
        r"example_ids must have shape \(\), got \(2,\)",
    ),
    "weights": (
        lambda: lift(SE3, shape(2, 3), shape(2, 1), key=KEY, log_weights=shape(1)),
        r"log_weights must have shape \(2,\), got \(1,\)",
    ),
    "channels": (
        lambda: lift(SPACES["T(3)"], shape(2, 3), shape(2, 1), field=scalars(2)),
        r"features of field type 2x scalar must have 2 channels, got shape",
    ),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.usefixtures("no_type_checks")
def test_bad_arguments_raise(name):
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("ids", [np.array([0.2]), np.array([True])])
@pytest.mark.usefixtures("no_type_checks")
def test_ids_of_examples_are_integers(ids):
    """Others would be truncated, and examples share their draws."""
    with pytest.raises(TypeError, match=f"example_ids must be integers, got {ids.dtype}"):
        lift(SE3, shape(1, 2, 3), shape(1, 2, 1), key=KEY, example_ids=ids)


def test_per_point_samples_are_needed_on_spheres():
    """Why shared samples raise there: a fixed rotation of the points moves the samples apart."""
    space = SPACES["SO(3)"]
    x, u = points(space), elements(space)[:1]
    shared = draw(space, positions(space))[0, 0, :1]
    compose, inverse, section = space.group.compose, space.group.inverse, space.section
    before = compose(section(x), shared)
    after = compose(inverse(u), compose(section(space.group.act(u, x)), shared))
    turns = space.group.matrix(compose(inverse(before), after))
    assert np.abs(turns - turns[0]).max() > NEGATIVE_CONTROL
