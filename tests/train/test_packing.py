import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from eqattn.config import OptimizerConfig
from eqattn.train.named_leaves import from_named, to_named
from eqattn.train.optimizer import decay_mask, make_optimizer, make_schedule, pack_parameters
from eqattn.train.packing import PackedTree, unpacked

TREE = {
    "a": {"kernel": np.arange(6.0).reshape(2, 3), "bias": np.arange(3.0) + 10},
    "b": [np.float32(7.0) * np.ones(2, np.float32), np.zeros((0, 4))],
    "c": np.array(5.0),
}
MARKS = {"a": {"kernel": "x", "bias": "y"}, "b": ["x", "x"], "c": "y"}


def equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_a_tree_comes_back_from_a_vector_for_each_mark_and_type():
    packed = PackedTree.of(TREE, MARKS)
    assert {name: v.shape for name, v in packed.vectors.items()} == {
        "x float64": (6,), "y float64": (4,), "x float32": (2,),
    }  # fmt: skip
    equal(packed.tree, TREE)
    equal(jax.jit(lambda tree: PackedTree.of(tree, MARKS).tree)(TREE), TREE)
    equal(packed.like(jax.tree.map(lambda x: 2 * x, TREE)).tree, jax.tree.map(np.add, TREE, TREE))


def test_axes_of_members_are_those_of_vectors():
    members = jax.tree.map(lambda x: np.stack([x, x + 1]), TREE)
    packed = PackedTree.of(members, MARKS, num_axes=1)
    assert packed.vectors["x float64"].shape == (2, 6)
    equal(packed.tree, members)
    doubled = jax.vmap(lambda one: one.like(jax.tree.map(lambda x: 2 * x, one.tree)))(packed)
    equal(doubled.tree, jax.tree.map(lambda x: 2 * x, members))


def test_another_tree_is_not_packed_by_the_same_layout():
    packed = PackedTree.of(TREE, MARKS)
    with pytest.raises(ValueError, match="Dict key mismatch"):
        packed.like({"a": TREE["a"]})


def test_files_hold_the_names_of_the_arrays():
    packed = jax.tree.map(jnp.asarray, PackedTree.of(TREE, MARKS))
    state = {"params": packed, "step": jnp.array(3)}
    named = to_named(state)
    expected = to_named({"params": TREE, "step": np.array(3)})
    assert named.keys() == expected.keys()
    equal(named, expected)
    other = jax.tree.map(jnp.zeros_like, state)
    equal(unpacked(from_named(other, named, "file")), unpacked(state))


def test_the_optimizer_updates_vectors_as_it_would_each_array():
    params = {"w": jnp.arange(6.0).reshape(2, 3), "bias": jnp.arange(3.0), "v": jnp.ones((2, 2))}
    gradient = jax.tree.map(lambda x: jnp.cos(x) + 3, params)
    config = OptimizerConfig(learning_rate=0.1, weight_decay=0.3, clip_norm=1.0)
    schedule = make_schedule(config, 100)
    packed, ours = pack_parameters(params), make_optimizer(config, schedule)
    theirs = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=0.3, mask=decay_mask)
    )
    updates, state = ours.update(packed.like(gradient), ours.init(packed), packed)
    expected, expected_state = theirs.update(gradient, theirs.init(params), params)
    for a, b in ((updates.tree, expected), (unpacked(state), expected_state)):
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-12), a, b)
    assert to_named(state).keys() == to_named(expected_state).keys()
