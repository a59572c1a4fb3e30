"""What the library promises of equivariance, measured: every space, field, strategy and layer."""

from eqattn.certificate.catalog import FIELDS, GEOMETRIES, Geometry
from eqattn.certificate.controls import CONTROLS, passing_controls
from eqattn.certificate.options import LAYERS
from eqattn.certificate.rows import DTYPES, Excluded, Row, certify

__all__ = [
    "CONTROLS",
    "DTYPES",
    "FIELDS",
    "GEOMETRIES",
    "LAYERS",
    "Excluded",
    "Geometry",
    "Row",
    "certify",
    "passing_controls",
]
