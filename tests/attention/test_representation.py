"""Representation attention: a loop over pairs, exact equivariance also far away, masks, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn import groups
from eqattn.attention import Matrices, Rotary, representation_attend

B, T, K, H = 2, 5, 6, 2
KEYS = jax.random.split(jax.random.key(0), 8)
SIGMAS = {
    "rotary of T(3)": Rotary(groups.T(3), jax.random.normal(KEYS[7], (3, 3))),
    "rotary of R+xSO(2)": Rotary(groups.RxSO2(), jnp.array([[1.0, 0.3], [2.0, -0.5]])),
    "SO(2)": Matrices(groups.SO(2)),
    "SO(3)": Matrices(groups.SO(3)),
    "O(3)": Matrices(groups.O(3)),
    "SE(2)": Matrices(groups.SE(2)),
    "SE(3)": Matrices(groups.SE(3)),
}
each = pytest.mark.parametrize("name", SIGMAS)


def inputs(sigma, copies=2, dtype=jnp.float64):
    shapes = [(B, n, H, copies * sigma.size) for n in (T, K, K)]
    features = [jax.random.normal(k, s).astype(dtype) for k, s in zip(KEYS, shapes, strict=False)]
    wide = jnp.promote_types(dtype, jnp.float32)
    draw = sigma.group.sample_bounded
    elements = [draw(k, (B, n), jnp.float64) for k, n in zip(KEYS[4:6], (T, K), strict=True)]
    elements = [x.astype(wide) for x in elements]
    return *features, *elements


def matrix_of(sigma, g, size):
    """σ(g) on all channels of a head, column by column."""
    columns = jnp.broadcast_to(jnp.eye(size)[:, None, :], (size, 1, size))
    elements = jnp.broadcast_to(g, (size, *g.shape))
    return np.asarray(sigma.apply(elements, columns))[:, 0].T


@each
def test_it_is_a_representation_with_inverse_and_dual(name):
    sigma = SIGMAS[name]
    g, h = sigma.group.sample_bounded(KEYS[0], (2,), jnp.float64)
    size = 2 * sigma.size
    product = matrix_of(sigma, sigma.group.compose(g, h), size)
    np.testing.assert_allclose(
        product, matrix_of(sigma, g, size) @ matrix_of(sigma, h, size), atol=1e-12
    )
    eye = jnp.eye(size)[:, None, :]
    elements = jnp.broadcast_to(g, (size, *g.shape))
    inverse = np.asarray(sigma.apply_inverse(elements, eye))[:, 0].T
    dual = np.asarray(sigma.apply_dual(elements, eye))[:, 0].T
    np.testing.assert_allclose(inverse, np.linalg.inv(matrix_of(sigma, g, size)), atol=1e-12)
    np.testing.assert_allclose(dual, inverse.T, atol=1e-12)
    assert np.max(np.abs(matrix_of(sigma, g, size) - np.eye(size))) > 1e-2


def loop(sigma, arrays, valid, log_weights, kernel, turns_values):
    """Pair by pair, with the matrix of g_i⁻¹ g_j."""
    query, key, value = (np.asarray(x) for x in arrays[:3])
    rows, columns = arrays[3:]
    group, channels = sigma.group, query.shape[-1]
    out = np.zeros((B, T, H, value.shape[-1]))
    for b in range(B):
        pairs = [
            [matrix_of(sigma, group.compose(group.inverse(g), h), channels) for h in columns[b]]
            for g in rows[b]
        ]
        for i in range(T):
            for head in range(H):
                weights, total, sums = [], 0.0, 0.0
                for j in np.flatnonzero(valid[b]):
                    q, k, omega = query[b, i, head], key[b, j, head], np.exp(log_weights[b, j])
                    if kernel == "linear":
                        q, k = (np.where(x > 0, 1 + x, np.exp(x)) for x in (q, k))
                        total += omega * (q @ k)
                        weights.append(omega * (q @ pairs[i][j] @ k))
                    else:
                        weights.append(omega * np.exp(q @ pairs[i][j] @ k / np.sqrt(channels)))
                        total += weights[-1]
                    v = value[b, j, head]
                    sums = sums + weights[-1] * (pairs[i][j] @ v if turns_values else v)
                out[b, i, head] = sums / total
    return out


@pytest.mark.parametrize("turns_values", [True, False])
@pytest.mark.parametrize("kernel", ["softmax", "linear"])
@each
def test_agrees_with_a_loop(name, kernel, turns_values):
    arrays = inputs(SIGMAS[name])
    valid = jnp.ones((B, K), bool).at[0, 0].set(False).at[1, 3].set(False)
    log_weights = jnp.linspace(-1.0, 1.0, B * K).reshape(B, K)
    out = representation_attend(
        *arrays, SIGMAS[name], turns_values=turns_values, kernel=kernel,
        key_mask=valid, log_weights=log_weights,
    )  # fmt: skip
    expected = loop(SIGMAS[name], arrays, valid, log_weights, kernel, turns_values)
    np.testing.assert_allclose(out, expected, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("kernel", ["softmax", "linear"])
@each
def test_elements_times_u_change_nothing(name, kernel):
    sigma = SIGMAS[name]
    query, key, value, rows, columns = inputs(sigma)
    u = sigma.group.sample_bounded(KEYS[6], (B, 1), jnp.float64)

    def out(rows, columns):
        return representation_attend(query, key, value, rows, columns, sigma, kernel=kernel)

    still, compose = out(rows, columns), sigma.group.compose
    moved = out(compose(u, rows), compose(u, columns))
    assert jnp.max(jnp.abs(moved - still)) / jnp.std(still) < 1e-10
    # Negative control: only the keys are moved, so that g_i⁻¹ g_j is another.
    assert jnp.max(jnp.abs(out(rows, compose(u, columns)) - still)) / jnp.std(still) > 1e-2


@pytest.mark.parametrize("name", ["rotary of T(3)", "SE(2)", "SE(3)"])
def test_all_points_shifted_by_a_thousand(name):
    sigma = SIGMAS[name]
    query, key, value, rows, columns = inputs(sigma, dtype=jnp.float32)
    far = sigma.group.identity(dtype=jnp.float32)
    far = far.at[-1].set(1_000.0)  # a coordinate of the translation is last in all of them
    out = [
        representation_attend(query, key, value, *elements, sigma)
        for elements in (
            (rows, columns),
            (sigma.group.compose(far, rows), sigma.group.compose(far, columns)),
        )
    ]
    # What float32 leaves of coordinates near 1,000 is their sixth digit after the point.
    assert jnp.max(jnp.abs(out[0] - out[1])) / jnp.std(out[0]) < 20 * 1_000 * 6e-8


def test_frequencies_of_an_angle_must_be_whole_numbers():
    """Negative control: with others a full turn is not the identity, and the first key matters."""

    def change(frequency):
        sigma = Rotary(groups.SO(2), jnp.array([[frequency]]))
        query, *keys = inputs(sigma)
        *features, rows, columns = keys
        rolled = [jnp.roll(x, 1, axis=1) for x in (*features, columns)]
        out = representation_attend(query, *features, rows, columns, sigma)
        return jnp.max(
            jnp.abs(out - representation_attend(query, *rolled[:2], rows, rolled[2], sigma))
        )

    assert change(2.0) < 1e-12
    assert change(0.5) > 1e-2


@pytest.mark.parametrize("kernel", ["softmax", "linear"])
def test_masked_tokens_may_hold_anything(kernel):
    sigma = SIGMAS["SE(3)"]
    arrays = inputs(sigma)
    rows_exist = jnp.ones((B, T), bool).at[0, 1].set(False)
    keys_exist = jnp.ones((B, K), bool).at[0, 0].set(False).at[1].set(False)

    def loss(arrays):
        out = representation_attend(
            *arrays, sigma, query_mask=rows_exist, key_mask=keys_exist, kernel=kernel
        )
        return jnp.sum(out**2), out

    masks = (rows_exist, keys_exist, keys_exist, rows_exist, keys_exist)
    spoilt = [
        jnp.where(m.reshape(*m.shape, *(1,) * (x.ndim - 2)), x, jnp.nan)
        for m, x in zip(masks, arrays, strict=True)
    ]
    gradient, out = jax.grad(loss, has_aux=True)(spoilt)
    _, expected = jax.grad(loss, has_aux=True)(list(arrays))
    np.testing.assert_allclose(out, expected, atol=1e-12)
    assert jnp.all(out[0, 1] == 0)
    assert jnp.all(out[1] == 0)
    assert jnp.std(out[0]) > 0.1
    assert all(jnp.all(jnp.isfinite(x)) for x in gradient)


def test_a_weight_of_minus_infinity_is_a_mask():
    sigma = SIGMAS["SO(3)"]
    mask = jnp.ones((B, K), bool).at[:, 2].set(False)
    weights = jnp.where(mask, 0.0, -jnp.inf)
    by_weight = representation_attend(*inputs(sigma), sigma, log_weights=weights)
    by_mask = representation_attend(*inputs(sigma), sigma, key_mask=mask)
    np.testing.assert_allclose(by_weight, by_mask, atol=1e-13)


@pytest.mark.parametrize(("dtype", "bound"), [(jnp.float32, 2e-6), (jnp.bfloat16, 0.03)])
@pytest.mark.parametrize("name", ["rotary of T(3)", "SE(3)"])
def test_low_precision(name, dtype, bound):
    sigma = SIGMAS[name]
    options = {"log_weights": jnp.linspace(-9.0, 1.0, B * K).reshape(B, K)}
    exact = representation_attend(*inputs(sigma), sigma, **options)
    out = representation_attend(*inputs(sigma, dtype=dtype), sigma, **options)
    assert out.dtype == dtype
    assert jnp.max(jnp.abs(out.astype(jnp.float64) - exact)) / jnp.std(exact) < bound


def test_no_tokens():
    sigma = SIGMAS["SO(3)"]
    query, key, value, rows, columns = inputs(sigma)
    out = representation_attend(query, key[:, :0], value[:, :0], rows, columns[:, :0], sigma)
    assert jnp.all(out == jnp.zeros_like(query))


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"query": jnp.ones((B, T, H, 7))}, ValueError, "query must have shape .* multiple of 3"),
        ({"value": jnp.ones((B, K, H, 4))}, ValueError, "value must have shape .* multiple of 3"),
        ({"key": jnp.ones((B, K, 1, 6))}, ValueError, r"key must have shape \(2, 6, 2\)"),
        ({"query_elements": jnp.ones((B, T, 3))}, ValueError, r"query_elements must have shape \("),
        ({"kernel": "cosine"}, ValueError, "kernel must be one of"),
        ({"representation": "rotary"}, TypeError, "representation must be"),
    ],
)
@pytest.mark.usefixtures("no_type_checks")
def test_errors(change, error, match):
    names = ("query", "key", "value", "query_elements", "key_elements", "representation")
    sigma = SIGMAS["SO(3)"]
    arguments = dict(zip(names, (*inputs(sigma), sigma), strict=True)) | change
    with pytest.raises(error, match=match):
        representation_attend(**arguments)


def test_rotary_wants_a_commutative_group():
    with pytest.raises(TypeError, match="group must be"):
        Rotary(groups.SE(2), jnp.ones((1, 3)))
    with pytest.raises(ValueError, match=r"frequencies must have shape \(F, 3\), got \(2, 2\)"):
        Rotary(groups.T(3), jnp.ones((2, 2)))
