"""Springs from a file, rolled out by a model."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn.config import RunConfig, SavedConfig
from eqattn.groups import SE
from eqattn.layers import Attention, MLPLocation
from eqattn.lift import Haar
from eqattn.models import (
    HamiltonianNetwork,
    HamiltonianNetworkConfig,
    LieTransformerConfig,
    PotentialMLPConfig,
)
from eqattn.spaces import euclidean
from eqattn.tasks import NewExamples, PredictingTask, get_task
from eqattn.tasks.core.ranges import training_ranges
from eqattn.tasks.springs import data as springs
from eqattn.tasks.springs.inputs import NewSprings
from eqattn.tasks.springs.models import SpringsOptions
from eqattn.tasks.springs.ranges import spring_quantities
from eqattn.tasks.springs.states import SpringStates
from eqattn.train.evaluation import make_predictor, predict_batches
from tests.grids import some

HAAR = HamiltonianNetworkConfig(
    potential=LieTransformerConfig(
        space=euclidean(SE(2)),
        lift=Haar(),
        dim=8,
        num_layers=1,
        layer=Attention(
            num_heads=2,
            location=MLPLocation(dim=4, num_layers=2, num_radial=0),
            normalize="mean",
        ),
        norm="none",
        pool="sum",
        head="token",
    )
)
MLP = HamiltonianNetworkConfig(potential=PotentialMLPConfig(dim=8), center=False)
CONFIG = SavedConfig(
    task="springs",
    data="generated",
    targets=("springs",),
    batch_size=2,
    model=HAAR.replace_network(dtype="float64"),
    options=SpringsOptions(num_train=1, num_validation=1, num_test=3, solver="rk4"),
)


class TruePotential(nnx.Module):
    """The potential that the data set is made with, for any number of particles."""

    in_features, out_features, is_stochastic = 2, 1, False

    def __call__(self, points, features, mask=None, key=None, **options):
        constants = features[..., 1]
        differences = points[..., :, None, :] - points[..., None, :, :]
        stiffness = constants[..., :, None] * constants[..., None, :]
        return 0.5 * jnp.sum(stiffness * jnp.sum(differences**2, -1), (-2, -1))[..., None]


@pytest.fixture(scope="module")
def systems():
    return springs.generate(3, split="test")


def states_of(systems, times=springs.TIMES[:100], first=0):
    return SpringStates(
        systems.ids,
        systems.positions[:, first],
        systems.momenta[:, first],
        systems.masses,
        systems.spring_constants,
        times,
    )


def table_of(model, new, num_lifts=1):
    graphdef, params = nnx.split(model, nnx.Param)
    predictor = make_predictor(graphdef, new, num_lifts)
    return new.table(predict_batches(predictor, params, new.batches()))


def with_solver(solver, num_substeps=1):
    options = dataclasses.replace(CONFIG.options, solver=solver, num_substeps=num_substeps)
    return dataclasses.replace(CONFIG, options=options)


@pytest.mark.parametrize("solver", some(["rk4", "adaptive"], "rk4"))
def test_the_true_potential_gives_the_true_motion_at_any_times(systems, solver):
    """Times far apart are reached in steps as short as in training."""
    places = np.array([40, 41, 60, 250])
    states = states_of(systems, springs.TIMES[places], first=40)
    table = table_of(HamiltonianNetwork(TruePotential()), NewSprings(states, with_solver(solver)))
    assert list(table) == ["id", "time", "particle", "x", "y", "px", "py"]
    assert {len(column) for column in table.values()} == {3 * 4 * 6}
    np.testing.assert_array_equal(table["id"][:: 4 * 6], [0, 1, 2])
    np.testing.assert_array_equal(table["time"][: 4 * 6 : 6], springs.TIMES[places])
    np.testing.assert_array_equal(table["particle"][:12], [*range(6), *range(6)])
    for name, record, axis in (
        ("x", systems.positions, 0),
        ("y", systems.positions, 1),
        ("px", systems.momenta, 0),
        ("py", systems.momenta, 1),
    ):
        expected = record[:, places][..., axis].ravel()
        np.testing.assert_allclose(table[name], expected, atol=1e-3)
        assert np.std(expected) > 0.1


@pytest.mark.parametrize("num_substeps", [1, 3])
def test_fixed_steps_are_those_of_training_whatever_times_are_asked_for(systems, num_substeps):
    model, config = HamiltonianNetwork(TruePotential()), with_solver("symplectic", num_substeps)
    all_times, few = (
        table_of(model, NewSprings(states_of(systems, springs.TIMES[:100:every]), config))
        for every in (1, 3)
    )
    for name in ("time", "x", "py"):
        expected = all_times[name].reshape(3, 100, 6)[:, ::3]
        np.testing.assert_allclose(few[name].reshape(3, 34, 6), expected, rtol=1e-9, atol=1e-9)


def test_substeps_make_the_motion_of_the_true_potential_more_precise(systems):
    """Of the solver of order 2: three steps in each interval have a ninth of the error."""
    expected = systems.positions[:3, :100, :, 0].ravel()
    states, errors = states_of(systems, springs.TIMES[:100]), []
    for num_substeps in (1, 3):
        new = NewSprings(states, with_solver("symplectic", num_substeps))
        errors.append(np.std(table_of(HamiltonianNetwork(TruePotential()), new)["x"] - expected))
    assert 8 < errors[0] / errors[1] < 10


def test_predictions_are_those_of_the_evaluation(systems, tmp_path, monkeypatch):
    """Also with samples of the stabilizer, which are keyed by the ids."""
    monkeypatch.setenv("EQATTN_DATA", str(tmp_path))
    config = dataclasses.replace(with_solver("symplectic"), model=HAAR)
    task = get_task("springs")
    problem = task.prepare(
        RunConfig(**{f.name: getattr(config, f.name) for f in dataclasses.fields(RunConfig)})
    )
    model = HAAR.build(2, 1, rngs=nnx.Rngs(0))
    order = np.array([2, 0])
    some = states_of(systems[order])
    table = table_of(model, NewSprings(some, config), num_lifts=2)
    predict = jax.jit(lambda batch: problem.predict(model, batch, 2)["start"])
    batches = problem.evaluation_batches("test")
    expected = np.concatenate([predict(batch) for batch in batches])[order]
    for axis, name in enumerate(("x", "y", "px", "py")):
        np.testing.assert_allclose(table[name], expected[..., axis].ravel(), atol=2e-6)


def far_away(states, shift):
    return dataclasses.replace(states, positions=states.positions + shift)


def test_springs_far_from_the_origin_move_as_they_do_there(systems):
    """In float32, which resolves 0.06 at 1e6. An MLP knows the origin, so it is not moved."""
    config = dataclasses.replace(with_solver("symplectic"), model=HAAR)
    model, states = HamiltonianNetwork(TruePotential()), states_of(systems, springs.TIMES[:9])
    here, there = (
        table_of(model, NewSprings(far_away(states, shift), config)) for shift in (0.0, 1e6)
    )
    np.testing.assert_allclose(there["x"] - 1e6, here["x"], atol=1e-6)
    assert np.ptp(here["x"]) > 0.1
    mlp = dataclasses.replace(config, model=MLP)
    batch = next(iter(NewSprings(far_away(states, 10.0), mlp).batches()))
    np.testing.assert_allclose(batch["state"][..., :2], states.positions[:2] + 10.0, rtol=1e-6)


def test_springs_unlike_those_of_training_are_told(systems):
    ranges = training_ranges(spring_quantities(systems, CONFIG.model))
    config = dataclasses.replace(CONFIG, training_ranges=ranges)
    states = states_of(systems, springs.TIMES[:3])
    assert NewSprings(states, config).outside_training() == {}
    assert NewSprings(far_away(states, 1e6), config).outside_training() == {}
    masses, positions = states.masses.copy(), states.positions.copy()
    masses[1, 0], positions[2, 3] = 99.0, 1e4
    strange = dataclasses.replace(states, masses=masses, positions=positions)
    reasons = NewSprings(strange, config).outside_training()
    assert list(reasons) == [1, 2]
    assert reasons[1].startswith("mass: 99, trained on ")
    assert "distance of two particles: 1.41" in reasons[2]
    fewer = SpringStates(
        *(states.ids, states.positions[:, :2], states.momenta[:, :2], states.masses[:, :2]),
        *(states.spring_constants[:, :2], states.times),
    )
    assert "particles: 2, trained on 6 to 6" in NewSprings(fewer, config).outside_training()[0]


def test_any_number_of_particles(systems):
    states = states_of(systems, springs.TIMES[:3])
    fewer = SpringStates(
        states.ids,
        states.positions[:, :2],
        states.momenta[:, :2],
        states.masses[:, :2],
        states.spring_constants[:, :2],
        states.times,
    )
    table = table_of(HamiltonianNetwork(TruePotential()), NewSprings(fewer, CONFIG))
    np.testing.assert_array_equal(table["x"][:2], states.positions[0, :2, 0])
    mlp = MLP.build(2, 1, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"points must end in \(6, 2\), got shape \(2, 2, 2\)"):
        table_of(mlp, NewSprings(fewer, CONFIG))


def test_a_roll_out_that_is_not_finite_names_its_system(systems):
    new = NewSprings(states_of(systems, springs.TIMES[:3]), CONFIG)
    states = np.zeros((3, 3, 6, 4))
    states[1, 2, 0, 3] = np.inf
    with pytest.raises(ValueError, match=r"system 1: the roll-out is not finite at time 0\.02004"):
        new.table({"states": states})


def test_too_many_steps_are_refused(systems):
    with pytest.raises(
        ValueError, match=r"times must not ask for more than 100,000 steps of 0\.01"
    ):
        NewSprings(states_of(systems, np.array([0.0, 1.0, 1e30])), CONFIG)


def test_times_that_only_float64_tells_apart(systems):
    """Steps are of their differences; the adaptive solver needs times that float32 tells apart."""
    springs_of = lambda solver: dataclasses.replace(CONFIG.options, solver=solver)
    states = states_of(systems, np.array([0.0, 9.0, 9.0 + 1e-12]))
    adaptive = dataclasses.replace(CONFIG, model=HAAR, options=springs_of("adaptive"))
    with pytest.raises(ValueError, match="times must increase in float32 too"):
        NewSprings(states, adaptive)
    for config in (
        dataclasses.replace(CONFIG, options=springs_of("adaptive")),  # in float64
        dataclasses.replace(CONFIG, model=HAAR),
    ):
        NewSprings(states, config)


def test_neither_the_start_of_time_nor_the_place_of_a_system_moves_it_otherwise(systems):
    """Unix seconds, and positions a million away, whose differences float32 would lose."""
    config = dataclasses.replace(CONFIG, model=HAAR)  # float32
    times, tables = springs.TIMES[:5], []
    for start, place in ((0.0, 0.0), (1.7e9, 1e6)):
        states = states_of(systems, start + times)
        states = dataclasses.replace(states, positions=states.positions + place)
        new = NewSprings(states, config)
        graphdef, params = nnx.split(HamiltonianNetwork(TruePotential()), nnx.Param)
        predictor = make_predictor(graphdef, new, 1)
        tables.append(new.table(predict_batches(predictor, params, new.batches())))
    expected, moved = tables
    assert np.ptp(expected["x"][:6] - expected["x"][-6:]) > 1e-3
    for name, offset in {"x": 1e6, "y": 1e6, "px": 0.0, "py": 0.0}.items():
        np.testing.assert_allclose(moved[name] - offset, expected[name], rtol=1e-5, atol=1e-5)


def test_the_task_predicts(systems, tmp_path):
    task = get_task("springs")
    assert isinstance(task, PredictingTask)
    states = states_of(systems, springs.TIMES[:3])
    arrays = {field.name: getattr(states, field.name) for field in dataclasses.fields(states)}
    np.savez(tmp_path / "mine.npz", **arrays)
    new = task.read_examples(tmp_path / "mine.npz", CONFIG)
    assert isinstance(new, NewExamples)
    centered = (states.positions - states.positions.mean(axis=1, keepdims=True))[:2]
    np.testing.assert_array_equal(next(iter(new.batches()))["state"][..., :2], centered)
