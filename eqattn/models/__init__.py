"""Models, as Flax NNX modules."""

from eqattn.models.accelerations import AccelerationNetwork
from eqattn.models.field_model import FieldModel
from eqattn.models.hamiltonian import HamiltonianNetwork, PotentialMLP
from eqattn.models.lie_conv import LieConvNetwork
from eqattn.models.lie_transformer import LieTransformer
from eqattn.models.regular import RegularModel

__all__ = [
    "AccelerationNetwork",
    "FieldModel",
    "HamiltonianNetwork",
    "LieConvNetwork",
    "LieTransformer",
    "PotentialMLP",
    "RegularModel",
]
