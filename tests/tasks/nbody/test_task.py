"""The task "nbody": its model and baseline, training, prediction and what is refused."""

import csv
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.spatial.transform import Rotation

from eqattn.cli import main
from eqattn.groups import SE
from eqattn.models import FieldNetworkConfig, LieTransformerConfig
from eqattn.spaces import euclidean
from eqattn.tasks import PredictingTask, Problem, Task, get_preset, get_task
from eqattn.tasks.nbody import data
from eqattn.tasks.nbody.egnn import EGNNConfig
from eqattn.tasks.nbody.inputs import predict, read_systems
from eqattn.tasks.nbody.task import BASELINE_OPTIMIZER, NBodyOptions
from eqattn.train import train
from tests.tolerances import NEGATIVE_CONTROL

DEMO = get_preset("nbody", "demo")
SMALL = dataclasses.replace(
    DEMO,
    batch_size=8,
    steps=4,
    eval_every=2,
    model=DEMO.model.replace_network(hidden_field="8x scalar + 8x vector", num_layers=1),
    options=NBodyOptions(num_train=32, num_validation=8, num_test=8, baseline="none"),
)


def test_it_is_a_task():
    task = get_task("nbody")
    assert isinstance(task, Task)
    assert isinstance(task, PredictingTask)
    problem = task.prepare(SMALL)
    assert isinstance(problem, Problem)
    assert problem.num_examples == {"train": 32, "validation": 8, "test": 8}
    assert (problem.in_features, problem.out_features) == (4, 3)


@pytest.mark.parametrize(
    "model", [SMALL.model, EGNNConfig(dim=8, num_layers=2)], ids=["ours", "egnn"]
)
def test_models_turn_with_the_particles(model):
    """Exact to rotations and reflections, in float64; the negative control leaves velocities."""
    config = dataclasses.replace(SMALL, model=model.replace_network(dtype="float64"))
    problem = get_task("nbody").prepare(config)
    batch = problem.training_batches()[0]
    built = config.model.build(4, 3, rngs=nnx.Rngs(0))
    run = jax.jit(lambda batch: predict(built, batch))
    turn = -Rotation.random(random_state=0).as_matrix()
    points, velocities = batch["points"] @ turn.T, batch["features"][..., :3] @ turn.T
    features = np.concatenate([velocities, batch["features"][..., 3:]], axis=-1)
    expected = run(batch) @ turn.T
    np.testing.assert_allclose(
        run({**batch, "points": points, "features": features}), expected, atol=1e-10
    )
    wrong = run({**batch, "points": points})
    assert np.abs(wrong - expected).max() > NEGATIVE_CONTROL
    assert np.abs(run({**batch, "pair_data": -batch["pair_data"]}) - run(batch)).max() > 1e-4


def test_training_beats_linear_motion(tmp_path):
    """A short run, its scores and its baseline; the demo itself is measured in the benchmarks."""
    config = dataclasses.replace(
        SMALL,
        batch_size=50,
        steps=150,
        eval_every=75,
        options=NBodyOptions(num_train=500, num_validation=100, num_test=100, baseline="none"),
    )
    result = train(config, tmp_path / "run")
    (score,) = result.scores
    assert (score.metric, score.unit) == ("mse", "1")
    assert score.value < 0.7 * score.baseline


def test_the_baseline_is_a_graph_network():
    task = get_task("nbody")
    config = dataclasses.replace(SMALL, options=NBodyOptions())
    baseline = task.baseline(config)
    assert isinstance(baseline.model, EGNNConfig)
    assert baseline.optimizer == BASELINE_OPTIMIZER
    assert task.baseline(SMALL) is None
    assert task.baseline(baseline) is None


