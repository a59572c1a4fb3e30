"""Sums over atoms: what moves with the points, and what does not."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn.groups import SE, E
from eqattn.layers import MLPLocation, MultiplyLogits
from eqattn.layers.steerable import FieldLayer
from eqattn.lift import Haar
from eqattn.models import (
    AtomSum,
    AtomSumConfig,
    FieldNetwork,
    FieldNetworkConfig,
    LieTransformer,
    LieTransformerConfig,
    PotentialMLP,
)
from eqattn.spaces import euclidean
from eqattn.specification import parse
from tests.tolerances import NEGATIVE_CONTROL

CUTOFF = 4.0
WEIGHTS = {
    "num_heads": 2,
    "location": MLPLocation(dim=8, num_layers=2, num_radial=6, cutoff=CUTOFF),
    "combine": MultiplyLogits(),
    "normalize": "mean",
    "cutoff": CUTOFF,
}
FORMS = ("sum", "dipole", "moment")


def transformer(num=2, **options):
    given = {"dim": 8, "num_layers": 1, "output": "per_point"}
    types = {"param_dtype": jnp.float64, "rngs": nnx.Rngs(0)}
    return LieTransformer(euclidean(SE(3)), 3, num, **types, **given | options)


def fields(output_field, **options):
    return FieldNetwork(
        euclidean(E(3)), "3x scalar", output_field, hidden_field="8x scalar + 4x vector",
        num_layers=2, layer=FieldLayer(**WEIGHTS), param_dtype=jnp.float64, rngs=nnx.Rngs(0),
        **options,
    )  # fmt: skip


@functools.cache
def model_of(kind, form):
    if kind == "transformer":
        return AtomSum(transformer(), form)
    return AtomSum(fields("2x scalar + 2x vector" if form == "dipole" else "2x scalar"), form)


@functools.cache
def atoms(num_atoms=7, batch=2):
    """Positions far from the origin, with distances about 1, and elements."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(batch, num_atoms, 3)) * 1.2 + np.array([3.0, -2.0, 5.0])
    kinds = rng.integers(3, size=(batch, num_atoms))
    return jnp.asarray(points), jnp.asarray(np.eye(3)[kinds])


run = nnx.jit(lambda model, *args: model(*args))
run_atoms = nnx.jit(lambda model, *args: model.atom_model(*args))


def relative(found, expected):
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["transformer", "fields"])
def test_sums_are_invariant(kind, form):
    """To rotations, shifts and the order of the points; what is not there does not count."""
    model, (points, features) = model_of(kind, form), atoms()
    out = run(model, points, features)
    assert out.shape == (2, 2)
    assert np.abs(out[0] - out[1]).max() > NEGATIVE_CONTROL
    moves = SE(3).sample(jax.random.key(1), (4,), jnp.float64)
    for move in moves:
        assert relative(run(model, SE(3).act(move, points), features), out) < 1e-12
    order = np.roll(np.arange(7), 3)
    assert relative(run(model, points[:, order], features[:, order]), out) < 1e-12
    mask = jnp.broadcast_to(jnp.arange(9) < 7, (2, 9))
    wide = [jnp.pad(x, ((0, 0), (0, 2), (0, 0)), constant_values=7.0) for x in (points, features)]
    assert relative(run(model, *wide, mask), out) < 1e-12


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["transformer", "fields"])
def test_sums_are_those_of_their_formulas(kind, form):
    """Negative control: without the centroid, charges that do not add up to 0 make shifts count."""
    model, (points, features) = model_of(kind, form), atoms()
    found, out = run(model, points, features), np.asarray(run_atoms(model, points, features))
    charges, x = out[..., :2], np.asarray(points)

    def formula(places):
        if form == "sum":
            return charges.sum(1)
        if form == "moment":
            return np.einsum("bnk,bn->bk", charges, (places**2).sum(-1))
        dipole = np.einsum("bnk,bnd->bkd", charges, places)
        if kind == "fields":
            dipole += out[..., 2:].reshape(2, 7, 2, 3).sum(1)
        return np.linalg.norm(dipole, axis=-1)

    assert relative(found, formula(x - x.mean(1, keepdims=True))) < 1e-12
    assert np.abs(charges.sum(1)).min() > 1e-3
    if form != "sum":
        assert relative(formula(x + 1.0), formula(x)) > NEGATIVE_CONTROL
        assert relative(found, formula(x)) > NEGATIVE_CONTROL


def test_vectors_count():
    """A single atom has no dipole of charges; two of them have one of vectors too."""
    model, (points, features) = model_of("fields", "dipole"), atoms()
    out = np.asarray(run_atoms(model, points, features))
    vectors = out[..., 2:].reshape(2, 7, 2, 3).sum(1)
    assert np.linalg.norm(vectors, axis=-1).min() > 1e-3
    turn = SE(3).sample(jax.random.key(0), (), jnp.float64)
    turned = np.asarray(run_atoms(model, SE(3).act(turn, points), features))[..., 2:]
    expected = vectors @ SE(3).linear_matrix(turn).T
    np.testing.assert_allclose(turned.reshape(2, 7, 2, 3).sum(1), expected, atol=1e-12)
    assert np.abs(expected - vectors).max() > NEGATIVE_CONTROL


