"""Specifications: texts and back, what texts may not say, defaults, and names of one's own."""

import dataclasses
import functools
import inspect
import math
import os
import typing

import numpy as np
import pytest
from flax import nnx

from eqattn import specification
from eqattn.attention import NearestNeighbors, RadiusNeighbors
from eqattn.attention.neighborhoods import NeighborhoodKind
from eqattn.groups import (
    SE,
    SO,
    E,
    LieGroup,
    MatrixGroup,
    O,
    Product,
    RxSO2,
    RxSO3,
    Sim,
    T,
    Trivial,
)
from eqattn.groups.reflected import Reflected
from eqattn.layers import (
    AddLogits,
    Attention,
    AttentiveConvolution,
    BernsteinValues,
    Combination,
    ContentTerm,
    Convolution,
    DotProductContent,
    FourierValues,
    Layer,
    LinearConcatContent,
    LocationTerm,
    MLPLocation,
    MLPLogits,
    MLPValues,
    MultiplyLogits,
    PerHeadMLPLocation,
    RadialLocation,
    RawLocation,
    RelativePositionContent,
    RepresentationAttention,
    ValueBasis,
)
from eqattn.layers.steerable import FieldLayer, HarmonicKernel
from eqattn.lift import Coset, Frames, Grid, Haar, Lift, NoLift, Subgroup
from eqattn.models import (
    AccelerationNetworkConfig,
    AtomSumConfig,
    FieldModelConfig,
    FieldNetworkConfig,
    HamiltonianNetworkConfig,
    LieConvNetwork,
    LieConvNetworkConfig,
    LieTransformer,
    LieTransformerConfig,
    ModelConfig,
    PotentialMLP,
    PotentialMLPConfig,
    PotentialNetworkConfig,
)
from eqattn.spaces import (
    Space,
    euclidean,
    group_space,
    position_orientation,
    product_space,
    sphere,
)
from eqattn.specification import convert, names_of, parse

pytestmark = pytest.mark.usefixtures("no_type_checks")  # which users do not have

