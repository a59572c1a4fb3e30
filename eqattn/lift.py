"""Lift: from a field on a space to functions on the group, and back.

Point i gets S stabilizer samples h_ik and the elements g_ik = section(x_i) h_ik, with features
F(g_ik) = ρ(g_ik)⁻¹ f(x_i). After the lift everything is in the regular representation,
[u·F](g) = F(u⁻¹g), whatever the field type was. (LieTransformer, arXiv 2012.10885, for scalars.)
"""

import dataclasses
import typing

import jax
import jax.numpy as jnp
from jax.core import Tracer

from eqattn import fields, numerics
from eqattn.checks import check_key, check_sizes
from eqattn.spaces.base import Space
from eqattn.typing import Array, Bool, Float, Int, Key

EVALUATION_SEED = 0
"""Seed of the key that models use in evaluation when they are given none."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Lifted:
    """Functions on the group, sampled: a pytree, constructible from these five alone.

    Attributes:
      elements: group elements g_ik, stored as the group says.
      features: values of the functions at the elements.
      orbits: invariants of the orbits of the points; Q may be 0.
      mask: which points exist.
      log_weights: logarithms of quadrature weights; -inf counts as masked.
      is_coset: whether the elements stand for cosets g H (the strategy ``Unlifted``); set by
        :func:`lift`. Layers then take the pair coordinates ``"invariants"`` only.
    """

    elements: Float[Array, "*B N S E"]
    features: Float[Array, "*B N S C"]
    orbits: Float[Array, "*B N Q"]
    mask: Bool[Array, "*B N"]
    log_weights: Float[Array, "*B N S"]
    is_coset: bool = dataclasses.field(default=False, metadata={"static": True})

    @property
    def valid(self) -> Bool[Array, "*B N S"]:
        """Which elements count: those of existing points, with a weight that is not zero."""
        return self.mask[..., None] & (self.log_weights != -jnp.inf)

    def replace_features(self, features: Float[Array, "*B N S C"]) -> "Lifted":
        """The same elements with other features."""
        return dataclasses.replace(self, features=features)


@dataclasses.dataclass(frozen=True)
class Haar:
    """Haar samples of the stabilizer.

    Equivariance: exact in expectation over the key for compact stabilizers and every number of
    samples; the prediction of one draw deviates by O(num_samples^-1/2). Where the stabilizer is
    trivial (T(n)), exact.

    Args:
      num_samples: S, at least 1.
      shared: draw one set of samples for all points of an example, which adds exact equivariance
        to translations for a fixed key. Needs a space whose section is normal (Rⁿ under SE(n));
        elsewhere it would be biased.

    Raises:
      ValueError: if ``num_samples`` is below 1.
    """

    num_samples: int = 1
    shared: bool = False

    def __post_init__(self):
        check_sizes({"num_samples": self.num_samples})


@dataclasses.dataclass(frozen=True)
class Unlifted:
    """No samples: data stays on the space, as the coset section(x) H.

    Only for scalar fields and kernels of the pair coordinates ``"invariants"``, which no choice in
    H changes; then equivariance is exact.
    """

    num_samples = 1


Strategy: typing.TypeAlias = Haar | Unlifted


def sample_stabilizers(
    space: Space,
    points: Float[Array, "*B N D"],
    strategy: Haar,
    key: Key[Array, ""],
    example_ids: Int[Array, "*B"] | None = None,
) -> Float[Array, "*B N S E"]:
    """Stabilizer samples h_ik, keyed by example id, point index and sample index.

    The sample of a point therefore depends on neither padding nor the other examples of a batch.

    Raises:
      ValueError: for shared samples where the section of the space is not normal.
    """
    if strategy.shared and not space.section_is_normal:
        raise ValueError(
            f"shared samples would be biased on {space}, whose section is not in a normal "
            "subgroup; use Haar(num_samples, shared=False)"
        )

    def sample(point_key: Key[Array, ""], point: Array) -> Array:
        keys = jax.vmap(lambda k: jax.random.fold_in(point_key, k))(
            jnp.arange(strategy.num_samples)
        )
        return jax.vmap(lambda k: space.sample_stabilizer(k, point))(keys)

    *batch, num_points, _ = points.shape
    indices = jnp.where(strategy.shared, 0, jnp.arange(num_points))
    draw = sample
    for _ in points.shape[:-1]:
        draw = jax.vmap(draw)
    return draw(point_keys(key, tuple(batch), indices, example_ids), points)


def point_keys(
    key: Key[Array, ""],
    batch: tuple[int, ...],
    indices: Int[Array, " N"],
    example_ids: Int[Array, "*B"] | None = None,
) -> Key[Array, "..."]:
    """A key for each point [*B N]: the given one, folded with the example's id and the index.

    Args:
      key: for all draws.
      batch: shape of the batch.
      indices: of the points.
      example_ids: identity of each example; 0 by default.

    Raises:
      ValueError: for ``example_ids`` of another shape than the batch.
    """
    ids = jnp.zeros(batch, jnp.int32) if example_ids is None else jnp.asarray(example_ids)
    if ids.shape != batch:
        raise ValueError(f"example_ids must have shape {batch}, got {ids.shape}")

    def of_example(example_id: Array) -> Array:
        example_key = jax.random.fold_in(key, example_id)
        return jax.vmap(lambda i: jax.random.fold_in(example_key, i))(indices)

    fold = of_example
    for _ in batch:
        fold = jax.vmap(fold)
    return fold(ids)


def lift(
    space: Space,
    points: Float[Array, "*B N D"],
    features: Float[Array, "*B N C"],
    mask: Bool[Array, "*B N"] | None = None,
    *,
    key: Key[Array, ""] | None = None,
    strategy: Strategy = Haar(),
    field: fields.FieldType | None = None,
    example_ids: Int[Array, "*B"] | None = None,
    log_weights: Float[Array, "*B N"] | None = None,
) -> Lifted:
    """Lifts a field on a space to the group.

    Args:
      space: where the points live.
      points: coordinates; masked points may hold anything, also NaN.
      features: values of the field at the points.
      mask: which points exist; all by default.
      key: for the samples of ``Haar``; needed where ``space.draws_samples``.
      strategy: how the stabilizer is sampled; its guarantee is in its docstring.
      field: type of the features; scalars by default.
      example_ids: identity of each example, which its samples are keyed by; by default 0, so that
        all examples share the draws.
      log_weights: logarithms of quadrature weights of the points; 0 by default. The samples of a
        point share its weight equally.

    Returns:
      The lifted field, with ``log_weights`` that sum to those of the points.

    Raises:
      ValueError: for wrong shapes, a missing key, shared samples where they are biased, an
        ``Unlifted`` strategy where it is not exact, or (outside ``jit``) a valid point whose
        stabilizer is not compact.
      TypeError: for a ``key`` that ``jax.random.key`` did not make.
    """
    check_key(key)
    points, mask, field = _check(space, points, features, mask, field, log_weights)
    dtype = points.dtype
    points = jnp.where(mask[..., None], points, jnp.asarray(space.origin(), dtype))
    features = jnp.where(mask[..., None], features, 0)
    section = space.section(points)
    if isinstance(strategy, Unlifted):
        if space.has_exceptional_orbits or not field.is_scalar:
            raise ValueError(
                f"Unlifted is exact only for scalar fields on spaces without exceptional orbits, "
                f"got field {field} on {space}; use Haar(num_samples)"
            )
        elements = section[..., None, :]
    elif not space.draws_samples:
        shape = (*section.shape[:-1], strategy.num_samples, section.shape[-1])
        elements = jnp.broadcast_to(section[..., None, :], shape)  # of all samples
    else:
        if key is None:
            raise ValueError(f"key must be given to lift with {strategy} on {space}")
        samples = sample_stabilizers(space, points, strategy, key, example_ids)
        elements = space.group.compose(section[..., None, :], samples.astype(dtype))
    lifted = field.transform(space, elements, features[..., None, :], inverse=True)
    weights = jnp.zeros(mask.shape, dtype) if log_weights is None else log_weights
    weights = weights[..., None] - jnp.log(jnp.asarray(elements.shape[-2], dtype))
    return Lifted(
        elements=elements,
        features=lifted,
        orbits=space.orbit_invariants(points),
        mask=mask,
        log_weights=jnp.broadcast_to(weights, elements.shape[:-1]).astype(dtype),
        is_coset=isinstance(strategy, Unlifted),
    )


def project(
    space: Space,
    lifted: Lifted,
    field: fields.FieldType | None = None,
) -> Float[Array, "*B N C"]:
    """Takes functions on the group back to a field on the space.

    out(x_i) is the weighted mean over k of ρ(g_ik) F(g_ik); masked points get zeros.

    Args:
      space: where the field lives.
      lifted: functions on the group.
      field: type of the result; scalars by default.

    Raises:
      ValueError: if the channels are not those of the field type, or for a field other than
        scalars from an ``Unlifted`` lift, whose cosets do not determine one.
    """
    field = fields.scalars(lifted.features.shape[-1]) if field is None else field
    if lifted.is_coset and not field.is_scalar:
        raise ValueError(f"field must be scalar to project an Unlifted lift, got {field}")
    valid = lifted.valid[..., None]
    values = field.transform(space, lifted.elements, jnp.where(valid, lifted.features, 0))
    values = jnp.where(valid, values, 0)
    weights = normalized_weights(lifted.log_weights, lifted.mask[..., None], axis=-1)
    return jnp.sum(weights[..., None].astype(values.dtype) * values, axis=-2)


def normalized_weights(
    log_weights: Float[Array, "*B"], mask: Bool[Array, "*#B"], axis: int | tuple[int, ...]
) -> Float[Array, "*B"]:
    """exp(log_weights) normalized over an axis and 0 where masked; all 0 where all is masked."""
    valid = mask & (log_weights != -jnp.inf)
    top = jnp.max(
        jnp.where(valid, log_weights, -jnp.inf), axis=axis, keepdims=True, initial=-jnp.inf
    )
    shift = jnp.where(jnp.isfinite(top), top, 0.0)
    weights = jnp.where(valid, jnp.exp(jnp.where(valid, log_weights - shift, 0.0)), 0.0)
    total = jnp.sum(weights, axis=axis, keepdims=True)
    return weights / jnp.where(total > 0, total, 1.0)


def _check(space, points, features, mask, field, log_weights):
    """Raises one clear error on wrong shapes; fills in the defaults."""
    points = numerics.at_least_float32(points)
    space.check_points(points)
    if points.ndim < 2:
        raise ValueError(f"points must have shape [*B N D], got {points.shape}")
    if features.shape[:-1] != points.shape[:-1]:
        raise ValueError(
            f"features must have the leading shape of points {points.shape[:-1]}, "
            f"got shape {features.shape}"
        )
    mask = jnp.ones(points.shape[:-1], bool) if mask is None else jnp.asarray(mask)
    if mask.dtype != bool:
        raise ValueError(f"mask must be boolean, got {mask.dtype}")
    for name, array in (("mask", mask), ("log_weights", log_weights)):
        if array is not None and array.shape != points.shape[:-1]:
            raise ValueError(f"{name} must have shape {points.shape[:-1]}, got {array.shape}")
    unliftable = space.unliftable(points) & mask
    if not isinstance(unliftable, Tracer):
        count = int(jnp.sum(unliftable))
        if count:
            raise ValueError(
                f"points has {count} valid points at the origin of {space}, where the stabilizer "
                "is not compact and cannot be sampled"
            )
    # Under jit values are not known: such a point is dropped, which keeps the rest equivariant.
    mask = mask & ~unliftable
    field = fields.scalars(features.shape[-1]) if field is None else field
    return points, mask, field
