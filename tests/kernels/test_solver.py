"""Kernels by harmonics against kernels pair by pair, Clebsch-Gordan coefficients and counts."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn.fields import FieldType
from eqattn.groups import SE, SO, E, O, Product, Sim, T
from eqattn.kernels import kernel_basis, pair_homomorphisms
from eqattn.kernels.fixed import fixed_vectors
from eqattn.kernels.samples import stabilizer_samples, term_matrices
from eqattn.representations.harmonics import harmonic_matrix
from eqattn.spaces import euclidean, group_space, position_orientation, sphere
from tests.grids import some, some_rows
from tests.tolerances import NEGATIVE_CONTROL

PLANE = ("scalar", "pseudoscalar", "vector", "irrep(2)", "irrep(3)")
SPACE = (
    *("scalar", "pseudoscalar", "vector", "pseudovector"),
    *("irrep(2)", "irrep(2, odd)", "irrep(3)", "tensor(2)"),
)
POINTS = {2: (0.4, -0.9), 3: (0.4, -0.9, 0.7)}
GOLDEN = Path(__file__).parents[1] / "golden"


def same_span(a, b):
    """By how much rows b are outside the span of orthonormal rows a; infinity if they span less."""
    a, b = (x.reshape(len(x), np.prod(x.shape[1:], dtype=int)) for x in (a, b))
    if not len(a) == len(b) == np.linalg.matrix_rank(b, tol=1e-6):
        return np.inf
    return np.abs(b - (b @ a.T) @ a).max(initial=0.0)


def check_pairs(group, names, steps=1):
    space, dim = euclidean(group), group.point_dim
    pairs = [(a, b) for a in names for b in names][::steps]
    for a, b in pairs:
        basis = kernel_basis(space, a, b)
        found = pair_homomorphisms(space, a, b, np.zeros(dim), np.array(POINTS[dim]))
        values = np.asarray(jax.jit(lambda x, basis=basis: basis(x))(np.array(POINTS[dim])))
        assert same_span(found, values) < 1e-10, (group, a, b, basis.counts, len(found))
    return len(pairs)


@pytest.mark.parametrize(
    ("group", "names", "steps"),
    [
        pytest.param(SE(2), PLANE, 7, marks=pytest.mark.slow),
        (E(2), PLANE, 7),
        pytest.param(E(3), SPACE, 13, marks=pytest.mark.slow),
    ],
)
def test_both_solvers_find_the_same_kernels(group, names, steps):
    """At a point in general position; some pairs of fields, pseudo types among them."""
    assert check_pairs(group, names, steps) >= 4


@pytest.mark.slow
def test_both_solvers_find_the_same_kernels_of_all_pairs():
    cases = [(SE(2), PLANE), (E(2), PLANE), (SE(3), SPACE), (E(3), SPACE)]
    assert sum(check_pairs(*case) for case in cases) >= 64


@pytest.mark.parametrize(("group", "expected_count"), [(SO(3), 29), (O(3), 22)])
def test_kernels_are_clebsch_gordan_coefficients(group, expected_count):
    """Those of e3nn-jax 0.21.0, up to sign and scale: one for each abs(a-b) <= l <= a+b.

    Under O(3) only those whose parity is that of the harmonics.
    """
    space = euclidean({SO(3): SE(3), O(3): E(3)}[group])
    oracle = np.load(GOLDEN / "clebsch_gordan.npz")
    count = 0
    for a in range(5):
        for b in range(5 - a):
            names = [f"irrep({x})" for x in (a, b)]
            for degree, tensor in enumerate(kernel_basis(space, *names).tensors):
                exists = abs(a - b) <= degree and (group == SO(3) or (a + b + degree) % 2 == 0)
                assert len(tensor) == exists, (a, b, degree)
                if exists:
                    expected = np.moveaxis(oracle[f"{a}_{b}_{degree}"], -1, 0)  # [b a l]
                    expected = expected / np.linalg.norm(expected)
                    sign = np.sign(np.sum(expected * tensor[0]))
                    np.testing.assert_allclose(sign * tensor[0], expected, atol=1e-12)
                    count += 1
    assert count == expected_count


def frequency(name):
    return {"scalar": 0, "pseudoscalar": -1, "vector": 1, "irrep(2)": 2, "irrep(3)": 3}[name]


@pytest.mark.parametrize("group", [SE(2), E(2)])
def test_counts_in_the_plane_are_those_of_escnn(group):
    """Kernels on a ring between two fields, escnn 1.0.11 (kernels_SO2_act_R2, kernels_O2_act_R2).

    It counts, for frequencies a and b, 1 from 0 to 0, 2 if one of them is 0, and else 4; under
    O(2) half of these, and between a scalar and a pseudoscalar none.
    """
    for a in PLANE:
        for b in PLANE:
            low, high = sorted((frequency(a), frequency(b)))
            if group == SE(2):
                expected = 4 if low > 0 else 2 if high > 0 else 1
            else:
                expected = 2 if low > 0 else int(high > 0 or low == high)
            assert sum(kernel_basis(euclidean(group), a, b).counts) == expected, (a, b)


@pytest.mark.parametrize(
    ("group", "a", "b", "counts"),
    [
        (SE(3), "vector", "vector", (1, 1, 1)),
        (E(3), "vector", "vector", (1, 0, 1)),
        (E(3), "vector", "pseudovector", (0, 1, 0)),
        (E(3), "scalar", "pseudoscalar", (0,)),
        (SE(3), "scalar", "pseudoscalar", (1,)),
        (E(2), "vector", "vector", (1, 0, 1)),
        (SE(2), "vector", "vector", (2, 0, 2)),
    ],
)
def test_counts(group, a, b, counts):
    assert kernel_basis(euclidean(group), a, b).counts == counts


def test_a_gap_divides_null_from_other_singular_values():
    """From 1e-10 to 1e-3, in the stacked constraints, whose decomposition is another one here."""
    space = euclidean(E(3))
    for a, b, degree in (("vector", "irrep(2)", 3), ("pseudovector", "vector", 1)):
        (before,), (after,) = (FieldType.parse(x).terms for x in (a, b))
        samples = stabilizer_samples(space)
        linear = space.group.linear_matrix(jnp.asarray(samples))
        angular = np.asarray(harmonic_matrix(degree, linear, jnp.linalg.det(linear)))
        stacked = np.concatenate(
            [
                np.kron(np.kron(y, x), z) - np.eye(x.shape[0] * y.shape[0] * z.shape[0])
                for x, y, z in zip(
                    term_matrices(space, before, samples),
                    term_matrices(space, after, samples),
                    angular,
                    strict=True,
                )
            ]
        )
        values = np.linalg.svd(stacked, compute_uv=False)
        num = kernel_basis(space, a, b).counts[degree]
        assert num == 1
        assert values[-num:].max() < 1e-10
        assert values[:-num].min() > 1e-3


@pytest.mark.parametrize("group", some([SE(2), E(2), SE(3), E(3)], E(2), SE(3)))
def test_kernels_turn_as_they_must(group):
    """κ(h x) = ρ_out(h) κ(x) ρ_in(h)⁻¹ with fresh elements; not with ρ_in(h) for its inverse."""
    space = euclidean(group)
    field, x = FieldType.parse("scalar + vector + irrep(2)"), jnp.asarray(POINTS[group.point_dim])
    basis = kernel_basis(space, field, field)

    @jax.jit
    def compute(x):
        h = space.embed_stabilizer(space.stabilizer.sample(jax.random.key(5), (6,), jnp.float64))
        units = jnp.eye(field.size(space))
        matrices = jnp.swapaxes(field.transform(space, h[:, None], units), -1, -2)
        rows = jnp.einsum("sab,kbc->skac", matrices, basis(x))
        # Matrices are orthogonal, so that the inverse is transposed.
        right = jnp.einsum("skab,scb->skac", rows, matrices)
        return basis(space.act(h, x)), right, jnp.einsum("skab,sbc->skac", rows, matrices)

    turned, right, wrong = map(np.asarray, compute(x))
    np.testing.assert_allclose(turned, right, atol=1e-12)
    assert np.abs(wrong - turned).max() > NEGATIVE_CONTROL


COUNTS_ON_THE_SPHERE = {
    (SO(3), "gauge(vector)", "gauge(vector)"): (2, 4, 2),
    (SO(3), "scalar", "gauge(vector)"): (0, 2, 0),
    (SO(3), "scalar", "scalar"): (1, 1, 1),
    (O(3), "gauge(vector)", "gauge(vector)"): (1, 2, 1),
    (O(3), "scalar", "gauge(vector)"): (0, 1, 0),
}


@pytest.mark.parametrize(
    ("group", "a", "b"),
    some_rows(
        COUNTS_ON_THE_SPHERE,
        "O(3)-gauge(vector)-gauge(vector)",
    ),
)
def test_kernels_on_the_sphere(group, a, b):
    """Generic pairs, the diagonal and opposite points are orbits of their own."""
    places = {"diagonal": (0, 0, 1), "generic": (0, 0.6, 0.8), "opposite": (0, 0, -1)}
    found = [pair_homomorphisms(sphere(group), a, b, (0, 0, 1), y) for y in places.values()]
    assert tuple(map(len, found)) == COUNTS_ON_THE_SPHERE[group, a, b]


def test_matrices_of_a_pair_move_with_it():
    """On the sphere, K(u x, u y) spans ρ_out(u) K(x, y) ρ_in(u)⁻¹."""
    space, field = sphere(SO(3)), FieldType.parse("gauge(vector)")
    u = space.group.sample(jax.random.key(2), (), jnp.float64)
    for y in ((0.0, 0.6, 0.8), (0.0, 0.0, -1.0)):
        points = jnp.array([[0.0, 0.0, 1.0], y])
        moved = space.act(u, points)
        before = pair_homomorphisms(space, field, field, *np.asarray(points))
        after = pair_homomorphisms(space, field, field, *np.asarray(moved))
        rho = [
            jnp.swapaxes(field.transform(space, u, jnp.eye(2), points=p), -1, -2) for p in points
        ]
        turned = np.einsum("ab,kbc,dc->kad", rho[0], before, rho[1])
        assert same_span(after, turned) < 1e-10


def test_at_the_opposite_point_a_rotation_is_its_inverse():
    """The cocycle: K h = h K on the diagonal, and K h⁻¹ = h K at the antipode."""
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    for y, sign in (((0, 0, 1), 1.0), ((0, 0, -1), -1.0)):
        winds = "gauge(vector)"
        for matrix in pair_homomorphisms(sphere(SO(3)), winds, winds, (0, 0, 1), y):
            np.testing.assert_allclose(matrix @ turn, sign * turn @ matrix, atol=1e-12)
            assert np.abs(matrix @ turn + sign * turn @ matrix).max() > NEGATIVE_CONTROL


@pytest.mark.parametrize(
    ("space", "count"),
    some_rows(
        [
            (euclidean(SO(3)), 9),
            (euclidean(Sim(2)), 4),
            (position_orientation(SE(3)), 9),
            (group_space(SE(3)), 9),
        ],
        *("euclidean(SO(3))-9", "euclidean(Sim(2))-4"),
    ),
)
def test_every_space_has_matrices_of_a_pair(space, count):
    """In general position nothing but the identity keeps two points: all matrices are allowed."""
    points = np.asarray(space.sample_points(jax.random.key(1), (2,), jnp.float64))
    assert len(pair_homomorphisms(space, "vector", "vector", *points)) == count


def test_a_tensor_holds_the_kernels_of_its_parts():
    """tensor(2) is a scalar, a pseudovector and a symmetric traceless matrix."""
    space = euclidean(E(3))
    whole = kernel_basis(space, "vector", "tensor(2)").counts
    parts = [
        kernel_basis(space, "vector", x).counts for x in ("scalar", "pseudovector", "irrep(2)")
    ]
    padded = np.array([counts + (0,) * (4 - len(counts)) for counts in parts])
    assert whole == tuple(padded.sum(axis=0))


def test_bases_do_not_depend_on_the_decomposition():
    """Constraints in another order and scale give the same vectors, not only the same space."""
    rng = np.random.default_rng(0)
    a = rng.normal(size=(5, 8))
    square = a.T @ a
    first, second = fixed_vectors([square], "v"), fixed_vectors([3.0 * a, square[::-1]], "v")
    assert len(first) == 3
    np.testing.assert_allclose(first, second, atol=1e-12)
    np.testing.assert_allclose(first @ first.T, np.eye(3), atol=1e-12)


def test_without_rotations_all_kernels_are_allowed():
    space = euclidean(T(2))
    assert kernel_basis(space, "scalar", "vector", max_degree=2).counts == (2, 4, 4)
    with pytest.raises(ValueError, match="max_degree must be given for scalar on euclidean"):
        kernel_basis(space, "scalar", "vector")


def test_rotations_about_an_axis():
    """H = SO(2) in space: the third component of a vector is a scalar of its own."""
    space = euclidean(Product((SE(2), T(1))))
    found = kernel_basis(space, "vector", "vector", max_degree=1)
    assert found.counts[0] == 3  # a rotation and a scaling of the plane, and one of the axis
    assert kernel_basis(euclidean(SE(3)), "vector", "vector").counts[0] == 1


@pytest.mark.parametrize(
    ("space", "match"),
    [
        (euclidean(Sim(3)), "under scalings a kernel would have to be homogeneous"),
        (euclidean(SO(3)), "pair_homomorphisms serves every space"),
        (sphere(SO(3)), "pair_homomorphisms serves every space"),
        (sphere(SO(2)), "pair_homomorphisms serves every space"),
        (position_orientation(SE(3)), "pair_homomorphisms serves every space"),
    ],
    ids=str,
)
def test_spaces_without_such_kernels_are_refused(space, match):
    with pytest.raises(ValueError, match=match):
        kernel_basis(space, "scalar", "scalar")


def test_wrong_points_are_refused():
    space = sphere(SO(3))
    with pytest.raises(ValueError, match=r"key_point of sphere\(SO\(3\)\) must have shape"):
        pair_homomorphisms(space, "scalar", "scalar", (0, 0, 1), (0, 1))
    with pytest.raises(ValueError, match="points of sphere"):
        pair_homomorphisms(space, "scalar", "scalar", (0, 0, 1), (0, 1, 1))
    with pytest.raises(ValueError, match=r"query_point must be finite, got \(0, 0, nan\)"):
        pair_homomorphisms(space, "scalar", "scalar", (0, 0, np.nan), (0, 0, 1))


@pytest.mark.usefixtures("no_type_checks")
def test_words_are_no_points():
    space = sphere(SO(3))
    with pytest.raises(TypeError, match="key_point must be real numbers, got 'up'"):
        pair_homomorphisms(space, "scalar", "scalar", (0, 0, 1), "up")


@pytest.mark.parametrize(
    ("query", "key"),
    [((1e3, 0, 0), (1e3, 0, 1.0)), ((0, 0, 0), (0, 3e3, 4e3)), ((1e6, 0, 0), (1e6, 1e-2, 0))],
)
def test_far_points_have_the_matrices_of_near_ones(query, key):
    """An axis is left: the rotations about it allow three matrices."""
    assert len(pair_homomorphisms(euclidean(SE(3)), "vector", "vector", query, key)) == 3


def test_points_too_close_to_be_told_apart_are_refused():
    """With the identity alone all nine matrices would be allowed."""
    with pytest.raises(ValueError, match="query_point and key_point must be neither too close"):
        pair_homomorphisms(euclidean(SE(3)), "vector", "vector", (0, 0, 0), (0, 0, 1e-7))


@pytest.mark.usefixtures("no_type_checks")
def test_wrong_fields_and_differences_are_refused():
    space = euclidean(SE(3))
    with pytest.raises(TypeError, match="input_field must be a FieldType or a text, got None"):
        kernel_basis(space, None, "scalar")
    basis = kernel_basis(space, "scalar", "scalar")
    with pytest.raises(ValueError, match=r"x must have shape \[\*B 3\], got \(4, 2\)"):
        basis(jnp.ones((4, 2)))
    assert jnp.isnan(basis(jnp.array([jnp.nan, 0.0, 1.0]))).all()


def test_an_imprecise_representation_is_refused():
    with pytest.raises(ValueError, match="a singular value is"):
        fixed_vectors([np.diag([0.0, 1e-5, 1.0])], "kernels")


def test_solved_within_jit():
    """Models are also built under a trace, for their shapes."""
    shapes = nnx.eval_shape(
        lambda: jnp.asarray(kernel_basis(euclidean(SE(2)), "scalar", "irrep(2)").tensors[2])
    )
    assert shapes.shape == (2, 2, 1, 2)
