"""How many molecules a text file marks, whatever its reader makes of it.

ASE reads many formats as one molecule although their files may hold several, and then takes the
first, the last, or all atoms together, without a word. Here each format says by which lines its
records begin or end, so that what was read can be counted.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

Counter = Callable[[str], int]
_LINES = re.MULTILINE | re.IGNORECASE


def split_records(text: str) -> list[str]:
    """Returns the records of an SDF file, or of MOL files that were joined, one after the other.

    Args:
      text: What the file holds; lines of ``$$$$`` end the records of SDF, and lines of
        ``M  END`` those of MOL.
    """
    has_marks = re.search(r"^\$\$\$\$", text, re.MULTILINE)
    mark = r"^\$\$\$\$[^\n]*\n?" if has_marks else r"(?<=^M  END)[^\n]*\n?"
    return [part for part in re.split(mark, text, flags=re.MULTILINE) if part.strip()]


def has_marks(kind: str) -> bool:
    """Returns whether files of a format mark their molecules so that they can be counted.

    Args:
      kind: Name of the format in ASE.
    """
    return kind in _COUNTERS


def count_records(kind: str, text: str) -> int:
    """Returns how many molecules a file marks.

    Args:
      kind: Name of a format in ASE that has marks.
      text: What the file holds.
    """
    return _COUNTERS[kind](text)


def _lines(pattern: str) -> Counter:
    """Returns a function that counts the lines that begin like this."""
    compiled = re.compile("^" + pattern, _LINES)
    return lambda text: len(compiled.findall(text))


def _parts(pattern: str, content: str = r"\s*\S") -> Counter:
    """Returns a function that counts the parts between such lines that have lines of content."""
    mark, found = re.compile(rf"^{pattern}[^\n]*$", _LINES), re.compile("^" + content, _LINES)
    return lambda text: sum(found.search(part) is not None for part in mark.split(text))


def _sdf(text: str) -> int:
    return max(len(split_records(text)), _lines("M  END")(text))


def _pdb(text: str) -> int:
    parts = _parts("END", "(?:ATOM|HETATM)")(text)
    return max(parts, _lines(r"MODEL\s")(text))


def _gromacs(text: str) -> int:
    """Returns the frames of a title, a number N, N atoms and a box."""
    lines, count = text.rstrip().split("\n"), 0
    while lines and lines[1:]:
        words = lines[1].split()
        if len(words) != 1 or not words[0].isdigit():
            break
        lines, count = lines[int(words[0]) + 3 :], count + 1
    return count + bool(lines)


_COUNTERS: Mapping[str, Counter] = MappingProxyType(
    {
        "castep-cell": _lines(r"\s*%BLOCK\s+POSITIONS_"),
        "cif": _parts("data_", r"\s*_atom_site_"),
        "cp2k-restart": _lines(r"\s*&COORD\b"),
        "dlp-history": _lines(r"timestep\s"),
        "dmol-car": _lines("!DATE"),
        "espresso-in": _lines(r"\s*ATOMIC_POSITIONS\b"),
        "gamess-us-in": _lines(r"\s*\$DATA\b"),
        "gaussian-in": _parts(r"\s*--link1--"),
        "gromacs": _gromacs,
        "gromos": _lines(r"POSITION(?:RED)?\s*$"),
        "lammps-dump-text": _lines("ITEM: TIMESTEP"),
        "mol": _sdf,
        "nwchem-in": _lines(r"\s*geometry\b"),
        "octopus-in": _lines(r"\s*%Coordinates\b"),
        "onetep-in": _lines(r"\s*%BLOCK\s+POSITIONS_"),
        "proteindatabank": _pdb,
        "res": _lines(r"TITL\b"),
        "sdf": _sdf,
        "turbomole": _lines(r"\$coord\b"),
        "vasp-xdatcar": _lines(r"Direct configuration="),
    }
)
