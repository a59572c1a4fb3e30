"""Where each strategy keeps what it promises, and what that is."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from eqattn import fields
from eqattn.checks import check_instance
from eqattn.fields.action import has_scalings, probe_elements
from eqattn.lift.cosets import check_field
from eqattn.lift.finite import finite_elements, grid_elements
from eqattn.lift.frames import check_frames
from eqattn.lift.strategies import Coset, Frames, Grid, Haar, NoLift, Strategy, Subgroup
from eqattn.spaces.base import Coordinates, Space


def check_strategy(space: Space, strategy: Strategy, field: fields.FieldType | None = None) -> None:
    """Makes sure that a strategy keeps what it promises.

    Args:
      space: where the points live.
      strategy: of the lift.
      field: type of the features that are lifted, or of the output that is projected, if known.

    Raises:
      TypeError: for arguments of other types, such as the name of a strategy.
      ValueError: where it does not, saying why and naming what to use.
    """
    check_instance("space", space, Space)
    check_instance("strategy", strategy, Strategy)
    check_instance("field", field, fields.FieldType | None)
    if isinstance(strategy, Haar):
        _check_haar(space, strategy)
    elif isinstance(strategy, Grid | Subgroup):
        if not space.section_is_normal:
            raise ValueError(
                f"{strategy} needs a section in a normal subgroup, which that of {space} is not; "
                "use Frames() or Haar(num_samples)"
            )
        if space.has_exceptional_orbits:
            raise ValueError(
                f"{strategy} needs one stabilizer for all points, got {space} with exceptional "
                "orbits, where others are drawn; use Haar(num_samples)"
            )
        if isinstance(strategy, Grid):
            grid_elements(space.stabilizer, strategy.num_angles)
        else:
            finite_elements(space.stabilizer, strategy.name, reflections=strategy.reflections)
    elif isinstance(strategy, Frames):
        check_frames(space)
    elif isinstance(strategy, Coset):
        check_strategy(space, strategy.strategy)
        _check_between(space, strategy.space)
    elif space.has_exceptional_orbits:
        raise ValueError(
            f"NoLift is exact only on spaces without exceptional orbits, got {space}; "
            "use Haar(num_samples)"
        )
    if field is not None:
        field.check(space)
        check_field(space, strategy, field)


def _check_haar(space: Space, strategy: Haar) -> None:
    if not space.stabilizer.is_compact:
        raise ValueError(
            f"Haar needs a compact stabilizer, that of {space} is {space.stabilizer}; use Frames()"
            ", or give each point its scale and orientation as data (eqattn.spaces.group_space)"
        )
    if strategy.shared and not space.section_is_normal:
        raise ValueError(
            f"shared samples would be biased on {space}, whose section is not in a normal "
            "subgroup; use Haar(num_samples, shared=False)"
        )


def _check_between(space: Space, coset: Space) -> None:
    """Raises a ValueError unless the second space is a G/H' with H' in the stabilizer."""
    if coset.group != space.group or space.has_exceptional_orbits or coset.num_orbit_invariants:
        raise ValueError(
            f"space of Coset must be a homogeneous space of {space.group} over {space}, got {coset}"
        )
    if not coset.stabilizer.is_compact or not _keeps_origin(space, coset):
        raise ValueError(
            f"space of Coset must have a compact stabilizer inside that of {space}, "
            f"{space.stabilizer}; got {coset} with {coset.stabilizer}"
        )


@functools.cache
def _keeps_origin(space: Space, coset: Space) -> bool:
    """Whether the stabilizer of ``coset`` lies in that of ``space``, as far as samples tell."""
    with jax.ensure_compile_time_eval():
        samples = coset.embed_stabilizer(jnp.asarray(probe_elements(coset.stabilizer)))
        origin = jnp.asarray(space.origin())
        return bool(np.allclose(space.act(samples, origin), origin, atol=1e-4))


def check_coordinates(strategy: Strategy, space: Space, coordinates: Coordinates | None) -> None:
    """Makes sure that layers on a lift by a strategy may see pairs in such coordinates.

    Args:
      strategy: of the lift.
      space: that the layer takes coordinates from.
      coordinates: of its pairs; None where it sees distances only, or nothing.

    Raises:
      ValueError: if they may not.
    """
    if coordinates is None:
        return
    if space.num_coordinates(coordinates) == 0:
        raise ValueError(
            f"coordinates {coordinates!r} of {space} are none, so that layers see nothing of a "
            "pair; use Frames() with 'embedding'"
        )
    if isinstance(strategy, NoLift | Coset) and coordinates != "invariants":
        name = "an NoLift lift" if isinstance(strategy, NoLift) else "a lift to cosets"
        raise ValueError(f"coordinates must be 'invariants' on {name}, got {coordinates!r}")
    if isinstance(strategy, Coset) and space != strategy.space:
        raise ValueError(
            f"space of a layer must be {strategy.space} on a lift to its points, got {space}"
        )
    if isinstance(strategy, Grid | Subgroup | Frames) and coordinates == "log":
        raise ValueError(
            f"coordinates must not be 'log' on a lift by {strategy}, whose pairs are full of "
            "half-turns, where the logarithm jumps; use 'embedding'"
        )


def pair_space(space: Space, strategy: Strategy) -> Space:
    """The space that layers on a lift take pair coordinates from: G/H' for ``Coset``."""
    return strategy.space if isinstance(strategy, Coset) else space


