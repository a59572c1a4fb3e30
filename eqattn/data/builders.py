"""The data sets of molecules for TensorFlow Datasets, which need no TensorFlow.

Importing this module imports tensorflow_datasets and registers the builder, whose name is
``eqattn_molecules``; nothing else in the library imports either. The examples are those of
`eqattn.data.examples`, in the same order within each split, and read back exactly equal to them.
Reading record by record is slow: to train, use `eqattn.data.load`.
"""

import contextlib
import dataclasses
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, cast

import numpy as np
import tensorflow_datasets as tfds

from eqattn.data.cache import cache_folder
from eqattn.data.molecules import examples, load, split
from eqattn.data.targets import TARGETS

_CITATION = """\
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
        source: ``"embedded"``, ``"qm9"`` or the path of an npz file, as for `eqattn.data.load`.
        scheme: How to split them, as for `eqattn.data.split`.
    """

    source: str = "embedded"
    scheme: str = "standard"


class MoleculesBuilder(tfds.core.GeneratorBasedBuilder):
    """Molecules with their positions and the twelve targets of `eqattn.data.TARGETS`."""

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
            citation=_CITATION,
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


def data_sources(
    config: str | MoleculesConfig = "embedded",
    *,
    data_dir: str | os.PathLike[str] | None = None,
) -> Mapping[str, Sequence[dict[str, Any]]]:
    """Returns the splits of a data set as random-access sequences of examples.

    Writes the data set first where it is not there yet.

    Args:
        config: ``"embedded"``, ``"qm9"``, ``"qm9_tfds"``, or a configuration of your own.
        data_dir: Folder for it; by default ``tfds`` in ``$EQATTN_DATA`` or ``~/.cache/eqattn``.

    Raises:
        ValueError: If there is no such configuration.
    """
    known = [known.name for known in MoleculesBuilder.BUILDER_CONFIGS]
    if isinstance(config, str) and config not in known:
        raise ValueError(f"config {config!r} is unknown; known are {', '.join(known)}.")
    folder = cache_folder() / "tfds" if data_dir is None else data_dir
    builder = MoleculesBuilder(config=config, data_dir=folder, file_format="array_record")
    with contextlib.redirect_stdout(sys.stderr):  # it announces itself; stdout is the caller's
        builder.download_and_prepare()
    return cast(Mapping[str, Sequence[dict[str, Any]]], builder.as_data_source())
