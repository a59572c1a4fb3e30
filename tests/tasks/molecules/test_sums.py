"""Sums over atoms as models of the task: what is taken off first, and what is put back."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn.config import RunConfig, SavedConfig
from eqattn.data.atoms.references import sum_references
from eqattn.layers.steerable import FieldLayer
from eqattn.models import AtomSumConfig, FieldNetworkConfig, LieTransformerConfig
from eqattn.tasks import get_preset, get_task
from eqattn.tasks.molecules import TARGETS, load, split
from eqattn.tasks.molecules.inputs import NewMolecules
from eqattn.tasks.molecules.targets import check_form
from eqattn.train.evaluation import predict_batches

TASK = get_task("molecules")
ATOMS = LieTransformerConfig(dim=8, num_layers=1, output="per_point")


def config_of(form, *targets, atoms=ATOMS):
    return RunConfig(
        targets=targets, batch_size=50, model=AtomSumConfig(atoms=atoms, form=form), num_lifts=1
    )


class Zeros(nnx.Module, pytree=False):
    """Stands in for a model: says nothing beyond the formula."""

    def __init__(self, out_features):
        self.out_features = out_features

    def __call__(self, points, *args, **options):
        return jnp.zeros((len(points), self.out_features))


def predictions_of(problem, split):
    model = Zeros(problem.out_features)
    return predict_batches(
        lambda params, batch: problem.predict(model, batch, 1),
        None,
        problem.evaluation_batches(split),
    )


@pytest.fixture(scope="module")
def sums():
    return TASK.prepare(config_of("sum", "u0", "alpha"))


def test_sums_are_learned_beyond_references(sums):
    """Each target has its own; nothing is taken off that is not a sum over atoms."""
    molecules = load()
    parts = split(molecules, "embedded")
    train = molecules[parts["train"]]
    for column, constants in enumerate(sums.standardization):
        values = train.properties[constants.target]
        assert list(constants.references) == ["H", "C", "N", "O", "F"]
        assert constants.mean == 0.0
        left = values - sum_references(train, constants.references)
        assert constants.scale == pytest.approx(left.std())
        assert left.std() < 0.4 * values.std()
        assert abs(left.mean()) < 0.1 * left.std()
        batch = sums.training_batches()[0]
        place = {int(i): k for k, i in enumerate(train.ids)}
        rows = [place[int(i)] for i in batch["id"]]
        expected = left[rows] / constants.scale
        np.testing.assert_allclose(batch["targets"][:, column], expected, atol=1e-5)


def test_a_model_that_says_nothing_is_scored_by_what_references_leave(sums):
    molecules = load()
    test, train = molecules[2700:], molecules[:2400]
    predictions = predictions_of(sums, "test")
    panels = sums.figures("test", predictions)["predictions"]
    scores = sums.score("test", predictions)
    for score, constants, panel in zip(scores, sums.standardization, panels, strict=True):
        name, references = constants.target, constants.references
        left = test.properties[name] - sum_references(test, references)
        assert score.value == pytest.approx(np.abs(left).mean(), rel=1e-5)
        median = np.median(train.properties[name] - sum_references(train, references))
        assert score.baseline == pytest.approx(np.abs(left - median).mean())
        (series,) = panel.series
        np.testing.assert_allclose(np.sort(series.x), np.sort(test.properties[name]), rtol=1e-5)
        expected = np.sort(sum_references(test, references))
        np.testing.assert_allclose(np.sort(series.y), expected, rtol=1e-5)


def test_references_are_put_back_in_predictions(sums):
    molecules = load()[2990:]
    config = SavedConfig(
        **{f.name: getattr(sums.config, f.name) for f in dataclasses.fields(RunConfig)},
        standardization=sums.standardization,
    )
    new = NewMolecules(molecules, config)
    predictions = {"id": molecules.ids[::-1], "prediction": np.zeros((10, 2))}
    columns = new.table(predictions)
    for constants in sums.standardization:
        expected = sum_references(molecules, constants.references)
        found = columns[f"{constants.target}_{constants.unit}"]
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize(("form", "target"), [("dipole", "mu"), ("moment", "r2")])
def test_what_is_0_for_atoms_at_one_place_is_scaled_only(form, target):
    (constants,) = TASK.prepare(config_of(form, target)).standardization
    values = load().properties[target][:2400]
    assert (constants.mean, constants.references) == (0.0, {})
    assert constants.scale == pytest.approx(values.std())


def test_forms_of_the_targets_of_qm9():
    forms = {name: target.form for name, target in TARGETS.items()}
    assert forms.pop("mu") == "dipole"
    assert forms.pop("r2") == "moment"
    assert [forms.pop(name) for name in ("homo", "lumo", "gap")] == [None] * 3
    assert set(forms.values()) == {"sum"}
    check_form(("mu", "size"), "dipole")  # of a file, whose names may mean anything


@pytest.mark.parametrize(
    ("form", "targets", "message"),
    [
        ("sum", ("u0", "mu"), "form must be 'dipole' for the target 'mu', got 'sum'"),
        ("moment", ("alpha",), "form must be 'sum' for the target 'alpha', got 'moment'"),
        ("sum", ("gap",), "'gap' is intensive, and no sum over atoms; take a model that pools"),
    ],
)
def test_targets_of_another_form_are_refused(form, targets, message):
    with pytest.raises(ValueError, match=message):
        TASK.prepare(config_of(form, *targets))


def test_models_inside_must_know_the_atoms():
    atoms = FieldNetworkConfig(
        input_field="4x scalar", hidden_field="4x scalar + 4x vector", layer=FieldLayer(num_heads=2)
    )
    with pytest.raises(ValueError, match="input_field must be '15x scalar' for molecules, got '4x"):
        TASK.prepare(config_of("dipole", "mu", atoms=atoms))
    with pytest.raises(ValueError, match="output must be 'per_point' for molecules, got 'invari"):
        TASK.prepare(config_of("sum", "u0", atoms=LieTransformerConfig()))


@pytest.mark.parametrize("preset", ["sums", "dipole"])
def test_presets_have_models_that_fit(preset):
    config = get_preset("molecules", preset)
    config.model.check()
    assert TARGETS[config.targets[0]].form == config.model.form
    problem = TASK.prepare(config)
    model = nnx.eval_shape(
        lambda: config.model.build(problem.in_features, problem.out_features, rngs=nnx.Rngs(0))
    )
    assert model.out_features == 1
