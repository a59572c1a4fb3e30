"""The data sets for TensorFlow Datasets, which need no TensorFlow.

Importing this module imports tensorflow_datasets and registers the builders, whose names are
``eqattn_molecules``, ``eqattn_springs``, ``eqattn_winds`` and those of
`eqattn.data.labeled_builders`; nothing else in the library imports either. The examples are those
of `eqattn.data.examples`, `eqattn.data.wind_forecasts.examples` and of the function `examples` in
the file of each other data set, in the same order within each split, and read back exactly equal to
them. Reading record by record is slow: to train, use `eqattn.data.load`, or `load` or `generate` in
those files.
"""

import contextlib
import dataclasses
import hashlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import numpy as np
import tensorflow_datasets as tfds

from eqattn.checks import check_option
from eqattn.data import springs
from eqattn.data.cache import cache_folder
from eqattn.data.labeled_builders import ConstellationsBuilder, ImagesBuilder, ShapesBuilder
from eqattn.data.molecules import examples, load, split
from eqattn.data.targets import TARGETS
from eqattn.data.wind_builder import WindsBuilder
from eqattn.files import fingerprint

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
    """How many trajectories to make, as for `eqattn.data.springs.generate`.

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
    """Trajectories of particles coupled by springs, see `eqattn.data.springs`."""

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


DatasetName = Literal["molecules", "springs", "winds", "shapes", "constellations", "images"]
_BUILDERS: Mapping[str, type[tfds.core.GeneratorBasedBuilder]] = {
    "molecules": MoleculesBuilder,
    "springs": SpringsBuilder,
    "winds": WindsBuilder,
    "shapes": ShapesBuilder,
    "constellations": ConstellationsBuilder,
    "images": ImagesBuilder,
}


def data_sources(
    config: str | tfds.core.BuilderConfig = "embedded",
    *,
    data_dir: str | os.PathLike[str] | None = None,
    dataset: DatasetName = "molecules",
) -> Mapping[str, Sequence[dict[str, Any]]]:
    """Returns the splits of a data set as random-access sequences of examples.

    Writes the data set first where it is not there yet. The folder of a configuration of your own
    is named after its fields and what its source holds, so that another one, or a file that was
    changed, is written anew.

    Args:
        config: Configuration of molecules ``"embedded"``, ``"qm9"`` or ``"qm9_tfds"``, of springs
            ``"demo"`` or ``"paper"``, of winds ``"embedded"`` or ``"embedded_10deg"``, of shapes
            ``"embedded"`` or ``"embedded_fold1"`` to 4, of constellations ``"paper"``, of images
            ``"digits"``, or a configuration of your own.
        data_dir: Folder for it; by default ``tfds`` in ``$EQATTN_DATA`` or ``~/.cache/eqattn``.
        dataset: Which data set.

    Raises:
        ValueError: If there is no such data set or configuration.
    """
    check_option("dataset", dataset, DatasetName)
    kind = _BUILDERS[dataset]
    known = [known.name for known in kind.BUILDER_CONFIGS]
    if isinstance(config, str) and config not in known:
        raise ValueError(f"config {config!r} is unknown; known are {', '.join(known)}.")
    folder = cache_folder() / "tfds" if data_dir is None else data_dir
    if not isinstance(config, str) and config not in kind.BUILDER_CONFIGS:
        config = _with_own_folder(config)
    builder = kind(config=config, data_dir=folder, file_format="array_record")
    with contextlib.redirect_stdout(sys.stderr):  # it announces itself; stdout is the caller's
        builder.download_and_prepare()
    return cast(Mapping[str, Sequence[dict[str, Any]]], builder.as_data_source())


def _with_own_folder(config: tfds.core.BuilderConfig) -> tfds.core.BuilderConfig:
    """A configuration under a name that only the same fields and the same source give."""
    fields: dict[str, Any] = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    source = fields.get("source")
    path = None if source is None else Path(source).expanduser()
    content = fingerprint(path) if path is not None and path.exists() else ""
    digest = hashlib.sha256(repr((sorted(fields.items()), content)).encode()).hexdigest()
    return dataclasses.replace(config, name=f"{config.name}-{digest[:16]}")
