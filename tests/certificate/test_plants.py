"""Faults that are planted in the library, each of which makes the certificate fail."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn.attention.backends.chunked import Chunked
from eqattn.certificate import Row, certify
from eqattn.certificate.lawful import measure_group
from eqattn.certificate.rows import forget_programs
from eqattn.groups import SO
from eqattn.groups.rotation import SO2, SO3
from eqattn.representations import Irrep, Tensor


@pytest.fixture(autouse=True)
def own_programs():
    """What is compiled with a fault must not be found by another test."""
    forget_programs()
    yield
    forget_programs()


def failures(**names):
    """The rows that fail of a narrow selection, which has some."""
    rows = [row for row in certify(**names) if isinstance(row, Row)]
    assert rows
    return [row for row in rows if not row.ok]


@pytest.mark.slow
def test_log_that_is_too_short(monkeypatch):
    right = SO3.log_components

    def short(self, g):
        algebra = right(self, g)
        angle = jnp.sqrt(sum(a * a for a in algebra) + 1e-30)
        return tuple(jnp.where(angle > 2.5, 0.7, 1.0) * a for a in algebra)

    monkeypatch.setattr(SO3, "log_components", short)
    text, error, _, bound = measure_group(SO(3), "float64")[0]
    assert "'exp of log'" in text
    assert error > bound


@pytest.mark.slow
def test_samples_that_are_not_haar(monkeypatch):
    limit = 0.9 * np.pi

    def sample(self, key, shape=(), dtype=float):

        return SO(2).exp(jax.random.uniform(key, (*shape, 1), dtype, -limit, limit))

    monkeypatch.setattr(SO2, "sample", sample)
    found = failures(families=["laws"], groups=["SO(2)"], spaces=["S1"], dtypes=["float64"])
    assert any("'sample is Haar'" in row.guarantee for row in found)


def ignoring(name):
    """Chunked attention with all keys valid, or all weights alike."""
    right = Chunked.attend

    def attend(self, queries, keys, *others):
        value = jnp.ones_like(keys.valid) if name == "valid" else 0.0 * keys.log_weights
        return right(self, queries, keys._replace(**{name: value}), *others)

    return attend


DATA = {"families": ["data"], "groups": ["T(2)"], "layers": ["convolution"]}


@pytest.mark.parametrize(
    ("ignored", "statement"),
    [("valid", "masked points hold anything"), ("log_weights", "half the weight")],
)
def test_chunked_attention_that_ignores(ignored, statement, monkeypatch):
    monkeypatch.setattr(Chunked, "attend", ignoring(ignored))
    found = failures(**DATA)
    assert all("chunked" in row.options for row in found)
    assert any(statement in row.guarantee for row in found)


def test_right_back_ends():
    assert not failures(**DATA)


EXACT = {"families": ["equivariance"], "layers": ["convolution"], "dtypes": ["float64"]}
REFLECTIONS = {"groups": ["E(2)"], "spaces": ["R2"], "fields": ["pseudoscalar"]}
ROTATIONS = {"groups": ["SO(3)"], "spaces": ["group"], "fields": ["irrep(2)"]}


def test_tensors_without_their_sign(monkeypatch):
    names = {**EXACT, **REFLECTIONS, "lifts": ["Subgroup(cyclic(3), reflections)"]}
    assert not failures(**names)
    right = Tensor.of_linear
    monkeypatch.setattr(Tensor, "of_linear", lambda self, a, d: right(self, a, jnp.ones_like(d)))
    forget_programs()
    assert failures(**names)


@pytest.mark.slow
def test_an_irrep_transposed(monkeypatch):
    names = {**EXACT, **ROTATIONS}
    assert not failures(**names)
    right = Irrep.of_linear
    monkeypatch.setattr(
        Irrep, "of_linear", lambda self, a, d: jnp.swapaxes(right(self, a, d), -1, -2)
    )
    forget_programs()
    assert failures(**names)
