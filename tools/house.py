"""Counts what a redesign of the package promises: ``python -m tools.house``.

Lines of code are lines that hold more than docstrings, comments and blanks; tokens are counted
beside them, so that fewer lines that are merely longer show. Tests on lifts are ``isinstance``
calls and ``match`` cases that name a class of :mod:`eqattn.lift`, outside of it. Duplicates are
what pylint's ``duplicate-code`` finds with six similar lines or more, where pylint is installed.

``--against OTHER`` prints the counts of another checkout beside those of this one.
"""

import argparse
import ast
import io
import json
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

ROOT = Path(__file__).parents[1]
LONGEST_FILE = 400
_LAYOUT = (
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT),
    *(tokenize.ENCODING, tokenize.ENDMARKER),
)
_ARGUMENT = re.compile(r"^ +\*{0,2}[a-z_]\w*(?:, \*{0,2}[a-z_]\w*)*: (\S+)")
_IGNORE = re.compile(r"#\s*(?:pyright|type): ignore")


def count(root: Path) -> dict[str, int]:
    """Returns the counts of a checkout, by name.

    Args:
      root: Folder that holds ``eqattn``.
    """
    sources = {path: path.read_text() for path in sorted((root / "eqattn").rglob("*.py"))}
    if not sources:
        raise SystemExit(f"{root} holds no eqattn/*.py")
    trees = {path: ast.parse(text) for path, text in sources.items()}
    code = [_code(sources[path], trees[path]) for path in sources]
    lifts = _lift_classes(root, trees)
    outside = [tree for path, tree in trees.items() if (root / "eqattn/lift") not in path.parents]
    words = [word for tree in trees.values() for word in _first_words(tree)]
    return {
        "files": len(sources),
        f"files past {LONGEST_FILE} lines": sum(
            len(text.splitlines()) > LONGEST_FILE for text in sources.values()
        ),
        "lines": sum(len(text.splitlines()) for text in sources.values()),
        "lines of code": sum(lines for lines, _ in code),
        "tokens of code": sum(tokens for _, tokens in code),
        "tests on lifts outside lift/": sum(_tests_on(tree, lifts) for tree in outside),
        "pyright ignores": sum(len(_IGNORE.findall(text)) for text in sources.values()),
        "documented arguments": len(words),
        'documented arguments that begin with "of"': sum(word.lower() == "of" for word in words),
    } | _duplicates(root)


def _code(text: str, tree: ast.Module) -> tuple[int, int]:
    """Returns the lines and the tokens of a file that are neither documentation nor layout."""
    documented = {
        line
        for node in ast.walk(tree)
        if _is_documentation(node)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    lines, tokens = set(), 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in _LAYOUT or token.start[0] in documented:
            continue
        lines.update(range(token.start[0], token.end[0] + 1))
        tokens += 1
    return len(lines), tokens


def _is_documentation(node: ast.AST) -> TypeGuard[ast.Expr]:
    """Whether it is a string that stands alone: of a module, class, function or attribute."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _lift_classes(root: Path, trees: dict[Path, ast.Module]) -> frozenset[str]:
    """Returns the names of the public classes of ``eqattn/lift`` that a lift is chosen by."""
    folder = root / "eqattn" / "lift"
    names = {
        node.name
        for path, tree in trees.items()
        if folder in path.parents
        for node in tree.body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    }
    return frozenset(names - {"Lifted", "Guarantee"} | {"Strategy"})


def _tests_on(tree: ast.Module, names: frozenset[str]) -> int:
    found = 0
    for node in ast.walk(tree):
        tested: ast.AST | None = None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) > 1:
            tested = node.args[1] if node.func.id in ("isinstance", "issubclass") else None
        elif isinstance(node, ast.MatchClass):
            tested = node.cls
        elif isinstance(node, ast.Compare) and _is_type_call(node.left):
            tested = node
        found += tested is not None and not names.isdisjoint(_names(tested))
    return found


def _is_type_call(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "type"


def _names(node: ast.AST) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            yield part.id
        elif isinstance(part, ast.Attribute):
            yield part.attr


def _first_words(tree: ast.Module) -> Iterator[str]:
    """The first word of each argument and attribute that a docstring describes."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        indent = None
        for line in (ast.get_docstring(node) or "").splitlines():
            if line in ("Args:", "Attributes:"):
                indent = 0
            elif line and not line.startswith(" "):
                indent = None
            elif indent is not None and (match := _ARGUMENT.match(line)):
                own = len(line) - len(line.lstrip())
                indent = indent or own
                if own == indent:
                    yield match[1]


def _duplicates(root: Path) -> dict[str, int]:
    command = [sys.executable, "-m", "pylint", "--disable=all", "--enable=duplicate-code"]
    command += ["--min-similarity-lines=6", "--output-format=json", "--persistent=no", "eqattn"]
    process = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if "No module named pylint" in process.stderr:
        print("pylint is not installed: duplicates are not counted", file=sys.stderr)
        return {}
    messages = json.loads(process.stdout)
    if any(message["symbol"] != "duplicate-code" for message in messages):
        raise SystemExit(f"pylint failed: {messages}")
    spans = [re.findall(r"==\S+?:\[(\d+):(\d+)\]", message["message"]) for message in messages]
    return {
        "duplicates": len(messages),
        "duplicate lines": sum(int(end) - int(begin) for (begin, end), *_ in spans),
    }


def main() -> None:
    """Prints the counts, one a line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--against", type=Path, help="another checkout, to count beside this one")
    args = parser.parse_args()
    counts = count(ROOT)
    if args.against is None:
        for name, value in counts.items():
            print(f"{value:>9,}  {name}")
        return
    before = count(args.against.absolute())
    print(f"{'before':>9} {'now':>9}")
    for name, value in counts.items():
        print(f"{before.get(name, 0):>9,} {value:>9,}  {name}")


if __name__ == "__main__":
    main()
