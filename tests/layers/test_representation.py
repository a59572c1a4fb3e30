"""Representation attention as a layer and in models: equivariance, padding, what it refuses."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn import fields, groups, spaces, testing
from eqattn.attention import NearestNeighbors, find_neighbors
from eqattn.layers import Attention, RepresentationAttention, RepresentationSelfAttention
from eqattn.lift import Coset, Haar, NoLift, Subgroup, lift
from eqattn.models import LieTransformer
from eqattn.representations import ConformalRepresentation, DefiningRepresentation, FiniteRotary
from tests import draws
from tests.compiled import compiled
from tests.grids import some

SE2 = spaces.euclidean(groups.SE(2))
T2 = spaces.euclidean(groups.T(2))
SO3 = spaces.euclidean(groups.SO(3))
DIM, N = 12, 5
KEY = jax.random.key(7)
MASK = np.arange(N) < np.array([[N], [N - 2]])


def build(space=SE2, dim=DIM, representation=None, dtype=None, **options):
    layer = RepresentationAttention(**{"num_heads": 2, **options})
    return RepresentationSelfAttention(
        dim, space, layer, representation=representation, dtype=dtype, param_dtype=float,
        rngs=nnx.Rngs(0),
    )  # fmt: skip


@functools.cache
def lifted_in(space, strategy=Haar(2), dim=DIM):
    points, features = draws.normal(1, 2, N, space.point_dim), draws.normal(2, 2, N, dim)
    options = {"key": jax.random.key(3), "lift": strategy}
    return compiled(lift)(space, points, features, MASK, **options)


def narrowed(tree):
    return jax.tree.map(
        lambda a: jnp.asarray(np.asarray(a, np.float32)) if a.dtype == float else a, tree
    )


@pytest.mark.parametrize("space", some([T2, SE2, SO3], SE2))
def test_coupled_lift(space):
    """project(u·g, F) = ρ(u) project(g, F) for vectors; negative control: the pair g_j g_i⁻¹."""
    dim = 8 * space.point_dim
    layer, vectors = jax.jit(build(space, dim)), fields.vectors(8)
    inverse = jax.jit(space.group.inverse)
    broken = lambda x: layer(dataclasses.replace(x, elements=inverse(x.elements)))
    options = {"lift": Haar(2), "input_field": vectors, "output_field": vectors}
    own, wrong = (testing.coupled_lift_error(fn, space, **options) for fn in (layer, broken))
    assert own <= 1e-10
    assert wrong > 1e-2 or space == T2  # where pairs commute


@pytest.mark.parametrize("kernel", some(["softmax", "linear"], "softmax"))
def test_attention_weights_are_those_that_values_are_summed_with(kernel):
    layer, lifted = build(kernel=kernel, turns_values=False), lifted_in(SE2)

    @jax.jit
    def run(lifted):
        weights = layer.attention_weights(lifted)
        value = layer._heads(layer.value(layer._inputs(layer._tokens("lifted", lifted))))
        sums = jnp.einsum("bthk,bkhc->bthc", weights, value)
        return weights, layer.output(sums.reshape(lifted.features.shape)), layer(lifted)

    weights, out, expected = map(np.asarray, run(lifted))
    absent = np.repeat(~MASK, 2, axis=-1)
    assert not weights[absent].any()
    assert not weights.swapaxes(1, 3)[absent].any()
    np.testing.assert_allclose(np.where(MASK[..., None, None], out, 0), expected, atol=1e-10)
    if kernel == "softmax":  # the others are normalized before σ is applied
        np.testing.assert_allclose(weights[~absent].sum(-1), 1.0, rtol=1e-10)


@pytest.mark.slow
def test_coupled_lift_in_float32():
    graphdef, params = nnx.split(build(), nnx.Param)
    run = jax.jit(lambda params, lifted: nnx.merge(graphdef, params)(lifted))
    single, lifted = narrowed(params), lifted_in(SE2)
    own = testing.relative_error(run(single, narrowed(lifted)), run(params, lifted))
    error = testing.coupled_lift_error(
        lambda lifted: run(single, lifted), SE2, num_features=DIM, dtype=jnp.float32
    )
    assert error <= testing.float32_tolerance(own)


@pytest.mark.slow
def test_a_finite_group_of_rotations_on_its_lift():
    """Exact to N ⋊ F on data, in float32 a thousand away too; other rotations are not."""
    finite = Subgroup("cyclic(4)")
    sigma = FiniteRotary("cyclic(4)", jnp.array([[1.0, 0.5]]))

    @dataclasses.dataclass(frozen=True, repr=False, kw_only=True)
    class _Rotary(RepresentationAttention):
        """Attention by that representation, as a layer of one's own."""

        def build(self, dim, space, *, rngs, **types):
            return RepresentationSelfAttention(
                dim, space, self, representation=sigma, param_dtype=types["param_dtype"], rngs=rngs
            )

    model = LieTransformer(
        SE2, 4, 1, dim=16, num_layers=1, layer=_Rotary(num_heads=2), lift=finite,
        param_dtype=float, rngs=nnx.Rngs(0),
    )  # fmt: skip
    run = jax.jit(lambda points, features: model(points, features))
    u = compiled(testing.guaranteed_elements)(SE2, finite, jax.random.key(0), (16,))
    assert testing.equivariance_error(run, SE2, elements=u) < 1e-10
    assert testing.equivariance_error(run, SE2) > 1e-2
    graphdef, params = nnx.split(model, nnx.Param)
    single = nnx.merge(graphdef, narrowed(params))
    run = jax.jit(lambda points, features: single(points, features))
    far = np.array(u)
    far[:, -1] += 1_000.0
    error = testing.equivariance_error(run, SE2, elements=jnp.asarray(far), dtype=jnp.float32)
    assert error < 20 * 1_000 * 6e-8  # what float32 leaves of coordinates near 1,000


