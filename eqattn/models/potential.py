"""Potential energies of atoms: what a model says of each, summed; their forces and stresses."""

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from eqattn import numerics
from eqattn.activations import activation_fn
from eqattn.checks import check_instance
from eqattn.models.config import ModelConfig, NetworkConfig
from eqattn.models.hamiltonian import PotentialModel
from eqattn.models.lie_transformer import LieTransformerConfig
from eqattn.models.neighbor_lists import distance_seen
from eqattn.neighbors import NeighborList
from eqattn.sharding import on_any_mesh
from eqattn.typing import Activation, Array, Bool, Float, Int, Key

GRID = np.linspace(-8.0, 8.0, 16_001)
"""Where activations are looked at for kinks."""

LARGEST_BEND = 0.1
"""Change of a slope from one place of the grid to the next beyond which it counts as a jump; that
of smooth activations is of the size of the grid's step, 0.001."""

VOIGT = np.array([[0, 0], [1, 1], [2, 2], [1, 2], [0, 2], [0, 1]])
"""Components of a symmetric matrix in Voigt's order: xx, yy, zz, yz, xz, xy."""


@runtime_checkable
class AtomModel(PotentialModel, Protocol):
    """One number at each point: a :class:`LieTransformer` with ``output="per_point"``, or alike."""

    config: NetworkConfig
    per_point: bool


@dataclass(frozen=True, repr=False, kw_only=True)
class PotentialNetworkConfig(ModelConfig):
    """The potential energy of atoms, a sum over them."""

    atoms: ModelConfig = LieTransformerConfig(output="per_point")
    """The model of the energies of atoms, which has one output at each point."""

    def check(self) -> None:
        """See :meth:`ModelConfig.check`."""
        super().check()
        check_smooth(self.atoms.network)

    def build(self, in_features: int, out_features: int, *, rngs: nnx.Rngs) -> "PotentialNetwork":
        """See :meth:`ModelConfig.build`."""
        atoms: Any = self.atoms.build(in_features, out_features, rngs=rngs)
        return PotentialNetwork(atoms)


