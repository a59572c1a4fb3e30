"""One class of one's own, as the term of a field and as the representation of attention."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn import testing
from eqattn.attention import representation_attend
from eqattn.fields import FieldType, Gauge, Term
from eqattn.groups import SE, MatrixGroup
from eqattn.groups.base import probe_elements
from eqattn.layers import RepresentationAttention, RepresentationSelfAttention
from eqattn.lift import Haar
from eqattn.representations import (
    DirectSum,
    FactorRepresentation,
    FiniteRotary,
    Irrep,
    Representation,
    Tensor,
)
from eqattn.spaces import euclidean
from tests import draws
from tests.groups.cases import GROUPS
from tests.tolerances import NEGATIVE_CONTROL


@dataclasses.dataclass(frozen=True, repr=False)
class Turns(MatrixGroup):
    """Rotations of the plane, as a group of one's own."""

    generators = (((0, -1), (1, 0)),)
    is_orthogonal = True

    def log_components(self, g):
        return (jnp.arctan2(g[2], g[0]),)


class Boosts(Turns):
    """Boosts of the plane, whose matrices are not orthogonal."""

    generators = (((0, 1), (1, 0)),)
    is_orthogonal = False

    def log_components(self, g):
        return (jnp.arcsinh(g[1]),)


GROUP = SE(2)
SPACE = euclidean(GROUP)


@dataclasses.dataclass(frozen=True)
class Motions(Representation):
    """The adjoint: angular and linear velocities, whose matrices are not orthogonal."""

    def size(self, group):
        return group.algebra_dim

    def matrix(self, group, elements):
        return group.adjoint(elements)


class Backwards(Motions):
    """No homomorphism: the order of products is the other one."""

    def matrix(self, group, elements):
        return super().matrix(group, group.inverse(elements))


@dataclasses.dataclass(frozen=True)
class Unchecked(Backwards):
    """The same, which passes its own check."""

    def check(self, group):
        """Passes."""


def elements(seed, *shape):
    return GROUP.sample_bounded(jax.random.key(seed), shape, jnp.float64)


def field_error(representation):
    """By how much values moved by g h miss those moved by h, then by g."""
    field = FieldType((Term(2, representation),))

    @jax.jit
    def both(f):
        g, h = elements(0, 8), elements(1, 8)
        one_by_one = field.transform(SPACE, g, field.transform(SPACE, h, f))
        return one_by_one, field.transform(SPACE, GROUP.compose(g, h), f)

    return testing.relative_error(*both(draws.normal(2, 8, 6)))


def attention_error(representation):
    """By how much another order of the keys, and all elements moved by u, change the result.

    Elements are taken relative to the first key: another first key shows what is no homomorphism.
    """

    @jax.jit
    def both(query, key, value):
        rows, columns, u = elements(3, 1, 5), elements(4, 1, 5), elements(5)
        backwards = [x[:, ::-1] for x in (key, value, columns)]
        moved = GROUP.compose(u, rows), GROUP.compose(u, backwards[2])
        options = GROUP, representation
        return (
            representation_attend(query, *backwards[:2], *moved, *options),
            representation_attend(query, key, value, rows, columns, *options),
        )

    return testing.relative_error(*both(*(draws.normal(seed, 1, 5, 2, 6) for seed in range(3))))


def test_as_a_field():
    assert field_error(Motions()) < 1e-12
    assert field_error(Unchecked()) > NEGATIVE_CONTROL
    assert str(FieldType((Term(2, Motions()),))) == "2x Motions()"


def test_in_attention():
    assert attention_error(Motions()) < 1e-10
    assert attention_error(Unchecked()) > NEGATIVE_CONTROL


@pytest.mark.slow
def test_in_a_layer():
    layer = RepresentationSelfAttention(
        12, SPACE, RepresentationAttention(num_heads=2), representation=Motions(),
        param_dtype=float, rngs=nnx.Rngs(0),
    )  # fmt: skip
    error = testing.coupled_lift_error(
        jax.jit(lambda lifted: layer(lifted)), SPACE, lift=Haar(2), num_features=12
    )
    assert error < 1e-10


