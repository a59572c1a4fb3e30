"""Grids of options of which the default run takes a part, and ``make test-all`` everything."""

import itertools

import pytest


def pairwise(*axes, ids=str):
    """Parameters for the whole grid; those that no pair of options needs are marked slow.

    Every two options of different axes stand together in at least one combination that is not
    slow: what goes wrong for one option, or for two together, shows in the default run.

    Args:
      *axes: The options of each axis, three axes or more.
      ids: Function that gives the name of an option.
    """
    places = list(itertools.product(*(range(len(axis)) for axis in axes)))
    return _grid(axes, places, _cover(places, [len(axis) for axis in axes]), ids)


def each_once(*axes, ids=str):
    """Parameters for the whole grid; slow but for a few in which every option stands once.

    Args:
      *axes: The options of each axis.
      ids: Function that gives the name of an option.
    """
    places = list(itertools.product(*(range(len(axis)) for axis in axes)))
    longest = max(len(axis) for axis in axes)
    chosen = {tuple(n % len(axis) for axis in axes) for n in range(longest)}
    return _grid(axes, places, chosen, ids)


def some(options, *fast, ids=str):
    """Parameters of one axis; those that are not named are marked slow.

    Args:
      options: All options.
      *fast: Options, or their names, that the default run has.
      ids: Function that gives the name of an option.
    """
    unknown = [name for name in fast if name not in [*options, *map(ids, options)]]
    assert not unknown, unknown
    return [
        pytest.param(
            option,
            id=ids(option),
            marks=() if option in fast or ids(option) in fast else pytest.mark.slow,
        )
        for option in options
    ]


def some_rows(rows, *fast, ids=str):
    """Parameters of several axes, row by row; those that are not named are marked slow.

    Args:
      rows: Tuples of an option of each axis.
      *fast: Names of the rows that the default run has, such as "SE(2)-softmax".
      ids: Function that gives the name of an option.
    """
    names = ["-".join(map(ids, row)) for row in rows]
    unknown = set(fast) - set(names)
    assert not unknown, unknown
    return [
        pytest.param(*row, id=name, marks=() if name in fast else pytest.mark.slow)
        for row, name in zip(rows, names, strict=True)
    ]


def _grid(axes, places, chosen, ids):
    return [
        pytest.param(
            *(axis[i] for axis, i in zip(axes, place, strict=True)),
            id="-".join(ids(axis[i]) for axis, i in zip(axes, place, strict=True)),
            marks=() if place in chosen else pytest.mark.slow,
        )
        for place in places
    ]


def _cover(grid, sizes):
    """Places of the grid that together hold every pair, chosen greedily."""
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
