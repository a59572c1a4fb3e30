"""Field types: sums of representations ρ, and how features of such a type transform.

A field f: X → V of type ρ transforms as [u·f](x) = ρ(u) f(u⁻¹x). A type is a direct sum of terms,
written ``"8x scalar + 2x vector"``: see :class:`FieldType`.
"""

from eqattn.fields.gauges import Gauge, east_north
from eqattn.fields.traceless import pack_traceless, unpack_traceless
from eqattn.fields.types import KINDS, FieldType, Term, custom, gauge, scalars, vectors

__all__ = [
    "KINDS",
    "FieldType",
    "Gauge",
    "Term",
    "custom",
    "east_north",
    "gauge",
    "pack_traceless",
    "scalars",
    "unpack_traceless",
    "vectors",
]
