"""Every configuration dataclass of the library, without logic.

A configuration is a frozen dataclass of plain values, so it can be compared, printed, written as
JSON (``eqattn.train.config_json``) and turned into command-line flags (``eqattn.cli``). What the
values mean is stated beside them, with units; what is done with them, where it is done. The options
of models stand beside the models (:mod:`eqattn.models`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from eqattn.models import LieTransformerConfig, ModelConfig
from eqattn.specification import Specification

__all__ = [
    "OptimizerConfig",
    "RunConfig",
    "SavedConfig",
    "Standardization",
    "TaskOptions",
    "TrainingRange",
]


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


@dataclass(frozen=True, repr=False)
class TaskOptions(Specification):
    """What one task asks for beside what all runs have; nothing, without a class of its own."""


@dataclass(frozen=True)
class RunConfig:
    """A whole training run; the same configuration on the same machine gives the same run."""

    task: str = "molecules"
    """Name of the task (``eqattn tasks`` lists them)."""
    preset: str = "demo"
    """Preset of the task from which the other values start."""
    data: str = "embedded"
    """Source of the examples: a name that the task knows, or the path of a file or folder."""
    targets: tuple[str, ...] = ("gap",)
    """Names of the quantities to learn, all at once."""
    batch_size: int = 64
    """Examples per training step; fewer of those that are large (see
    :mod:`eqattn.tasks.molecules.batches`)."""
    accumulate: int = 1
    """Parts of a batch that are computed one after the other in a step; more need less memory."""
    steps: int = 2000
    """Training steps."""
    eval_every: int = 250
    """Steps between two evaluations on the validation split, each followed by a checkpoint."""
    patience: int = 0
    """Evaluations in a row without a better one after which training ends; 0 for no such end."""
    checkpoint_every: float = 5.0
    """Minutes between two checkpoints besides those that follow evaluations; 0 for no others."""
    seed: int = 0
    """Seed of parameters, data order, augmentation and lifts."""
    ensemble: int = 1
    """Models that are trained side by side on the same batches, each from parameters of its own;
    their predictions are averaged. Tables of molecules and forces say how far they differ."""
    num_lifts: int = 1
    """Lifts whose predictions are averaged at evaluation; they differ only where the lift draws
    samples."""
    options: TaskOptions = TaskOptions()
    """What this task asks for beside what all have."""
    model: ModelConfig = LieTransformerConfig()
    """Architecture of the model."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """The optimizer."""


@dataclass(frozen=True)
class Standardization:
    """Affine map between a target in physical units and what a model learns.

    ``standardized = (value - mean - sum over atoms of their reference) / scale``.
    """

    target: str
    """Name of the target."""
    unit: str
    """Unit of ``mean``, ``scale`` and of every reported metric."""
    mean: float
    """Mean over the training split."""
    scale: float
    """Standard deviation over the training split."""
    references: dict[str, float] = field(default_factory=dict, repr=False)
    """What is taken off for each atom of an element, by its symbol, in ``unit``; nothing where it
    is empty. Only sums over atoms have them."""


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
    elements: tuple[str, ...] = ()
    """Elements that the model knows, by a one-hot in this order; empty where the task does not say,
    and for molecules of QM9, whose features are those of arXiv:2012.10885."""
    references: dict[str, float] = field(default_factory=dict)
    """Energy of each element, by its symbol, of which sums over atoms are taken off the energies;
    these are the elements that the model knows. Empty where the task takes nothing off."""
    data_fingerprint: str = ""
    """What tells the content of the file or folder of data from any other
    (:func:`eqattn.files.fingerprint`); "" for data that have a name, and in runs of earlier
    versions."""
    unknown_labels: dict[str, dict[str, int]] = field(default_factory=dict)
    """How many labels are not known, by split and target, where any is not."""
    versions: dict[str, str] = field(default_factory=dict)
    """Versions of the packages that made the run."""
