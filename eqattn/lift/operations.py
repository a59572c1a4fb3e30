"""Lift a field on a space to functions on the group, and project them back."""

import jax.numpy as jnp
from jax.core import Tracer

from eqattn import fields, numerics
from eqattn.checks import check_instance, check_key, check_mask, check_real
from eqattn.lift.base import Lift, LiftInputs
from eqattn.lift.guarantees import check_lift
from eqattn.lift.haar import Haar
from eqattn.lift.lifted import Lifted, spread_failures
from eqattn.lift.prng import check_example_ids
from eqattn.lift.weights import normalized_weights
from eqattn.sharding import on_any_mesh
from eqattn.spaces.base import Space
from eqattn.typing import Array, Bool, Float, Int, Key


@on_any_mesh("points", 2)
def lift(
    space: Space,
    points: Float[Array, "*B N D"],
    features: Float[Array, "*B N C"],
    mask: Bool[Array, "*B N"] | None = None,
    *,
    key: Key[Array, ""] | None = None,
    lift: Lift = Haar(),
    field: fields.FieldType | None = None,
    example_ids: Int[Array, "*B"] | None = None,
    log_weights: Float[Array, "*B N"] | None = None,
    training: bool = False,
) -> Lifted:
    """Lifts a field on a space to the group, or to a space between.

    A NaN or an infinity in a point that counts, or in its features, makes all features of its
    example NaN, and changes no other example.

    Args:
      space: Where the points live.
      points: Coordinates; masked points may hold anything, also NaN.
      features: Values of the field at the points.
      mask: Marks the points that exist; by default all do.
      key: Random key of the samples of ``Haar``, the offset of a random ``Grid`` and the fallback
        of ``Frames``; needed where :meth:`eqattn.lift.Lift.is_stochastic` says so.
      lift: Rule that says which elements stand for a point; its guarantee is in its docstring, and
        :func:`eqattn.lift.guarantee` states it for a space and a field.
      field: Type of the features; scalars by default.
      example_ids: Identity of each example, which its samples are keyed by; by default 0, so that
        all examples share the draws.
      log_weights: Logarithms of quadrature weights of the points; 0 by default. The samples of a
        point share its weight equally.
      training: Whether a model is being trained, where ``Frames(training_frames=1)`` chooses fewer
        elements.

    Returns:
      The lifted field, with ``log_weights`` that sum to those of the points. Integer features
      become of the type of the points.

    Raises:
      ValueError: For wrong shapes, a missing key, a lift or field that is excluded on the
        space (see :func:`eqattn.lift.guarantee`), or (outside ``jit``) a valid point that is none
        of the space (see :meth:`eqattn.spaces.base.Space.check_domain`), or whose stabilizer is not
        compact.
      TypeError: For a ``key`` that ``jax.random.key`` did not make, for complex points or features,
        and for a space, lift or field of another type, such as the name of one.
    """
    check_key(key)
    check_lift(space, lift, field)
    points, features, mask, field = _check(space, points, features, mask, field, log_weights)
    check_example_ids(example_ids, mask.shape[:-1])
    if key is None and lift.is_stochastic(space):
        raise ValueError(f"key must be given to lift with {lift} on {space}")
    dtype = points.dtype
    weights = jnp.zeros(mask.shape, dtype) if log_weights is None else jnp.asarray(log_weights)
    counts = (mask & (weights != -jnp.inf))[..., None]
    points = jnp.where(counts, points, jnp.asarray(space.origin(), dtype))
    features = jnp.where(counts, features, 0)
    inputs = LiftInputs(points, weights, mask, key, example_ids, training)
    elements, fallback = lift.elements(space, inputs)
    lifted = field.transform(
        space, elements, features[..., None, :], inverse=True, images=points[..., None, :]
    )
    lifted = lift.fixed_part(space, field, lifted)
    weights = weights[..., None] - jnp.log(jnp.asarray(elements.shape[-2], dtype))
    is_limited = lift.is_coset or lift.has_half_turns or lift.keeps_samples_apart
    found = Lifted(
        elements=elements,
        features=lifted,
        orbit_invariants=space.orbit_invariants(points),
        mask=mask,
        log_weights=jnp.broadcast_to(weights, elements.shape[:-1]).astype(dtype),
        fallback=fallback,
        lift=lift if is_limited else None,
    )
    return spread_failures(found, points, features)


