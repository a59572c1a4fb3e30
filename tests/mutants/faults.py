"""Faults, and how they are planted in source."""

import ast
import dataclasses
import hashlib
from pathlib import Path

MARKER = "_planted_fault_ran"
_DEFINITION = f"""
def {MARKER}():
    import os
    with open(os.environ["EQATTN_FAULT_RAN"], "w"):
        pass
"""


class PlantingError(Exception):
    """A fault finds no place, or more than one."""


@dataclasses.dataclass(frozen=True)
class Edit:
    """One expression in the place of another.

    Attributes:
      target: Qualified name of a function, or of a constant of a module.
      old: The expression that goes, as source; None for what the function returns.
      new: The expression that comes. Without ``old`` it may use ``result``.
      occurrence: Which one of equal expressions in the function goes; None where there is only one.
    """

    target: str
    old: str | None
    new: str
    occurrence: int | None = None


@dataclasses.dataclass(frozen=True)
class Fault:
    """What is wrong, in one or more places.

    Attributes:
      name: What is wrong, in words.
      edits: The places.
      tests: Files or folders of tests that should notice, below ``tests/``.
    """

    name: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]

    @property
    def digest(self) -> str:
        """A short hash of all that is planted and asked."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:12]


def fault(name: str, tests: tuple[str, ...], *edits: tuple) -> Fault:
    """A fault by what is wrong, the tests that should notice, and the arguments of its edits."""
    return Fault(name, tuple(Edit(*edit) for edit in edits), tests)


def module_path(root: Path, target: str) -> tuple[Path, list[str]]:
    """The file that holds a qualified name, and what of the name is inside of it.

    Raises:
      PlantingError: where there is none.
    """
    parts = target.split(".")
    for size in range(len(parts) - 1, 0, -1):
        path = root.joinpath(*parts[:size]).with_suffix(".py")
        if not path.is_file():
            path = root.joinpath(*parts[:size], "__init__.py")
        if path.is_file() and (size > 1 or path.name != "__init__.py"):
            return path, parts[size:]
    raise PlantingError(f"{target} is in no module")


def plant(root: Path, fault: Fault) -> None:
    """Rewrites the sources below a folder so that they have the fault.

    Raises:
      PlantingError: where a target or an expression is not there, or is not the only one.
    """
    for edit in fault.edits:
        path, names = module_path(root, edit.target)
        tree = ast.parse(path.read_text())
        scope = _find(tree, names, edit.target)
        planted = _Planting(edit, scope)
        planted.apply()
        if not any(isinstance(n, ast.FunctionDef) and n.name == MARKER for n in tree.body):
            position = 1 if ast.get_docstring(tree) is not None else 0
            while _is_future(tree.body[position]):
                position += 1
            tree.body[position:position] = ast.parse(_DEFINITION).body
        path.unlink()  # it may be a link to the original
        path.write_text(ast.unparse(ast.fix_missing_locations(tree)))


def _is_future(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and node.module == "__future__"


def _find(tree: ast.Module, names: list[str], target: str) -> ast.AST:
    """The function, class member or assignment of that name."""
    scope: ast.AST = tree
    for name in names:
        found = [
            node
            for node in getattr(scope, "body", [])
            if getattr(node, "name", None) == name or _assigns(node, name)
        ]
        if not found:
            raise PlantingError(f"{target} is not there")
        scope = found[-1]
    return scope


def _assigns(node: ast.AST, name: str) -> bool:
    targets = [getattr(node, "target", None), *getattr(node, "targets", [])]
    return any(isinstance(target, ast.Name) and target.id == name for target in targets)


class _Planting(ast.NodeTransformer):
    """Puts the new expression in place, behind a marker that tells that it ran."""

    def __init__(self, edit: Edit, scope: ast.AST):
        self.edit, self.scope = edit, scope
        self.old = None if edit.old is None else ast.dump(_expression(edit.old))
        self.seen = 0

    def apply(self) -> None:
        for field, value in ast.iter_fields(self.scope):
            if field in ("decorator_list", "args", "returns"):
                continue
            if isinstance(value, list):
                value[:] = [self.visit(x) if isinstance(x, ast.AST) else x for x in value]
            elif isinstance(value, ast.AST):
                setattr(self.scope, field, self.visit(value))
        wanted = self.edit.occurrence
        if self.seen == 0 or (wanted is not None and self.seen <= wanted):
            raise PlantingError(f"{self.edit.target} has no {self.edit.old or 'return'}")
        if self.old is not None and wanted is None and self.seen > 1:
            raise PlantingError(f"{self.edit.target} has {self.seen} times {self.edit.old}")

    def visit_Return(self, node: ast.Return) -> ast.AST:
        if self.old is not None:
            return self.generic_visit(node)
        self.seen += 1
        change = _expression(f"lambda result: {_marked(self.edit.new)}")
        node.value = ast.Call(change, [node.value or ast.Constant(None)], [])
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return node if self.old is None else self.generic_visit(node)  # its own returns

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        return self.generic_visit(node)

    def visit(self, node: ast.AST) -> ast.AST:
        if self.old is None or not isinstance(node, ast.expr) or ast.dump(node) != self.old:
            return super().visit(node)
        index, self.seen = self.seen, self.seen + 1
        if self.edit.occurrence not in (None, index):
            return node
        return _expression(_marked(self.edit.new))


def _marked(text: str) -> str:
    """The expression after its marker: where it raises an error, it has run, too."""
    return f"({MARKER}(), ({text}))[1]"


def _expression(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body
