import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn import groups, lift, spaces
from eqattn.models import HamiltonianNetwork, LieTransformer, PotentialMLP
from tests import small
from tests.compiled import EMITTERS
from tests.grids import some
from tests.tolerances import NEGATIVE_CONTROL

N = 4
POTENTIALS = {
    "SE(2), unlifted": (groups.SE(2), lift.NoLift(), "invariants"),
    "SE(2), log": (groups.SE(2), lift.Haar(2), "log"),
    "SE(2), embedding": (groups.SE(2), lift.Haar(2), "embedding"),
    "SO(2)": (groups.SO(2), lift.Haar(1), "embedding"),
    "T(2)": (groups.T(2), lift.Haar(1), "embedding"),
}
TIMES = jnp.array([0.0, 0.1, 0.2])


@functools.cache
def make(name, dtype=jnp.float64):
    """A small potential with forces of size 1."""
    group, strategy, coordinates = POTENTIALS[name]
    potential = LieTransformer(
        spaces.euclidean(group),
        2,
        1,
        dim=8,
        num_layers=1,
        layer=small.attention(coordinates=coordinates, width=4, depth=2, normalize="mean"),
        lift=strategy,
        norm="none",
        pool="sum",
        head="token",
        param_dtype=dtype,
        rngs=nnx.Rngs(1),
    )
    graphdef, params = nnx.split(potential)
    larger = jax.tree.map(lambda x: jnp.asarray(1.5 * np.asarray(x)), params)
    return HamiltonianNetwork(nnx.merge(graphdef, larger))


@functools.cache
def make_mlp(center=False):
    return HamiltonianNetwork(PotentialMLP(N, 2, 2, dim=8, rngs=nnx.Rngs(1)), center=center)


def draw(batch=3, seed=0):
    """Positions, momenta of zero sum, and (mass, spring constant)."""
    random = np.random.default_rng(seed)
    positions = random.normal(size=(batch, N, 2))
    momenta = random.normal(size=(batch, N, 2))
    features = random.uniform(0.5, 2.0, size=(batch, N, 2))
    momenta -= momenta.mean(axis=1, keepdims=True)
    return tuple(jnp.asarray(a) for a in (positions, momenta, features))


@functools.cache
def compiled(model, *, as_for_users=False, **static):
    """The jitted roll-out of a model."""
    graphdef, params = nnx.split(model)

    def roll_out(params, *arrays, **options):
        return nnx.merge(graphdef, params).roll_out(*arrays, **static, **options)

    jitted = jax.jit(roll_out, compiler_options=EMITTERS if as_for_users else None)
    return lambda *arrays, **options: jitted(params, *arrays, **options)


@pytest.mark.parametrize(
    "name", some([name for name in POTENTIALS if name != "T(2)"], "SE(2), log")
)
def test_gradients_of_a_roll_out_are_finite(name):
    """In float32 too: the published code gives NaN under SE(2)."""
    q, p, features = (a.astype(jnp.float32) for a in draw())
    graphdef, params = nnx.split(make(name, jnp.float32), nnx.Param)

    def loss(params, q):
        model = nnx.merge(graphdef, params)
        key = jax.random.key(0)
        states = model.roll_out(q, p, features, TIMES[:2], key=key, solver="symplectic")
        return jnp.mean(states**2)

    value, gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(params, q)
    leaves = jax.tree.leaves((value, gradients))
    chex.assert_tree_all_finite(leaves)
    nonzero = [np.any(np.asarray(leaf) != 0) for leaf in leaves]
    assert np.mean(nonzero) > 0.8


@pytest.mark.parametrize("name", some(POTENTIALS, "SE(2), unlifted", "T(2)"))
def test_forces_add_up_to_zero(name):
    q, p, features = draw()
    forces = np.asarray(jax.jit(make(name).vector_field)(q, p, features)[1])
    assert np.linalg.norm(forces, axis=-1).max() > 1e-3
    assert np.linalg.norm(forces.sum(axis=1), axis=-1).max() <= 1e-10


