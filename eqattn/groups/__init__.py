"""Lie groups as pure functions of stored elements.

``T(n)``, ``SO(n)``, ``SE(n)``, ``RxSO2()``, ``Trivial()`` and ``Product((…))`` share the interface
of :class:`LieGroup`. Layouts of elements are fixed: see each group.
"""

from eqattn.groups.base import LieGroup
from eqattn.groups.product import Product, Trivial
from eqattn.groups.rigid import SE2, SE3
from eqattn.groups.rotation import SO2, SO3
from eqattn.groups.similarity import RxSO2
from eqattn.groups.translation import T


def SO(n: int) -> SO2 | SO3:  # noqa: N802 (the group's name)
    """Rotations of R² or R³.

    Raises:
      ValueError: if n is neither 2 nor 3.

    >>> SO(3).element_dim
    4
    """
    if n not in (2, 3):
        raise ValueError(f"n of SO(n) must be 2 or 3, got {n!r}")
    return SO2() if n == 2 else SO3()


def SE(n: int) -> SE2 | SE3:  # noqa: N802 (the group's name)
    """Rotations and translations of R² or R³.

    Raises:
      ValueError: if n is neither 2 nor 3.

    >>> SE(2).algebra_dim
    3
    """
    if n not in (2, 3):
        raise ValueError(f"n of SE(n) must be 2 or 3, got {n!r}")
    return SE2() if n == 2 else SE3()


__all__ = ["SE", "SO", "LieGroup", "Product", "RxSO2", "T", "Trivial"]