def strategy_draws(space: Space, strategy: Strategy) -> bool:
    """Whether a lift depends on a key: by samples, or by the fallback of ``Frames``."""
    if isinstance(strategy, Coset):
        return strategy_draws(space, strategy.strategy)
    if isinstance(strategy, Grid):
        return strategy.offset == "random"
    return isinstance(strategy, Frames) or (isinstance(strategy, Haar) and space.draws_samples)


class Guarantee(NamedTuple):
    """What a lift guarantees about the model between it and the projection.

    Attributes:
      exact: whether outputs are equivariant for each key, not only in their mean over keys.
      group: to which elements that applies.
      text: the whole statement.
    """

    exact: bool
    group: str
    text: str


def guarantee(space: Space, strategy: Strategy, field: fields.FieldType | None = None) -> Guarantee:
    """What a lift of a field guarantees.

    Args:
      space: where the points live.
      strategy: of the lift.
      field: type of the field; scalars by default.

    Raises:
      ValueError: where the combination is excluded, with the reason.

    >>> import eqattn
    >>> plane = eqattn.spaces.euclidean(eqattn.groups.SE(2))
    >>> guarantee(plane, eqattn.lift.Subgroup("cyclic(4)")).text
    'exactly equivariant to N ⋊ cyclic(4) of SE2()'
    """
    check_strategy(space, strategy, field)
    if isinstance(strategy, Coset):
        strategy = strategy.strategy
    group = str(space.group)
    if isinstance(strategy, Subgroup):
        mirrored = " with reflections" if strategy.reflections else ""
        return _exact(f"N ⋊ {strategy.name}{mirrored} of {group}")
    if isinstance(strategy, Grid):
        part = f"N ⋊ cyclic({strategy.num_angles}) of {group}"
        if strategy.offset != "random":
            return _exact(part)
        text = f"exactly equivariant to {part}; in expectation over the key to all rotations"
        return Guarantee(True, part, text)
    if isinstance(strategy, Frames):
        text = (
            f"exactly equivariant to {group} where principal axes are separated by "
            f"{strategy.min_gap:g}; elsewhere in expectation over the key"
        )
        if has_scalings(space.group):
            text += ", but for scalings of examples whose points are all one, which have no scale"
        return Guarantee(True, group, text)
    if isinstance(strategy, Haar) and space.draws_samples and space.stabilizer.element_dim:
        text = f"equivariant to {group} in expectation over the key; one draw deviates like n^-1/2"
        if strategy.shared:
            text += "; exactly equivariant to N for a fixed key"
        return Guarantee(False, group, text)
    if isinstance(strategy, Haar) and space.draws_samples and space.has_exceptional_orbits:
        text = f"exactly equivariant to {group}; of points at an exceptional origin in expectation"
        return Guarantee(True, group, f"{text} over the key")
    return _exact(group)


def _exact(group: str) -> Guarantee:
    return Guarantee(True, group, f"exactly equivariant to {group}")
