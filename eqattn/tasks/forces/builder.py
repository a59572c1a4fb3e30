"""The data set for TensorFlow Datasets; `eqattn.tasks.core.builders` reads it back.

Importing this module imports tensorflow_datasets, which needs no TensorFlow, and registers the
builder ``eqattn_forces``.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar, cast

import numpy as np
import tensorflow_datasets as tfds

from eqattn.tasks.core.atom_records import atom_features, exact
from eqattn.tasks.forces.data import examples, load, split
from eqattn.tasks.forces.index_files import split_by_files
from eqattn.tasks.forces.presets import PATH

__all__ = ["BUILDER"]

_CITATION = """\
@article{bannwarth2019gfn2,
  title={GFN2-xTB: An Accurate and Broadly Parametrized Self-Consistent Tight-Binding Quantum
         Chemical Method with Multipole Electrostatics and Density-Dependent Dispersion
         Contributions},
  author={Bannwarth, Christoph and Ehlert, Sebastian and Grimme, Stefan},
  journal={Journal of Chemical Theory and Computation},
  volume={15},
  pages={1652--1671},
  year={2019},
  doi={10.1021/acs.jctc.8b01176}
}"""


@dataclasses.dataclass(eq=False)
class ForcesConfig(tfds.core.BuilderConfig):
    """Which configurations of atoms to write.

    Attributes:
      source: ``"ethanol"`` or the path of a file, as for `eqattn.tasks.forces.data.load`.
      train_index: File with the numbers of those to learn from, as for
        `eqattn.tasks.forces.index_files.split_by_files`; "" to split by trajectories.
      test_index: File with the numbers of the test; "" for all that are in no other split.
    """

    source: str = "ethanol"
    train_index: str = dataclasses.field(default="", metadata=PATH)
    test_index: str = dataclasses.field(default="", metadata=PATH)


class ForcesBuilder(tfds.core.GeneratorBasedBuilder):
    """Configurations of atoms with their cells, energies and forces."""

    name = "eqattn_forces"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "Initial release."}
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [
        ForcesConfig(name="ethanol", description="1,600 frames of ethanol at 500 K by GFN2-xTB."),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        found = load(cast(ForcesConfig, self.builder_config).source)
        known = {name: x.shape[1:] for name, x in found.properties.items()}
        known_of_atoms = {name: x.shape[1:] for name, x in found.atom_properties.items()}
        return tfds.core.DatasetInfo(
            builder=self,
            description="Atoms with energies and forces; positions in angstrom, labels of ethanol "
            "in eV and eV/angstrom, those of a file as they are there.",
            features=tfds.features.FeaturesDict(
                {
                    **atom_features(known, known_of_atoms),
                    "cell": exact(3, 3),
                    "periodic": tfds.features.Tensor(shape=(3,), dtype=np.bool_),
                }
            ),
            homepage="https://doi.org/10.1021/acs.jctc.8b01176",
            citation=_CITATION,
            disable_shuffling=True,
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        del dl_manager  # nothing is downloaded
        config = cast(ForcesConfig, self.builder_config)
        found = load(config.source)
        if config.train_index:
            parts = split_by_files(len(found), config.train_index, config.test_index or None)
        else:
            parts = split(found, config.source)
        return {
            name: self._generate_examples(config.source, set(part.tolist()))
            for name, part in parts.items()
        }

    def _generate_examples(
        self, source: str, members: set[int]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        for index, example in enumerate(examples(source)):
            if index in members:
                yield index, example


BUILDER = ForcesBuilder
