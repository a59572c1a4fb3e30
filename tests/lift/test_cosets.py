"""Lifts to R³×S²: directions in place of rotations, with exact invariants."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn import fields, testing
from eqattn.fields import FieldType
from eqattn.groups import SE
from eqattn.lift import Coset, Haar, Lifted, Subgroup, guarantee, lift, project
from eqattn.lift.cosets import coset_matrices
from eqattn.models import FieldModel, LieTransformer
from eqattn.spaces import euclidean, position_orientation
from tests import small
from tests.compiled import compiled
from tests.spaces.cases import MORE_SPACES, SPACES
from tests.tolerances import NEGATIVE_CONTROL, tolerance

lift, project = compiled(lift), compiled(project)
R3, ORIENTED = SPACES["SE(3)"], MORE_SPACES["R3xS2 SE(3)"]
OCTAHEDRAL = Coset(ORIENTED, Subgroup("octahedral"))
INPUT, OUTPUT = FieldType.parse("scalar + vector"), fields.vectors()
KEY = jax.random.key(96)
N = 3


def build(strategy, coordinates="invariants"):
    inner = LieTransformer(
        R3, 4, 3, dim=8, num_layers=1, layer=small.attention(coordinates=coordinates),
        lift=strategy, param_dtype=jnp.float64, rngs=nnx.Rngs(0),
    )  # fmt: skip
    return FieldModel(inner, INPUT, OUTPUT)


def inputs():
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.normal(size=(N, 3))), jnp.asarray(rng.normal(size=(N, 4)))


def test_vectors_need_the_factor_three():
    """P keeps the component along the orientation, and Z is 3."""
    (term,) = OUTPUT.terms
    for strategy in (Haar(2), Subgroup("octahedral"), Subgroup("icosahedral")):
        fixed, inverse = coset_matrices(R3, Coset(ORIENTED, strategy), term)
        np.testing.assert_allclose(fixed, np.diag([0.0, 0.0, 1.0]), atol=1e-12)
        np.testing.assert_allclose(inverse, 3.0 * np.eye(3), atol=1e-12)
    (tensor,) = FieldType.parse("tensor(2)").terms
    _, inverse = coset_matrices(R3, Coset(ORIENTED, Haar(2)), tensor)
    factors = np.sort(np.linalg.eigvals(inverse).real)
    np.testing.assert_allclose(factors, [1] + 3 * [3] + 5 * [5], rtol=1e-10)  # 2l+1


def test_directions_are_drawn_without_bias():
    """Vectors come back in the mean over Haar samples, within 4 standard errors."""
    x, f = inputs()
    strategy, keys = Coset(ORIENTED, Haar(1)), jax.random.split(KEY, 2000)

    def once(key):
        return project(R3, lift(R3, x, f, key=key, lift=strategy, field=INPUT), INPUT)

    out = np.asarray(jax.jit(jax.vmap(once))(keys))
    np.testing.assert_allclose(out[..., 0], f[:, 0] + 0 * out[..., 0], atol=1e-12)
    error = out[..., 1:].std(0) / np.sqrt(len(out))
    assert np.max(np.abs(out[..., 1:].mean(0) - f[:, 1:]) / error) < 4.0
    assert np.max(np.abs(out[..., 1:].mean(0) / 3 - f[:, 1:]) / error) > 6.0  # without the 3


@pytest.fixture(scope="module")
def model():
    model = build(OCTAHEDRAL)
    return model, jax.jit(lambda x, f: model(x, f))


def test_models_on_directions(model):
    """Exactly equivariant to the octahedral group and translations, and to nothing else."""
    model, run = model
    options = {"input_field": INPUT, "output_field": OUTPUT, "num_points": N, "num_examples": 4}
    u = jax.jit(lambda key: testing.guaranteed_elements(R3, OCTAHEDRAL, key, (4,)))(KEY)
    assert testing.equivariance_error(run, R3, elements=u, **options) <= tolerance(jnp.float64)
    assert testing.equivariance_error(run, R3, **options) > NEGATIVE_CONTROL
    assert guarantee(R3, OCTAHEDRAL, INPUT).group == "N ⋊ octahedral of SE(3)"


def test_directions_are_all_that_counts(model):
    """Elements g h' in place of g, with any rotation h' about the direction, change nothing."""
    model, _ = model
    x, f = inputs()
    lifted = jax.jit(lambda x, f: lift(R3, x, f, lift=OCTAHEDRAL, field=INPUT))(x, f)

    @jax.jit
    def turn(elements):
        turns = ORIENTED.stabilizer.sample(KEY, lifted.log_weights.shape)
        return R3.group.compose(elements, ORIENTED.embed_stabilizer(turns))

    @functools.partial(jax.jit, static_argnums=1)
    def out(elements, strategy=OCTAHEDRAL):
        F = dataclasses.replace(lifted, elements=elements, lift=strategy)
        return project(R3, model.model.apply_regular(F), OUTPUT)

    turned = turn(lifted.elements)
    here, there = out(lifted.elements), out(turned)
    assert testing.relative_error(there, here) <= tolerance(jnp.float64)
    wrong = out(turned, None)  # negative control: without the projector P
    assert testing.relative_error(wrong, here) > NEGATIVE_CONTROL


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: build(OCTAHEDRAL, coordinates="embedding"),
            "coordinates must be 'invariants' on a lift by Coset.*, whose .* got 'embed",
        ),
        (
            lambda: Lifted(
                *[jnp.zeros((1, 1, 7))] * 2, jnp.zeros((1, 0)), jnp.ones(1, bool),
                jnp.zeros((1, 1)), lift=OCTAHEDRAL,
            ).check_coordinates(R3, "invariants"),
            r"space of a layer must be position_orientation\(.* on a lift to its points, got eucl",
        ),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("no_type_checks")
def test_bad_arguments_raise(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_projectors_are_exact_in_float32_too():
    space, coset = euclidean(SE(3)), position_orientation(SE(3))
    strategy, field = Coset(coset, Subgroup("icosahedral")), FieldType.parse("irrep(4)")
    rng = np.random.default_rng(0)
    x, f = (jnp.asarray(rng.normal(size=(2, 4, n)), jnp.float32) for n in (3, 9))
    lifted = lift(space, x, f, key=jax.random.key(2), lift=strategy, field=field)
    np.testing.assert_allclose(project(space, lifted, field), f, atol=4e-6)
    fixed, _ = coset_matrices(space, strategy, field.terms[0])
    np.testing.assert_allclose(fixed @ fixed, fixed, atol=1e-13)
