"""What maps fields to fields: the protocol of models that others are built around."""

from typing import Protocol, runtime_checkable

from eqattn.fields import FieldType
from eqattn.models.config import ModelConfig
from eqattn.spaces.base import Space
from eqattn.typing import Array


class FieldMapConfig(ModelConfig):
    """The configuration of a model from fields to fields."""

    input_field: str
    output_field: str


@runtime_checkable
class FieldMap(Protocol):
    """A model from fields to fields: :class:`FieldModel`, :class:`FieldNetwork`, or your own."""

    space: Space
    input_field: FieldType
    """Type of the features."""
    output_field: FieldType
    """Type of the output at each point."""
    in_features: int
    out_features: int
    per_point: bool
    """Whether there is an output at each point, and not one of the example."""

    @property
    def is_stochastic(self) -> bool:
        """Whether it needs a key in training."""
        ...

    def __call__(
        self,
        points: Array,
        features: Array,
        mask: Array | None = None,
        key: Array | None = None,
        *,
        example_ids: Array | None = None,
        training: bool = False,
        num_lifts: int = 1,
    ) -> Array:
        """The field [*B N O] for points [*B N D] with features [*B N C]."""
        ...
