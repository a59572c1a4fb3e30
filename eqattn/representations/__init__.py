"""Representations ρ of groups, as fields have them and as attention applies them to tokens.

An object serves every group that it makes sense for: ``Tensor(1)`` are the vectors of all of them.
See :class:`Representation`, also for one of your own.
"""

from eqattn.representations.base import Representation
from eqattn.representations.defaults import default_representation
from eqattn.representations.harmonics import solid_harmonics
from eqattn.representations.matrices import (
    ConformalRepresentation,
    CustomRepresentation,
    DefiningRepresentation,
)
from eqattn.representations.natural import Irrep, NaturalRepresentation, Tensor
from eqattn.representations.rotary import FiniteRotary, Rotary
from eqattn.representations.sums import DirectSum, FactorRepresentation

__all__ = [
    "ConformalRepresentation",
    "CustomRepresentation",
    "DefiningRepresentation",
    "DirectSum",
    "FactorRepresentation",
    "FiniteRotary",
    "Irrep",
    "NaturalRepresentation",
    "Representation",
    "Rotary",
    "Tensor",
    "default_representation",
    "solid_harmonics",
]
