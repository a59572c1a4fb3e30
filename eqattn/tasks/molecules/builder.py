"""The data set for TensorFlow Datasets; `eqattn.tasks.core.builders` reads it back.

Importing this module imports tensorflow_datasets, which needs no TensorFlow, and registers the
builder ``eqattn_molecules``.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar, cast

import numpy as np
import tensorflow_datasets as tfds

from eqattn.tasks.molecules.data import examples, load, split
from eqattn.tasks.molecules.targets import TARGETS

__all__ = ["BUILDER"]

_MOLECULES_CITATION = """\
@article{ramakrishnan2014quantum,
  title={Quantum chemistry structures and properties of 134 kilo molecules},
  author={Ramakrishnan, Raghunathan and Dral, Pavlo O and Rupp, Matthias and
          von Lilienfeld, O Anatole},
  journal={Scientific Data},
  volume={1},
  pages={140022},
  year={2014},
  doi={10.1038/sdata.2014.22}
}"""


@dataclasses.dataclass(eq=False)
class MoleculesConfig(tfds.core.BuilderConfig):
    """Which molecules to write.

    Attributes:
      source: ``"embedded"``, ``"qm9"`` or the path of an npz file, as for `load` there.
      scheme: How to split them, as for `eqattn.tasks.molecules.split`.
    """

    source: str = "embedded"
    scheme: str = "standard"


class MoleculesBuilder(tfds.core.GeneratorBasedBuilder):
    """Molecules with their positions and the twelve targets of `eqattn.tasks.molecules.TARGETS`."""

    name = "eqattn_molecules"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "Initial release."}
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [
        MoleculesConfig(name="embedded", description="3,000 molecules of QM9."),
        MoleculesConfig(name="qm9", source="qm9", description="QM9, split as arXiv:1906.04015."),
        MoleculesConfig(
            name="qm9_tfds",
            source="qm9",
            scheme="tfds",
            description="QM9, split as arXiv:2003.03123.",
        ),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        units = ", ".join(f"{target.name} [{target.unit}]" for target in TARGETS.values())
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"Molecules; positions in angstrom; the targets are {units}.",
            features=tfds.features.FeaturesDict(
                {
                    "id": tfds.features.Scalar(np.int64),
                    "numbers": tfds.features.Tensor(shape=(None,), dtype=np.uint8),
                    "positions": tfds.features.Tensor(shape=(None, 3), dtype=np.float32),
                    # Written as bytes, because records hold other floats as float32.
                    "targets": tfds.features.Tensor(
                        shape=(len(TARGETS),),
                        dtype=np.float64,
                        encoding=tfds.features.Encoding.BYTES,
                    ),
                }
            ),
            homepage="https://doi.org/10.1038/sdata.2014.22",
            citation=_MOLECULES_CITATION,
            disable_shuffling=True,
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        del dl_manager  # nothing is downloaded
        config = cast(MoleculesConfig, self.builder_config)
        parts = split(load(config.source), config.source, config.scheme)
        return {
            name: self._generate_examples(config.source, set(part.tolist()))
            for name, part in parts.items()
        }

    def _generate_examples(
        self, source: str, members: set[int]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        for index, example in enumerate(examples(source)):
            if index in members:
                positions = example["positions"]
                if positions.dtype == np.float64:  # only of files; records hold float32
                    positions = (positions - positions.mean(axis=0)).astype(np.float32)
                yield index, example | {"positions": positions}


BUILDER = MoleculesBuilder
