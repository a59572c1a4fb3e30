"""Settings of every test run.

All tests run with 64-bit types enabled, so that the laws can be tested in float64 and float32 in
one process; tests that mean float32 say so through explicit dtypes.

Compiling takes most of the time of the suite, and tests call each program once or twice: XLA's
expensive passes are switched off, unless EQATTN_TEST_OPTIMIZED is set, as ``make test-all`` does.
The guard against a miscompiling jaxlib always compiles with them.
"""

import os

import hypothesis
import jax
import jaxtyping
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_disable_most_optimizations", "EQATTN_TEST_OPTIMIZED" not in os.environ)

hypothesis.settings.register_profile(
    "eqattn",
    derandomize=True,
    deadline=None,
    max_examples=15,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("eqattn")


@pytest.fixture
def no_type_checks():
    """Switches the shape checks of test runs off, which would come before the library's errors."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
