"""The bottleneck network: invariance, subsampling, what a prediction may depend on, errors."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn import fields, groups, spaces, testing
from eqattn.attention import NearestNeighbors, RadiusNeighbors
from eqattn.layers import BernsteinValues, Convolution
from eqattn.lift import Haar, NoLift, lift
from eqattn.models import HamiltonianNetwork, LieConvNetwork, RegularModel
from tests import small
from tests.compiled import compiled

lift = compiled(lift)

SE3 = spaces.euclidean(groups.SE(3))
PLANE = spaces.euclidean(groups.SE(2))
KEY = jax.random.key(7)


def build(space=SE3, **options):
    options = {
        "dim": 8, "num_layers": 2, "bottleneck": 2, "lift": Haar(2), "param_dtype": float,
        "layer": small.convolution(num_basis=3, width=6, depth=2), **options,
    }  # fmt: skip
    return LieConvNetwork(space, 4, 1, rngs=nnx.Rngs(0), **options)


def data(num_points=8, dim=3):
    rng = np.random.default_rng(1)
    arrays = (rng.normal(size=(3, num_points, n)) for n in (dim, 4))
    mask = np.arange(num_points) < np.array([num_points, 5, 2])[:, None]
    return *map(jnp.asarray, arrays), jnp.asarray(mask)


def predict(model, method="__call__"):
    graphdef, params = nnx.split(model, nnx.Param)
    call = jax.jit(lambda params, *a, **k: getattr(nnx.merge(graphdef, params), method)(*a, **k))
    return lambda *a, **k: call(params, *a, **k)


@pytest.mark.parametrize(
    ("group", "options"),
    [
        (groups.SE(2), {"subsampling": (4,), "neighborhood": NearestNeighbors(3)}),
        pytest.param(
            *(groups.SE(3), {"subsampling": (0, 4), "neighborhood": RadiusNeighbors(2.0, 6)}),
            marks=pytest.mark.slow,
        ),
    ],
    ids=str,
)
def test_coupled_lift(group, options):
    """Identical for u·g; negative control: the pair g_j g_i⁻¹."""
    space = spaces.euclidean(group)
    model = predict(build(space, **options), "apply_lifted")
    inverse = jax.jit(group.inverse)
    invert = lambda x: dataclasses.replace(x, elements=inverse(x.elements))
    own, wrong = (
        testing.coupled_lift_error(fn, space) for fn in (model, lambda x: model(invert(x)))
    )
    assert own <= 1e-10
    assert wrong > 1e-2


@pytest.mark.slow
def test_functions_on_the_group_in_and_out():
    """Vectors in and out through the protocol that field models wrap."""
    model = LieConvNetwork(
        PLANE, 4, 4, dim=8, num_layers=1, bottleneck=2, lift=Haar(),
        layer=small.convolution(num_basis=3, width=6), param_dtype=float, rngs=nnx.Rngs(0),
    )  # fmt: skip
    assert isinstance(model, RegularModel)
    vectors = fields.vectors(2)
    apply = predict(model, "apply_regular")
    options = {"input_field": vectors, "output_field": vectors}
    run = lambda lifted: apply(lifted).features
    inverse = jax.jit(PLANE.group.inverse)
    invert = lambda x: dataclasses.replace(x, elements=inverse(x.elements))
    own, wrong = (
        testing.coupled_lift_error(fn, PLANE, **options) for fn in (run, lambda x: run(invert(x)))
    )
    assert own <= 1e-10
    assert wrong > 1e-2


BERNSTEIN = BernsteinValues(num_basis=3, cutoff=4.0)
EXACT = {"lift": NoLift(), "layer": Convolution(coordinates="invariants", values=BERNSTEIN)}


def test_exact_rows_and_permutations_with_subsampling():
    model = predict(
        build(num_layers=1, subsampling=(4,), neighborhood=NearestNeighbors(3), **EXACT)
    )
    error = testing.equivariance_error(lambda points, features: model(points, features), SE3)
    assert error <= testing.TOLERANCES["float64"]
    points, features, mask = data()
    points, features, mask = map(np.asarray, (points, features, mask))
    order = np.random.default_rng(1).permutation(8)
    permuted = model(points[:, order], features[:, order], mask[:, order])
    np.testing.assert_allclose(permuted, model(points, features, mask), atol=1e-12)


def test_same_prediction_whatever_padding_and_batch_mates():
    near = NearestNeighbors(3, candidates=4)
    model = predict(build(PLANE, num_layers=1, subsampling=(4,), neighborhood=near))
    points, features, mask = map(np.asarray, data(dim=2))
    ids = np.array([11, 5, 8])
    whole = model(points, features, mask, KEY, example_ids=ids)
    pad = lambda a, v: np.pad(a, ((0, 0), (0, 3)) + ((0, 0),) * (a.ndim - 2), constant_values=v)
    padded = pad(points, np.nan), pad(features, 1e3), pad(mask, False)
    other_mates = [a[::-1][:2] for a in padded]
    there = model(*other_mates, KEY, example_ids=ids[::-1][:2])
    np.testing.assert_allclose(there, whole[::-1][:2], atol=1e-12)
    other = model(points, features, mask, jax.random.key(8), example_ids=ids)
    assert np.max(np.abs(other - whole)) > 1e-4  # the draws do matter


@pytest.mark.slow
def test_gradients_with_subsampling():
    """Finite, zero at padding, and what finite differences say away from ties."""
    points, features, mask = data(dim=2)
    model = build(PLANE, subsampling=(4,), neighborhood=RadiusNeighbors(2.5, 8), **EXACT)
    exists = np.asarray(mask)
    points = np.where(exists[..., None], points, np.nan)
    energy = lambda points: jnp.sum(model(points, features, mask, KEY))
    forces = jax.jit(jax.value_and_grad(energy))
    force = np.asarray(forces(points)[1])
    assert np.all(np.isfinite(force))
    assert np.all(force[~exists] == 0)
    normal = np.random.default_rng(2).normal(size=points.shape)
    direction = np.where(exists[..., None], normal, 0.0)
    ends = [forces(points + sign * 1e-6 * direction)[0] for sign in (1, -1)]
    np.testing.assert_allclose(np.sum(force * direction), (ends[0] - ends[1]) / 2e-6, rtol=1e-5)


def test_per_point_output_and_potentials():
    points, features, mask = data(dim=2)
    out = np.asarray(predict(build(PLANE, output="per_point"))(points, features, mask, KEY))
    assert out.shape == (3, 8, 1)
    assert np.all(out[~np.asarray(mask)] == 0)
    assert np.std(out[0]) > 1e-3
    assert HamiltonianNetwork(build(PLANE, **EXACT)).is_stochastic is False


@pytest.mark.slow
def test_options_change_the_function():
    """No option is parsed and ignored: each changes the output of the same seed."""
    points, features, mask = data()
    base = {**EXACT, "num_layers": 1}
    changes = (
        {}, {"bottleneck": 4}, {"subsampling": (3,)}, {"norm": "none"},
        {"neighborhood": NearestNeighbors(2)}, {"activation": "gelu"},
        {"layer": Convolution(values=BernsteinValues(num_basis=3, cutoff=5.0))},
    )  # fmt: skip
    models = [build(**{**base, **options}) for options in changes]
    outputs = jax.jit(lambda *inputs: [model(*inputs) for model in models])(points, features, mask)
    reference, *outputs = map(np.asarray, outputs)
    for options, out in zip(changes[1:], outputs, strict=True):
        assert np.max(np.abs(out - reference)) > 1e-6, options


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"bottleneck": 3}, "bottleneck must divide dim=8, got 3"),
        ({"bottleneck": 0}, "bottleneck must be at least 1, got 0"),
        ({"subsampling": (4, 3, 2)}, r"at most num_layers=2 numbers, got \(4, 3, 2\)"),
        ({"subsampling": (4, -1)}, r"subsampling\[1\] must be at least 0, got -1"),
        (
            {"subsampling": (4,), "output": "per_point"},
            r"subsampling must leave all points for the output 'per_point', got \(4,\)",
        ),
        ({"lift": NoLift()}, r"coordinates must be 'invariants' on a lift by NoLift"),
    ],
)
@pytest.mark.usefixtures("no_type_checks")
def test_bad_options(options, match):
    with pytest.raises(ValueError, match=match):
        build(**options)


def test_functions_on_the_group_need_all_points():
    points, features, mask = data(dim=2)
    lifted = lift(PLANE, points, features, mask, lift=NoLift())
    with pytest.raises(ValueError, match="must leave all points for functions on the group"):
        build(PLANE, subsampling=(4,)).apply_regular(lifted)
