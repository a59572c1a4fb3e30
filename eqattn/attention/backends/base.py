"""What a back end of attention is, and what it gets."""

import abc
import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax

from eqattn.attention.backends.key_tokens import Keys, Queries
from eqattn.attention.neighborhoods import Neighborhood
from eqattn.attention.terms.combine import Combine
from eqattn.attention.terms.content import Content
from eqattn.attention.terms.location import Location
from eqattn.sharding import on_each_part
from eqattn.typing import Array, Float


class Terms(NamedTuple):
    """What attention does with a query and a key; see :func:`eqattn.attention.attend`.

    Attributes:
      content: The content term, where there are features.
      location: The location term.
      basis: Basis of the values.
      combine: Combination of content and location.
      normalize: Normalization of the logits.
      precision: Precision of the products with query, key and value.
      envelope: Factor of the weights, a function of pairs.
    """

    content: Content | None
    location: Location | None
    basis: Location | None
    combine: Combine
    normalize: str
    precision: jax.lax.Precision | None
    envelope: Location | None = None


class BackEnd(abc.ABC):
    """A way to compute attention.

    Write a subclass for a device or a layout of your own, and hand an instance to
    :func:`eqattn.attention.attend` as its ``implementation``: a frozen dataclass, whose fields are
    the sizes that it works by. (Layers take names alone: their options are written to files.)
    """

    name: ClassVar[str] = ""
    """Name in messages, and of the ``implementation`` where it belongs to the library."""
    takes_symbolic_sizes: ClassVar[bool] = False
    """Whether it compares no sizes, and so exports programs for sizes that are not known yet."""
    shows_failed_features: ClassVar[bool] = True
    """Whether a dot product with NaN or infinity in it becomes NaN, so that nobody need look."""

    def __init_subclass__(cls, **options: Any):
        super().__init_subclass__(**options)
        cls.name = cls.name or cls.__name__

    @abc.abstractmethod
    def attend(
        self, queries: Queries, keys: Keys, neighborhood: Neighborhood | None, terms: Terms
    ) -> Float[Array, "*B T H _"]:
        """The attended values, in the type of the values.

        Args:
          queries: The queries.
          keys: The keys, the same for all queries.
          neighborhood: Keys that each query sees; all by default.
          terms: What is done with them.

        Raises:
          NotImplementedError: For what it does not support.
        """


def each_device_its_examples(
    run: Callable[..., Float[Array, "B T H _"]], queries: Queries, keys: Keys, *others: Any
) -> Float[Array, "*B T H _"]:
    """A function of examples on one axis, applied to those that each device has.

    Args:
      run: Function of queries, keys and the others, with batches [B].
      queries: Queries with a batch [*B].
      keys: Keys with the same batch.
      *others: Trees of arrays with the same batch.
    """
    batch = keys.values.shape[:-3]
    arrays = jax.tree.map(
        lambda x: x.reshape(math.prod(batch), *x.shape[len(batch) :]), (queries, keys, *others)
    )
    out = on_each_part(run, *arrays)
    return out.reshape(*batch, *out.shape[1:]).astype(keys.values.dtype)
