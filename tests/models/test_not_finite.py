"""A NaN or an infinity makes its example NaN, and nothing else, in every configuration of a model.

One program for each configuration gets a batch of which every example holds another fault, and the
same batch without faults.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn import layers, lift
from eqattn.attention import NearestNeighbors, RadiusNeighbors
from eqattn.groups import SE, SO, E, Product, RxSO2, T
from eqattn.layers import (
    BernsteinValues,
    FourierValues,
    Layer,
    RadialLocation,
    RepresentationAttention,
)
from eqattn.models import FieldModel, LieConvNetwork, LieTransformer
from eqattn.spaces import euclidean, group_space, position_orientation, sphere
from eqattn.specification import names_of
from tests import small
from tests.grids import some

NUM_POINTS, NUM_FEATURES = 5, 2
FAULTS = ("nan point", "inf point", "nan feature", "inf feature", "-inf feature")
MASKED = ("nan masked", "inf masked", "no weight")

SE2, SE3, T2 = euclidean(SE(2)), euclidean(SE(3)), euclidean(T(2))


def attention(**options):
    return {"layer": small.attention(width=4, depth=2, **options)}


def unlifted(**options):
    return {"lift": lift.NoLift()} | attention(coordinates="invariants", **options)


def convolution(**options):
    layer = small.convolution(width=4, depth=2, coordinates="invariants", **options)
    return {"layer": layer, "lift": lift.NoLift()}


def representation(**options):
    return {"layer": RepresentationAttention(num_heads=1, **options), "dim": 8, "lift": lift.Haar()}


INVARIANTS = unlifted()
BALL = {"neighborhood": RadiusNeighbors(0.5, 3)}
HAAR = {"lift": lift.Haar(2)}
ATTENTIVE = {"layer": small.attentive_convolution(width=4, depth=2)}

# Space and options of a LieTransformer. Pairs of lifts, coordinates, layers, back ends and
# neighborhoods: each of every kind stands in one row at least, also of those that are not slow.
CONFIGURATIONS = {
    "unlifted dense": (SE3, unlifted(implementation="dense")),
    "unlifted folded": (SE2, unlifted(implementation="folded")),
    "unlifted chunked": (SE3, unlifted(implementation="chunked")),
    "unlifted nearest": (SE2, INVARIANTS | {"neighborhood": NearestNeighbors(2)}),
    "unlifted ball": (SE3, INVARIANTS | BALL),
    "unlifted chunked ball": (SE3, unlifted(implementation="chunked") | BALL),
    "unlifted hard ball": (
        SE2,
        INVARIANTS | {"neighborhood": RadiusNeighbors(0.5, 3, smooth=False)},
    ),
    "unlifted convolution": (SE2, convolution()),
    "unlifted bernstein": (SE3, convolution(values=BernsteinValues(cutoff=1.0))),
    "unlifted fourier ball": (
        SE2, convolution(values=FourierValues(num_radial=0)) | BALL
    ),
    "unlifted radial": (SE3, unlifted(location=RadialLocation(num_radial=3, cutoff=1.0))),
    "unlifted mean": (SE3, unlifted(normalize="mean") | {"pool": "max"}),
    "haar log": (SE3, HAAR | attention(coordinates="log")),
    "haar log folded": (SE2, HAAR | attention(coordinates="log", implementation="folded")),
    "haar embedding chunked": (SE2, HAAR | attention(implementation="chunked")),
    "haar nearest": (SE2, {"lift": lift.Haar(2), "neighborhood": NearestNeighbors(2)}),
    "haar content alone": (SE2, HAAR | attention(location=None)),
    "haar location alone": (SE2, HAAR | attention(content=None)),
    "shared attentive convolution": (SE2, {"lift": lift.Haar(2, shared=True)} | ATTENTIVE),
    "representation": (SE3, representation() | HAAR),
    "representation chunked": (T2, representation(implementation="chunked")),
    "representation linear": (T2, representation(kernel="linear")),
    "translations": (T2, attention(coordinates="log", normalize="exponential_mean")),
    "translations ball": (T2, BALL | {"pool": "sum"}),
    "translations token head": (T2, {"head": "token", "norm": "post"}),
    "grid": (SE2, {"lift": lift.Grid(4)}),
    "subgroup": (SE3, {"lift": lift.Subgroup("dihedral(2)")}),
    "subgroup of E": (euclidean(E(2)), {"lift": lift.Subgroup("cyclic(3)")}),
    "frames": (SE3, {"lift": lift.Frames()}),
    "frames about the origin": (euclidean(SO(3)), {"lift": lift.Frames()}),
    "frames nearest": (SE2, {"lift": lift.Frames(), "neighborhood": NearestNeighbors(2)}),
    "origin": (euclidean(SO(2)), attention(coordinates="log")),
    "scales": (euclidean(RxSO2()), {}),
    "sphere": (sphere(SO(3)), HAAR | attention(coordinates="log")),
    "sphere unlifted ball": (sphere(SO(3)), INVARIANTS | BALL),
    "orientations": (position_orientation(SE(3)), {"lift": lift.Haar(2)}),
    "poses": (group_space(SE(2)), attention(coordinates="log")),
    "upright": (euclidean(Product((SE(2), T(1)))), {"lift": lift.Haar(2)}),
    "coset": (
        SE3, INVARIANTS | {"lift": lift.Coset(position_orientation(SE(3)), lift.Haar(2))}
    ),
}  # fmt: skip


# What these rows have, others have too.
SLOW = (
    "unlifted folded", "unlifted chunked", "unlifted nearest", "unlifted ball",
    "unlifted convolution", "haar log", "haar nearest", "frames", "subgroup",
    "haar embedding chunked", "haar content alone", "haar location alone", "representation",
    "translations ball", "origin", "sphere", "orientations", "frames about the origin",
    "unlifted dense", "upright", "unlifted hard ball",
)  # fmt: skip


def batch_of(space):
    """Points, features, mask and log-weights of one example for each fault; the last is masked."""
    names = (*FAULTS, *MASKED, "none")
    shape = (len(names), NUM_POINTS)
    draw = jax.jit(lambda key: space.sample_points(key, shape, jnp.float32))
    points = np.array(draw(jax.random.key(0)))
    rng = np.random.default_rng(0)
    features = rng.normal(size=(*shape, NUM_FEATURES)).astype(np.float32)
    mask = np.ones(shape, bool)
    mask[:, -1] = False
    weights = np.zeros(shape, np.float32)
    weights[names.index("no weight"), 2] = -np.inf
    return names, points, features, mask, weights


def spoil(names, points, features):
    points, features = points.copy(), features.copy()
    for index, name in enumerate(names):
        number = {"nan": np.nan, "inf": np.inf, "-inf": -np.inf, "no": np.nan}.get(name.split()[0])
        if name.endswith("point"):
            points[index, 1, 0] = number
        elif name.endswith("feature"):
            features[index, 1, 0] = number
        elif name in MASKED:
            place = 2 if name == "no weight" else -1
            points[index, place], features[index, place] = number, number
    return points, features


def check(model, space):
    """That one program gives NaN for the examples that are not finite, and no others change."""
    names, points, features, mask, weights = batch_of(space)
    graphdef, params = nnx.split(model)

    @jax.jit
    def run(points, features):
        model = nnx.merge(graphdef, params)
        options = {"example_ids": jnp.arange(len(names)), "log_weights": jnp.asarray(weights)}
        return model(points, features, jnp.asarray(mask), jax.random.key(1), **options)

    clean = np.asarray(run(points, features))
    out = np.asarray(run(*spoil(names, points, features)))
    assert np.all(np.isfinite(clean))
    assert np.std(clean) > 0  # or a model that ignores its input would pass
    for name, before, after in zip(names, clean, out, strict=True):
        exists = before != 0 if before.ndim > 1 else np.ones_like(before, bool)
        if name in FAULTS:
            assert np.all(np.isnan(after[exists])), name
        else:
            np.testing.assert_array_equal(after, before, err_msg=name)


def transformer(space, out_features=2, **options):
    options = {"dim": 4, "num_layers": 1, "lift": lift.Haar()} | attention() | options
    return LieTransformer(
        space, NUM_FEATURES, out_features, param_dtype=jnp.float32, rngs=nnx.Rngs(0), **options
    )


@pytest.mark.parametrize("name", some(CONFIGURATIONS, *(set(CONFIGURATIONS) - set(SLOW))))
def test_a_failure_stays_in_its_example(name):
    space, options = CONFIGURATIONS[name]
    check(transformer(space, **options), space)


def test_the_configurations_cover_every_kind_of_layer():
    used = {type(options.get("layer", small.attention())) for _, options in CONFIGURATIONS.values()}
    found = {cls.__name__ for cls in used}
    ours = {name for name in names_of(Layer) if hasattr(layers, name)}
    assert found == ours
    assert len(ours) >= 4


def test_convolution_networks_and_fields():
    options = {"dim": 4, "param_dtype": jnp.float32, "rngs": nnx.Rngs(0)}
    network = LieConvNetwork(
        *(SE2, NUM_FEATURES, 2),
        num_layers=2,
        subsampling=(3,),
        neighborhood=NearestNeighbors(2),
        layer=small.convolution(width=32),
        lift=lift.Haar(),
        **options,
    )
    check(network, SE2)
    inner = transformer(SE2, lift=lift.Haar(2))
    check(FieldModel(inner, "vector", "vector"), SE2)
    check(transformer(SE2, output="per_point", **INVARIANTS), SE2)