def test_masked_particles_of_the_baseline():
    """Padding changes nothing for the graph network either."""
    model = EGNNConfig(dim=8, num_layers=2).build(4, 3, rngs=nnx.Rngs(0))
    rng = np.random.default_rng(0)
    points, features = (jnp.asarray(rng.normal(size=(2, 5, n)), jnp.float32) for n in (3, 4))
    pairs = jnp.asarray(rng.normal(size=(2, 5, 5, 1)), jnp.float32)
    mask = jnp.arange(5) < jnp.array([[3], [3]])
    run = jax.jit(lambda *inputs, pairs: model(*inputs, pair_data=pairs))
    out = run(points, features, mask, pairs=pairs)
    few = run(points[:, :3], features[:, :3], pairs=pairs[:, :3, :3])
    np.testing.assert_allclose(out[:, :3], few, atol=1e-6)
    assert np.all(np.asarray(out[:, 3:]) == 0)


def save(path, **changes):
    systems = data.generate(3)
    arrays = {name: getattr(systems, name) for name in ("positions", "velocities", "charges")}
    np.savez(path, **{k: v for k, v in {**arrays, **changes}.items() if v is not None})
    return path


def test_prediction_for_new_systems(tmp_path):
    """Through the command line: one row a particle; systems unlike the training set are named."""
    run, file, out = tmp_path / "run", tmp_path / "new.npz", tmp_path / "out.csv"
    train(SMALL, run)
    far = data.generate(3).positions.copy()
    far[2, 0] += 50.0
    save(file, positions=far, ids=np.array([7, 5, 3]))
    assert main(["predict", str(run), str(file), "--out", str(out)]) == 0
    rows = list(csv.DictReader(out.open()))
    assert len(rows) == 15
    assert [row["id"] for row in rows[::5]] == ["7", "5", "3"]
    assert rows[0].keys() >= {"id", "particle", "x", "y", "z"}
    task, config = get_task("nbody"), __import__("eqattn").load(run)[1]
    outside = task.read_examples(file, config).outside_training()
    assert "distance of two particles" in outside[3]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"positions": np.zeros((3, 5, 2))}, r"'positions' must be \[M, N, 3\]"),
        ({"charges": np.zeros((3, 4))}, r"'charges' must be \[3, 5\]"),
        ({"velocities": None}, "velocities"),
        ({"velocities": np.full((3, 5, 3), np.inf)}, "'velocities' is not finite"),
        ({"masses": np.zeros((3, 5))}, "masses"),
        ({"ids": np.array([1, 1, 2])}, "ids"),
    ],
)
def test_files_that_hold_something_else(tmp_path, changes, match):
    with pytest.raises(ValueError, match=match):
        read_systems(save(tmp_path / "new.npz", **changes))
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_systems(tmp_path / "nothing.npz")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"data": "mine.npz"}, "data must be 'generated' for nbody"),
        ({"targets": ("energy",)}, "targets must be"),
        ({"model": LieTransformerConfig()}, "model must be of FieldNetworkConfig or"),
        ({"model": FieldNetworkConfig(output="invariant")}, "output must be 'per_point'"),
        ({"model": FieldNetworkConfig()}, "input_field must be 'vector \\+ scalar'"),
        (
            {"model": DEMO.model.replace_network(num_pair_data=2)},
            "num_pair_data must be 1 for nbody",
        ),
        ({"model": EGNNConfig(num_pair_data=0)}, "num_pair_data must be 1 for nbody"),
        ({"model": DEMO.model.replace_network(space=euclidean(SE(2)))}, "of 3 dimensions"),
    ],
)
def test_configurations_that_are_refused(changes, match):
    with pytest.raises(ValueError, match=match):
        get_task("nbody").prepare(dataclasses.replace(SMALL, **changes))


def test_figures():
    problem = get_task("nbody").prepare(SMALL)
    predictions = {
        "displacement": np.ones((4, 5, 3)), "target": np.zeros((4, 5, 3)),
    }  # fmt: skip
    (panels,) = problem.figures("test", predictions).values()
    assert [panel.log_y for panel in panels] == [False, True]
    assert panels[0].note == "mean squared error 1.0000"
