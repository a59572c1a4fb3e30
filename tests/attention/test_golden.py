"""Dense attention against vectors of the published LieTransformer, recorded in float64."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn import groups, spaces
from eqattn.attention import PairFeatures, PairMLP, attend

GOLDEN = pathlib.Path(__file__).parent.parent / "golden"
SPACE = spaces.euclidean(groups.T(3))


def attend_like_published(record, sign: float):
    """One published layer: ours sees log(g_i⁻¹ g_j), the published one its negative."""
    valid = record["input/mask"]
    out = np.asarray(jax.jit(lambda: layer_like_published(record, sign))())
    return out[valid], record["output/features"][valid]


def layer_like_published(record, sign: float):
    config = json.loads(str(record["config"]))
    heads = config["n_heads"]

    def param(name):
        return jnp.asarray(record[f"param/{name}"])

    def linear(name, x):
        return x @ param(f"{name}.weight").T + param(f"{name}.bias")

    def split(x):
        return x.reshape(*x.shape[:-1], heads, -1)

    location = None
    if config["kernel_type"] == "mlp":
        prefix = "kernel.location_kernel.LinNormAct"
        weights = [param(f"{prefix}_{i}.linear.module.weight") for i in (1, 2, 3)]
        biases = [param(f"{prefix}_{i}.linear.module.bias") for i in (1, 2, 3)]
        weights[0] = sign * weights[0]
        location = PairMLP(
            tuple(weights), tuple(biases), PairFeatures(SPACE, "log"), final_activation=True
        )
    x, mask = jnp.asarray(record["input/features"]), jnp.asarray(record["input/mask"])
    points = jnp.asarray(record["input/points"])
    out = attend(
        split(linear("kernel.feature_kernel.fc_q", x)),
        split(linear("kernel.feature_kernel.fc_k", x)),
        split(linear("input_linear", x)),
        points,
        points,
        location,
        key_mask=mask,
        normalize={"softmax": "softmax", "dot_product": "mean"}[config["attention_fn"]],
    )
    return linear("output_linear", out.reshape(x.shape))


@pytest.mark.parametrize("name", ["content_only", "mlp_softmax", "mlp_mean"])
def test_layer_agrees_with_published(name):
    ours, published = attend_like_published(np.load(GOLDEN / f"attention_{name}.npz"), -1.0)
    np.testing.assert_allclose(ours, published, rtol=1e-9, atol=1e-12)


def test_pairs_have_the_documented_sign():
    ours, published = attend_like_published(np.load(GOLDEN / "attention_mlp_softmax.npz"), 1.0)
    assert np.max(np.abs(ours - published)) > 1e-3