PAIR = {"num_radial": 3, "cutoff": 2.5}
MLP = {**PAIR, "dim": 5, "num_layers": 2}
VALUES = MLPValues(num_basis=3, **MLP)
ATTENTION = Attention(
    coordinates="log", implementation="dense", num_heads=2,
    content=LinearConcatContent(map_features=2), content_dim=6,
    location=PerHeadMLPLocation(outputs=2, **MLP), combine=MLPLogits(dim=4, num_layers=2),
    normalize="mean",
    cutoff=4.0,
)  # fmt: skip
LIFTED = {
    "dtype": "bfloat16", "space": euclidean(SE(2)), "dim": 12, "lift": Haar(2, shared=True),
    "neighborhood": NearestNeighbors(3, 5), "activation": "gelu", "head": "token",
    "output": "per_point", "norm": "none", "dropout": 0.25,
}  # fmt: skip
TRANSFORMER = LieTransformerConfig(
    pool="sum", num_layers=2, layer=ATTENTION, mlp_ratio=1.5, final_activation=True, **LIFTED
)
OF_FIELDS = FieldModelConfig(
    model=dataclasses.replace(TRANSFORMER, pool="mean"),
    input_field="2x vector",
    output_field="scalar + vector",
    pooled=True,
)
EXAMPLES = {
    Layer: [
        ATTENTION,
        AttentiveConvolution(
            coordinates="embedding", implementation="folded", num_heads=3, content=None,
            content_dim=4, location=RadialLocation(**PAIR), combine=AddLogits(),
            normalize="exponential_mean", cutoff=4.0, values=VALUES,
        ),
        Convolution(
            coordinates="invariants", implementation="chunked", values=BernsteinValues(cutoff=3.0)
        ),
        RepresentationAttention(
            num_heads=2, kernel="linear", turns_values=False, length=0.5, implementation="chunked"
        ),
    ],
    ContentTerm: [
        DotProductContent(),
        LinearConcatContent(map_features=3),
        RelativePositionContent(**PAIR),
    ],
    LocationTerm: [
        MLPLocation(**MLP),
        PerHeadMLPLocation(outputs=2, **MLP),
        RadialLocation(**PAIR),
        RawLocation(**PAIR),
    ],
    ValueBasis: [
        BernsteinValues(num_basis=2, cutoff=0.1),
        FourierValues(num_basis=2, **PAIR),
        VALUES,
    ],
    Combination: [AddLogits(), MultiplyLogits(), MLPLogits(dim=4, num_layers=2)],
    Lift: [
        Coset(position_orientation(SE(3)), Subgroup("octahedral")),
        Frames(1e-3, pairs="across"),
        Grid(3, offset=-0.5),
        Haar(4, shared=True),
        NoLift(),
        Subgroup("dihedral(3)", reflections=True),
    ],
    NeighborhoodKind: [NearestNeighbors(3, 5), RadiusNeighbors(0.5, 3, smooth=False)],
    ModelConfig: [
        TRANSFORMER,
        OF_FIELDS,
        AccelerationNetworkConfig(field_model=OF_FIELDS, center=False),
        HamiltonianNetworkConfig(potential=TRANSFORMER, center=False),
        FieldNetworkConfig(
            space=euclidean(E(3)), input_field="vector", output_field="2x scalar", num_layers=2,
            hidden_field="4x scalar + 2x vector + 2x pseudovector",
            neighborhood=NearestNeighbors(3),
            neighbor_embedding=HarmonicKernel(radial=VALUES, max_degree=0),
            layer=FieldLayer(
                num_heads=2, content=None, differences=False, cutoff=2.5,
                kernel=HarmonicKernel(radial=VALUES, max_degree=2, length=2.0),
            ),
            num_pair_data=1, norm="none", mlp_ratio=0.5, products=True, activation="gelu",
            dropout=0.1, pool="sum", output="invariant", dtype="bfloat16",
        ),
        LieConvNetworkConfig(
            pool="max", num_layers=3, layer=Convolution(values=VALUES), bottleneck=2,
            subsampling=(0,), **LIFTED,
        ),
        PotentialMLPConfig(
            num_points=3, point_dim=3, dim=7, num_layers=2, activation="gelu", dtype="float64"
        ),
        PotentialNetworkConfig(atoms=TRANSFORMER),
        AtomSumConfig(atoms=TRANSFORMER, form="dipole"),
    ],
    Space: [
        *(euclidean(group) for group in (T(2), SE(3), E(2), Sim(2), SO(3), RxSO2(), Trivial(2))),
        sphere(O(3)),
        position_orientation(SE(2)),
        group_space(RxSO3()),
        product_space(euclidean(SO(2)), product_space(euclidean(SE(2)), sphere(SO(3)))),
    ],
    LieGroup: [
        *(SO(2), SO(3), SE(2), SE(3), O(2), O(3), E(2), E(3), Sim(2), Sim(3)),
        *(RxSO2(), RxSO3(), T(4), Trivial(2)),
        Product((SE(2), Product((T(1), RxSO2())))),
    ],
}  # fmt: skip
INSTANCES = [(kind, x) for kind, examples in EXAMPLES.items() for x in examples]
# AddLogits has no options, and stands where there is no term of content.
ALSO_DEFAULT = {(AttentiveConvolution, "combine"), (Frames, "training_frames")}


def ours(kind):
    """Names of the library's core: other tests define terms of their own, and tasks some, too."""
    module = lambda name: specification._TABLE[name].__module__
    is_ours = lambda name: module(name).startswith("eqattn.") and "eqattn.tasks" not in module(name)
    return {name for name in names_of(kind) if is_ours(name)}


@pytest.mark.parametrize("kind", EXAMPLES, ids=lambda kind: kind.__name__)
def test_there_is_an_example_of_every_name(kind):
    named = {repr(x).partition("(")[0] for x in EXAMPLES[kind]}
    # A Reflected is written as E(3) or O(3), whose name texts may call too.
    assert named == ours(kind) - {"Reflected"}
    assert parse("Reflected(SE(3))", LieGroup) == Reflected(SE(3)) == E(3)


@pytest.mark.parametrize(("kind", "x"), INSTANCES, ids=lambda x: str(x)[:40])
def test_texts_are_read_back(kind, x):
    for text in (repr(x), str(x), x.full_text()):
        assert parse(text, kind) == x
        assert convert(kind, text, "text") == x
        assert type(parse(text, kind)) is type(x)


