import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from eqattn.train.named_leaves import from_named, leaf_names, to_named

TREE = {
    "w": jnp.arange(6, dtype=jnp.float32).reshape(2, 3),
    "blocks": [{"b": jnp.ones(2, jnp.float32)}, {"b": jnp.zeros(2, jnp.float32)}],
    "key": jax.random.key(3),
    "step": jnp.array(4, jnp.int32),
}


def test_names_are_paths():
    assert set(to_named(TREE)) == {"w", "blocks/0/b", "blocks/1/b", "key", "step"}
    assert leaf_names({"a": [1, 2]}) == {"a": ["a/0", "a/1"]}


def test_names_of_flax_parameters_do_not_show_their_class():
    model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    assert set(to_named(nnx.state(model, nnx.Param))) == {"kernel", "bias"}


def test_round_trip():
    back = from_named(TREE, to_named(TREE), "file")
    assert jax.tree.structure(back) == jax.tree.structure(TREE)
    np.testing.assert_array_equal(back["blocks"][0]["b"], TREE["blocks"][0]["b"])
    assert jax.random.uniform(back["key"]) == jax.random.uniform(TREE["key"])
    shapes = jax.eval_shape(lambda: TREE)
    np.testing.assert_array_equal(from_named(shapes, to_named(TREE), "file")["w"], TREE["w"])


def test_copies_are_independent_of_donated_buffers():
    x = jnp.ones(4)
    named = to_named({"x": x})
    jax.jit(lambda y: y + 1, donate_argnums=0)(x).block_until_ready()
    np.testing.assert_array_equal(named["x"], np.ones(4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"w": None}, "file is of another model: it lacks 'w'"),
        ({"extra": np.zeros(1)}, "file is of another model: it holds 'extra'"),
        ({"w": np.zeros((3, 2), np.float32)}, r"'w' has shape \(3, 2\), this model's has \(2, 3\)"),
        ({"w": np.zeros((2, 3))}, "file: 'w' is float64, this model's is float32"),
    ],
)
def test_another_model_is_one_clear_error(change, message):
    named = {k: v for k, v in (to_named(TREE) | change).items() if v is not None}
    with pytest.raises(ValueError, match=message):
        from_named(TREE, named, "file")
