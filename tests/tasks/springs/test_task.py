import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn.config import OptimizerConfig, RunConfig, Standardization
from eqattn.groups import SE, T
from eqattn.layers import Attention, AttentiveConvolution, Convolution, MLPLocation, MLPValues
from eqattn.lift import Haar, NoLift
from eqattn.models import (
    AccelerationNetwork,
    AccelerationNetworkConfig,
    FieldModelConfig,
    HamiltonianNetwork,
    HamiltonianNetworkConfig,
    LieTransformerConfig,
    PotentialMLP,
    PotentialMLPConfig,
    PotentialNetwork,
    PotentialNetworkConfig,
)
from eqattn.spaces import euclidean
from eqattn.tasks import HasBaseline, Problem, get_preset, get_task
from eqattn.tasks.springs import data as springs
from eqattn.tasks.springs.models import SpringsOptions
from eqattn.train import evaluate, load, train
from eqattn.train.state import init_state, make_step
from tests.tasks.losses import mean_loss

LOCATION = MLPLocation(dim=4, num_layers=2, num_radial=0)
VALUES = MLPValues(dim=4, num_layers=2, num_radial=0)
NETWORK = LieTransformerConfig(
    space=euclidean(SE(2)),
    dim=8,
    num_layers=1,
    layer=Attention(num_heads=2, location=LOCATION, normalize="mean"),
    norm="none",
    pool="sum",
    head="token",
)
MODEL = HamiltonianNetworkConfig(potential=NETWORK)
MLP = HamiltonianNetworkConfig(potential=PotentialMLPConfig(dim=8, num_layers=1), center=False)
FIELD = AccelerationNetworkConfig(
    field_model=FieldModelConfig(
        model=LieTransformerConfig(
            space=euclidean(SE(2)),
            lift=Haar(),
            dim=8,
            num_layers=1,
            layer=Attention(location=LOCATION),
            norm="none",
            head="token",
            output="per_point",
        ),
        input_field="vector + 2x scalar",
        output_field="vector",
    )
)

TINY = RunConfig(
    task="springs",
    data="generated",
    targets=("springs",),
    batch_size=4,
    steps=4,
    eval_every=2,
    model=MODEL,
    optimizer=OptimizerConfig(warmup_steps=0),
    options=SpringsOptions(num_train=6, num_validation=3, num_test=5, solver="symplectic"),
)


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EQATTN_DATA", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def task():
    return get_task("springs")


@pytest.fixture(scope="module")
def problem(task):
    return task.prepare(TINY)


@pytest.fixture(scope="module")
def mlp():
    return MLP.build(2, 1, rngs=nnx.Rngs(0))


def first_batch(problem, split="test"):
    return next(iter(problem.evaluation_batches(split)))


def test_it_is_a_problem_of_a_task_with_a_baseline(problem, task):
    assert isinstance(problem, Problem)
    assert isinstance(task, HasBaseline)
    assert (problem.in_features, problem.out_features) == (2, 1)
    assert problem.num_examples == {"train": 6, "validation": 3, "test": 5}


def test_paper_is_the_published_model():
    config = get_preset("springs", "paper")
    model = nnx.eval_shape(lambda: config.model.build(2, 1, rngs=nnx.Rngs(0)))
    assert sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param))) == 841_641
    assert config.options.solver == "rk4"
    assert config.steps * config.batch_size == 200 * config.options.num_train


def test_demo_trains_on_few_trajectories():
    config = get_preset("springs", "demo")
    assert config.options.num_train <= 400
    assert config.options.baseline == "mlp"


@pytest.mark.parametrize("preset", ["dropin", "dropin_convolution"])
def test_presets_of_the_drop_in_take_vectors_to_vectors(preset):
    config = get_preset("springs", preset)
    model = nnx.eval_shape(lambda: config.model.build(4, 2, rngs=nnx.Rngs(0)))
    assert isinstance(model, AccelerationNetwork)
    assert str(model.field_model.input_field) == "1x vector + 2x scalar"
    assert str(model.field_model.output_field) == "1x vector"
    assert config.options.num_train <= 400
    if preset == "dropin":
        other = config.model.replace_network(layer=AttentiveConvolution())
        nnx.eval_shape(lambda: other.build(4, 2, rngs=nnx.Rngs(0)))


