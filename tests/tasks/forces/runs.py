"""Runs of the task "forces" that were not trained: what reads them needs best parameters only."""

import dataclasses

import eqattn
from eqattn.config import SavedConfig, Standardization, TrainingRange
from eqattn.layers import Attention, MLPLocation, MultiplyLogits
from eqattn.models import LieTransformerConfig, PotentialNetworkConfig
from eqattn.tasks import get_preset
from eqattn.tasks.forces.presets import TARGETS
from eqattn.train.building import build_model
from tests.tasks.forces.springs import REFERENCES

ATOMS = LieTransformerConfig(
    dim=8,
    num_layers=1,
    layer=Attention(
        num_heads=2,
        location=MLPLocation(dim=8, num_layers=2, num_radial=8, cutoff=5.0),
        combine=MultiplyLogits(),
        normalize="mean",
        cutoff=5.0,
    ),
    output="per_point",
)
SCALE = 0.5


def write_run(
    path,
    *,
    seed=0,
    dtype="float32",
    references=REFERENCES,
    ranges=True,
    ensemble=1,
    cutoff=5.0,
    **options,
):
    """Writes a run of a model with random parameters; returns its path."""
    demo = get_preset("forces", "demo")
    config = SavedConfig(
        **{f.name: getattr(demo, f.name) for f in dataclasses.fields(demo)},
        in_features=len(references),
        out_features=1,
        standardization=tuple(
            Standardization(t, u, 0.0, SCALE) for t, u in zip(TARGETS, ("eV/Å", "eV"), strict=True)
        ),
        references=dict(references),
        training_ranges=(TrainingRange("atoms", "", 3.0, 5.0),) if ranges else (),
    )
    config = dataclasses.replace(
        config,
        model=PotentialNetworkConfig(
            atoms=dataclasses.replace(
                ATOMS, dtype=dtype, layer=dataclasses.replace(ATOMS.layer, cutoff=cutoff)
            )
        ),
        options=dataclasses.replace(config.options, **options),
    )
    config = dataclasses.replace(config, seed=seed, ensemble=ensemble)
    eqattn.save(build_model(config, len(references), 1), path, config)
    return path
