"""The installed jax must not miscompile our workload, and a jaxlib that does is named."""

import importlib
import warnings

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
import pytest

import eqattn
from eqattn import _compatibility


@pytest.mark.usefixtures("optimized")
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("float64", 1e-12)])
@pytest.mark.parametrize("num_rows", [1_000, 40_001])
def test_a_vmapped_matrix_vector_product_then_a_reduction(dtype, tolerance, num_rows):
    """jax issue 39103: with jaxlib 0.10.2 thousands of the 40,001 rows are wrong."""
    rng = np.random.default_rng(0)
    matrix, rows = rng.normal(size=(3, 3)), rng.normal(size=(num_rows, 3))
    expected = np.sum((rows @ matrix.T) ** 2, axis=-1)
    with jax.enable_x64(dtype == "float64"):
        squares = jax.jit(jax.vmap(lambda a, row: jnp.sum((a @ row) ** 2), in_axes=(None, 0)))
        computed = squares(jnp.asarray(matrix, dtype), jnp.asarray(rows, dtype))
        assert computed.dtype == dtype
    np.testing.assert_allclose(computed, expected, rtol=tolerance, atol=tolerance)


def test_a_miscompiling_jaxlib_is_named_with_the_fix():
    with pytest.warns(RuntimeWarning, match=r"jaxlib 0\.10\.2 .*wrong results.*0\.10\.1, or 0\.11"):
        _compatibility._warn_if_miscompiling("0.10.2")


@pytest.mark.parametrize("version", ["0.10.1", "0.11.0", jaxlib.__version__])
def test_a_sound_jaxlib_is_not(version):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _compatibility._warn_if_miscompiling(version)


def test_importing_the_package_names_it(monkeypatch):
    monkeypatch.setattr(jaxlib, "__version__", "0.10.2")
    monkeypatch.setattr(jaxlib.version, "__version__", "0.10.2")
    with pytest.warns(RuntimeWarning, match=r"jaxlib 0\.10\.2"):
        importlib.reload(eqattn)
