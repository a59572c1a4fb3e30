"""Molecules from files, as models see them and beside those that a run was trained on."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
from flax import nnx

from eqattn.config import SavedConfig
from eqattn.data.atoms import Configurations
from eqattn.layers import Attention, MLPLocation
from eqattn.models import LieTransformerConfig
from eqattn.tasks.core.atom_ranges import molecule_quantities
from eqattn.tasks.core.ranges import training_ranges
from eqattn.tasks.molecules import load
from eqattn.tasks.molecules.inputs import NewMolecules

CONFIG = SavedConfig(targets=("gap",), batch_size=2)
FILES = Path(__file__).parents[2] / "data" / "atoms" / "cases"


def one_batch(molecules):
    (batch,) = NewMolecules(molecules, CONFIG).batches()
    return batch


def test_far_from_the_origin_predictions_are_those_at_the_origin():
    there = load(FILES / "far_from_origin.xyz")
    here = dataclasses.replace(there, positions=there.positions - [1e6, 0.0, 0.0])
    along_all = dataclasses.replace(there, positions=here.positions + 1e6)
    points = [one_batch(molecules)["points"] for molecules in (here, there, along_all)]
    for x in points:
        assert x.dtype == np.float32
        np.testing.assert_allclose(x, points[0], atol=1e-7)
        lengths = np.linalg.norm(x[0, 1:] - x[0, 0], axis=-1)
        np.testing.assert_allclose(lengths, 0.9572, atol=1e-4)
    layer = Attention(num_heads=2, location=MLPLocation(dim=4, num_radial=2))
    config = LieTransformerConfig(dim=8, num_layers=1, layer=layer)
    model = jax.jit(config.build(15, 1, rngs=nnx.Rngs(0)))
    batch = one_batch(here)
    others = batch["features"], batch["mask"]
    cast_first = along_all.positions[None].astype(np.float32)
    near, *far, wrong = (float(model(x, *others)[0, 0]) for x in (*points, cast_first))
    np.testing.assert_allclose(far, near, atol=1e-6)
    assert abs(wrong - near) > 1e-5


def test_quantities_are_those_of_pairs_of_atoms():
    molecules = Configurations(
        ids=np.array([4, 7]),
        num_atoms=np.array([3, 1], np.int32),
        numbers=np.array([8, 1, 1, 6], np.uint8),
        positions=np.array([[0.0, 0, 0], [1, 0, 0], [0, 3, 0], [9, 9, 9]]),
        cells=np.zeros((2, 3, 3)),
        periodic=np.zeros((2, 3), bool),
    )
    found = {
        q.name: (q.smallest.tolist(), q.largest.tolist()) for q in molecule_quantities(molecules)
    }
    nan = float("nan")
    expected = {
        "atoms": ([3, 1], [3, 1]),
        "distance H-H": ([10**0.5, nan], [10**0.5, nan]),
        "distance H-O": ([1, nan], [3, nan]),
        "distance to the nearest atom": ([1, nan], [3, nan]),
    }
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values)


def test_elements_never_seen_together_are_told():
    molecules = load()[:2400]
    has_fluorine = np.logical_or.reduceat(molecules.numbers == 9, molecules.offsets[:-1])
    has_nitrogen = np.logical_or.reduceat(molecules.numbers == 7, molecules.offsets[:-1])
    some = molecules[np.flatnonzero(has_fluorine != has_nitrogen)]  # one or the other
    ranges = training_ranges(molecule_quantities(some))
    both = molecules[np.flatnonzero(has_fluorine & has_nitrogen)]
    outside = NewMolecules(both, dataclasses.replace(CONFIG, training_ranges=ranges))
    reasons = outside.outside_training()
    assert set(reasons) == set(both.ids.tolist())
    assert all("distance N-F: not in training" in reason for reason in reasons.values())


def test_few_of_the_molecules_held_out_lie_outside():
    molecules = load()
    ranges = training_ranges(molecule_quantities(molecules[:2400]))
    config = dataclasses.replace(CONFIG, training_ranges=ranges)
    assert NewMolecules(molecules[:2400], config).outside_training() == {}
    outside = NewMolecules(molecules[2700:], config).outside_training()
    assert 0 < len(outside) < 15
    assert set(outside) < set(molecules.ids[2700:].tolist())
