"""Functions that tests call once: as programs, which compile faster than all their operations."""

import functools

import jax
import numpy as np

HAS_EMITTERS = jax.lib.__version__.startswith("0.10.")
"""Whether XLA has two kinds of emitters; a flag that it does not know ends the process."""
EMITTERS = {"xla_cpu_use_fusion_emitters": True} if HAS_EMITTERS else {}
"""Compiler options of programs whose bits count, which are emitted as for users: see conftest."""


def compiled(function):
    """The function as one program: its arrays are arguments, everything else is constant.

    Called without it, a function compiles each of its operations as a program of its own, which
    takes three times as long. Values are not known inside: what checks them is called as it is.
    """

    @functools.wraps(function)
    def call(*args, **kwargs):
        leaves, structure = jax.tree.flatten((args, kwargs))
        places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, jax.Array | np.ndarray)]

        def run(arrays):
            filled = list(leaves)
            for place, array in zip(places, arrays, strict=True):
                filled[place] = array
            args, kwargs = jax.tree.unflatten(structure, filled)
            return function(*args, **kwargs)

        return jax.jit(run)([leaves[place] for place in places])

    return call
