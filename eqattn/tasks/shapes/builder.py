"""The data set for TensorFlow Datasets; `eqattn.tasks.core.builders` reads it back.

Importing this module imports tensorflow_datasets, which needs no TensorFlow, and registers the
builder ``eqattn_shapes``.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar, cast

import numpy as np
import tensorflow_datasets as tfds

from eqattn.tasks.shapes import data as shapes

__all__ = ["BUILDER"]

_Examples = Iterator[tuple[int, dict[str, Any]]]


@dataclasses.dataclass(eq=False)
class ShapesConfig(tfds.core.BuilderConfig):
    """Which shapes to write.

    Attributes:
      source: ``"embedded"`` or the path of a folder, as for `eqattn.tasks.shapes.data.load`.
      fold: Index of the fold that is the test, as for `eqattn.tasks.shapes.data.split`.
    """

    source: str = "embedded"
    fold: int = 0


class ShapesBuilder(tfds.core.GeneratorBasedBuilder):
    """Labeled shapes, see `eqattn.tasks.shapes.data`."""

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


BUILDER = ShapesBuilder
