"""The public surface, name by name: a change here is a change for users (see CHANGELOG.md)."""

import importlib
import importlib.metadata
import importlib.resources
import pkgutil

import pytest

import eqattn

PUBLIC = {
    "eqattn": [
        "__version__",
        "attention",
        "fields",
        "groups",
        "laws",
        "layers",
        "lift",
        "load",
        "models",
        "numerics",
        "save",
        "spaces",
        "testing",
    ],
    "eqattn.attention": [
        "Ball",
        "BernsteinBasis",
        "CombineMLP",
        "Content",
        "DirectSum",
        "DotProduct",
        "FarthestPoints",
        "FiniteRotary",
        "FourierBasis",
        "Harmonics",
        "LinearConcat",
        "Location",
        "Matrices",
        "Nearest",
        "Neighborhood",
        "OfFactor",
        "PairFeatures",
        "PairMLP",
        "Paraboloid",
        "RawPairs",
        "RelativePosition",
        "Representation",
        "Rotary",
        "TokenBlock",
        "attend",
        "default_representation",
        "farthest_points",
        "find_neighbors",
        "representation_attend",
        "subsample",
    ],
    "eqattn.attention.pallas": [],
    "eqattn.certificate": [
        "CONTROLS",
        "DTYPES",
        "FAMILIES",
        "FIELDS",
        "GEOMETRIES",
        "LAYERS",
        "Excluded",
        "Geometry",
        "Row",
        "certify",
        "passing_controls",
    ],
    "eqattn.cli": ["main", "run"],
    "eqattn.data": [
        "TARGETS",
        "Molecules",
        "Target",
        "choose_buckets",
        "evaluation_batches",
        "examples",
        "features",
        "load",
        "pad",
        "read_structures",
        "split",
        "target_columns",
        "training_batches",
    ],
    "eqattn.data.embedded": [],
    "eqattn.fields": [
        "KINDS",
        "Custom",
        "FieldType",
        "Gauge",
        "Irrep",
        "Kind",
        "Tensor",
        "Term",
        "custom",
        "east_north",
        "gauge",
        "pack_traceless",
        "scalars",
        "unpack_traceless",
        "vectors",
    ],
    "eqattn.groups": [
        "SE",
        "SO",
        "E",
        "LieGroup",
        "MatrixGroup",
        "O",
        "Product",
        "RxSO2",
        "RxSO3",
        "Sim",
        "T",
        "Trivial",
    ],
    "eqattn.interop": [],
    "eqattn.laws": [
        "NUM",
        "STANDARD_ERRORS",
        "TOLERANCES",
        "check_group",
        "check_space",
        "group_laws",
        "group_samples",
        "relative_error",
        "sample_laws",
        "space_laws",
        "space_samples",
        "stabilizer_sample_laws",
    ],
    "eqattn.layers": [
        "BottleneckBlock",
        "GroupLayer",
        "Head",
        "LieConv",
        "LieSelfAttention",
        "RepresentationAttention",
        "TokenMLP",
        "TransformerBlock",
        "build_layer",
        "layer_options",
        "pool",
    ],
    "eqattn.lift": [
        "EVALUATION_SEED",
        "Coset",
        "Frames",
        "Grid",
        "Guarantee",
        "Haar",
        "Lifted",
        "Strategy",
        "Subgroup",
        "Unlifted",
        "check_coordinates",
        "check_strategy",
        "finite_elements",
        "fixed_stabilizers",
        "guarantee",
        "lift",
        "normalized_weights",
        "pair_space",
        "point_keys",
        "project",
        "sample_stabilizers",
        "strategy_draws",
    ],
    "eqattn.models": [
        "AccelerationNetwork",
        "FieldModel",
        "HamiltonianNetwork",
        "LieConvNetwork",
        "LieTransformer",
        "PotentialMLP",
        "RegularModel",
    ],
    "eqattn.spaces": [
        "EXCEPTIONAL_RADIUS",
        "Coordinates",
        "GroupSpace",
        "PositionOrientation",
        "ProductSpace",
        "PuncturedPlane",
        "RotatedSpace",
        "Space",
        "Sphere",
        "TranslatedSpace",
        "UnmovedSpace",
        "euclidean",
        "group_space",
        "position_orientation",
        "product_space",
        "sphere",
    ],
    "eqattn.tasks": [
        "TASKS",
        "Batch",
        "DrawingProblem",
        "HasBaseline",
        "NewExamples",
        "Panel",
        "PredictingTask",
        "Predictions",
        "Problem",
        "Score",
        "Series",
        "Task",
        "build_model",
        "get_preset",
        "get_task",
        "objective",
        "parse_group",
    ],
    "eqattn.train": [
        "LogReporter",
        "Reporter",
        "RunResult",
        "TerminalReporter",
        "TrainingDivergedError",
        "evaluate",
        "PredictionTable",
        "load",
        "predict",
        "resume",
        "save",
        "train",
    ],
}


def test_every_package_is_pinned():
    found = {m.name for m in pkgutil.walk_packages(eqattn.__path__, "eqattn.") if m.ispkg}
    assert found == PUBLIC.keys() - {"eqattn"}


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names(name):
    package = importlib.import_module(name)
    assert sorted(getattr(package, "__all__", [])) == sorted(PUBLIC[name])
    assert [n for n in PUBLIC[name] if not hasattr(package, n)] == []


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        eqattn.nonsense  # noqa: B018


def test_the_version_is_that_of_the_installed_package():
    assert eqattn.__version__ == importlib.metadata.version("eqattn")


def test_the_package_says_it_is_typed():
    assert importlib.resources.files("eqattn").joinpath("py.typed").is_file()
