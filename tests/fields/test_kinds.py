"""Each kind of field: that it is a representation, against oracles, and where it makes no sense."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn.fields import FieldType, custom
from eqattn.groups import SE, SO
from eqattn.representations import Irrep, Tensor
from eqattn.spaces import AffineSpace, Space, euclidean
from tests.groups.cases import relative_error
from tests.spaces.cases import NUM, SPACES, elements, points
from tests.tolerances import NEGATIVE_CONTROL, tolerance

EVERYWHERE = "scalar + pseudoscalar + 2x vector + tensor(2) + pseudotensor(2)"
TURNING = " + irrep(2) + 2x irrep(3)"
FIELDS = {
    "SE(2)": EVERYWHERE + TURNING + " + gauge(vector)",
    "SE(3)": EVERYWHERE + TURNING + " + pseudovector + irrep(2, odd) + gauge(irrep(2))",
    "RxSO2": EVERYWHERE + TURNING + " + vector[1] + 2x scalar[-2] + irrep(2)[0.5]",
}


def values(field: FieldType, space: Space, dtype=jnp.float64) -> jnp.ndarray:
    rng = np.random.default_rng(71)
    return jnp.asarray(rng.normal(size=(NUM, field.size(space))), dtype)


@functools.partial(jax.jit, static_argnums=(0, 1))
def transformed(field, space, g, h, x, f):
    """What the laws compare: u·f for u = gh, g after h, and h undone again."""
    image = space.act(h, x)
    once = field.transform(space, h, f, points=x)
    return {
        "both": field.transform(space, space.group.compose(g, h), f, points=x),
        "one by one": field.transform(space, g, once, points=image),
        "there and back": field.transform(space, h, once, points=x, inverse=True),
        "once": once,
    }


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *((n, jnp.float64) for n in FIELDS),
        pytest.param("SE(3)", jnp.float32, marks=pytest.mark.slow),
    ],
)
def test_fields_are_representations(name, dtype):
    space = SPACES[name]
    field = FieldType.parse(FIELDS[name])
    f = values(field, space, dtype)
    g, h, x = elements(space, 1, dtype), elements(space, 2, dtype), points(space, dtype)
    found = transformed(field, space, g, h, x, f)
    assert all(z.dtype == dtype for z in found.values())
    error = lambda a, b: np.max(relative_error(a, b, f))
    assert error(found["one by one"], found["both"]) <= tolerance(dtype)
    assert error(found["there and back"], f) <= tolerance(dtype)
    identity = space.group.identity((NUM,), dtype)
    still = transformed(field, space, identity, identity, x, f)["once"]
    assert error(still, f) <= tolerance(dtype)
    backwards = transformed(field, space, g, space.group.inverse(h), x, f)
    assert error(backwards["once"], found["once"]) > NEGATIVE_CONTROL


REFLECTIONS = jnp.asarray(
    np.linalg.qr(np.random.default_rng(72).normal(size=(8, 3, 3)))[0]
    * np.resize([1, -1], (8, 1, 1))
)
A, B = jnp.asarray(np.random.default_rng(73).normal(size=(2, 8, 3)))


def matrices(kind):
    return kind.of_linear(REFLECTIONS, jnp.linalg.det(REFLECTIONS))


def test_pseudovectors_are_cross_products():
    """Under reflections too, which some of these matrices are; vectors are not."""
    assert {-1.0, 1.0} == set(np.sign(np.linalg.det(REFLECTIONS)))
    turn = lambda kind, v: np.einsum("bij,bj->bi", matrices(kind), v)
    product = jnp.cross(turn(Tensor(1), A), turn(Tensor(1), B))
    np.testing.assert_allclose(turn(Tensor(1, pseudo=True), jnp.cross(A, B)), product, atol=1e-13)
    assert np.abs(turn(Tensor(1), jnp.cross(A, B)) - product).max() > NEGATIVE_CONTROL
    np.testing.assert_allclose(matrices(Irrep(1, "even")), matrices(Tensor(1, True)), atol=1e-15)
    np.testing.assert_allclose(matrices(Irrep(1, "odd")), matrices(Tensor(1)), atol=1e-15)


def test_tensors_are_products_of_vectors():
    outer = np.einsum("bi,bj->bij", A, B).reshape(8, 9)
    turned = [np.einsum("bij,bj->bi", REFLECTIONS, v) for v in (A, B)]
    expected = np.einsum("bi,bj->bij", *turned).reshape(8, 9)
    found = np.einsum("bij,bj->bi", matrices(Tensor(2)), outer)
    np.testing.assert_allclose(found, expected, atol=1e-13)
    signs = np.linalg.det(REFLECTIONS)[:, None, None]
    np.testing.assert_allclose(matrices(Tensor(2, True)), matrices(Tensor(2)) * signs, atol=1e-15)


@pytest.mark.parametrize(("degree", "parity"), [(1, "odd"), (1, "even"), (2, "odd"), (3, None)])
def test_parity_is_the_sign_under_inversion(degree, parity):
    inversion = Irrep(degree, parity).of_linear(-jnp.eye(3), -jnp.ones(()))
    sign = {"even": 1, "odd": -1, None: (-1) ** degree}[parity]
    np.testing.assert_allclose(inversion, sign * np.eye(2 * degree + 1), atol=1e-14)


def test_scale_weights():
    """Vectors of weight 1 transform as points do, of weight 0 by the rotation alone."""
    space = SPACES["RxSO2"]
    g, x = elements(space), points(space)
    field = FieldType.parse("vector[1] + vector + scalar[2]")
    moved = field.transform(space, g, jnp.concatenate([x, x, x[:, :1]], -1))
    np.testing.assert_allclose(moved[:, :2], space.act(g, x), atol=1e-14)
    scale = np.exp(np.asarray(g)[:, 2:])
    np.testing.assert_allclose(moved[:, 2:4], space.act(g, x) / scale, atol=1e-14)
    np.testing.assert_allclose(moved[:, 4:], scale**2 * x[:, :1], rtol=1e-13)


def test_gauge_fields_of_a_normal_section_are_ordinary_ones():
    """Translations carry frames to all points alike: the gauge changes nothing."""
    space = SPACES["SE(3)"]
    g, x = elements(space), points(space)
    f = values(FieldType.parse("gauge(vector)"), space)
    in_gauge = FieldType.parse("gauge(vector)").transform(space, g, f, points=x)
    ordinary = FieldType.parse("vector").transform(space, g, f)
    np.testing.assert_allclose(in_gauge, ordinary, atol=1e-14)


def test_custom_fields():
    """Twists: the adjoint representation of SE(3), which is not orthogonal."""
    space = SPACES["SE(3)"]
    twists = custom(space.group.adjoint, 6, num=2)
    g, f = elements(space), values(twists, space)

    @jax.jit
    def compute(g, f):
        moved = twists.transform(space, g, f)
        back = twists.transform(space, g, moved, inverse=True)
        return moved, back, space.group.adjoint(g)

    moved, back, adjoint = map(np.asarray, compute(g, f))
    expected = np.einsum("bij,bnj->bni", adjoint, np.reshape(f, (NUM, 2, 6)))
    np.testing.assert_allclose(moved, expected.reshape(NUM, 12), atol=1e-13)
    np.testing.assert_allclose(back, f, atol=1e-12)
    traced = jax.jit(lambda g, f: custom(space.group.matrix, 4).transform(space, g, f))
    assert traced(g, f[:, :4]).shape == (NUM, 4)  # checked while tracing


BAD = {
    "pseudovector": (
        ("SE(2)", "pseudovector"),
        r"pseudovector needs vectors of 3 components, SE\(2\) has 2: in the plane.*pseudoscalar",
    ),
    "pseudovector of the line": (("T(1)", "pseudotensor(1)"), "pseudovector needs .* has 1$"),
    "irrep of the line": (
        ("T(1)", "irrep(2)"),
        r"irrep\(2\) needs a group of rotations .* of 2 or 3 components, got T\(1\) with 1",
    ),
    "parity in the plane": (
        ("SE(2)", "irrep(1, even)"),
        r"irrep\(1, even\) does not exist in the plane.*use irrep\(1\)",
    ),
    "weight": (
        ("SE(3)", "vector[1]"),
        r"scale weight of vector\[1\] needs a group with scalings, got SE\(3\)",
    ),
    "gauge": (
        ("SO(3)", "gauge(vector)"),
        r"a gauge field needs one stabilizer for all points, got euclidean\(SO.*exceptional",
    ),
    "gauge kind": (("SE(2)", "gauge(pseudovector)"), "pseudovector needs vectors of 3 components"),
}


@pytest.mark.parametrize("name", BAD)
def test_fields_that_make_no_sense_raise(name):
    (space, text), message = BAD[name]
    field, space = FieldType.parse(text), SPACES[space]
    with pytest.raises(ValueError, match=message):
        field.check(space)
    with pytest.raises(ValueError, match=message):
        field.transform(space, elements(space), values(field, space))


@dataclasses.dataclass(frozen=True)
class TwiceAsFast(type(SO(2))):
    """Rotations that turn vectors by twice the angle: no linear function of their matrices."""

    def linear_matrix(self, g):
        return super().linear_matrix(self.compose(g, g))


@dataclasses.dataclass(frozen=True)
class Unfaithful(AffineSpace):
    stabilizer = TwiceAsFast()


def test_stabilizers_that_do_not_occur_in_the_group_raise():
    with pytest.raises(ValueError, match=r"gauge fields need the stabilizer TwiceAsFast.*does not"):
        FieldType.parse("gauge(vector)").check(Unfaithful(SE(2)))


def test_custom_functions_that_are_no_representation_raise():
    space = SPACES["SE(3)"]
    trace = lambda g: jnp.sum(g, -1)[..., None, None]
    with pytest.raises(ValueError, match=r"custom\(<lambda>, 1\) is no representation of SE\(3\)"):
        custom(trace, 1).check(space)
    with pytest.raises(ValueError, match=r"must give matrices of shape \(4, 3, 3\).*\(4, 6, 6\)"):
        custom(space.group.adjoint, 3).check(space)


def test_spin_is_no_field():
    """Multiplication by unit quaternions is a homomorphism of them, not of rotations."""

    def left(g):
        w, x, y, z = (g[..., i] for i in range(4))
        rows = [[w, -x, -y, -z], [x, w, -z, y], [y, z, w, -x], [z, -y, x, w]]
        return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)

    for group in (SO(3), SE(3)):
        space = euclidean(group)
        with pytest.raises(ValueError, match=r"differ for two forms in which one element"):
            custom(left, 4).check(space)


def test_integers_turn_into_floats(no_type_checks):
    turn = jnp.array([np.sqrt(0.5), np.sqrt(0.5), 0.0, 0.0])
    found = FieldType.parse("vector").transform(SPACES["SE(2)"], turn, jnp.array([1, 0]))
    np.testing.assert_allclose(found, [np.sqrt(0.5), np.sqrt(0.5)], atol=1e-6)