def test_forces_of_the_mlp_do_not():
    q, p, features = draw()
    for center, holds in ((False, False), (True, True)):
        forces = np.asarray(jax.jit(make_mlp(center).vector_field)(q, p, features)[1])
        norm = np.linalg.norm(forces.sum(axis=1), axis=-1).max()
        assert norm <= 1e-10 if holds else norm > NEGATIVE_CONTROL


def angular_momentum_drift(states):
    """Largest change of Σ (q - mean q) × p along trajectories [B T N 4] of zero momentum."""
    states = np.asarray(states)
    q, p = states[..., :2], states[..., 2:]
    q = q - q.mean(axis=-2, keepdims=True)
    total = np.sum(q[..., 0] * p[..., 1] - q[..., 1] * p[..., 0], axis=-1)
    return float(abs(total - total[:, :1]).max())


def test_angular_momentum_is_conserved_to_the_error_of_the_solver():
    """The drift is that of the solver: it goes with the step, to nothing."""
    roll_out = compiled(make("SE(2), unlifted"))
    long, short, shorter = (
        angular_momentum_drift(roll_out(*draw(), np.linspace(0.0, end, 9)))
        for end in (0.8, 0.4, 0.05)
    )
    assert 1e-12 < short < long / 6
    assert shorter < 1e-8


@pytest.mark.parametrize("name", some(["SE(2), unlifted", "SO(2)"], "SE(2), unlifted"))
def test_the_symplectic_solver_conserves_angular_momentum_exactly(name):
    """Kicks by central forces and free drifts: the error is that of the rounding, at any step."""
    states = compiled(make(name), solver="symplectic")(*draw(), np.linspace(0.0, 2.0, 9))
    assert angular_momentum_drift(states) < 1e-12


def test_angular_momentum_is_not_conserved_under_translations_alone():
    roll_out = compiled(make("T(2)"), solver="symplectic")
    coarse, fine = (
        angular_momentum_drift(roll_out(*draw(), np.linspace(0.0, 2.0, steps))) for steps in (9, 65)
    )
    assert coarse > 1e-3
    assert fine == pytest.approx(coarse, rel=0.1)


@pytest.mark.slow
def test_energy_is_conserved_under_the_one_lift_of_a_trajectory():
    """The energy of the lift's own key; that of another key is another one, and is not."""
    q, p, features = draw()
    model, times = make("SE(2), embedding"), np.linspace(0.0, 1.0, 101)
    key, other = jax.random.split(jax.random.key(0))
    states = compiled(model, solver="rk4")(q, p, features, times, key=key)[:, ::25]

    @jax.jit
    def drift(key):
        energies = jax.vmap(
            lambda s: model.hamiltonian(s[..., :2], s[..., 2:], features, key=key), 1
        )(states)
        return abs(energies - energies[:1]).max()

    assert float(drift(key)) < 1e-6
    assert float(drift(other)) > 1e-4


@pytest.mark.slow
def test_the_key_is_the_trajectory_s_and_batch_mates_change_nothing():
    q, p, features = draw()
    ids = np.array([5, 6, 7])
    model, key = make("SE(2), log"), jax.random.key(3)
    options = {"key": key, "example_ids": ids}
    roll_out = compiled(model)
    states = roll_out(q, p, features, TIMES, **options)
    assert states.shape == (3, 3, N, 4)
    np.testing.assert_array_equal(states, roll_out(q, p, features, TIMES, **options))
    mates = roll_out(
        q + np.array([1.0, 0.0, 1.0])[:, None, None],
        p,
        features,
        TIMES,
        key=key,
        example_ids=ids * 2 - 6,
    )
    np.testing.assert_allclose(mates[1], states[1], rtol=0, atol=1e-13)
    assert np.abs(np.asarray(mates - states))[::2].max() > NEGATIVE_CONTROL
    for changed in ({"key": jax.random.key(4)}, {"example_ids": ids + 1}):
        others = roll_out(q, p, features, TIMES, **(options | changed))
        assert np.abs(np.asarray(others - states)).max() > 1e-6


