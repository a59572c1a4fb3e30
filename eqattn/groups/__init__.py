"""Lie groups as pure functions of stored elements.

``T(n)``, ``SO(n)``, ``SE(n)``, ``O(n)``, ``E(n)``, ``Sim(n)``, ``RxSO2()``, ``RxSO3()``,
``Trivial(n)`` and ``Product((…))`` share the interface of :class:`LieGroup`. Layouts of elements
are fixed: see each group. The one-axis groups of space are products, see :class:`Product`. For
groups of your own, :class:`MatrixGroup` has most of the interface. :func:`finite_elements` are the
elements of finite subgroups.
"""

from eqattn.checks import check_sizes
from eqattn.groups.base import LieGroup
from eqattn.groups.finite import finite_elements
from eqattn.groups.matrix_group import MatrixGroup
from eqattn.groups.product import Product, Trivial
from eqattn.groups.reflected import Reflected
from eqattn.groups.rigid import SE2, SE3
from eqattn.groups.rotation import SO2, SO3
from eqattn.groups.similarity import RxSO2, RxSO3, Sim2, Sim3
from eqattn.groups.translation import T
from eqattn.specification import nameable


@nameable
def SO(n: int) -> SO2 | SO3:  # noqa: N802 (the group's name)
    """Rotations of R² or R³.

    Raises:
      TypeError: If n is not an integer.
      ValueError: If it is neither 2 nor 3.

    >>> SO(3).element_dim
    4
    """
    _check_dimension("SO", n)
    return SO2() if n == 2 else SO3()


@nameable
def SE(n: int) -> SE2 | SE3:  # noqa: N802 (the group's name)
    """Rotations and translations of R² or R³.

    Raises:
      TypeError: If n is not an integer.
      ValueError: If it is neither 2 nor 3.

    >>> SE(2).algebra_dim
    3
    """
    _check_dimension("SE", n)
    return SE2() if n == 2 else SE3()


@nameable
def O(n: int) -> Reflected:  # noqa: E743, N802 (the group's name)
    """Rotations and reflections of R² or R³; elements those of SO(n), then the parity ±1.

    Raises:
      TypeError: If n is not an integer.
      ValueError: If it is neither 2 nor 3.

    >>> O(3).element_dim
    5
    """
    _check_dimension("O", n)
    return Reflected(SO(n))


@nameable
def E(n: int) -> Reflected:  # noqa: N802 (the group's name)
    """Rotations, reflections and translations of R² or R³: elements of SE(n), then the parity ±1.

    Raises:
      TypeError: If n is not an integer.
      ValueError: If it is neither 2 nor 3.

    >>> E(3).element_dim
    8
    """
    _check_dimension("E", n)
    return Reflected(SE(n))


@nameable
def Sim(n: int) -> Sim2 | Sim3:  # noqa: N802 (the group's name)
    """Rotations, scalings and translations of R² or R³; elements in that order.

    Raises:
      TypeError: If n is not an integer.
      ValueError: If it is neither 2 nor 3.

    >>> Sim(3).element_dim
    8
    """
    _check_dimension("Sim", n)
    return Sim2() if n == 2 else Sim3()


def _check_dimension(name: str, n: int) -> None:
    check_sizes({f"n of {name}(n)": n})
    if n not in (2, 3):
        raise ValueError(f"n of {name}(n) must be 2 or 3, got {n}")


__all__ = [
    "SE",
    "SO",
    "E",
    "LieGroup",
    "MatrixGroup",
    "O",
    "Product",
    "RxSO2",
    "RxSO3",
    "Sim",
    "T",
    "Trivial",
    "finite_elements",
]
