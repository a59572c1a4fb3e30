"""A task that compiles in no time: two numbers from three, by a linear model."""

import dataclasses
from dataclasses import dataclass
from types import MappingProxyType

import grain
import jax.numpy as jnp
import numpy as np
from flax import nnx

from eqattn.config import OptimizerConfig, RunConfig, Standardization, TaskOptions
from eqattn.models.config import NetworkConfig
from eqattn.tasks import Score, weighted_sums

WEIGHTS = np.array([[1.0, 0.5], [-2.0, 0.0], [0.5, 3.0]], np.float32)


@dataclass(frozen=True, repr=False, kw_only=True)
class ToyConfig(NetworkConfig):
    """A linear map, as anybody may add an architecture of their own."""

    def build(self, in_features, out_features, *, rngs):
        return ToyModel(self, in_features, out_features, rngs)


class ToyModel(nnx.Linear):
    def __init__(self, config, in_features, out_features, rngs):
        super().__init__(in_features, out_features, param_dtype=jnp.float32, rngs=rngs)
        self.config = config


PRESET = RunConfig(
    task="toy",
    targets=("a", "b"),
    batch_size=8,
    steps=40,
    eval_every=20,
    model=ToyConfig(),
    optimizer=OptimizerConfig(learning_rate=0.1, warmup_steps=2, ema_decay=0.5),
)


class ToyProblem:
    in_features = 3
    out_features = 2
    num_examples = MappingProxyType({"train": 1000, "validation": 20, "test": 12})

    def __init__(self, config, standardization, bad_step):
        self.config, self.bad_step = config, bad_step
        self.standardization = standardization

    def batch(self, seed, size):
        x = np.random.default_rng(seed).normal(size=(size, 3)).astype(np.float32)
        batch = {"x": x, "targets": x @ WEIGHTS, "weight": np.ones(size, np.float32)}
        if seed == self.bad_step:
            batch["x"] = np.full_like(x, np.nan)
        return batch

    def training_batches(self):
        return grain.MapDataset.range(1_000_000).map(
            lambda i: self.batch(int(i), self.config.batch_size)
        )

    def evaluation_batches(self, split):
        filled = self.batch({"train": 1, "validation": 2_000_001, "test": 2_000_002}[split], 16)
        filled["weight"] = (np.arange(16) < 12).astype(np.float32)
        for half in (slice(0, 8), slice(8, 16)):
            yield {name: array[half] for name, array in filled.items()}

    def loss(self, model, batch, key):
        errors = jnp.mean(jnp.abs(model(batch["x"]) - batch["targets"]), -1)
        return weighted_sums(errors, batch)

    def predict(self, model, batch, num_lifts):
        error = jnp.abs(model(batch["x"]) - batch["targets"])
        return {"error": error, "loss": jnp.mean(error, -1)}

    def score(self, split, predictions):
        errors = predictions["error"].mean(0)
        return tuple(
            Score(name, "mae", float(error), 1.0, "m")
            for name, error in zip(self.config.targets, errors, strict=True)
        )


class ToyTask:
    name = "toy"
    options = TaskOptions
    data_names = ("embedded",)
    description = "a toy"
    targets = MappingProxyType({"a": "m", "b": "m"})
    presets = MappingProxyType({"demo": PRESET})
    bad_step: int | None = None

    def prepare(self, config, standardization=None):
        if standardization is None:
            standardization = (
                Standardization("a", "m", 0.0, 1.0),
                Standardization("b", "m", 0.0, 1.0),
            )
        return ToyProblem(config, tuple(standardization), self.bad_step)


class ToyTaskWithBaseline(ToyTask):
    """With itself at a lower rate as its baseline."""

    baseline_names = ("nothing", "slow")

    def baseline(self, config):
        if config.optimizer.learning_rate < 0.01:
            return None
        optimizer = dataclasses.replace(config.optimizer, learning_rate=1e-3)
        return dataclasses.replace(config, optimizer=optimizer)
