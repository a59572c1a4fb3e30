"""Each row of the table of guarantees, on whole models and layers, with negative controls."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn import fields, groups, spaces, testing
from eqattn.layers import LieSelfAttention
from eqattn.lift import Haar, NoLift, lift, project
from eqattn.models import LieTransformer
from tests import small
from tests.compiled import compiled
from tests.grids import each_once, some

EXACT = [
    (groups.T(1), Haar(), "log"),
    (groups.T(3), Haar(), "embedding"),
    (groups.SO(2), Haar(), "embedding"),
    (groups.SO(2), Haar(), "log"),
    (groups.RxSO2(), Haar(), "log"),
    (groups.SE(2), NoLift(), "invariants"),
    (groups.SE(3), NoLift(), "invariants"),
]
SAMPLED = [
    (groups.SE(2), "embedding"),
    (groups.SE(3), "embedding"),
    (groups.SE(3), "log"),
    (groups.SO(3), "embedding"),
]
ALL = [*EXACT, *((g, Haar(2), c) for g, c in SAMPLED)]


def build(group, strategy, coordinates, dtype=jnp.float64, **options):
    space = spaces.euclidean(group)
    model = LieTransformer(
        space, 4, 1, dim=8, num_layers=1, lift=strategy, param_dtype=dtype, rngs=nnx.Rngs(0),
        layer=small.attention(coordinates=coordinates, num_radial=3, cutoff=3.0), **options,
    )  # fmt: skip
    return space, model


def ids(value):
    return str(value)


def rows(options, *fast):
    """Rows of the table; those that are not named run with ``make test-all``."""
    return pytest.mark.parametrize(
        "row", some(options, *fast, ids=lambda row: f"{row[0]}-{row[2]}")
    )


@functools.cache
def program(row):
    """The space and model of a row, and its program, which two tests run."""
    space, model = build(*row)
    return space, model, jax.jit(lambda points, features: model(points, features))


def draw(space, *shape, num_features=4):
    """Points and features."""
    rng = np.random.default_rng(2)
    return (jnp.asarray(rng.normal(size=(*shape, n))) for n in (space.point_dim, num_features))


@rows(EXACT, "SO(2)-embedding", "SE(3)-invariants")
def test_exact_rows(row):
    space, _, fn = program(row)
    assert testing.equivariance_error(fn, space, num_points=5) <= 1e-10


@rows(EXACT[1:], "SE(3)-invariants")
def test_exact_rows_in_float32(row):
    space, model, fn = program(row)
    graphdef, params = nnx.split(model, nnx.Param)
    single = nnx.merge(graphdef, jax.tree.map(lambda p: p.astype(jnp.float32), params))
    narrow_fn = jax.jit(lambda points, features: single(points, features))
    points, features = draw(space, 16, 5)
    narrow = narrow_fn(points.astype(jnp.float32), features.astype(jnp.float32))
    assert narrow.dtype == jnp.float32
    own = testing.relative_error(narrow, fn(points, features))
    error = testing.equivariance_error(narrow_fn, space, num_points=5, dtype=jnp.float32)
    assert error <= testing.float32_tolerance(own)


@rows(ALL, "SE(3)-log")
def test_coupled_lift(row):
    """Every element times u: the model's output is identical, whatever was sampled."""
    space, model = build(*row)
    run = jax.jit(model.apply_lifted)
    assert testing.coupled_lift_error(run, space, lift=row[1]) <= 1e-10


def vector_layer(space, coordinates="embedding", seed=0):
    """A layer on lifted vectors, whose output channels are read as vectors again."""
    dim = 2 * space.point_dim
    layer = small.attention(coordinates=coordinates)
    return LieSelfAttention(dim, space, layer, param_dtype=jnp.float64, rngs=nnx.Rngs(seed))


