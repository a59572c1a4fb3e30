"""Makes the winds and the relief that come with the package, from the Debian ferret-datasets.

Unpack the package, such as by ``dpkg-deb -x ferret-datasets_7.6.0-5_all.deb FOLDER``, and run
``python -m tools.make_winds_subset FOLDER``. It writes ``winds_5deg.npz`` and the
record ``winds_5deg.json`` beside this file.
"""

import argparse
import datetime
import gzip
import hashlib
import json
import re
from pathlib import Path

import numpy as np

from eqattn.data.cache import save_arrays
from eqattn.tasks.winds.data import EMBEDDED_PATH
from eqattn.tasks.winds.grids import RESOLUTION, average, encode, read
from eqattn.tasks.winds.netcdf import read_fields

STEP = 5.0
"""Degrees between the points."""
_WINDS = "usr/share/ferret-vis/data/monthly_navy_winds.cdf"
_RELIEF = "usr/share/ferret-vis/data/etopo120.cdf"
_COPYRIGHT = "usr/share/doc/ferret-datasets/copyright"
_CHANGELOG = "usr/share/doc/ferret-datasets/changelog.Debian.gz"


def make(package: Path, folder: Path) -> Path:
    """Writes the npz file and its record into a folder and returns the path of the first.

    Args:
      package: Where the Debian package is unpacked.
      folder: Where to write.

    Raises:
      FileNotFoundError: If a file of the package is missing.
      ValueError: If a file does not hold what it should.
    """
    source = _source(package)
    winds = average(read(package / _WINDS), STEP)
    relief = read_fields(package / _RELIEF, [("rose",)])
    path = folder / EMBEDDED_PATH.name
    arrays = {
        "latitudes": winds.grid.latitudes,
        "longitudes": winds.grid.longitudes,
        "months": winds.months.astype(np.int32),
        "components": encode(winds.grid.points, winds.winds),
        "relief_latitudes": relief.grid.latitudes,
        "relief_longitudes": relief.grid.longitudes,
        "relief": np.rint(relief.values[0]).astype(np.int16),
    }
    save_arrays(path, arrays, use_compression=True)
    record = json.dumps(_record(path, arrays, source), indent=2, ensure_ascii=False)
    path.with_suffix(".json").write_text(record + "\n", encoding="utf-8")
    return path


def _record(
    path: Path, arrays: dict[str, np.ndarray], source: dict[str, object]
) -> dict[str, object]:
    (first, *_, last), points = arrays["months"].tolist(), arrays["components"].shape[1]
    return {
        "file": path.name,
        "sha256": _sha256(path),
        "made": datetime.date.today().isoformat(),
        "made_by": "python -m tools.make_winds_subset FOLDER",
        "content": (
            f"monthly mean winds from {first[0]}-{first[1]:02d} to {last[0]}-{last[1]:02d} at the "
            f"{points} points of a grid of {STEP:g}°, and the relief of the Earth at 2°"
        ),
        "source": source,
        "data": {
            "winds": (
                "Fleet Numerical Oceanography Center, US Navy: monthly averages of global marine "
                "winds, of one file for 1982 to 1992; u (zonal) and v (meridional) in m/s"
            ),
            "relief": "ETOPO5, National Geophysical Data Center, NOAA; means over 2°, in m",
        },
        "changes": (
            "winds: the file's rows at the two poles dropped, as they hold no vectors, and the "
            "mean vector of the rows at ±87.5° put in their place; the tangent vectors averaged "
            f"in R³ from 2.5° to {STEP:g}° with the exact areas of overlap of the cells, made "
            f"tangent again and rounded to {RESOLUTION} m/s; relief: rounded to 1 m"
        ),
        "arrays": {
            "latitudes": "degrees north of the rows, from -90 to 90; [37] float64",
            "longitudes": "degrees east of the columns, from 0 to 355; [72] float64",
            "months": "year and month; [132, 2] int32",
            "components": (
                f"winds to the east and to the north in units of {RESOLUTION} m/s; [132, 2522, 2] "
                "int16; the south pole, the rows from south to north, the north pole; at the "
                "poles east and north are those of the meridian of Greenwich"
            ),
            "relief_latitudes": "degrees north of the rows of the relief; [90] float64",
            "relief_longitudes": "degrees east of its columns; [180] float64",
            "relief": "m above the sea, negative below; [90, 180] int16",
        },
    }


def _source(package: Path) -> dict[str, object]:
    return {
        "package": "ferret-datasets (Debian)",
        "version": _version(package),
        "homepage": "https://ferret.pmel.noaa.gov/Ferret/",
        "files": {name: _sha256(package / name) for name in (_WINDS, _RELIEF)},
        "copyright": "2010 NOAA, US government",
        "license": "Ferret License Agreement",
        "license_checked": (
            "the file usr/share/doc/ferret-datasets/copyright of the package, whose first "
            "paragraph, the one for all files not named in others, is this license"
        ),
        "license_text": _license(package),
    }


def _version(package: Path) -> str:
    first = gzip.decompress((package / _CHANGELOG).read_bytes()).decode().partition("\n")[0]
    match = re.search(r"\(([^)]+)\)", first)
    if match is None:
        raise ValueError(f"{package / _CHANGELOG} does not begin with a version: {first!r}.")
    return match[1]


def _license(package: Path) -> str:
    """Returns the license of the data sets, which the first paragraph of the file names."""
    text = (package / _COPYRIGHT).read_text(encoding="utf-8")
    match = re.search(r"^Ferret License Agreement:\n(.*?)\n\s*\nLicense:", text, re.DOTALL | re.M)
    if match is None:
        raise ValueError(f"{package / _COPYRIGHT} holds no Ferret License Agreement.")
    lines = [line.strip() for line in match[0].splitlines()[:-1]]
    return "\n".join("" if line == "." else line for line in lines).strip()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("package", type=Path, help="folder that the Debian package is unpacked to")
    parser.add_argument("--out", type=Path, default=EMBEDDED_PATH.parent, help="folder to write to")
    arguments = parser.parse_args()
    make(arguments.package, arguments.out)
