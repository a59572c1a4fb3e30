"""Atoms in space: configurations with what is known of them, and the files that hold them."""

from eqattn.data.atoms.archives import write_npz
from eqattn.data.atoms.configurations import Configurations
from eqattn.data.atoms.files import read_configurations, write_configurations
from eqattn.data.atoms.writing import write_xyz

__all__ = [
    "Configurations",
    "read_configurations",
    "write_configurations",
    "write_npz",
    "write_xyz",
]
