"""Grids of options of which the default run takes a part, and ``make test-all`` everything."""

import itertools

import pytest


def pairwise(*axes, ids=None):
    """Parameters for the whole grid; those that no pair of options needs are marked slow.

    Every two options of different axes stand together in at least one combination that is not
    slow: what goes wrong for one option, or for two together, shows in the default run.

    Args:
      *axes: The options of each axis.
      ids: Function that gives the name of an option; ``str`` by default.
    """
    names = str if ids is None else ids
    grid = list(itertools.product(*(range(len(axis)) for axis in axes)))
    chosen = _cover(grid, [len(axis) for axis in axes])
    return [
        pytest.param(
            *(axis[i] for axis, i in zip(axes, place, strict=True)),
            id="-".join(names(axis[i]) for axis, i in zip(axes, place, strict=True)),
            marks=() if place in chosen else (pytest.mark.slow,),
        )
        for place in grid
    ]


def first_is_fast(options, num: int = 1, *, ids=None):
    """Parameters of one axis, of which all but the first few are marked slow."""
    names = str if ids is None else ids
    return [
        pytest.param(option, id=names(option), marks=() if n < num else (pytest.mark.slow,))
        for n, option in enumerate(options)
    ]


def _cover(grid, sizes):
    """Places of the grid that together hold every pair, chosen greedily."""
    if len(sizes) == 1:
        return set(grid)
    missing = {
        (a, i, b, j)
        for a, b in itertools.combinations(range(len(sizes)), 2)
        for i, j in itertools.product(range(sizes[a]), range(sizes[b]))
    }
    chosen = set()
    while missing:
        best = max(grid, key=lambda place: len(_pairs(place) & missing))
        chosen.add(best)
        missing -= _pairs(best)
    return chosen


def _pairs(place):
    numbered = enumerate(place)
    return {(a, i, b, j) for (a, i), (b, j) in itertools.combinations(numbered, 2)}
