"""What belongs to pairs besides location: data, envelopes, harmonics, and wide queries."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn.attention import (
    BernsteinBasis,
    HarmonicBasis,
    KernelContent,
    Neighborhood,
    PairFeatures,
    PairMLP,
    RawPairs,
    SmoothEnvelope,
    TokenBlock,
    attend,
)
from eqattn.attention.backends.chunked import Chunked
from eqattn.attention.backends.sizes import CPU
from eqattn.attention.terms.mlp import init_mlp
from eqattn.groups import SE, T
from eqattn.representations import solid_harmonics
from eqattn.spaces import euclidean
from tests.compiled import compiled
from tests.grids import each_once
from tests.tolerances import NEGATIVE_CONTROL

SPACE = euclidean(T(3))
SHAPE = (3, 7, 2)
NUM_DATA = 2
CHUNKED = {
    "small": Chunked(CPU._replace(slice_pairs=10)),
    "medium": Chunked(CPU._replace(small_pairs=1, slice_pairs=10)),
    "large": Chunked(
        CPU._replace(small_pairs=1, medium_bytes=1, tile_bytes=2**10, block=4, kept_bytes=1)
    ),
}
BACK_ENDS = {"folded": "folded", **CHUNKED}


def draw(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def inputs():
    """Queries, keys, values, positions, masks and data of pairs."""
    mask = jnp.asarray(np.random.default_rng(5).uniform(size=SHAPE[:2]) < 0.8)
    return {
        "query": draw(1, *SHAPE, 4),
        "key": draw(2, *SHAPE, 4),
        "value": draw(3, *SHAPE, 5),
        "query_elements": draw(4, *SHAPE[:2], 3),
        "key_elements": draw(4, *SHAPE[:2], 3),
        "key_mask": mask,
        "log_weights": draw(6, *SHAPE[:2]),
        "pair_data": draw(7, *SHAPE[:2], SHAPE[1], NUM_DATA),
    }


def terms():
    """A location and a radial basis that see the data, harmonics, an envelope."""
    features = PairFeatures(SPACE, None, 4, 2.0, NUM_DATA)
    location = PairMLP(*init_mlp(jax.random.key(1), (6, 8, 2), dtype=jnp.float64), features)
    radial = PairMLP(*init_mlp(jax.random.key(2), (6, 8, 3), 1, dtype=jnp.float64), features)
    return {
        "location": location,
        "basis": HarmonicBasis(radial, 3, SPACE, 2),
        "envelope": SmoothEnvelope(SPACE, 3.0),
    }


def near(size=4):
    """Some keys of each query."""
    rng = np.random.default_rng(8)
    indices = np.argsort(rng.uniform(size=(*SHAPE[:2], SHAPE[1])))[..., :size]
    mask = jnp.asarray(rng.uniform(size=indices.shape) < 0.8)
    weights = jnp.asarray(rng.uniform(size=indices.shape))
    nowhere = jnp.zeros(SHAPE[:2], bool)
    return Neighborhood(jnp.asarray(indices), mask, weights, nowhere, SHAPE[1])


def results(run, arrays):
    """The result, its gradient by all arrays, and the derivative of that in one direction."""

    def loss(arrays):
        out = run(arrays)
        return jnp.sum(jnp.sin(out)), out

    direction = {name: draw(9, *x.shape) for name, x in arrays.items()}
    (slopes, out), (curvature, _) = jax.jvp(jax.grad(loss, has_aux=True), (arrays,), (direction,))
    return out, slopes, curvature


@functools.cache
def derivatives(name, normalize):
    """The results of a back end, which all that are compared with it share."""
    arguments = inputs()
    implementation = BACK_ENDS.get(name, name)

    def run(arrays):
        options = {**terms(), "normalize": normalize, "implementation": implementation}
        return attend(**{**arguments, **arrays}, **options)

    numbers = {name: x for name, x in arguments.items() if x.dtype != bool}
    return jax.jit(functools.partial(results, run))(numbers)


@pytest.mark.parametrize(
    ("name", "normalize"),
    [
        ("folded", "softmax"),
        ("large", "softmax"),
        pytest.param("folded", "mean", marks=pytest.mark.slow),
        pytest.param("large", "mean", marks=pytest.mark.slow),
        pytest.param("medium", "softmax", marks=pytest.mark.slow),
        pytest.param("small", "softmax", marks=pytest.mark.slow),
    ],
)
def test_all_back_ends_agree(name, normalize):
    """Values, first and second derivatives, by the data of pairs too."""
    found, expected = (derivatives(end, normalize) for end in (name, "dense"))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-10), found, expected)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(expected))


@pytest.mark.parametrize("name", ["dense", "chunked"])
def test_neighborhoods_have_data_of_their_own_pairs(name):
    """As all keys with the others masked; the data of a pair that is no neighbor may be NaN."""
    arguments, found = inputs(), near()
    indices = found.indices
    data = jnp.take_along_axis(arguments["pair_data"], indices[..., None], axis=-2)
    arguments["pair_data"] = jnp.where(found.mask[..., None], data, jnp.nan)
    options = {**terms(), "implementation": name}
    run = compiled(attend)
    out = run(**arguments, **options, neighborhood=found)
    assert np.isfinite(out).all()
    for place in ((0, 0), (2, 6)):
        chosen = indices[place][found.mask[place]]
        one = {k: v[place[0]][None] for k, v in inputs().items()}
        one = {k: v[:, place[1]][:, None] if k.startswith("query") else v for k, v in one.items()}
        one["pair_data"] = one["pair_data"][:, place[1]][:, None][..., chosen, :]
        one = {
            k: v[:, chosen]
            if k in ("key", "value", "key_elements", "key_mask", "log_weights")
            else v
            for k, v in one.items()
        }
        weights = jnp.log(found.weights[place][found.mask[place]])
        one["log_weights"] = one["log_weights"] + weights
        expected = run(**one, **{**options, "implementation": "dense"})
        np.testing.assert_allclose(out[place], expected[0, 0], atol=1e-10)


def test_data_that_are_not_finite_fail_the_query_alone():
    arguments = inputs()
    arguments["pair_data"] = arguments["pair_data"].at[1, 2, 3, 0].set(jnp.inf)
    arguments["key_mask"] = arguments["key_mask"].at[1, 3].set(True)
    for implementation in ("dense", "folded", "chunked"):
        run = jax.jit(lambda x, name=implementation: attend(**x, **terms(), implementation=name))
        out = run(arguments)
        failed = np.isnan(out).all(axis=(-2, -1))
        assert failed[1, 2]
        assert failed.sum() == 1
        hidden = {**arguments, "key_mask": arguments["key_mask"].at[1, 3].set(False)}
        assert np.isfinite(run(hidden)).all()


@pytest.mark.parametrize("normalize", ["softmax", "mean"])
@pytest.mark.parametrize("implementation", ["dense", "folded", "chunked"])
def test_a_distance_that_overflows_is_not_beyond_the_envelope(implementation, normalize):
    """Its square is infinite, and so is no distance: outputs are NaN, not those without the key."""
    arguments = inputs()
    del arguments["pair_data"]
    arguments["key_mask"] = arguments["key_mask"].at[1, 3].set(True)
    arguments["key_elements"] = arguments["key_elements"].at[1, 3].set(1e200)
    options = {"envelope": terms()["envelope"], "normalize": normalize}
    run = jax.jit(lambda x: attend(**x, **options, implementation=implementation))
    out = run(arguments)
    assert np.isnan(out[1]).all()
    assert np.isfinite(out[np.array([0, 2])]).all()
    hidden = {**arguments, "key_mask": arguments["key_mask"].at[1, 3].set(False)}
    assert np.isfinite(run(hidden)).all()


def test_a_difference_whose_square_overflows_has_no_direction():
    basis = HarmonicBasis(BernsteinBasis(SPACE, 2, 4.0), 2, SPACE, 1)
    query = TokenBlock(tuple(jnp.zeros((1, 1)) for _ in range(3)), ())
    key = TokenBlock(tuple(jnp.array([[x, 1.0]]) for x in (1e200, 0.0, 0.0)), ())
    found = basis(query, key)
    assert jnp.isnan(found[..., 0]).all()
    assert jnp.isfinite(found[..., 1]).all()


@pytest.mark.parametrize(
    ("normalize", "implementation"),
    each_once(["softmax", "mean", "exponential_mean"], ["dense", "folded", "chunked"]),
)
def test_an_envelope_makes_attention_local(normalize, implementation):
    """A key beyond it changes nothing in any normalization, however large its logits and values."""
    arguments = inputs()
    moved = {**arguments, "key_elements": arguments["key_elements"].at[:, 0].add(50.0)}
    loud = {**moved, "key": moved["key"].at[:, 0].mul(20), "value": moved["value"].at[:, 0].mul(9)}
    without = {**arguments, "key_mask": arguments["key_mask"].at[:, 0].set(False)}
    options = {**terms(), "normalize": normalize, "implementation": implementation}

    @jax.jit
    def run(arguments):
        everything = {**options, "envelope": None}
        return attend(**arguments, **options), attend(**arguments, **everything)

    expected, of_all = run(without)
    for far in (moved, loud):
        found, reached = run(far)
        np.testing.assert_allclose(found, expected, atol=1e-12)
    assert np.abs(reached - of_all).max() > NEGATIVE_CONTROL


def test_an_envelope_is_smooth():
    """1 where points coincide and 0 from the cutoff on, with two continuous derivatives."""

    @jax.jit
    def value(d):
        x = jnp.stack([d, 0.0, 0.0])
        block = lambda x: tuple(c[None, None] for c in x)
        envelope = SmoothEnvelope(SPACE, 2.0)
        return jnp.squeeze(envelope(*(TokenBlock(block(y), ()) for y in (jnp.zeros(3), x))))

    assert float(value(0.0)) == 1.0
    assert float(value(2.0)) == float(value(9.0)) == 0.0
    np.testing.assert_allclose(value(1.0), 0.75**3)
    slope = jax.jit(jax.grad(value))
    for derivative in (slope, jax.jit(jax.grad(slope))):
        before, after = float(derivative(2.0 - 1e-7)), float(derivative(2.0 + 1e-7))
        assert abs(before - after) < 1e-5
    assert float(slope(0.0)) == 0.0


def test_harmonics_times_radial_functions():
    """Harmonics are slow, and of a difference that is squeezed into the unit ball."""
    x = np.random.default_rng(0).normal(size=(4, 3))
    rows = TokenBlock(tuple(jnp.zeros((1, 1)) for _ in range(3)), ())
    columns = TokenBlock(tuple(jnp.asarray(c)[None] for c in x.T), ())
    radial = BernsteinBasis(SPACE, 2, 4.0)
    basis = HarmonicBasis(radial, 2, SPACE, 2, length=0.5)
    squeezed = x / np.sqrt(0.25 + np.sum(x**2, axis=1, keepdims=True))
    harmonics = np.concatenate(solid_harmonics(2, tuple(jnp.asarray(squeezed).T)))
    expected = harmonics[:, None] * np.asarray(radial(rows, columns))[None, :, 0, 0]
    found = basis(rows, columns)
    assert found.shape == (18, 1, 1, 4)
    assert basis.width == 18
    np.testing.assert_allclose(found[:, 0, 0], expected.reshape(18, 4), atol=1e-14)


@pytest.mark.parametrize("implementation", ["dense", "folded", "chunked"])
def test_kernel_content_is_a_product_with_a_matrix_of_the_pair(implementation):
    """q_i · (W(x_ij) k_j) with W = Σ_m φ_m W_m, although no matrix is made of a pair."""
    basis = HarmonicBasis(BernsteinBasis(SPACE, 2, 4.0), 2, SPACE, 1)
    arguments = inputs()
    del arguments["pair_data"]
    matrices = draw(9, basis.width, 4, 4)
    query = jnp.einsum("bthc,mcd->bthmd", arguments["query"], matrices)
    wide = {**arguments, "query": query.reshape(*SHAPE, -1)}
    content = KernelContent(basis, basis.width)
    x = arguments["query_elements"]
    rows = TokenBlock(tuple(c[..., :, None] for c in jnp.moveaxis(x, -1, 0)), ())
    columns = TokenBlock(tuple(c[..., None, :] for c in jnp.moveaxis(x, -1, 0)), ())
    functions = basis(rows, columns)[:, :, 0]
    pairs = jnp.einsum("mbtk,mcd->btkcd", functions, matrices)
    logits = jnp.einsum("bthc,btkcd,bkhd->bhtk", arguments["query"], pairs, arguments["key"])
    weights = jnp.exp(logits / np.sqrt(4 * basis.width) + arguments["log_weights"][:, None, None])
    weights = jnp.where(arguments["key_mask"][:, None, None], weights, 0)
    weights = weights / weights.sum(-1, keepdims=True)
    expected = jnp.einsum("bhtk,bkhv->bthv", weights, arguments["value"])
    found = compiled(attend)(**wide, content=content, implementation=implementation)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    with pytest.raises(ValueError, match=r"query must have shape \(3, 7, 2, 32\)"):
        attend(**arguments, content=content)


def test_what_does_not_fit_is_refused():
    arguments = inputs()
    trace = lambda **options: jax.eval_shape(functools.partial(attend, **options))
    with pytest.raises(ValueError, match="pair_data must have 2 numbers of each pair, got 0"):
        trace(**{**arguments, "pair_data": None}, **terms())
    with pytest.raises(ValueError, match="pair_data must have leading shape"):
        trace(**{**arguments, "pair_data": arguments["pair_data"][:, :, :3]}, **terms())
    pairs = RawPairs(PairFeatures(SPACE, "embedding"))
    without = {**arguments, "pair_data": None}
    with pytest.raises(ValueError, match="envelope must have one feature, got 3"):
        trace(**without, envelope=pairs)
    with pytest.raises(NotImplementedError, match="does not support envelope SmoothEnvelope"):
        trace(**without, envelope=SmoothEnvelope(SPACE, 1.0), implementation="pallas")
    with pytest.raises(NotImplementedError, match="does not support pair_data"):
        trace(**arguments, implementation="pallas")
    with pytest.raises(ValueError, match="cutoff must be finite and above 0, got 0"):
        SmoothEnvelope(euclidean(SE(3)), 0.0)