@pytest.mark.parametrize(
    ("kind", "x"), [(k, x) for k, x in INSTANCES if k not in (Space, LieGroup)],
    ids=lambda x: str(x)[:40],
)  # fmt: skip
def test_full_texts_name_every_field(kind, x):
    text = x.full_text()
    for field in dataclasses.fields(x):
        value = getattr(x, field.name)
        if field.default is dataclasses.MISSING:
            assert getattr(value, "full_text", lambda value=value: repr(value))() in text
            continue
        if (type(x), field.name) not in ALSO_DEFAULT:
            assert value != field.default, field.name
            assert f"{field.name}={value!r}" in repr(x)
        assert f"{field.name}=" in text
    defaults = [x for x in (type(x),) if not any(map(_is_needed, dataclasses.fields(x)))]
    for cls in defaults:  # what is left at its default is written too
        full = cls().full_text()
        assert all(f"{field.name}=" in full for field in dataclasses.fields(cls))
        assert parse(full, kind) == cls()
        assert repr(cls()) == f"{cls.__name__}()"


def _is_needed(field):
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


HOSTILE = {
    "call of an attribute": "__import__('os').system('x')",
    "builtin": "Haar(__import__('os'))",
    "attribute": "Haar(Haar.check)",
    "attribute of a call": "Haar().num_samples",
    "dunder": "Haar(num_samples=Haar().__class__)",
    "path": "eqattn.lift.Haar()",
    "comprehension": "[Haar() for _ in (1,)]",
    "generator": "Haar(x for x in (1,))",
    "f-string": "Subgroup(f'{1}')",
    "lambda": "Haar(lambda: 1)",
    "unknown name": "Nonsense()",
    "unknown name inside": "Haar(num_samples=Nonsense())",
    "name alone": "Haar",
    "function of Python": "eval('1')",
    "abstract class": "Lift()",
    "abstract class with samples": "StabilizerLift()",
    "mapping of options": "Haar(**{'num_samples': 2})",
    "named mapping of options": "Haar(**options)",
    "list of options": "Haar(*(2,))",
    "arithmetic": "Haar(1 + 1)",
    "large power": "Haar(9**9**9)",
    "assignment": "Haar(x := 3)",
    "subscript": "Haar((1, 2)[0])",
    "condition": "Haar(1 if True else 2)",
    "bytes": "Subgroup(b'cyclic(3)')",
    "complex": "Haar(3j)",
    "ellipsis": "Haar(...)",
    "dictionary": "Haar({'a': 1})",
    "call of a call": "Haar()()",
    "two statements": "Haar(); Haar()",
    "statement": "import os",
    "comment alone": "# Haar()",
    "nothing": "",
    "null byte": "Haar(\0)",
    "open": "Haar(",
    "number": "3",
    "string": "'Haar()'",
    "another kind": "SE(3)",
    "arrays": "Given()",
    "20,000 characters": "Haar(" + " " * 20_000 + ")",
    "20,000 characters of a name": "H" * 20_000,
    "9,000 characters of a name": "H" * 9_000 + "()",
    "9,000 characters of an option": f"Haar({'n' * 9_000}=1)",
    "9,000 characters of an expression": f"Haar(lambda: {'n' * 8_900})",
    "5,000 nested brackets": "(" * 5_000 + ")" * 5_000,
    "1,000 nested calls": "Haar(" * 1_000 + ")" * 1_000,
    "5,000 signs": "Haar(" + "-" * 5_000 + "1)",
    "a long sum": "Haar(" + "1+" * 3_000 + "1)",
    "a long number": "Haar(" + "9" * 5_000 + ")",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_texts_are_never_evaluated(name, monkeypatch):
    """Nothing is called that is not in the table, and each refusal is one short line."""

    def forbidden(*_):
        raise AssertionError("evaluated")

    monkeypatch.setattr(os, "system", forbidden)
    with pytest.raises(ValueError, match=r"^lift(:| must be one of) ") as caught:
        parse(HOSTILE[name], Lift, "lift")
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 1_000  # names that are known are listed


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [
        ("Haar(samples=2)", ValueError, "x: Haar has no option 'samples', its options are num_s"),
        ("NoLift(num_samples=2)", ValueError, "NoLift has no option 'num_samples', .* are none"),
        ("Coset()", ValueError, "x: Coset: missing a required argument: 'space'"),
        ("Grid(offset=0.1)", ValueError, "x: Grid: missing a required argument: 'num_samples'"),
        ("Haar(1, True, 2)", ValueError, "x: Haar: too many positional arguments"),
        ("Haar(2, num_samples=3)", ValueError, "x: Haar: multiple values for argument"),
        ("Haar(num_samples=2, num_samples=3)", ValueError, "x: Haar has an option that is given"),
        ("Haar(num_samples=2, num_samples=2)", ValueError, "x: Haar has an option that is given"),
        ("Haar('2')", TypeError, "num_samples must be an integer, got '2'"),
        ("Haar(2.0)", TypeError, "num_samples must be an integer, got 2.0"),
        ("Haar(True)", TypeError, "num_samples must be an integer, got True"),
        ("Haar(None)", TypeError, "num_samples must be an integer, got None"),
        ("Haar(2, shared=1)", TypeError, "shared must be True or False, got 1"),
        ("Haar(-1)", ValueError, "num_samples must be at least 1, got -1"),
        ("Frames(nan)", ValueError, "x: 'nan' is neither a value nor a call by name"),
        ("Frames(1e999)", ValueError, "min_gap must be between 0 and 1, got inf"),
        ("Coset(SE(3), Haar())", TypeError, "space of Coset must be a Space, got SE"),
        ("Coset('R3', Haar())", TypeError, "space of Coset must be a Space, got 'R3'"),
    ],
)  # fmt: skip
def test_texts_with_wrong_options_are_refused(text, error, match):
    with pytest.raises(error, match=match):
        parse(text, Lift, "x")


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: MLPLocation(cutoff=math.nan), ValueError, "cutoff of MLPLoc.* a finite number"),
        (lambda: MLPLocation(cutoff=math.inf), ValueError, "cutoff of MLPLoc.* a finite number"),
        (lambda: MLPLocation(cutoff=10**400), ValueError, "cutoff of MLPLoc.* a finite number"),
        (lambda: MLPLocation(cutoff=True), TypeError, "cutoff of MLPLocation must be a number"),
        (lambda: MLPLocation(dim=4.0), TypeError, "dim of MLPLocation must be an integer, got 4"),
        (lambda: MLPLocation(dim=2**63), ValueError, r"dim of MLPLocation must be less than 2\*\*"),
        (lambda: MLPLocation(dim=0), ValueError, "dim must be at least 1, got 0"),
        (lambda: MLPLogits(num_layers=None), TypeError, "num_layers of MLPLogits must be an int"),
        (lambda: Attention(num_heads="8"), TypeError, "num_heads of Attention must be an integer"),
        (lambda: Attention(combine=None), TypeError, "combine of Attention must be a Combination"),
        (lambda: Attention(content=AddLogits()), TypeError, "content of Attention must be a Cont"),
        (lambda: Attention(normalize="l2"), ValueError, "normalize of Attention must be one of"),
        (
            lambda: RepresentationAttention(turns_values=1),
            TypeError,
            "turns_values of RepresentationAttention must be true or false, got 1",
        ),
        (
            lambda: LieConvNetworkConfig(layer=Attention()),
            TypeError,
            r"layer of LieConvNetworkConfig must be a Convolution, got Attention\(\)",
        ),
        (
            lambda: LieConvNetworkConfig(layer="Attention()"),
            ValueError,
            r"layer of LieConvNetworkConfig must be one of Convolution, .* got 'Attention\(\)'",
        ),
        (
            lambda: LieConvNetworkConfig(subsampling=(2, 1.5)),
            TypeError,
            r"subsampling of LieConvNetworkConfig\[1\] must be an integer, got 1.5",
        ),
        (
            lambda: LieTransformerConfig(space="euclidean(SE(4))"),
            ValueError,
            r"n of SE\(n\) must be 2 or 3, got 4",
        ),
        (
            lambda: LieTransformerConfig(mlp_ratio=math.nan),
            ValueError,
            "mlp_ratio of LieTransformerConfig must be a finite number, got nan",
        ),
    ],
)  # fmt: skip
def test_wrong_values_are_refused(make, error, match):
    with pytest.raises(error, match=match):
        make()


