"""Imported models against vectors of the published LieTransformer, recorded in float64."""

import itertools
import json
import pathlib
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn import groups, spaces
from eqattn.interop.lietransformer import from_state_dict
from eqattn.interop.published_config import DEFAULTS, GROUPS, parse_config
from eqattn.layers import DotProductContent, LinearConcatContent, RelativePositionContent
from eqattn.lift import Lifted
from eqattn.models import HamiltonianNetwork
from eqattn.tasks.springs import data as springs
from tests.grids import pairwise, some, some_rows

GOLDEN = pathlib.Path(__file__).parent.parent / "golden"
LAYERS = (
    "attention_content_only",
    "attention_mlp_softmax",
    "attention_mlp_mean",
    "attention_relative_position",
    "attention_linear_concat_linear",
)
MODELS = ("model_t3", "model_so2", "model_se3")
RELATIVE = {np.float64: 1e-9, np.float32: 1e-4}


CONTENTS = {
    "dot_product": DotProductContent,
    "linear_concat": LinearConcatContent,
    "linear_concat_linear": LinearConcatContent,
    "relative_position": RelativePositionContent,
    "none": type(None),
}


class Record:
    """A file of vectors: its configuration, parameters, inputs and outputs in some type."""

    def __init__(self, name, dtype=np.float64):
        self.file = np.load(GOLDEN / f"{name}.npz")
        self.config = json.loads(str(self.file["config"]))
        self.dtype = dtype

    def part(self, prefix):
        names = [n for n in self.file.files if n.startswith(prefix)]
        return {n.removeprefix(prefix): self.file[n].astype(self.dtype) for n in names}

    def __getitem__(self, name):
        array = self.file[name]
        return jnp.asarray(array.astype(self.dtype) if array.dtype.kind == "f" else array)

    def model(self, prefix="param/"):
        return from_state_dict(self.part(prefix), self.config)


def close(actual, expected, dtype):
    """Relative to the largest of the array."""
    expected = np.asarray(expected, np.float64)
    assert np.asarray(actual).dtype == dtype
    scale = np.max(np.abs(expected))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=RELATIVE[dtype] * scale)


def grads_close(grads, expected_model, dtype):
    """Gradients lie where the published ones would be loaded: the import permutes and negates.

    Relative to the largest gradient of the model: some are sums of many that cancel.
    """
    expected = nnx.state(expected_model, nnx.Param)
    pairs = list(zip(jax.tree.leaves(grads), jax.tree.leaves(expected), strict=True))
    pairs = jax.tree.map(np.asarray, pairs)
    scale = max(np.max(np.abs(e)) for _, e in pairs)
    for ours, theirs in pairs:
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=RELATIVE[dtype] * scale)


def name_of(value):
    return value if isinstance(value, str) else value.__name__


@pytest.mark.parametrize(
    ("name", "dtype"),
    some_rows(
        list(itertools.product(LAYERS, RELATIVE)),
        # tests/attention/test_golden.py computes the other two.
        *("attention_mlp_softmax-float32", "attention_relative_position-float64"),
        "attention_linear_concat_linear-float64",
        ids=name_of,
    ),
)
def test_layers(name, dtype):
    record = Record(name, dtype)
    mask = record["input/mask"]
    points, features = record["input/points"], record["input/features"]
    model = record.model()
    out = np.asarray(jax.jit(model)(points, features, mask))
    valid = np.asarray(mask)
    close(out[valid], np.load(GOLDEN / f"{name}.npz")["output/features"][valid], dtype)
    assert np.all(out[~valid] == 0)


def lifted_from(record):
    """The recorded elements of a random lift."""
    group = GROUPS[record.config["group"]]
    mask = record["input/mask"]
    num_samples = record.config["liftsamples"]

    def tokens(x):
        return x.reshape(*mask.shape, num_samples, x.shape[-1])

    orbits = np.zeros((*mask.shape, 0), record.dtype)
    if "input/lifted_orbits" in record.file.files:
        orbits = tokens(np.asarray(record["input/lifted_orbits"]))[:, :, 0]
    elements = jax.jit(group.exp)(record["input/lifted_log_elements"])
    return Lifted(
        elements=jnp.asarray(tokens(np.asarray(elements))),
        features=jnp.asarray(tokens(np.asarray(record["input/lifted_features"]))),
        orbit_invariants=jnp.asarray(orbits),
        mask=mask,
        log_weights=jnp.asarray(np.zeros((*mask.shape, num_samples), record.dtype)),
    )


