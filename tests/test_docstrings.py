"""One dialect of docstrings in every room, as far as ruff cannot hold it."""

import ast
import re
import textwrap
from collections.abc import Iterator

import pytest

from tools import house

FILES = sorted(
    p for room in ("eqattn", "tools", "benchmarks") for p in (house.ROOT / room).rglob("*.py")
)
HEADING = re.compile(r"(Args|Attributes|Returns|Raises|Yields|Example|References):$")
ENTRY = re.compile(r"  (\*{0,2}[\w.]+(?:, \*{0,2}[\w.]+)*): (.*)$", re.DOTALL)
SMALL_WORD = re.compile(r"(?:[a-z]{2,}|a)(?=[\s,.:;-]|$)")
FRAGMENTS = re.compile(
    r"(?:After|Added|And|As|At|Before|Beside|Between|By|For|From|Likewise|Of|On|Or|That|Their|Those|"
    r"To|Under|Which|Who|With)\b"
)
"""Words that no line begins with that says what an argument is."""


def faults(docstring: str) -> Iterator[str]:
    """What differs from the dialect."""
    lines = docstring.splitlines()
    if SMALL_WORD.match(lines[0]) and "(" not in lines[0].split(" ")[0]:
        yield f"begins with a small letter: {lines[0]}"
    section, entries = None, []
    for line in [*lines, "end"]:
        if line and not line.startswith(" "):
            if section is not None:
                yield from _section_faults(section, entries)
            section = found[1] if (found := HEADING.match(line)) else None
            entries = []
        elif section is not None and line:
            indent = len(line) - len(line.lstrip())
            if indent == 2:
                entries.append(line)
            elif indent < 4 or not entries:
                yield f"indented by {indent}: {line}"
            else:
                entries[-1] += "\n" + line


def _section_faults(section: str, entries: list[str]) -> Iterator[str]:
    if section in ("Example", "References"):
        return
    if section in ("Returns", "Yields"):
        entries = ["\n".join(entries)]
    for entry in entries:
        match = ENTRY.match(entry)
        if section in ("Args", "Attributes", "Raises") and match is None:
            yield f"has no name and text: {entry}"
            continue
        text = match[2] if match and section not in ("Returns", "Yields") else entry.strip()
        if SMALL_WORD.match(text):
            yield f"begins with a small letter: {entry}"
        if section in ("Args", "Attributes") and FRAGMENTS.match(text):
            yield f"does not say what it is: {entry}"
        if not re.search(r"[.!?:]$", text) and ">>>" not in text:
            yield f"has no full stop: {entry}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(house.ROOT)))
def test_docstrings_are_of_one_dialect(path):
    wrong = [
        (getattr(node, "name", "module"), fault)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        for fault in faults(ast.get_docstring(node) or ".")
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        ("  x: Points.", None),
        ("  x: Points that were\n    moved.", None),
        ("  x: φ, in radians.", None),
        ("    x: Points.", "indented by 4"),
        ("  x: Points.\n   Moved.", "indented by 3"),
        ("  x: points.", "begins with a small letter"),
        ("  x: a point.", "begins with a small letter"),
        ("  x: Points", "has no full stop"),
        ("  x: Of the points.", "does not say what it is"),
        ("  x: For the points.", "does not say what it is"),
        ("  The points.", "has no name and text"),
    ],
)
def test_what_is_no_dialect_of_ours(written, fault):
    found = list(faults(textwrap.dedent(f"Moves points.\n\nArgs:\n{written}\n\nReturns:\n  Them.")))
    assert [text.split(":")[0] for text in found] == ([] if fault is None else [fault])
