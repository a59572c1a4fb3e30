"""The house rules of the source: imports only point to lower floors, and what no file may hold.

Everything is read from the syntax tree, so that an import inside a function counts too.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "eqattn"
FILES = sorted(PACKAGE.rglob("*.py"))

FLOORS = (
    # Each line is a floor; a name is a folder or a file of the package.
    (
        "typing",
        "checks",
        "activations",
        "numerics",
        "files",
        "interruption",
        "_version",
        "_compatibility",
        "pytrees",
        "sharding",
        "cpu",
        "initial",
        "symmetric",
        "specification",
    ),
    ("neighbors",),
    ("groups",),
    ("representations",),
    ("spaces",),
    ("laws",),
    ("fields",),
    ("kernels",),
    ("lift",),
    ("attention",),
    ("testing",),
    ("layers",),
    ("models",),
    ("certificate",),
    ("config",),
    ("data",),
    ("tasks",),
    ("train",),
    ("simulation",),
    ("interop", "plot"),
    ("cli", "__main__"),
    ("__init__",),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

# Floors of the same height whose files may import each other: the lowest, and __main__ its cli.
MAY_ALSO_IMPORT = {
    "activations": {"typing"},
    "numerics": {"typing"},
    "sharding": {"typing"},
    "cpu": {"typing"},
    "initial": {"typing"},
    "symmetric": {"typing"},
    "_compatibility": {"typing", "numerics", "_version"},
    "__main__": {"cli"},
}
WITHOUT_FLAX = (
    *("neighbors", "groups", "representations", "spaces", "laws", "fields", "kernels", "lift"),
    "attention",
)
MODEL_CODE = ("attention", "layers", "models", "flax")
MAX_LINES = 600
VAGUE_NAMES = ("utils.py", "helpers.py", "common.py")


def room_of(path: Path) -> str:
    """The folder or file directly below the package that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(source: str, path: Path) -> set[str]:
    """Absolute dotted names that a source text imports; ``from a import b`` gives ``a.b``."""
    inside = ("eqattn", *path.relative_to(PACKAGE).parent.parts)
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = inside[: len(inside) - node.level + 1] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else ())))
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


def imported_rooms(source: str, path: Path) -> set[str]:
    """What a source text imports: rooms of eqattn, and other packages by their first name."""
    rooms = set()
    for name in imported_modules(source, path):
        top, _, rest = name.partition(".")
        room = rest.partition(".")[0]
        if top != "eqattn":
            rooms |= {top} - FLOOR.keys()  # the standard library's typing is no room
        elif room in FLOOR:
            rooms.add(room)
        else:  # import eqattn, or a name of eqattn/__init__.py
            rooms.add("__init__")
    return rooms


def breaches(source: str, path: Path) -> list[str]:
    """The floor rules that a source text would break at that place."""
    room = room_of(path)
    if room not in FLOOR:
        return [f"{room} has no floor"]
    found = []
    for other in sorted(imported_rooms(source, path) - {room}):
        same_floor = other in MAY_ALSO_IMPORT.get(room, ())
        if other in FLOOR and FLOOR[other] >= FLOOR[room] and not same_floor:
            found.append(f"{room} imports {other} of a floor that is not lower")
        if room in WITHOUT_FLAX and other == "flax":
            found.append(f"{room} imports flax")
        if room == "data" and other in MODEL_CODE:
            found.append(f"data imports model code: {other}")
    return found


def forbidden(source: str, path: Path) -> list[str]:
    """What else no file of the library may hold."""
    found = []
    if len(source.splitlines()) > MAX_LINES:
        found.append(f"more than {MAX_LINES} lines")
    if path.name in VAGUE_NAMES:
        found.append(f"the name {path.name}")
    if "TODO" in source:
        found.append("a TODO")
    if room_of(path) == "cli":
        return found
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called == "print":
                found.append(f"line {node.lineno}: print, where the library should log")
            if called.endswith("config.update"):
                found.append(f"line {node.lineno}: a global configuration of jax")
        if isinstance(node, ast.Assert):
            found.append(f"line {node.lineno}: assert, where users need an error")
    return found


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_package_is_found():
    assert len(FILES) > 30


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_imports_point_to_lower_floors(path):
    assert breaches(path.read_text(), path) == []


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_a_file_keeps_the_house_rules(path):
    assert forbidden(path.read_text(), path) == []


@pytest.mark.parametrize(
    ("place", "source", "rule"),
    [
        ("groups/new.py", "from eqattn.spaces import euclidean", "groups imports spaces"),
        ("groups/new.py", "def f():\n    import eqattn.lift", "groups imports lift"),
        ("representations/new.py", "from eqattn import spaces", "representations imports spaces"),
        ("spaces/new.py", "from eqattn import fields", "spaces imports fields"),
        ("spaces/new.py", "from ..fields import FieldType", "spaces imports fields"),
        ("fields.py", "import flax.nnx as nnx", "fields imports flax"),
        ("attention/new.py", "from flax import nnx", "attention imports flax"),
        ("attention/new.py", "from eqattn.testing import x", "attention imports testing"),
        ("data/new.py", "from eqattn.models import LieTransformer", "model code: models"),
        ("data/new.py", "from eqattn.attention import attend", "model code: attention"),
        ("layers/new.py", "import eqattn", "layers imports __init__"),
        ("layers/new.py", "from eqattn import LieTransformer", "layers imports __init__"),
        ("typing.py", "from eqattn.numerics import safe_norm", "typing imports numerics"),
        ("newroom.py", "", "newroom has no floor"),
    ],
)
def test_a_breach_is_caught(place, source, rule):
    assert any(rule in found for found in breaches(source, PACKAGE / place))


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("layers/new.py", "from eqattn.attention import attend\nfrom flax import nnx"),
        ("groups/new.py", "from eqattn import numerics\nfrom eqattn.groups.base import LieGroup"),
        ("groups/new.py", "from .base import LieGroup\nfrom ..typing import Array"),
        ("numerics.py", "from eqattn.typing import Array"),
        ("__init__.py", "from eqattn import cli, groups"),
    ],
)
def test_an_allowed_import_is_not(place, source):
    assert breaches(source, PACKAGE / place) == []


@pytest.mark.parametrize(
    ("place", "source", "rule"),
    [
        ("lift.py", "def f():\n    print(1)", "line 2: print"),
        ("lift.py", "import jax\njax.config.update('jax_enable_x64', True)", "line 2: a global"),
        ("lift.py", "assert True", "line 1: assert"),
        ("lift.py", "# TODO: later", "a TODO"),
        ("lift.py", "\n" * 601, "more than 600 lines"),
        ("groups/utils.py", "", "the name utils.py"),
    ],
)
def test_a_broken_house_rule_is_caught(place, source, rule):
    assert any(rule in found for found in forbidden(source, PACKAGE / place))