def test_the_vector_field_is_the_gradient_of_the_hamiltonian():
    q, p, features = draw()
    model = make_mlp()
    velocities, forces = jax.jit(model.vector_field)(q, p, features)
    np.testing.assert_allclose(velocities, p / features[..., :1], rtol=1e-14)
    energy = jax.jit(model.hamiltonian)
    by_momenta, by_positions = jax.jit(
        jax.grad(lambda p, q: model.hamiltonian(q, p, features).sum(), argnums=(0, 1))
    )(p, q)
    np.testing.assert_allclose(velocities, by_momenta, rtol=1e-12)
    np.testing.assert_allclose(forces, -by_positions, rtol=1e-12)
    kinetic = energy(q, p, features) - energy(q, 0 * p, features)
    np.testing.assert_allclose(energy(q, 0 * p, features), jax.jit(model.potential)(q, features))
    np.testing.assert_allclose(
        kinetic, np.sum(p**2 / (2 * features[..., :1]), axis=(1, 2)), rtol=1e-12
    )


@pytest.mark.parametrize("name", some(["SE(2), unlifted", "mlp"], "mlp"))
def test_particles_that_do_not_exist_change_nothing(name):
    q, p, features = draw()
    mask = np.broadcast_to(np.arange(N) < N - 1, q.shape[:-1])
    model = make_mlp(center=True) if name == "mlp" else make(name)
    roll_out = compiled(model, solver="symplectic")
    zeros, rubbish = (
        roll_out(*(np.where(mask[..., None], a, filler) for a in (q, p, features)), TIMES, mask)
        for filler in (0.0, jnp.nan)
    )
    np.testing.assert_array_equal(zeros, rubbish)
    np.testing.assert_array_equal(zeros[:, :, -1], 0.0)
    chex.assert_tree_all_finite(zeros)
    if name != "mlp":
        fewer = roll_out(q[:, :-1], p[:, :-1], features[:, :-1], TIMES)
        np.testing.assert_allclose(zeros[:, :, :-1], fewer, rtol=0, atol=1e-12)


def test_the_first_state_is_the_given_one():
    q, p, features = draw()
    roll_out = compiled(make_mlp())
    states = roll_out(q, p, features, TIMES)
    np.testing.assert_array_equal(states[:, 0], np.concatenate([q, p], axis=-1))
    one = roll_out(q[0], p[0], features[0], TIMES)
    np.testing.assert_allclose(one, states[0], rtol=0, atol=1e-14)


def test_training_needs_a_key_where_the_lift_draws():
    q, p, features = draw()
    assert make("SE(2), log").is_stochastic
    assert not make("SE(2), unlifted").is_stochastic
    with pytest.raises(ValueError, match="key must be given in training"):
        make("SE(2), log").roll_out(q, p, features, TIMES, training=True)


