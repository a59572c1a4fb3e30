"""Each row of the table of guarantees, on whole models and layers, with negative controls."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn import fields, groups, spaces, testing
from eqattn.layers import LieSelfAttention
from eqattn.lift import Haar, Lifted, Unlifted, lift, project
from eqattn.models import LieTransformer

EXACT = [
    (groups.T(1), Haar(), "log"),
    (groups.T(3), Haar(), "embedding"),
    (groups.SO(2), Haar(), "embedding"),
    (groups.SO(2), Haar(), "log"),
    (groups.RxSO2(), Haar(), "log"),
    (groups.SE(2), Unlifted(), "invariants"),
    (groups.SE(3), Unlifted(), "invariants"),
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
        space, 4, 1, dim=8, num_layers=1, num_heads=2, location_dim=8, num_radial=3, cutoff=3.0,
        strategy=strategy, coordinates=coordinates, param_dtype=dtype, rngs=nnx.Rngs(0), **options,
    )  # fmt: skip
    return space, model


def ids(value):
    return str(value)


@pytest.mark.parametrize(("group", "strategy", "coordinates"), EXACT, ids=ids)
def test_exact_rows(group, strategy, coordinates):
    space, model = build(group, strategy, coordinates)
    fn = jax.jit(lambda points, features: model(points, features))
    testing.assert_equivariant(fn, space, num_points=5)


@pytest.mark.parametrize(("group", "strategy", "coordinates"), EXACT[1:], ids=ids)
def test_exact_rows_in_float32(group, strategy, coordinates):
    space, model = build(group, strategy, coordinates)
    graphdef, params = nnx.split(model, nnx.Param)
    single = nnx.merge(graphdef, jax.tree.map(lambda p: p.astype(jnp.float32), params))
    points = jax.random.normal(jax.random.key(5), (16, 5, space.point_dim))
    features = jax.random.normal(jax.random.key(6), (16, 5, 4))
    narrow = jax.jit(single)(points.astype(jnp.float32), features.astype(jnp.float32))
    assert narrow.dtype == jnp.float32
    own = testing.relative_error(narrow, jax.jit(model)(points, features))
    testing.assert_equivariant(
        jax.jit(lambda points, features: single(points, features)),
        space,
        dtype=jnp.float32,
        tolerance=testing.float32_tolerance(own),
    )


@pytest.mark.parametrize(("group", "strategy", "coordinates"), ALL, ids=ids)
def test_coupled_lift(group, strategy, coordinates):
    """Every element times u: the model's output is identical, whatever was sampled."""
    space, model = build(group, strategy, coordinates)
    error = testing.coupled_lift_error(jax.jit(model.apply_lifted), space, strategy=strategy)
    assert error <= 1e-10


def vector_layer(space, coordinates="embedding", seed=0):
    """A layer on lifted vectors, whose output channels are read as vectors again."""
    dim = 2 * space.point_dim
    return LieSelfAttention(
        dim, 2, space, coordinates=coordinates, location_dim=8, param_dtype=jnp.float64,
        rngs=nnx.Rngs(seed),
    )  # fmt: skip


@pytest.mark.parametrize("group", [groups.SE(2), groups.SE(3), groups.SO(3)], ids=ids)
def test_coupled_lift_of_vector_fields(group):
    """project(u·g, F) = ρ(u) project(g, F) for vectors in and out."""
    space = spaces.euclidean(group)
    vectors = fields.vectors(2)
    options = {"strategy": Haar(2), "input_field": vectors, "output_field": vectors}
    layer = jax.jit(vector_layer(space))
    assert testing.coupled_lift_error(layer, space, **options) <= 1e-10


def vector_field_model(space, strategy, lift_field=None):
    """Vectors in, vectors out, at every point; Haar keys as a last argument."""
    layer, vectors = vector_layer(space), fields.vectors(2)

    def model(points, features, key):
        lifted = lift(
            space, points, features, key=key, strategy=strategy,
            field=vectors if lift_field is None else lift_field,
        )  # fmt: skip
        return project(space, lifted.replace_features(layer(lifted)), vectors)

    return jax.jit(model)


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
        space, 2 * space.point_dim, 1, dim=8, num_layers=1, num_heads=2, location_dim=8,
        strategy=strategy, param_dtype=jnp.float64, rngs=nnx.Rngs(0),
    )  # fmt: skip
    return jax.jit(lambda points, features, key: model(points, features, None, key))


