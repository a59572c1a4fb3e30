import dataclasses
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn.config import RunConfig, Standardization
from eqattn.groups import SE, SO, E, T
from eqattn.layers import Attention, MLPLocation
from eqattn.layers.steerable import FieldLayer
from eqattn.lift import Haar, NoLift
from eqattn.models import FieldNetworkConfig, LieTransformerConfig
from eqattn.spaces import euclidean, group_space, sphere
from eqattn.tasks import Problem, get_preset, get_task
from eqattn.tasks import molecules as data
from eqattn.tasks.core.standardization import unstandardize
from eqattn.tasks.molecules.presets import MoleculesOptions
from eqattn.train.evaluation import predict_batches, score_split
from tests.tasks.losses import mean_loss

TINY = RunConfig(
    targets=("gap", "mu"),
    batch_size=4,
    options=MoleculesOptions(buckets=(64,)),
    model=LieTransformerConfig(
        dim=8,
        num_layers=1,
        layer=Attention(num_heads=2, location=MLPLocation(dim=4, num_radial=2)),
    ),
)


def with_options(**options):
    return dataclasses.replace(TINY, options=MoleculesOptions(**options))


@pytest.fixture(scope="module")
def task():
    return get_task("molecules")


@pytest.fixture(scope="module")
def embedded(task):
    return task.prepare(TINY)


class Echo(nnx.Module, pytree=False):
    """Stands in for a model: predicts the mean coordinate of each molecule, for each target."""

    def __call__(self, points, features, mask, key=None, *, example_ids, training=False, **rest):
        self.seen = {"key": key, "training": training, "points": points, **rest}
        return jnp.broadcast_to(points.mean((1, 2))[:, None], (points.shape[0], 2))


def values_of(molecules):
    return np.stack([molecules.properties[name] for name in TINY.targets], axis=1)


def first_batch(problem, split="test"):
    return next(iter(problem.evaluation_batches(split)))


def test_it_is_a_problem(embedded):
    assert isinstance(embedded, Problem)
    assert (embedded.in_features, embedded.out_features) == (15, 2)
    assert embedded.num_examples == {"train": 2400, "validation": 300, "test": 300}


def test_constants_are_those_of_the_training_split(embedded):
    molecules = data.load()
    gap = molecules.properties["gap"][:2400]
    constants = embedded.standardization[0]
    assert (constants.target, constants.unit) == ("gap", "eV")
    assert constants.mean == pytest.approx(gap.mean())
    assert constants.scale == pytest.approx(gap.std())


def test_training_targets_are_standardized(embedded):
    seen = np.concatenate([embedded.training_batches()[i]["targets"] for i in range(200)])
    np.testing.assert_allclose(seen.mean(0), 0.0, atol=0.2)
    np.testing.assert_allclose(seen.std(0), 1.0, atol=0.2)


def test_the_baseline_is_the_median_of_the_training_split(embedded):
    molecules = values_of(data.load())
    train, test = molecules[:2400], molecules[2700:]
    predictions = {
        "prediction": np.zeros((300, 2), np.float32),
        "target": np.zeros((300, 2), np.float32),
        "known": np.ones((300, 2), bool),
    }
    scores = embedded.score("test", predictions)
    expected = np.abs(test - np.median(train, axis=0)).mean(0)
    np.testing.assert_allclose([s.baseline for s in scores], expected)
    assert scores[0].baseline == pytest.approx(1.078, abs=1e-3)
    assert [(s.target, s.metric, s.unit) for s in scores] == [
        ("gap", "mae", "eV"),
        ("mu", "mae", "D"),
    ]


def test_scores_are_in_physical_units(embedded):
    standardized = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
    shifted = standardized + np.float32([1.0, -2.0])
    known = np.ones((300, 2), bool)
    predictions = {"prediction": shifted, "target": standardized, "known": known}
    scores = embedded.score("test", predictions)
    gap, mu = embedded.standardization
    np.testing.assert_allclose([s.value for s in scores], [gap.scale, 2 * mu.scale], rtol=1e-5)


def test_predictions_cover_a_split_once_with_the_right_targets(embedded):
    rows = list(embedded.evaluation_batches("test"))
    weight = np.concatenate([b["weight"] for b in rows])
    ids = np.concatenate([b["id"] for b in rows])[weight > 0]
    targets = np.concatenate([b["targets"] for b in rows])[weight > 0]
    molecules = data.load()[np.arange(2700, 3000)]
    assert sorted(ids) == sorted(molecules.ids)
    order = np.argsort(ids)
    expected = values_of(molecules)[np.argsort(molecules.ids)]
    back = unstandardize(targets[order], embedded.standardization)
    np.testing.assert_allclose(back, expected, atol=1e-5)


