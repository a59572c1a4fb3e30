"""The data set for TensorFlow Datasets; `eqattn.tasks.core.builders` reads it back.

Importing this module imports tensorflow_datasets, which needs no TensorFlow, and registers the
builder ``eqattn_images``.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar, cast

import numpy as np
import tensorflow_datasets as tfds

from eqattn.tasks.images import data as images

__all__ = ["BUILDER"]

_Examples = Iterator[tuple[int, dict[str, Any]]]


@dataclasses.dataclass(eq=False)
class ImagesConfig(tfds.core.BuilderConfig):
    """Which images to write.

    Attributes:
      source: ``"digits"`` or the path of a folder, as for `eqattn.tasks.images.data.load`.
    """

    source: str = "digits"


class ImagesBuilder(tfds.core.GeneratorBasedBuilder):
    """Labeled images, see `eqattn.tasks.images.data`."""

    name = "eqattn_images"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "Initial release."}
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [
        ImagesConfig(name="digits", description="1,797 handwritten digits of 8 x 8 pixels."),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Images in shades of gray, and their classes.",
            features=tfds.features.FeaturesDict(
                {
                    "id": tfds.features.Scalar(np.int64),
                    "pixels": tfds.features.Tensor(
                        shape=(None, None),
                        dtype=np.uint8,
                        encoding=tfds.features.Encoding.BYTES,  # needed for two open sizes
                    ),
                    "label": tfds.features.Scalar(np.int64),
                }
            ),
            homepage="https://doi.org/10.24432/C50P49",
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, _Examples]:
        del dl_manager  # nothing is downloaded
        config = cast(ImagesConfig, self.builder_config)
        return {split: self._generate_examples(config.source, split) for split in images.SPLITS}

    def _generate_examples(self, source: str, split: str) -> _Examples:
        for example in images.examples(source, split=split):
            yield example["id"], example


BUILDER = ImagesBuilder