@pytest.mark.parametrize(
    ("group", "make_model"),
    [
        (groups.SE(2), invariant_model),
        pytest.param(groups.SE(3), invariant_model, marks=pytest.mark.slow),
        pytest.param(groups.SE(2), vector_field_model, marks=pytest.mark.slow),
        pytest.param(groups.SE(3), vector_field_model, marks=pytest.mark.slow),
        (groups.SO(3), vector_field_model),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_haar_rows_converge_like_one_over_root_n(group, make_model):
    """RMS over keys of f(u·x) - u·f(x) at n = 1, 4, 16, 64: log-log slope in [-0.7, -0.3]."""
    space = spaces.euclidean(group)
    points = jax.random.normal(jax.random.key(1), (4, space.point_dim))
    features = jax.random.normal(jax.random.key(2), (4, 2 * space.point_dim))
    u = testing.random_elements(group, jax.random.key(3), (1,))
    turn = lambda x: (
        x if make_model is invariant_model else fields.vectors(2).transform(space, u, x)
    )
    counts, deviations = np.array([1, 4, 16, 64]), []
    for n in counts:
        run = over_keys(make_model(space, Haar(int(n))))
        here = turn(run(points, features, 123))
        there = run(space.group.act(u, points), turn(features), 124)
        deviations.append(float(jnp.sqrt(jnp.mean((there - here) ** 2))))
    slope = np.polyfit(np.log(counts), np.log(deviations), 1)[0]
    print(f"{group}: RMS deviations {deviations}, slope {slope:.3f}")
    assert -0.7 <= slope <= -0.3


@pytest.mark.parametrize(
    ("group", "shared"),
    [
        (groups.SE(2), False),
        (groups.SE(2), True),
        (groups.SE(3), False),
        (groups.SE(3), True),
        (groups.SO(3), False),
        (groups.SO(2), False),
        (groups.SO(2), True),
    ],
    ids=ids,
)
def test_haar_rows_have_no_bias(group, shared):
    """Means over keys before and after u agree within 4 standard errors, at n = 1.

    Under SO(n) one point is the origin; two lie on either side of the section's seam in space.
    """
    space = spaces.euclidean(group)
    points = jax.random.normal(jax.random.key(1), (4, space.point_dim))
    if space.has_exceptional_orbits:
        points = points.at[0].set(0.0)
        assert jnp.min(points[:, -1]) < 0 < jnp.max(points[:, -1])
    features = jax.random.normal(jax.random.key(2), (4, 2 * space.point_dim))
    u = testing.random_elements(group, jax.random.key(3), (1,))
    turned = fields.vectors(2).transform(space, u, features)
    model = vector_field_model(space, Haar(1, shared=shared))
    keys = jax.random.split(jax.random.key(5), 4000)
    run = jax.jit(jax.vmap(model, (None, None, 0)))
    here = run(points, features, keys[:2000])
    there = run(space.group.act(u, points), turned, keys[2000:])
    expected = fields.vectors(2).transform(space, u, here)
    mean = lambda a: np.asarray(jnp.mean(a, 0))
    error = np.sqrt(np.asarray(jnp.var(expected, 0) + jnp.var(there, 0)) / 2000)
    deviation = np.abs(mean(there) - mean(expected)) / error
    assert np.sqrt(np.mean(deviation**2)) < 1.5  # of unit size, were it noise alone
    assert np.max(deviation) < 4.0
    unturned = np.abs(mean(there) - mean(here)) / error
    assert np.max(unturned) > 6.0  # negative control: vectors that do not turn


@pytest.mark.parametrize("group", [groups.SE(2), groups.SE(3)], ids=ids)
def test_shared_samples_are_exactly_translation_equivariant(group):
    space = spaces.euclidean(group)
    points = jax.random.normal(jax.random.key(1), (4, space.point_dim))
    features = jax.random.normal(jax.random.key(2), (4, 2 * space.point_dim))
    move = jnp.linspace(0.3, 0.7, space.point_dim)
    model = vector_field_model(space, Haar(2, shared=True))
    key = jax.random.key(0)
    out = model(points, features, key)
    assert testing.relative_error(model(points + move, features, key), out) <= 1e-10


def break_pairs(layer):
    """Negative control: ψ = g_j g_i⁻¹, by handing the layer the inverse elements."""
    invert = layer.features.space.group.inverse
    return lambda lifted: layer(dataclasses.replace(lifted, elements=invert(lifted.elements)))


@pytest.mark.parametrize("group", [groups.SE(2), groups.SE(3), groups.SO(3)], ids=ids)
def test_negative_control_wrong_pair(group):
    space = spaces.euclidean(group)
    layer = vector_layer(space)
    vectors = fields.vectors(2)
    options = {"strategy": Haar(2), "input_field": vectors, "output_field": vectors}
    assert testing.coupled_lift_error(break_pairs(layer), space, **options) > 1e-2


@pytest.mark.parametrize("group", [groups.SE(2), groups.SE(3)], ids=ids)
@pytest.mark.parametrize("fault", ["rho(g) in the lift", "h section(x)"])
def test_negative_control_wrong_lift(group, fault):
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

    points = jax.random.normal(jax.random.key(1), (4, space.point_dim))
    features = jax.random.normal(jax.random.key(2), (4, 2 * space.point_dim))
    u = testing.random_elements(group, jax.random.key(3), (1,))
    keys = jax.random.split(jax.random.key(5), 2000)
    run = jax.jit(jax.vmap(model, (None, None, 0)))
    here = jnp.mean(run(points, features, keys), 0)
    there = run(space.group.act(u, points), vectors.transform(space, u, features), keys)
    there = jnp.mean(there, 0)
    expected = vectors.transform(space, u, here)
    assert jnp.max(jnp.abs(there - expected)) / jnp.std(run(points, features, keys)) > 1e-2


@pytest.mark.parametrize("group", [groups.SE(2), groups.SE(3)], ids=ids)
def test_unlifted_depends_on_no_coset_representative(group):
    """g_ik → g_ik h_i changes nothing with invariants; negative control: it does with log."""
    space, model = build(group, Unlifted(), "invariants")
    points = jax.random.normal(jax.random.key(1), (4, 5, space.point_dim))
    features = jax.random.normal(jax.random.key(2), (4, 5, 4))
    lifted = lift(space, points, features, strategy=Unlifted())
    h = jax.vmap(jax.vmap(space.sample_stabilizer))(jax.random.split(KEY, (4, 5)), points)
    turned = space.group.compose(lifted.elements, h[..., None, :])
    other = dataclasses.replace(lifted, elements=turned)
    run = jax.jit(model.apply_lifted)
    assert testing.relative_error(run(other), run(lifted)) <= 1e-10
    _, wrong = build(group, Haar(), "log")
    as_haar = lambda x: jax.jit(wrong.apply_lifted)(dataclasses.replace(x, strategy=None))
    assert testing.relative_error(as_haar(other), as_haar(lifted)) > 1e-3
    with pytest.raises(ValueError, match="coordinates must be 'invariants' on an Unlifted lift"):
        wrong.apply_lifted(lifted)


@pytest.mark.usefixtures("no_type_checks")
def test_errors_are_refused_on_constant_outputs():
    space = spaces.euclidean(groups.SE(2))
    with pytest.raises(ValueError, match=r"standard deviation must be finite and above 0\.001"):
        testing.equivariance_error(lambda points, features: jnp.zeros(points.shape[0]), space)
    with pytest.raises(ValueError, match="standard deviation must be finite"):
        testing.relative_error(jnp.zeros(3), jnp.array([0.0, 1.0, jnp.nan]))
    with pytest.raises(ValueError, match="the output must be finite"):
        testing.coupled_lift_error(lambda lifted: jnp.full(3, jnp.nan), space)
    with pytest.raises(ValueError, match=r"one shape, got \(2,\) where \(3,\) is expected"):
        testing.relative_error(jnp.zeros(2), jnp.arange(3.0))
    with pytest.raises(ValueError, match="tolerance must be given for bfloat16"):
        testing.assert_equivariant(
            lambda points, features: points.var(-2).sum(-1), space, dtype=jnp.bfloat16
        )


def test_assert_equivariant_names_the_error():
    space = spaces.euclidean(groups.SE(2))
    with pytest.raises(AssertionError, match=r"not equivariant to SE2\(\): error"):
        testing.assert_equivariant(lambda points, features: points[..., 0, :1], space)


def test_equivariance_error_of_vector_fields():
    """Differences of points turn as vectors; read as scalars they do not."""
    space = spaces.euclidean(groups.SE(3))
    fn = lambda points, features: points - points.mean(-2, keepdims=True)
    testing.assert_equivariant(fn, space, output_field=fields.vectors(1))
    assert testing.equivariance_error(fn, space) > 1e-2
    twice = lambda points, features: 2 * features
    vectors = fields.vectors(1)
    testing.assert_equivariant(twice, space, input_field=vectors, output_field=vectors)


def test_random_elements_are_bounded():
    group = groups.Product((groups.SE(3), groups.RxSO2(), groups.T(2)))
    g = testing.random_elements(group, jax.random.key(0), (500,))
    assert jnp.max(jnp.linalg.norm(g[:, 4:7], axis=-1)) <= 1 + 1e-12
    assert jnp.max(jnp.linalg.norm(g[:, 10:], axis=-1)) <= 1 + 1e-12
    assert jnp.max(jnp.abs(g[:, 9])) <= np.log(2) + 1e-12
    assert jnp.std(g[:, 9]) > 0.3


def test_float32_tolerance_is_capped():
    assert testing.float32_tolerance(0.0) == 2e-6
    assert testing.float32_tolerance(1e-6) == pytest.approx(8e-6)
    assert testing.float32_tolerance(1.0) == 1e-4


def test_lifted_is_a_pytree():
    space = spaces.euclidean(groups.T(2))
    lifted = lift(space, jnp.ones((3, 2)), jnp.ones((3, 1)))
    leaves, structure = jax.tree.flatten(lifted)
    assert len(leaves) == 5
    assert isinstance(jax.tree.unflatten(structure, leaves), Lifted)
