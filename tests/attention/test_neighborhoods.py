"""Neighborhoods: who is chosen, what attention makes of them, and what it costs."""

import dataclasses
import functools
import itertools

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn import groups, spaces, testing
from eqattn.attention import (
    NearestNeighbors,
    PairFeatures,
    PairMLP,
    RadiusNeighbors,
    attend,
    find_neighbors,
)
from eqattn.layers import (
    LieSelfAttention,
    LinearConcatContent,
    MLPLogits,
    PerHeadMLPLocation,
    RawLocation,
    RelativePositionContent,
)
from eqattn.lift import Haar, NoLift, lift
from eqattn.models import LieTransformer
from tests import draws, small
from tests.compiled import compiled
from tests.grids import each_once, some, some_rows
from tests.spaces.cases import SPACES

B, N, S = 2, 9, 2
KEY = jax.random.key(0)
IDS = np.array([5, 8])
SE2 = SPACES["SE(2)"]
MASK = np.arange(N) < np.array([[N], [6]])
neighbors = jax.jit(find_neighbors, static_argnums=(0, 2))


@functools.cache
def lifted_in(space, num_points=N):
    points, features = draws.normal(1, B, N, space.point_dim), draws.normal(2, B, N, 4)
    inputs = [x[:, :num_points] for x in (points, features, MASK)]
    return compiled(lift)(space, *inputs, key=KEY, lift=Haar(S), example_ids=IDS)


@functools.cache
def found_in(space, kind, num_points=N):
    """Neighbors among the points of the lift above."""
    return neighbors(space, lifted_in(space, num_points), kind)


@functools.partial(jax.jit, static_argnums=0)
def points_of(space, lifted):
    """Base points, from elements and orbits."""
    origin = jnp.asarray(space.origin())
    points = space.group.act(lifted.elements[..., 0, :], origin)
    return points * lifted.orbit_invariants if space.num_orbit_invariants else points


