"""The data set for TensorFlow Datasets; `eqattn.tasks.core.builders` reads it back.

Importing this module imports tensorflow_datasets, which needs no TensorFlow, and registers the
builder ``eqattn_springs``.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar, cast

import numpy as np
import tensorflow_datasets as tfds

from eqattn.tasks.springs import data as springs

__all__ = ["BUILDER"]

_SPRINGS_CITATION = """\
@inproceedings{hutchinson2021lietransformer,
  title={LieTransformer: Equivariant self-attention for Lie groups},
  author={Hutchinson, Michael and Le Lan, Charline and Zaidi, Sheheryar and Dupont, Emilien and
          Teh, Yee Whye and Kim, Hyunjik},
  booktitle={International Conference on Machine Learning},
  year={2021}
}"""


@dataclasses.dataclass(eq=False)
class SpringsBuilderConfig(tfds.core.BuilderConfig):
    """How many trajectories to make, as for `eqattn.tasks.springs.data.generate`.

    Attributes:
      num_train: Trajectories for training.
      num_validation: Trajectories for validation.
      num_test: Trajectories for the test.
      seed: Seed of the whole data set.
    """

    num_train: int = 400
    num_validation: int = 100
    num_test: int = 200
    seed: int = 0


class SpringsBuilder(tfds.core.GeneratorBasedBuilder):
    """Trajectories of particles coupled by springs, see `eqattn.tasks.springs.data`."""

    name = "eqattn_springs"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "Initial release."}
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [
        SpringsBuilderConfig(name="demo", description="As many as the preset demo uses."),
        SpringsBuilderConfig(
            name="paper",
            num_train=10_000,
            num_validation=2_000,
            num_test=2_000,
            description="As many as arXiv:2012.10885 uses at most.",
        ),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        def exact(*shape: int) -> tfds.features.Tensor:
            # Written as bytes, because records hold other floats as float32.
            return tfds.features.Tensor(
                shape=shape, dtype=np.float64, encoding=tfds.features.Encoding.BYTES
            )

        particles = springs.NUM_PARTICLES
        return tfds.core.DatasetInfo(
            builder=self,
            description="Particles in the plane coupled by springs, at 500 times; dimensionless.",
            features=tfds.features.FeaturesDict(
                {
                    "id": tfds.features.Scalar(np.int64),
                    "masses": exact(particles),
                    "spring_constants": exact(particles),
                    "positions": exact(springs.NUM_TIMES, particles, 2),
                    "momenta": exact(springs.NUM_TIMES, particles, 2),
                }
            ),
            homepage="https://arxiv.org/abs/2012.10885",
            citation=_SPRINGS_CITATION,
            disable_shuffling=True,
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        del dl_manager  # nothing is downloaded
        config = cast(SpringsBuilderConfig, self.builder_config)
        sizes = (config.num_train, config.num_validation, config.num_test)
        return {
            split: self._generate_examples(size, split, config.seed)
            for split, size in zip(springs.SPLITS, sizes, strict=True)
        }

    def _generate_examples(
        self, num_trajectories: int, split: str, seed: int
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        for example in springs.examples(num_trajectories, split=split, seed=seed):
            yield example["id"], example


BUILDER = SpringsBuilder
