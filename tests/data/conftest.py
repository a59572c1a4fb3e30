"""A small stand-in for the package qm9pack: real rows, one in each table."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

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
        return tables

    return install