@pytest.mark.parametrize(
    ("name", "dtype"),
    some_rows(list(itertools.product(MODELS, RELATIVE)), "model_se3-float64", ids=name_of),
)
def test_models_on_recorded_lifts(name, dtype):
    """Predictions, and the gradients of the sum of their squares."""
    record = Record(name, dtype)
    graphdef, params = nnx.split(record.model(), nnx.Param)
    lifted = lifted_from(record)

    def loss(params):
        prediction = nnx.merge(graphdef, params).apply_lifted(lifted)
        return jnp.sum(prediction**2), prediction

    grads, prediction = jax.jit(jax.grad(loss, has_aux=True))(params)
    close(prediction, record.file["output/prediction"], dtype)
    grads_close(grads, record.model("output/grad/"), dtype)


@pytest.mark.parametrize(
    ("name", "dtype"),
    some_rows(
        list(itertools.product(MODELS[:2], RELATIVE)),
        "model_so2-float32",
        ids=name_of,
    ),
)
def test_models_on_points(name, dtype):
    """Where nothing is drawn, from points; with gradients with respect to them."""
    record = Record(name, dtype)
    model, mask = record.model(), record["input/mask"]
    points, features = record["input/points"], record["input/features"]

    def loss(points):
        prediction = model(points, features, mask)
        return jnp.sum(prediction**2), prediction

    slope, prediction = jax.jit(jax.grad(loss, has_aux=True))(points)
    close(prediction, record.file["output/prediction"], dtype)
    close(slope, record.file["output/grad_points"], dtype)


def test_a_random_lift_takes_a_key():
    record = Record("model_se3")
    model = record.model()
    inputs = [record[f"input/{n}"] for n in ("points", "features", "mask")]
    run = jax.jit(lambda key: model(*inputs, key))
    first, second = (np.asarray(run(jax.random.key(seed))) for seed in (0, 1))
    assert first.shape == record.file["output/prediction"].shape
    assert np.max(np.abs(first - second)) > 1e-6


def flat(x):
    """States as theirs: all positions, then all momenta."""
    positions, momenta = jnp.split(x, 2, axis=-1)
    lead = x.shape[:-2]
    return jnp.concatenate([positions.reshape(*lead, -1), momenta.reshape(*lead, -1)], -1)


def systems_of(record):
    """Positions and momenta, and masses with spring constants."""
    arrays = ("positions", "momenta", "masses", "spring_constants")
    q, p, masses, constants = (record[f"input/{name}"] for name in arrays)
    return q, p, jnp.stack([masses, constants], -1)


@pytest.mark.parametrize("dtype", some(RELATIVE, np.float64, ids=name_of))
def test_energies_and_forces(dtype):
    """The potential and the flow."""
    record = Record("dynamics_t2", dtype)
    q, p, system = systems_of(record)
    model = record.model()
    run = jax.jit(
        lambda q, p, system: (model.potential(q, system), model.vector_field(q, p, system))
    )
    potential, (velocity, force) = run(q, p, system)
    close(potential, record.file["output/potential"], dtype)
    close(
        flat(jnp.concatenate([velocity, force], -1)),
        record.file["output/time_derivative"],
        dtype,
    )


@pytest.mark.slow
@pytest.mark.parametrize("dtype", RELATIVE, ids=name_of)
def test_dynamics(dtype):
    """A roll-out of the 3/8 rule, and the loss with its gradients."""
    record = Record("dynamics_t2", dtype)
    q, p, system = systems_of(record)
    times = record["input/times"]
    graphdef, params = nnx.split(record.model(), nnx.Param)
    target = record["output/true_rollout"]

    def loss(params):
        rollout = flat(nnx.merge(graphdef, params).roll_out(q, p, system, times))
        return jnp.mean((rollout - target) ** 2), rollout

    (value, rollout), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    close(rollout, record.file["output/rollout"], dtype)
    close(value, record.file["output/loss"], dtype)
    # The last bias shifts the energy, which moves nothing: no gradient of it is recorded.
    recorded = {"net.4.8.bias": np.zeros(1, dtype), **record.part("output/grad/")}
    grads_close(grads, from_state_dict(recorded, record.config), dtype)


