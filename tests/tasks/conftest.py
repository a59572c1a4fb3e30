"""Small stand-ins: for the package qm9pack, real rows, one in each table; for files of winds."""

import csv
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from scipy.io import netcdf_file

from eqattn.data.atoms import write_npz
from eqattn.tasks import molecules as data

METHANE = {
    "Index": "1",
    "Elements": "['C','H','H','H','H']",
    "XYZ_Ang": "[[-0.0126981359,1.0858041578,0.0080009958],[0.002150416,-0.0060313176,"
    "0.0019761204],[1.0117308433,1.4637511618,2.765748E-4],[-0.540815069,1.4475266138,"
    "-0.8766437152],[-0.5238136345,1.4379326443,0.9063972942]]",
    "Dipole_debye": "0.",
    "Polarizability_bohr3": "13.21",
    "HOMO_au": "-0.3877",
    "LUMO_au": "0.1171",
    "HOMO_LUMO_gap_au": "0.5048",
    "R2_bohr2": "35.3641",
    "ZPVE_au": "0.044749",
    "InternalEnergy_0K_au": "-40.47893",
    "InternalEnergy_298K_au": "-40.476062",
    "Enthalphy_298K_au": "-40.475117",
    "GibbsFreeEnergy_298K_au": "-40.498597",
    "Heatcapacity_Cv_cal_mol_K": "6.469",
}
AMMONIA = METHANE | {
    "Index": "2",
    "Elements": "['N','H','H','H']",
    "XYZ_Ang": "[[-0.0404260543,1.0241077531,0.0625637998],[0.0172574639,0.0125452063,"
    "-0.0273771593],[0.9157893661,1.3587451948,-0.0287577581],[-0.5202777357,1.3435321258,"
    "-0.7755426124]]",
    "HOMO_LUMO_gap_au": "0.3399",
}
CYANOACETYLENE = METHANE | {
    "Index": "24",
    "Elements": "['C','C','C','H','N']",
    "XYZ_Ang": "[[0.0151038958,0.,1.],[1.3823314931,0.,1.],[-1.1886252462,0.,1.],"
    "[-2.2517720115,0.,1.],[2.5429618689,0.,1.]]",
    "HOMO_LUMO_gap_au": "0.2559",
}

InstallTables = Callable[..., Path]


@pytest.fixture
def install_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InstallTables:
    """Returns a function that installs a qm9pack of three one-row tables, with changes to one."""

    def install(drop: str = "", **changes: str) -> Path:
        site = tmp_path / "site"
        info = site / "qm9pack-1.0.3.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: qm9pack\nVersion: 1.0.3\n")
        (info / "LICENSE").write_text("MIT License")
        tables = site / "qm9pack" / "data"
        tables.mkdir(parents=True)
        for part, row in enumerate((METHANE, AMMONIA | changes, CYANOACETYLENE), start=1):
            fields = [name for name in row if name != drop]
            with open(tables / f"qm9_part{part}.csv", "w", newline="") as file:
                writer = csv.DictWriter(file, fields, extrasaction="ignore")
                writer.writeheader()
                writer.writerow(row)
        monkeypatch.syspath_prepend(site)
        monkeypatch.setenv("EQATTN_DATA", str(tmp_path / "data"))  # not where those of users are
        return tables

    return install


WriteWinds = Callable[..., Path]


@pytest.fixture
def write_winds(tmp_path: Path) -> WriteWinds:
    """Returns a function that writes months of winds to a file of netCDF 3, in the navy's layout.

    The grid has poles and begins at 20° east.
    """

    def write(
        east: np.ndarray,
        north: np.ndarray,
        *,
        name: str = "winds.nc",
        names: tuple[str, str] = ("UWND", "VWND"),
        latitudes: np.ndarray | None = None,
        longitudes: np.ndarray | None = None,
        hours: np.ndarray | None = None,
        units: str = "M/S",
        time_units: str = "hour since 1980-01-14 14:00:00",
        calendar: str | None = None,
        latitude_units: str = "degrees_north",
        attributes: Mapping[str, float] | None = None,
        dtype: str = "f4",
    ) -> Path:
        *times, rows, columns = east.shape
        axes = {"Y": latitudes, "X": longitudes}
        if latitudes is None:
            axes["Y"] = np.linspace(-90, 90, rows)
        if longitudes is None:
            axes["X"] = 20 + np.arange(columns) * 360 / columns
        axis_units = {"Y": latitude_units, "X": "degrees_east", "TIME": time_units}
        if times:
            axes["TIME"] = 17_598 + 730.5 * np.arange(times[0]) if hours is None else hours
        with netcdf_file(tmp_path / name, "w") as file:
            for axis, values in axes.items():
                file.createDimension(axis, len(values))
                variable = file.createVariable(axis, "f8", (axis,))
                variable[:], variable.units = values, axis_units[axis]
                if calendar is not None and axis == "TIME":
                    variable.calendar = calendar
            for key, field in zip(names, (east, north), strict=True):
                variable = file.createVariable(key, dtype, ("TIME", "Y", "X")[3 - east.ndim :])
                variable[:], variable.units = field, units
                for attribute, value in (attributes or {}).items():
                    setattr(variable, attribute, value)
        return tmp_path / name

    return write


@pytest.fixture(scope="session")
def small_npz(tmp_path_factory):
    """A file of the sixty smallest embedded molecules."""
    molecules = data.load()
    order = np.argsort(molecules.num_atoms, kind="stable")
    path = tmp_path_factory.mktemp("data") / "small.npz"
    write_npz(path, molecules[order[:60]])
    return path
