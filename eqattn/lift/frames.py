"""Frames of principal axes: group elements that move along with an example's points."""

import dataclasses
import functools
import itertools
import logging
import math
from typing import Literal, cast

import jax
import jax.numpy as jnp
from jax.core import Tracer

from eqattn.checks import check_numbers, check_option, check_sizes
from eqattn.groups import SE, SO, LieGroup, Product, RxSO2, RxSO3, Sim, T, Trivial
from eqattn.groups.affine import Affine
from eqattn.groups.base import has_scalings
from eqattn.groups.finite import finite_elements
from eqattn.groups.reflected import Reflected
from eqattn.lift.base import Guarantee, Lift, Lifting, LiftInputs
from eqattn.lift.prng import point_keys
from eqattn.spaces.base import Space
from eqattn.spaces.position_orientation import PositionOrientation
from eqattn.specification import computed
from eqattn.symmetric import eigh
from eqattn.typing import Array, Float

Pairs = Literal["within", "across"]

_LOG = logging.getLogger("eqattn")


@dataclasses.dataclass(frozen=True, repr=False)
class Frames(Lift):
    """Frames of the principal axes of an example's points, with all choices of signs as samples.

    4 samples under rotations of space, 2 of the plane; twice as many with reflections. Frames are
    centered and, under Sim(n), scaled by the root mean square radius; under SO(n) and on the sphere
    they are axes of the second moment about the origin. Points count by their weights. The frames
    are those of Frame Averaging (arXiv 2110.03336).

    With ``pairs="within"`` a model sees the points in one frame at a time, and the output is the
    average over frames of what the whole model says, its head included: as published. Fields are
    turned back by each frame before. The cost grows with the number of frames. With ``"across"``
    the elements of all frames see each other, which is another function, and the cost of pairs
    grows with the square; pooling is then over frames as well, before the head.

    Equivariance, of both: exact where frames are well separated: where the eigenvalues of the
    second moment differ by ``min_gap`` of the largest. Elsewhere (a tetrahedron, benzene, collinear
    points in space) the axes are drawn: Haar, the same for all points of the example, with
    equivariance in expectation. That is not rare: it happens to 6.9 % of the 3,000 embedded
    molecules of QM9 with the default gap. ``Lifted.fallback`` says of which examples axes were
    drawn, outside ``jit`` a warning is logged, and runs report their share as the score
    ``frames_drawn``. Predictions jump between the two, and their gradients grow like the inverse of
    the gap: not for forces.

    With ``training_frames`` each training step draws so many frames of an example anew, keyed by
    its id, and evaluation averages over all of them: exact as before. A step with one frame costs a
    half or a fourth of one with all, or less. The prediction of a step is that of the average, and
    equivariant, in expectation over the key.

    Args:
      min_gap: Smallest gap between eigenvalues that counts, relative to the largest eigenvalue.
      pairs: Pairs of elements that models see: those ``"within"`` a frame, or ``"across"`` all
        frames of an example. Layers by themselves see all elements that they are given; see
        :func:`eqattn.lift.samples_apart`.
      training_frames: Number of frames that a training step draws for each example; None for all.

    Raises:
      TypeError: If ``min_gap`` is not a number, or ``training_frames`` not an integer or None.
      ValueError: If ``min_gap`` is not between 0 and 1, for unknown ``pairs``, and for
        ``training_frames`` below 1 or with ``pairs="across"``.
    """

    has_half_turns = True
    has_fallback = True
    keeps_samples_apart = computed(lambda self: self.pairs == "within")

    min_gap: float = 0.05
    pairs: Pairs = "within"
    training_frames: int | None = None

    def __post_init__(self):
        check_numbers({"min_gap": self.min_gap})
        if not 0.0 < self.min_gap < 1.0:
            raise ValueError(f"min_gap must be between 0 and 1, got {self.min_gap}")
        check_option("pairs", self.pairs, Pairs)
        if self.training_frames is None:
            return
        check_sizes({"training_frames": self.training_frames})
        if self.pairs == "across":
            raise ValueError(
                f"training_frames must be None with pairs 'across', got {self.training_frames}: "
                "what all frames say together, some of them do not"
            )

    def check(self, space: Space) -> None:
        """See :meth:`Lift.check`."""
        if not (space.draws_samples or space.stabilizer.element_dim):
            raise ValueError(f"Frames has nothing to choose on {space}; use Haar(1)")
        has_positions = space.point_dim == space.group.point_dim or _is_oriented(space)
        if not has_positions or not _has_axes(space.group):
            raise ValueError(
                f"Frames needs points of Rⁿ, of spheres or with orientations, under rotations, "
                f"reflections, translations or scalings, got {space}; use Haar(num_samples)"
            )
        num_frames = _num_frames(space.group)
        if self.training_frames is not None and self.training_frames > num_frames:
            raise ValueError(
                f"training_frames must be at most {num_frames} on {space}, "
                f"got {self.training_frames}"
            )

    def is_stochastic(self, space: Space) -> bool:
        """See :meth:`Lift.is_stochastic`: by its fallback."""
        return True

    def guarantee(self, space: Space) -> Guarantee:
        """See :meth:`Lift.guarantee`."""
        group = str(space.group)
        text = (
            f"exactly equivariant to {group} where principal axes are separated by "
            f"{self.min_gap:g}; elsewhere in expectation over the key"
        )
        if has_scalings(space.group):
            text += ", but for scalings of examples whose points are all one, which have no scale"
        return Guarantee(True, group, text)

    def elements(self, space: Space, inputs: LiftInputs) -> Lifting:
        """Elements g_ik = f_k section(f_k⁻¹ x_i) over the points, for the frames f_k of an example.

        Where u moves the points, frames u f_k, in some order, move the elements to u g_ik.

        Args:
          space: Space of the points.
          inputs: The points, and what draws are keyed by: of axes that are not well separated, and
            of frames in training.
        """
        points, key = inputs.points, cast(Array, inputs.key)  # lift makes sure that there is one
        keys = point_keys(key, points.shape[:-2], jnp.arange(2), inputs.example_ids)
        positions = points[..., : space.group.point_dim]
        frames, separated = _frames(
            space.group, positions, inputs.weights, keys[..., 0], self.min_gap
        )
        if inputs.training and self.training_frames is not None:
            frames = _some(frames, keys[..., 1], self.training_frames)
        if not isinstance(separated, Tracer) and not bool(jnp.all(separated)):
            _LOG.warning(
                "Frames: axes of %d of %d examples are not separated by %g, and were drawn",
                int(jnp.sum(~separated)),
                separated.size,
                self.min_gap,
            )
        compose, inverse = space.group.compose, space.group.inverse
        if space.section_is_normal and not space.has_exceptional_orbits:
            # The part of f_k in H is the same over all points; this way x_i is not moved and back.
            origin = jnp.asarray(space.origin(), points.dtype)
            turns = compose(inverse(space.section(space.act(frames, origin))), frames)
            elements = compose(space.section(points)[..., None, :], turns[..., None, :, :])
        else:
            frames = frames[..., None, :, :]
            moved = space.act(inverse(frames), points[..., None, :])
            elements = compose(frames, space.section(moved))
        return Lifting(elements, ~separated)


