"""What the library promises of equivariance, measured: laws, data, layers on every space."""

from eqattn.certificate.catalog import FIELDS, GEOMETRIES, Geometry
from eqattn.certificate.controls import CONTROLS, passing_controls
from eqattn.certificate.options import LAYERS
from eqattn.certificate.plan import DTYPES
from eqattn.certificate.rows import FAMILIES, Excluded, Row, certify

__all__ = [
    "CONTROLS",
    "DTYPES",
    "FAMILIES",
    "FIELDS",
    "GEOMETRIES",
    "LAYERS",
    "Excluded",
    "Geometry",
    "Row",
    "certify",
    "passing_controls",
]