@pytest.mark.parametrize(
    "layer",
    [
        Attention(location=LOCATION),
        pytest.param(
            AttentiveConvolution(location=LOCATION, values=VALUES), marks=pytest.mark.slow
        ),
        pytest.param(Convolution(values=VALUES), marks=pytest.mark.slow),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_each_layer_learns_accelerations(task, layer):
    """The loss of one batch falls, and every parameter of the network moves."""
    model = FIELD.replace_network(layer=layer, space=euclidean(T(2)), lift=NoLift())
    optimizer = OptimizerConfig(learning_rate=2e-3, warmup_steps=0, weight_decay=0.0)
    config = dataclasses.replace(
        TINY,
        model=model,
        optimizer=optimizer,
        options=dataclasses.replace(TINY.options, solver="rk4"),
    )
    problem = task.prepare(config)
    assert (problem.in_features, problem.out_features) == (4, 2)
    graphdef, params = nnx.split(model.build(4, 2, rngs=nnx.Rngs(0)), nnx.Param)
    state, step = init_state(params, config), make_step(graphdef, problem, config)
    batch, losses = problem.training_batches()[0], []
    first = jax.tree.map(np.asarray, state.params)
    for _ in range(TINY.steps):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    assert losses[-1] < losses[0]
    moved = jax.tree.map(lambda old, new: np.any(old != np.asarray(new)), first, state.params)
    assert all(jax.tree.leaves(moved)), moved


@pytest.mark.slow
def test_accelerations_are_rolled_out_and_scored_like_a_potential(task):
    config = dataclasses.replace(
        TINY,
        model=FIELD,
        options=SpringsOptions(num_train=6, num_validation=3, num_test=5, solver="rk4"),
    )
    problem = task.prepare(config)
    model = FIELD.build(problem.in_features, problem.out_features, rngs=nnx.Rngs(0))
    batch = first_batch(problem)
    predictions = jax.jit(lambda batch: problem.predict(model, batch, 2))(batch)
    assert predictions["start"].shape == (4, 100, 6, 4)
    scores = problem.score("test", {n: np.asarray(a) for n, a in predictions.items()})
    assert [score.metric for score in scores] == [
        *("mse5", "mse100", "energy_drift", "momentum_drift")
    ]
    assert scores[-1].value > 1e-3  # of an untrained network: nothing is conserved
    other = task.baseline(config)
    assert isinstance(other.model.network, PotentialMLPConfig)
    assert other.options.solver == "rk4"


def test_substeps_are_taken_in_training_and_in_evaluation(task, problem, mlp):
    options = dataclasses.replace(TINY.options, num_substeps=2)
    finer = task.prepare(dataclasses.replace(TINY, options=options))
    train, test = problem.training_batches()[0], first_batch(problem)
    losses = [mean_loss(p, mlp, train, jax.random.key(0)) for p in (problem, finer)]
    ends = [p.predict(mlp, test, 1)["start"][:, -1] for p in (problem, finer)]
    for one, two in (losses, ends):
        gap = float(jnp.max(jnp.abs(one - two)) / jnp.max(jnp.abs(one)))
        assert 0 < gap < 1e-2


def test_the_loss_is_the_mean_over_all_times_and_starts_are_exact(problem, mlp):
    batch = problem.training_batches()[0]
    chunk, features = batch["chunk"], jnp.asarray(batch["features"])
    times = springs.TIMES[:5].astype(np.float32)
    states = mlp.roll_out(
        *(jnp.asarray(a) for a in (chunk[:, 0, :, :2], chunk[:, 0, :, 2:])),
        features,
        times,
        solver="symplectic",
    )
    states = np.asarray(states)
    np.testing.assert_array_equal(states[:, 0], chunk[:, 0])
    loss = mean_loss(problem, mlp, batch, jax.random.key(0))
    assert float(loss) == pytest.approx(float(np.mean((states - chunk) ** 2)), rel=1e-5)


def test_predictions_are_of_both_lengths(problem, mlp):
    batch = first_batch(problem)
    predictions = problem.predict(mlp, batch, 1)
    assert predictions["chunk"].shape == (4, 5, 6, 4)
    assert predictions["start"].shape == (4, 100, 6, 4)
    np.testing.assert_allclose(
        predictions["loss"], np.mean((predictions["chunk"] - batch["chunk"]) ** 2, (1, 2, 3)), 1e-5
    )


def predictions_of(batch, change):
    targets = {name: np.asarray(batch[name], np.float64) for name in ("chunk", "start")}
    return {
        **{name: change(target) for name, target in targets.items()},
        **{f"{name}_target": target for name, target in targets.items()},
        "features": batch["features"],
    }


def test_scores_of_the_truth_of_no_motion_and_of_a_shifted_one(problem):
    config = dataclasses.replace(TINY, model=MODEL.replace_network(dtype="float64"))
    batch = first_batch(get_task("springs").prepare(config))
    true, still, shifted = (
        {score.metric: score for score in problem.score("test", predictions_of(batch, change))}
        for change in (
            lambda x: x,
            lambda x: np.broadcast_to(x[:, :1], x.shape),
            lambda x: x + np.arange(x.shape[1])[:, None, None] * 1e-2,
        )
    )
    assert list(true) == ["mse5", "mse100", "energy_drift", "momentum_drift"]
    assert true["mse5"].value == true["mse100"].value == 0.0
    assert true["energy_drift"].value < 1e-9
    assert true["momentum_drift"].value < 1e-9
    for metric in ("mse5", "mse100"):
        assert still[metric].value == pytest.approx(true[metric].baseline)
        assert still[metric].value > 1e-3
    assert still["energy_drift"].value == still["momentum_drift"].value == 0.0
    assert shifted["mse5"].value == pytest.approx(np.mean((np.arange(5) * 1e-2) ** 2))
    assert shifted["momentum_drift"].value == pytest.approx(6 * 0.99 * np.sqrt(2))
    assert shifted["energy_drift"].value > 1e-2


def test_the_baseline_is_an_mlp_on_the_same_data(task):
    other = task.baseline(TINY)
    assert isinstance(other.model.network, PotentialMLPConfig)
    assert other.options == TINY.options
    model = other.model.build(2, 1, rngs=nnx.Rngs(0))
    assert isinstance(model, HamiltonianNetwork)
    assert isinstance(model.potential_model, PotentialMLP)
    assert not model.center
    assert task.baseline(other) is None
    without = dataclasses.replace(TINY.options, baseline="none")
    assert task.baseline(dataclasses.replace(TINY, options=without)) is None


@pytest.mark.slow
def test_a_run_with_its_baseline_from_end_to_end(tmp_path, monkeypatch):
    from eqattn.train import baseline

    monkeypatch.setattr(
        baseline,
        "fit_to_seconds",
        lambda config, seconds, number: dataclasses.replace(config, steps=3, eval_every=3),
    )
    result = train(TINY, tmp_path / "run")
    assert [score.metric for score in result.scores][:2] == ["mse5", "mse100"]
    assert set(result.baselines) == {"zero_motion", "hamiltonian_mlp"}
    assert result.scores[0].baseline == result.baselines["hamiltonian_mlp"]
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    tested = [json.loads(line) for line in lines[-2:]]
    assert [line["split"] for line in tested] == ["test", "test_baseline"]
    assert tested[0]["metrics"]["springs"]["mse5"] == result.scores[0].value
    assert tested[1]["metrics"]["springs"]["mse5"] == result.scores[0].baseline
    again = evaluate(tmp_path / "run" / "baseline")
    assert [score.value for score in again.scores] == [s.baseline for s in result.scores]
    model, _ = load(tmp_path / "run" / "baseline")
    assert isinstance(model, HamiltonianNetwork)
    assert isinstance(model.potential_model, PotentialMLP)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "embedded"}, "data must be 'generated' for springs, got 'embedded'"),
        ({"targets": ("gap",)}, r"targets must be \('springs',\) for springs, got \('gap',\)"),
        ({"options": SpringsOptions(num_test=0)}, r"num_test must be at least 1, got 0"),
        (
            {"options": dataclasses.replace(TINY.options, num_substeps=0)},
            "num_substeps must be at least 1, got 0",
        ),
        (
            {"options": dataclasses.replace(TINY.options, solver="adaptive", num_substeps=2)},
            "num_substeps must be 1 for the solver 'adaptive', got 2",
        ),
        (
            {"model": FIELD},
            "solver must be 'rk4' or 'adaptive' for an AccelerationNetworkConfig, .*; "
            "got 'symplectic'",
        ),
    ],
)
def test_what_a_run_cannot_have(task, changes, message):
    with pytest.raises(ValueError, match=message):
        task.prepare(dataclasses.replace(TINY, **changes))