def test_molecules_are_centered_and_padding_is_at_the_origin(embedded):
    batch = first_batch(embedded)
    mask = batch["mask"][..., None]
    np.testing.assert_allclose((batch["points"] * mask).sum(1) / mask.sum(1), 0.0, atol=1e-5)
    np.testing.assert_array_equal(np.where(mask, 0.0, batch["points"]), 0.0)


def test_the_largest_molecule_ends_the_buckets(task, embedded):
    assert embedded._buckets == (27,)
    assert task.prepare(with_options(buckets=(20, 16)))._buckets == (16, 20, 27)
    chosen = task.prepare(with_options(buckets=()))._buckets
    assert len(chosen) == 3
    assert chosen[-1] == 27


def test_a_batch_of_each_shape_has_the_shapes_of_all_batches(task):
    problem = task.prepare(with_options(buckets=(15, 19)))

    def shapes(batch):
        return {name: (array.shape, array.dtype) for name, array in batch.items()}

    stream = problem.training_batches()
    ahead = [shapes(batch) for batch in problem.batch_of_each_shape()]
    seen = [shapes(stream[i]) for i in range(300)]
    assert len(ahead) == 3
    assert all(shape in ahead for shape in seen)
    assert all(shape in seen for shape in ahead)


def test_the_loss_is_the_mean_absolute_error(embedded):
    batch = first_batch(embedded)
    model = Echo()
    loss = mean_loss(embedded, model, batch, jax.random.key(0))
    prediction = batch["points"].mean((1, 2))[:, None]
    np.testing.assert_allclose(loss, np.abs(prediction - batch["targets"]).mean(), rtol=1e-5)
    assert model.seen["training"]
    assert model.seen["key"] is not None
    np.testing.assert_array_equal(model.seen["points"], batch["points"])
    predicted = embedded.predict(model, batch, 3)
    np.testing.assert_allclose(predicted["loss"].mean(), loss, rtol=1e-5)
    assert not model.seen["training"]
    assert model.seen["key"] is None
    assert model.seen["num_lifts"] == 3


def test_rotation_augmentation_turns_each_example_anew(task):
    problem = task.prepare(with_options(augment_rotations=True))
    batch, model = first_batch(problem), Echo()
    seen = []
    for seed in range(2):
        mean_loss(problem, model, batch, jax.random.key(seed))
        seen.append(model.seen["points"])
    np.testing.assert_allclose(
        np.linalg.norm(seen[0], axis=-1), np.linalg.norm(batch["points"], axis=-1), atol=1e-5
    )
    assert np.abs(seen[0] - batch["points"]).max() > 0.1
    assert np.abs(seen[0] - seen[1]).max() > 0.1
    problem.predict(model, batch, 1)
    np.testing.assert_array_equal(model.seen["points"], batch["points"])


def test_given_constants_are_used(task, embedded):
    constants = tuple(dataclasses.replace(c, scale=7.0) for c in embedded.standardization)
    problem = task.prepare(TINY, standardization=constants)
    assert problem.standardization == constants
    ratio = first_batch(embedded)["targets"] / first_batch(problem)["targets"]
    scale = np.array([c.scale for c in embedded.standardization])
    np.testing.assert_allclose(ratio, np.broadcast_to(7.0 / scale, ratio.shape), rtol=1e-4)


def test_a_file_of_molecules_is_split_and_used(task, small_npz):
    problem = task.prepare(dataclasses.replace(TINY, data=str(small_npz)))
    assert sum(problem.num_examples.values()) == 60
    assert first_batch(problem)["points"].shape[0] == 4


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"targets": ("gap", "size")}, ValueError, "'size' is unknown; known are mu, alpha"),
        ({"targets": ()}, ValueError, "targets must be a sequence of one or more names"),
        ({"targets": ("gap", "gap")}, ValueError, "'gap' is given twice"),
        (
            {"options": MoleculesOptions(buckets=(16, 0))},
            ValueError,
            r"buckets must be positive, got \(16, 0\)",
        ),
        ({"options": MoleculesOptions(split="mine")}, ValueError, "split 'mine' is unknown"),
        ({"data": "/nowhere.npz"}, FileNotFoundError, "/nowhere.npz"),
    ],
)
def test_wrong_data_are_named(task, changes, error, message):
    with pytest.raises(error, match=message):
        task.prepare(dataclasses.replace(TINY, **changes))


@pytest.fixture
def partly_known(task, small_npz, tmp_path):
    """Writes a file in which some labels are not known, and returns its arrays and a problem."""

    def make(unknown):
        arrays = dict(np.load(small_npz))
        for row, column in unknown:
            arrays[TINY.targets[column]][row] = np.nan
        path = tmp_path / "partly.npz"
        np.savez(path, **arrays)
        values = np.stack([arrays[name] for name in TINY.targets], axis=1)
        return values, task.prepare(dataclasses.replace(TINY, data=str(path)))

    return make


