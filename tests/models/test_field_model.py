"""FieldModel: vectors and other fields in and out, around models that know scalars only."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn import fields, groups, testing
from eqattn.fields import FieldType
from eqattn.lift import EVALUATION_SEED, Frames, Haar, NoLift, Subgroup
from eqattn.models import FieldModel, LieTransformer
from tests import small
from tests.spaces.cases import SPACES
from tests.tolerances import NEGATIVE_CONTROL, tolerance

SE3 = SPACES["SE(3)"]
INPUT, OUTPUT = FieldType.parse("scalar + vector"), fields.vectors()
ICOSAHEDRAL = Subgroup("icosahedral")


def build(space=SE3, strategy=Haar(2), output=OUTPUT, coordinates="embedding"):
    inner = LieTransformer(
        space, INPUT.size(space), output.size(space), dim=8, num_layers=1,
        layer=small.attention(coordinates=coordinates), lift=strategy, param_dtype=jnp.float64,
        rngs=nnx.Rngs(0),
    )  # fmt: skip
    return FieldModel(inner, INPUT, output)


def cloud(num=2):
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.normal(size=(num, 3))), jnp.asarray(1 + rng.normal(size=(num, 4)))


@functools.cache
def model_of(strategy):
    return build(strategy=strategy)


def turned_outputs(strategy, elements):
    """u⁻¹ f(u·x) for each element, which is f(x) where f is equivariant."""
    x, f = cloud()
    model = model_of(strategy)

    @jax.jit
    def run(u):
        out = model(SE3.act(u, x), INPUT.transform(SE3, u, f))
        return OUTPUT.transform(SE3, u, out, inverse=True)

    return np.asarray(run(np.asarray(elements)[:, None]))


def rotations(quaternions):
    return np.concatenate([quaternions, np.zeros((len(quaternions), 3))], axis=1)


@pytest.mark.slow
def test_icosahedral_samples_are_exact_on_all_60_rotations():
    """And on no others: how far they deviate on the rest of SO(3) is printed."""
    sixty = groups.finite_elements(groups.SO(3), "icosahedral")
    found = turned_outputs(ICOSAHEDRAL, rotations(sixty))
    assert found.shape[0] == 60
    std = np.std(found[0])
    assert std > testing.MIN_STD
    assert np.max(np.abs(found - found[0])) / std <= tolerance(jnp.float64)
    others = np.random.default_rng(3).normal(size=(60, 4))
    others /= np.linalg.norm(others, axis=-1, keepdims=True)
    deviation = np.abs(turned_outputs(ICOSAHEDRAL, rotations(others)) - found[0]) / std
    print(f"icosahedral, random weights: off the group {deviation.max():.2e} at most of the std")
    assert NEGATIVE_CONTROL < deviation.max() < 0.5


@pytest.mark.slow
def test_vectors_to_vectors_by_frames():
    """Exactly, for all of SE(3); negative control: outputs read as scalars."""
    model = build(strategy=Frames(min_gap=1e-3))
    fn = jax.jit(lambda x, f: model(x, f))
    options = {"input_field": INPUT, "num_points": 4, "num_examples": 6}
    error = testing.equivariance_error(fn, SE3, output_field=OUTPUT, **options)
    assert error <= tolerance(jnp.float64)
    error = testing.equivariance_error(fn, SE3, output_field=fields.scalars(3), **options)
    assert error > NEGATIVE_CONTROL


def test_call_contract():
    """Masks, ids, weights, keys and lifts as the model inside takes them."""
    model = build(strategy=Haar(2, shared=True))

    assert model.is_stochastic
    assert (model.in_features, model.out_features) == (4, 3)
    x, f = map(np.asarray, cloud(5))
    run = jax.jit(lambda x, f, mask, w, key: model(x, f, mask, key, log_weights=w))
    mask, w = np.arange(5) < 4, np.zeros(5)
    out = np.asarray(run(x, f, mask, w, jax.random.key(7)))
    assert out.shape == (5, 3)
    np.testing.assert_array_equal(out[4], 0.0)
    junk = np.copy(x), np.copy(f)
    for array in junk:
        array[4] = np.nan
    np.testing.assert_array_equal(run(*junk, mask, w, jax.random.key(7)), out)
    # A point split into two of half its weight, which shared samples lift alike.
    twice, again = x[[0, 1, 2, 3, 0]], f[[0, 1, 2, 3, 0]]
    half = np.array([-np.log(2.0), 0.0, 0.0, 0.0, -np.log(2.0)])
    split = np.asarray(run(twice, again, mask | True, half, jax.random.key(7)))
    np.testing.assert_allclose(split[:4], out[:4], atol=1e-12)
    np.testing.assert_allclose(split[4], out[0], atol=1e-12)
    unequal = np.asarray(run(twice, again, mask | True, w, jax.random.key(7)))
    assert np.abs(unequal[:4] - out[:4]).max() > NEGATIVE_CONTROL * np.std(out)


@pytest.mark.slow
def test_keys_and_lifts():
    model = build()
    x, f = cloud()

    @jax.jit
    def run(key):
        once = [model(x, f, key=jax.random.fold_in(key, i)) for i in range(2)]
        fixed = model(x, f), model(x, f, key=jax.random.key(EVALUATION_SEED))
        return once, model(x, f, key=key, num_lifts=2), fixed

    once, twice, fixed = jax.tree.map(np.asarray, run(jax.random.key(2)))
    np.testing.assert_allclose(twice, sum(once) / 2, atol=1e-13)
    assert np.abs(once[0] - once[1]).max() > NEGATIVE_CONTROL * np.std(once[0])
    np.testing.assert_array_equal(*fixed)
    with pytest.raises(ValueError, match=r"key must be given in training with Haar\(num_samples=2"):
        model(x, f, training=True)


@pytest.mark.slow
def test_derivatives_are_finite():
    """With frames that are drawn and ones that are not."""
    model = build(strategy=Frames())
    x, f = cloud(4)
    square = np.array([[1.0, 0, 0], [-1.0, 0, 0], [0, 1.0, 0], [0, -1.0, 0]])

    gradient = jax.jit(jax.grad(lambda x: jnp.sum(model(x, f) ** 2)))
    for points in (x, square, 0 * square):
        assert np.all(np.isfinite(gradient(points)))


BAD = {
    "input": (
        lambda: FieldModel(build().model, "2x vector", "vector"),
        r"input_field 2x vector has 6 channels on euclidean\(SE\(3\)\), the model has 4",
    ),
    "output": (
        lambda: FieldModel(build().model, INPUT, "scalar"),
        r"output_field 1x scalar has 1 channels on euclidean\(SE\(3\)\), the model has 3",
    ),
    "unlifted": (
        lambda: build(strategy=NoLift(), coordinates="invariants"),
        r"NoLift needs a field that the stabilizer SO\(3\) does not change, got vector",
    ),
    "field": (
        lambda: build(output=FieldType.parse("vector[1]")),
        r"scale weight of vector\[1\] needs a group with scalings",
    ),
    "features": (
        lambda: build()(cloud()[0], cloud()[1][:, :3]),
        r"features of the field 1x scalar \+ 1x vector must have 4 channels, got shape \(2, 3\)",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_raise(name):
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.slow
def test_any_kind_of_field():
    """Tensors, irreps and twists out, by frames."""
    output = FieldType.parse("tensor(2) + irrep(3) + pseudovector") + fields.custom(
        SE3.group.adjoint, 6
    )
    model = build(strategy=Frames(), output=output)
    error = testing.equivariance_error(
        jax.jit(lambda x, f: model(x, f)), SE3, input_field=INPUT, output_field=output,
        num_points=4, num_examples=4,
    )  # fmt: skip
    assert error <= tolerance(jnp.float64)
