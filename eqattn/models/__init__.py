"""Models, as Flax NNX modules."""

from eqattn.models.accelerations import AccelerationNetwork, AccelerationNetworkConfig
from eqattn.models.atom_sum import AtomSum, AtomSumConfig
from eqattn.models.config import LiftedModelConfig, ModelConfig, NetworkConfig
from eqattn.models.ensemble import Ensemble
from eqattn.models.field_map import FieldMap, FieldMapConfig
from eqattn.models.field_model import FieldModel, FieldModelConfig
from eqattn.models.field_network import FieldNetwork, FieldNetworkConfig
from eqattn.models.hamiltonian import (
    HamiltonianNetwork,
    HamiltonianNetworkConfig,
    PotentialMLP,
    PotentialMLPConfig,
)
from eqattn.models.lie_conv import LieConvNetwork, LieConvNetworkConfig
from eqattn.models.lie_transformer import LieTransformer, LieTransformerConfig
from eqattn.models.potential import PotentialNetwork, PotentialNetworkConfig
from eqattn.models.regular import RegularModel

__all__ = [
    "AccelerationNetwork",
    "AccelerationNetworkConfig",
    "AtomSum",
    "AtomSumConfig",
    "Ensemble",
    "FieldMap",
    "FieldMapConfig",
    "FieldModel",
    "FieldModelConfig",
    "FieldNetwork",
    "FieldNetworkConfig",
    "HamiltonianNetwork",
    "HamiltonianNetworkConfig",
    "LieConvNetwork",
    "LieConvNetworkConfig",
    "LieTransformer",
    "LieTransformerConfig",
    "LiftedModelConfig",
    "ModelConfig",
    "NetworkConfig",
    "PotentialMLP",
    "PotentialMLPConfig",
    "PotentialNetwork",
    "PotentialNetworkConfig",
    "RegularModel",
]
