"""Properties of molecules that are sums over atoms: extensive ones, dipoles, second moments."""

from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp
from flax import nnx

from eqattn import numerics
from eqattn.checks import check_option
from eqattn.fields import FieldType, scalars, vectors
from eqattn.models.config import ModelConfig
from eqattn.models.field_network import FieldNetworkConfig
from eqattn.models.lie_transformer import LieTransformerConfig
from eqattn.models.potential import AtomModel
from eqattn.sharding import on_any_mesh
from eqattn.typing import Array, Bool, Float, Int, Key

Form = Literal["sum", "dipole", "moment"]


@dataclass(frozen=True, repr=False, kw_only=True)
class AtomSumConfig(ModelConfig):
    """Sums over atoms of what a model gives at each."""

    atoms: ModelConfig = LieTransformerConfig(output="per_point")
    """The model of the atoms, which has an output at each point."""
    form: Form = "sum"
    """Sum of the outputs: of themselves, as charges of a dipole, or as weights of squared distances
    from the centroid."""

    def check(self) -> None:
        """See :meth:`ModelConfig.check`."""
        super().check()
        network = self.atoms.network
        output = getattr(network, "output", "invariant")
        if output != "per_point":
            raise ValueError(f"atoms must have the output 'per_point', got {output!r}")
        if isinstance(network, FieldNetworkConfig):
            num_sums(network, self.form)

    def build(self, in_features: int, out_features: int, *, rngs: nnx.Rngs) -> "AtomSum":
        """See :meth:`ModelConfig.build`."""
        self.check()
        network, channels = self.atoms.network, out_features
        if isinstance(network, FieldNetworkConfig):
            if num_sums(network, self.form) != out_features:
                raise ValueError(
                    f"output_field of the model of atoms must have {out_features} scalars, one for "
                    f"each output, got '{network.output_field}'"
                )
            channels = FieldType.parse(network.output_field).size(network.space)
        atoms: Any = self.atoms.build(in_features, channels, rngs=rngs)
        return AtomSum(atoms, self.form)


class AtomSum(nnx.Module):
    """Sums over the outputs q_i of a model at the points x_i, which are invariant to their motion.

    ``"sum"``: Σ_i q_i, extensive: the sum of two sets of points beyond the reach of each other is
    that of both. ``"dipole"``: |Σ_i q_i (x_i - x̄) + μ_i|, the length of a dipole about the centroid
    x̄, of charges and, where the model gives a vector μ_i beside each scalar, of dipoles of the
    points. ``"moment"``: Σ_i q_i |x_i - x̄|², a second moment.

    Equivariance: as invariant as the scalars of the model inside are to rotations, reflections and
    translations, and its vectors turn.

    Args:
      atom_model: Gives the outputs of the points: a :class:`LieTransformer` with
        ``output="per_point"``, or a :class:`FieldNetwork` whose output field is scalars, or for
        dipoles also as many vectors after them.
      form: ``"sum"``, ``"dipole"`` or ``"moment"``.

    Raises:
      TypeError: For anything that is no such model.
      ValueError: If it has other outputs, or the form is unknown.

    References:
      Schütt, Unke and Gastegger, "Equivariant message passing for the prediction of tensorial
      properties and molecular spectra", arXiv:2102.03150, which has both moments.

    >>> import jax, eqattn
    >>> space = eqattn.spaces.euclidean(eqattn.groups.SE(3))
    >>> atoms = eqattn.models.LieTransformer(
    ...     space, 4, 1, dim=8, num_layers=1, output="per_point", rngs=nnx.Rngs(0)
    ... )
    >>> model = AtomSum(atoms, "dipole")
    >>> points = jax.random.normal(jax.random.key(0), (2, 5, 3))
    >>> features = jax.nn.one_hot(jax.numpy.array([[0, 1, 1, 2, 3]] * 2), 4)
    >>> dipoles = jax.jit(model)(points, features)
    >>> dipoles.shape, bool((dipoles > 0).all())
    ((2, 1), True)
    """

    def __init__(self, atom_model: AtomModel, form: Form = "sum"):
        if not isinstance(atom_model, AtomModel):
            raise TypeError(
                f"atom_model must be a model such as a LieTransformer, got {atom_model!r}"
            )
        check_option("form", form, Form)
        if not atom_model.per_point:
            raise ValueError("atom_model must have an output at each point")
        network = atom_model.config
        self.out_features = (
            num_sums(network, form)
            if isinstance(network, FieldNetworkConfig)
            else atom_model.out_features
        )
        self.atom_model = atom_model
        self.form: Form = form

    @property
    def config(self) -> AtomSumConfig:
        """What the model is built from, where the model inside says it too."""
        return AtomSumConfig(atoms=self.atom_model.config, form=self.form)

    @property
    def in_features(self) -> int:
        """Features of an atom."""
        return self.atom_model.in_features

    @property
    def is_stochastic(self) -> bool:
        """Whether predictions depend on a key."""
        return self.atom_model.is_stochastic

    @on_any_mesh("points", 2)
    def __call__(
        self,
        points: Float[Array, "*B N D"],
        features: Float[Array, "*B N F"],
        mask: Bool[Array, "*B N"] | None = None,
        key: Key[Array, ""] | None = None,
        *,
        example_ids: Int[Array, "*B"] | None = None,
        training: bool = False,
        num_lifts: int = 1,
    ) -> Float[Array, "*B K"]:
        """The sums, in float32 or wider; 0 where there is no point.

        Args:
          points: Positions of the atoms.
          features: What atoms are, such as their elements.
          mask: Marks the atoms that exist; by default all do.
          key: Random key of what the model inside draws.
          example_ids: Identity of each example, which draws are keyed by.
          training: Whether channels are dropped, where the model does so.
          num_lifts: Number of lifts that the outputs of the points are averaged over.
        """
        options: dict[str, Any] = {
            "example_ids": example_ids, "training": training, "num_lifts": num_lifts,
        }  # fmt: skip
        out = self.atom_model(points, features, mask, key, **options)
        out = numerics.at_least_float32(out)
        if self.form == "sum":
            return jnp.sum(out, axis=-2)
        places = numerics.centered(numerics.at_least_float32(jnp.asarray(points)), mask)
        charges = out[..., : self.out_features]
        if self.form == "moment":
            return jnp.sum(charges * jnp.sum(places**2, axis=-1, keepdims=True), axis=-2)
        dipoles = charges[..., None] * places[..., None, :]
        if out.shape[-1] > self.out_features:
            dipoles = dipoles + out[..., self.out_features :].reshape(dipoles.shape)
        whole = jnp.sum(dipoles, axis=-3)
        return numerics.safe_sqrt(jnp.sum(whole**2, axis=-1))


def num_sums(network: FieldNetworkConfig, form: Form) -> int:
    """The number of outputs: that of the scalars of a network of fields.

    Args:
      network: Options of the network.
      form: Form of the sums.

    Raises:
      ValueError: If it gives anything else, but for dipoles a vector beside each scalar.
    """
    field = FieldType.parse(network.output_field)
    num = field.terms[0].multiplicity
    known = [scalars(num), scalars(num) + vectors(num)][: 1 + (form == "dipole")]
    if field not in known:
        wanted = " or ".join(f"'{field}'" for field in known)
        raise ValueError(
            f"output_field of the model of atoms must be {wanted} for the form {form!r}, "
            f"got '{field}'"
        )
    return num
