"""What models of functions on the group share: lift, apply the blocks, pool, average over lifts."""

import abc
from typing import Any

import jax.numpy as jnp
from flax import nnx

from eqattn.attention import Neighborhood, find_neighbors, list_to_neighborhood
from eqattn.checks import check_features, check_instance, check_sizes
from eqattn.layers import Head, pool
from eqattn.layers.linear import Linear
from eqattn.lift import Lifted, by_sample, lift, mean_over_samples, spread_failures
from eqattn.models.config import LiftedModelConfig
from eqattn.models.lifts import dropout_key_of, mean_over_lifts
from eqattn.models.neighbor_lists import check_neighbors
from eqattn.neighbors import NeighborList
from eqattn.sharding import on_any_mesh
from eqattn.typing import Array, Bool, Float, Int, Key


class LiftedModel(nnx.Module):
    """Lift, embedding, blocks, head: a subclass makes ``blocks``, and applies them.

    Args:
      config: Architecture of the model.
      in_features: Channels of the scalar features of the points.
      out_features: Channels of the output.
      types: Options of linear maps, the random streams among them.
    """

    def __init__(
        self, config: LiftedModelConfig, in_features: int, out_features: int, types: dict[str, Any]
    ):
        check_instance("rngs", types["rngs"], nnx.Rngs)
        config.check()
        check_sizes({"in_features": in_features, "out_features": out_features})
        self.config = config
        self.in_features = in_features
        self.out_features = out_features
        self.space, self.lift, self.neighborhood = config.space, config.lift, config.neighborhood
        self.pair_space = config.lift.pair_space(config.space)
        self.per_point = config.output == "per_point"
        self.embedding = Linear(in_features, config.dim, **types)
        self.head: Head

    @property
    def is_stochastic(self) -> bool:
        """Whether predictions depend on a key: by a random lift, or random neighbors."""
        near = self.neighborhood
        return self.lift.is_stochastic(self.space) or (near is not None and near.is_stochastic)

    @on_any_mesh("points", 2)
    def __call__(
        self,
        points: Float[Array, "*B N D"],
        features: Float[Array, "*B N C"],
        mask: Bool[Array, "*B N"] | None = None,
        key: Key[Array, ""] | None = None,
        *,
        neighbors: NeighborList | None = None,
        example_ids: Int[Array, "*B"] | None = None,
        log_weights: Float[Array, "*B N"] | None = None,
        training: bool = False,
        num_lifts: int = 1,
    ) -> Float[Array, "*B O"] | Float[Array, "*B N O"]:
        """Lifts, applies the network, and averages over lifts.

        A NaN or an infinity in a point that counts, or in its features, makes all outputs of its
        example NaN, and changes no other example.

        Args:
          points: Coordinates.
          features: Scalar features.
          mask: Marks the points that exist; by default all do.
          key: Random key of the lift's samples, and for a random subset of the nearest points.
            Without one, evaluation lifts with the fixed key
            ``jax.random.key(eqattn.lift.EVALUATION_SEED)`` and takes the nearest.
          neighbors: Points that each point sees, and the group elements that move them; by default
            the rule of the model finds them. A rule ``RadiusNeighbors`` gives listed points their
            weights.
          example_ids: Identity of each example; samples are keyed by it and the point's index.
          log_weights: Logarithms of quadrature weights of the points.
          training: Whether channels are dropped, the lift may choose fewer elements
            (``Frames(training_frames=1)``), and a missing key is an error.
          num_lifts: Number of independent lifts that the output is averaged over.

        Raises:
          TypeError: For a ``key`` that ``jax.random.key`` did not make, or a ``num_lifts`` that is
            not an integer.
          ValueError: For wrong shapes, ``num_lifts`` below 1, in training a missing key where the
            lift draws samples, or a list that lacks points that the model sees, or has data of
            pairs, which no layer here sees.
        """
        check_features(features, self.in_features)
        check_neighbors(self.config, neighbors)
        points, features = jnp.asarray(points), jnp.asarray(features)

        drops = training and self.config.dropout > 0

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
                training=training,
            )
            return self.apply_lifted(
                lifted=lifted,
                key=neighbor_key,
                example_ids=example_ids,
                dropout_key=dropout_key_of(lift_key) if drops else None,
                neighbors=neighbors,
            )

        return mean_over_lifts(
            predict,
            key,
            num_lifts=num_lifts,
            draws=self.is_stochastic or drops,
            training=training,
            source=f"{self.lift} on {self.space} and the neighborhood {self.neighborhood}",
        )

    def apply_lifted(
        self,
        lifted: Lifted,
        key: Key[Array, ""] | None = None,
        example_ids: Int[Array, "*B"] | None = None,
        dropout_key: Key[Array, ""] | None = None,
        neighbors: NeighborList | None = None,
    ) -> Float[Array, "*B O"] | Float[Array, "*B N O"]:
        """Applies the network to given elements: invariant outputs, exactly for these elements.

        Where their lift keeps samples apart, as ``Frames()`` does, it is applied to each sample
        alone, and its outputs are averaged.

        Args:
          lifted: Elements and scalar features.
          key: Random key of a random subset of the nearest points; without one, the nearest.
          example_ids: Identity of each example, which draws are keyed by.
          dropout_key: Key of the dropout; None for none, as in evaluation.
          neighbors: Points that each point sees; by default the rule of the model finds them.
        """

        def of_samples(lifted: Lifted, known: Any) -> Array:
            return self._predict(lifted, key, known[0], dropout_key, known[1])

        return mean_over_samples(of_samples, lifted, (example_ids, neighbors))

    def _predict(
        self,
        lifted: Lifted,
        key: Key[Array, ""] | None,
        example_ids: Int[Array, "*B"] | None,
        dropout_key: Key[Array, ""] | None,
        neighbors: NeighborList | None,
    ) -> Array:
        # By name, because nnx.tabulate takes no dataclass by position.
        given: dict[str, Any] = {"lifted": lifted, "key": key, "example_ids": example_ids}
        given |= {"dropout_key": dropout_key, "neighbors": neighbors}
        if self.config.head == "token":
            lifted = self._apply_head(self.apply_blocks(**given))
            out = pool(lifted, self.config.pool, over_points=not self.per_point)
        else:
            lifted = self.apply_blocks(**given)
            out = self.head(pool(lifted, self.config.pool, over_points=not self.per_point))
        valid = jnp.any(lifted.valid, axis=-1)
        return jnp.where(valid[..., None], out, 0) if self.per_point else out

    def apply_regular(
        self,
        lifted: Lifted,
        key: Key[Array, ""] | None = None,
        example_ids: Int[Array, "*B"] | None = None,
        dropout_key: Key[Array, ""] | None = None,
        neighbors: NeighborList | None = None,
    ) -> Lifted:
        """Functions on the group in and out, the head applied to every token: no pooling.

        Equivariance: [u·F](g) = F(u⁻¹ g), exactly for the elements given; see
        :class:`eqattn.models.RegularModel`. Where their lift keeps samples apart, as ``Frames()``
        does, each is a function of its own.

        Args:
          lifted: Elements and scalar features.
          key: Random key of a random subset of the nearest points; without one, the nearest.
          example_ids: Identity of each example, which draws are keyed by.
          dropout_key: Key of the dropout; None for none, as in evaluation.
          neighbors: Points that each point sees; by default the rule of the model finds them.

        Returns:
          The same elements with ``out_features`` channels; zeros at masked points.
        """

        def of_samples(lifted: Lifted, known: Any) -> Lifted:
            drawn: dict[str, Any] = {"key": key, "example_ids": known[0]}
            drawn["dropout_key"] = dropout_key
            return self._apply_head(self.apply_blocks(lifted=lifted, neighbors=known[1], **drawn))

        return by_sample(of_samples, lifted, (example_ids, neighbors))

    @abc.abstractmethod
    def apply_blocks(
        self,
        lifted: Lifted,
        key: Key[Array, ""] | None = None,
        example_ids: Int[Array, "*B"] | None = None,
        dropout_key: Key[Array, ""] | None = None,
        neighbors: NeighborList | None = None,
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
        neighbors: NeighborList | None = None,
    ) -> Neighborhood | None:
        if neighbors is not None:
            if neighbors.pair_data is not None:
                raise ValueError(
                    "neighbors must have no pair_data for this model, no layer of which sees it, "
                    f"got shape {neighbors.pair_data.shape}; use a FieldNetwork"
                )
            return list_to_neighborhood(self.space, lifted, neighbors, self.neighborhood)
        if self.neighborhood is None:
            return None
        return find_neighbors(
            self.space, lifted, self.neighborhood, key, example_ids, queries=queries
        )

    def _apply_head(self, lifted: Lifted) -> Lifted:
        out = self.head(lifted.features)
        return lifted.replace_features(jnp.where(lifted.valid[..., None], out, 0))
