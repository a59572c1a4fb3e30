"""A NaN or an infinity makes its example NaN, and nothing else, in every configuration of a model.

One program for each configuration gets a batch of which every example holds another fault, and the
same batch without faults.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn import lift
from eqattn.attention import NearestNeighbors, RadiusNeighbors
from eqattn.groups import SE, SO, E, Product, RxSO2, T
from eqattn.layers.family import LayerKind
from eqattn.models import FieldModel, LieConvNetwork, LieTransformer
from eqattn.spaces import euclidean, group_space, position_orientation, sphere
from tests.grids import some

NUM_POINTS, NUM_FEATURES = 5, 2
FAULTS = ("nan point", "inf point", "nan feature", "inf feature", "-inf feature")
MASKED = ("nan masked", "inf masked", "no weight")

SE2, SE3, T2 = euclidean(SE(2)), euclidean(SE(3)), euclidean(T(2))
INVARIANTS = {"lift": lift.NoLift(), "coordinates": "invariants"}

# Space and options of a LieTransformer. Pairs of lifts, coordinates, layers, back ends and
# neighborhoods: each of every kind stands in one row at least, also of those that are not slow.
CONFIGURATIONS = {
    "unlifted dense": (SE3, INVARIANTS | {"implementation": "dense"}),
    "unlifted folded": (SE2, INVARIANTS | {"implementation": "folded"}),
    "unlifted chunked": (SE3, INVARIANTS | {"implementation": "chunked"}),
    "unlifted nearest": (SE2, INVARIANTS | {"neighborhood": NearestNeighbors(2)}),
    "unlifted ball": (SE3, INVARIANTS | {"neighborhood": RadiusNeighbors(0.5, 3)}),
    "unlifted chunked ball": (
        SE3,
        INVARIANTS | {"neighborhood": RadiusNeighbors(0.5, 3), "implementation": "chunked"},
    ),
    "unlifted hard ball": (
        SE2,
        INVARIANTS | {"neighborhood": RadiusNeighbors(0.5, 3, smooth=False)},
    ),
    "unlifted convolution": (SE2, INVARIANTS | {"layer": "convolution"}),
    "unlifted bernstein": (SE3, INVARIANTS | {"layer": "convolution", "basis": "bernstein"}),
    "unlifted fourier ball": (
        SE2,
        INVARIANTS
        | {"layer": "convolution", "basis": "fourier", "neighborhood": RadiusNeighbors(0.5, 3)},
    ),
    "unlifted radial": (SE3, INVARIANTS | {"num_radial": 3, "location": "radial"}),
    "unlifted mean": (SE3, INVARIANTS | {"normalize": "mean", "pool": "max"}),
    "haar log": (SE3, {"lift": lift.Haar(2), "coordinates": "log"}),
    "haar log folded": (SE2, {"lift": lift.Haar(2), "coordinates": "log",
                              "implementation": "folded"}),
    "haar embedding chunked": (SE2, {"lift": lift.Haar(2), "implementation": "chunked"}),
    "haar nearest": (SE2, {"lift": lift.Haar(2), "neighborhood": NearestNeighbors(2)}),
    "haar content alone": (SE2, {"lift": lift.Haar(2), "location": "none"}),
    "haar location alone": (SE2, {"lift": lift.Haar(2), "content": "none"}),
    "shared attentive convolution": (
        SE2,
        {"lift": lift.Haar(2, shared=True), "layer": "attentive_convolution"},
    ),
    "representation": (SE3, {"lift": lift.Haar(2), "attention": "representation"}),
    "representation chunked": (
        T2,
        {"attention": "representation", "implementation": "chunked"},
    ),
    "representation linear": (T2, {"attention": "representation", "kernel": "linear"}),
    "translations": (T2, {"coordinates": "log", "normalize": "exponential_mean"}),
    "translations ball": (T2, {"neighborhood": RadiusNeighbors(0.5, 3), "pool": "sum"}),
    "translations token head": (T2, {"head": "token", "norm": "post"}),
    "grid": (SE2, {"lift": lift.Grid(4)}),
    "subgroup": (SE3, {"lift": lift.Subgroup("dihedral(2)")}),
    "subgroup of E": (euclidean(E(2)), {"lift": lift.Subgroup("cyclic(3)")}),
    "frames": (SE3, {"lift": lift.Frames()}),
    "frames about the origin": (euclidean(SO(3)), {"lift": lift.Frames()}),
    "frames nearest": (SE2, {"lift": lift.Frames(), "neighborhood": NearestNeighbors(2)}),
    "origin": (euclidean(SO(2)), {"coordinates": "log"}),
    "scales": (euclidean(RxSO2()), {}),
    "sphere": (sphere(SO(3)), {"lift": lift.Haar(2), "coordinates": "log"}),
    "sphere unlifted ball": (sphere(SO(3)), INVARIANTS | {"neighborhood": RadiusNeighbors(0.5, 3)}),
    "orientations": (position_orientation(SE(3)), {"lift": lift.Haar(2)}),
    "poses": (group_space(SE(2)), {"coordinates": "log"}),
    "upright": (euclidean(Product((SE(2), T(1)))), {"lift": lift.Haar(2)}),
    "coset": (
        SE3,
        {"lift": lift.Coset(position_orientation(SE(3)), lift.Haar(2)),
         "coordinates": "invariants"},
    ),
}  # fmt: skip


# What these rows have, others have too.
SLOW = (
    "unlifted folded", "unlifted chunked", "unlifted nearest", "unlifted ball",
    "unlifted convolution", "haar log", "haar nearest", "frames", "subgroup",
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
    options = {"dim": 4, "num_layers": 1, "param_dtype": jnp.float32} | options
    if options.get("attention") == "representation":
        options |= {"num_heads": 1, "dim": 8}
    elif options.get("layer") != "convolution":
        options = {"num_heads": 2} | options
    if "attention" not in options and "location" not in options:
        options = {"location_dim": 4, "location_layers": 2} | options
    elif "attention" not in options:
        options.pop("location_dim", None)
    return LieTransformer(space, NUM_FEATURES, out_features, rngs=nnx.Rngs(0), **options)


@pytest.mark.parametrize("name", some(CONFIGURATIONS, *(set(CONFIGURATIONS) - set(SLOW))))
def test_a_failure_stays_in_its_example(name):
    space, options = CONFIGURATIONS[name]
    check(transformer(space, **options), space)


def test_the_configurations_cover_every_kind_of_layer():
    layers = {options.get("layer", "attention") for _, options in CONFIGURATIONS.values()}
    assert layers == set(LayerKind.__args__)


def test_convolution_networks_and_fields():
    options = {"dim": 4, "param_dtype": jnp.float32, "rngs": nnx.Rngs(0)}
    network = LieConvNetwork(
        *(SE2, NUM_FEATURES, 2),
        num_layers=2,
        subsampling=(3,),
        neighborhood=NearestNeighbors(2),
        **options,
    )
    check(network, SE2)
    inner = transformer(SE2, lift=lift.Haar(2))
    check(FieldModel(inner, "vector", "vector"), SE2)
    check(transformer(SE2, output="per_point", **INVARIANTS), SE2)
