"""The data set for TensorFlow Datasets; `eqattn.tasks.core.builders` reads it back.

Importing this module imports tensorflow_datasets, which needs no TensorFlow, and registers the
builder ``eqattn_constellations``.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar, cast

import numpy as np
import tensorflow_datasets as tfds

from eqattn.tasks.constellations import data as constellations
from eqattn.tasks.constellations.data import ConstellationParameters

__all__ = ["BUILDER"]

_Examples = Iterator[tuple[int, dict[str, Any]]]


@dataclasses.dataclass(eq=False)
class ConstellationsConfig(tfds.core.BuilderConfig):
    """How many constellations to make, as for `eqattn.tasks.constellations.data.generate`.

    Attributes:
      num_train: Examples for training.
      num_validation: Examples for validation.
      num_test: Examples for the test.
      seed: Seed of the whole data set.
      parameters: What the examples are drawn from.
    """

    num_train: int = 10_000
    num_validation: int = 1_000
    num_test: int = 1_000
    seed: int = 0
    parameters: ConstellationParameters = dataclasses.field(default_factory=ConstellationParameters)


class ConstellationsBuilder(tfds.core.GeneratorBasedBuilder):
    """Patterns in the plane to be counted, see `eqattn.tasks.constellations.data`."""

    name = "eqattn_constellations"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "Initial release."}
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [
        ConstellationsConfig(name="paper", description="As many as arXiv:2012.10885 uses."),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Corners of squares, triangles, pentagons and L's, and how many there are.",
            features=tfds.features.FeaturesDict(
                {
                    "id": tfds.features.Scalar(np.int64),
                    "points": tfds.features.Tensor(shape=(None, 2), dtype=np.float32),
                    "labels": tfds.features.Tensor(
                        shape=(constellations.NUM_KINDS,), dtype=np.int32
                    ),
                }
            ),
            homepage="https://arxiv.org/abs/2012.10885",
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, _Examples]:
        del dl_manager  # nothing is downloaded
        config = cast(ConstellationsConfig, self.builder_config)
        sizes = (config.num_train, config.num_validation, config.num_test)
        return {
            split: self._generate_examples(size, split, config)
            for split, size in zip(constellations.SPLITS, sizes, strict=True)
        }

    def _generate_examples(self, size: int, split: str, config: ConstellationsConfig) -> _Examples:
        for example in constellations.examples(
            size, split=split, seed=config.seed, parameters=config.parameters
        ):
            yield example["id"], example


BUILDER = ConstellationsBuilder