@pytest.mark.parametrize("group", some([groups.SE(2), groups.SE(3), groups.SO(3)], groups.SE(2)))
def test_coupled_lift_of_vector_fields(group):
    """project(u·g, F) = ρ(u) project(g, F) for vectors in and out.

    Negative control: ψ = g_j g_i⁻¹, by handing the layer the inverse elements.
    """
    space = spaces.euclidean(group)
    vectors = fields.vectors(2)
    options = {"lift": Haar(2), "input_field": vectors, "output_field": vectors}
    layer, invert = jax.jit(vector_layer(space)), jax.jit(group.inverse)
    broken = lambda x: layer(dataclasses.replace(x, elements=invert(x.elements)))
    own, wrong = (testing.coupled_lift_error(fn, space, **options) for fn in (layer, broken))
    assert own <= 1e-10
    assert wrong > 1e-2 or group == groups.SO(3)


def vector_field_model(space, strategy, lift_field=None):
    """Vectors in, vectors out, at every point; Haar keys as a last argument."""
    layer, vectors = vector_layer(space), fields.vectors(2)

    def model(points, features, key):
        lifted = lift(
            space, points, features, key=key, lift=strategy,
            field=vectors if lift_field is None else lift_field,
        )  # fmt: skip
        return project(space, lifted.replace_features(layer(lifted)), vectors)

    return jax.jit(model)


@functools.partial(jax.jit, static_argnums=0)
def turned(space, points, features):
    """An element u, the points moved by it, and the vectors turned."""
    u = testing.random_elements(space.group, jax.random.key(3), (1,))
    return u, space.act(u, points), fields.vectors(2).transform(space, u, features)


turn = functools.partial(jax.jit, static_argnums=0)(fields.vectors(2).transform)
NUM_KEYS = 128
KEY = jax.random.key(21)


def over_keys(fn):
    """The function for many keys one after the other, drawn from a seed that comes last."""

    @jax.jit
    def run(*args):
        *args, seed = args
        keys = jax.random.split(jax.random.key(seed), NUM_KEYS)
        return jax.lax.map(lambda k: fn(*args, k), keys)

    return run


def invariant_model(space, strategy):
    """Scalars in, an invariant out; it sees the samples through the pairs alone."""
    model = LieTransformer(
        space, 2 * space.point_dim, 1, dim=8, num_layers=1, layer=small.attention(),
        lift=strategy, param_dtype=jnp.float64, rngs=nnx.Rngs(0),
    )  # fmt: skip
    return jax.jit(lambda points, features, key: model(points, features, None, key))


