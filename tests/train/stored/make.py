"""Wrote the run folders and saved models beside this file: ``python -m tests.train.stored.make``.

They are of format 1, and stay as they are: what later code reads them as is tested against the
scores and outputs in ``expected.json``, which the code that wrote them computed.
"""

import contextlib
import dataclasses
import json
import shutil
import tempfile
from pathlib import Path

import jax
import numpy as np
from flax import nnx

from eqattn.config import (
    ImagesConfig,
    ModelConfig,
    RunConfig,
    ShapesConfig,
    SpringsConfig,
    WindsConfig,
)
from eqattn.tasks import build_model, get_preset
from eqattn.train import RunResult, evaluate, save, train

FOLDER = Path(__file__).parent
SMALL = {"dim": 8, "num_layers": 1, "num_heads": 2, "location_dim": 4, "location_layers": 2}
FEW = {"num_train": 8, "num_validation": 4, "num_test": 4}


def run_of(task: str, model: dict, preset: str = "demo", **fields) -> RunConfig:
    config = get_preset(task, preset)
    own = dataclasses.replace(config.model, **{**SMALL, **model})
    short = {"steps": 4, "eval_every": 2, "batch_size": 4, "checkpoint_every": 0.0, "seed": 3}
    return dataclasses.replace(config, model=own, **{**short, **fields})


RUNS = {
    "molecules": run_of("molecules", {"num_radial": 2}, targets=("gap", "mu"), buckets=(12, 20)),
    "molecules_haar": run_of(
        "molecules",
        {
            "lift": "haar",
            "num_samples": 2,
            "shared_samples": True,
            "coordinates": "log",
            "location": "mlp_per_head",
            "num_radial": 0,
            "head": "token",
            "final_activation": True,
            "num_neighbors": 6,
        },
        augment_rotations=True,
        num_lifts=2,
    ),
    "springs": run_of(
        "springs", {}, springs=SpringsConfig(solver="symplectic", baseline="none", **FEW)
    ),
    "springs_field": run_of(
        "springs",
        {
            "group": "SE(2)",
            "lift": "grid",
            "num_samples": 4,
            "coordinates": "embedding",
            "layer": "attentive_convolution",
            "num_basis": 3,
        },
        preset="dropin",
        springs=SpringsConfig(solver="rk4", baseline="none", **FEW),
    ),
    "shapes": run_of(
        "shapes",
        {"num_neighbors": 5, "neighbor_radius": 0.7, "num_radial": 2},
        shapes=ShapesConfig(num_points=32, subset=16, fold=1),
    ),
    "constellations": run_of(
        "constellations",
        {"lift": "random_grid", "num_samples": 3, "coordinates": "embedding", "num_radial": 0},
        constellations=dataclasses.replace(
            get_preset("constellations", "demo").constellations, test_motion="SE2", **FEW
        ),
    ),
    "images": run_of(
        "images", {"num_radial": 2}, images=ImagesConfig(threshold=0.5, baseline="none")
    ),
    "winds": run_of("winds", {}, winds=WindsConfig(num_points=20, step=30.0, baseline="none")),
}
MODELS = {
    "convolution": ModelConfig(
        **{**SMALL, "num_heads": 8}, layer="convolution", basis="bernstein", num_basis=3,
        num_radial=0, lift="subgroup", subgroup="octahedral", radial_cutoff=2.0,
    ),
    "fourier": ModelConfig(
        **{**SMALL, "num_heads": 8}, group="SE(2)", layer="convolution", basis="fourier",
        num_radial=0, lift="random_grid", num_samples=3, coordinates="embedding", norm="post",
        num_neighbors=3, neighbor_pool=4,
    ),
    "representation": ModelConfig(
        dim=8, num_layers=1, num_heads=2, attention="representation", kernel="linear", length=2.0,
        turns_values=False, lift="frames",
    ),
    "concatenated": ModelConfig(
        **SMALL, content="linear_concat_linear", content_features=2, combine="mlp",
        location="mlp_per_head", location_features=3, num_radial=0, lift="haar",
        coordinates="embedding", activation="gelu",
    ),
    "relative": ModelConfig(
        **SMALL, group="RxSO2", lift="haar", content="relative_position", combine="product",
        normalize="exponential_mean", num_radial=0, coordinates="log", norm="none", pool="sum",
        activation="softplus",
    ),
    "raw": ModelConfig(
        **SMALL, group="T(3)", location="raw", combine="mlp", num_radial=0, coordinates="embedding",
        dtype="bfloat16", pool="max", mlp_ratio=1.0, activation="relu",
    ),
    "radial": ModelConfig(
        **SMALL, group="SO(3)", lift="haar", num_samples=2, location="radial", output="per_point",
    ),
}  # fmt: skip


class _StoppedError(Exception):
    """Stops a run as a signal would, without a checkpoint."""


class _Stopper:
    def update(self, update):
        if update.step == 4:
            raise _StoppedError

    def note(self, text):
        pass

    def close(self):
        pass


def outputs(model: nnx.Module, dim: int) -> np.ndarray:
    """Outputs of a saved model for points that need no generator."""
    steps = np.arange(2 * 5 * dim, dtype=np.float32).reshape(2, 5, dim)
    points, features = 1.5 * np.sin(1.0 + steps), np.cos(steps[..., :2])
    mask = np.arange(5) < np.array([[5], [3]])
    call = jax.jit(lambda model, *inputs: model(*inputs, key=jax.random.key(1)))
    return np.asarray(call(model, points, features, mask), np.float32)


def objectives(result: RunResult) -> dict[str, float]:
    """The first score of each target."""
    return {score.target: score.value for score in reversed(result.scores)}


def dimension(config: ModelConfig) -> int:
    return 2 if config.group in ("SE(2)", "RxSO2") else 3


def main() -> None:
    expected = {"runs": {}, "models": {}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for run, config in RUNS.items():
            whole, stopped = folder / "whole" / run, folder / run
            result = train(config, whole)
            validation = evaluate(whole, split="validation")
            expected["runs"][run] = {
                "test": objectives(result),
                "validation": objectives(validation),
            }
            with contextlib.suppress(_StoppedError):
                train(config, stopped, reporter=_Stopper())
            (stopped / "lock").unlink(missing_ok=True)
        for model, config in MODELS.items():
            built = build_model(config, 2, 3, seed=1)
            save(built, config, folder / model)
            expected["models"][model] = outputs(built, dimension(config)).tolist()
        for stored in (*RUNS, *MODELS):
            shutil.make_archive(str(FOLDER / stored), "zip", folder, stored)
    (FOLDER / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
