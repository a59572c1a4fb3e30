import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn import testing
from eqattn.fields import FieldType
from eqattn.groups import E
from eqattn.layers import BernsteinValues
from eqattn.layers.steerable import (
    FieldEmbedding,
    FieldLayer,
    FieldLinear,
    HarmonicKernel,
    Places,
    split_parts,
)
from eqattn.models import FieldNetwork
from eqattn.spaces import euclidean

SPACE = euclidean(E(3))
KERNEL = HarmonicKernel(radial=BernsteinValues(num_basis=3, cutoff=2.5), max_degree=1)
INPUT, HIDDEN = FieldType.parse("2x scalar"), FieldType.parse("4x scalar + 3x vector")
LAYER = FieldLayer(num_heads=2, cutoff=2.0)


def embedded(points, features, kernel=KERNEL):
    types = {"param_dtype": jnp.float64, "rngs": nnx.Rngs(0)}
    model = FieldEmbedding(SPACE, INPUT, HIDDEN, kernel, LAYER, **types)
    return model(split_parts(SPACE, INPUT, features), Places.of(points))


def pair(distance):
    return jnp.array([[0.3, 0.1, -0.2], [0.3, 0.1 + distance, -0.2]]), jnp.array([[1.0, 0.5]] * 2)


def test_without_a_kernel_it_is_a_linear_map():
    points, features = pair(1.0)
    linear = FieldLinear(SPACE, INPUT, HIDDEN, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    expected = linear(split_parts(SPACE, INPUT, features))
    jax.tree.map(np.testing.assert_array_equal, embedded(points, features, None), expected)


def test_vectors_point_to_what_is_around():
    """Of two equal points each has vectors along their line, opposite to those of the other."""
    scalars, vectors = embedded(*pair(1.0))
    np.testing.assert_allclose(vectors[0], -vectors[1], atol=1e-14)
    np.testing.assert_allclose(vectors[:, [0, 2]], 0.0, atol=1e-14)
    assert jnp.abs(vectors[:, 1]).min() > 1e-3
    np.testing.assert_allclose(scalars[0], scalars[1], atol=1e-14)


def test_what_is_around_counts_up_to_the_cutoff_of_the_layer():
    near, edge, far = (embedded(*pair(distance)) for distance in (1.0, 2.0, 9.0))
    jax.tree.map(np.testing.assert_array_equal, edge, far)
    assert jnp.abs(near[0] - far[0]).max() > 1e-3


def network(**options):
    return FieldNetwork(
        SPACE, "scalar + vector", "scalar + vector", hidden_field="4x scalar + 2x vector",
        num_layers=1, layer=LAYER, param_dtype=jnp.float64, rngs=nnx.Rngs(0), **options,
    )  # fmt: skip


@pytest.mark.parametrize(("field", "is_exact"), [("scalar + vector", True), ("4x scalar", False)])
def test_networks_with_it_are_exact(field, is_exact):
    model = network(neighbor_embedding=KERNEL)
    error = testing.equivariance_error(
        jax.jit(lambda x, f: model(x, f)), SPACE,
        input_field="scalar + vector", output_field=field, dtype=jnp.float64,
    )  # fmt: skip
    assert error < 1e-10 if is_exact else error > 1e-2


def test_vectors_need_no_block_that_leads_to_them():
    """Without kernels vectors would be zeros where blocks take up no differences."""
    scalar = {"layer": FieldLayer(num_heads=2, differences=False)}
    given = {"hidden_field": "4x scalar + 2x vector", "num_layers": 1, "rngs": nnx.Rngs(0)}
    with pytest.raises(ValueError, match="2x vector would be zeros"):
        FieldNetwork(SPACE, "scalar", "scalar", **given, **scalar)
    FieldNetwork(SPACE, "scalar", "scalar", neighbor_embedding=KERNEL, **given, **scalar)
