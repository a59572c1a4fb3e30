"""Energies of crystals: neighbor lists, lattice vectors, stresses, and the laws that they keep."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn.attention import NearestNeighbors, RadiusNeighbors
from eqattn.groups import SE, SO, E
from eqattn.layers import Attention, Convolution, MLPLocation, MultiplyLogits
from eqattn.layers.steerable import FieldLayer, HarmonicKernel
from eqattn.lift import Frames, Haar
from eqattn.models import (
    FieldModel,
    FieldNetwork,
    LieConvNetwork,
    LieTransformer,
    LieTransformerConfig,
    PotentialNetwork,
)
from eqattn.models.neighbor_lists import distance_seen
from eqattn.neighbors import NeighborList, VerletList, find_edges
from eqattn.spaces import euclidean
from tests.tolerances import NEGATIVE_CONTROL

CUTOFF = 3.0
WEIGHTS = {
    "num_heads": 2,
    "location": MLPLocation(dim=8, num_layers=2, num_radial=6, cutoff=CUTOFF),
    "combine": MultiplyLogits(),
    "normalize": "mean",
    "cutoff": CUTOFF,
}
CELL = np.array([[4.1, 0.0, 0.0], [0.7, 3.8, 0.0], [-0.5, 0.6, 4.4]])
PLACES = 64
NUM_ATOMS, KINDS = 6, np.array([0, 1, 2, 1, 0, 2])
SIZES = {"num_layers": 1, "param_dtype": jnp.float64}


@functools.cache
def network(name):
    """Energies of atoms by attention, by fields with and without kernels, by convolution."""
    space, rngs = euclidean(SE(3)), nnx.Rngs(0)
    fields = {"hidden_field": "8x scalar + 4x vector", "rngs": rngs, **SIZES}
    if name == "attention":
        layer = Attention(**WEIGHTS)
        inside = LieTransformer(
            space, 3, 1, dim=8, layer=layer, output="per_point", rngs=rngs, **SIZES
        )
    elif name == "convolution":
        near = RadiusNeighbors(CUTOFF, 60)
        inside = LieConvNetwork(
            space, 3, 1, dim=8, layer=Convolution(), neighborhood=near, output="per_point",
            rngs=rngs, **SIZES,
        )  # fmt: skip
    else:
        kernel = HarmonicKernel() if name == "kernels" else None
        layer = FieldLayer(kernel=kernel, **WEIGHTS)
        inside = FieldNetwork(euclidean(E(3)), "3x scalar", "scalar", layer=layer, **fields)
    return PotentialNetwork(inside)


NAMES = [
    "attention",
    "fields",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("kernels", "convolution")),
]


def crystal():
    """Atoms in their cell, some of them nearer than the cutoff to their own images."""
    shares = np.random.default_rng(3).uniform(size=(NUM_ATOMS, 3))
    return shares @ CELL, jnp.eye(3)[KINDS]


def listed(points, cell, skin=0.0, periodic=True):
    """With as many places as any list here has, so that all are run by one program."""
    verlet = VerletList(CUTOFF, skin, num_neighbors=PLACES)
    found = verlet.update(points, cell, periodic)
    assert verlet.num_neighbors == PLACES
    return found


TRACED = []


@nnx.jit
def run(model, points, features, neighbors, mask=None):
    TRACED.append(points.shape)
    return model.energies_forces_and_stresses(points, features, mask, neighbors=neighbors)


@nnx.jit
def run_free(model, points, features):
    return model.energies_and_forces(points, features)


@functools.cache
def results(name):
    points, features = crystal()
    return run(network(name), points, features, listed(points, CELL))


def cut_off_without_a_smooth_end():
    """The same atoms by a layer that sees all that is listed, with equal weight."""
    layer = Attention(**WEIGHTS | {"cutoff": None})
    inside = LieTransformer(
        euclidean(SE(3)), 3, 1, dim=8, layer=layer, output="per_point", rngs=nnx.Rngs(0), **SIZES
    )
    return PotentialNetwork(inside)


def spread(name):
    """How much energies of crystals differ: by the size of the cell."""
    points, features = crystal()
    scales = (0.95, 1.0, 1.05)
    energies = [
        float(run(network(name), s * points, features, listed(s * points, s * CELL))[0])
        for s in scales
    ]
    return float(np.std(energies))


def test_the_cutoff_is_what_lists_need():
    """Of the layer, or of the rule; the smaller of both."""
    for name in ("attention", "fields", "kernels", "convolution"):
        assert network(name).cutoff == CUTOFF
    assert cut_off_without_a_smooth_end().cutoff is None
    near = RadiusNeighbors(2.0, 5)
    both = LieTransformerConfig(layer=Attention(**WEIGHTS), neighborhood=near)
    assert distance_seen(both) == 2.0


@pytest.mark.parametrize("name", NAMES)
def test_energies_are_invariant_and_stresses_turn(name):
    """Where the cell turns with the points; where it does not, they change."""
    points, features = crystal()
    element = SE(3).sample(jax.random.key(1), (), jnp.float64)
    turn = np.asarray(SE(3).linear_matrix(element))
    energy, forces, stress = results(name)
    moved, cell = np.asarray(SE(3).act(element, jnp.asarray(points))), CELL @ turn.T
    found = run(network(name), moved, features, listed(moved, cell))
    bound = 1e-12 * spread(name)
    assert abs(found[0] - energy) <= max(bound, 4e-15)
    np.testing.assert_allclose(found[1], forces @ turn.T, atol=1e-12)
    np.testing.assert_allclose(matrix(found[2]), turn @ matrix(stress) @ turn.T, atol=1e-13)
    other = run(network(name), moved, features, listed(moved, CELL))
    assert abs(other[0] - energy) > 1e-4


def matrix(stress):
    xx, yy, zz, yz, xz, xy = np.asarray(stress)
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


@pytest.mark.parametrize("name", NAMES)
def test_a_lattice_vector_changes_nothing(name):
    """One atom in another cell, its list made anew; with half a vector all changes."""
    points, features = crystal()
    energy, forces, stress = results(name)
    for factor, changes in ((1.0, False), (0.5, True)):
        moved = points.copy()
        moved[2] += factor * (2 * CELL[0] - CELL[2])
        found = run(network(name), moved, features, listed(moved, CELL))
        assert bool(abs(found[0] - energy) > 1e-4) == changes
        if not changes:
            assert abs(found[0] - energy) <= max(1e-12 * spread(name), 4e-15)
            np.testing.assert_allclose(found[1], forces, atol=1e-12)
            np.testing.assert_allclose(found[2], stress, atol=1e-13)


@pytest.mark.parametrize("name", NAMES)
def test_a_supercell_has_the_energy_of_its_cells(name):
    """The cell is smaller than the cutoff: images of an atom are neighbors of it."""
    points, features = crystal()
    edges = find_edges(points, CUTOFF, cell=CELL, periodic=True)
    corners = np.array(list(itertools.product(range(2), repeat=3))) @ CELL
    many = np.concatenate([points + corner for corner in corners])
    energy, forces, stress = results(name)
    found = run(network(name), many, np.tile(features, (8, 1)), listed(many, 2 * CELL))
    assert found[0] == pytest.approx(8 * float(energy), rel=1e-10)
    np.testing.assert_allclose(found[1], np.tile(forces, (8, 1)), atol=1e-12)
    np.testing.assert_allclose(found[2], stress, atol=1e-13)
    # Where images are not moved, nothing is as it should be.
    alone = NeighborList.from_edges(
        edges.senders, edges.receivers, NUM_ATOMS, shifts=0 * edges.shifts, cell=CELL,
        num_neighbors=PLACES, reach=CUTOFF,
    )  # fmt: skip
    assert abs(run(network(name), points, features, alone)[0] - energy) > 1e-4


@pytest.mark.slow
def test_an_atom_sees_its_own_images():
    """A crystal of one atom in a cell smaller than the cutoff, against 3×3×3 of them."""
    cell = 0.45 * CELL
    point, feature = np.zeros((1, 3)), np.eye(3)[:1]
    energy, forces, _ = run(network("fields"), point, feature, listed(point, cell))
    corners = np.array(list(itertools.product(range(3), repeat=3))) @ cell
    found, _, _ = run(
        network("fields"), corners, np.tile(feature, (27, 1)), listed(corners, 3 * cell)
    )
    assert found / 27 == pytest.approx(float(energy), rel=1e-12)
    np.testing.assert_allclose(forces, 0, atol=1e-14)
    alone = run_free(network("fields"), point, feature)[0]
    assert abs(alone - energy) > 1e-2


@pytest.mark.parametrize("name", NAMES)
def test_stresses_are_derivatives_by_strain(name):
    """Against central differences of strained crystals, whose lists are made anew."""
    points, features = crystal()
    stress, step = results(name)[2], 1e-4
    volume = abs(np.linalg.det(CELL))
    found = []
    for row, column in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)):
        energies = []
        for sign in (1, -1):
            strain = np.zeros((3, 3))
            strain[row, column] += 0.5 * sign * step
            strain[column, row] += 0.5 * sign * step
            stretch = np.eye(3) + strain
            x, cell = points @ stretch, CELL @ stretch
            energies.append(run(network(name), x, features, listed(x, cell))[0])
        found.append((energies[0] - energies[1]) / (2 * step * volume))
    np.testing.assert_allclose(stress, found, atol=1e-6)
    np.testing.assert_allclose(stress, found, atol=1e-4 * np.abs(stress).max())
    assert np.abs(stress).max() > 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_forces_are_derivatives_by_positions(name):
    points, features = crystal()
    forces, step = results(name)[1], 1e-5
    direction = np.random.default_rng(1).normal(size=points.shape)
    energies = []
    for sign in (1, -1):
        x = points + sign * step * direction
        energies.append(run(network(name), x, features, listed(x, CELL))[0])
    slope = -(energies[0] - energies[1]) / (2 * step)
    np.testing.assert_allclose(slope, np.sum(forces * direction), atol=1e-7)
    assert np.abs(forces).max() > 1e-3
    np.testing.assert_allclose(np.sum(forces, axis=0), 0, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_a_skin_changes_nothing(name):
    """Pairs beyond the cutoff have no weight; nor has what stands in places that are not taken."""
    points, features = crystal()
    energy, forces, stress = results(name)
    wide = listed(points, CELL, skin=1.5)
    assert wide.mask.sum() > 1.5 * listed(points, CELL).mask.sum()
    garbage = dataclasses.replace(
        wide,
        indices=jnp.where(wide.mask, wide.indices, 10_000),
        shifts=jnp.where(wide.mask[..., None], wide.shifts, 77),
    )
    found = run(network(name), points, features, garbage)
    assert found[0] == pytest.approx(float(energy), rel=1e-14, abs=1e-14)
    np.testing.assert_allclose(found[1], forces, atol=1e-13)
    np.testing.assert_allclose(found[2], stress, atol=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_a_list_of_all_pairs_is_no_list(name):
    """Without a cell, all points are neighbors, whatever their distance."""
    points, features = crystal()
    others = ~np.eye(NUM_ATOMS, dtype=bool)
    receivers, senders = np.nonzero(others)
    everything = NeighborList.from_edges(
        senders, receivers, NUM_ATOMS, shifts=np.zeros((len(senders), 3)), cell=CELL,
        num_neighbors=PLACES, reach=CUTOFF,
    )  # fmt: skip
    energy, forces = run_free(network(name), points, features)
    found, slopes, _ = run(network(name), points, features, everything)
    assert found == pytest.approx(float(energy), rel=1e-12)
    np.testing.assert_allclose(slopes, forces, atol=1e-12)
    some = dataclasses.replace(everything, mask=everything.mask.at[:, 3].set(False))
    assert abs(run(network(name), points, features, some)[0] - energy) > 1e-4


def test_energy_force_and_curvature_are_continuous_at_the_cutoff():
    """An atom moves away from the image of another, and out of its sight; lists follow."""
    cell, features = np.diag([20.0, 20.0, 20.0]), jnp.eye(3)[:2]
    model = network("attention")

    def energy(distance, neighbors):
        points = jnp.asarray([[0.5, 0, 0], [20.5, 0, 0]]).at[1, 0].add(-distance)
        return model(points, features, neighbors=neighbors)[0]

    @jax.jit
    def derivatives(distance, neighbors):
        slope = jax.grad(energy)
        return energy(distance, neighbors), slope(distance, neighbors), jax.grad(slope)(
            distance, neighbors
        )  # fmt: skip

    values = []
    for step in (-0.5, -1e-3, -1e-5, 1e-5):
        distance = CUTOFF + step
        points = np.array([[0.5, 0, 0], [20.5 - distance, 0, 0]])
        neighbors = listed(points, cell)
        assert int(neighbors.mask.sum()) == (4 if step < 0 else 2)
        values.append([float(x) for x in derivatives(distance, neighbors)])
    values = np.array(values).T
    alone = values[0, 3]
    bounds = np.abs(values[:, 0] - [alone, 0, 0])
    for found, least in zip((values[0] - alone, *values[1:]), bounds, strict=True):
        assert least > 1e-6
        assert abs(found[3]) < 1e-12
        assert abs(found[2]) < 1e-3 * least + 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_atoms_at_one_place_have_finite_forces(name):
    """Two atoms, and an atom on an image of another."""
    points, features = crystal()
    points[1], points[4] = points[0], points[3] + CELL[1]
    found = run(network(name), points, features, listed(points, CELL))
    assert all(np.isfinite(x).all() for x in found)


@pytest.mark.parametrize("name", ["attention", "fields"])
def test_crystals_and_molecules_in_one_batch(name):
    """Each has what it has alone; a molecule has no volume, and no stress."""
    points, features = crystal()
    cloud = 1.3 * np.random.default_rng(5).normal(size=(NUM_ATOMS, 3))
    lists = [listed(points, CELL), listed(cloud, None, periodic=False)]
    rows = NeighborList.stack(lists, num_points=8)
    x = np.full((2, 8, 3), np.nan)
    x[:, :NUM_ATOMS] = points, cloud
    kinds = np.zeros((2, 8, 3))
    kinds[:, :NUM_ATOMS] = features
    mask = np.broadcast_to(np.arange(8) < NUM_ATOMS, (2, 8))
    energies, forces, stresses = run(network(name), x, kinds, rows, mask)
    energy, slope, stress = results(name)
    assert energies[0] == pytest.approx(float(energy), rel=1e-13)
    np.testing.assert_allclose(forces[0, :NUM_ATOMS], slope, atol=1e-13)
    np.testing.assert_allclose(stresses[0], stress, atol=1e-14)
    free, free_forces = run_free(network(name), cloud, features)
    assert energies[1] == pytest.approx(float(free), rel=1e-13)
    np.testing.assert_allclose(forces[1, :NUM_ATOMS], free_forces, atol=1e-13)
    np.testing.assert_array_equal(forces[~mask], 0)
    assert np.isnan(stresses[1]).all()


def test_losses_of_stresses_have_finite_derivatives():
    """Also where an example of the batch has no cell, so that its stress has no loss."""
    points, features = crystal()
    crystal_list = listed(points, CELL)
    rows = NeighborList.stack([crystal_list, listed(points, None, periodic=False)])
    graph, state = nnx.split(network("attention"))

    @jax.jit
    @jax.grad
    def slopes(state):
        _, _, stresses = nnx.merge(graph, state).energies_forces_and_stresses(
            jnp.stack([points] * 2), jnp.stack([features] * 2), neighbors=rows
        )
        is_known = jnp.array([[True], [False]])
        return jnp.sum(jnp.where(is_known, stresses**2, 0))

    found = jax.tree.leaves(slopes(state))
    assert all(np.isfinite(x).all() for x in found)
    assert max(np.abs(x).max() for x in found) > 1e-8


def test_a_trajectory_and_another_cell_compile_nothing():
    """Counts of neighbors vary, and the cell; programs are those of the first step."""
    points, features = crystal()
    results("attention")
    before = len(TRACED)
    verlet, counts = VerletList(CUTOFF, 0.3, num_neighbors=PLACES), set()
    rng = np.random.default_rng(2)
    for index in range(6):
        stretch = np.eye(3) * (1.0 + 0.02 * index)
        stretch[0, 1] = 0.01 * index
        moved = (points + 0.1 * rng.normal(size=points.shape)) @ stretch
        neighbors = verlet.update(moved, CELL @ stretch, True)
        counts.add(int(neighbors.mask.sum()))
        assert np.isfinite(run(network("attention"), moved, features, neighbors)[0])
    assert len(TRACED) == before
    assert len(counts) > 3
    assert verlet.num_searches > 3


# Other models and groups.


def test_functions_on_the_group_are_periodic_too():
    """Samples of stabilizers are drawn; an element and its image have one feature."""
    space = euclidean(SE(3))
    layer = Attention(**WEIGHTS)
    inner = LieTransformer(space, 3, 3, dim=8, layer=layer, lift=Haar(2), rngs=nnx.Rngs(0), **SIZES)
    model = FieldModel(inner, "3x scalar", "vector")
    points, features = crystal()
    predict = nnx.jit(lambda m, x, f, n: m(x, f, neighbors=n, key=jax.random.key(0)))
    found = predict(model, points, features, listed(points, CELL))
    moved = points + 2 * CELL[1]
    again = predict(model, moved, features, listed(moved, CELL))
    np.testing.assert_allclose(again, found, atol=1e-12)
    outside = points.copy()
    outside[1] -= CELL[0]
    again = predict(model, outside, features, listed(outside, CELL))
    np.testing.assert_allclose(again, found, atol=1e-12)
    assert np.abs(found).max() > 1e-3
    half = points.copy()
    half[1] -= 0.5 * CELL[0]
    other = predict(model, half, features, listed(half, CELL))
    assert np.abs(other - found).max() > 1e-4


def test_lists_are_repeated_where_samples_are_kept_apart():
    """Frames: each sample of all points is a crystal of its own."""
    space = euclidean(SE(3))
    model = LieTransformer(
        space, 3, 1, dim=8, layer=Attention(**WEIGHTS), lift=Frames(), rngs=nnx.Rngs(0), **SIZES
    )
    points, features = crystal()
    receivers, senders = np.nonzero(~np.eye(NUM_ATOMS, dtype=bool))
    everything = NeighborList.from_edges(senders, receivers, NUM_ATOMS)
    predict = nnx.jit(lambda m, x, f, n: m(x, f, neighbors=n))
    found = predict(model, points, features, everything)
    np.testing.assert_allclose(found, predict(model, points, features, None), atol=1e-12)


def test_screws_move_keys_too():
    """A group element γ of infinite order that turns: a helix of which one turn is given.

    Its atoms, moved on by γ, are the next turn; all of 9 turns are the same in the middle.
    """
    space = euclidean(SE(3))
    model = LieTransformer(
        space, 3, 1, dim=8, layer=Attention(**WEIGHTS | {"coordinates": "invariants"}),
        output="per_point", rngs=nnx.Rngs(0), **SIZES,
    )  # fmt: skip
    half = 0.4
    screw = jnp.array([np.cos(half), 0, 0, np.sin(half), 0.0, 0.0, 1.1])
    points, features = 0.8 * np.random.default_rng(2).normal(size=(3, 3)), np.eye(3)
    powers = [SE(3).identity((), jnp.float64)]
    for _ in range(8):
        powers.append(SE(3).compose(screw, powers[-1]))
    powers = powers + [SE(3).inverse(g) for g in powers[1:]]
    pairs = [(i, j, g) for i in range(3) for j in range(3) for g in powers]
    pairs.sort(key=lambda pair: (pair[0], pair[1] != pair[0]))
    indices = jnp.array([j for _, j, _ in pairs]).reshape(3, -1)
    moves = jnp.stack([g for *_, g in pairs]).reshape(*indices.shape, -1)
    helix = NeighborList(indices, jnp.ones(indices.shape, bool), moves=moves)
    chain = np.concatenate([SE(3).act(g, jnp.asarray(points)) for g in powers])
    predict = nnx.jit(lambda m, x, f, n: m(x, f, neighbors=n))
    found = predict(model, points, features, helix)
    wanted = predict(model, chain, np.tile(features, (len(powers), 1)), None)[:3]
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    assert np.abs(found - predict(model, points, features, None)).max() > NEGATIVE_CONTROL * 0.1


def test_bonds_go_in_by_the_same_door():
    """Data of the edges of a graph, against those of all pairs, of which the rest is masked."""
    points, features = crystal()
    senders, receivers = np.array([1, 0, 2, 1, 3]), np.array([0, 1, 1, 2, 4])
    bonds = np.random.default_rng(4).normal(size=(5, 2))
    model = FieldNetwork(
        euclidean(SE(3)), "3x scalar", "vector", hidden_field="8x scalar + 4x vector",
        layer=FieldLayer(**WEIGHTS), num_pair_data=2, rngs=nnx.Rngs(0), **SIZES,
    )  # fmt: skip
    graph = NeighborList.from_edges(senders, receivers, NUM_ATOMS, edge_features=bonds)
    predict = nnx.jit(lambda m, x, f, n=None, p=None: m(x, f, neighbors=n, pair_data=p))
    found = predict(model, points, features, graph)
    every = np.argwhere(np.ones((NUM_ATOMS, NUM_ATOMS), bool))
    data = np.zeros((NUM_ATOMS, NUM_ATOMS, 2))
    data[receivers, senders] = bonds
    seen = np.eye(NUM_ATOMS, dtype=bool)
    seen[receivers, senders] = True
    dense = NeighborList.from_edges(
        every[:, 1], every[:, 0], NUM_ATOMS, edge_features=data.reshape(-1, 2)
    )
    whole = predict(model, points, features, dense)
    np.testing.assert_allclose(
        whole, predict(model, points, features, None, jnp.asarray(data)), atol=1e-12
    )
    partly = dataclasses.replace(dense, mask=jnp.asarray(seen))
    np.testing.assert_allclose(found, predict(model, points, features, partly), atol=1e-12)
    assert np.abs(found - whole).max() > NEGATIVE_CONTROL


def refused(message, model, neighbors, error=ValueError, **options):
    points, features = crystal()
    with pytest.raises(error, match=message):
        model(points, features, neighbors=neighbors, **options)


@pytest.mark.usefixtures("no_type_checks")
def test_lists_that_a_model_cannot_take():
    points, features = crystal()
    short = dataclasses.replace(listed(points, CELL), reach=2.0)
    for name in ("attention", "fields", "kernels", "convolution"):
        refused("list all points up to 3.0, as far as the model sees, got a list with reach 2.0",
                network(name), short)  # fmt: skip
    refused("neighbors must be a NeighborList or None", network("fields"), np.zeros(3), TypeError)
    plain = listed(points, CELL)
    refused("need a model whose weights fall to 0 before", cut_off_without_a_smooth_end(), plain)
    inside = network("fields").atom_model
    pairs = plain.indices.shape
    refused("pair_data must be part of neighbors", inside, plain,
            pair_data=jnp.zeros((6, 6, 1)))  # fmt: skip
    moves = NeighborList(plain.indices, plain.mask, moves=jnp.zeros((*pairs, 7)))
    refused("no moves for a network of fields, .* got moves of shape", inside, moves)
    with_data = dataclasses.replace(plain, pair_data=jnp.zeros((*pairs, 1)))
    refused("must have no pair_data for this model", network("attention"), with_data)
    about = FieldNetwork(
        euclidean(SO(3)), "3x scalar", "scalar", hidden_field="8x scalar + 4x vector",
        layer=FieldLayer(**WEIGHTS), rngs=nnx.Rngs(0), **SIZES,
    )  # fmt: skip
    refused(r"no shifts on euclidean\(SO\(3\)\), which has an origin", about, plain)
    options = {"dim": 8, "layer": Attention(**WEIGHTS), "rngs": nnx.Rngs(0), **SIZES}
    nearest = LieTransformer(euclidean(SE(3)), 3, 1, neighborhood=NearestNeighbors(3), **options)
    refused("neighborhood must be None or RadiusNeighbors where neighbors are given", nearest,
            plain)  # fmt: skip
    dropping = LieConvNetwork(
        euclidean(SE(3)), 3, 1, dim=8, subsampling=(3,), rngs=nnx.Rngs(0), **SIZES
    )
    refused("neighbors must be None with subsampling", dropping, plain)
    for x, kinds, neighbors, message in (
        (points, features, dataclasses.replace(plain, shifts=None, cells=None), "must have cells"),
        (points[:, :2], features, plain, r"points must be \[\*B N 3\] for stresses, got"),
    ):
        with pytest.raises(ValueError, match=message):
            network("fields").energies_forces_and_stresses(x, kinds, neighbors=neighbors)