def test_padding_weights_and_gradients():
    """NaN in padding reaches nothing; half weights of a point twice; frequencies are learned."""
    graphdef, params = nnx.split(build(T2), nnx.Param)
    lifted = lifted_in(T2, Haar(1))

    @jax.jit
    def compute(params, lifted):
        spoil = lambda a: jnp.where(MASK[..., None, None], a, jnp.nan)
        spoilt = dataclasses.replace(
            lifted, elements=spoil(lifted.elements), features=spoil(lifted.features)
        )

        def loss(params):
            out = nnx.merge(graphdef, params)(spoilt)
            return jnp.sum(jnp.sin(out)), out

        layer = nnx.merge(graphdef, params)
        twice = jax.tree.map(lambda a: jnp.concatenate([a, a[:, :1]], axis=1), lifted)
        halves = twice.log_weights.at[:, np.array([0, N])].add(-np.log(2.0))
        split = dataclasses.replace(twice, log_weights=halves)
        cross = layer(jax.tree.map(lambda a: a[:, :2], lifted), None, lifted)
        outputs = [layer(x)[:, :N] for x in (lifted, split, twice)]
        return jax.grad(loss, has_aux=True)(params), outputs, cross

    (gradient, out), (clean, split, twice), cross = jax.tree.map(
        np.asarray, compute(params, lifted)
    )
    np.testing.assert_allclose(out, clean, atol=1e-12)
    assert np.all(out[~MASK] == 0)
    for slope in jax.tree.leaves(gradient):
        assert np.all(np.isfinite(slope))
    assert np.max(np.abs(gradient["learned"][0][...])) > 1e-3
    np.testing.assert_allclose(split, out, atol=1e-12)
    assert np.max(np.abs(twice - out)) > 1e-3
    np.testing.assert_allclose(cross, out[:, :2], atol=1e-12)


def test_orbit_invariants_are_seen():
    lifted, run = lifted_in(SO3, dim=16), jax.jit(build(SO3, 16))
    other = dataclasses.replace(
        lifted, orbit_invariants=jnp.asarray(2.0 * np.asarray(lifted.orbit_invariants))
    )
    assert np.max(np.abs(np.asarray(run(other)) - run(lifted))) > 1e-2


@pytest.mark.parametrize(
    ("dtype", "bound"),
    [pytest.param(jnp.float32, 2e-6, marks=pytest.mark.slow), (jnp.bfloat16, 0.04)],
)
def test_low_precision(dtype, bound):
    """Float32 to 2e-6 and bfloat16 to 8 bits of what float64 gives."""
    params = nnx.state(build(), nnx.Param)
    expected = np.asarray(jax.jit(build())(lifted_in(SE2)))
    graphdef, _ = nnx.split(build(dtype=dtype), nnx.Param)
    out = jax.jit(nnx.merge(graphdef, narrowed(params)))(narrowed(lifted_in(SE2)))
    assert out.dtype == dtype
    assert np.max(np.abs(np.asarray(out, float) - expected)) <= bound * np.std(expected)


