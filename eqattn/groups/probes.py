"""Some elements of a group, to find out what is true of all of them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from eqattn.groups.base import LieGroup


@functools.cache
def probe_elements(group: LieGroup, num: int = 8) -> np.ndarray:
    """Some elements of a group [num E], always the same; also while tracing."""
    with jax.ensure_compile_time_eval():
        return np.asarray(group.sample(jax.random.key(7), (num,)))


@functools.cache
def has_scalings(group: LieGroup) -> bool:
    """Whether the group stretches lengths."""
    with jax.ensure_compile_time_eval():
        return bool(np.any(np.asarray(group.log_scale(jnp.asarray(probe_elements(group)))) != 0))
