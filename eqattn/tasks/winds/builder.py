"""The builder of the winds for TensorFlow Datasets; `eqattn.tasks.core.builders` reads it back."""

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar, cast

import numpy as np
import tensorflow_datasets as tfds

from eqattn.tasks.winds import forecasts as wind_forecasts


@dataclasses.dataclass(eq=False)
class WindsBuilderConfig(tfds.core.BuilderConfig):
    """Which winds to write.

    Attributes:
      source: ``"embedded"`` or the path of a netCDF file, as for `eqattn.tasks.winds.data.load`.
      step: Degrees between points; 0 for those of the source.
    """

    source: str = "embedded"
    step: float = 0.0


class WindsBuilder(tfds.core.GeneratorBasedBuilder):
    """Forecasts of the next month's wind, see `eqattn.tasks.winds.forecasts`."""

    name = "eqattn_winds"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "Initial release."}
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [
        WindsBuilderConfig(name="embedded", description="Navy winds of 1982 to 1992 at 5 degrees."),
        WindsBuilderConfig(
            name="embedded_10deg", step=10.0, description="The same, averaged to 10 degrees."
        ),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        def at_points(*shape: int) -> tfds.features.Tensor:
            return tfds.features.Tensor(shape=(None, *shape), dtype=np.float32)

        def exact_at_points(*shape: int) -> tfds.features.Tensor:
            # Written as bytes, because records hold other floats as float32.
            return tfds.features.Tensor(
                shape=(None, *shape), dtype=np.float64, encoding=tfds.features.Encoding.BYTES
            )

        return tfds.core.DatasetInfo(
            builder=self,
            description=(
                "Monthly mean winds on the globe as tangent vectors in three dimensions, in m/s, "
                "with their climatology, and the wind of the next month."
            ),
            features=tfds.features.FeaturesDict(
                {
                    "id": tfds.features.Scalar(np.int64),
                    "year": tfds.features.Scalar(np.int64),
                    "month": tfds.features.Scalar(np.int64),
                    "points": exact_at_points(3),
                    "areas": exact_at_points(),
                    "relief": at_points(2),
                    "wind": at_points(3),
                    "climatology": at_points(3),
                    "target_climatology": at_points(3),
                    "target": at_points(3),
                }
            ),
            homepage="https://ferret.pmel.noaa.gov/Ferret/",
            disable_shuffling=True,
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        del dl_manager  # nothing is downloaded
        return {part: self._generate_examples(part) for part in wind_forecasts.SPLITS}

    def _generate_examples(self, part: str) -> Iterator[tuple[int, dict[str, Any]]]:
        config = cast(WindsBuilderConfig, self.builder_config)
        for example in wind_forecasts.examples(config.source, part, step=config.step or None):
            yield example["id"], example


BUILDER = WindsBuilder