def chosen(neighborhood, num_samples=S):
    """Sets of points that each token attends to."""
    indices, mask = np.asarray(neighborhood.indices), np.asarray(neighborhood.mask)
    return [
        [frozenset((i[m] // num_samples).tolist()) for i, m in zip(ii, mm, strict=True)]
        for ii, mm in zip(indices, mask, strict=True)
    ]


@pytest.mark.parametrize("name", some(SPACES, "T(3)", "SE(2)", "RxSO2"))
def test_the_nearest_are_chosen_with_all_their_samples(name):
    space = SPACES[name]
    lifted = lifted_in(space)
    found = found_in(space, NearestNeighbors(3))
    assert found.indices.shape == (B, N * S, 3 * S)
    x = np.asarray(points_of(space, lifted))
    if space == SPACES["RxSO2"]:
        x = np.log(x[..., 0] + 1j * x[..., 1])[..., None]
        x = np.concatenate([x.real, np.cos(x.imag), np.sin(x.imag)], -1)
        arc = lambda a: 2 * np.arcsin(np.clip(a / 2, 0, 1))
        d = x[:, :, None] - x[:, None]
        distance = np.hypot(d[..., 0], arc(np.hypot(d[..., 1], d[..., 2])))
    else:
        distance = np.linalg.norm(x[:, :, None] - x[:, None], axis=-1)
    distance = np.where(MASK[:, None], distance, np.inf)
    order = np.argsort(distance, axis=-1)[..., :3]
    for b, sets in enumerate(chosen(found)):
        for token, points in enumerate(sets):
            if MASK[b, token // S]:
                assert points == frozenset(order[b, token // S].tolist())
                assert token // S in points
    assert np.all(found.mask)  # all samples of each, and no masked point
    assert not np.any(np.asarray(found.is_truncated)[MASK.repeat(S, -1)])


def test_fewer_points_than_places():
    found = found_in(SE2, NearestNeighbors(6), num_points=4)
    assert found.indices.shape == (B, 4 * S, 4 * S)
    found = found_in(SE2, NearestNeighbors(8))
    assert chosen(found)[1][0] == frozenset(range(6))  # six valid points


def layer(space=SE2, **options):
    attention = small.attention(width=6, **options)
    return LieSelfAttention(4, space, attention, param_dtype=float, rngs=nnx.Rngs(0))


TERMS = {
    "mlp": {},
    "relative position": {"content": RelativePositionContent(num_radial=0), "location": None},
    "concat": {
        "content": LinearConcatContent(map_features=1),
        "location": RawLocation(num_radial=0),
        "combine": MLPLogits(dim=6),
    },
    "location": {"content": None, "location": PerHeadMLPLocation(dim=6, num_radial=0)},
}


@pytest.mark.parametrize(
    ("name", "normalize"),
    some_rows(
        list(itertools.product(TERMS, ["softmax", "mean", "exponential_mean"])),
        *("mlp-mean", "concat-exponential_mean"),
    ),
)
def test_attention_to_neighbors_is_attention_under_their_mask(name, normalize):
    terms = TERMS[name]
    space, lifted = SPACES["T(3)"], lifted_in(SPACES["T(3)"])
    attention = layer(space, normalize=normalize, **terms)
    found = found_in(space, NearestNeighbors(3))
    sets = chosen(found)
    queries = range(0, N, 4)
    # For each of these queries, all other points of the example masked.
    members = np.zeros((B, len(queries), N), bool)
    for b in range(B):
        for i, query in enumerate(queries):
            members[b, i, sorted(sets[b][query * S])] = True

    @jax.jit
    def compute(lifted, found, members):
        def one(members):
            return attention(dataclasses.replace(lifted, mask=lifted.mask & members))

        whole = find_neighbors(space, lifted, NearestNeighbors(N))
        alone = jax.lax.map(one, jnp.swapaxes(members, 0, 1))
        return attention(lifted, found), alone, attention(lifted, whole), attention(lifted)

    out, alone, whole, everyone = map(np.asarray, compute(lifted, found, members))
    for b in range(B):
        for i, query in enumerate(queries):
            if MASK[b, query]:
                np.testing.assert_allclose(out[b, query], alone[i, b, query], atol=1e-12)
            else:
                assert np.all(out[b, query] == 0)
    np.testing.assert_allclose(whole, everyone, atol=1e-12)
    assert np.max(np.abs(out - whole)) > 1e-3


@pytest.mark.parametrize(
    ("kind", "name"),
    each_once([NearestNeighbors(3, candidates=6), RadiusNeighbors(1.5, N)], ["SE(2)", "RxSO2"])
    + [
        pytest.param(*(NearestNeighbors(3), name), marks=pytest.mark.slow)
        for name in ("SE(2)", "SO(3)", "RxSO2")
    ],
)
def test_equivariance(kind, name):
    """Negative control: neighbors chosen by the pair g_j g_i⁻¹."""
    space = SPACES[name]
    attention = layer(space)

    def run(lifted, chooser=lambda x: x):
        found = find_neighbors(space, chooser(lifted), kind, jax.random.key(3))
        return attention(lifted, found)

    invert = lambda x: dataclasses.replace(x, elements=space.group.inverse(x.elements))
    right, wrong = jax.jit(run), jax.jit(lambda x: run(x, invert))
    fns = (right, wrong) if name == "SE(2)" else (right,)
    errors = [testing.coupled_lift_error(fn, space, num_points=N) for fn in fns]
    assert errors[0] <= 1e-10
    assert errors[-1] > 1e-2 or name != "SE(2)"


def test_the_ball_has_a_smooth_surface():
    """Weights (1 - d²/r²)³ inside, nothing outside."""
    lifted = lifted_in(SPACES["T(3)"])
    space, radius = SPACES["T(3)"], 1.7
    found = found_in(space, RadiusNeighbors(radius, N))
    x = np.asarray(points_of(space, lifted))
    indices, mask, weights = map(np.asarray, (found.indices, found.mask, found.weights))
    for b in range(B):
        for token in range(0, N * S, 3):
            if not MASK[b, token // S]:
                continue
            others = indices[b, token] // S
            distance = np.linalg.norm(x[b, others] - x[b, token // S], axis=-1)
            inside = MASK[b, others] & (distance < radius)
            np.testing.assert_array_equal(mask[b, token], inside)
            expected = np.where(inside, (1 - (distance / radius) ** 2) ** 3, 0.0)
            np.testing.assert_allclose(weights[b, token], expected, atol=1e-14)
    hard = found_in(space, RadiusNeighbors(radius, N, smooth=False))
    np.testing.assert_array_equal(hard.weights, hard.mask)


def energy(kind, x):
    """A sum over three points on a line, the third at distance x from the second."""
    space = spaces.euclidean(groups.T(1))
    points = jnp.stack([jnp.array(0.0), jnp.array(0.6), 0.6 + x])[:, None]
    lifted = lift(space, points, jnp.array([[1.0], [2.0], [-1.5]]))
    found = find_neighbors(space, lifted, kind)
    term = PairMLP(*draws.mlp(1, (1, 5, 1)), PairFeatures(space, "log"))
    value = lifted.features.reshape(3, 1, 1)
    elements = lifted.elements[:, 0]
    out = attend(value, value, value, elements, elements, term, neighborhood=found)
    return jnp.sum(out**2)


@pytest.mark.slow
def test_forces_are_smooth_at_the_cutoff():
    """Value, slope and curvature agree on both sides of it; of a hard ball they do not."""
    soft, hard = RadiusNeighbors(1.0, 3), RadiusNeighbors(1.0, 3, smooth=False)
    step = 1e-5

    @jax.jit
    def compute(sides, near):
        slope = jax.grad(functools.partial(energy, soft))
        orders = functools.partial(energy, soft), slope, jax.grad(slope)
        return (
            [jax.vmap(f)(sides) for f in orders],
            jax.vmap(functools.partial(energy, hard))(sides),
            jax.vmap(orders[0])(near),
            slope(near[1]),
        )

    sides = np.array([1.0 - 1e-7, 1.0 + 1e-7])
    orders, kinked, values, slope = compute(sides, 0.7 + step * np.arange(-1, 2))
    for order, (here, there) in enumerate(orders):
        assert np.isfinite(here), order
        np.testing.assert_allclose(here, there, atol=1e-5)
    assert abs(kinked[0] - kinked[1]) > 1e-2
    numeric = (values[2] - values[0]) / (2 * step)
    np.testing.assert_allclose(slope, numeric, rtol=1e-7)


@pytest.mark.parametrize("name", some(["SE(3)", "SO(3)", "T(3)"], "T(3)"))
def test_second_derivatives_of_a_model_on_balls(name):
    space = SPACES[name]
    model = LieTransformer(
        space, 4, 1, dim=4, num_layers=1, layer=small.attention(width=4), lift=Haar(),
        neighborhood=RadiusNeighbors(1.5, 4), param_dtype=float, rngs=nnx.Rngs(0),
    )  # fmt: skip
    points, features = draws.normal(1, 1, 4, 3), draws.normal(2, 1, 4, 4)
    points[0, 0] = 0.0
    f = lambda x: model(x, jnp.asarray(features), key=KEY)[0, 0]
    curvature = jax.jit(lambda x: jax.grad(lambda y: jnp.sum(jax.grad(f)(y) ** 2))(x))(points)
    assert np.all(np.isfinite(curvature))
    assert np.max(np.abs(curvature)) > 1e-8


def test_random_subsets():
    """Of the pool, with the point itself; keyed by example and point, not by padding or mates."""
    lifted = lifted_in(SE2)
    kind = NearestNeighbors(3, candidates=6)
    draw = lambda x, key, ids: chosen(neighbors(SE2, x, kind, key, ids))
    sets, pools = draw(lifted, KEY, IDS), chosen(found_in(SE2, NearestNeighbors(6)))
    nearest = chosen(found_in(SE2, NearestNeighbors(3)))
    assert draw(lifted, None, None) == nearest  # without a key
    assert sets != nearest
    for b in range(B):
        for token in range(N * S):
            if MASK[b, token // S]:
                assert len(sets[b][token]) == 3
                assert token // S in sets[b][token] <= pools[b][token]
                assert sets[b][token] == sets[b][token // S * S]  # one draw for all samples
    assert draw(lifted, jax.random.key(9), IDS) != sets
    turned = jax.tree.map(lambda x: jnp.asarray(np.asarray(x)[::-1]), lifted)
    assert draw(turned, KEY, IDS[::-1]) == sets[::-1]
    shorter = jax.tree.map(lambda x: jnp.asarray(np.asarray(x)[1:, :6]), lifted)
    assert draw(shorter, KEY, IDS[1:])[0] == sets[1][: 6 * S]


def test_a_draw_does_not_depend_on_the_precision():
    points = np.random.default_rng(0).normal(size=(2, 9, 2)).astype(np.float32)

    @jax.jit
    def indices(points):
        lifted = lift(SE2, points, points, lift=NoLift())
        kind = NearestNeighbors(3, candidates=6)
        return find_neighbors(SE2, lifted, kind, jax.random.key(5), jnp.arange(2)).indices

    def drawn():
        return np.sort(np.asarray(indices(points)), axis=-1)

    with jax.enable_x64(False):
        narrow = drawn()
    with jax.enable_x64(True):
        np.testing.assert_array_equal(drawn(), narrow)


def test_all_of_the_pool_are_drawn_alike():

    @jax.jit
    def compute(lifted):
        lifted = jax.tree.map(lambda x: x[:1], lifted)
        kind = NearestNeighbors(3, candidates=6)
        draw = lambda key: find_neighbors(SE2, lifted, kind, key).indices[0, 0]
        return jax.vmap(draw)(jax.random.split(KEY, 300))

    counts = np.bincount(np.ravel(compute(lifted_in(SE2))[:, ::S]) // S, minlength=N)
    pool = np.asarray(found_in(SE2, NearestNeighbors(6)).indices)[0, 0, ::S] // S
    assert counts[0] == 300
    others = counts[pool[1:]]
    assert np.all(np.abs(others - 120) < 5 * np.sqrt(300 * 0.4 * 0.6))
    assert counts.sum() == 900


def test_ties_and_full_balls_are_reported():
    space = spaces.euclidean(groups.T(1))
    kinds = (
        *(NearestNeighbors(2), NearestNeighbors(3)),
        *(RadiusNeighbors(2.5, 2), RadiusNeighbors(2.5, 3)),
    )

    @jax.jit
    def compute(points):
        lifted = lift(space, points, jnp.ones((4, 1)))
        return [find_neighbors(space, lifted, kind).is_truncated for kind in kinds]

    two, three, full, ball = compute(np.array([0.0, -1.0, 1.0 + 3e-7, 5.0])[:, None])
    assert two.tolist() == [True, False, False, False]
    assert not np.asarray(three)[0]
    assert full.tolist() == [True, True, True, False]
    assert not np.any(ball)


def test_coincident_points_keep_themselves():
    space = spaces.euclidean(groups.T(2))
    lifted = compiled(lift)(space, np.zeros((4, 2)), np.ones((4, 1)))
    found = neighbors(space, lifted, NearestNeighbors(1))
    assert np.asarray(found.indices)[:, 0].tolist() == [0, 1, 2, 3]


def arrays_in(jaxpr):
    """Sizes of all arrays that a program makes, its inner programs included."""
    for equation in jaxpr.eqns:
        yield from (v.aval.size for v in equation.outvars if hasattr(v.aval, "size"))
        for inner in jax.extend.core.jaxprs_in_params(equation.params):
            yield from arrays_in(inner)


def test_no_array_of_channels_over_all_pairs_is_made():
    """Forward and backward: none is larger than the pairs of points, or channels times T K."""
    num_points, k, dim = 256, 4, 8
    space = SPACES["SE(3)"]
    model = LieTransformer(
        space, 4, 1, dim=dim, num_layers=1, layer=small.attention(), lift=Haar(2),
        neighborhood=NearestNeighbors(k), rngs=nnx.Rngs(0),
    )  # fmt: skip
    points = jnp.zeros((1, num_points, 3))
    features = jnp.ones((1, num_points, 4))
    loss = lambda x: model(x, features, key=KEY).sum()
    program = jax.make_jaxpr(jax.grad(loss))(points)
    tokens = 2 * num_points
    pairs_of_tokens = tokens * tokens
    channels_over_neighbors = tokens * 2 * k * 16  # the widest tensor of a pair
    largest = max(arrays_in(program.jaxpr))
    assert largest <= max(num_points**2, channels_over_neighbors) < pairs_of_tokens
    everyone = LieTransformer(
        space, 4, 1, dim=dim, num_layers=1, layer=small.attention(implementation="dense"),
        lift=Haar(2), rngs=nnx.Rngs(0),
    )  # fmt: skip
    program = jax.make_jaxpr(lambda x: everyone(x, features, key=KEY))(points)
    assert max(arrays_in(program.jaxpr)) > pairs_of_tokens  # the check can fail


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: NearestNeighbors(0), "num_neighbors must be at least 1, got 0"),
        (lambda: NearestNeighbors(4, candidates=3), "candidates must be at least num_neighb"),
        (lambda: RadiusNeighbors(0.0, 3), "radius must be finite and above 0, got 0.0"),
        (lambda: RadiusNeighbors(float("inf"), 3), "radius must be finite and above 0, got inf"),
        (lambda: RadiusNeighbors(1.0, 0), "num_neighbors must be at least 1, got 0"),
        (
            lambda: neighbors(SE2, lifted_in(SE2), NearestNeighbors(2, 4), KEY, np.arange(3)),
            r"example_ids must have shape \(2,\), got \(3,\)",
        ),
        (
            lambda: layer()(lifted_in(SE2), found_in(SE2, NearestNeighbors(2), num_points=5)),
            r"neighborhood must have the leading shape \(2, 18\) of the queries, got \(2, 10, 4\)",
        ),
    ],
)
@pytest.mark.usefixtures("no_type_checks")
def test_bad_neighborhoods(make, match):
    with pytest.raises(ValueError, match=match):
        make()


def test_curvature_of_the_smooth_factor_where_points_coincide():
    """The factor is smooth in the squared distance: its second derivative is right there too."""
    space = SPACES["T(2)"] if "T(2)" in SPACES else spaces.euclidean(groups.T(2))

    def output(t):
        points = jnp.stack([jnp.zeros(2), jnp.stack([t, 0.0]), jnp.array([0.4, 0.3])])
        lifted = lift(space, points, jnp.array([[1.0], [0.5], [2.0]]))
        return find_neighbors(space, lifted, RadiusNeighbors(1.0, 3)).weights[0].sum()

    step = 1e-3
    compute = jax.jit(lambda at: (jax.vmap(output)(at), jax.grad(jax.grad(output))(at[1])))
    values, curvature = compute(step * np.arange(-1.0, 2.0))
    numeric = (values[2] - 2 * values[1] + values[0]) / step**2
    np.testing.assert_allclose(curvature, numeric, rtol=1e-4)
    assert abs(numeric) > 1.0


def test_points_of_no_weight_are_queries_still():
    """A log-weight of -inf takes a point from the keys, not from its place."""
    lifted = lifted_in(SE2)
    weights = np.array(lifted.log_weights)
    weights[0, 0] = -np.inf
    weightless = dataclasses.replace(lifted, log_weights=jnp.asarray(weights))
    found = chosen(neighbors(SE2, weightless, NearestNeighbors(4)))
    before = chosen(found_in(SE2, NearestNeighbors(5)))
    assert found[0][0] == before[0][0] - {0}
    assert all(0 not in points for points in found[0])


@pytest.mark.parametrize(("offset", "dtype"), [(0.0, float), (100.0, jnp.float32)])
def test_ties_are_found_within_rounding(offset, dtype):
    """A turned square and its center, far from the origin: two corners tie behind the center."""
    turn = np.exp(1j * (np.pi / 4 + 0.3 + np.pi / 2 * np.arange(4)))
    points = np.append(6.0 * turn / np.sqrt(2), 0.0)
    points = np.stack([points.real, points.imag], -1) + offset
    space = spaces.euclidean(groups.T(2))
    points = points.astype(dtype)
    moved = points.copy()
    moved[0] += 0.1

    @jax.jit
    def is_truncated(points):
        lifted = lift(space, points, jnp.ones((5, 1), dtype))
        return find_neighbors(space, lifted, NearestNeighbors(3)).is_truncated

    assert np.all(is_truncated(points))
    assert not np.asarray(is_truncated(moved))[1]


def test_random_neighbors_are_draws():
    """They need a key in training, and several lifts average; without one they are the nearest."""
    space = spaces.euclidean(groups.T(2))
    model = LieTransformer(
        space, 4, 1, dim=4, num_layers=1, layer=small.attention(num_heads=1, width=32),
        neighborhood=NearestNeighbors(2, candidates=4), param_dtype=float, rngs=nnx.Rngs(0),
    )  # fmt: skip
    x, f = (jnp.asarray(draws.normal(seed, 1, 6, size)) for seed, size in ((1, 2), (2, 4)))
    assert model.is_stochastic
    with pytest.raises(ValueError, match=r"key must be given in training with .* candidates=4"):
        model(x, f, training=True)
    run = lambda key: [model(x, f, key=key, num_lifts=lifts) for lifts in (1, 8)]
    (one, eight), (nearest, again) = jax.jit(lambda: [run(key) for key in (KEY, None)])()
    assert np.max(np.abs(one - eight)) > 1e-6
    np.testing.assert_allclose(again, nearest, rtol=1e-12)
    assert np.max(np.abs(one - nearest)) > 1e-6


@pytest.mark.parametrize("shape", [(0, 4), (2, 0)])
def test_empty_batches(shape):
    model = LieTransformer(
        *(SE2, 4, 1),
        dim=4,
        num_layers=1,
        layer=small.attention(),
        lift=Haar(),
        neighborhood=NearestNeighbors(2),
        rngs=nnx.Rngs(0),
    )
    run = jax.jit(lambda points, features: model(points, features, key=KEY))
    out = run(np.ones((*shape, 2)), np.ones((*shape, 4)))
    assert out.shape == (shape[0], 1)
    assert np.all(np.isfinite(out))


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (
            lambda x: neighbors(SE2, x, 3),
            "kind must be a NearestNeighbors or a RadiusNeighbors, got 3",
        ),
        (
            lambda x: neighbors(SPACES["SE(3)"], x, NearestNeighbors(3)),
            r"lifted must have elements of SE\(3\) with 7 components, got shape",
        ),
        (
            lambda x: layer()(x, NearestNeighbors(3)),
            "neighborhood must be a Neighborhood, .* got NearestNeighbors",
        ),
        (
            lambda x: layer()(jax.tree.map(lambda a: a[:, :2], x), neighbors(SE2, x, 2)),
            "kind must be a NearestNeighbors or a RadiusNeighbors, got 2",
        ),
        (lambda x: layer(SPACES["SE(3)"])(x), r"lifted must have elements of SE\(3\)"),
        (
            lambda x: layer()(x.replace_features(x.features[..., :3])),
            "lifted must have 4 channels, got features of shape",
        ),
    ],
)
@pytest.mark.usefixtures("no_type_checks")
def test_what_is_no_neighborhood(call, match):
    with pytest.raises(ValueError, match=match):
        call(lifted_in(SE2))


def test_a_neighborhood_of_other_keys_is_refused():
    lifted = lifted_in(SE2)
    found = found_in(SE2, NearestNeighbors(2))
    wrong = dataclasses.replace(found, num_keys=4)
    with pytest.raises(ValueError, match="neighborhood must be of 18 keys, got 4"):
        layer()(lifted, wrong)


def test_padding_of_nan_harms_no_gradient_of_a_layer():
    lifted = lifted_in(SE2)
    spoilt = np.where(MASK[..., None, None], lifted.features, np.nan)
    graphdef, params = nnx.split(layer(), nnx.Param)
    run = jax.jit(jax.grad(lambda p, f: nnx.merge(graphdef, p)(lifted.replace_features(f)).sum()))
    pairs = zip(*(jax.tree.leaves(run(params, f)) for f in (spoilt, lifted.features)), strict=True)
    for ours, clean in pairs:
        np.testing.assert_allclose(ours, clean, atol=1e-12)
