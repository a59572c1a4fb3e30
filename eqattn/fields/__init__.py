"""Field types: representations ρ of the group, and how features of that type transform.

A field f: X → V of type ρ transforms as [u·f](x) = ρ(u) f(u⁻¹x). A type is a direct sum of terms,
written ``"8x scalar + 2x vector"``: see :class:`FieldType`.
"""

from eqattn.fields.gauges import east_north
from eqattn.fields.kinds import Custom, Gauge, Irrep, Kind, Tensor
from eqattn.fields.traceless import pack_traceless, unpack_traceless
from eqattn.fields.types import KINDS, FieldType, Term, custom, gauge, scalars, vectors

__all__ = [
    "KINDS",
    "Custom",
    "FieldType",
    "Gauge",
    "Irrep",
    "Kind",
    "Tensor",
    "Term",
    "custom",
    "east_north",
    "gauge",
    "pack_traceless",
    "scalars",
    "unpack_traceless",
    "vectors",
]