@pytest.mark.parametrize(
    ("group", "make_model"),
    [
        pytest.param(groups.SE(2), invariant_model, marks=pytest.mark.slow),
        pytest.param(groups.SE(3), invariant_model, marks=pytest.mark.slow),
        pytest.param(groups.SE(2), vector_field_model, marks=pytest.mark.slow),
        pytest.param(groups.SE(3), vector_field_model, marks=pytest.mark.slow),
        pytest.param(groups.SO(3), vector_field_model, marks=pytest.mark.slow),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_haar_rows_converge_like_one_over_root_n(group, make_model):
    """RMS over keys of f(u·x) - u·f(x) at n = 16 and 64: log-log slope in [-0.7, -0.3].

    With fewer samples a term of 1/n still counts: vectors begin with a slope of -0.8.
    """
    space = spaces.euclidean(group)
    points, features = draw(space, 4, num_features=2 * space.point_dim)
    u, moved, vectors = turned(space, points, features)
    counts, deviations = np.array([16, 64]), []
    for n in counts:
        run = over_keys(make_model(space, Haar(int(n))))
        here = run(points, features, 123)
        there = run(moved, features if make_model is invariant_model else vectors, 124)
        if make_model is not invariant_model:
            here = turn(space, u, here)
        deviations.append(np.sqrt(np.mean(np.square(np.asarray(there) - here))))
    slope = np.polyfit(np.log(counts), np.log(deviations), 1)[0]
    print(f"{group}: RMS deviations {deviations}, slope {slope:.3f}")
    assert -0.7 <= slope <= -0.3


@pytest.mark.parametrize(
    ("group", "shared"),
    [
        pytest.param(groups.SE(2), False, marks=pytest.mark.slow),
        (groups.SE(2), True),
        pytest.param(groups.SE(3), False, marks=pytest.mark.slow),
        pytest.param(groups.SE(3), True, marks=pytest.mark.slow),
        (groups.SO(3), False),
        pytest.param(groups.SO(2), False, marks=pytest.mark.slow),
        pytest.param(groups.SO(2), True, marks=pytest.mark.slow),
    ],
    ids=ids,
)
def test_haar_rows_have_no_bias(group, shared):
    """Means over keys before and after u agree within 4 standard errors, at n = 1.

    Under SO(n) one point is the origin; two lie on either side of the section's seam in space.
    Under SE(n) shared samples are exactly equivariant to translations besides.
    """
    space = spaces.euclidean(group)
    points, features = draw(space, 4, num_features=2 * space.point_dim)
    if space.has_exceptional_orbits:
        points = points.at[0].set(0.0)
        assert jnp.min(points[:, -1]) < 0 < jnp.max(points[:, -1])
    u, moved, vectors = turned(space, points, features)
    model = vector_field_model(space, Haar(1, shared=shared))
    keys = jax.random.split(jax.random.key(5), 4000)
    run = jax.jit(jax.vmap(model, (None, None, 0)))
    here, there = run(points, features, keys[:2000]), run(moved, vectors, keys[2000:])
    if shared and isinstance(space, spaces.AffineSpace):
        move = np.linspace(0.3, 0.7, space.point_dim)
        shifted = run(points + move, features, keys[:2000])
        assert testing.relative_error(shifted, here) <= 1e-10
    expected, here, there = map(np.asarray, (turn(space, u, here), here, there))
    mean = lambda a: np.mean(a, 0)
    error = np.sqrt((np.var(expected, 0) + np.var(there, 0)) / 2000)
    deviation = np.abs(mean(there) - mean(expected)) / error
    assert np.sqrt(np.mean(deviation**2)) < 1.5  # of unit size, were it noise alone
    assert np.max(deviation) < 4.0
    unturned = np.abs(mean(there) - mean(here)) / error
    assert np.max(unturned) > 6.0  # negative control: vectors that do not turn


@pytest.mark.parametrize(
    ("fault", "group"),
    each_once(["rho(g) in the lift", "h section(x)"], [groups.SE(2), groups.SE(3)]),
)
def test_negative_control_wrong_lift(fault, group):
    """Both faults bias the mean over keys: they fail where the right lift passes."""
    space = spaces.euclidean(group)
    layer, vectors = vector_layer(space), fields.vectors(2)

    def model(points, features, key):
        lifted = lift(space, points, features, key=key, field=vectors)
        if fault == "rho(g) in the lift":
            wrong = vectors.transform(space, lifted.elements, features[:, None])
            lifted = lifted.replace_features(wrong)
        else:
            section = space.section(points)[:, None]
            h = space.group.compose(space.group.inverse(section), lifted.elements)
            lifted = dataclasses.replace(lifted, elements=space.group.compose(h, section))
        return project(space, lifted.replace_features(layer(lifted)), vectors)

    points, features = draw(space, 4, num_features=2 * space.point_dim)
    u, moved, turned_features = turned(space, points, features)
    keys = jax.random.split(jax.random.key(5), 2000)
    run = jax.jit(jax.vmap(model, (None, None, 0)))
    here, there = np.asarray(run(points, features, keys)), run(moved, turned_features, keys)
    expected = turn(space, u, here.mean(0))
    assert np.max(np.abs(np.mean(there, 0) - expected)) / np.std(here) > 1e-2


@pytest.mark.parametrize("group", some([groups.SE(2), groups.SE(3)], groups.SE(2)))
def test_unlifted_depends_on_no_coset_representative(group):
    """g_ik → g_ik h_i changes nothing with invariants; negative control: it does with log."""
    space, model = build(group, NoLift(), "invariants")
    points, features = draw(space, 4, 5)
    lifted = compiled(lift)(space, points, features, lift=NoLift())

    @jax.jit
    def turned(elements):
        h = jax.vmap(jax.vmap(space.sample_stabilizer))(jax.random.split(KEY, (4, 5)), points)
        return space.group.compose(elements, h[..., None, :])

    other = dataclasses.replace(lifted, elements=turned(lifted.elements))
    run = jax.jit(model.apply_lifted)
    assert testing.relative_error(run(other), run(lifted)) <= 1e-10
    _, wrong = build(group, Haar(), "log")
    as_haar = jax.jit(lambda x: wrong.apply_lifted(dataclasses.replace(x, lift=None)))
    assert testing.relative_error(as_haar(other), as_haar(lifted)) > 1e-3
    with pytest.raises(ValueError, match="coordinates must be 'invariants' on a lift by NoLift"):
        wrong.apply_lifted(lifted)


def test_a_large_channel_does_not_hide_a_small_one():
    space = spaces.euclidean(groups.SE(2))
    mixed = lambda points, features: jnp.stack(
        [1e4 * points.var(1).sum(-1), 1e-2 * points[:, 0, 0]], axis=-1
    )
    assert testing.equivariance_error(lambda x, f: mixed(x, f)[:, 0], space) <= 1e-10
    assert testing.equivariance_error(mixed, space) > 0.1
    offset = lambda points, features: points[:, 0, :1] + 1e5
    assert testing.equivariance_error(offset, space) > 0.1
    # The components of a vector are one field: the second alone would not vary.
    along = lambda points, features: features * jnp.array([1.0, 1e-7])
    line = spaces.euclidean(groups.T(2))
    fields = {"input_field": "vector", "output_field": "vector"}
    assert testing.equivariance_error(along, line, **fields) <= 1e-10
    with pytest.raises(ValueError, match="in field 1 of 2"):
        testing.equivariance_error(along, line, input_field="vector", output_field="2x scalar")


@pytest.mark.usefixtures("no_type_checks")
@pytest.mark.parametrize(
    ("fn", "options", "error", "message"),
    [
        (lambda x, f: (x, f), {}, TypeError, "outputs must be arrays, got a tuple"),
        (lambda x, f: x > 0, {}, TypeError, "outputs must hold real numbers, got bool"),
        (lambda x, f: x[:, 0], {"num_examples": 1}, ValueError, "num_examples must be at least 2"),
        (
            lambda x, f: x[:, 0],
            {"num_points": 0},
            ValueError,
            "num_points must be at least 1, got 0",
        ),
        (
            lambda x, f: x.sum(),
            {"output_field": "vector"},
            ValueError,
            r"the 2 channels of output_field 1x vector on their last axis, got shape \(\)",
        ),
        (
            lambda x, f: x[:, 0],
            {"elements": jnp.zeros((1, 4))},
            ValueError,
            r"elements must have shape \(16, 4\), got \(1, 4\)",
        ),
    ],
)
def test_what_cannot_be_measured(fn, options, error, message):
    with pytest.raises(error, match=message):
        testing.equivariance_error(fn, spaces.euclidean(groups.SE(2)), **options)


class _Off(spaces.Sphere):
    """A sphere whose samples miss it, as one of one's own may."""

    def sample_points(self, key, shape, dtype=float):
        return 2.0 * super().sample_points(key, shape, dtype)


def test_samples_that_miss_their_space_are_refused():
    space = _Off(groups.SO(3))
    message = r"points of _Off\(.*\) must be unit vectors"
    with pytest.raises(ValueError, match=message):
        testing.equivariance_error(lambda points, features: points.var(1), space)
    with pytest.raises(ValueError, match=message):
        testing.coupled_lift_error(lambda lifted: lifted.features, space)


@pytest.mark.usefixtures("no_type_checks")
def test_errors_are_refused_on_constant_outputs():
    space = spaces.euclidean(groups.SE(2))
    with pytest.raises(
        ValueError, match=r"standard deviation over examples must be finite and above"
    ):
        testing.equivariance_error(lambda points, features: jnp.zeros(points.shape[0]), space)
    with pytest.raises(ValueError, match="standard deviation over examples must be finite"):
        testing.relative_error(jnp.zeros(3), jnp.array([0.0, 1.0, jnp.nan]))
    with pytest.raises(ValueError, match="the output must be finite"):
        testing.coupled_lift_error(lambda lifted: jnp.full(3, jnp.nan), space)
    for constant in (
        lambda points, features: jnp.broadcast_to(jnp.arange(3.0), (16, 3)),
        lambda points, features: jnp.broadcast_to(jnp.arange(6.0)[:, None], (16, 6, 1)),
        lambda points, features: jnp.stack([points.var((1, 2)), jnp.ones(16)], -1),
    ):
        with pytest.raises(ValueError, match=r"above 0\.001 in every field, got [\d.e-]+ in field"):
            testing.equivariance_error(constant, space)
    with pytest.raises(ValueError, match="in every field"):  # but for masks, which differ
        testing.coupled_lift_error(
            lambda x: (
                jnp.where(x.mask[..., None, None], jnp.arange(2.0), 0) + 0 * x.features[..., :1]
            ),
            space,
        )
    with pytest.raises(ValueError, match=r"one shape, got \(2,\) where \(3,\) is expected"):
        testing.relative_error(jnp.zeros(2), jnp.arange(3.0))
    with pytest.raises(ValueError, match="tolerance must be given for bfloat16"):
        testing.assert_equivariant(
            lambda points, features: points.var(-2).sum(-1), space, dtype=jnp.bfloat16
        )


def test_assert_equivariant_names_the_error():
    space = spaces.euclidean(groups.SE(2))
    with pytest.raises(AssertionError, match=r"not equivariant to SE\(2\): error"):
        testing.assert_equivariant(lambda points, features: points[..., 0, :1], space)


@pytest.mark.slow
def test_equivariance_error_of_vector_fields(monkeypatch):
    """Differences of points turn as vectors; read as scalars they do not."""
    space = spaces.euclidean(groups.SE(3))
    fn = lambda points, features: points - points.mean(-2, keepdims=True)
    monkeypatch.setattr(testing, "equivariance_error", equivariance_error)
    testing.assert_equivariant(fn, space, output_field=fields.vectors(1))
    assert testing.equivariance_error(fn, space) > 1e-2
    twice = lambda points, features: 2 * features
    vectors = fields.vectors(1)
    testing.assert_equivariant(twice, space, input_field=vectors, output_field=vectors)


def test_random_elements_are_bounded():
    group = groups.Product((groups.SE(3), groups.RxSO2(), groups.T(2)))
    draw = jax.jit(lambda key: testing.random_elements(group, key, (500,)))
    g = np.asarray(draw(jax.random.key(0)))
    assert np.max(np.linalg.norm(g[:, 4:7], axis=-1)) <= 1 + 1e-12
    assert np.max(np.linalg.norm(g[:, 10:], axis=-1)) <= 1 + 1e-12
    assert np.max(np.abs(g[:, 9])) <= np.log(2) + 1e-12
    assert np.std(g[:, 9]) > 0.3


def test_float32_tolerance_is_capped():
    assert testing.float32_tolerance(0.0) == 2e-6
    assert testing.float32_tolerance(1e-6) == pytest.approx(8e-6)
    assert testing.float32_tolerance(1.0) == 1e-4
