"""The selection that is measured by default: it meets every choice, and each stated guarantee."""

import re
from pathlib import Path

import pytest

from eqattn.certificate import FIELDS, GEOMETRIES, LAYERS
from eqattn.certificate.catalog import reason_excluded
from eqattn.certificate.inputs import is_random
from eqattn.certificate.options import NEIGHBORHOODS
from eqattn.certificate.plan import (
    DATA_CASES,
    DTYPES,
    Wanted,
    choose_back_ends,
    choose_fields,
    choose_lifts,
    choose_options,
    find_case,
)
from eqattn.lift import NoLift

PLACES = {"S²": "S2", "R²×S¹": "R2xS1", "R³×S²": "R3xS2", "points lifted": "R3"}
"""Spaces of the second table, by how the first cell of a row begins."""
CONCEPTS = Path(__file__).parents[2] / "docs" / "concepts.md"
WANTED = Wanted(FIELDS, (), LAYERS, DTYPES, is_full=False)


@pytest.fixture(scope="module")
def selection():
    """Group, space, strategy, options, number type and fields of each measurement."""
    found = []
    for index, geometry in enumerate(GEOMETRIES):
        space = geometry.space
        for number, (name, strategy) in enumerate(choose_lifts(geometry, WANTED, index).items()):
            if reason_excluded(space, strategy) is not None:
                continue
            turn, draws = index + number, is_random(space, strategy)
            fields = choose_fields(FIELDS, WANTED, turn)
            found += [
                (geometry.group, geometry.name, name, options, dtype, fields)
                for options, dtype in choose_options(
                    space, strategy, WANTED, index=turn, is_random=draws
                )
            ]
    return found


def test_every_choice_is_met(selection):
    groups, names, lifts, options, dtypes, fields = zip(*selection, strict=True)
    assert set(zip(groups, names, strict=True)) == {g[:2] for g in GEOMETRIES}
    classes = {name.partition("(")[0] for name in lifts}
    assert classes == {"Haar", "Frames", "NoLift", "Grid", "Subgroup", "Coset"}
    assert {o.layer for o in options} == set(LAYERS)
    assert {o.coordinates for o in options} == {"embedding", "log", "invariants", "none"}
    assert {o.implementation for o in options} == {"dense", "folded", "chunked"}
    assert {o.neighborhood for o in options} == set(NEIGHBORHOODS)
    assert set(dtypes) == set(DTYPES)
    assert {name for chosen in fields for name in chosen} == set(FIELDS)


def test_padding_meets_every_layer_and_back_end():
    options = [o for i in range(len(DATA_CASES)) for o in choose_back_ends(i, WANTED)]
    assert {o.layer for o in options} == set(LAYERS)
    back_ends = {(o.layer == "representation", o.implementation) for o in options}
    assert back_ends == {
        *((False, name) for name in ("dense", "folded", "chunked")),
        *((True, name) for name in ("dense", "chunked")),
    }
    assert {o.neighborhood for o in options} == set(NEIGHBORHOODS)
    # Named spaces and groups alone meet every layer, and each of its back ends but for GPUs'.
    for index in range(len(DATA_CASES)):
        named = {o.layer: o for o in choose_back_ends(index, WANTED._replace(all_layers=True))}
        is_coset = isinstance(find_case(index)[1], NoLift)
        assert named.keys() == set(LAYERS) - ({"representation"} if is_coset else set())
    full = choose_back_ends(0, WANTED._replace(is_full=True))
    assert {o.implementation for o in full} >= {"pallas"}


def guarantee_rows():
    """The first two cells of each row of the table of guarantees."""
    text = CONCEPTS.read_text().partition("## What is guaranteed")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:3]] for line in text.splitlines()]
    return [row for row in rows if len(row) == 2 and re.search(r"`\w+\(", row[1])]


def test_each_row_of_the_table_of_guarantees_is_measured(selection):
    """Some group of the row with a strategy of its class."""
    assert len(guarantee_rows()) >= 9
    for groups, lift in guarantee_rows():
        places = [name for text, name in PLACES.items() if groups.startswith(text)]
        names = {name.replace("(n)", f"({n})") for name in groups.split(", ") for n in (2, 3)}
        names = {"RxSO2" if name.startswith("R₊") else name.partition(" ")[0] for name in names}
        kind = re.findall(r"`(\w+)\(", lift)[0]
        is_met = any(
            (name in places if places else g in names)
            and s.startswith(kind)
            and ("shared" in s) == ("shared" in lift)
            for g, name, s, *_ in selection
        )
        assert is_met, (groups, lift)
