"""Equivariant attention on homogeneous spaces, in JAX and Flax.

Choose a group and a space (:mod:`eqattn.groups`, :mod:`eqattn.spaces`), how data transform
(:mod:`eqattn.fields`, of :mod:`eqattn.representations`), lift data to the group
(:mod:`eqattn.lift`), attend there (:mod:`eqattn.attention`, :mod:`eqattn.layers`,
:mod:`eqattn.models`), and check the result with :mod:`eqattn.testing`, or a group and a space of
your own with :mod:`eqattn.laws`.
"""

from typing import TYPE_CHECKING, Any

from jaxlib import version as _jaxlib_version

from eqattn import (
    attention,
    fields,
    groups,
    kernels,
    laws,
    layers,
    lift,
    models,
    neighbors,
    numerics,
    representations,
    spaces,
    testing,
)
from eqattn._compatibility import _warn_if_miscompiling
from eqattn._version import __version__

if TYPE_CHECKING:
    from eqattn.train import load, save

_warn_if_miscompiling(_jaxlib_version.__version__)


def __getattr__(name: str) -> Any:
    # Checkpoint libraries are slow to import, and models do not need them.
    if name in ("load", "save"):
        from eqattn import train

        return getattr(train, name)
    raise AttributeError(f"module 'eqattn' has no attribute {name!r}")


__all__ = [
    "__version__",
    "attention",
    "fields",
    "groups",
    "kernels",
    "laws",
    "layers",
    "lift",
    "load",
    "models",
    "neighbors",
    "numerics",
    "representations",
    "save",
    "spaces",
    "testing",
]