def test_options_that_do_not_exist_are_refused_by_the_class():
    for kind, examples in EXAMPLES.items():
        for cls in {type(x) for x in examples if kind not in (Space, LieGroup)}:
            with pytest.raises(TypeError, match="unexpected keyword argument 'nonsense'"):
                cls(nonsense=1)


def test_numbers_of_any_kind_are_plain_ones():
    found = MLPLocation(dim=np.int32(4), cutoff=np.float32(1.5), num_radial=np.int64(0))
    assert found == MLPLocation(dim=4, cutoff=1.5, num_radial=0)
    assert repr(found) == "MLPLocation(num_radial=0, cutoff=1.5, dim=4)"
    assert repr(MLPLocation(cutoff=3)) == "MLPLocation(cutoff=3.0)"


def test_what_is_ones_own_is_nameable_as_soon_as_it_is_defined():
    with pytest.raises(ValueError, match="'OwnContent' is unknown"):
        parse("OwnContent(scale=2.0)", ContentTerm)

    @dataclasses.dataclass(frozen=True, repr=False)
    class OwnContent(ContentTerm):
        scale: float = 1.0

        def build(self, around):
            raise NotImplementedError

    @dataclasses.dataclass(frozen=True, repr=False)
    class OwnLocation(LocationTerm):
        shape: typing.Literal["ball", "box"]
        sizes: tuple[int, ...] = ()

        def build(self, around):
            raise NotImplementedError

    @dataclasses.dataclass(frozen=True, repr=False)
    class OwnLayer(Layer):
        inner: Attention = Attention()

        def build(self, dim, space, *, rngs, **types):
            raise NotImplementedError

    @dataclasses.dataclass(frozen=True, repr=False)
    class OwnTurns(MatrixGroup):
        speed: int = 1
        generators: typing.ClassVar = (((0.0, -1.0), (1.0, 0.0)),)

        def log_components(self, g):
            raise NotImplementedError

    try:
        layer = OwnLayer(
            Attention(content=OwnContent(2.0), location=OwnLocation("box", sizes=(1, 2)))
        )
        for kind, x in (
            (ContentTerm, layer.inner.content),
            (LocationTerm, layer.inner.location),
            (Layer, layer),
            (LieGroup, OwnTurns(3)),
            (Space, group_space(OwnTurns(3))),
            (ModelConfig, LieTransformerConfig(layer=layer)),
        ):
            assert parse(repr(x), kind) == parse(x.full_text(), kind) == x
        for kind, cls in (
            (ContentTerm, OwnContent), (LocationTerm, OwnLocation), (Layer, OwnLayer),
            (LieGroup, OwnTurns),
        ):  # fmt: skip
            assert cls.__name__ in names_of(kind)
        assert repr(layer.inner.location) == "OwnLocation('box', sizes=(1, 2))"
        with pytest.raises(ValueError, match="scale of OwnContent must be a finite number"):
            OwnContent(math.nan)
        with pytest.raises(ValueError, match="OwnContent has no option 'width', its options are"):
            parse("OwnContent(width=1)", ContentTerm)
        with pytest.raises(ValueError, match="shape of OwnLocation must be one of ball, box"):
            OwnLocation("cone")
    finally:
        for cls in (OwnContent, OwnLocation, OwnLayer, OwnTurns):
            del specification._TABLE[cls.__name__]


