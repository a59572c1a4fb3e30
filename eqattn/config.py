"""Every configuration dataclass of the library, without logic.

A configuration is a frozen dataclass of plain values, so it can be compared, printed, written as
JSON (``eqattn.train.config_json``) and turned into command-line flags (``eqattn.cli``). What the
values mean is stated beside them, with units; what is done with them, where it is done.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from eqattn.typing import ActivationName

__all__ = [
    "ConstellationsConfig",
    "ImagesConfig",
    "ModelConfig",
    "OptimizerConfig",
    "RunConfig",
    "SavedConfig",
    "ShapesConfig",
    "SpringsConfig",
    "Standardization",
    "TrainingRange",
    "WindsConfig",
]


@dataclass(frozen=True)
class ModelConfig:
    """The architecture of a :class:`eqattn.models.LieTransformer`, or of a baseline."""

    architecture: Literal["lie_transformer", "field_model", "mlp"] = "lie_transformer"
    """The network: a LieTransformer; (springs) one inside a :class:`eqattn.models.FieldModel`, from
    velocities to accelerations, with the output "per_point"; or (springs) an MLP that knows no
    symmetry, of which only ``dim``, ``num_layers``, ``activation`` and ``dtype`` may be changed."""
    group: str = "SE(3)"
    """Group of the equivariance: "T(n)", "SO(2)", "SO(3)", "SE(2)", "SE(3)" or "RxSO2"."""
    lift: Literal["haar", "grid", "random_grid", "subgroup", "frames", "outward", "none"] = "none"
    """Stabilizer samples of each point: Haar draws; equally spaced angles, from 0 or from one that
    is drawn for each example; a finite subgroup; axes that the points have by themselves; (images)
    one axis that points away from the center; or none (with coordinates "invariants", where the
    stabilizer is trivial, or, for winds, in frames that the climatology gives). What each
    guarantees: :func:`eqattn.lift.guarantee`."""
    num_samples: int = 1
    """Stabilizer samples per point (lifts "haar", "grid" and "random_grid")."""
    shared_samples: bool = False
    """Whether all points of an example share their stabilizer samples (lift "haar")."""
    subgroup: str = ""
    """Name of the finite subgroup (lift "subgroup"): "cyclic(n)", "dihedral(n)", "tetrahedral",
    "octahedral" or "icosahedral"."""
    coordinates: Literal["log", "embedding", "invariants"] = "invariants"
    """Coordinates of a pair of group elements that the location term sees."""
    dim: int = 128
    """Channels of every token."""
    num_layers: int = 4
    """Attention blocks."""
    layer: Literal["attention", "attentive_convolution", "convolution"] = "attention"
    """What a block sums over points by: attention; attention with values that depend on location;
    or that with uniform weights (LieConv), for which everything of heads, content, location logits,
    combination and normalization must keep its default."""
    attention: Literal["location", "representation"] = "location"
    """What attention knows of two points: location terms of the pair of their group elements; or
    what a matrix representation of the group, applied to queries, keys and values, tells their
    products. Of the latter, everything of coordinates, content, location, combination,
    normalization and neighborhoods must keep its default."""
    kernel: Literal["softmax", "linear"] = "softmax"
    """(attention "representation") Softmax, or the kernel 1 + elu, at a cost linear in tokens."""
    turns_values: bool = True
    """(attention "representation") Whether values, too, are seen from the query's frame."""
    length: float = 1.0
    """(attention "representation") What translations are divided by, in the length unit of the
    points: the distance that matters."""
    basis: Literal["mlp", "fourier", "bernstein"] = "mlp"
    """Basis of the values that depend on location: outputs of an MLP of the pair, cosines of its
    coordinates with learned frequencies, or polynomials of the squared distance up to
    ``radial_cutoff`` (for which a "convolution" wants 0 ``num_radial``). The layer "attention" has
    none."""
    num_basis: int = 8
    """Functions of that basis. The layer "attention" has none."""
    num_heads: int = 8
    """Attention heads per block; divides ``dim``."""
    content: Literal[
        "dot_product", "linear_concat", "linear_concat_linear", "relative_position", "none"
    ] = "dot_product"
    """Content term of the attention logits."""
    content_features: int = 1
    """Features of the content term "linear_concat_linear"; more than 1 needs combine "mlp"."""
    location: Literal["mlp", "mlp_per_head", "radial", "raw", "none"] = "mlp"
    """Location term of the attention logits: one MLP shared by the heads, one per head, a linear
    map of radial basis functions, the pair's features as they are (with combine "mlp"), or none."""
    location_features: int = 1
    """Features of the location term "mlp_per_head"; more than 1 needs combine "mlp"."""
    location_dim: int = 32
    """Hidden width of the location MLP, and of that of the basis."""
    location_layers: int = 3
    """Layers of these MLPs, the output layer included."""
    num_radial: int = 24
    """Radial basis functions that expand distances before these MLPs; 0 feeds them the raw pair
    coordinates only."""
    radial_cutoff: float = 12.0
    """Center of the last radial basis function, and end of the basis "bernstein", in the length
    unit of the points (ångström for molecules)."""
    combine: Literal["sum", "product", "mlp"] = "sum"
    """How content and location terms are combined."""
    normalize: Literal["softmax", "mean", "exponential_mean"] = "softmax"
    """Normalization of the attention weights over keys."""
    num_neighbors: int = 0
    """NearestNeighbors points that each point attends to, itself among them; 0 for all points."""
    neighbor_pool: int = 0
    """In training, neighbors are drawn from this many nearest points; 0 for no draw."""
    neighbor_radius: float = 0.0
    """Attend to points within this distance (at most ``num_neighbors``), with weights that fall to
    0 smoothly at it, in the length unit of the points; 0 for no limit."""
    norm: Literal["pre", "post", "none"] = "pre"
    """Where a block applies layer normalization."""
    mlp_ratio: float = 2.0
    """Hidden width of a block's MLP, as a multiple of ``dim``."""
    activation: ActivationName = "swish"
    """Activation function, everywhere."""
    final_activation: bool = False
    """Whether it also follows the last layers of location and block MLPs, as published."""
    pool: Literal["mean", "sum", "max"] = "mean"
    """Pooling over points and samples."""
    head: Literal["mlp", "token"] = "mlp"
    """Output head: an MLP after pooling, or a linear map per token before it."""
    output: Literal["invariant", "per_point"] = "invariant"
    """One prediction per example, or one per point."""
    dtype: Literal["float32", "bfloat16", "float64"] = "float32"
    """Data type of activations; geometry never falls below float32."""


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with warm-up, cosine decay to zero, clipping and an average of the parameters."""

    learning_rate: float = 1e-3
    """Peak learning rate, reached at the end of the warm-up."""
    weight_decay: float = 1e-2
    """Decoupled weight decay, of matrices only (never of biases or normalization scales)."""
    warmup_steps: int = 100
    """Steps of linear warm-up from zero; at most a tenth of the run."""
    clip_norm: float = 1.0
    """Largest global norm of the gradient; 0 switches clipping off."""
    ema_decay: float = 0.999
    """Decay per step of the exponential moving average of the parameters, which evaluation uses;
    0 evaluates the parameters themselves."""


@dataclass(frozen=True)
class SpringsConfig:
    """What only the task "springs" asks for."""

    num_train: int = 400
    """Trajectories to train on."""
    num_validation: int = 100
    """Trajectories to choose the best parameters by."""
    num_test: int = 200
    """Trajectories to score."""
    solver: Literal["rk4", "symplectic", "adaptive"] = "rk4"
    """Integrator of every roll-out: the 3/8 rule as published and Störmer-Verlet, one step per
    interval of the times; or Dormand-Prince with a tolerance of 1e-6. Accelerations that depend on
    velocities (the architecture "field_model") exclude "symplectic"."""
    baseline: Literal["mlp", "none"] = "mlp"
    """Whether a Hamiltonian MLP is trained after the model, for the same time, as a baseline."""


@dataclass(frozen=True)
class ShapesConfig:
    """What only the task "shapes" asks for."""

    protocol: Literal["z/z", "z/SO(3)", "SO(3)/SO(3)"] = "SO(3)/SO(3)"
    """How shapes are turned in training and validation / in the test: about the vertical axis, or
    by any rotation."""
    fold: int = 0
    """Number of the fold that is the test."""
    num_points: int = 0
    """Points of each shape; 0 for all there are."""
    subset: int = 64
    """Points that the network sees at once: drawn anew at every step of training; in evaluation,
    disjoint sets of so many points, whose log probabilities are averaged. 0 for all at once."""
    features: Literal["moments", "constant"] = "moments"
    """Features of a point: what moments of its surroundings and its place in the whole leave
    unchanged under rotations and reflections, or the constant 1."""
    stretch: float = 0.1
    """In training, each shape is stretched along random axes, by a factor of 1 and a normal number
    of this standard deviation."""
    label_smoothing: float = 0.1
    """Share of the probability that training spreads evenly over all classes."""


@dataclass(frozen=True)
class ConstellationsConfig:
    """What only the task "constellations" asks for."""

    train_motion: Literal["none", "T2", "SE2"] = "none"
    """How whole examples are moved in training and validation: not, shifted, or turned and
    shifted."""
    test_motion: Literal["none", "T2", "SE2"] = "none"
    """The same, in the test."""
    features: Literal["nearness", "constant"] = "nearness"
    """Features of a point: how near the others are, in order; or the constant 1."""
    num_train: int = 10_000
    """Examples to train on."""
    num_validation: int = 1_000
    """Examples to choose the best parameters by."""
    num_test: int = 1_000
    """Examples to score."""


@dataclass(frozen=True)
class ImagesConfig:
    """What only the task "images" asks for."""

    train_motion: Literal["none", "SO(2)"] = "none"
    """Whether images are turned by random angles in training and validation; the test always has
    both."""
    threshold: float | None = 0.0
    """Pixels above this share of the greatest intensity are points; "None" for all pixels."""
    positions: bool = False
    """Whether a point's coordinates are features too, which gives up every symmetry."""
    baseline: Literal["plain", "none"] = "plain"
    """Whether a network of the same size without the symmetry is trained after the model, for the
    same time, as a baseline: with T(2) for the group, and positions."""


