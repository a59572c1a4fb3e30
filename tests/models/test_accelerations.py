"""AccelerationNetwork: the motion of particles through a field model, of any layer."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn import groups, lift, spaces, testing
from eqattn.models import AccelerationNetwork, FieldModel, LieTransformer
from tests import small
from tests.grids import some
from tests.tolerances import NEGATIVE_CONTROL, tolerance

N = 4
SE2, SAMPLES = groups.SE(2), lift.Haar(2)
LAYERS = tuple(small.FAMILY)
TIMES = jnp.array([0.0, 0.4, 0.8])


def field_model(
    group=SE2,
    lift=SAMPLES,
    layer="attention",
    input_field="vector + 2x scalar",
    output_field="vector",
):
    inner = LieTransformer(
        spaces.euclidean(group),
        4,
        2,
        dim=8,
        num_layers=1,
        layer=small.FAMILY[layer](width=4, depth=2),
        lift=lift,
        norm="none",
        head="token",
        param_dtype=jnp.float64,
        rngs=nnx.Rngs(1),
    )
    graphdef, params = nnx.split(inner)  # accelerations of size 1
    inner = nnx.merge(graphdef, jax.tree.map(lambda x: 2.0 * x, params))
    return FieldModel(inner, input_field, output_field)


def make(*args, **options):
    return AccelerationNetwork(field_model(*args, **options))


@functools.cache
def sampled():
    """A model under SE(2) with random samples, and its jitted vector field."""
    model = make()
    return model, jax.jit(model.vector_field)


def draw(batch=2):
    """Positions, momenta, and (mass, spring constant)."""
    random = np.random.default_rng(0)
    positions, momenta = random.normal(size=(2, batch, N, 2))
    return tuple(
        jnp.asarray(a) for a in (positions, momenta, random.uniform(0.5, 2, (batch, N, 2)))
    )


def turned(vectors, angles):
    """Each example [..., 2] of a batch, turned by its angle."""
    shape = (-1, *[1] * (vectors.ndim - 2))
    c, s = (f(np.asarray(angles)).reshape(shape) for f in (np.cos, np.sin))
    x, y = vectors[..., 0], vectors[..., 1]
    return np.stack([c * x - s * y, s * x + c * y], axis=-1)


@pytest.mark.parametrize("layer", some(LAYERS, "attention"))
def test_accelerations_and_roll_outs_turn_and_move_with_the_particles(layer):
    """Exactly, under quarter turns and shifts, with samples that these permute.

    Negative controls: an eighth of a turn, which is not one of them; and a quarter turn of the
    positions alone, as if momenta were scalars.
    """
    model = make(lift=lift.Subgroup("cyclic(4)"), layer=layer)

    @jax.jit
    def run(q, p, features):
        _, forces = model.vector_field(q, p, features)
        return forces / features[..., :1], model.roll_out(q, p, features, TIMES)[:, -1]

    angles = np.pi / 2 * np.array([0, 1, 2, 3, 0.5, 1])
    of_momenta = angles * (np.arange(6) < 5)
    shifts = np.array([0.0, 0.3, -0.9, 0.5, 0.5, 0.5])[:, None, None]
    q, p, features = (np.broadcast_to(a[0], (6, *a.shape[1:])) for a in draw())
    accelerations, states = run(
        *(jnp.asarray(a) for a in (turned(q, angles) + shifts, turned(p, of_momenta), features))
    )
    outputs = {
        "accelerations": accelerations,
        "positions": states[..., :2] - shifts,
        "momenta": states[..., 2:],
    }
    for name, found in outputs.items():
        back = turned(np.asarray(found), -angles)
        std = np.std(back[0])
        assert std > testing.MIN_STD
        errors = np.abs(back - back[0]).max(axis=(1, 2)) / std
        assert errors[:4].max() <= tolerance(jnp.float64), name
        assert errors[4:].min() > NEGATIVE_CONTROL, (name, errors)


def test_every_stage_sees_the_momenta_and_the_one_lift_of_its_trajectory():
    """A step of the 3/8 rule by hand, from accelerations under one key; another key differs."""
    model, field = sampled()
    q, p, features = draw()
    key, other = jax.random.split(jax.random.key(0))
    h = float(TIMES[1])

    def slope(q, p):
        return np.stack(field(jnp.asarray(q), jnp.asarray(p), features, key=key))

    y = np.stack([q, p])
    k1 = slope(*y)
    k2 = slope(*(y + h * k1 / 3))
    k3 = slope(*(y + h * (k2 - k1 / 3)))
    k4 = slope(*(y + h * (k1 - k2 + k3)))
    by_hand = np.concatenate(y + h * (k1 + 3 * k2 + 3 * k3 + k4) / 8, axis=-1)
    states, others = (model.roll_out(q, p, features, TIMES[:2], key=k) for k in (key, other))
    np.testing.assert_array_equal(states[:, 0], np.concatenate([q, p], axis=-1))
    np.testing.assert_allclose(states[:, 1], by_hand, rtol=1e-13, atol=1e-12)
    assert np.abs(others - states).max() > 1e-4
    np.testing.assert_allclose(slope(q, p)[0], p / features[..., :1], rtol=1e-14)
    assert np.abs(slope(q, 2 * p)[1] - slope(q, p)[1]).max() > NEGATIVE_CONTROL


def test_particles_that_do_not_exist_change_nothing():
    _, field = sampled()
    q, p, features = draw()
    mask = jnp.broadcast_to(jnp.arange(N) < N - 1, q.shape[:-1])
    zeros, rubbish = (
        np.stack(field(*(jnp.where(mask[..., None], a, junk) for a in (q, p, features)), mask))
        for junk in (0.0, jnp.nan)
    )
    np.testing.assert_array_equal(zeros, rubbish)
    np.testing.assert_array_equal(zeros[:, :, -1], 0.0)
    assert np.isfinite(zeros).all()
    fewer = field(q[:, :-1], p[:, :-1], features[:, :-1])
    np.testing.assert_allclose(zeros[:, :, :-1], fewer, rtol=0, atol=1e-12)


def test_positions_are_those_relative_to_the_mean_unless_told_otherwise():
    """Under SO(2), whose origin is a place: shifts change nothing only where it is centered."""
    inner = field_model(groups.SO(2), lift.Haar(1))
    q, p, features = draw()
    for center in (True, False):
        accelerations = jax.jit(AccelerationNetwork(inner, center=center).accelerations)
        change = np.abs(accelerations(q + 0.3, p, features) - accelerations(q, p, features)).max()
        assert change <= 1e-10 if center else change > NEGATIVE_CONTROL


BAD = {
    "symplectic": (
        lambda: make().roll_out(*draw(), TIMES, solver="symplectic"),
        "solver must be 'rk4' or 'adaptive' where forces depend on momenta, got 'symplectic'",
    ),
    "key": (
        lambda: make().roll_out(*draw(), TIMES, training=True),
        r"key must be given in training with Haar\(num_samples=2",
    ),
    "input": (
        lambda: make(input_field="2x vector"),
        "input_field of field_model must be a vector and then scalars, .*, got 2x vector",
    ),
    "no mass": (
        lambda: make(input_field="4x scalar"),
        "input_field of field_model must be a vector and then scalars, .*, got 4x scalar",
    ),
    "output": (
        lambda: make(output_field="2x scalar"),
        "output_field of field_model must be 'vector', got 2x scalar",
    ),
    "momenta": (
        lambda: make().accelerations(draw()[0], draw(1)[1], draw()[2]),
        r"momenta must have the shape of positions \(2, 4, 2\), got \(1, 4, 2\)",
    ),
    "features": (
        lambda: make().vector_field(*draw()[:2], draw()[2][..., :1]),
        r"system_features must have shape \(2, 4, 2\), got \(2, 4, 1\)",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_raise(no_type_checks, name):
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        call()


def test_another_model_is_no_field_model(no_type_checks):
    with pytest.raises(
        TypeError, match="field_model must be a model of fields such as a FieldModel, got "
    ):
        AccelerationNetwork(field_model().model)
