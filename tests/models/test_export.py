"""Models at default settings are exported with a symbolic batch and number of points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import export

from eqattn.attention import NearestNeighbors, attend, representation_attend
from eqattn.groups import SE, T
from eqattn.layers import Attention, Convolution, RepresentationAttention
from eqattn.lift import Haar, NoLift
from eqattn.models import FieldModel, LieConvNetwork, LieTransformer
from eqattn.representations import default_representation
from eqattn.spaces import euclidean

SE3, T2 = euclidean(SE(3)), euclidean(T(2))
SIZES = {"dim": 8, "num_layers": 1, "param_dtype": jnp.float32}


def transformer(space, out_features=1, **options):
    options = {"layer": Attention(num_heads=2), **SIZES, **options}
    return LieTransformer(space, 4, out_features, rngs=nnx.Rngs(0), **options)


MODELS = {
    "invariants, neighbors": lambda: transformer(
        SE3, lift=NoLift(), neighborhood=NearestNeighbors(3)
    ),
    "fields": lambda: FieldModel(transformer(SE3, 3, lift=Haar()), "scalar + vector", "vector"),
    "representation": lambda: transformer(T2, layer=RepresentationAttention(num_heads=2), dim=16),
    "logarithms": lambda: transformer(
        SE3, lift=Haar(2), layer=Attention(num_heads=2, coordinates="log")
    ),
    "convolution": lambda: transformer(T2, layer=Convolution()),
    "LieConv": lambda: LieConvNetwork(T2, 4, 1, rngs=nnx.Rngs(0), **SIZES),
}
pytestmark = pytest.mark.usefixtures("no_type_checks")  # which know no symbolic sizes
SLOW = ("logarithms", "convolution", "LieConv", "fields", "representation")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in MODELS]
)
def test_an_exported_model_runs_at_other_sizes(name):
    graphdef, params = nnx.split(MODELS[name]())
    dim = 3 if name in ("invariants, neighbors", "fields", "logarithms") else 2

    @jax.jit
    def predict(points, features, mask):
        return nnx.merge(graphdef, params)(points, features, mask)

    sizes = export.symbolic_shape("b, n", constraints=["n >= 4"])
    shapes = (((*sizes, dim), float), ((*sizes, 4), float), (sizes, bool))
    described = (
        jax.ShapeDtypeStruct(shape, jnp.float32 if kind is float else kind)
        for shape, kind in shapes
    )
    stored = export.export(predict)(*described).serialize()
    loaded = export.deserialize(stored)
    for batch, num_points in ((3, 7), (2, 12)):
        rng = np.random.default_rng(0)
        points, features = (
            rng.normal(size=(batch, num_points, n)).astype(np.float32) for n in (dim, 4)
        )
        mask = np.ones((batch, num_points), bool)
        mask[0, -1] = False
        found, expected = loaded.call(points, features, mask), predict(points, features, mask)
        assert np.std(expected) > 0
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("implementation", ["folded", "chunked", "pallas"])
def test_back_ends_that_divide_by_size_want_sizes(implementation):
    (size,) = export.symbolic_shape("n")
    features = jax.ShapeDtypeStruct((size, 1, 2), jnp.float32)
    elements = jax.ShapeDtypeStruct((size, 2), jnp.float32)
    message = f"'{implementation}' divides its work by sizes, and has none with the symbolic size n"
    with pytest.raises(NotImplementedError, match=message):
        export.export(jax.jit(lambda x, g: attend(x, x, x, g, g, implementation=implementation)))(
            features, elements
        )
    if implementation == "chunked":
        sigma = default_representation(T(2), 2)
        with pytest.raises(NotImplementedError, match=message):
            export.export(
                jax.jit(
                    lambda x, g: representation_attend(
                        x, x, x, g, g, T(2), sigma, implementation=implementation
                    )
                )
            )(features, elements)