@dataclass(frozen=True)
class WindsConfig:
    """What only the task "winds" asks for."""

    num_points: int = 0
    """Points of the globe that are drawn anew for every training example, by area; 0 for all. Far
    fewer points than there are make neighborhoods by number reach farther in training."""
    step: float = 0.0
    """Degrees between points, to which the winds are averaged; 0 for those of the data (5)."""
    baseline: Literal["plain", "none"] = "plain"
    """Whether the same network without the symmetry is trained after the model, for the same time,
    as a baseline."""


@dataclass(frozen=True)
class RunConfig:
    """A whole training run; the same configuration on the same machine gives the same run."""

    task: str = "molecules"
    """Name of the task (``eqattn tasks`` lists them)."""
    preset: str = "demo"
    """Preset of the task from which the other values start."""
    data: str = "embedded"
    """Source of the examples: a name the task knows (molecules: "embedded" or "qm9"; shapes:
    and winds: "embedded"; images: "digits"; springs and constellations: "generated"), or the path
    of a file (molecules: .npz; winds: netCDF) or folder (shapes: ModelNet40 as h5 or off; images:
    idx)."""
    targets: tuple[str, ...] = ("gap",)
    """Names of the quantities to learn, all at once."""
    split: str = "standard"
    """Name of the split into training, validation and test examples (molecules: "standard", or
    "tfds" with the data "qm9")."""
    batch_size: int = 64
    """Examples per training step; fewer of those that are large (see
    :mod:`eqattn.data.batches`)."""
    steps: int = 2000
    """Training steps."""
    eval_every: int = 250
    """Steps between two evaluations on the validation split, each followed by a checkpoint."""
    checkpoint_every: float = 5.0
    """Minutes between two checkpoints besides those that follow evaluations; 0 for no others."""
    seed: int = 0
    """Seed of parameters, data order, augmentation and lifts."""
    augment_rotations: bool = False
    """Whether each training example is turned by a random rotation at every step."""
    num_lifts: int = 1
    """Lifts whose predictions are averaged at evaluation; they differ only where the lift draws
    samples."""
    buckets: tuple[int, ...] = ()
    """Sizes, in points, to which examples are padded; each size is compiled once. The size of the
    largest example is always added."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """The model."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """The optimizer."""
    springs: SpringsConfig = field(default_factory=SpringsConfig)
    """What only the task "springs" asks for; other tasks refuse changes."""
    shapes: ShapesConfig = field(default_factory=ShapesConfig)
    """What only the task "shapes" asks for; other tasks refuse changes."""
    constellations: ConstellationsConfig = field(default_factory=ConstellationsConfig)
    """What only the task "constellations" asks for; other tasks refuse changes."""
    images: ImagesConfig = field(default_factory=ImagesConfig)
    """What only the task "images" asks for; other tasks refuse changes."""
    winds: WindsConfig = field(default_factory=WindsConfig)
    """What only the task "winds" asks for; other tasks refuse changes."""


@dataclass(frozen=True)
class Standardization:
    """Affine map between a target in physical units and what a model learns.

    ``standardized = (value - mean) / scale``.
    """

    target: str
    """Name of the target."""
    unit: str
    """Unit of ``mean``, ``scale`` and of every reported metric."""
    mean: float
    """Mean over the training split."""
    scale: float
    """Standard deviation over the training split."""


@dataclass(frozen=True)
class TrainingRange:
    """Values of one quantity that occur in the training examples of a run."""

    quantity: str
    """What it is, such as "atoms" or "distance C-H"."""
    unit: str
    """Unit of the values, "" for none."""
    smallest: float
    """The smallest value in any training example."""
    largest: float
    """The largest one."""


@dataclass(frozen=True)
class SavedConfig(RunConfig):
    """What ``config.json`` of a run folder holds: the run, and what was found when it started."""

    in_features: int = 0
    """Input channels of the model."""
    out_features: int = 0
    """Outputs of the model."""
    standardization: tuple[Standardization, ...] = ()
    """Standardization of each output, in order."""
    training_ranges: tuple[TrainingRange, ...] = ()
    """What the training examples span, by which predictions tell inputs unlike them; empty where
    the task does not say, and in runs of earlier versions."""
    data_fingerprint: str = ""
    """What tells the content of the file or folder of data from any other
    (:func:`eqattn.files.fingerprint`); "" for data that have a name, and in runs of earlier
    versions."""
    unknown_labels: dict[str, dict[str, int]] = field(default_factory=dict)
    """How many labels are not known, by split and target, where any is not."""
    versions: dict[str, str] = field(default_factory=dict)
    """Versions of the packages that made the run."""