def _is_oriented(space: Space) -> bool:
    """Whether points hold a position, which frames are made of, and an orientation."""
    return isinstance(space, PositionOrientation)


def _has_axes(group: LieGroup) -> bool:
    if isinstance(group, Product):
        return all(_has_axes(factor) for factor in group.factors)
    if isinstance(group, Reflected):
        return group.proper != Trivial(1)
    others = (SO(2), SO(3), RxSO2(), RxSO3(), SE(2), SE(3), Sim(2), Sim(3))
    return isinstance(group, T | Trivial) or group in others


def _num_frames(group: LieGroup) -> int:
    """Number of choices of signs of the axes."""
    if isinstance(group, Product):
        return math.prod(_num_frames(factor) for factor in group.factors)
    if isinstance(group, Reflected):
        return 2 * _num_frames(group.proper)
    if isinstance(group, T | Trivial):
        return 1
    return 2 if group.point_dim == 2 else 4


def _some(frames: Array, keys: Array, num_frames: int) -> Array:
    """So many of the frames [*B S E] of each example, none of them twice."""

    def draw(key: Array, of_example: Array) -> Array:
        return jax.random.choice(key, of_example, (num_frames,), replace=False)

    for _ in keys.shape:
        draw = jax.vmap(draw)
    return draw(keys, frames)


