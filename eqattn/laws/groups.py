"""Laws of products, inverses, matrices and actions of a group, at given elements."""

import jax.numpy as jnp
import numpy as np

from eqattn.groups import LieGroup, Product
from eqattn.groups.base import unstack
from eqattn.laws.errors import apply_matrices, moduli, relative_error, wide
from eqattn.laws.exponential import exponential_laws
from eqattn.laws.metric import metric_laws
from eqattn.typing import Array, Float


def group_laws(
    group: LieGroup,
    g: Float[Array, "N E"],
    h: Float[Array, "N E"],
    k: Float[Array, "N E"],
    algebra: Float[Array, "N A"],
    small: Float[Array, "N A"],
    points: Float[Array, "N D"],
) -> dict[str, np.ndarray]:
    """Errors of every law of a group at given samples, relative to max(1, |values|).

    Args:
      group: The group, whose action on R^D is affine.
      g: Elements.
      h: Elements.
      k: Elements.
      algebra: Lie-algebra coordinates.
      small: The same, with rotations of less than a half-turn, where log inverts exp.
      points: Points of R^D.

    Returns:
      For each law by its name an array of errors: mostly [N], of each sample.

    Raises:
      ValueError: If there are fewer samples than dimensions of the algebra, along each of which a
        step is taken.
    """
    if len(g) < group.algebra_dim:
        raise ValueError(
            f"g must have at least {group.algebra_dim} elements for {group}, got {len(g)}"
        )
    return {
        **product_laws(group, g, h, k),
        **action_laws(group, g, h, points),
        **adjoint_laws(group, g, h, algebra),
        **exponential_laws(group, g, algebra, small),
        **metric_laws(group, g, h, k, algebra),
    }


def product_laws(group: LieGroup, g: Array, h: Array, k: Array) -> dict[str, np.ndarray]:
    """Laws of composition and inverse."""
    close, matrix = relative_error, wide(group.matrix)
    compose, inverse = group.compose, group.inverse
    identity = group.identity(g.shape[:-1], g.dtype)
    gh, g_inverse = compose(g, h), inverse(g)
    defects = (np.asarray(group.defect_components(unstack(x)), np.float64) for x in (g, gh))
    return {
        "components are those of elements": np.broadcast_to(np.maximum(*defects), len(g)),
        "associativity": close(compose(gh, k), compose(g, compose(h, k)), g, h, k),
        "left identity": close(compose(identity, g), g),
        "right identity": close(compose(g, identity), g),
        "left inverse": close(
            matrix(compose(g_inverse, g)), matrix(identity), moduli(group, g_inverse, g)
        ),
        "right inverse": close(
            matrix(compose(g, g_inverse)), matrix(identity), moduli(group, g, g_inverse)
        ),
        "inverse of a product": close(inverse(gh), compose(inverse(h), g_inverse), g, h),
        "matrix of a product": close(matrix(gh), matrix(g) @ matrix(h), g, h),
    }


def action_laws(group: LieGroup, g: Array, h: Array, points: Array) -> dict[str, np.ndarray]:
    """Laws of the action on points, and of its linear part, determinant and scale."""
    close, act = relative_error, group.act
    identity, gh = group.identity(g.shape[:-1], g.dtype), group.compose(g, h)
    linear, linear_h = wide(group.linear_matrix)(g), wide(group.linear_matrix)(h)
    moved, start = act(g, points), act(g, jnp.zeros_like(points))
    shift = apply_matrices(linear, points) * _stretch(group, g)
    laws = {
        "action of a product": close(act(gh, points), act(g, act(h, points)), g, h, points),
        "action of the identity": close(act(identity, points), points),
        "linear part of the action": close(np.asarray(moved) - start, shift, g, moved),
        "linear matrix of a product": close(group.linear_matrix(gh), linear @ linear_h, g, h),
        "determinant": close(group.determinant(g), np.sign(np.linalg.det(linear))),
        "log-scale of a product": close(
            group.log_scale(gh), np.asarray(group.log_scale(g)) + group.log_scale(h)
        ),
    }
    if group.is_orthogonal:
        eye = np.broadcast_to(np.eye(linear.shape[-1]), linear.shape)
        laws["linear matrix orthogonal"] = close(linear @ np.swapaxes(linear, -1, -2), eye)
    return laws


def adjoint_laws(group: LieGroup, g: Array, h: Array, algebra: Array) -> dict[str, np.ndarray]:
    """Laws of the adjoint, by which elements move the algebra."""
    compose, matrix = group.compose, wide(group.matrix)
    adjoint, adjoint_h = wide(group.adjoint)(g), wide(group.adjoint)(h)
    moved_by, g_inverse = group.exp(algebra), group.inverse(g)
    turned = jnp.asarray(apply_matrices(adjoint, algebra), algebra.dtype)
    return {
        "adjoint": relative_error(
            matrix(compose(compose(g, moved_by), g_inverse)),
            matrix(group.exp(turned)),
            moduli(group, g, moved_by, g_inverse),
        ),
        "adjoint of a product": relative_error(
            group.adjoint(compose(g, h)), adjoint @ adjoint_h, g, h
        ),
    }


def _stretch(group: LieGroup, g: Array) -> np.ndarray:
    """Factors [N D] by which the action stretches each coordinate of space."""
    if not isinstance(group, Product):
        scale = np.exp(np.asarray(group.log_scale(g), np.float64))
        return np.repeat(scale[:, None], group.point_dim, axis=-1)
    ends = np.cumsum([factor.element_dim for factor in group.factors])[:-1].tolist()
    parts = zip(group.factors, jnp.split(g, ends, axis=-1), strict=True)
    return np.concatenate([_stretch(factor, part) for factor, part in parts], axis=-1)
