"""The data set for TensorFlow Datasets; `eqattn.tasks.core.builders` reads it back.

Importing this module imports tensorflow_datasets, which needs no TensorFlow, and registers the
builder ``eqattn_nbody``.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar, cast

import numpy as np
import tensorflow_datasets as tfds

from eqattn.tasks.nbody import data

__all__ = ["BUILDER"]

_CITATION = """\
@inproceedings{satorras2021egnn,
  title={E(n) Equivariant Graph Neural Networks},
  author={Satorras, Victor Garcia and Hoogeboom, Emiel and Welling, Max},
  booktitle={International Conference on Machine Learning},
  year={2021}
}"""


@dataclasses.dataclass(eq=False)
class NBodyConfig(tfds.core.BuilderConfig):
    """Which systems to make, as for `eqattn.tasks.nbody.data.generate`.

    Attributes:
      num_bodies: Particles of a system.
      interaction: "charges" or "gravity".
      num_train: Systems for training.
      num_validation: Systems for validation.
      num_test: Systems for the test.
      seed: Seed of the whole data set.
    """

    num_bodies: int = 5
    interaction: str = "charges"
    num_train: int = 3_000
    num_validation: int = 2_000
    num_test: int = 2_000
    seed: int = 43


class NBodyBuilder(tfds.core.GeneratorBasedBuilder):
    """Systems of particles at two times, see `eqattn.tasks.nbody.data`."""

    name = "eqattn_nbody"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "Initial release."}
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [
        NBodyConfig(name="charged5", description="As published in arXiv:2102.09844."),
        NBodyConfig(name="charged20", num_bodies=20, description="The same with 20 particles."),
        NBodyConfig(name="gravity5", interaction="gravity", description="Masses that attract."),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        config = cast(NBodyConfig, self.builder_config)

        def exact(*shape: int) -> tfds.features.Tensor:
            # Written as bytes, because records hold other floats as float32.
            return tfds.features.Tensor(
                shape=shape, dtype=np.float64, encoding=tfds.features.Encoding.BYTES
            )

        states = {
            name: exact(config.num_bodies, 3) for name in ("positions", "velocities", "targets")
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description="Particles in space and where they are 1,000 steps later; dimensionless.",
            features=tfds.features.FeaturesDict(
                {
                    "id": tfds.features.Scalar(np.int64),
                    "charges": exact(config.num_bodies),
                    **states,
                }
            ),
            homepage="https://arxiv.org/abs/2102.09844",
            citation=_CITATION,
            disable_shuffling=True,
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        del dl_manager  # nothing is downloaded
        config = cast(NBodyConfig, self.builder_config)
        sizes = (config.num_train, config.num_validation, config.num_test)
        return {
            split: self._generate_examples(size, split, config)
            for split, size in zip(data.DRAWN, sizes, strict=True)
        }

    def _generate_examples(
        self, num_systems: int, split: str, config: NBodyConfig
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        for example in data.examples(
            num_systems,
            split=split,
            num_bodies=config.num_bodies,
            interaction=cast(data.Interaction, config.interaction),
            seed=config.seed,
        ):
            yield example["id"], example


BUILDER = NBodyBuilder
