"""Samples that do not see each other: each is then an example of its own."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from eqattn.lift.lifted import Lifted
from eqattn.typing import Array, Float

Known = Any
"""What is known of examples: a tree of arrays [*B ...], such as their ids."""


def samples_apart(lifted: Lifted) -> Lifted:
    """Each sample as an example of its own: elements [*B N S E] become [*B S N 1 E].

    A point then has the whole weight that its samples shared.

    Args:
      lifted: Functions on the group.

    >>> import eqattn, jax
    >>> space = eqattn.spaces.euclidean(eqattn.groups.SE(3))
    >>> points = jax.random.normal(jax.random.key(0), (2, 5, 3))
    >>> options = {"lift": eqattn.lift.Frames(), "key": jax.random.key(1)}
    >>> lifted = jax.jit(lambda x: eqattn.lift.lift(space, x, x, **options))(points)
    >>> lifted.elements.shape, samples_apart(lifted).elements.shape
    ((2, 5, 4, 7), (2, 4, 5, 1, 7))
    """
    repeated = functools.partial(_repeated, lifted)
    whole = jnp.log(jnp.asarray(lifted.elements.shape[-2], lifted.log_weights.dtype))
    return dataclasses.replace(
        lifted,
        elements=jnp.swapaxes(lifted.elements, -2, -3)[..., None, :],
        features=jnp.swapaxes(lifted.features, -2, -3)[..., None, :],
        orbit_invariants=repeated(lifted.orbit_invariants),
        mask=repeated(lifted.mask),
        log_weights=jnp.swapaxes(lifted.log_weights, -1, -2)[..., None] + whole,
        fallback=repeated(lifted.fallback),
    )


def mean_over_samples(
    network: Callable[[Lifted, Known], Array], lifted: Lifted, known: Known
) -> Float[Array, "..."]:
    """What a network says of each sample alone, averaged, where the lift keeps samples apart.

    On other lifts it is applied as it is. All samples of an example have its id, so that whatever
    else is drawn is the same for all of them: no choice of their order shows.

    Args:
      network: Function of a lift and of what is known of its examples.
      lifted: Functions on the group.
      known: What is known of each example, such as its id.
    """
    if not _are_apart(lifted):
        return network(lifted, known)
    out = network(samples_apart(lifted), _all_repeated(lifted, known))
    return jnp.mean(out, axis=lifted.mask.ndim - 1)


def by_sample(network: Callable[[Lifted, Known], Lifted], lifted: Lifted, known: Known) -> Lifted:
    """Functions on the group in and out: of each sample alone where the lift keeps them apart.

    Args:
      network: Function of a lift and of what is known of its examples, which gives the same
        elements back.
      lifted: Functions on the group.
      known: What is known of each example, such as its id.
    """
    if not _are_apart(lifted):
        return network(lifted, known)
    out = network(samples_apart(lifted), _all_repeated(lifted, known))
    return lifted.replace_features(jnp.swapaxes(out.features[..., 0, :], -2, -3))


def _are_apart(lifted: Lifted) -> bool:
    """Whether there are several samples that are not to see each other."""
    has_several = lifted.elements.shape[-2] > 1
    return has_several and lifted.lift is not None and lifted.lift.keeps_samples_apart


def _all_repeated(lifted: Lifted, known: Known) -> Known:
    return jax.tree.map(functools.partial(_repeated, lifted), known)


def _repeated(lifted: Lifted, x: Any) -> Any:
    """What is known of examples [*B ...], of each of their samples [*B S ...]."""
    if x is None:
        return None
    axis = lifted.mask.ndim - 1
    x = jnp.expand_dims(x, axis)
    return jnp.broadcast_to(x, (*x.shape[:axis], lifted.elements.shape[-2], *x.shape[axis + 1 :]))
