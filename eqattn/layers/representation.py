"""Representation attention as a layer: a thin shell of :func:`representation_attend`."""

from dataclasses import dataclass
from typing import Any, Unpack

import jax
import jax.numpy as jnp
from flax import nnx

from eqattn.attention import Neighborhood, representation_attend
from eqattn.attention.representation_attention import Implementation, Kernel
from eqattn.checks import check_instance, check_sizes
from eqattn.layers.family import Layer, LayerTypes
from eqattn.layers.linear import Linear
from eqattn.layers.tokens import Tokens, flat_tokens, one_hot
from eqattn.lift import Lift, Lifted
from eqattn.representations import Representation, default_representation
from eqattn.sharding import on_any_mesh
from eqattn.spaces.base import Space
from eqattn.typing import Array, DType, Float


@dataclass(frozen=True, repr=False, kw_only=True)
class RepresentationAttention(Layer):
    """Attention by a matrix representation of the group, applied to queries, keys and values."""

    num_heads: int = 8
    """Attention heads; divides the channels of the layer."""
    kernel: Kernel = "softmax"
    """Softmax, or the kernel 1 + elu, at a cost linear in the tokens."""
    turns_values: bool = True
    """Whether values, too, are seen from the query's frame."""
    length: float = 1.0
    """Length that translations are divided by, in the length unit of the points: the distance that
    matters."""
    implementation: Implementation | None = None
    """Back end of :func:`eqattn.attention.representation_attend`; None for the one that fits."""

    def __post_init__(self):
        super().__post_init__()
        check_sizes({"num_heads": self.num_heads})

    def build(
        self, dim: int, space: Space, *, rngs: nnx.Rngs, **types: Unpack[LayerTypes]
    ) -> "RepresentationSelfAttention":
        """See :meth:`eqattn.layers.Layer.build`; there is nothing that activations belong to."""
        kept: Any = {k: v for k, v in types.items() if k not in ("activation", "final_activation")}
        return RepresentationSelfAttention(dim, space, self, rngs=rngs, **kept)

    def on_lift(self, lift: Lift, space: Space) -> "RepresentationAttention":
        """See :meth:`Layer.on_lift`: it sees whole elements, which a lift to cosets has not."""
        check_whole_elements(lift, lift.pair_space(space))
        return self

    def check_neighborhood(self, neighborhood: Any) -> None:
        """See :meth:`Layer.check_neighborhood`: there may be none."""
        if neighborhood is not None:
            raise ValueError(
                "neighborhood must be None with RepresentationAttention, which sums over all "
                f"pairs at once, got {neighborhood!r}"
            )