def test_constants_of_another_run_are_refused(task):
    with pytest.raises(ValueError, match="standardization must be"):
        task.prepare(TINY, [Standardization("springs", "1", 1.0, 2.0)])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            NETWORK,
            "model must be of HamiltonianNetworkConfig or AccelerationNetworkConfig for springs, "
            "got LieTransformerConfig",
        ),
        (
            MODEL.replace_network(space=euclidean(SE(3))),
            r"space must be Euclidean of 2 dimensions for springs, .*, got 'euclidean\(SE\(3\)\)'",
        ),
        (
            MODEL.replace_network(output="per_point"),
            "output must be 'invariant' for springs, got 'per_point'",
        ),
        (
            FIELD.replace_network(output="invariant"),
            "output must be 'per_point' for springs, got 'invariant'",
        ),
        (
            FIELD.replace_network(space=euclidean(T(3)), lift=NoLift()),
            r"space must be Euclidean of 2 dimensions for springs, .*, got 'euclidean\(T\(3\)\)'",
        ),
    ],
)
def test_what_a_model_cannot_be(task, model, message):
    with pytest.raises(ValueError, match=message):
        task.prepare(dataclasses.replace(TINY, model=model))


@pytest.mark.parametrize(
    ("changes", "sizes", "message"),
    [
        ({}, (4, 1), "output_field 1x vector has 2 channels .*, the model has 1"),
        ({}, (5, 2), r"input_field 1x vector \+ 2x scalar has 4 channels .*, the model has 5"),
        ({"pool": "sum"}, (4, 2), "pool is not used inside a field model, got 'sum'"),
        (
            {"lift": NoLift()},
            (4, 2),
            "NoLift needs a field that the stabilizer .* does not change, got vector",
        ),
    ],
)
def test_what_accelerations_cannot_be(changes, sizes, message):
    def build():
        return FIELD.replace_network(**changes).build(*sizes, rngs=nnx.Rngs(0))

    with pytest.raises(ValueError, match=message):
        nnx.eval_shape(build)