class TrueSprings(nnx.Module):
    """The potential that the recorded systems moved under."""

    in_features, out_features, is_stochastic = 2, 1, False

    def __call__(self, points, features, mask=None, key=None, **options):
        differences = points[..., :, None, :] - points[..., None, :, :]
        constants = features[..., 1]
        pairs = constants[..., :, None] * constants[..., None, :]
        return 0.5 * jnp.sum(pairs * jnp.sum(differences**2, -1), (-2, -1))[..., None]


def test_true_dynamics():
    """The energy of the generator, and the recorded roll-out under it, by the 3/8 rule."""
    record = Record("dynamics_t2")
    names = ("positions", "momenta", "masses", "spring_constants")
    q, p, masses, constants = (np.asarray(record[f"input/{n}"]) for n in names)
    expected = record.file["output/true_energy"]
    np.testing.assert_allclose(springs.energy(q, p, masses, constants), expected, rtol=1e-9)
    system = jnp.stack([masses, constants], -1)
    model = HamiltonianNetwork(TrueSprings())
    q, p = jnp.asarray(q), jnp.asarray(p)
    np.testing.assert_allclose(jax.jit(model.hamiltonian)(q, p, system), expected, rtol=1e-9)
    rollout = np.asarray(model.roll_out(q, p, system, record["input/times"]))
    positions, momenta = (x.reshape(3, 5, -1) for x in np.split(rollout, 2, axis=-1))
    close(np.concatenate([positions, momenta], -1), record["output/true_rollout"], np.float64)


# What no vector holds is tested against the layer itself: names, shapes, options.

KERNELS = {
    "mlp": ("feature_kernel.fc_q", "feature_kernel.fc_k", "location_kernel"),
    "dot_product_only": ("feature_kernel.fc_q", "feature_kernel.fc_k", None),
    "location_only": (None, None, "location_kernel"),
    "relative_position": ("W_q", "W_k", None),
}


