"""Settings of every test run.

All tests run with 64-bit types enabled, so that the laws can be tested in float64 and float32 in
one process; tests that mean float32 say so through explicit dtypes.

Compiling takes most of the time of the suite, and tests call each program once or twice: XLA's
expensive passes are switched off, and so are its newer emitters of loops, which take twice as long
for small programs (jaxlib 0.11 has no others), and code is generated in one piece, for there are as
many test runs side by side as cores; unless EQATTN_TEST_OPTIMIZED is set, as
``make test-all`` does. Tests that hang on roundings take the fixture ``optimized``.
"""

import gc
import os
import signal

import chex
import hypothesis
import jax
import jaxtyping
import pytest

from tests.compiled import HAS_EMITTERS

jax.config.update("jax_enable_x64", True)
if "EQATTN_TEST_OPTIMIZED" not in os.environ:
    jax.config.update("jax_disable_most_optimizations", True)
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "true"  # of processes that tests start
    if HAS_EMITTERS:
        # Read when the first program is compiled, here and in processes that tests start.
        flags = [
            os.environ.get("XLA_FLAGS", ""),
            "--xla_cpu_use_fusion_emitters=false",
            "--xla_cpu_parallel_codegen_split_count=1",
        ]
        os.environ["XLA_FLAGS"] = " ".join(flags).strip()

hypothesis.settings.register_profile(
    "eqattn",
    derandomize=True,
    deadline=None,
    max_examples=15,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("eqattn")


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As shells have it for what they start in the background; tests of signals send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish():
    """What is imported and collected stays: looking for garbage among it takes a twentieth."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 20)


@pytest.fixture(autouse=True)
def no_earlier_traces():
    """Forgets what chex counted: it knows functions by name, and a test may run several times."""
    chex.clear_trace_counter()


@pytest.fixture
def optimized():
    """Compiles as users do but for the emitters: roundings, and what hangs on them, differ."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture
def no_type_checks():
    """Switches the shape checks of test runs off, which would come before the library's errors."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
