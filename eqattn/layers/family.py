"""What a layer is: a specification that builds a module which sums over group elements."""

import abc
import dataclasses
from typing import Any, Protocol, TypedDict, Unpack, runtime_checkable

import jax
from flax import nnx

from eqattn.attention.neighborhoods import Neighborhood, NeighborhoodKind
from eqattn.checks import check_instance
from eqattn.lift import Lift, Lifted
from eqattn.spaces.base import Space
from eqattn.specification import Specification
from eqattn.typing import Activation, Array, DType, Float


class LayerTypes(TypedDict, total=False):
    """What a layer takes over from the model around it; see :class:`eqattn.layers.GroupLayer`."""

    activation: Activation
    final_activation: bool
    dtype: DType | None
    param_dtype: DType
    precision: jax.lax.Precision | None


@runtime_checkable
class LayerModule(Protocol):
    """A layer with its parameters."""

    def __call__(
        self, lifted: Lifted, neighborhood: Neighborhood | None = None
    ) -> Float[Array, "*B N S C"]:
        """New features at the elements of ``lifted``, zeros at masked points."""
        ...


@dataclasses.dataclass(frozen=True, repr=False)
class Layer(Specification, abc.ABC):
    """Which layer sums over points, with its options.

    ===================================  ====================  ================================
    specification                        weights               values
    ===================================  ====================  ================================
    :class:`Attention`                   of attention          W_V, constant
    :class:`AttentiveConvolution`        of attention          W_V(g_i⁻¹ g_j), in a basis
    :class:`Convolution`                 uniform               W_V(g_i⁻¹ g_j), in a basis
    :class:`RepresentationAttention`     of attention          σ(g_i⁻¹ g_j) W_V
    ===================================  ====================  ================================

    One of your own is a frozen dataclass of its options with the methods below; then models take
    it, files hold it and the command line sets it.

    >>> import eqattn
    >>> space = eqattn.spaces.euclidean(eqattn.groups.SE(3))
    >>> type(eqattn.layers.Convolution().build(16, space, rngs=nnx.Rngs(0))).__name__
    'LieConv'
    """

    @abc.abstractmethod
    def build(
        self, dim: int, space: Space, *, rngs: nnx.Rngs, **types: Unpack[LayerTypes]
    ) -> LayerModule:
        """The layer with fresh parameters.

        Args:
          dim: Channels in and out.
          space: Space of the points.
          rngs: Random streams of the initial values.
          **types: Activations, data types and precision, as the module takes them.
        """

    def on_lift(self, lift: Lift, space: Space) -> "Layer":
        """The layer with everything decided that a lift decides.

        Args:
          lift: Lift that the layer works on.
          space: Space of the points.

        Raises:
          ValueError: If the layer does not go with the lift.
        """
        del lift, space
        return self

    def check_neighborhood(self, neighborhood: NeighborhoodKind | None) -> None:
        """Makes sure that the layer can sum over neighbors alone.

        Args:
          neighborhood: Rule that says which points are neighbors; None for all.

        Raises:
          ValueError: If it cannot.
        """
        del neighborhood


def check_call(name: str, space: Any, layer: Any, kind: type[Layer], types: Any) -> None:
    """Makes sure that a layer is given what it takes, and says where anything else belongs.

    Args:
      name: Name of the layer's class.
      space: What was given as the space.
      layer: What was given as the options.
      kind: Class of the options.
      types: What else was given by name.

    Raises:
      TypeError: For a space or options that are none, or an unknown name.
    """
    check_instance("space", space, Space)
    check_instance("layer", layer, kind)
    for unknown in types.keys() - LayerTypes.__annotations__.keys():
        known = ", ".join(field.name for field in dataclasses.fields(kind))
        raise TypeError(
            f"{name} has no argument {unknown!r}, got {types[unknown]!r}; the options of the layer "
            f"go into {kind.__name__}(...): {known}"
        )
