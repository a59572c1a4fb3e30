"""Which model, with its options: what constructors take, files hold and the command line sets."""

import abc
import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, cast

import jax
import jax.numpy as jnp
from flax import nnx

from eqattn.activations import activation_fn
from eqattn.attention.neighborhoods import NeighborhoodKind
from eqattn.checks import check_sizes
from eqattn.groups import SE
from eqattn.layers.pooling import Pool
from eqattn.lift import Lift, NoLift, check_lift
from eqattn.spaces import Space, euclidean
from eqattn.specification import Specification
from eqattn.typing import Activation, DType

HeadKind = Literal["mlp", "token"]
Output = Literal["invariant", "per_point"]
ComputeType = Literal["float32", "bfloat16", "float16", "float64"]


class ModelConfig(Specification, abc.ABC):
    """The architecture of a model.

    One of your own is a frozen dataclass of its options with the method :meth:`build`; then files
    hold it and the command line sets it.
    """

    @abc.abstractmethod
    def build(self, in_features: int, out_features: int, *, rngs: nnx.Rngs) -> nnx.Module:
        """The model with fresh parameters.

        Args:
          in_features: Channels of the features of a point.
          out_features: Channels of the output.
          rngs: Random streams of the initial values.

        Raises:
          ValueError: If values do not go together, or ``dtype`` is ``"float64"`` without
            ``jax_enable_x64``.
        """

    def check(self) -> None:
        """Makes sure that the options go together; each alone was checked where it was given.

        Raises:
          ValueError: If they do not.
        """
        for name in self._inner_names():
            getattr(self, name).check()

    @property
    def network(self) -> "NetworkConfig":
        """The network itself, inside of the models that stand around one."""
        (inner,) = (getattr(self, name) for name in self._inner_names())
        return inner.network

    def replace_network(self, **changes: Any) -> "ModelConfig":
        """The same model with other options of the network itself.

        Args:
          **changes: New values of the fields of :attr:`network`.
        """
        (name,) = self._inner_names()
        return dataclasses.replace(
            cast(Any, self), **{name: getattr(self, name).replace_network(**changes)}
        )

    def _inner_names(self) -> list[str]:
        names = [field.name for field in dataclasses.fields(cast(Any, self))]
        return [name for name in names if isinstance(getattr(self, name), ModelConfig)]


@dataclass(frozen=True, repr=False, kw_only=True)
class NetworkConfig(ModelConfig):
    """The architecture of a model that stands around no other."""

    dtype: ComputeType = "float32"
    """Data type of activations; geometry never falls below float32."""

    @property
    def network(self) -> "NetworkConfig":
        """The configuration itself."""
        return self

    def replace_network(self, **changes: Any) -> "ModelConfig":
        """See :meth:`ModelConfig.replace_network`."""
        return dataclasses.replace(self, **changes)

    def arguments(self) -> dict[str, Any]:
        """The options and data types, by the names of the arguments of the model's constructor."""
        names = [field.name for field in dataclasses.fields(self) if field.name != "dtype"]
        return {name: getattr(self, name) for name in names} | self.types()

    def types(self) -> dict[str, Any]:
        """The data types of the model, by the names of constructors' arguments.

        What is learned is float32 or wider: bfloat16 is a type to compute in, and would lose the
        digits of small updates.
        """
        if self.dtype == "float64" and not jax.config.read("jax_enable_x64"):
            raise ValueError("dtype 'float64' needs jax_enable_x64 (on the command line: --x64).")
        dtype = jnp.dtype(self.dtype)
        return {"dtype": dtype, "param_dtype": jnp.promote_types(dtype, jnp.float32)}


def dtype_name(dtype: DType | None, param_dtype: DType) -> Any:
    """The name of the type that a model computes in.

    Args:
      dtype: Data type of the products; None for that of the parameters.
      param_dtype: Data type of the parameters.
    """
    return jax.dtypes.canonicalize_dtype(param_dtype if dtype is None else dtype).name


@dataclass(frozen=True, repr=False, kw_only=True)
class LiftedModelConfig(NetworkConfig):
    """What models have in common that lift, sum over the group and pool."""

    space: Space = euclidean(SE(3))
    """Space of the points, with the group of the equivariance, as "euclidean(SE(3))"."""
    dim: int = 128
    """Channels of every token."""
    lift: Lift = NoLift()
    """Which group elements stand for a point; what each lift guarantees says
    :func:`eqattn.lift.guarantee`."""
    neighborhood: NeighborhoodKind | None = None
    """Which points each point sees, chosen once for all layers; None for all."""
    activation: Activation = "swish"
    """Activation function, everywhere."""
    dropout: float = 0.0
    """Share of the channels of each block's branches that training sets to 0."""
    pool: Pool = "mean"
    """Pooling over points and samples."""
    head: HeadKind = "mlp"
    """Output head: an MLP after pooling, or a linear map per token before it."""
    output: Output = "invariant"
    """One prediction per example, or one per point."""

    def __post_init__(self):
        super().__post_init__()
        check_sizes({"dim": self.dim})
        activation_fn(self.activation)
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")

    def check(self) -> None:
        """See :meth:`ModelConfig.check`."""
        check_lift(self.space, self.lift)
