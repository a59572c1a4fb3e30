"""Faults drawn by chance from the arithmetic of the rooms of mathematics."""

import ast
import json
import random
from pathlib import Path

from tests.mutants.faults import Edit, Fault

DRAWN = Path(__file__).parent / "drawn.json"
NUM_DRAWN, SEED = 60, 0
ROOMS = {
    "groups": ("test_laws.py", "groups", "spaces", "lift", "test_equivariance.py"),
    "spaces": ("test_laws.py", "spaces", "lift", "fields", "test_equivariance.py"),
    "representations": ("representations", "fields", "attention", "lift", "test_equivariance.py"),
    "fields": ("fields", "lift", "test_equivariance.py"),
    "lift": ("lift", "models/test_field_model.py", "test_equivariance.py"),
    "attention": ("attention", "layers", "models/test_lie_transformer.py"),
}
"""Rooms, and the tests that should notice what goes wrong in them."""
CHANGE_NOTHING = {
    ("eqattn.representations.natural.Tensor.of_linear", "out / determinant[..., None, None]"),
    (
        "eqattn.attention.representation_attention.representation_attend",
        "out - failed[..., None, None].astype(out.dtype)",
    ),
    (
        "eqattn.attention.backends.dot_product.jax_nn_softmax",
        "max(query.shape[-1], num_values) * 8",
    ),
}
"""What gives the same results: signs are ±1, failures NaN or 0, padding is cut off."""
_SWAPPED = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}


def read_drawn() -> list[Fault]:
    """The faults that were drawn."""
    return [_fault(**row) for row in json.loads(DRAWN.read_text())]


def _fault(room: str, target: str, old: str, new: str, occurrence: int) -> Fault:
    edit = Edit(target, old, new, occurrence)
    return Fault(f"{target}[{occurrence}]: {old} -> {new}", (edit,), ROOMS[room])


def draw(root: Path) -> list[dict[str, object]]:
    """Draws operators and signs, all with the same probability."""
    sites = [site for room in ROOMS for site in _sites(root, room)]
    drawn = random.Random(SEED).sample(sites, NUM_DRAWN)
    return [x for x in drawn if (x["target"], x["new"]) not in CHANGE_NOTHING]


def _sites(root: Path, room: str) -> list[dict[str, object]]:
    found = []
    for path in sorted((root / "eqattn" / room).rglob("*.py")):
        module = ".".join(path.relative_to(root).with_suffix("").parts)
        for name, function in _functions(ast.parse(path.read_text()), module):
            counts: dict[str, int] = {}
            for node in _arithmetic(function):
                old = ast.unparse(node)
                occurrence = counts.get(old, 0)
                counts[old] = occurrence + 1
                new = _changed(node)
                found.append(
                    {"room": room, "target": name, "old": old, "new": new, "occurrence": occurrence}
                )
    return found


def _functions(scope: ast.AST, name: str):
    """Functions and methods with their qualified names; those inside of others belong to them."""
    for node in getattr(scope, "body", []):
        if isinstance(node, ast.FunctionDef):
            yield f"{name}.{node.name}", node
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node, f"{name}.{node.name}")


def _arithmetic(function: ast.FunctionDef):
    """Sums, products and signs, in the order in which :mod:`tests.mutants.faults` meets them."""

    class Walk(ast.NodeVisitor):
        def __init__(self):
            self.found = []

        def visit(self, node):
            if isinstance(node, ast.Raise | ast.JoinedStr):
                return
            is_sum = isinstance(node, ast.BinOp) and type(node.op) in _SWAPPED
            is_sign = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)
            is_index = is_sign and isinstance(node.operand, ast.Constant | ast.Attribute)
            if (is_sum and not _is_text_or_tuple(node)) or (is_sign and not is_index):
                self.found.append(node)
            self.generic_visit(node)

    walk = Walk()
    for statement in function.body:
        walk.visit(statement)
    return walk.found


def _is_text_or_tuple(node: ast.BinOp) -> bool:
    parts = (node.left, node.right)
    return any(
        isinstance(part, ast.Tuple | ast.List | ast.JoinedStr)
        or (isinstance(part, ast.Constant) and isinstance(part.value, str))
        for part in parts
    )


def _changed(node: ast.expr) -> str:
    if isinstance(node, ast.UnaryOp):
        return ast.unparse(node.operand)
    assert isinstance(node, ast.BinOp)
    return ast.unparse(ast.BinOp(node.left, _SWAPPED[type(node.op)](), node.right))
