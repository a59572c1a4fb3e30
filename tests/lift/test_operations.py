"""Lift and project: what they compute, on every space, with negative controls."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn.fields import FieldType
from eqattn.lift import Haar, Lifted, NoLift, lift, normalized_weights, project
from tests.grids import some
from tests.groups.cases import algebra_samples, relative_error
from tests.spaces.cases import NUM, SPACES, hard_points
from tests.tolerances import NEGATIVE_CONTROL, tolerance

# The stabilizers of points: none with an orbit each, none, and rotations about the point.
QUICK = ("SO(3)", "RxSO2", "SE(3)")
every_space = pytest.mark.parametrize(
    "space",
    [
        pytest.param(space, id=name, marks=() if name in QUICK else pytest.mark.slow)
        for name, space in SPACES.items()
    ],
)
TOLERANCE = tolerance(jnp.float64)
FIELD = FieldType.parse("2x scalar + vector")
B, N, S = 2, 4, 4  # 32 elements
MASK = jnp.asarray([[True] * N, [True, False, True, False]])


def data(space):
    """Points, and features of the mixed field."""
    rng = np.random.default_rng(50)
    x = rng.uniform(0.1, 1.0, (B, N, space.point_dim)) * rng.choice([-1, 1], (B, N, 1))
    return jnp.asarray(x), jnp.asarray(rng.normal(size=(B, N, FIELD.size(space))))


@functools.cache
def gradients(space):
    """A program for a loss of a lift and its projection, and gradients for points and features."""

    def loss(x, f, mask):
        F = lift(space, x, f, mask, key=jax.random.key(0), lift=Haar(S), field=FIELD)
        out = project(space, F, FIELD)
        weighted = jnp.where(mask, jnp.sum(F.elements**3, (-2, -1)), 0.0)
        return jnp.sum(weighted) + jnp.sum(out**3), (F, out)

    return jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))


@functools.cache
def lifted(space, dtype=jnp.float64):
    """The lift of the data, and its projection."""
    x, f = (z.astype(dtype) for z in data(space))
    return gradients(space)(x, f, MASK | True)[0][1]


@functools.partial(jax.jit, static_argnums=0)
def projected(space, lifted_):
    return project(space, lifted_, FIELD)


def flat(space):
    """The lifted elements [32 E], with the point of each, and its features before and after."""
    F, _ = lifted(space)
    repeated = (np.repeat(np.asarray(z).reshape(B * N, -1), S, axis=0) for z in data(space))
    return F.elements.reshape(NUM, -1), *map(jnp.asarray, repeated), F.features.reshape(NUM, -1)


def origins(space, x):
    """The origin of the orbit of each point."""
    radius = np.linalg.norm(x, axis=-1, keepdims=True) if space.num_orbit_invariants else 1.0
    return jnp.asarray(radius * np.asarray(space.origin()) * np.ones_like(x))


def one_element(space):
    return space.group.exp(jnp.asarray(algebra_samples(space.group, (1.0,), num=1, seed=52)))


def error(found, expected):
    """Largest error over all examples."""
    return float(np.max(relative_error(found, expected)))


@every_space
def test_elements_take_the_origin_to_the_points(space):
    F, _ = lifted(space)
    assert F.elements.shape == (B, N, S, space.group.element_dim)
    assert F.orbit_invariants.shape == (B, N, space.num_orbit_invariants)
    np.testing.assert_array_equal(F.orbit_invariants, space.orbit_invariants(data(space)[0]))
    elements, x, _, _ = flat(space)
    assert error(space.group.act(elements, origins(space, x)), x) <= TOLERANCE


@every_space
def test_features_are_of_the_inverse_representation(space):
    elements, _, f, features = map(np.asarray, flat(space))
    matrices = np.swapaxes(np.asarray(space.group.linear_matrix(jnp.asarray(elements))), -1, -2)
    vectors = np.einsum("bij,bj->bi", matrices, f[:, 2:])
    np.testing.assert_allclose(features[:, 2:], vectors, atol=1e-14)
    np.testing.assert_array_equal(features[:, :2], f[:, :2])


@every_space
def test_project_inverts_lift(space):
    F, out = lifted(space)
    _, f = data(space)
    assert error(out, f) <= TOLERANCE
    scalars = F.replace_features(F.features[..., :2])
    assert error(project(space, scalars), f[..., :2]) <= TOLERANCE


@pytest.mark.parametrize("name", some(["SE(3)", "RxSO2"], "RxSO2"))
def test_float32(name):
    space = SPACES[name]
    F, out = lifted(space, dtype=jnp.float32)
    assert {z.dtype for z in jax.tree.leaves((F, out))} == {jnp.dtype("float32"), jnp.dtype(bool)}
    exact, exact_out = lifted(space)
    assert error(out, exact_out) <= tolerance(jnp.float32)
    if space.stabilizer_dim == 0:  # elsewhere the draws differ by dtype
        assert error(F.elements, exact.elements) <= tolerance(jnp.float32)


@every_space
def test_coupled_lift(space):
    """project(u·g, F) = ρ(u) project(g, F) for any functions F on the group."""
    u, (F, _) = one_element(space), lifted(space)
    elements, *_ = flat(space)
    F = F.replace_features(jnp.asarray(np.random.default_rng(1).normal(size=F.features.shape)))
    moved = space.group.compose(u, elements).reshape(F.elements.shape)
    moved = projected(space, dataclasses.replace(F, elements=moved))
    assert error(moved, FIELD.transform(space, u, projected(space, F))) <= TOLERANCE


@every_space
def test_lifted_fields_are_in_the_regular_representation(space):
    """[u·F](u g) = F(g): the field ρ(u) f(u⁻¹·), read at the elements u·g, has the features F."""
    u, (elements, _, f, features) = one_element(space), flat(space)
    moved, turned = space.group.compose(u, elements), FIELD.transform(space, u, f)
    assert error(FIELD.transform(space, moved, turned, inverse=True), features) <= TOLERANCE
    # Negative control: lifting with ρ(g) in place of ρ(g)⁻¹.
    wrong = FIELD.transform(space, moved, turned)
    rotates = np.ptp(np.asarray(space.group.linear_matrix(u)) - np.eye(space.point_dim)) > 0.1
    assert (error(wrong, FIELD.transform(space, elements, f)) > NEGATIVE_CONTROL) == rotates


@pytest.mark.parametrize("name", ["SO(3)", "SE(2)", "SE(3)"])
def test_negative_controls(name):
    """The wrong order of factors in an element, and of factors in a pair."""
    space = SPACES[name]
    compose, inverse, act = space.group.compose, space.group.inverse, space.group.act
    elements, x, _, _ = flat(space)
    section, origin = space.section(x), origins(space, x)
    h = compose(inverse(section), elements)
    assert error(act(compose(section, h), origin), x) <= TOLERANCE
    assert error(act(compose(h, section), origin), x) > NEGATIVE_CONTROL
    u, others = one_element(space), elements[::-1]
    moved, others_moved = compose(u, elements), compose(u, others)
    pairs = compose(inverse(elements), others), compose(inverse(moved), others_moved)
    assert error(*map(space.group.matrix, pairs)) <= TOLERANCE
    wrong = compose(others, inverse(elements)), compose(others_moved, inverse(moved))
    assert error(*map(space.group.matrix, wrong)) > NEGATIVE_CONTROL


@every_space
def test_masked_points_may_hold_anything(space):
    """Values, and gradients with respect to points and features, do not depend on them."""
    x, f = data(space)
    (expected, clean), expected_gradients = gradients(space)(x, f, MASK)
    assert all(np.max(np.abs(z)) > 0.1 for z in expected_gradients)
    where = MASK[..., None]
    np.testing.assert_array_equal(np.where(where, 0.0, clean[1]), 0.0)
    np.testing.assert_array_equal(clean[0].mask, MASK)
    for junk in (jnp.nan, jnp.inf, 0.0):
        inputs = *(jnp.asarray(np.where(where, z, junk)) for z in (x, f)), MASK
        (value, parts), found = gradients(space)(*inputs)
        np.testing.assert_allclose(value, expected, rtol=1e-14)
        for gradient, exact in zip(found, expected_gradients, strict=True):
            np.testing.assert_allclose(gradient, exact, atol=1e-13)
            np.testing.assert_array_equal(np.where(where, 0.0, gradient), 0.0)
        for part, exact in zip(jax.tree.leaves(parts), jax.tree.leaves(clean), strict=True):
            np.testing.assert_array_equal(part, exact)


@every_space
def test_gradients_are_finite_at_hard_points(space):
    _, f = data(space)
    for x in hard_points(space).reshape(-1, B, N, space.point_dim):
        _, found = gradients(space)(x, f, ~space.unliftable(x))
        assert all(np.all(np.isfinite(gradient)) for gradient in found)


def test_log_weights_of_points_are_shared_by_their_samples():
    space = SPACES["SE(3)"]
    x, f = data(space)
    weights = jnp.asarray(np.random.default_rng(0).normal(size=(B, N))).at[0, 0].set(-jnp.inf)
    options = {"key": jax.random.key(0), "lift": Haar(S), "field": FIELD}
    F = jax.jit(lambda w: lift(space, x, f, MASK, log_weights=w, **options))(weights)
    unweighted, out = lifted(space)
    np.testing.assert_allclose(jax.nn.logsumexp(F.log_weights, axis=-1), weights, atol=1e-14)
    np.testing.assert_allclose(np.exp(unweighted.log_weights).sum(-1), 1.0, rtol=1e-14)
    valid = MASK & jnp.isfinite(weights)
    expected = jnp.where(valid[..., None], out, 0.0)
    np.testing.assert_allclose(projected(space, F), expected, atol=1e-14)


def test_normalized_weights():
    inf = jnp.inf
    logs = jnp.asarray([[0.0, 1.0, -inf, 5.0], [-inf, -inf, -inf, 1.0], [800.0, 801.0, 0.0, 9e9]])
    mask = jnp.asarray([True, True, True, False])
    weights = normalized_weights(logs, mask, axis=-1)
    e = np.e
    exact = [[1 / (1 + e), e / (1 + e), 0, 0], [0, 0, 0, 0], [1 / (1 + e), e / (1 + e), 0, 0]]
    np.testing.assert_allclose(weights, exact, atol=1e-15)
    both = normalized_weights(logs[:2], mask, axis=(0, 1))
    np.testing.assert_allclose(jnp.sum(both), 1.0, rtol=1e-15)
    gradient = jax.jit(jax.grad(lambda x: normalized_weights(x, mask, -1)[:, 0].sum()))(logs)
    assert np.all(np.isfinite(gradient))


def test_lifted_is_a_pytree_of_five_arrays():
    F, _ = lifted(SPACES["SE(3)"])
    again = Lifted(*jax.tree.leaves(F))
    assert jax.tree.structure(again) == jax.tree.structure(F)
    assert len(jax.tree.leaves(F)) == 5
    assert not again.is_coset
    other = F.replace_features(F.features[..., :1])
    assert other.features.shape == (B, N, S, 1)
    assert other.elements is F.elements


def test_elements_count_where_they_have_a_point_and_a_weight():
    """The features of the others may hold anything."""
    space = SPACES["SE(3)"]
    F, _ = lifted(space)
    weights = F.log_weights.at[0, 0, 1].set(-jnp.inf)
    F = dataclasses.replace(F, mask=MASK, log_weights=weights)
    exact = np.repeat(np.asarray(MASK)[..., None], S, axis=-1)
    exact[0, 0, 1] = False
    np.testing.assert_array_equal(F.valid, exact)
    junk = F.replace_features(jnp.where(F.valid[..., None], F.features, jnp.nan))
    np.testing.assert_array_equal(projected(space, junk), projected(space, F))


def test_unlifted_holds_the_sections():
    space = SPACES["SE(3)"]
    x, f = data(space)

    @jax.jit
    def compute(x, f):
        F = lift(space, x, f, lift=NoLift())
        return F, space.section(x), project(space, F)

    F, section, out = compute(x, f)
    assert F.is_coset
    np.testing.assert_array_equal(F.elements, np.asarray(section)[:, :, None])
    np.testing.assert_array_equal(F.features, np.asarray(f)[:, :, None])
    np.testing.assert_array_equal(F.log_weights, np.zeros((B, N, 1)))
    np.testing.assert_array_equal(out, f)
    with pytest.raises(ValueError, match=r"NoLift needs a field that the stabilizer SO\(3\) does"):
        project(space, F, FIELD)


@pytest.mark.parametrize("kind", [np.int32, bool, np.float32])
@pytest.mark.usefixtures("no_type_checks")
def test_a_point_that_is_not_finite_makes_features_of_any_type_nan(kind):
    points = np.random.default_rng(0).normal(size=(2, 3, 2))
    points[0, 1, 0] = np.nan
    features = jnp.asarray(np.arange(30).reshape(2, 3, 5) % 5, kind)
    found = lift(SPACES["SE(2)"], jnp.asarray(points), features, lift=NoLift()).features[..., 0, :]
    assert np.all(np.isnan(found[0]))
    np.testing.assert_array_equal(found[1], np.asarray(features[1], float))
