"""How often the lift ``Frames`` has to draw its axes is counted."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqattn import groups, spaces
from eqattn.config import RunConfig
from eqattn.lift import Frames, Haar
from eqattn.tasks import get_task
from eqattn.tasks import molecules as data
from eqattn.tasks.core.frames import DRAWN, drawn_frames, drawn_score
from eqattn.tasks.springs.models import drawn_along

SE3 = spaces.euclidean(groups.SE(3))
BY_FRAMES = SimpleNamespace(space=SE3, lift=Frames())


def test_the_share_of_the_embedded_molecules_is_the_one_that_is_documented():
    padded = data.pad(data.load(), 29)
    points, mask = jnp.asarray(padded["points"]), jnp.asarray(padded["mask"])
    (drawn,) = jax.jit(lambda x, m: drawn_frames(BY_FRAMES, x, m))(points, mask).values()
    assert int(drawn.sum()) == 208
    assert f"{100 * np.mean(drawn):.1f} % of the 3,000 embedded" in " ".join(Frames.__doc__.split())


def test_other_lifts_draw_no_axes():
    x = jax.random.normal(jax.random.key(0), (2, 4, 3), jnp.float32)
    assert drawn_frames(SimpleNamespace(space=SE3, lift=Haar(2)), x, None) == {}
    assert drawn_frames(SimpleNamespace(), x, None) == {}
    assert drawn_score("gap", {"loss": np.zeros(2)}) == ()


def test_the_share_is_a_score_beside_the_others():
    problem = get_task("molecules").prepare(RunConfig())
    found = {name: np.zeros((300, 1)) for name in ("prediction", "target")}
    found["known"] = np.ones((300, 1), bool)
    scores = problem.score("test", found | {DRAWN: np.arange(300) % 4 == 0})
    assert [score.metric for score in scores] == ["mae", DRAWN]
    assert (scores[1].target, scores[1].value) == ("gap", pytest.approx(0.25))
    assert [score.metric for score in problem.score("test", found)] == ["mae"]


def test_symmetric_states_are_counted():
    """A square has no axes of its own; a cloud in general position has."""
    square = jnp.array([[1.0, 0], [0, 1], [-1, 0], [0, -1]], jnp.float32)
    cloud = jnp.array([[3.0, 0], [0, 1], [-3, 0], [0, 2]], jnp.float32)
    states = jnp.concatenate([jnp.stack([square, cloud]), jnp.zeros((2, 4, 2), jnp.float32)], -1)
    plane = spaces.euclidean(groups.SE(2))
    model = SimpleNamespace(potential_model=SimpleNamespace(space=plane, lift=Frames()))
    share = jax.jit(lambda states: drawn_along(model, states)[DRAWN])
    assert share(states[None] + 5.0).tolist() == [0.5]
