"""The systems of the task "nbody", against those of the published code."""

from pathlib import Path

import numpy as np
import pytest

from eqattn.tasks.nbody import data
from tests.grids import some_rows

GOLDEN = np.load(Path(__file__).parents[2] / "golden" / "nbody_published.npz")
NAMES = ("charges", "positions", "velocities", "targets")


@pytest.mark.parametrize(("num_bodies", "num_systems"), some_rows([(5, 2), (20, 1)], "5-2"))
def test_systems_are_the_published_ones(num_bodies, num_systems):
    """The first that the published generator makes with its seed 43; the second starts where the
    draws of the first end, those of noise that is multiplied by zero included."""
    systems = data.generate(num_systems, num_bodies=num_bodies)
    for index in range(num_systems):
        for name in NAMES:
            expected = GOLDEN[f"{name}{num_bodies}_{index}"]
            np.testing.assert_allclose(getattr(systems, name)[index], expected, atol=1e-10)


def test_splits_are_drawn_one_after_the_other():
    """Validation begins after 10,000 systems, and the same ones come whatever number is asked."""
    few, more = (data.generate(n, split="validation") for n in (2, 3))
    for name in NAMES:
        np.testing.assert_array_equal(getattr(few, name), getattr(more, name)[:2])
    assert np.abs(few.positions - data.generate(2).positions).max() > 0.1
    assert few.ids.tolist() == [0, 1]


def test_charges_repel_and_masses_attract():
    """Two particles leave their straight paths along the line between them."""

    def turned(systems):
        first, second = np.moveaxis(systems.targets - systems.positions - systems.velocities, 1, 0)
        apart = systems.positions[:, 0] - systems.positions[:, 1]
        return np.sum((first - second) * apart, axis=-1)

    charged = data.generate(64, num_bodies=2)
    alike = charged.charges[:, 0] == charged.charges[:, 1]
    assert 0 < alike.sum() < 64
    assert np.all(turned(charged)[alike] > 0)
    heavy = data.generate(64, num_bodies=2, interaction="gravity")
    assert heavy.charges.min() > 0.5
    assert np.mean(turned(heavy) < 0) > 0.8  # close encounters may turn them right round
    # Masses: the middle moves on straight, which it would not if forces were c_i c_j / 1.
    middle = lambda x: np.sum(heavy.charges[..., None] * x, axis=1)
    left = middle(heavy.targets - heavy.positions - heavy.velocities)
    assert np.median(np.abs(left)) < 1e-10


def test_caches_are_read_again(tmp_path, caplog):
    first = data.load(3, cache_dir=tmp_path)
    (file,) = tmp_path.iterdir()
    again = data.load(3, cache_dir=tmp_path)
    for name in NAMES:
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    file.write_bytes(b"junk")
    data.load(3, cache_dir=tmp_path)
    assert "making the cache again" in caplog.text
    assert len(first[:2]) == 2


def test_examples_are_what_is_generated():
    (example,) = data.examples(1, num_bodies=2)
    assert example["id"] == 0
    np.testing.assert_array_equal(example["targets"], data.generate(1, num_bodies=2).targets[0])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"num_systems": 0}, "num_systems must be at least 1"),
        ({"num_systems": 10_001}, "num_systems must be at most 10000"),
        ({"num_bodies": 1}, "num_bodies must be at least 2"),
        ({"split": "dev"}, "split must be one of"),
        ({"seed": -1}, "seed must be in"),
    ],
)
def test_numbers_out_of_range(options, match):
    with pytest.raises(ValueError, match=match):
        data.generate(**{"num_systems": 1, **options})
