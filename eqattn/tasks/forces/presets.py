"""What a run of the task "forces" asks for beside what all have, and the presets of the task."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from eqattn.config import OptimizerConfig, RunConfig, TaskOptions
from eqattn.groups import SE, E
from eqattn.layers import Attention, BernsteinValues, MLPLocation, MLPValues, MultiplyLogits
from eqattn.layers.steerable import FieldLayer, HarmonicKernel
from eqattn.models import FieldNetworkConfig, LieTransformerConfig, PotentialNetworkConfig
from eqattn.models.field_network import SCALARS
from eqattn.spaces import euclidean
from eqattn.tasks.forces.data import EnergyUnit
from eqattn.tasks.forces.painn import PaiNNConfig
from eqattn.tasks.forces.stresses import STRESS

__all__ = [
    "BASELINE",
    "BASELINE_OPTIMIZER",
    "DEMO",
    "ENERGY",
    "FIELDS",
    "FORCES",
    "PAPER",
    "SCORE_UNITS",
    "STRESS",
    "TARGETS",
    "ForcesOptions",
]

PATH: Mapping[str, bool] = MappingProxyType({"is_path": True})
"""What the field of an option says whose value is a path, which runs keep in full."""
FORCES, ENERGY = TARGETS = ("forces", "energy")
SCORE_UNITS: Mapping[str, str] = MappingProxyType({FORCES: "eV/Å", ENERGY: "eV", STRESS: "GPa"})
"""Units of scores; stresses have one where the data hold any."""


@dataclass(frozen=True, repr=False, kw_only=True)
class ForcesOptions(TaskOptions):
    """What the task "forces" asks for beside what all runs have."""

    energy_key: str = "energy"
    """Name of the energies in the data."""
    forces_key: str = "forces"
    """Name of the forces in the data."""
    unit: EnergyUnit = "eV"
    """Unit of the energies in the data; forces are in it per ångström, and stresses per cubic
    ångström."""
    energy_weight: float = 0.05
    """Weight of the error of energies in the loss, where that of forces has 1."""
    stress_key: str = STRESS
    """Name of the stresses in the data, with the sign of ASE; data that have no "stress" are
    learned from without."""
    virial_key: str = ""
    """Name of virials in the data, minus volume times stress, which are taken in place of stresses;
    "" for none."""
    stress_weight: float = 0.1
    """Weight of the error of stresses times the volume per atom in the loss, where stresses are
    known; 0 to learn from energies and forces only."""
    buckets: tuple[int, ...] = ()
    """Sizes, in atoms, to which configurations are padded; each size is compiled once. The size of
    the largest is always added."""
    train_index: str = dataclasses.field(default="", metadata=PATH)
    """File with the numbers, from 0, of the configurations to learn from, one in each line, such as
    those of revised MD17; the last twentieth of them is for validation. "" to split by
    trajectories."""
    test_index: str = dataclasses.field(default="", metadata=PATH)
    """File with the numbers of the configurations of the test; "" for all that are in no other
    split."""
    baseline: Literal["painn", "none"] = "painn"
    """Whether a polarizable atom interaction network is trained after the model, for the same
    time."""

    def __post_init__(self):
        super().__post_init__()
        if self.test_index and not self.train_index:
            raise ValueError("train_index must be given with test_index, got ''")
        for name in ("energy_weight", "stress_weight"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(
                    f"{name} must be finite and not negative, got {getattr(self, name)}"
                )


_WEIGHTS: dict[str, Any] = {
    "num_heads": 8,
    "location": MLPLocation(dim=32, num_layers=2, num_radial=32, cutoff=6.0),
    "combine": MultiplyLogits(),
    "normalize": "mean",
    "cutoff": 5.0,
}

DEMO = RunConfig(
    task="forces",
    preset="demo",
    data="ethanol",
    targets=TARGETS,
    batch_size=16,
    steps=6_000,
    eval_every=500,
    options=ForcesOptions(),
    model=PotentialNetworkConfig(
        atoms=LieTransformerConfig(
            space=euclidean(SE(3)),
            dim=64,
            num_layers=3,
            layer=Attention(**_WEIGHTS),
            output="per_point",
        )
    ),
    optimizer=OptimizerConfig(learning_rate=5e-3, clip_norm=10.0),
)
"""Attention over distances with a smooth cutoff; a few minutes on two CPU cores."""

FIELDS = dataclasses.replace(
    DEMO,
    preset="fields",
    batch_size=8,
    steps=12_000,
    eval_every=1_000,
    model=PotentialNetworkConfig(
        atoms=FieldNetworkConfig(
            space=euclidean(E(3)),
            input_field=SCALARS,
            output_field="scalar",
            hidden_field="64x scalar + 16x vector",
            num_layers=3,
            layer=FieldLayer(**_WEIGHTS),
            neighbor_embedding=HarmonicKernel(
                radial=BernsteinValues(num_basis=16, cutoff=5.0), max_degree=1
            ),
            norm="none",
            output="per_point",
        )
    ),
    optimizer=dataclasses.replace(DEMO.optimizer, learning_rate=8e-3, ema_decay=0.99),
)
"""The same with vectors between the layers, which see directions, and kernels at the beginning,
which see elements around by many functions of the distance."""

PAPER = dataclasses.replace(
    FIELDS,
    preset="paper",
    batch_size=5,
    steps=570_000,  # 3,000 epochs of 950 configurations
    eval_every=5_700,
    options=ForcesOptions(baseline="none"),
    model=PotentialNetworkConfig(
        atoms=FieldNetworkConfig(
            space=euclidean(E(3)),
            input_field=SCALARS,
            output_field="scalar",
            hidden_field="128x scalar + 64x vector + 32x irrep(2)",
            num_layers=5,
            layer=FieldLayer(
                **_WEIGHTS,
                kernel=HarmonicKernel(
                    radial=MLPValues(dim=64, num_layers=2, num_radial=32, cutoff=6.0),
                    max_degree=2,
                ),
            ),
            products=True,
            output="per_point",
        )
    ),
    optimizer=OptimizerConfig(
        learning_rate=1e-3, weight_decay=0.0, warmup_steps=1_000, clip_norm=10.0
    ),
)
"""Of the size of the networks that are published for revised MD17, for an accelerator; it has not
been run. Fields up to degree 2 in five layers with products, between NequIP (arXiv:2101.03164: five
layers, degree 3), MACE (arXiv:2206.07697: two layers, messages of four bodies) and TorchMD-NET
(arXiv:2202.02541: six layers of attention over scalars and vectors, 8 heads). As theirs its batches
are small, and epochs thousands. The published split is that of index files
(``--options.train-index`` and ``--options.test-index``): 950 of 1,000 configurations to learn from,
and 50 for validation."""

BASELINE = PotentialNetworkConfig(atoms=PaiNNConfig())
BASELINE_OPTIMIZER = OptimizerConfig(learning_rate=4e-3, clip_norm=10.0)