def test_a_model_that_does_not_fit_the_particles_is_refused_before_the_run(task, tmp_path):
    for model, message in (
        (
            HamiltonianNetworkConfig(potential=PotentialMLPConfig(num_points=5), center=False),
            r"points must end in \(5, 2\), got shape",
        ),
        (FIELD.replace_network(lift=NoLift()), "NoLift needs a field that"),
    ):
        springs_config = dataclasses.replace(TINY.options, solver="rk4")
        with pytest.raises(ValueError, match=message):
            train(dataclasses.replace(TINY, model=model, options=springs_config), tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_another_model_has_no_roll_out(problem):
    message = "model must be a HamiltonianNetwork or an AccelerationNetwork, got Linear"
    with pytest.raises(TypeError, match=message):
        problem.predict(nnx.Linear(2, 1, rngs=nnx.Rngs(0)), first_batch(problem), 1)


def test_molecules_refuse_what_is_for_springs():
    config = RunConfig(options=SpringsOptions(num_train=3))
    with pytest.raises(
        ValueError, match="options must be MoleculesOptions for molecules, got Springs"
    ):
        get_task("molecules").prepare(config)
    kinds = "LiftedModelConfig or FieldNetworkConfig or AtomSumConfig"
    message = f"model must be of {kinds} for molecules, got HamiltonianNetworkConfig"
    with pytest.raises(ValueError, match=message):
        get_task("molecules").prepare(RunConfig(model=MODEL))


def test_figures_show_paths_and_drifts(problem):
    """Drifts of the true trajectories are none, and their paths lie on themselves."""
    model = MODEL.build(2, 1, rngs=nnx.Rngs(0))
    batches = problem.evaluation_batches("test")
    parts = [problem.predict(model, batch, 1) for batch in batches]
    predictions = {n: np.concatenate([p[n] for p in parts])[:5] for n in parts[0]}
    figures = problem.figures("test", predictions)
    assert {name: len(panels) for name, panels in figures.items()} == {"roll_outs": 3, "drift": 3}
    truth, path = figures["roll_outs"][1].series
    assert len(truth.x) == len(path.x) == 6 * 101  # particles, interrupted between them
    np.testing.assert_array_equal(truth.x[:100], predictions["start_target"][1, :, 0, 0])
    np.testing.assert_array_equal(path.y[101:201], predictions["start"][1, :, 1, 1])
    assert np.isnan(path.x[100])
    error, energy, momentum = (panel.series[0].y for panel in figures["drift"])
    assert np.max(energy) > 1e-3  # an untrained potential
    np.testing.assert_allclose(momentum, 0.0, atol=1e-5)
    assert np.all(error >= 0)
    true = problem.figures("test", {**predictions, "start": predictions["start_target"]})
    for panel in true["drift"]:
        np.testing.assert_allclose(panel.series[0].y, 0.0, atol=1e-5)


def test_a_sum_over_particles_is_a_potential(task):
    """Of a network with an output at each point; forces come from the whole sum."""
    atoms = dataclasses.replace(NETWORK, output="per_point")
    model = HamiltonianNetworkConfig(potential=PotentialNetworkConfig(atoms=atoms))
    problem = task.prepare(dataclasses.replace(TINY, model=model))
    built = model.build(problem.in_features, problem.out_features, rngs=nnx.Rngs(0))
    assert isinstance(built.potential_model, PotentialNetwork)
    batch = next(iter(problem.training_batches()))
    loss = jax.jit(lambda batch: mean_loss(problem, built, batch, jax.random.key(0)))(batch)
    assert 0 < float(loss) < np.inf
    other = dataclasses.replace(TINY, model=HamiltonianNetworkConfig(potential=atoms))
    with pytest.raises(ValueError, match="output must be 'invariant' for springs, got 'per_point'"):
        task.prepare(other)