def test_labels_that_are_not_known_have_no_loss_and_no_score(partly_known, small_npz):
    """Gap of molecules 0-9, mu of 5-14: 5-9 have neither, and are left out."""
    unknown = [(row, 0) for row in range(10)] + [(row, 1) for row in range(5, 15)]
    values, problem = partly_known(unknown)
    parts = data.split(data.load(small_npz), str(small_npz))
    missing = np.isnan(values)
    assert problem.unknown_labels == {
        name: {
            target: count
            for target, count in zip(TINY.targets, missing[rows].sum(0).tolist(), strict=True)
            if count
        }
        for name, rows in parts.items()
        if missing[rows].any()
    }
    assert sum(sum(row.values()) for row in problem.unknown_labels.values()) == 20
    kept = {name: rows[~missing[rows].all(1)] for name, rows in parts.items()}
    assert problem.num_examples == {name: len(rows) for name, rows in kept.items()}
    gap = values[kept["train"], 0]
    assert problem.standardization[0].mean == pytest.approx(np.nanmean(gap))

    model, split = Echo(), "train"
    predictions = predict_batches(
        lambda params, batch: problem.predict(model, batch, 1),
        None,
        problem.evaluation_batches(split),
    )
    chex.assert_tree_all_finite(predictions)
    scores = problem.score(split, predictions)
    predicted = unstandardize(predictions["prediction"], problem.standardization)
    expected = unstandardize(predictions["target"], problem.standardization)
    for column, score in enumerate(scores):
        known = predictions["known"][:, column]
        assert 0 < known.sum() == (~missing[kept[split], column]).sum() < len(known)
        errors = np.abs(predicted - expected)[known, column]
        assert score.value == pytest.approx(errors.mean())
        median = np.nanmedian(values[kept["train"], column])
        baseline = np.nanmean(np.abs(values[kept[split], column] - median))
        assert score.baseline == pytest.approx(baseline)
    for panel, column in zip(
        problem.figures(split, predictions)["predictions"], (0, 1), strict=True
    ):
        assert len(panel.series[0].x) == predictions["known"][:, column].sum()

    losses, weights = [], []
    for batch in problem.evaluation_batches(split):
        known = batch["known"]
        error = np.abs(batch["points"].mean((1, 2))[:, None] - batch["targets"])
        loss = mean_loss(problem, model, batch, jax.random.key(0))
        share = len(known) / TINY.batch_size
        np.testing.assert_allclose(loss, share * error[known].mean(), rtol=1e-5)
        real = batch["weight"] > 0
        losses.append(np.sum(error[real] * known[real]))
        weights.append(known[real].sum())
    _, loss = score_split(
        lambda params, batch: problem.predict(model, batch, 1), None, problem, split
    )
    assert loss == pytest.approx(sum(losses) / sum(weights), rel=1e-5)


def test_a_label_that_is_not_known_has_no_gradient(partly_known):
    _, problem = partly_known([(row, 0) for row in range(0, 60, 2)])
    batch = first_batch(problem, "train")
    assert 0 < batch["known"][:, 0].sum() < len(batch["known"])

    class Shifted(nnx.Module, pytree=False):
        def __init__(self, shift):
            self.shift = shift

        def __call__(self, points, *args, **options):
            return self.shift

    gradient = jax.grad(lambda shift: mean_loss(problem, Shifted(shift), batch, jax.random.key(0)))
    shift = jnp.ones(batch["targets"].shape, jnp.float32) * 3
    np.testing.assert_array_equal(np.asarray(gradient(shift)) != 0, batch["known"])


def test_a_target_that_nobody_knows_is_one_clear_error(partly_known):
    with pytest.raises(ValueError, match="these molecules have no values of 'mu'"):
        partly_known([(row, 1) for row in range(60)])
    with pytest.raises(ValueError, match=r"'mu' is not known of any of the \d+ molecules of the "):
        partly_known([(row, 1) for row in range(59)])


def test_a_batch_of_few_molecules_counts_for_as_much_less(embedded):
    batch = first_batch(embedded)
    two = {name: array[:2] for name, array in batch.items()}
    both = embedded.predict(Echo(), two, 1)["loss"]
    loss = mean_loss(embedded, Echo(), two, jax.random.key(0))
    np.testing.assert_allclose(loss, both.sum() / TINY.batch_size, rtol=1e-5)


