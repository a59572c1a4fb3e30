"""Functions that tests call once: as programs, which compile faster than all their operations."""

import functools
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from eqattn import testing

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


@functools.cache
def in_programs(check):
    """An error of ``eqattn.testing`` as three programs: its inputs, the function, and what follows.

    The check is traced twice: to see what it gives the function, and with the function's outputs.
    Given several functions of one shape, a tuple, it returns the error of each. The inputs and the
    programs depend on the space, the options and the shapes of outputs alone, and are kept.
    """
    kept_inputs, kept_programs = {}, {}

    def call(fn, space, *, key=None, **options):
        name = _name(space, options) if key is None else None
        key = jax.random.key(0) if key is None else key
        fns = fn if isinstance(fn, tuple) else (fn,)

        fixed = []  # widths, and which examples are complete

        def run(key, outputs):
            given, compared = [], []

            def answer(*args):
                given.append(args)
                if outputs:
                    return outputs[len(given) - 1]
                shape = jax.eval_shape(fns[0], *args)
                return jnp.zeros(shape.shape, shape.dtype)

            def record(*pair):
                compared.extend(pair[:2])
                fixed[:] = pair[2:]
                return 0.0

            with mock.patch.object(testing, "relative_error", record):
                check(answer, space, key=key, **options)
            return compared if outputs else given

        given = kept_inputs.get(name) or jax.jit(run)(key, ())
        if name is not None:
            kept_inputs[name] = given
        single = not isinstance(fn, tuple)
        outputs = tuple(
            fn(*args) if single else np.stack([f(*args) for f in fns]) for args in given
        )
        program = jax.jit(run if single else jax.vmap(run, (None, 0)))
        if name is not None:
            shapes = tuple((out.shape, out.dtype) for out in outputs)
            program, fixed = kept_programs.setdefault((name, single, shapes), (program, fixed))
        found = program(key, outputs)
        if single:
            return testing.relative_error(*found, *fixed)
        pairs = zip(*map(np.asarray, found), strict=True)
        return [testing.relative_error(*map(jnp.asarray, pair), *fixed) for pair in pairs]

    return call


def _name(space, options):
    """What tells a measurement from others; nothing where an option is an array."""
    name = (space, *sorted(options.items()))
    try:
        hash(name)
    except TypeError:
        return None
    return name