@on_any_mesh("lifted", 3)
def project(
    space: Space,
    lifted: Lifted,
    field: fields.FieldType | None = None,
    *,
    points: Float[Array, "*B N D"] | None = None,
) -> Float[Array, "*B N C"]:
    """Takes functions on the group back to a field on the space.

    out(x_i) is the weighted mean over k of ρ(g_ik) F(g_ik); masked points get zeros. From a lift to
    G/H' it is that of ρ(g_ik) Z P F(g_ik), with P the projector on what H' leaves alone and Z such
    that ``project`` undoes :func:`lift` (for ``Haar`` samples in expectation over the key).

    Args:
      space: Where the field lives.
      lifted: Functions on the group.
      field: Type of the result; scalars by default.
      points: Points that were lifted; only fields in a gauge depend on it, where sections have
        seams. By default they are computed from the elements.

    Raises:
      TypeError: For a space, lift or field of another type.
      ValueError: If the channels are not those of the field type, or for a field that such a lift
        does not determine.
    """
    check_instance("space", space, Space)
    check_instance("lifted", lifted, Lifted)
    check_instance("field", field, fields.FieldType | None)
    field = fields.scalars(lifted.features.shape[-1]) if field is None else field
    valid = lifted.valid[..., None]
    features = jnp.where(valid, lifted.features, 0)
    if lifted.lift is not None:
        check_lift(space, lifted.lift, field)
        features = lifted.lift.restored(space, field, features)
    images = None
    if points is not None:
        origin = jnp.asarray(space.origin(), points.dtype)
        images = jnp.where(lifted.mask[..., None], points, origin)[..., None, :]
    values = field.transform(space, lifted.elements, features, images=images)
    values = jnp.where(valid, values, 0)
    weights = normalized_weights(lifted.log_weights, lifted.mask[..., None], axis=-1)
    return jnp.sum(weights[..., None].astype(values.dtype) * values, axis=-2)


def _check(space, points, features, mask, field, log_weights):
    """Raises one clear error on wrong shapes; fills in the defaults."""
    space.check_points(points)
    check_real("features", features)
    given, points = jnp.asarray(points), numerics.at_least_float32(points)
    features = jnp.asarray(features)
    if points.ndim < 2:
        raise ValueError(f"points must have shape [*B N D], got {points.shape}")
    if features.shape[:-1] != points.shape[:-1]:
        raise ValueError(
            f"features must have the leading shape of points {points.shape[:-1]}, "
            f"got shape {features.shape}"
        )
    mask = jnp.ones(points.shape[:-1], bool) if mask is None else jnp.asarray(mask)
    check_mask(mask, points.shape[:-1])
    if log_weights is not None and jnp.shape(log_weights) != points.shape[:-1]:
        raise ValueError(
            f"log_weights must have shape {points.shape[:-1]}, got {jnp.shape(log_weights)}"
        )
    unliftable = space.unliftable(points) & mask
    if not isinstance(unliftable, Tracer):
        count = int(jnp.sum(unliftable))
        if count:
            raise ValueError(
                f"points has {count} valid points at 0 in {space}, where there is no direction, or "
                "the stabilizer is not compact and cannot be sampled"
            )
    space.check_domain(given, mask)
    # Under jit values are not known: such a point is dropped, which keeps the rest equivariant.
    mask = mask & ~unliftable
    field = fields.scalars(features.shape[-1]) if field is None else field
    return points, features, mask, field