@pytest.mark.slow
def test_no_option_is_ignored():
    changes = (
        {"kernel": "linear"}, {"turns_values": False}, {"length": 2.0}, {"num_heads": 3},
        {"representation": DefiningRepresentation(3.0)},
    )  # fmt: skip
    layers = [build(), *(build(**options) for options in changes)]
    assert {field.name for field in dataclasses.fields(RepresentationAttention)} == {
        "num_heads", "kernel", "turns_values", "length", "implementation"
    }  # fmt: skip
    reference, *outputs = jax.jit(lambda x: [layer(x) for layer in layers])(lifted_in(SE2))
    for options, out in zip(changes, outputs, strict=True):
        assert np.max(np.abs(np.asarray(out) - reference)) > 1e-3, options


def transformer(space=SE2, lift=Haar(), neighborhood=None):
    return LieTransformer(
        space, 4, 1, dim=16, num_layers=1, layer=RepresentationAttention(num_heads=2), lift=lift,
        neighborhood=neighborhood, rngs=nnx.Rngs(0),
    )  # fmt: skip


def neighbors():
    lifted = lifted_in(SE2)
    return lifted, compiled(find_neighbors)(SE2, lifted, NearestNeighbors(2))


R2S1 = spaces.position_orientation(groups.SE(2))
E2S1 = spaces.position_orientation(groups.E(2))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: build(num_heads=5), "dim must be a multiple of num_heads=5, got 12"),
        (lambda: build(dim=4), r"channels of a head must be at least 3 .* SE\(2\), got 2"),
        (
            lambda: build(SO3, representation=ConformalRepresentation()),
            r"group must be T\(n\), SE\(n\), E\(n\) or Sim\(n\), got SO\(3\)",
        ),
        (
            lambda: build(representation=DefiningRepresentation(), num_heads=3),
            "must be of a size that divides the 4 channels of a head, got .* of size 3",
        ),
        (
            lambda: build(representation=DefiningRepresentation(), length=2.0),
            "length must be 1 where the representation is given, got 2.0",
        ),
        (lambda: build(implementation="fast"), "implementation of .* must be one of .* got 'fast'"),
        (lambda: build(kernel="cosine"), "kernel of .* must be one of .* got 'cosine'"),
        (lambda: build()(lifted_in(SE2, dim=6)), "lifted must have 12 channels"),
        (lambda: build()(lifted_in(T2)), r"lifted must have elements of SE\(2\)"),
        (lambda: build()(*neighbors()), "neighborhood must be None with RepresentationAttention"),
        (
            lambda: build()(lifted_in(SE2, NoLift())),
            r"sees whole elements of SE\(2\), and a lift by NoLift\(\) gives cosets of SO\(2\)",
        ),
        (
            lambda: build()(lifted_in(SE2, Coset(R2S1, Haar(2)))),
            r"space of a layer must be position_orientation\(SE\(2\)\)",
        ),
        (lambda: transformer(lift=NoLift()), r"gives cosets of SO\(2\)"),
        (
            lambda: transformer(
                spaces.euclidean(groups.E(2)), lift=Coset(E2S1, Haar(2))
            ),
            r"RepresentationAttention sees whole elements of E\(2\)",
        ),
        (
            lambda: transformer(neighborhood=NearestNeighbors(2)),
            "neighborhood must be None with RepresentationAttention",
        ),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("no_type_checks")
def test_errors(make, match):
    with pytest.raises(ValueError, match=match):
        make()


@pytest.mark.usefixtures("no_type_checks")
def test_errors_of_type():
    for options, match in (
        ({"representation": "rotary"}, "representation must be a Representation or None"),
        ({"turns_values": 1}, "turns_values of RepresentationAttention must be true or false, got"),
        *(
            ({option: None}, f"unexpected keyword argument '{option}'")
            for option in (
                "location",
                "content",
                "normalize",
                "coordinates",
                "num_radial",
                "cutoff",
            )
        ),
    ):
        with pytest.raises(TypeError, match=match):
            build(**options)
    with pytest.raises(TypeError, match="space must be a Space, got 'SE2'"):
        RepresentationSelfAttention(16, "SE2", rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match=r"layer must be a RepresentationAttention, got Attention"):
        RepresentationSelfAttention(16, SE2, Attention(), rngs=nnx.Rngs(0))


@pytest.mark.slow
def test_trivial_stabilizers_need_no_lift():
    """Cosets of one element are elements."""
    for space, strategy in ((T2, NoLift()), (SE2, Coset(R2S1, Haar(2)))):
        model = transformer(space, lift=strategy)
        points = space.sample_points(jax.random.key(0), (3,))
        run = jax.jit(lambda points, model=model: model(points, jnp.ones((3, 4)), key=KEY))
        assert jnp.isfinite(run(points))