def test_sums_of_sets_far_apart_add_up():
    """Negative control: beside each other they do not."""
    model, (points, features) = AtomSum(fields("2x scalar"), "sum"), atoms()
    apart = jnp.concatenate([points[0], points[1] + jnp.array([50.0, 0, 0])])
    near = jnp.concatenate([points[0], points[1] + jnp.array([2.0, 0, 0])])
    both = jnp.concatenate(list(features))
    total = run(model, points, features).sum(0)
    far, beside = run(model, jnp.stack([apart, near]), jnp.stack([both, both]))
    np.testing.assert_allclose(far, total, rtol=1e-12)
    assert np.abs(beside - total).max() > 1e-3


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["transformer", "fields"])
def test_atoms_at_one_place_have_finite_gradients(kind, form):
    """Four atoms, and a single one."""
    model, features = model_of(kind, form), jnp.asarray(np.eye(3)[np.zeros((2, 4), int)])
    points, mask = jnp.full((2, 4, 3), 0.3), jnp.asarray(np.arange(4) < [[4], [1]])
    graphdef, params = nnx.split(model, nnx.Param)

    def total(points, params):
        out = nnx.merge(graphdef, params)(points, features, mask)
        return jnp.sum(out), out

    value_and_grad = jax.jit(jax.value_and_grad(total, argnums=(0, 1), has_aux=True))
    (_, out), gradients = value_and_grad(points, params)
    assert np.isfinite(out).all()
    if form != "sum":
        np.testing.assert_allclose(out, 0.0, atol=1e-14)
    for leaf in jax.tree.leaves(gradients):
        assert np.isfinite(leaf).all()


def test_no_points_have_no_sums():
    points, features = atoms()
    mask = jnp.zeros(points.shape[:-1], bool)
    for form in FORMS:
        np.testing.assert_array_equal(run(model_of("fields", form), points, features, mask), 0.0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_sums_are_at_least_float32(dtype):
    config = AtomSumConfig(atoms=LieTransformerConfig(dim=8, num_layers=1, output="per_point"))
    model = config.replace_network(dtype=dtype).build(3, 1, rngs=nnx.Rngs(0))
    points, features = (x.astype(jnp.float32) for x in atoms())
    assert run(model, points, features).dtype == jnp.float32


@pytest.mark.parametrize(
    "config",
    [
        AtomSumConfig(atoms=LieTransformerConfig(dim=8, num_layers=1, output="per_point")),
        AtomSumConfig(
            atoms=FieldNetworkConfig(
                input_field="scalars",
                output_field="2x scalar + 2x vector",
                hidden_field="8x scalar + 8x vector",
                layer=FieldLayer(num_heads=2),
                num_layers=1,
            ),
            form="dipole",
        ),
    ],
)
def test_models_are_built_from_what_they_say(config):
    model = config.build(3, 2, rngs=nnx.Rngs(0))
    assert (model.in_features, model.out_features) == (3, 2)
    assert model.config.form == config.form
    assert parse(model.config.full_text(), AtomSumConfig) == model.config
    assert model.config.build(3, 2, rngs=nnx.Rngs(0)).config == model.config


def test_what_the_model_inside_draws_is_drawn():
    model = AtomSum(transformer(lift=Haar(2)), "dipole")
    assert model.is_stochastic
    assert not model_of("transformer", "dipole").is_stochastic
    points, features = atoms()
    one, other = (model(points, features, key=jax.random.key(seed)) for seed in (0, 1))
    assert np.abs(one - other).max() > 1e-6


@pytest.mark.parametrize(
    ("field", "form", "message"),
    [
        ("scalar + vector", "sum", "must be '1x scalar' for the form 'sum', got '1x scalar [+] "),
        ("vector", "dipole", "must be '1x scalar' or '1x scalar [+] 1x vector' for the"),
        ("2x scalar + vector", "dipole", r"must be '2x scalar' or '2x scalar \+ 2x vector' for"),
        ("vector + scalar", "dipole", r"got '1x vector \+ 1x scalar'"),
    ],
)
def test_other_fields_are_refused(field, form, message):
    config = AtomSumConfig(atoms=FieldNetworkConfig(output_field=field), form=form)
    with pytest.raises(ValueError, match=f"output_field of the model of atoms .*{message}"):
        config.check()


def test_other_models_are_refused():
    config = AtomSumConfig(atoms=LieTransformerConfig())
    with pytest.raises(ValueError, match="atoms must have the output 'per_point', got 'invariant'"):
        config.check()
    with pytest.raises(ValueError, match="atom_model must have an output at each point"):
        AtomSum(transformer(output="invariant"))
    config = AtomSumConfig(atoms=FieldNetworkConfig(input_field="scalars", output_field="scalar"))
    with pytest.raises(ValueError, match="must have 2 scalars, one for each output, got 'scalar'"):
        config.build(3, 2, rngs=nnx.Rngs(0))


@pytest.mark.usefixtures("no_type_checks")
def test_values_of_other_types_are_refused():
    with pytest.raises(TypeError, match="atom_model must be a model such as a LieTransformer"):
        AtomSum(PotentialMLP(6, 3, 2, rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match="form must be"):
        AtomSum(transformer(), "quadrupole")