@pytest.mark.parametrize(
    ("name", "base", "place"),
    [
        ("Attention", Layer, "eqattn.layers.attention.Attention"),
        ("Attention", ContentTerm, "eqattn.layers.attention.Attention"),
        ("Haar", Lift, "eqattn.lift.haar.Haar"),
        ("euclidean", Space, "eqattn.spaces.euclidean"),
        ("SE", LieGroup, "eqattn.groups.SE"),
    ],
)
def test_names_of_the_library_stay_those_of_the_library(name, base, place):
    before = specification._TABLE[name]
    with pytest.raises(ValueError, match=f"^{name} is the name of {place}, choose another$"):
        type(name, (base,), {"__module__": "mine"})
    assert specification._TABLE[name] is before


LOCATION = "MLPLocation(num_radial=24, cutoff=12.0, dim=32, num_layers=3)"
OF_VALUES = "MLPValues(num_basis=8, num_radial=24, cutoff=12.0, dim=32, num_layers=3)"
OF_ATTENTION = (
    "coordinates=None, implementation=None, num_heads=8, content=DotProductContent(), "
    f"location={LOCATION}, combine=AddLogits(), normalize='softmax', cutoff=None, "
    "content_dim=None"
)
OF_FIELD_LAYER = (
    f"num_heads=8, content=DotProductContent(), location={LOCATION}, combine=AddLogits(), "
    "normalize='softmax', cutoff=None, kernel=None, differences=True, implementation=None"
)
OF_LIFTED_MODELS = (
    "dtype='float32', space=euclidean(SE(3)), dim=128, lift=NoLift(), neighborhood=None, "
    "activation='swish', dropout=0.0, pool='mean', head='mlp', output={output!r}, "
)
OF_TRANSFORMER = (
    f"LieTransformerConfig({OF_LIFTED_MODELS}num_layers=4, layer=Attention({OF_ATTENTION}), "
    "norm='pre', mlp_ratio=2.0, final_activation=False)"
)
PER_POINT = OF_TRANSFORMER.format(output="per_point")
DEFAULTS = {
    Attention: f"Attention({OF_ATTENTION})",
    AttentiveConvolution: f"AttentiveConvolution({OF_ATTENTION}, values={OF_VALUES})",
    Convolution: f"Convolution(coordinates=None, implementation=None, values={OF_VALUES})",
    RepresentationAttention: (
        "RepresentationAttention(num_heads=8, kernel='softmax', turns_values=True, length=1.0, "
        "implementation=None)"
    ),
    DotProductContent: "DotProductContent()",
    LinearConcatContent: "LinearConcatContent(map_features=None)",
    RelativePositionContent: "RelativePositionContent(num_radial=24, cutoff=12.0)",
    MLPLocation: LOCATION,
    PerHeadMLPLocation: (
        "PerHeadMLPLocation(num_radial=24, cutoff=12.0, dim=32, num_layers=3, outputs=1)"
    ),
    RadialLocation: "RadialLocation(num_radial=24, cutoff=12.0)",
    RawLocation: "RawLocation(num_radial=24, cutoff=12.0)",
    BernsteinValues: "BernsteinValues(num_basis=8, cutoff=12.0)",
    FourierValues: "FourierValues(num_basis=8, num_radial=24, cutoff=12.0)",
    MLPValues: OF_VALUES,
    AddLogits: "AddLogits()",
    MLPLogits: "MLPLogits(dim=32, num_layers=3)",
    MultiplyLogits: "MultiplyLogits()",
    functools.partial(Coset, sphere(SO(3)), Haar()): (
        "Coset(sphere(SO(3)), Haar(num_samples=1, shared=False))"
    ),
    Frames: "Frames(min_gap=0.05, pairs='within', training_frames=None)",
    functools.partial(Grid, 4): "Grid(4, offset=0.0)",
    Haar: "Haar(num_samples=1, shared=False)",
    NoLift: "NoLift()",
    functools.partial(Subgroup, "tetrahedral"): "Subgroup('tetrahedral', reflections=False)",
    functools.partial(NearestNeighbors, 4): "NearestNeighbors(4, candidates=None)",
    functools.partial(RadiusNeighbors, 1.5, 4): "RadiusNeighbors(1.5, 4, smooth=True)",
    AccelerationNetworkConfig: (
        f"AccelerationNetworkConfig(field_model=FieldModelConfig(model={PER_POINT}, "
        "input_field='vector + 2x scalar', output_field='vector', pooled=False), center=True)"
    ),
    FieldModelConfig: (
        f"FieldModelConfig(model={PER_POINT}, input_field='scalar', output_field='scalar', "
        "pooled=False)"
    ),
    HamiltonianNetworkConfig: (
        f"HamiltonianNetworkConfig(potential={OF_TRANSFORMER.format(output='invariant')}, "
        "center=True)"
    ),
    HarmonicKernel: (
        "HarmonicKernel(radial=BernsteinValues(num_basis=8, cutoff=12.0), max_degree=1, "
        "in_logits=False, length=1.0)"
    ),
    FieldLayer: f"FieldLayer({OF_FIELD_LAYER})",
    FieldNetworkConfig: (
        "FieldNetworkConfig(dtype='float32', space=euclidean(SE(3)), input_field='scalar', "
        "output_field='scalar', hidden_field='64x scalar + 64x vector', num_layers=4, "
        f"layer=FieldLayer({OF_FIELD_LAYER}), neighbor_embedding=None, neighborhood=None, "
        "num_pair_data=0, norm='pre', mlp_ratio=2.0, products=False, activation='swish', "
        "dropout=0.0, pool='mean', output='per_point')"
    ),
    LieConvNetworkConfig: (
        f"LieConvNetworkConfig({OF_LIFTED_MODELS.format(output='invariant')}num_layers=6, "
        f"layer=Convolution(coordinates=None, implementation=None, values={OF_VALUES}), "
        "bottleneck=4, subsampling=(), norm='pre')"
    ),
    LieTransformerConfig: OF_TRANSFORMER.format(output="invariant"),
    AtomSumConfig: f"AtomSumConfig(atoms={PER_POINT}, form='sum')",
    PotentialNetworkConfig: (
        f"PotentialNetworkConfig(atoms={OF_TRANSFORMER.format(output='per_point')})"
    ),
    PotentialMLPConfig: (
        "PotentialMLPConfig(dtype='float32', num_points=6, point_dim=2, dim=200, num_layers=3, "
        "activation='swish')"
    ),
}


