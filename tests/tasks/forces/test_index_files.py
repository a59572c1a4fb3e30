"""Splits that files say."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from flax import nnx

from eqattn.data.atoms import write_npz
from eqattn.tasks import get_preset, get_task
from eqattn.tasks.forces.index_files import read_index, split_by_files
from eqattn.tasks.forces.presets import ForcesOptions
from eqattn.train import evaluate, train
from tests.tasks.forces.springs import springs
from tests.tasks.forces.test_task import config_of


def write(path, numbers):
    path.write_text("\n".join(map(str, numbers)) + "\n", encoding="utf-8")
    return path


def test_the_last_twentieth_is_for_validation(tmp_path):
    order = np.random.default_rng(0).permutation(100)[:40]
    train = write(tmp_path / "train.csv", order)
    parts = split_by_files(100, train)
    np.testing.assert_array_equal(np.concatenate([parts["train"], parts["validation"]]), order)
    assert len(parts["validation"]) == 2
    np.testing.assert_array_equal(parts["test"], np.setdiff1d(np.arange(100), order))
    test = write(tmp_path / "test.csv", parts["test"][[5, 3]])
    np.testing.assert_array_equal(split_by_files(100, train, test)["test"], parts["test"][[5, 3]])


def test_a_run_has_the_split_of_its_files(tmp_path):
    write_npz(tmp_path / "own.npz", springs(30))
    options = ForcesOptions(train_index=str(write(tmp_path / "train.csv", [4, 2, 9, 7])))
    config = dataclasses.replace(
        get_preset("forces", "demo"), data=str(tmp_path / "own.npz"), options=options
    )
    problem = get_task("forces").prepare(config)
    assert problem.num_examples == {"train": 3, "validation": 1, "test": 26}
    assert set(problem._parts["train"].configurations.ids) == {4, 2, 9}


def test_paths_are_kept_in_full(monkeypatch, tmp_path):
    """So that a run is evaluated from another folder."""
    monkeypatch.chdir(tmp_path)
    write_npz(tmp_path / "own.npz", springs(30))
    write(tmp_path / "train.csv", range(8))
    options = ForcesOptions(train_index="train.csv", baseline="none", buckets=(5,))
    train(config_of("own.npz", steps=1, eval_every=1, options=options), "run")
    saved = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))
    kept = saved["options"]
    assert str(tmp_path / "train.csv") in str(kept)
    monkeypatch.chdir("/")
    assert evaluate(tmp_path / "run").steps == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0\n1.5\n", r"train.csv:2: must be a number from 0 to 9, got '1.5'"),
        ("-1\n", r"train.csv:1: must be a number from 0 to 9, got '-1'"),
        ("3\n10\n", r"train.csv:2: must be a number from 0 to 9, got '10'"),
        ("3\n4\n3\n", r"train.csv:3: 3 is in line 1, too"),
        ("\n", "train.csv holds no numbers of configurations"),
        ("3\n", "train.csv: 1 configuration cannot be split in two"),
        ("\n".join(map(str, range(10))), "train.csv: no configuration is left for the test"),
    ],
)
def test_files_that_hold_no_split_are_refused(tmp_path, text, message):
    path = tmp_path / "train.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        split_by_files(10, path)


def test_what_is_in_both_or_nowhere_is_refused(tmp_path):
    train, test = write(tmp_path / "train.csv", [1, 2]), write(tmp_path / "test.csv", [3, 2])
    with pytest.raises(ValueError, match=r"test.csv: configuration 2 is in .*train.csv, too"):
        split_by_files(10, train, test)
    with pytest.raises(FileNotFoundError, match="no file of numbers of configurations at"):
        read_index(tmp_path / "absent.csv", 10)
    with pytest.raises(ValueError, match="train_index must be given with test_index, got ''"):
        ForcesOptions(test_index="test.csv")


@pytest.fixture(scope="module")
def paper(tmp_path_factory):
    """The problem of the preset, with embedded frames in the place of a thousand of its own."""
    preset = get_preset("forces", "paper")
    path = write(tmp_path_factory.mktemp("split") / "train.csv", range(1_000))
    options = dataclasses.replace(preset.options, train_index=str(path))
    return get_task("forces").prepare(dataclasses.replace(preset, options=options))


def test_paper_is_of_the_published_size(paper):
    assert paper.config.steps * paper.config.batch_size == 3_000 * 950
    assert paper.num_examples == {"train": 950, "validation": 50, "test": 600}
    params = nnx.state(unfilled(paper), nnx.Param)
    assert 1_000_000 < sum(leaf.size for leaf in jax.tree.leaves(params)) < 10_000_000


def unfilled(problem):
    """A model without numbers."""
    return nnx.eval_shape(
        lambda: problem.config.model.build(problem.in_features, 1, rngs=nnx.Rngs(0))
    )


@pytest.mark.slow
def test_a_step_of_paper_can_be_taken(paper):
    """Traced alone, since it wants an accelerator."""
    graphdef, params = nnx.split(unfilled(paper), nnx.Param)

    def loss(params, batch):
        key = jax.random.key(0)
        return paper.loss(nnx.merge(graphdef, params), paper.augment(batch, key), key)[0]

    batch = paper.batch_of_each_shape()[0]
    batch["weight"] = np.ones(len(batch["id"]), np.float32)
    slopes = jax.eval_shape(jax.grad(loss), params, batch)
    assert jax.tree.map(lambda x: x.shape, slopes) == jax.tree.map(lambda x: x.shape, params)