class RepresentationSelfAttention(nnx.Module):
    """Multi-head self-attention whose geometry is a matrix representation σ of the group.

    out_i = W_O concat_h Σ_j w_ij^h σ(g_i⁻¹ g_j) v_j^h, with logits q_iᵀ σ(g_i⁻¹ g_j) k_j: σ is
    applied to tokens, so that nothing but a product of channels is computed for a pair. Queries,
    keys and values are linear maps of features and, where a space has several orbits (radii under
    SO(n)), of their invariants.

    Equivariance: exact to G acting on the elements of the lift, [u·F](g) = F(u⁻¹ g); on data, as
    exact as the lift is. It sees whole group elements: a lift to cosets is refused.

    Args:
      dim: Channels in and out, a multiple of the number of heads.
      space: Space of the points.
      layer: Options of the layer.
      representation: σ, the same for all heads, of a size that divides the channels of a head; by
        default :func:`eqattn.representations.default_representation`. What it has of arrays, such
        as rotary frequencies, is learned.
      dtype: Data type of the products; geometry and logits stay float32 or wider.
      param_dtype: Data type of the parameters.
      precision: Precision of the products.
      rngs: Random streams of the initial values.

    Raises:
      TypeError: For a size that is not an integer, or a ``space``, ``layer`` or ``representation``
        of another type.
      ValueError: For a ``dim`` that the number of heads does not divide, a representation of
        another size or that is none of the group, or a ``length`` beside it; in a call, for a lift
        of another space or width, a lift to cosets, or a neighborhood.
    """

    def __init__(
        self,
        dim: int,
        space: Space,
        layer: RepresentationAttention = RepresentationAttention(),
        *,
        representation: Representation | None = None,
        dtype: DType | None = None,
        param_dtype: DType = float,
        precision: jax.lax.Precision | None = None,
        rngs: nnx.Rngs,
    ):
        check_sizes({"dim": dim})
        check_instance("rngs", rngs, nnx.Rngs)
        check_instance("space", space, Space)
        check_instance("layer", layer, RepresentationAttention)
        check_instance("representation", representation, Representation | None)
        num_heads, length = layer.num_heads, layer.length
        if dim % num_heads:
            raise ValueError(f"dim must be a multiple of num_heads={num_heads}, got {dim}")
        head_dim = dim // num_heads
        if representation is None:
            representation = default_representation(
                space.group, head_dim, length=length, dtype=param_dtype
            )
        elif length != 1:
            raise ValueError(f"length must be 1 where the representation is given, got {length}")
        representation.check(space.group)
        size = representation.size(space.group)
        if head_dim % size:
            raise ValueError(
                f"representation must be of a size that divides the {head_dim} channels of a head, "
                f"got {representation} of size {size}"
            )
        self.dim, self.num_heads, self.space = dim, num_heads, space
        self.options, self.precision = layer, precision
        leaves, self.structure = jax.tree.flatten(representation)
        self.learned = nnx.List([nnx.Param(leaf.astype(param_dtype)) for leaf in leaves])
        types: dict[str, Any] = {"dtype": dtype, "param_dtype": param_dtype, "precision": precision}
        size_in = dim + space.num_orbit_invariants
        self.query, self.key, self.value = (
            Linear(size_in, dim, **types, rngs=rngs) for _ in range(3)
        )
        self.output = Linear(dim, dim, **types, rngs=rngs)

    @property
    def representation(self) -> Representation:
        """σ with the parameters as they are."""
        return jax.tree.unflatten(self.structure, [leaf[...] for leaf in self.learned])

    @on_any_mesh("lifted", 3)
    def __call__(
        self,
        lifted: Lifted,
        neighborhood: Neighborhood | None = None,
        keys: Lifted | None = None,
    ) -> Float[Array, "*B N S C"]:
        """New features at the elements of ``lifted``, zeros at masked points.

        Args:
          lifted: Elements and features of the queries.
          neighborhood: None: all pairs are summed over at once.
          keys: What is summed over; ``lifted`` itself by default.
        """
        self.options.check_neighborhood(neighborhood)
        rows = self._tokens("lifted", lifted)
        columns = rows if keys is None else self._tokens("keys", keys)
        value = self._heads(self.value(self._inputs(columns)))
        attended = self._attend(rows, columns, value, turns_values=self.options.turns_values)
        out = self.output(attended.reshape(lifted.features.shape))
        return jnp.where(lifted.mask[..., None, None], out, 0)

    @on_any_mesh("lifted", 3)
    def attention_weights(
        self, lifted: Lifted, keys: Lifted | None = None
    ) -> Float[Array, "*B T H K"]:
        """The weights w_ij^h that each element i gives the elements j, to look at.

        Tokens are elements, those of one point in a row. Memory grows like T·K·H, also with the
        kernel ``"linear"``.

        Args:
          lifted: Elements and features of the queries.
          keys: Elements that are summed over; ``lifted`` itself by default.
        """
        rows = self._tokens("lifted", lifted)
        columns = rows if keys is None else self._tokens("keys", keys)
        value = one_hot(columns, self.num_heads)
        return self._attend(rows, columns, value, turns_values=False)

    def _attend(
        self, rows: Tokens, columns: Tokens, value: Float[Array, "*B K H V"], *, turns_values: bool
    ) -> Float[Array, "*B T H V"]:
        return representation_attend(
            self._heads(self.query(self._inputs(rows))),
            self._heads(self.key(self._inputs(columns))),
            value,
            rows.elements,
            columns.elements,
            self.space.group,
            self.representation,
            turns_values=turns_values,
            query_mask=rows.mask,
            key_mask=columns.mask,
            log_weights=columns.log_weights,
            kernel=self.options.kernel,
            precision=self.precision,
            implementation=self.options.implementation,
        )

    def _tokens(self, name: str, lifted: Lifted) -> Tokens:
        if isinstance(lifted, Lifted) and lifted.lift is not None:
            check_whole_elements(lifted.lift, self.space)
        return flat_tokens(name, lifted, self.dim, self.space.group)

    def _inputs(self, tokens: Tokens) -> Float[Array, "*B T _"]:
        """Features, and the orbit invariants that elements do not tell."""
        if self.space.num_orbit_invariants == 0:
            return tokens.features
        orbits = jnp.where(tokens.mask[..., None], tokens.orbit_invariants, 0)
        return jnp.concatenate([tokens.features, orbits.astype(tokens.features.dtype)], axis=-1)

    def _heads(self, x: Float[Array, "*B T C"]) -> Float[Array, "*B T H _"]:
        return x.reshape(*x.shape[:-1], self.num_heads, x.shape[-1] // self.num_heads)


def check_whole_elements(lift: Lift, space: Space) -> None:
    """Makes sure that the elements of a lift are determined by the data and its samples.

    Args:
      lift: The lift.
      space: Space that a layer is made for.

    Raises:
      ValueError: For a lift to cosets of more than one element, or to those of another space.
    """
    if lift.pair_space(space) != space:
        raise ValueError(
            f"space of a layer must be {lift.pair_space(space)} on a lift to its points, "
            f"got {space}"
        )
    if lift.is_coset and space.stabilizer.element_dim:
        raise ValueError(
            f"RepresentationAttention sees whole elements of {space.group}, and a lift by "
            f"{lift} gives cosets of {space.stabilizer}; use Haar(num_samples) or another lift"
        )
