"""The data set for TensorFlow Datasets; `eqattn.tasks.core.builders` reads it back.

Importing this module imports tensorflow_datasets, which needs no TensorFlow, and registers the
builder ``eqattn_molecules``.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar, cast

import tensorflow_datasets as tfds

from eqattn.tasks.core.atom_records import atom_features
from eqattn.tasks.molecules.data import NAMES, examples, load, split
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
      source: ``"embedded"``, ``"qm9"`` or the path of a file, as for `eqattn.tasks.molecules.load`.
      scheme: How to split them, as for `eqattn.tasks.molecules.split`.
    """

    source: str = "embedded"
    scheme: str = "standard"


class MoleculesBuilder(tfds.core.GeneratorBasedBuilder):
    """Molecules with their positions and all that is known of them."""

    name = "eqattn_molecules"
    VERSION = tfds.core.Version("2.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {
        "1.0.0": "Initial release.",
        "2.0.0": "Properties by their names, of molecules and of atoms; positions in float64.",
    }
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
        known, known_of_atoms = _shapes(cast(MoleculesConfig, self.builder_config).source)
        units = ", ".join(f"{target.name} [{target.unit}]" for target in TARGETS.values())
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"Molecules; positions in angstrom; the targets of QM9 are {units}.",
            features=tfds.features.FeaturesDict(atom_features(known, known_of_atoms)),
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
                yield index, example


def _shapes(source: str) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
    """Returns the shape of each property of a molecule, and of an atom."""
    if source in NAMES:
        return dict.fromkeys(TARGETS, ()), {}
    found = load(source)
    of_molecules = {name: x.shape[1:] for name, x in found.properties.items()}
    return of_molecules, {name: x.shape[1:] for name, x in found.atom_properties.items()}


BUILDER = MoleculesBuilder