def test_targets_that_float32_cannot_hold_are_named(task, small_npz, tmp_path, recwarn):
    arrays = dict(np.load(small_npz))
    config = dataclasses.replace(TINY, data=str(tmp_path / "large.npz"))
    arrays["mu"][5] = 1e38  # only too large once it is divided
    np.savez(config.data, **arrays)
    small = [Standardization(name, "", 0.0, 1e-3) for name in TINY.targets]
    with pytest.raises(ValueError, match=rf"'mu' of molecule {arrays['ids'][5]} is 1e\+38"):
        task.prepare(config, standardization=small)
    assert not [w for w in recwarn if issubclass(w.category, RuntimeWarning)]


@pytest.mark.parametrize("scale", [0.0, -1.0, np.inf, np.nan])
def test_constants_must_be_usable(task, embedded, scale):
    constants = tuple(dataclasses.replace(c, scale=scale) for c in embedded.standardization)
    with pytest.raises(ValueError, match="'gap' must have a finite mean and a finite scale above"):
        task.prepare(TINY, standardization=constants)


@pytest.mark.parametrize(
    "space",
    [euclidean(T(2)), euclidean(SE(2)), sphere(SO(3)), group_space(T(3))],
    ids=str,
)
def test_the_space_must_be_that_of_atoms(task, space):
    model = dataclasses.replace(TINY.model, space=space, lift=Haar())
    message = rf"space must be Euclidean of 3 dimensions for molecules, .*'{re.escape(str(space))}'"
    with pytest.raises(ValueError, match=message):
        task.prepare(dataclasses.replace(TINY, model=model))


@pytest.mark.parametrize("group", [T(3), E(3), SO(3)], ids=str)
def test_any_group_that_acts_on_space_will_do(task, small_npz, group):
    model = dataclasses.replace(TINY.model, space=euclidean(group), lift=Haar())
    problem = task.prepare(dataclasses.replace(TINY, data=str(small_npz), model=model))
    assert problem.in_features == 5


@pytest.mark.parametrize(
    ("changes", "parameters"),
    [
        ({}, 10_021_169),  # both counts are those of the published code
        ({"space": euclidean(T(3)), "lift": NoLift()}, 10_018_865),
    ],
)
def test_the_paper_preset_has_as_many_parameters_as_published(changes, parameters):
    config = dataclasses.replace(get_preset("molecules", "paper").model, **changes)
    model = nnx.eval_shape(lambda: config.build(15, 1, rngs=nnx.Rngs(0)))
    assert sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param))) == parameters


FIELDS = FieldNetworkConfig(
    input_field="15x scalar",
    output_field="2x scalar",
    hidden_field="8x scalar + 8x vector",
    num_layers=1,
    layer=FieldLayer(num_heads=2, cutoff=5.0),
    output="invariant",
)


def test_networks_of_fields_take_atoms_to_invariants(task):
    """Turned and moved molecules get the same prediction; padding does not count."""
    config = dataclasses.replace(TINY, model=FIELDS.replace_network(dtype="float64"))
    config = dataclasses.replace(config, targets=("gap", "mu"))
    problem = task.prepare(config)
    model = config.model.build(problem.in_features, problem.out_features, rngs=nnx.Rngs(0))
    batch = jax.tree.map(jnp.asarray, first_batch(problem))
    group, found = SE(3), {}
    u = group.sample(jax.random.key(1), (), jnp.float64)
    here = jnp.asarray(batch["points"], jnp.float64)
    run = jax.jit(lambda points: problem.predict(model, {**batch, "points": points}, 1))
    for name, points in (("here", here), ("there", group.act(u, here))):
        found[name] = run(points)["prediction"]
    assert found["here"].shape == (len(batch["id"]), 2)
    np.testing.assert_allclose(found["here"], found["there"], atol=1e-9)
    assert found["here"].std() > 1e-3


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"input_field": "12x scalar + vector"}, "input_field must be '15x scalar' for molecules"),
        ({"output_field": "scalar"}, "output_field must be '2x scalar' for molecules"),
        ({"num_pair_data": 1}, "num_pair_data must be 0 for molecules, got 1"),
        ({"space": euclidean(SE(2))}, "space must be Euclidean of 3 dimensions for molecules"),
    ],
)
def test_networks_of_other_fields_are_refused(task, changes, match):
    model = FIELDS.replace_network(**changes)
    with pytest.raises(ValueError, match=match):
        task.prepare(dataclasses.replace(TINY, model=model, targets=("gap", "mu")))


def test_models_of_atoms_need_properties_of_atoms(task):
    model = LieTransformerConfig(output="per_point")
    with pytest.raises(ValueError, match="'gap' is known of each molecule, and the model gives"):
        task.prepare(dataclasses.replace(TINY, model=model))


def test_float64_models_see_float64_points(task):
    model = dataclasses.replace(TINY.model, dtype="float64")
    problem = task.prepare(dataclasses.replace(TINY, model=model))
    echo = Echo()
    problem.predict(echo, first_batch(problem), 1)
    assert echo.seen["points"].dtype == jnp.float64
