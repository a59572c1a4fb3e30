"""A MACE (arXiv 2206.07697) at its own settings, on the splits of the task "forces".

It runs in an environment of its own, which has ``mace-torch`` and neither eqattn nor jax::

    python -m benchmarks.forces --write-splits SPLITS   # in the environment of eqattn
    export TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1
    OTHER/bin/python benchmarks/mace_forces.py SPLITS --minutes 1 3 10 --json-path FILE

The variable lets e3nn 0.4.4, which MACE asks for, read its own constants with a torch of today.
Architecture, loss, optimizer and batch are the defaults of ``mace_run_train`` where those have
one, in float32; only the learning rate falls by a cosine, which helps runs as short as these. Each
run takes as many steps as fit into so many minutes of CPU time of the process; evaluation is not
counted. One JSON object for each run goes to stdout: mean absolute errors in meV/Å and meV, of
averaged parameters.
"""

import argparse
import copy
import json
import math
import time
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import torch
from e3nn import o3
from mace import data, modules, tools
from mace.tools import torch_geometric

CUTOFF, BATCH, RATE, EMA, CLIP = 5.0, 10, 0.01, 0.99, 10.0
WARM_UP, MEASURED = 3, 20


def read(folder: Path, split: str) -> tuple[list[Any], list[Any]]:
    """Returns the structures of a split, and what MACE makes of them.

    Args:
      folder: Where the splits are, as extended xyz.
      split: "train", "validation" or "test".
    """
    structures = ase.io.read(folder / f"{split}.extxyz", ":")
    keys = data.KeySpecification({"energy": "label_energy"}, {"forces": "label_forces"})
    for atoms in structures:  # ASE keeps labels in a calculator
        atoms.info["label_energy"] = atoms.get_potential_energy()
        atoms.arrays["label_forces"] = atoms.get_forces()
    return structures, data.config_from_atoms_list(structures, keys)


def references(structures: list[Any], numbers: list[int]) -> np.ndarray:
    """Returns an energy for each element, by least squares.

    Args:
      structures: The structures to learn from.
      numbers: Atomic numbers of the elements.
    """
    counts = np.array([[np.sum(s.numbers == z) for z in numbers] for s in structures], float)
    energies = np.array([s.info["label_energy"] for s in structures])
    return np.linalg.lstsq(counts, energies, rcond=None)[0]


def build(structures: list[Any], table: Any, loader: Any) -> Any:
    """Returns a MACE with fresh parameters.

    Args:
      structures: The structures to learn from.
      table: Atomic numbers of the elements.
      loader: Batches of the structures.
    """
    forces = np.concatenate([s.arrays["label_forces"] for s in structures])
    return modules.ScaleShiftMACE(
        r_max=CUTOFF,
        num_bessel=8,
        num_polynomial_cutoff=5,
        max_ell=3,
        interaction_cls=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
        interaction_cls_first=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
        num_interactions=2,
        num_elements=len(table),
        hidden_irreps=o3.Irreps("128x0e + 128x1o"),
        MLP_irreps=o3.Irreps("16x0e"),
        gate=torch.nn.functional.silu,
        atomic_energies=references(structures, list(table.zs)),
        avg_num_neighbors=modules.compute_avg_num_neighbors(loader),
        atomic_numbers=list(table.zs),
        correlation=3,
        atomic_inter_scale=float(np.sqrt(np.mean(forces**2))),
        atomic_inter_shift=0.0,
    )


def batches(loader: Any) -> Any:
    """Yields the batches of one epoch after the other.

    Args:
      loader: The batches of one epoch.
    """
    while True:
        yield from loader


def score(model: Any, loader: Any) -> dict[str, float]:
    """Returns mean absolute errors in meV/Å and meV.

    Args:
      model: The model.
      loader: Batches of a split.
    """
    missed: dict[str, list[np.ndarray]] = {"forces": [], "energy": []}
    for batch in loader:
        out = model(batch.to_dict(), training=False, compute_force=True)
        for name, errors in missed.items():
            errors.append((out[name] - batch[name]).detach().numpy().ravel())
    return {name: 1e3 * float(np.abs(np.concatenate(e)).mean()) for name, e in missed.items()}


def train(model: Any, loader: Any, steps: int) -> tuple[Any, float]:
    """Trains a model; returns that of the averaged parameters, and CPU seconds of the steps.

    Args:
      model: The model, which is changed.
      loader: Batches to learn from.
      steps: Number of steps, over which the rate falls.
    """
    loss_fn = modules.WeightedEnergyForcesLoss(energy_weight=1.0, forces_weight=100.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, amsgrad=True, weight_decay=5e-7)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / steps))
    )
    average = copy.deepcopy(model)
    began, stream = time.process_time(), batches(loader)
    for step in range(steps):
        batch = next(stream)
        optimizer.zero_grad(set_to_none=True)
        out = model(batch.to_dict(), training=True, compute_force=True)
        loss_fn(ref=batch, pred=out).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        schedule.step()
        decay = min(EMA, (1 + step) / (10 + step))
        with torch.no_grad():
            for old, new in zip(average.parameters(), model.parameters(), strict=True):
                old.lerp_(new, 1 - decay)
    return average, time.process_time() - began


def main() -> None:
    """Trains a MACE for each time and seed, and prints its errors."""
    parser = argparse.ArgumentParser()
    parser.add_argument("splits", type=Path)
    parser.add_argument("--minutes", type=float, nargs="+", default=[1.0, 3.0])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--json-path", type=Path)
    arguments = parser.parse_args()
    torch.set_default_dtype(torch.float32)
    torch.set_num_threads(1)
    found: list[dict[str, Any]] = []
    if arguments.json_path is not None and arguments.json_path.is_file():
        found = json.loads(arguments.json_path.read_text())
    structures, _ = read(arguments.splits, "train")
    table = tools.AtomicNumberTable(sorted({int(z) for s in structures for z in s.numbers}))

    def loader_of(split: str) -> Any:
        made = [
            data.AtomicData.from_config(x, z_table=table, cutoff=CUTOFF)
            for x in read(arguments.splits, split)[1]
        ]
        is_training = split == "train"
        return torch_geometric.dataloader.DataLoader(
            made, batch_size=BATCH, shuffle=is_training, drop_last=is_training
        )

    loaders = {split: loader_of(split) for split in ("train", "validation", "test")}
    for minutes in arguments.minutes:
        for seed in range(arguments.seeds):
            wanted = {"model": "mace", "minutes": minutes, "seed": seed}
            if any(wanted.items() <= row.items() for row in found):
                continue
            torch.manual_seed(seed)
            model = build(structures, table, loaders["train"])
            train(copy.deepcopy(model), loaders["train"], WARM_UP)
            each = train(copy.deepcopy(model), loaders["train"], MEASURED)[1] / MEASURED
            steps = max(1, int(60 * minutes / each))
            model, seconds = train(model, loaders["train"], steps)
            row = {
                **wanted,
                "parameters": sum(p.numel() for p in model.parameters()),
                "steps": steps,
                "seconds": round(seconds, 1),
                **{split: score(model, loaders[split]) for split in ("validation", "test")},
            }
            found.append(row)
            print(json.dumps(row), flush=True)
            if arguments.json_path is not None:
                arguments.json_path.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