def test_what_is_no_homomorphism_is_refused():
    message = r"Backwards\(\) is no representation of SE\(2\): the matrix of g h is not"
    with pytest.raises(ValueError, match=message):
        Backwards().check(GROUP)
    with pytest.raises(ValueError, match=message):
        field_error(Backwards())
    with pytest.raises(ValueError, match=message):
        RepresentationSelfAttention(24, SPACE, representation=Backwards(), rngs=nnx.Rngs(0))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: FieldType((Term(1, "vector"),)),
            TypeError,
            "representation of a field must be a Representation, got 'vector'",
        ),
        (
            lambda: FieldType((Term(1, Motions(), gauge=Gauge()),)),
            ValueError,
            r"of a gauge field must be a NaturalRepresentation, got Motions\(\)",
        ),
    ],
)
@pytest.mark.usefixtures("no_type_checks")
def test_terms_that_are_none(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_groups_say_whether_they_are_orthogonal():
    """What irreps ask of a group is what its matrices do."""
    for group in (*GROUPS.values(), Turns(), Boosts()):
        run = jax.jit(group.linear_matrix)
        matrices = np.asarray(run(jnp.asarray(probe_elements(group))))
        squares = matrices @ np.swapaxes(matrices, -1, -2)
        assert group.is_orthogonal == np.allclose(squares, np.eye(group.point_dim), atol=1e-4)
    Irrep(2).check(Turns())
    with pytest.raises(ValueError, match=r"irrep\(2\) needs a group of rotations"):
        Irrep(2).check(Boosts())


@dataclasses.dataclass(frozen=True)
class Liar(Motions):
    """Says of itself what is not so."""

    claim: str = ""

    def is_orthogonal(self, group):
        return self.claim == "is_orthogonal"

    @property
    def is_trivial(self):
        return self.claim == "is_trivial"

    def apply_inverse(self, group, elements, x):
        wrong = 2.0 if self.claim == "apply_inverse" else 1.0
        return wrong * super().apply_inverse(group, elements, x)


@pytest.mark.parametrize("claim", ["is_orthogonal", "is_trivial", "apply_inverse"])
def test_what_a_class_says_of_its_matrices_is_checked(claim):
    Liar().check(GROUP)
    with pytest.raises(ValueError, match=r"is no representation of .*: apply.* does not agree"):
        Liar(claim).check(GROUP)


@dataclasses.dataclass(frozen=True)
class Scaled(Motions):
    """Holds an array, and does not say so."""

    scales: jax.Array = dataclasses.field(default_factory=lambda: jnp.ones(3))


def test_a_class_with_arrays_that_does_not_say_so_is_told_how():
    with pytest.raises(TypeError, match=r"Scaled must be .* without arrays; .*has_arrays = True"):
        Scaled().check(GROUP)


def test_a_finite_rotary_embedding_is_of_no_other_turns():
    """Neither as a field, nor of elements that differ by other turns."""
    rotary = FiniteRotary("cyclic(4)", jnp.ones((1, 2)))
    for own in (rotary, DirectSum((Tensor(0), rotary), (1, 1))):
        with pytest.raises(
            ValueError, match=r"FiniteRotary.* represents only some of the elements of SE\(2\)"
        ):
            FieldType((Term(1, own),)).check(SPACE)
    assert FactorRepresentation(0, rotary).is_restricted
    assert not DirectSum((Tensor(0), Irrep(1)), (1, 1)).is_restricted
    angles = np.array([[np.pi / 2, 1.0, 0.0], [0.4, 1.0, 0.0]])
    run = jax.jit(lambda a: rotary.apply(GROUP, GROUP.exp(a), jnp.ones((2, 1, 8))))
    found = np.asarray(run(angles))
    assert np.isfinite(found).all(axis=(-1, -2)).tolist() == [True, False]
