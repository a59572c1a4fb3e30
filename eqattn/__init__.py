"""eqattn: equivariant attention on homogeneous spaces, in JAX and Flax."""

from eqattn import attention, fields, groups, layers, lift, models, numerics, spaces
from eqattn._version import __version__

__all__ = [
    "__version__",
    "attention",
    "fields",
    "groups",
    "layers",
    "lift",
    "models",
    "numerics",
    "spaces",
]
