"""The data sets for TensorFlow Datasets, which need no TensorFlow.

Each task has its builder in its own folder, ``eqattn_molecules`` in
`eqattn.tasks.molecules.builder` for example. The examples are those of the function `examples` of
the task's data, in the same order within each split, and read back exactly equal to them. Reading
record by record is slow: to train, use the functions `load` or `generate` beside `examples`.
"""

import contextlib
import dataclasses
import hashlib
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import tensorflow_datasets as tfds

from eqattn.data.cache import cache_folder
from eqattn.files import fingerprint
from eqattn.tasks.core.registry import TASKS


def data_sources(
    config: str | tfds.core.BuilderConfig = "embedded",
    *,
    data_dir: str | os.PathLike[str] | None = None,
    dataset: str = "molecules",
) -> Mapping[str, Sequence[dict[str, Any]]]:
    """Returns the splits of a data set as random-access sequences of examples.

    Writes the data set first where it is not there yet. The folder of a configuration of your own
    is named after its fields and what its source holds, so that another one, or a file that was
    changed, is written anew.

    Args:
      config: Configuration of molecules ``"embedded"``, ``"qm9"`` or ``"qm9_tfds"``, of springs
        ``"demo"`` or ``"paper"``, of winds ``"embedded"`` or ``"embedded_10deg"``, of shapes
        ``"embedded"`` or ``"embedded_fold1"`` to 4, of constellations ``"paper"``, of images
        ``"digits"``, of forces ``"ethanol"``, or a configuration of your own.
      data_dir: Folder for it; by default ``tfds`` in ``$EQATTN_DATA`` or ``~/.cache/eqattn``.
      dataset: Name of the task whose data it is.

    Raises:
      ValueError: If there is no such data set or configuration.
    """
    if dataset not in TASKS:
        raise ValueError(f"dataset must be one of {', '.join(TASKS)}, got {dataset!r}")
    package = TASKS[dataset][0].rpartition(".")[0]
    kind = importlib.import_module(f"{package}.builder").BUILDER
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
    named = [f.name for f in dataclasses.fields(config) if f.metadata.get("is_path")]
    paths = [Path(fields[name]).expanduser() for name in ("source", *named) if fields.get(name)]
    contents = "".join(fingerprint(path) for path in paths if path.exists())
    digest = hashlib.sha256(repr((sorted(fields.items()), contents)).encode()).hexdigest()
    return dataclasses.replace(config, name=f"{config.name}-{digest[:16]}")
