"""What representations refuse: when they are made, and of which groups they are none."""

import jax.numpy as jnp
import pytest

from eqattn import groups
from eqattn.representations import (
    ConformalRepresentation,
    DefiningRepresentation,
    DirectSum,
    FactorRepresentation,
    FiniteRotary,
    Irrep,
    Rotary,
    Tensor,
    default_representation,
)

SE2, SE3, SO3 = groups.SE(2), groups.SE(3), groups.SO(3)
UPRIGHT = groups.Product((SE2, groups.T(1)))
DEFINING = DefiningRepresentation()


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (
            lambda: Rotary(jnp.ones((1, 1)), (0.5,)),
            TypeError,
            r"turns must be integers, got \(0.5,\)",
        ),
        (
            lambda: DefiningRepresentation(0.0),
            ValueError,
            "length must be finite and above 0, got 0.0",
        ),
        (lambda: ConformalRepresentation("2"), TypeError, "length must be a real number, got '2'"),
        (lambda: DirectSum((), ()), ValueError, "copies must be a number for each of 0"),
        (lambda: DirectSum((DEFINING,), (0,)), ValueError, r"copies\[0\] must be at least 1"),
        (lambda: DirectSum((SO3,), (1,)), TypeError, "representations must be a Representation"),
        (
            lambda: FactorRepresentation(0, "T(1)"),
            TypeError,
            "representation must be a Representation",
        ),
        (
            lambda: default_representation(SO3, 8, length=2.0),
            ValueError,
            r"length must be 1 for SO\(3\), got 2.0",
        ),
        (lambda: default_representation("T", 2), TypeError, "group must be a LieGroup"),
        (lambda: Irrep(0), ValueError, "degree of an irrep must be at least 1, got 0"),
    ],
)
@pytest.mark.usefixtures("no_type_checks")
def test_what_cannot_be_made(make, error, match):
    with pytest.raises(error, match=match):
        make()


@pytest.mark.parametrize(
    ("representation", "group", "error", "match"),
    [
        (Rotary(jnp.ones((1, 3))), SE2, TypeError, "group must be a T or RxSO2"),
        (
            Rotary(jnp.ones((2, 2))),
            groups.T(3),
            ValueError,
            r"frequencies must have shape \(F, 3\), got \(2, 2\)",
        ),
        (
            Rotary(jnp.ones((2, 1)), (1,)),
            groups.RxSO2(),
            ValueError,
            r"turns must be 2 integers for RxSO2\(\), got \(1,\)",
        ),
        (
            FiniteRotary("cyclic(4)", jnp.ones((1, 2))),
            groups.T(2),
            TypeError,
            "group must be a SE2, SE3 or Reflected",
        ),
        (
            FiniteRotary("octahedral", jnp.ones((1, 2))),
            SE2,
            ValueError,
            r"the finite group 'octahedral' is not in SO\(2\)",
        ),
        (
            FiniteRotary("cyclic(4)", jnp.ones((1, 3))),
            SE2,
            ValueError,
            r"frequencies must have shape \(F, 2\), got \(1, 3\)",
        ),
        (DEFINING, "SO(3)", TypeError, "group must be a LieGroup, got 'SO"),
        (
            DefiningRepresentation(2.0),
            SO3,
            ValueError,
            r"length must be 1 for SO\(3\), got 2.0",
        ),
        (
            ConformalRepresentation(),
            SO3,
            ValueError,
            r"group must be T\(n\), SE\(n\), E\(n\) or Sim\(n\), got SO\(3\)",
        ),
        (Irrep(1), groups.T(4), ValueError, r"irrep\(1\) needs a group of .* got T\(4\) with 4"),
        (Tensor(1), "SO(3)", TypeError, "group must be a LieGroup, got 'SO"),
        (
            DirectSum((DEFINING, ConformalRepresentation()), (1, 1)),
            SO3,
            ValueError,
            "group must be T",
        ),
        (FactorRepresentation(0, DEFINING), SE2, TypeError, "group must be a Product"),
        (FactorRepresentation(2, DEFINING), UPRIGHT, ValueError, "index must be below 2"),
        (
            FactorRepresentation(1, Rotary(jnp.ones((1, 2)))),
            UPRIGHT,
            ValueError,
            r"frequencies must have shape \(F, 1\)",
        ),
    ],
    ids=str,
)
@pytest.mark.usefixtures("no_type_checks")
def test_groups_that_a_representation_is_none_of(representation, group, error, match):
    with pytest.raises(error, match=match):
        representation.check(group)
