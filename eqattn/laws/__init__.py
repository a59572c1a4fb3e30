"""Public checks of groups and spaces: does a class of your own keep the laws of its interface?

:func:`check_group` and :func:`check_space` draw elements and points and raise an ``AssertionError``
that names the first law that fails. The library's own groups and spaces are tested by the same
laws, at hard samples besides: :func:`group_laws` and :func:`space_laws` take the samples and return
all errors; :func:`sample_laws` and :func:`stabilizer_sample_laws` are those of random draws.

===================  =========================================================================
``groups``           products, inverses, matrices, actions, the adjoint
``exponential``      exp and log, against the matrices and in radians and lengths
``metric``           distance and embedding
``samples``          random elements of a group and of a stabilizer
``spaces``           section, stabilizer, pairs and distance of a space
``orbits``           dimensions of orbits, stabilizers and invariants
``derivatives``      finite values and derivatives
===================  =========================================================================
"""

from eqattn.laws.check import NUM, check_group, check_space, group_samples, space_samples
from eqattn.laws.errors import TOLERANCES, relative_error
from eqattn.laws.groups import group_laws
from eqattn.laws.samples import STANDARD_ERRORS, sample_laws, stabilizer_sample_laws
from eqattn.laws.spaces import space_laws

__all__ = [
    "NUM",
    "STANDARD_ERRORS",
    "TOLERANCES",
    "check_group",
    "check_space",
    "group_laws",
    "group_samples",
    "relative_error",
    "sample_laws",
    "space_laws",
    "space_samples",
    "stabilizer_sample_laws",
]
