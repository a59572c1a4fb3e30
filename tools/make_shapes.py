"""Makes the labeled shapes that come with the package, from the free models of Sweet Home 3D.

Unpack the Debian package sweethome3d-furniture anywhere (``dpkg-deb -x``) and run
``python -m tools.make_shapes FOLDER`` on the folder of its archives ``*.sh3f``. It
writes ``shapes.npz``, the record ``shapes.json`` and the list of authors
``shapes_attribution.txt``, and prints the names in each class, to be checked by eye. What is of
which class stands in `tools.sweethome3d`.

The file in the package is from 2026-11-23, when polygons that are not convex were cut from their
first corner like all others; made again, 84 of its 408 shapes have other points, and 12 of them
more than 5 % less area.
"""

import argparse
import datetime
import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eqattn.data.cache import save_arrays
from eqattn.tasks.shapes.data import EMBEDDED_PATH, QUANTUM
from eqattn.tasks.shapes.folds import assign_parts
from eqattn.tasks.shapes.meshes import sample_surface, to_unit_ball
from tools.sweethome3d import (
    ARCHIVES,
    CLASSES,
    Model,
    read_models,
    series,
)

NUM_POINTS = 256
NUM_FOLDS = 5
ATTRIBUTION_PATH = EMBEDDED_PATH.with_name("shapes_attribution.txt")


def make(source: Path, folder: Path) -> Path:
    """Writes the npz file, its record and the list of authors, and returns the first one's path.

    Args:
      source: Folder with the archives.
      folder: Where to write.

    Raises:
      FileNotFoundError: If an archive is missing.
      ValueError: If one cannot be read.
    """
    archives = {name: source / f"{name}.sh3f" for name in ARCHIVES}
    found = [
        model
        for name, archive in archives.items()
        for model in read_models(archive, ARCHIVES[name])
    ]
    names = sorted(CLASSES)
    labels = np.array([names.index(label) for label, _ in found], np.uint8)
    models = [model for _, model in found]
    common = [series(model.path) for model in models]
    groups = np.array([common.index(one) for one in common], np.int16)
    points = np.stack([_sample(model) for model in models])
    path = folder / EMBEDDED_PATH.name
    arrays = {
        "points": np.round(points / QUANTUM).astype(np.int16),
        "labels": labels,
        "groups": groups,
        "folds": assign_parts(labels.astype(int), groups.astype(int), NUM_FOLDS).astype(np.uint8),
        "class_names": np.array(names),
    }
    save_arrays(path, arrays, use_compression=True)
    list_path = folder / ATTRIBUTION_PATH.name
    list_path.write_text(_attribution(models, labels, names), encoding="utf-8")
    record = _record(path, list_path, archives, models, arrays)
    text = json.dumps(record, indent=2, ensure_ascii=False)
    path.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    for label, name in enumerate(names):
        members = [model.name for model, of in zip(models, labels, strict=True) if of == label]
        print(f"{name} ({len(members)}): {'; '.join(members)}")
    return path


def _sample(model: Model) -> np.ndarray:
    random = np.random.RandomState(zlib.crc32(model.path.encode()))
    return to_unit_ball(sample_surface(model.mesh, NUM_POINTS, random))


def _attribution(models: Sequence[Model], labels: np.ndarray, names: list[str]) -> str:
    pages = {model.license.name: model.license.page for model in models}
    head = (
        "Shapes in shapes.npz, made from models of the Sweet Home 3D furniture libraries\n"
        "(http://www.sweethome3d.com). Changes: 256 points were drawn from the surface of each\n"
        "model, centered, scaled, and rounded to 16 bits; nothing else of the models is here.\n\n"
        + "".join(f"{name}: {page}\n" for name, page in sorted(pages.items()))
    )
    lines = [
        f"{number}\t{names[label]}\t{model.name}\t{model.path}\t{model.author}\t"
        f"{model.license.name}\t{model.page}".rstrip()
        for number, (model, label) in enumerate(zip(models, labels, strict=True))
    ]
    return "\n".join([head, "id\tclass\tname\tmodel\tauthor\tlicense\tpage", *lines, ""])


def _record(
    path: Path,
    list_path: Path,
    archives: dict[str, Path],
    models: Sequence[Model],
    arrays: dict[str, np.ndarray],
) -> dict[str, object]:
    size = len(models)
    counts = np.bincount(arrays["labels"], minlength=len(CLASSES)).tolist()
    return {
        "file": path.name,
        "sha256": _sha256(path),
        "made": datetime.date.today().isoformat(),
        "made_by": "python -m tools.make_shapes",
        "content": (
            f"{size} shapes of {len(counts)} classes, {NUM_POINTS} points each, drawn uniformly "
            "by area from the surfaces of the models, centered and scaled to the unit ball, z up"
        ),
        "source": {
            "package": "Debian package sweethome3d-furniture",
            "version": "1.8-1",
            "homepage": "http://www.sweethome3d.com",
            "sha256": {archive.name: _sha256(archive) for archive in archives.values()},
        },
        "license": dict(sorted(Counter(model.license.name for model in models).items())),
        "license_pages": {model.license.name: model.license.page for model in models},
        "attribution": {"file": list_path.name, "sha256": _sha256(list_path)},
        "changes": "surfaces sampled, points centered, scaled and rounded to 16 bits",
        "classes": dict(zip(arrays["class_names"].tolist(), counts, strict=True)),
        "arrays": {
            "points": f"[{size}, {NUM_POINTS}, 3] int16, in units of 1/32767",
            "labels": f"[{size}] uint8, places in class_names",
            "groups": f"[{size}] int16, equal for variants of one model",
            "folds": f"[{size}] uint8, from 0 to {NUM_FOLDS - 1}",
            "class_names": f"[{len(counts)}] text",
        },
    }


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", type=Path, help="folder with the archives *.sh3f")
    parser.add_argument("--out", type=Path, default=EMBEDDED_PATH.parent, help="folder to write to")
    arguments = parser.parse_args()
    make(arguments.source, arguments.out)
