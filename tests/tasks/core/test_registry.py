import dataclasses
import subprocess
import sys

import pytest

from eqattn.config import RunConfig
from eqattn.tasks import TASKS, Problem, Score, Task, get_preset, get_task, objective
from eqattn.tasks.constellations.task import ConstellationsOptions
from eqattn.tasks.images.task import ImagesOptions
from eqattn.tasks.molecules.presets import MoleculesOptions
from eqattn.tasks.shapes.task import ShapesOptions
from eqattn.tasks.springs.models import SpringsOptions
from eqattn.tasks.winds.task import WindsOptions


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_what_the_command_line_shows(name):
    task = get_task(name)
    assert isinstance(task, Task)
    assert task.name == name
    assert task.description
    assert task.targets
    assert "demo" in task.presets


@pytest.mark.parametrize("name", TASKS)
def test_presets_name_themselves_and_known_targets(name):
    task = get_task(name)
    for preset, config in task.presets.items():
        assert isinstance(config, RunConfig)
        assert (config.task, config.preset) == (name, preset)
        assert type(config.options) is task.options, "the command line shows them"
        assert set(config.targets) <= set(task.targets)
        assert get_preset(name, preset) == config


OPTIONS = {
    "springs": SpringsOptions(num_train=3),
    "shapes": ShapesOptions(fold=3),
    "constellations": ConstellationsOptions(num_train=3),
    "images": ImagesOptions(positions=True),
    "winds": WindsOptions(num_points=3),
    "molecules": MoleculesOptions(split="tfds"),
}


@pytest.mark.parametrize("name", TASKS)
def test_tasks_refuse_what_is_for_others(name):
    preset = get_preset(name, "demo")
    for other, options in OPTIONS.items():
        if other != name:
            config = dataclasses.replace(preset, options=options)
            with pytest.raises(ValueError, match=rf"options must be \w+Options for {name}, got"):
                get_task(name).prepare(config)


def test_unknown_names_are_named_with_the_known_ones():
    with pytest.raises(ValueError, match="task 'weather' is unknown; known are constellations"):
        get_task("weather")
    with pytest.raises(ValueError, match="preset 'huge' is unknown; the task molecules has demo"):
        get_preset("molecules", "huge")


def test_the_objective_weighs_targets_of_different_units_alike():
    scores = [Score("gap", "mae", 0.2, 1.0, "eV"), Score("r2", "mae", 50.0, 100.0, "bohr^2")]
    assert objective(scores) == pytest.approx(0.35)
    assert objective([Score("gap", "mae", 1.0, 0.0, "eV")]) > 1e6, "no division by zero"


def test_the_objective_takes_the_first_metric_of_each_target():
    scores = [Score("springs", "mse5", 0.1, 1.0, "1"), Score("springs", "drift", 9.0, 0.0, "1")]
    assert objective(scores) == pytest.approx(0.1)


@pytest.mark.slow
def test_tasks_are_imported_when_they_are_asked_for():
    code = "import sys, eqattn.tasks; print('eqattn.tasks.molecules.task' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def test_problems_are_a_protocol():
    assert not isinstance(object(), Problem)