class PotentialNetwork(nnx.Module):
    """E = Σ_i e_i, the sum of a model's outputs at the points, and the forces F = -∂E/∂x.

    The energy is extensive: that of two sets of atoms beyond the reach of each other is the sum of
    theirs. Forces are its exact derivative, so that energy is conserved along trajectories, up to
    the error of the integrator.

    With a neighbor list the energy costs what its pairs cost. Where the list has shifts and cells,
    the atoms are those of a crystal, the energy is that of one cell, and σ = (1/V) ∂E/∂ε is its
    stress: the derivative by a symmetric strain ε of positions and cell, x(1 + ε).

    Equivariance: energies are as invariant as the model inside is, and forces turn with the points.
    In cells, that holds where the cell turns with the points; then stresses turn too.

    Args:
      atom_model: Gives the energies of atoms: a model of any space with one output at each point,
        such as a :class:`LieTransformer` or a :class:`FieldNetwork` whose output field is a scalar.

    Raises:
      TypeError: For anything that is no such model.
      ValueError: If it has other outputs, or options by which energies would jump or draw.

    >>> import jax, eqattn
    >>> space = eqattn.spaces.euclidean(eqattn.groups.SE(3))
    >>> atoms = eqattn.models.LieTransformer(
    ...     space, 4, 1, dim=8, num_layers=1, output="per_point", rngs=nnx.Rngs(0)
    ... )
    >>> model = PotentialNetwork(atoms)
    >>> points = jax.random.normal(jax.random.key(0), (2, 5, 3))
    >>> features = jax.nn.one_hot(jax.numpy.array([[0, 1, 1, 2, 3]] * 2), 4)
    >>> energies, forces = jax.jit(model.energies_and_forces)(points, features)
    >>> energies.shape, forces.shape, bool(jnp.abs(forces.sum(-2)).max() < 1e-5)
    ((2,), (2, 5, 3), True)
    """

    out_features = 1
    is_stochastic = False

    def __init__(self, atom_model: AtomModel):
        if not isinstance(atom_model, AtomModel):
            raise TypeError(
                f"atom_model must be a model such as a LieTransformer, got {atom_model!r}"
            )
        if not atom_model.per_point or atom_model.out_features != 1:
            wanted = "per_point" if atom_model.per_point else "invariant"
            raise ValueError(
                "atom_model must have one output at each point, got "
                f"{atom_model.out_features} of the output {wanted!r}"
            )
        check_smooth(atom_model.config)
        self.atom_model = atom_model

    @property
    def config(self) -> PotentialNetworkConfig:
        """What the model is built from, where the model inside says it too."""
        return PotentialNetworkConfig(atoms=self.atom_model.config)

    @property
    def in_features(self) -> int:
        """Features of an atom."""
        return self.atom_model.in_features

    @property
    def cutoff(self) -> float | None:
        """Distance from which on atoms do not see each other in a layer; None where all do.

        A :class:`eqattn.neighbors.VerletList` is made with it.
        """
        return distance_seen(self.atom_model.config)

    @on_any_mesh("points", 2)
    def __call__(
        self,
        points: Float[Array, "*B N D"],
        features: Float[Array, "*B N F"],
        mask: Bool[Array, "*B N"] | None = None,
        key: Key[Array, ""] | None = None,
        *,
        neighbors: NeighborList | None = None,
        example_ids: Int[Array, "*B"] | None = None,
        training: bool = False,
        num_lifts: int = 1,
    ) -> Float[Array, "*B 1"]:
        """The energies, in float32 or wider.

        Args:
          points: Positions of the atoms.
          features: What atoms are, such as their elements.
          mask: Marks the atoms that exist; by default all do.
          key: Random key of the dropout; nothing else is drawn.
          neighbors: Atoms that each atom sees, and the lattice vectors that move them; by default
            all atoms, and no cell.
          example_ids: Identity of each example, which draws are keyed by.
          training: Whether channels are dropped, where the model does so.
          num_lifts: Number of lifts, which changes nothing: none is drawn.

        Raises:
          ValueError: For a list up to some distance where the model has no cutoff, by which
            energies would jump.
        """
        energies = self.atom_energies(
            points, features, mask, key, neighbors=neighbors,
            example_ids=example_ids, training=training, num_lifts=num_lifts,
        )  # fmt: skip
        return jnp.sum(energies, axis=-1, keepdims=True)

    @on_any_mesh("points", 2)
    def atom_energies(
        self,
        points: Float[Array, "*B N D"],
        features: Float[Array, "*B N F"],
        mask: Bool[Array, "*B N"] | None = None,
        key: Key[Array, ""] | None = None,
        *,
        neighbors: NeighborList | None = None,
        **options: Any,
    ) -> Float[Array, "*B N"]:
        """The energy of each atom, 0 where there is none; arguments as of a call."""
        check_instance("neighbors", neighbors, NeighborList | None)
        if neighbors is not None:  # which models of one's own need not know
            if neighbors.reach is not None and self.cutoff is None:
                raise ValueError(
                    f"neighbors up to a distance, here {neighbors.reach}, need a model whose "
                    "weights fall to 0 before, by the cutoff of its layer or RadiusNeighbors: "
                    "energies would jump where an atom comes in"
                )
            options["neighbors"] = neighbors
        out = self.atom_model(points, features, mask, key, **options)
        return numerics.at_least_float32(out)[..., 0]

    @on_any_mesh("points", 2)
    def energies_and_forces(
        self,
        points: Float[Array, "*B N D"],
        features: Float[Array, "*B N F"],
        mask: Bool[Array, "*B N"] | None = None,
        key: Key[Array, ""] | None = None,
        **options: Any,
    ) -> tuple[Float[Array, "*B"], Float[Array, "*B N D"]]:
        """The energies and -∂E/∂x, 0 where there is no atom; arguments as of a call."""

        def total(points: Array) -> tuple[Array, Array]:
            energies = self(points, features, mask, key, **options)[..., 0]
            return jnp.sum(energies), energies

        slopes, energies = jax.grad(total, has_aux=True)(jnp.asarray(points))
        return energies, -slopes

    @on_any_mesh("points", 2)
    def energies_forces_and_stresses(
        self,
        points: Float[Array, "*B N 3"],
        features: Float[Array, "*B N F"],
        mask: Bool[Array, "*B N"] | None = None,
        key: Key[Array, ""] | None = None,
        *,
        neighbors: NeighborList,
        **options: Any,
    ) -> tuple[Float[Array, "*B"], Float[Array, "*B N 3"], Float[Array, "*B 6"]]:
        """The energies, the forces, and the stresses of the cells; arguments as of a call.

        Stresses are in the unit of energies by volume (eV/Å³), positive where the crystal would
        shrink, in Voigt's order xx, yy, zz, yz, xz, xy, as ASE has them. They are NaN for examples
        without a cell, which have no volume.

        Raises:
          ValueError: For a list without cells, or points that are not of three dimensions.
        """
        points = numerics.at_least_float32(jnp.asarray(points))
        if points.shape[-1] != 3:
            raise ValueError(f"points must be [*B N 3] for stresses, got shape {points.shape}")
        if neighbors.cells is None:
            raise ValueError("neighbors must have cells where stresses are asked for, got none")
        cells = neighbors.cells.astype(points.dtype)
        if mask is not None:  # masked points may hold anything, and strain sees all
            points = jnp.where(mask[..., None], points, 0)

        def energies_of(points: Array, cells: Array) -> Array:
            listed = dataclasses.replace(neighbors, cells=cells)
            return self(points, features, mask, key, neighbors=listed, **options)[..., 0]

        return forces_and_stresses(energies_of, points, cells)