def _frames(
    group: LieGroup, points: Array, weights: Array, keys: Array, min_gap: float
) -> tuple[Array, Array]:
    """Frames [*B S E], and whether their axes are separated [*B]."""
    if isinstance(group, Product):
        return _product_frames(group, points, weights, keys, min_gap)
    if isinstance(group, Reflected):
        proper, separated = _frames(group.proper, points, weights, keys, min_gap)
        proper = jnp.concatenate([proper, jnp.ones_like(proper[..., :1])], axis=-1)
        mirror = group.identity((), proper.dtype).at[-1].set(-1.0)
        return jnp.concatenate([proper, group.compose(proper, mirror)], axis=-2), separated
    if not isinstance(group, T | Trivial | Affine):
        return _frames_about(group, points, points, weights, keys, min_gap)
    center = jnp.sum(weights[..., None] * points, axis=-2)[..., None, :]
    if isinstance(group, Affine):
        linear = group.linear
        turns, separated = _frames_about(linear, points - center, points, weights, keys, min_gap)
        center = jnp.broadcast_to(center, (*turns.shape[:-1], group.point_dim))
        return jnp.concatenate([turns, center], axis=-1), separated
    return center[..., : group.element_dim], jnp.ones(points.shape[:-2], bool)


def _frames_about(
    group: LieGroup, relative: Array, points: Array, weights: Array, keys: Array, min_gap: float
) -> tuple[Array, Array]:
    """Frames of SO(n) or R₊×SO(n), of points relative to a center; others as _frames."""
    if not isinstance(group, RxSO2 | RxSO3):
        return principal_axes(group, relative, points, weights, keys, min_gap)
    turns, separated = principal_axes(group.rotation, relative, points, weights, keys, min_gap)
    mean_square = _mean_square(relative, weights)
    is_spread = mean_square > _noise(points, weights)
    log_radius = 0.5 * jnp.log(jnp.where(is_spread, mean_square, 1.0))
    log_radius = jnp.broadcast_to(log_radius[..., None, None], (*turns.shape[:-1], 1))
    return jnp.concatenate([turns, log_radius], axis=-1), separated


def _product_frames(
    group: Product, points: Array, weights: Array, keys: Array, min_gap: float
) -> tuple[Array, Array]:
    """All combinations of the frames of the factors, each of its own coordinates."""
    ends = list(itertools.accumulate(factor.point_dim for factor in group.factors))
    out = jnp.zeros((*points.shape[:-2], 1, 0), points.dtype)
    separated = jnp.ones(points.shape[:-2], bool)
    fold = jax.random.fold_in
    for _ in keys.shape:
        fold = jax.vmap(fold, (0, None))
    for index, (factor, end) in enumerate(zip(group.factors, ends, strict=True)):
        own = points[..., end - factor.point_dim : end]
        frames, good = _frames(factor, own, weights, fold(keys, index), min_gap)
        rows, columns = out[..., :, None, :], frames[..., None, :, :]
        shape = (*rows.shape[:-2], columns.shape[-2])
        both = [jnp.broadcast_to(x, (*shape, x.shape[-1])) for x in (rows, columns)]
        out = jnp.concatenate(both, axis=-1).reshape(*points.shape[:-2], shape[-1] * shape[-2], -1)
        separated = separated & good
    return out, separated


