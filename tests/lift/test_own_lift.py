"""A lift of one's own is one class: models, fields, projection and certificate take it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn import fields, testing
from eqattn.certificate import measure
from eqattn.certificate.options import Options
from eqattn.groups import SE, SO
from eqattn.lift import Coset, Grid, Guarantee, StabilizerLift, guarantee, lift
from eqattn.models import FieldModel, LieTransformer
from eqattn.spaces import euclidean
from tests import draws, small

PLANE = euclidean(SE(2))


@dataclasses.dataclass(frozen=True, repr=False)
class Opposites(StabilizerLift):
    """Each direction and its opposite, which ``Grid(2)`` has too."""

    has_half_turns = True

    def check(self, space):
        if not space.section_is_normal or space.stabilizer != SO(2):
            raise ValueError(f"Opposites needs the plane, got {space}")

    def guarantee(self, space):
        return Guarantee(True, "N ⋊ cyclic(2)", "exactly equivariant to N ⋊ cyclic(2)")

    def finite_samples(self, space):
        return np.array([[1.0, 0.0], [-1.0, 0.0]])

    def samples(self, space, inputs):
        found = jnp.asarray(self.finite_samples(space), inputs.points.dtype)
        batch = inputs.points.shape[:-2]
        return jnp.broadcast_to(space.embed_stabilizer(found), (*batch, 1, 2, 4))

    def exact_elements(self, space, key, shape, dtype):
        """Moves by multiples of half a turn."""
        move_key, turn_key = jax.random.split(key)
        turns = space.embed_stabilizer(jnp.asarray(self.finite_samples(space), dtype))
        moves = space.section(space.sample_points(move_key, shape, dtype))
        return space.group.compose(moves, jax.random.choice(turn_key, turns, shape))


def test_a_model_of_it_is_that_of_the_same_elements():
    def model(chosen):
        options = {"dim": 8, "num_layers": 1, "layer": small.attention(width=4)}
        inner = LieTransformer(PLANE, 3, 2, lift=chosen, rngs=nnx.Rngs(0), **options)
        return FieldModel(inner, "scalar + vector", "vector")

    points, features = draws.normal(1, 2, 5, 2), draws.normal(2, 2, 5, 3)
    own, grid = (jax.jit(model(chosen))(points, features) for chosen in (Opposites(), Grid(2)))
    np.testing.assert_allclose(own, grid, atol=1e-12)
    assert np.std(own) > 1e-3
    other = jax.jit(model(Grid(3)))(points, features)
    assert np.abs(np.asarray(other) - own).max() > 1e-3


def test_what_it_says_is_heeded():
    assert guarantee(PLANE, Opposites()).group == "N ⋊ cyclic(2)"
    with pytest.raises(ValueError, match=r"Opposites needs the plane, got euclidean\(SE\(3\)\)"):
        lift(euclidean(SE(3)), jnp.ones((1, 3)), jnp.ones((1, 1)), lift=Opposites())
    layer = small.attention(coordinates="log")
    with pytest.raises(ValueError, match=r"must not be 'log' on a lift by Opposites\(\)"):
        LieTransformer(PLANE, 1, 1, lift=Opposites(), layer=layer, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="space of Coset must be a homogeneous space"):
        lift(PLANE, jnp.ones((1, 2)), jnp.ones((1, 1)), lift=Coset(euclidean(SE(3)), Opposites()))


@pytest.mark.slow
def test_the_certificate_measures_it_with_the_elements_that_it_names():
    vector = [("vector", fields.FieldType.parse("vector"))]
    options = Options("convolution", "embedding", "dense", "all")
    found = measure.measure(PLANE, Opposites(), vector, options, "float64")
    assert all(m.max_error <= m.bound for m in found)
    u = testing.guaranteed_elements(PLANE, Opposites(), jax.random.key(0), (50,))
    np.testing.assert_allclose(np.abs(u[:, 0]), 1.0, atol=1e-12)

    class Everything(Opposites):
        """The same, but for a promise that it does not keep."""

        def exact_elements(self, space, key, shape, dtype):
            return None

    found = measure.measure(PLANE, Everything(), vector, options, "float64")
    assert max(m.max_error / m.bound for m in found) > 1e6