def forces_and_stresses(
    energies_of: Callable[[Array, Array], Array],
    points: Float[Array, "*B N 3"],
    cells: Float[Array, "*B 3 3"],
) -> tuple[Array, Float[Array, "*B N 3"], Float[Array, "*B 6"]]:
    """Returns energies with their derivatives by positions, and by a symmetric strain of all.

    Args:
      energies_of: Energies at points in cells, of examples or of their atoms.
      points: Positions.
      cells: Lattice vectors as rows; zeros where there are none, and stresses are NaN.

    Returns:
      The energies, the forces, and the stresses in Voigt's order xx, yy, zz, yz, xz, xy.
    """

    def total(points: Array, strains: Array) -> tuple[Array, Array]:
        strains = 0.5 * (strains + jnp.swapaxes(strains, -1, -2))
        energies = energies_of(*(x + _product(x, strains) for x in (points, cells)))
        return jnp.sum(energies), energies

    slopes = jax.grad(total, argnums=(0, 1), has_aux=True)
    (by_points, by_strain), energies = slopes(points, jnp.zeros_like(cells))
    a, b, c = (cells[..., i, :] for i in range(3))
    volumes = jnp.abs(jnp.sum(a * jnp.cross(b, c), axis=-1))[..., None, None]
    # Both branches are finite in derivatives, which a loss without the label must not spoil.
    stresses = jnp.where(volumes > 0, by_strain / jnp.where(volumes > 0, volumes, 1), jnp.nan)
    return energies, -by_points, stresses[..., VOIGT[:, 0], VOIGT[:, 1]]


def _product(vectors: Array, matrices: Array) -> Float[Array, "*B N D"]:
    """Rows times a matrix, in full precision."""
    return jnp.matmul(vectors, matrices, precision=jax.lax.Precision.HIGHEST)


def check_smooth(config: NetworkConfig) -> None:
    """Makes sure that nothing makes the outputs of a model jump, or bend sharply, or draws.

    Args:
      config: Options of the model.

    Raises:
      ValueError: For an option by which forces would be no derivative of one smooth energy.
    """
    check_instance("config", config, NetworkConfig)
    lift, space = getattr(config, "lift", None), getattr(config, "space", None)
    if lift is not None and lift.is_stochastic(space):
        raise ValueError(
            f"lift must draw nothing where forces are asked for, got {lift}: energies would change "
            "from draw to draw, and those of Frames jump where two axes are of one length"
        )
    near = getattr(config, "neighborhood", None)
    if near is not None and not near.is_continuous:
        raise ValueError(
            "neighborhood must be continuous where forces are asked for, as RadiusNeighbors is, "
            f"got {near}: energies would jump where an atom comes in"
        )
    activation = getattr(config, "activation", "swish")
    if has_kinks(activation):
        raise ValueError(
            f"activation must be smooth where forces are asked for, got {activation!r}: forces "
            "would jump at its kinks"
        )


@functools.lru_cache
def has_kinks(activation: Activation) -> bool:
    """Whether the slope of an activation jumps.

    >>> has_kinks("swish"), has_kinks("relu")
    (False, True)

    Args:
      activation: A function, or its name in ``jax.nn``.
    """
    function = activation_fn(activation)
    with jax.ensure_compile_time_eval():  # models are also built within programs
        slopes = jax.jit(jax.vmap(jax.grad(lambda x: jnp.sum(function(x)))))(jnp.asarray(GRID))
        return bool(np.abs(np.diff(np.asarray(slopes))).max() > LARGEST_BEND)