def principal_axes(
    group: LieGroup, relative: Array, points: Array, weights: Array, keys: Array, min_gap: float
) -> tuple[Array, Array]:
    """Rotations that take the coordinate axes to principal axes, with all signs [*B S E].

    Args:
      group: SO(2) or SO(3).
      relative: Points from the center of the frame.
      points: Points as they were: spreads that are rounding errors of them count as none.
      weights: Weights of the points.
      keys: Random keys, used where axes are not separated.
      min_gap: Least gap between eigenvalues, relative to the largest.
    """
    products = relative[..., :, None] * relative[..., None, :]
    moment = jnp.sum(weights[..., None, None] * products, axis=-3)
    # The flag is found first and the moments of flagged examples are replaced, because derivatives
    # of eigenvectors are infinite where eigenvalues coincide.
    spectrum, _ = eigh(jax.lax.stop_gradient(moment))
    gaps = jnp.min(spectrum[..., 1:] - spectrum[..., :-1], axis=-1)
    is_spread = spectrum[..., -1] > _noise(points, weights)
    separated = (gaps >= min_gap * spectrum[..., -1]) & is_spread
    dim = moment.shape[-1]
    harmless = jnp.diag(jnp.arange(1.0, 1.0 + dim, dtype=moment.dtype))
    _, axes = eigh(jnp.where(separated[..., None, None], moment, harmless))
    draw = functools.partial(group.sample, dtype=points.dtype)
    for _ in keys.shape:
        draw = jax.vmap(draw)
    turns = jnp.where(separated[..., None], rotation_element(axes), draw(keys))
    signs = finite_elements(group, "cyclic(2)" if dim == 2 else "dihedral(2)")
    return group.compose(turns[..., None, :], jnp.asarray(signs, points.dtype)), separated


def _mean_square(points: Array, weights: Array) -> Array:
    return jnp.sum(weights * jnp.sum(points * points, axis=-1), axis=-1)


def _noise(points: Array, weights: Array) -> Array:
    """The mean square of rounding errors of points: what is below is no spread."""
    relative = 32.0 * float(jnp.finfo(points.dtype).eps)
    return relative**2 * _mean_square(points, weights)


def rotation_element(axes: Float[Array, "*B D D"]) -> Float[Array, "*B E"]:
    """The element of SO(2) or SO(3) whose matrix has these columns; the last gives way in sign."""
    if axes.shape[-1] == 2:
        return axes[..., :, 0]
    x, y = axes[..., :, 0], axes[..., :, 1]
    z = jnp.cross(x, y)
    # Rows of 4 q qᵀ: that of the largest component, which is at least 1/2, is divided by it.
    w = (
        1 + x[..., 0] + y[..., 1] + z[..., 2],
        *(y[..., 2] - z[..., 1], z[..., 0] - x[..., 2], x[..., 1] - y[..., 0]),
    )
    diagonal = (
        1 + x[..., 0] - y[..., 1] - z[..., 2],
        1 - x[..., 0] + y[..., 1] - z[..., 2],
        1 - x[..., 0] - y[..., 1] + z[..., 2],
    )
    xy, xz, yz = x[..., 1] + y[..., 0], x[..., 2] + z[..., 0], y[..., 2] + z[..., 1]
    rows = (
        w,
        (w[1], diagonal[0], xy, xz),
        (w[2], xy, diagonal[1], yz),
        (w[3], xz, yz, diagonal[2]),
    )
    squares = jnp.stack([jnp.stack(row, -1) for row in rows], -2)
    sizes = jnp.stack([w[0], *diagonal], -1)
    best = jnp.argmax(sizes, axis=-1)[..., None]
    row = jnp.take_along_axis(squares, best[..., None], axis=-2)[..., 0, :]
    return 0.5 * row / jnp.sqrt(jnp.take_along_axis(sizes, best, axis=-1))
