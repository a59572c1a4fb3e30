"""The labeled data sets for TensorFlow Datasets: shapes, constellations, images.

Importing this module imports tensorflow_datasets and registers the builders
``eqattn_shapes``, ``eqattn_constellations`` and ``eqattn_images``. Read them through
`eqattn.data.builders.data_sources`.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar, cast

import numpy as np
import tensorflow_datasets as tfds

from eqattn.data import constellations, images, shapes
from eqattn.data.constellations import ConstellationParameters

_Examples = Iterator[tuple[int, dict[str, Any]]]


@dataclasses.dataclass(eq=False)
class ShapesConfig(tfds.core.BuilderConfig):
    """Which shapes to write.

    Attributes:
        source: ``"embedded"`` or the path of a folder, as for `eqattn.data.shapes.load`.
        fold: Which of its folds is the test, as for `eqattn.data.shapes.split`.
    """

    source: str = "embedded"
    fold: int = 0


class ShapesBuilder(tfds.core.GeneratorBasedBuilder):
    """Labeled shapes, see `eqattn.data.shapes`."""

    name = "eqattn_shapes"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "Initial release."}
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [
        ShapesConfig(name="embedded", description="The embedded shapes, tested on fold 0."),
        *(
            ShapesConfig(
                name=f"embedded_fold{fold}",
                fold=fold,
                description=f"The embedded shapes, tested on fold {fold}.",
            )
            for fold in range(1, 5)
        ),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        config = cast(ShapesConfig, self.builder_config)
        return tfds.core.DatasetInfo(
            builder=self,
            description="Points on the surfaces of shapes, in the unit ball, z up.",
            features=tfds.features.FeaturesDict(
                {
                    "id": tfds.features.Scalar(np.int64),
                    "points": tfds.features.Tensor(shape=(None, 3), dtype=np.float32),
                    "label": tfds.features.ClassLabel(names=shapes.class_names(config.source)),
                    "group": tfds.features.Scalar(np.int64),
                    "fold": tfds.features.Scalar(np.int64),
                }
            ),
            homepage="http://www.sweethome3d.com",
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, _Examples]:
        del dl_manager  # nothing is downloaded
        config = cast(ShapesConfig, self.builder_config)
        held = shapes.load(config.source)
        parts = shapes.split(held, config.fold)
        return {name: self._generate_examples(held[part]) for name, part in parts.items()}

    def _generate_examples(self, part: shapes.Shapes) -> _Examples:
        for index, number in enumerate(part.ids.tolist()):
            yield (
                number,
                {
                    "id": number,
                    "points": part.points[index],
                    "label": int(part.labels[index]),
                    "group": int(part.groups[index]),
                    "fold": int(part.folds[index]),
                },
            )


@dataclasses.dataclass(eq=False)
class ConstellationsConfig(tfds.core.BuilderConfig):
    """How many constellations to make, as for `eqattn.data.constellations.generate`.

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
    """Patterns in the plane to be counted, see `eqattn.data.constellations`."""

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


@dataclasses.dataclass(eq=False)
class ImagesConfig(tfds.core.BuilderConfig):
    """Which images to write.

    Attributes:
        source: ``"digits"`` or the path of a folder, as for `eqattn.data.images.load`.
    """

    source: str = "digits"


class ImagesBuilder(tfds.core.GeneratorBasedBuilder):
    """Labeled images, see `eqattn.data.images`."""

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