def random_state_dict(config, seed=0):
    """Arrays of the published names and shapes for a configuration, written out once more here."""
    config = {
        "kernel_type": "mlp", "kernel_dim": 16, "architecture": "model_1",
        "block_norm": "layer_pre", "feature_embed_dim": None, **config,
    }  # fmt: skip
    rng = np.random.default_rng(seed)
    is_layer = config["kind"] == "EquivairantMultiheadAttention"
    dim = config["c"] if is_layer else config["dim_hidden"]
    heads = config["n_heads"] if is_layer else config["num_heads"]
    group = groups.T(3) if is_layer else GROUPS[config["group"]]
    pair = group.algebra_dim + 2 * spaces.euclidean(group).num_orbit_invariants
    hidden, out = config["kernel_dim"], {}

    def put(name, *shape):
        out[name] = rng.standard_normal(shape) / np.sqrt(max(shape[-1], 1))

    def linear(name, size, width):
        put(f"{name}.weight", width, size)
        put(f"{name}.bias", width)

    def mlp(name, size):
        for index, (a, b) in enumerate([(size, hidden), (hidden, hidden), (hidden, 1)], start=1):
            put(f"{name}.LinNormAct_{index}.linear.module.weight", heads, a, b)
            put(f"{name}.LinNormAct_{index}.linear.module.bias", heads, b)

    def attention(prefix):
        linear(f"{prefix}input_linear", dim, dim)
        linear(f"{prefix}output_linear", dim, dim)
        prefix += "kernel."
        if config["kernel_type"] in KERNELS:
            query, key, location = KERNELS[config["kernel_type"]]
            for name in (query, key):
                if name:
                    linear(prefix + name, dim, dim)
            if location:
                mlp(prefix + location, pair)
            if config["kernel_type"] == "relative_position":
                linear(f"{prefix}W_l", pair, dim)
                put(f"{prefix}u", heads, 1, dim // heads)
                put(f"{prefix}v", heads, 1, dim // heads)
            return
        _, _, content, location = config["kernel_type"]
        embed = config["feature_embed_dim"] or dim // (4 * heads)
        width, features = {
            "1": (dim, 1), "2": (embed // 2 * heads, embed // 2 * 2), "3": (embed * heads, embed),
        }[content]  # fmt: skip
        linear(f"{prefix}feature_featurisation.fc_k", dim, width)
        linear(f"{prefix}feature_featurisation.fc_q", dim, width)
        if content == "3":
            linear(f"{prefix}feature_featurisation.fc_o", 2 * embed, embed)
        if location == "1":
            mlp(f"{prefix}location_featurisation.1", pair)
        mlp(f"{prefix}location_feature_combination.1", features + (1 if location == "1" else pair))

    if is_layer:
        attention("")
        return out
    linear("net.0.module", config["dim_input"], dim)
    last = config["num_layers"] + 2
    for layer in range(1, last - 1):
        attention(f"net.{layer}.ema.")
        for index in (1, 2):
            linear(f"net.{layer}.mlp.LinNormAct_{index}.linear.module", dim, dim)
        if config["block_norm"] != "none":
            for name in ("ln_ema", "ln_mlp"):
                put(f"net.{layer}.{name}.weight", dim)
                put(f"net.{layer}.{name}.bias", dim)
    if config["architecture"] == "model_1":
        for index, width in ((2, dim), (5, dim), (8, 2)):
            linear(f"net.{last}.{index}", dim, width)
    else:
        linear(f"net.{last - 1}.linear.module", dim, 2)
    return out


LAYER = {"kind": "EquivairantMultiheadAttention", "c": 32, "n_heads": 2}
MODEL = {
    "kind": "EquivariantTransformer", "group": "SE2", "dim_input": 3, "dim_hidden": 16,
    "num_layers": 1, "num_heads": 2,
}  # fmt: skip
FEW_CODES = ("1211", "2222", "1232")
CODES = [f"{n}2{f}{loc}" for n in "12" for f in "123" for loc in "12"]


def silu(x):
    return x / (1 + np.exp(-x))


def published_layer(state, code, features, points, heads):
    """A layer of a four-digit kernel, written out: its pairs are x_i - x_j."""
    normalization, _, content, location = code
    get = lambda name: (state[f"{name}.weight"], state[f"{name}.bias"])

    def linear(name, x):
        weight, bias = get(name)
        return x @ weight.T + bias

    def mlp(name, x):
        for index in (1, 2, 3):
            weight, bias = get(f"{name}.LinNormAct_{index}.linear.module")
            x = silu(np.einsum("ijhf,hfg->ijhg", x, weight) + bias)
        return x

    num = len(points)
    split = lambda x: x.reshape(num, heads, -1)
    prefix = "kernel.feature_featurisation."
    k, q = split(linear(f"{prefix}fc_k", features)), split(linear(f"{prefix}fc_q", features))
    if content == "1":
        contents = np.einsum("ihc,jhc->ijh", q, k)[..., None] / np.sqrt(q.shape[-1])
    else:
        pairs = np.broadcast_arrays(k[:, None], q[None])
        contents = np.concatenate(pairs, -1)
        contents = linear(f"{prefix}fc_o", contents) if content == "3" else contents
    where = np.repeat((points[:, None] - points[None])[:, :, None], heads, axis=2)
    if location == "1":
        where = mlp("kernel.location_featurisation.1", where)
    both = np.concatenate([contents, where], -1)
    logits = mlp("kernel.location_feature_combination.1", both)[..., 0]
    weights = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    weights = weights if normalization == "1" else logits / num
    values = split(linear("input_linear", features))
    out = np.einsum("ijh,jhc->ihc", weights, values).reshape(num, -1)
    return linear("output_linear", out)


@pytest.mark.parametrize(("first", "content", "location"), pairwise("12", "123", "12"))
def test_codes(first, content, location):
    code = f"{first}2{content}{location}"
    # The digit wins, also over the other normalization, as in the published code.
    config = {**LAYER, "kernel_type": code, "attention_fn": {"1": "norm_exp", "2": None}[first]}
    state = random_state_dict(config)
    rng = np.random.default_rng(1)
    points, features = rng.standard_normal((5, 3)), rng.standard_normal((5, 32))
    model = from_state_dict(state, config)
    out = np.asarray(jax.jit(model)(points[None], features[None]))[0]
    expected = published_layer(state, code, features, points, 2)
    np.testing.assert_allclose(out, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(
    "change",
    [
        *some([{"group": name} for name in GROUPS], {"group": "T2"}, {"group": "RxSO2"}),
        *({"block_norm": name} for name in ("none", "layer_pre", "layer_post")),
        *some([{"kernel_act": n} for n in ("swish", "relu", "softplus")], {"kernel_act": "relu"}),
        *({"attention_fn": name} for name in ("softmax", "dot_product", "norm_exp")),
        *({"kernel_type": name} for name in KERNELS),
        *some([{"kernel_type": name} for name in CODES], *({"kernel_type": c} for c in FEW_CODES)),
        {"architecture": "lieconv"},
        {"global_pool_mean": False},
        {"kernel_dim": 5},
        {"liftsamples": 3},
        {"kind": "HamiltonianLieTransformer"},
    ],
    ids=str,
)
def test_configurations_take_every_name(change):
    """Each published array is used, and none is missing; the model has the options asked for."""
    config = {**MODEL, **change}
    if config["kind"] != MODEL["kind"]:
        with pytest.raises(ValueError, match="must have 1 output, got 2"):
            from_state_dict(random_state_dict(config), config)
        return
    model = from_state_dict(random_state_dict(config), config)
    published = parse_config(config)
    layer = model.blocks[0].attention
    assert layer.normalize == published.normalize
    assert type(layer.options.content) is CONTENTS[published.content]
    assert layer.activation == config.get("kernel_act", "swish")
    assert model.config.pool == ("mean" if config.get("global_pool_mean", True) else "max")
    assert model.blocks[0].norm == published.norm
    assert model.lift.num_samples == config.get("liftsamples", 1)
    points, features = np.ones((2, 4, model.space.point_dim)), np.ones((2, 4, 3))
    assert jax.eval_shape(model, points, features).shape == (2, 2)


def test_scalings_and_rotations_change_places():
    """Pairs are (log r, angle) there and (angle, log r) here, both negated."""
    config = {**MODEL, "group": "RxSO2", "kernel_type": "location_only"}
    state = random_state_dict(config)
    model = from_state_dict(state, config)
    name = "net.1.ema.kernel.location_kernel.LinNormAct_1.linear.module.weight"
    ours = model.blocks[0].attention.location.weights[0][...]
    np.testing.assert_array_equal(ours, -state[name][:, ::-1])


def bad(change=(), drop=(), state_change=None):
    config = {**MODEL, **dict(change)}
    for name in drop:
        del config[name]
    state = random_state_dict(MODEL)
    return (lambda: from_state_dict({**state, **(state_change or {})}, config)), state


NAME = "net.1.mlp.LinNormAct_1.linear.module.bias"
REFUSED = {
    "batch norm": ({"block_norm": "batch_pre"}, NotImplementedError, "block_norm='batch_pre'"),
    "output norm": ({"output_norm": "layer"}, NotImplementedError, "output_norm='layer'"),
    "samples": ({"mc_samples": 4}, NotImplementedError, "mc_samples=4"),
    "kind": ({"kind": "Transformer"}, ValueError, "kind must be one of .* got 'Transformer'"),
    "group": ({"group": "SE(3)"}, ValueError, r"group must be one of T2, .* got 'SE\(3\)'"),
    "kernel": ({"kernel_type": "1112"}, ValueError, "kernel_type must be one of .* got '1112'"),
    "norm": ({"block_norm": "pre"}, ValueError, "block_norm must be one of .* got 'pre'"),
    "activation": ({"kernel_act": "tanh"}, ValueError, "kernel_act must be one of .* got 'tanh'"),
    "head": ({"architecture": "mlp"}, ValueError, "architecture must be one of .* got 'mlp'"),
    "attention": ({"attention_fn": "max"}, ValueError, "attention_fn must be one of .* got 'max'"),
    "no attention": ({"attention_fn": ""}, ValueError, "attention_fn must be one of .* got ''"),
    "width": (
        {"feature_embed_dim": "4"},
        ValueError,
        "feature_embed_dim must be a whole number, got '4'",
    ),
    "key": ({"heads": 2}, ValueError, "config holds the unknown key 'heads'"),
    "size": ({"num_layers": 0}, ValueError, "num_layers must be at least 1, got 0"),
    "number": ({"num_heads": 2.0}, ValueError, r"num_heads must be a whole number, got 2\.0"),
    "list": ({"kernel_type": ["mlp"]}, ValueError, r"kernel_type must be one of .* got \['mlp'\]"),
    "pool": ({"global_pool_mean": "no"}, ValueError, "global_pool_mean must be True or False"),
    "layers": ({"num_layers": 2}, ValueError, r"must hold 'net.4.8.weight', which is missing"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_configurations(name):
    change, error, match = REFUSED[name]
    config = {**MODEL, **change}
    with pytest.raises(error, match=match):
        from_state_dict(random_state_dict(MODEL), config)


@pytest.mark.parametrize("name", ["block_norm", "architecture", "liftsamples", "global_pool_mean"])
def test_a_layer_has_no_options_of_transformers(name):
    config = {**LAYER, name: DEFAULTS[name]}
    with pytest.raises(ValueError, match=f"config holds the unknown key '{name}' for the kind Equ"):
        from_state_dict(random_state_dict(LAYER), config)


@pytest.mark.usefixtures("no_type_checks")
def test_what_is_no_mapping():
    with pytest.raises(TypeError, match="config must be a Mapping, got None"):
        from_state_dict(random_state_dict(MODEL), None)
    with pytest.raises(TypeError, match="state_dict must be a mapping, got a str"):
        from_state_dict("weights.pt", MODEL)


def test_another_order_of_bytes_is_the_same_weights():
    state = random_state_dict(LAYER)
    swapped = {name: array.astype(array.dtype.newbyteorder()) for name, array in state.items()}
    models = [from_state_dict(s, LAYER) for s in (state, swapped)]
    chex.assert_trees_all_equal(*(nnx.state(model) for model in models))


def test_missing_configuration():
    config = {k: v for k, v in MODEL.items() if k != "num_heads"}
    with pytest.raises(ValueError, match="config must hold 'num_heads' for the kind Equivariant"):
        from_state_dict(random_state_dict(MODEL), config)


def test_bad_state_dicts():
    state = random_state_dict(MODEL)
    cases = [
        ({}, "state_dict must hold arrays, got none"),
        ({k: v for k, v in state.items() if k != NAME}, f"must hold '{NAME}', which is missing"),
        ({**state, "extra.weight": np.ones(3)}, "unknown names: extra.weight"),
        ({**state, NAME: np.ones(3)}, re.escape(f"'{NAME}' must have shape (16,), got (3,)")),
        ({**state, NAME: np.ones(16, np.float32)}, "of one type, got .'float32', 'float64'."),
        ({**state, NAME: np.ones(16, int)}, "floating point arrays of one type"),
        ({**state, NAME: np.full(16, np.nan)}, f"'{NAME}' must be finite, and is not"),
        (
            {**state, "net.3.8.weight": np.ones(())},
            r"must have shape \[outputs, inputs\], got \(\)",
        ),
    ]
    for arrays, match in cases:
        with pytest.raises(ValueError, match=match):
            from_state_dict(arrays, MODEL)


def test_64_bit_weights_need_64_bit_types():
    state = random_state_dict(MODEL)
    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.raises(ValueError, match="float64 arrays, which need jax_enable_x64"):
            from_state_dict(state, MODEL)
        narrow = {name: a.astype(np.float32) for name, a in state.items()}
        model = nnx.eval_shape(lambda: from_state_dict(narrow, MODEL))
        assert model.embedding.kernel.dtype == np.float32
    finally:
        jax.config.update("jax_enable_x64", True)