def test_defaults_are_the_stated_ones():
    """A change here changes models that say nothing of an option: see CHANGELOG.md."""
    kinds = (Layer, ContentTerm, LocationTerm, ValueBasis, Combination, Lift, NeighborhoodKind)
    found = {make: make().full_text() for make in DEFAULTS}
    assert found == DEFAULTS
    named = {getattr(make, "func", make).__name__ for make in DEFAULTS}
    of_fields = {"FieldLayer", "HarmonicKernel"}
    assert named == set().union(*map(ours, (*kinds, ModelConfig)), of_fields)


@pytest.mark.parametrize(
    ("model", "config", "given"),
    [
        (LieTransformer, LieTransformerConfig, {"space"}),
        (LieConvNetwork, LieConvNetworkConfig, {"space"}),
        (PotentialMLP, PotentialMLPConfig, {"num_points", "point_dim"}),
    ],
)
def test_constructors_have_the_defaults_of_their_configurations(model, config, given):
    """What differs from example to example has no default in constructors."""
    parameters = inspect.signature(model.__init__).parameters
    fields = {field.name: field.default for field in dataclasses.fields(config)}
    assert fields.keys() <= parameters.keys()
    for name, default in fields.items():
        if name == "dtype":  # None there is the type of the parameters
            assert parameters[name].default is None
        elif name in given:
            assert parameters[name].default is inspect.Parameter.empty
        else:
            assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
            assert parameters[name].default == default, name
    of_types = {"dtype", "param_dtype", "precision", "rngs"}
    of_data = {"self", "in_features", "out_features"}
    assert parameters.keys() - fields.keys() <= of_types | of_data


