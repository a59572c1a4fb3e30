"""What models of functions on the group share: lift, apply the blocks, pool, average over lifts."""

import abc
from typing import Any, Literal

import jax.numpy as jnp
from flax import nnx

from eqattn.attention import Neighborhood, find_neighbors
from eqattn.attention.neighborhoods import NeighborhoodKind
from eqattn.checks import check_features, check_instance, check_option, check_sizes
from eqattn.layers import Head, pool
from eqattn.layers.linear import Linear
from eqattn.layers.pooling import Pool
from eqattn.lift import Lift, Lifted, check_lift, lift, spread_failures
from eqattn.models.lifts import mean_over_lifts
from eqattn.spaces.base import Coordinates, Space
from eqattn.typing import Array, Bool, Float, Int, Key

HeadKind = Literal["mlp", "token"]
Output = Literal["invariant", "per_point"]


class LiftedModel(nnx.Module):
    """Lift, embedding, blocks, head: a subclass makes ``blocks`` and ``head``, and applies blocks.

    Args:
      space: where the points live.
      in_features: channels of the scalar features of the points.
      out_features: channels of the output.
      dim: width.
      num_layers: number of blocks.
      lift: Which group elements stand for a point.
      coordinates: Coordinates of the pairs that layers see; None where these are whole elements.
      neighborhood: which points each point sees.
      pool: over points and samples.
      head: whether it follows or precedes pooling.
      output: one for an example or each point.
      options: Options of linear maps.

    Raises:
      TypeError: for a space, lift, neighborhood or size of another type.
      ValueError: for an unknown option, a size below 1, or a lift that the space or the
        coordinates exclude.
    """

    head: Head

    def __init__(
        self,
        space: Space,
        in_features: int,
        out_features: int,
        *,
        dim: int,
        num_layers: int,
        lift: Lift,
        coordinates: Coordinates | None,
        neighborhood: NeighborhoodKind | None,
        pool: Pool,
        head: HeadKind,
        output: Output,
        options: dict[str, Any],
    ):
        check_instance("rngs", options["rngs"], nnx.Rngs)
        check_instance("neighborhood", neighborhood, NeighborhoodKind | None)
        check_lift(space, lift)
        self.pair_space = lift.pair_space(space)
        lift.check_coordinates(self.pair_space, coordinates)
        check_option("head", head, HeadKind)
        check_option("pool", pool, Pool)
        check_option("output", output, Output)
        check_sizes({"in_features": in_features, "out_features": out_features})
        check_sizes({"dim": dim, "num_layers": num_layers})
        self.in_features = in_features
        self.out_features = out_features
        self.space = space
        self.lift = lift
        self.neighborhood = neighborhood
        self.pool: Pool = pool
        self.head_kind = head
        self.per_point = output == "per_point"
        self.embedding = Linear(in_features, dim, **options)

    @property
    def is_stochastic(self) -> bool:
        """Whether predictions depend on a key: by a random lift, or random neighbors."""
        near = self.neighborhood
        return self.lift.is_stochastic(self.space) or (near is not None and near.is_stochastic)

    def __call__(
        self,
        points: Float[Array, "*B N D"],
        features: Float[Array, "*B N C"],
        mask: Bool[Array, "*B N"] | None = None,
        key: Key[Array, ""] | None = None,
        *,
        example_ids: Int[Array, "*B"] | None = None,
        log_weights: Float[Array, "*B N"] | None = None,
        training: bool = False,
        num_lifts: int = 1,
    ) -> Float[Array, "*B O"] | Float[Array, "*B N O"]:
        """Lifts, applies the network, and averages over lifts.

        A NaN or an infinity in a point that counts, or in its features, makes all outputs of its
        example NaN, and changes no other example.

        Args:
          points: coordinates.
          features: scalar features.
          mask: which points exist; all by default.
          key: for the lift's samples, and for a random subset of the nearest points. Without one,
            evaluation lifts with the fixed key ``jax.random.key(eqattn.lift.EVALUATION_SEED)`` and
            takes the nearest.
          example_ids: identity of each example; samples are keyed by it and the point's index.
          log_weights: logarithms of quadrature weights of the points.
          training: whether a missing key is an error.
          num_lifts: number of independent lifts that the output is averaged over.

        Raises:
          TypeError: for a ``key`` that ``jax.random.key`` did not make, or a ``num_lifts`` that is
            not an integer.
          ValueError: for wrong shapes, ``num_lifts`` below 1, or in training a missing key where
            the lift draws samples.
        """
        check_features(features, self.in_features)
        points, features = jnp.asarray(points), jnp.asarray(features)

        def predict(lift_key: Key[Array, ""], neighbor_key: Key[Array, ""] | None) -> Array:
            lifted = lift(
                self.space,
                points,
                features,
                mask,
                key=lift_key,
                lift=self.lift,
                example_ids=example_ids,
                log_weights=log_weights,
            )
            return self.apply_lifted(lifted=lifted, key=neighbor_key, example_ids=example_ids)

        return mean_over_lifts(
            predict,
            key,
            num_lifts=num_lifts,
            draws=self.is_stochastic,
            training=training,
            source=f"{self.lift} on {self.space} and the neighborhood {self.neighborhood}",
        )

    def apply_lifted(
        self,
        lifted: Lifted,
        key: Key[Array, ""] | None = None,
        example_ids: Int[Array, "*B"] | None = None,
    ) -> Float[Array, "*B O"] | Float[Array, "*B N O"]:
        """Applies the network to given elements: invariant outputs, exactly for these elements.

        Args:
          lifted: elements and scalar features.
          key: for a random subset of the nearest points; without one they are the nearest.
          example_ids: identity of each example, which that draw is keyed by.
        """
        # By name, because nnx.tabulate takes no dataclass by position.
        given: dict[str, Any] = {"lifted": lifted, "key": key, "example_ids": example_ids}
        if self.head_kind == "token":
            lifted = self._apply_head(self.apply_blocks(**given))
            out = pool(lifted, self.pool, over_points=not self.per_point)
        else:
            lifted = self.apply_blocks(**given)
            out = self.head(pool(lifted, self.pool, over_points=not self.per_point))
        valid = jnp.any(lifted.valid, axis=-1)
        return jnp.where(valid[..., None], out, 0) if self.per_point else out

    def apply_regular(
        self,
        lifted: Lifted,
        key: Key[Array, ""] | None = None,
        example_ids: Int[Array, "*B"] | None = None,
    ) -> Lifted:
        """Functions on the group in and out, the head applied to every token: no pooling.

        Equivariance: [u·F](g) = F(u⁻¹ g), exactly for the elements given; see
        :class:`eqattn.models.RegularModel`.

        Args:
          lifted: elements and scalar features.
          key: for a random subset of the nearest points; without one they are the nearest.
          example_ids: identity of each example, which that draw is keyed by.

        Returns:
          The same elements with ``out_features`` channels; zeros at masked points.
        """
        lifted = self.apply_blocks(lifted=lifted, key=key, example_ids=example_ids)
        return self._apply_head(lifted)

    @abc.abstractmethod
    def apply_blocks(
        self,
        lifted: Lifted,
        key: Key[Array, ""] | None = None,
        example_ids: Int[Array, "*B"] | None = None,
    ) -> Lifted:
        """Embeds the features and applies the blocks: functions on the group in and out."""

    def _embed(self, lifted: Lifted) -> Lifted:
        features = jnp.where(lifted.valid[..., None], lifted.features, 0)
        lifted = spread_failures(lifted.replace_features(features))
        return lifted.replace_features(self.embedding(lifted.features))

    def _neighbors(
        self,
        lifted: Lifted,
        key: Key[Array, ""] | None,
        example_ids: Int[Array, "*B"] | None,
        queries: Lifted | None = None,
    ) -> Neighborhood | None:
        if self.neighborhood is None:
            return None
        return find_neighbors(
            self.space, lifted, self.neighborhood, key, example_ids, queries=queries
        )

    def _apply_head(self, lifted: Lifted) -> Lifted:
        out = self.head(lifted.features)
        return lifted.replace_features(jnp.where(lifted.valid[..., None], out, 0))