def test_bad_arguments(no_type_checks):
    q, p, features = draw()
    model = make_mlp()
    with pytest.raises(ValueError, match=r"momenta must have the shape of positions \(3, 4, 2\)"):
        model.roll_out(q, p[:2], features, TIMES)
    with pytest.raises(ValueError, match=r"positions must have shape \[\*B N D\], got \(2,\)"):
        model.roll_out(q[0, 0], p[0, 0], features, TIMES)
    with pytest.raises(
        ValueError, match=r"system_features must have shape \(3, 4, 2\), got \(2, 4, 2\)"
    ):
        model.roll_out(q, p, features[:2], TIMES)
    with pytest.raises(ValueError, match=r"mask must have shape \(3, 4\), got \(4,\)"):
        model.roll_out(q, p, features, TIMES, jnp.ones(4, bool))
    with pytest.raises(
        ValueError, match=r"times must have shape \[times\], at least 1, got \(0,\)"
    ):
        model.roll_out(q, p, features, TIMES[:0])
    with pytest.raises(ValueError, match="times must increase"):
        model.roll_out(q, p, features, TIMES[::-1])
    with pytest.raises(ValueError, match=r"solver must be one of .* got 'euler'"):
        model.roll_out(q, p, features, TIMES, solver="euler")
    with pytest.raises(ValueError, match=r"points must end in \(4, 2\), got shape \(3, 3, 2\)"):
        model.potential(q[:, 1:], features[:, 1:])
    with pytest.raises(ValueError, match=r"features must end in \(4, 2\), got shape \(3, 4, 1\)"):
        model.potential(q, features[..., :1])
    for mask, message in (
        (np.full((3, 4), 0.3), "mask must be boolean, got float64"),
        (np.ones(4, bool), r"mask must have shape \(3, 4\), got \(4,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            model.potential(q, features, mask)
        with pytest.raises(ValueError, match=message):
            model.vector_field(q, p, features, mask)
    with pytest.raises(
        ValueError, match=r"features must have the leading shape of points \(3, 4\)"
    ):
        model.potential(q, features[:1])
    for mass in (0.0, -2.0):
        heavy = np.asarray(features).copy()
        heavy[1, 2, 0] = mass
        with pytest.raises(ValueError, match=rf"must be above 0, got {mass} at \(1, 2\)"):
            model.roll_out(q, p, heavy, TIMES)
        mask = np.ones((3, 4), bool)
        mask[1, 2] = False
        assert np.isfinite(model.hamiltonian(q, p, heavy, mask)).all()
    with pytest.raises(ValueError, match="num_points must be at least 1, got 0"):
        PotentialMLP(0, 2, 2, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="num_layers must be at least 1, got 0"):
        PotentialMLP(4, 2, 2, num_layers=0, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="activation"):
        PotentialMLP(4, 2, 2, activation="sine", rngs=nnx.Rngs(0))
    space = spaces.euclidean(groups.T(2))
    one_head = small.attention(num_heads=1)
    two = LieTransformer(space, 2, 2, dim=4, num_layers=1, layer=one_head, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="potential_model must have 1 output, got 2"):
        HamiltonianNetwork(two)


@pytest.mark.slow
@pytest.mark.parametrize("solver", [pytest.param("rk4", marks=pytest.mark.slow), "symplectic"])
def test_roll_outs_have_derivatives_of_any_order(solver):
    """Reverse over reverse and forward over reverse agree with finite differences."""
    q, p, features = draw(batch=1)
    model = make_mlp()
    direction = np.ones(q.shape)
    f = lambda q: jnp.sum(model.roll_out(q, p, features, TIMES, solver=solver) ** 2)
    along = jax.jit(lambda q: jax.jvp(jax.grad(f), (q,), (direction,)))
    _, forward = along(q)
    reverse = jax.jit(jax.grad(lambda q: jnp.sum(jax.grad(f)(q) * direction)))(q)
    (ahead, _), (behind, _) = along(q + 1e-5), along(q - 1e-5)
    numeric = (ahead - behind) / 2e-5
    np.testing.assert_allclose(forward, numeric, atol=1e-6)
    np.testing.assert_allclose(reverse, numeric, atol=1e-6)


def test_a_second_roll_out_compiles_nothing(caplog):
    q, p, features = draw(batch=2)
    model = make_mlp()
    with jax.log_compiles():
        model.roll_out(q, p, features, TIMES)
        assert any("_trajectories" in r.getMessage() for r in caplog.records)  # it can be seen
        caplog.clear()
        model.roll_out(2 * q, p, features, TIMES)
        assert not any("_trajectories" in r.getMessage() for r in caplog.records)


class Springs(nnx.Module, pytree=False):
    """Σ k_i |q_i|² / 2: what moves is known, and there is next to nothing to compile."""

    in_features, out_features, is_stochastic = 2, 1, False

    def __call__(self, points, features, mask=None, key=None, **options):
        return 0.5 * jnp.sum(features[..., 1] * jnp.sum(points**2, -1), -1)[..., None]


def draw32(batch=3):
    return tuple(np.asarray(a, np.float32) for a in draw(batch))


@pytest.mark.parametrize("solver", some(["rk4", "symplectic", "adaptive"], "rk4", "symplectic"))
def test_only_differences_of_times_and_places_matter(solver):
    """In float32, from Unix seconds and a million away on."""
    q, p, features = draw32()
    model, times = HamiltonianNetwork(Springs()), np.linspace(0.0, 1.0, 6)
    expected = model.roll_out(*map(jnp.asarray, (q, p, features)), times, solver=solver)
    expected = np.asarray(expected)
    assert np.abs(expected[:, -1] - expected[:, 0]).max() > 0.1
    later = model.roll_out(q, p, features, times + 1.7e9, solver=solver)
    np.testing.assert_allclose(later, expected, rtol=0, atol=2e-5)
    mask = jnp.asarray(np.ones((3, N), bool))
    far = model.roll_out(q.astype(np.float64) + 1e6, p, features, times, mask, solver=solver)
    far = np.asarray(far)
    np.testing.assert_allclose(far[..., 2:], expected[..., 2:], rtol=0, atol=2e-5)
    np.testing.assert_allclose(far[..., :2], expected[..., :2] + 1e6, rtol=1e-6)


def test_lists_are_arrays_and_forces_depend_on_differences_of_places():
    q, p, features = draw32()
    model, times = HamiltonianNetwork(Springs()), np.linspace(0.0, 1.0, 6)
    expected = model.roll_out(q, p, features, times)
    lists = model.roll_out(*(a.tolist() for a in (q, p, features, times + 1.7e9)))
    np.testing.assert_allclose(lists, expected, rtol=0, atol=2e-5)
    vector_field = jax.jit(model.vector_field)
    _, forces = vector_field(q.astype(np.float64) + 1e6, p, features)
    _, wanted = vector_field(q, p, features)
    np.testing.assert_allclose(forces, wanted, rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ([[1.0], [1.0, 2.0]], ValueError, "momenta must be an array, got rows of different len"),
        ([["a", "b"]], TypeError, "momenta must hold numbers, got <U1"),
        (jnp.full((3, N, 2), 5j), TypeError, "momenta must be real, got complex128"),
    ],
)
def test_lists_that_are_no_arrays_are_named(bad, error, message, no_type_checks):
    with pytest.raises(error, match=message):
        HamiltonianNetwork(Springs()).roll_out(draw()[0], bad, draw()[2], TIMES)


def test_a_trajectory_that_cannot_be_followed_is_nan_alone():
    """One starts at NaN, one is stiff, one has no forces; the other goes its way.

    Nor do its steps depend on batch mates that move faster.
    """
    q, p, features = draw32(batch=4)
    options = {"solver": "adaptive", "max_steps": 200}
    roll_out = compiled(HamiltonianNetwork(Springs()), as_for_users=True, **options)
    expected = roll_out(q, p, features, TIMES)
    chex.assert_tree_all_finite(expected)
    faster = np.array([30, 1, 30, 30])[:, None, None].astype(np.float32)
    others = roll_out(q, p * faster, features, TIMES)
    np.testing.assert_array_equal(others[1], expected[1])
    assert np.abs(np.asarray(others)[0, 1:] - np.asarray(expected)[0, 1:]).max() > 0.1
    spoilt = q.copy(), p.copy(), features.copy()
    spoilt[0][0, 0, 0] = np.nan
    spoilt[2][2, :, 1] = 1e10
    spoilt[2][3, :, 1] = np.nan
    states = roll_out(*spoilt, TIMES)
    chex.assert_trees_all_equal(states[1], expected[1])
    assert np.isnan(states[[0, 2, 3], 1:]).all()
    np.testing.assert_array_equal(states[2, 0], expected[2, 0])
    chex.assert_tree_all_finite(HamiltonianNetwork(Springs()).roll_out(*draw32(), [0.0, 1.0]))


def test_padding_of_nan_has_no_energy():
    q, p, features = draw()
    mask = np.broadcast_to(np.arange(N) < N - 1, q.shape[:-1])
    hide = lambda x: np.where(mask[..., None], x, jnp.nan)
    energy = jax.jit(make("SE(2), unlifted").hamiltonian)
    spoilt = energy(hide(q), hide(p), hide(features), mask)
    np.testing.assert_allclose(spoilt, energy(q, p, features, mask), rtol=1e-12)


def test_a_field_of_scalars_is_no_potential():
    space = spaces.euclidean(groups.T(2))
    model = LieTransformer(
        space, 2, 1, dim=4, num_layers=1, layer=small.attention(num_heads=1), output="per_point",
        rngs=nnx.Rngs(0),
    )  # fmt: skip
    with pytest.raises(ValueError, match="potential_model must have an output 'invariant'"):
        HamiltonianNetwork(model)