@pytest.mark.parametrize("config", [TRANSFORMER, *EXAMPLES[ModelConfig][4:5]], ids=repr)
def test_models_say_what_they_are_built_from(config):
    model = config.build(3, 2, rngs=nnx.Rngs(0))
    assert model.config == config
    rebuilt = parse(model.config.full_text(), ModelConfig).build(3, 2, rngs=nnx.Rngs(0))
    assert nnx.graphdef(rebuilt) == nnx.graphdef(model)


def test_constructors_take_texts_too():
    options = {"lift": "Haar(num_samples=2)", "layer": "Attention(num_heads=2)"}
    model = LieTransformer(
        "euclidean(SE(2))", 3, 1, dim=4, num_layers=1, rngs=nnx.Rngs(0), **options
    )
    assert model.config == LieTransformerConfig(
        space=euclidean(SE(2)), dim=4, num_layers=1, lift=Haar(2), layer=Attention(num_heads=2),
        dtype=model.config.dtype,
    )  # fmt: skip
    assert model.blocks[0].attention.coordinates == "embedding"


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        (Lift, lambda: Haar(np.int64(4), shared=np.True_)),
        (Lift, lambda: Frames(np.float64(0.25))),
        (Lift, lambda: Grid(np.int32(4), offset=np.float64(0.5))),
        (NeighborhoodKind, lambda: NearestNeighbors(np.int64(3))),
        (NeighborhoodKind, lambda: RadiusNeighbors(np.float64(0.5), 3)),
        (LieGroup, lambda: T(np.int64(3))),
    ],
)
def test_numbers_of_numpy_are_written_as_plain_ones(kind, make, no_type_checks):
    assert parse(repr(make()), kind) == parse(make().full_text(), kind) == make()


@pytest.mark.parametrize("text", ["Given(3)", "Specification()", "_Similarity()", "Affine()"])
def test_what_is_no_whole_class_cannot_be_called(text):
    with pytest.raises(ValueError, match="is unknown") as caught:
        parse(text, specification.Named)
    assert text.partition("(")[0] not in str(caught.value).partition("did you mean")[2].split()


def test_too_large_a_group_does_not_pass_for_a_wrong_text(monkeypatch):
    def too_large(n):
        raise MemoryError("not enough memory")

    monkeypatch.setitem(specification._TABLE, "SE", too_large)
    with pytest.raises(MemoryError, match="not enough memory"):
        parse("SE(3)", LieGroup)
