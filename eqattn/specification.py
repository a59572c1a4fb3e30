"""Specifications: frozen dataclasses of plain values that say what is to be built.

A specification is at once an argument of a constructor, a value of a configuration file and a word
on the command line. Its text form is its ``repr``, ``Haar(num_samples=4)``: a call without what is
left at its default. Texts are read from the syntax tree against a closed table of names; nothing
is evaluated, and nothing is imported.
"""

import ast
import contextlib
import dataclasses
import difflib
import functools
import inspect
import math
import numbers
import reprlib
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

import numpy as np

_Maker = TypeVar("_Maker", bound=Callable[..., Any])
_Kind = TypeVar("_Kind")

_TABLE: dict[str, Callable[..., Any]] = {}
_LIBRARY = __name__.partition(".")[0]
_LONGEST_TEXT = 10_000
_TOO_LARGE = 10**308


def nameable(maker: _Maker) -> _Maker:
    """Puts a function that makes specifications into the table of names that texts may call.

    Args:
      maker: The function; texts call it by its name.

    Returns:
      The function.

    Raises:
      ValueError: For a name that the library has given to something else.
    """
    name, holder = maker.__name__, _TABLE.get(maker.__name__)
    is_taken = holder is not None and holder.__module__.partition(".")[0] == _LIBRARY
    if holder is not None and is_taken and holder.__module__ != maker.__module__:
        raise ValueError(f"{name} is the name of {holder.__module__}.{name}, choose another")
    _TABLE[name] = maker
    return maker


def computed(function: Callable[[Any], Any]) -> Any:
    """A property, where a class computes what its siblings simply set.

    Args:
      function: Function of the instance.

    >>> class Square:
    ...     side = 3
    ...     area = computed(lambda self: self.side**2)
    >>> Square().area
    9
    """
    return property(function)


class Named:
    """What has a text form: subclasses are ``@dataclass(frozen=True, repr=False)``.

    A subclass is known to texts by its name as soon as it is defined, one outside of the library
    too. Fields without a default are written without their names, as ``T(2)``.
    """

    text_name: ClassVar[str]
    """What texts call to make instances of this very class, where that is not the class: the name
    of a function, or a whole call as ``"SO(3)"``, or nothing where arrays are needed."""

    def __init_subclass__(cls, **options: Any):
        super().__init_subclass__(**options)
        nameable(cls)

    def __repr__(self) -> str:
        return self._text(is_full=False)

    def full_text(self) -> str:
        """The text form with every value written out, for files: defaults may change one day."""
        return self._text(is_full=True)

    def _text(self, *, is_full: bool) -> str:
        fields = dataclasses.fields(typing.cast(Any, self))
        values = ((field, getattr(self, field.name)) for field in fields)
        words = (
            ("" if _is_positional(field) else f"{field.name}=") + _written(value, is_full=is_full)
            for field, value in values
            if is_full or field.default is dataclasses.MISSING or value != field.default
        )
        name = vars(type(self)).get("text_name", type(self).__name__)
        if name.endswith(")"):
            return name
        return f"{name}({', '.join(words)})"


def _written(value: Any, *, is_full: bool) -> str:
    """How a value is written: a number of numpy as the plain one that it is."""
    if is_full and isinstance(value, Named):
        return value.full_text()
    return repr(value.item() if isinstance(value, np.generic) else value)


def _is_positional(field: dataclasses.Field[Any]) -> bool:
    return field.default is field.default_factory and not field.kw_only


class Specification(Named):
    """A :class:`Named` whose values are checked against the annotations of its fields.

    >>> @dataclasses.dataclass(frozen=True, repr=False)
    ... class Ring(Specification):
    ...     radius: float = 1.0
    ...     color: typing.Literal["red", "blue"] = "red"
    >>> Ring(2), parse("Ring(color='blue')", Ring)
    (Ring(radius=2.0), Ring(color='blue'))
    """

    def __post_init__(self):
        for name, hint in _hints(type(self)).items():
            value = convert(hint, getattr(self, name), f"{name} of {type(self).__name__}")
            object.__setattr__(self, name, value)


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def parse(text: str, kind: type[_Kind], where: str = "text") -> _Kind:
    """Reads a specification from its text form.

    Args:
      text: A call such as ``Haar(num_samples=4)``, with literals and further calls as arguments.
      kind: What it must be.
      where: What to call it in messages.

    Raises:
      TypeError: For a value of another type than its field.
      ValueError: For a text that is no such call, a name or an option that does not exist, or a
        value that the class refuses.
    """
    body = None
    # Python before 3.11.4 has a ValueError for null bytes.
    with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
        if len(text) <= _LONGEST_TEXT:
            body = ast.parse(text.strip(), mode="eval").body
    try:
        found = None if body is None or isinstance(body, ast.Name) else _read(body, kind, where)
    except RecursionError:
        found = None
    if not isinstance(found, kind):
        raise ValueError(
            f"{where} must be one of {', '.join(names_of(kind))}, written as "
            f"Name(option=value), got {reprlib.repr(text)}"
        )
    return found


def names_of(kind: type) -> list[str]:
    """The names that texts may call for a kind of specification, in alphabetical order.

    Args:
      kind: Class that they make instances of.
    """

    def makes(maker: Callable[..., Any]) -> bool:
        if isinstance(maker, type):
            is_hidden = not _can_be_called(maker) or "text_name" in vars(maker)
            return issubclass(maker, kind) and not is_hidden
        made = typing.get_type_hints(maker)["return"]
        return any(issubclass(one, kind) for one in typing.get_args(made) or (made,))

    return sorted(name for name, maker in _TABLE.items() if makes(maker))


def _read(node: ast.expr, kind: type, where: str) -> Any:
    match node:
        case ast.Call(func=ast.Name(id=name)):
            maker = _TABLE.get(name)
            if maker is None or not _can_be_called(maker):
                raise ValueError(f"{where}: {_shown(name)} is unknown{_instead(name, kind)}")
            return _call(maker, node, where)
        case ast.Constant(value=str() | int() | float() | None):
            return node.value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.Tuple(elts=items):
            return tuple(_read(item, Named, where) for item in items)
    shown = _shown(ast.unparse(node))
    raise ValueError(f"{where}: {shown} is neither a value nor a call by name")


def _can_be_called(maker: Callable[..., Any]) -> bool:
    """Whether texts may call it: a function, or a class that is whole and needs no arrays."""
    if not isinstance(maker, type):
        return True
    is_whole = dataclasses.is_dataclass(maker) and not inspect.isabstract(maker)
    return is_whole and not maker.__name__.startswith("_") and vars(maker).get("text_name") != ""


def _instead(name: str, kind: type) -> str:
    """What could be meant by an unknown name, for a message."""
    if kind is not Named:
        known = ", ".join(names_of(kind))
        return f", known are {known}; a class of your own must be imported first"
    callables = [known for known, maker in _TABLE.items() if _can_be_called(maker)]
    near = difflib.get_close_matches(name, callables, cutoff=0.5)
    return f", did you mean {' or '.join(near)}?" if near else ""


def _call(maker: Callable[..., Any], node: ast.Call, where: str) -> Any:
    name, signature = maker.__name__, inspect.signature(maker)
    positional = [_read(value, Named, where) for value in node.args]
    named = {k.arg or "**": _read(k.value, Named, where) for k in node.keywords}
    for option in named:
        if option not in signature.parameters:
            known = ", ".join(signature.parameters) or "none"
            raise ValueError(
                f"{where}: {name} has no option {_shown(option)}, its options are {known}"
            )
    if len(named) < len(node.keywords):
        raise ValueError(f"{where}: {name} has an option that is given twice")
    try:
        signature.bind(*positional, **named)
    except TypeError as error:
        raise ValueError(f"{where}: {name}: {error}") from None
    return maker(*positional, **named)


def convert(expected: Any, value: Any, where: str) -> Any:
    """Returns a value as an annotated type, or raises with the place named.

    Specifications may also be given by their texts, and dataclasses by mappings, as JSON has them.

    Args:
      expected: The annotation.
      value: What was given.
      where: What to call it in messages.

    Raises:
      TypeError: If a value is of another type.
      ValueError: If a name is unknown, a value is not one of the choices, or a number is not finite
        or too large.
    """
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if origin in (types.UnionType, typing.Union):
        return _convert_union(arguments, value, where)
    if origin is typing.Literal:
        if any(type(value) is type(known) and value == known for known in arguments):
            return value
        raise ValueError(f"{where} must be one of {', '.join(arguments)}, got {_shown(value)}")
    if origin is Callable and callable(value):
        return value
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(convert(arguments[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if origin in (dict, Mapping) and isinstance(value, Mapping):
        return {k: convert(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
    if isinstance(expected, type) and issubclass(expected, Named):
        return _convert_named(expected, value, where)
    if dataclasses.is_dataclass(expected) and isinstance(value, Mapping):
        return _convert_dataclass(expected, value, where)
    if expected in (int, float):
        return _convert_number(expected, value, where)
    return _checked(expected, value, where)


def _convert_named(expected: type, value: Any, where: str) -> Any:
    if isinstance(value, str):
        return parse(value, expected, where)
    if not isinstance(value, Mapping):
        return _checked(expected, value, where)
    known = {name: maker for name in names_of(expected) if isinstance(maker := _TABLE[name], type)}
    name = value.get("class")
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"{where}.class must be one of {', '.join(known)}, got {_shown(name)}")
    rest = {option: given for option, given in value.items() if option != "class"}
    return _convert_dataclass(known[name], rest, where)


def _checked(expected: Any, value: Any, where: str) -> Any:
    if isinstance(expected, type) and isinstance(value, expected):
        return value
    raise TypeError(f"{where} must be {_described(expected)}, got {_shown(value)}")


def _convert_union(choices: tuple[Any, ...], value: Any, where: str) -> Any:
    """The value as the first of the types that takes it; the last says what is wrong."""
    if value is None and type(None) in choices:
        return None
    *firsts, last = (choice for choice in choices if choice is not type(None))
    for choice in firsts:
        try:
            return convert(choice, value, where)
        except (TypeError, ValueError):
            continue
    return convert(last, value, where)


def _convert_number(expected: Any, value: Any, where: str) -> int | float:
    kind: Any = numbers.Integral if expected is int else numbers.Real
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{where} must be {_described(expected)}, got {_shown(value)}")
    number: Any = value
    if expected is int:
        if abs(number) >= 2**63:
            raise ValueError(f"{where} must be less than 2**63, got {_shown(value)}")
        return int(number)
    number = float(number) if abs(number) < _TOO_LARGE else math.inf
    if not math.isfinite(number):
        raise ValueError(f"{where} must be a finite number, got {_shown(value)}")
    return number


def _convert_dataclass(cls: Any, value: Mapping[str, Any], where: str) -> Any:
    hints = _hints(cls)
    for name in value:
        if name not in hints:
            raise ValueError(f"{where}.{name} is unknown")
    for field in dataclasses.fields(cls):
        has_default = field.default is not field.default_factory  # both are MISSING without one
        if field.name not in value and not has_default:
            raise ValueError(f"{where} lacks {field.name!r}")
    fields = {field.name: field for field in dataclasses.fields(cls)}

    def read(name: str, given: Any) -> Any:
        if fields[name].metadata.get("is_measured") and isinstance(given, float):
            return given  # finite or not
        return convert(hints[name], given, f"{where}.{name}")

    return cls(**{name: read(name, given) for name, given in value.items()})


def _shown(value: Any) -> str:
    return reprlib.repr(value)  # shortened: a message is one line


def _described(expected: Any) -> str:
    names = {int: "an integer", float: "a number", str: "a string", bool: "true or false"}
    names |= {tuple: "a list", dict: "an object", Mapping: "an object"}
    found = names.get(typing.get_origin(expected) or expected)
    is_plain = dataclasses.is_dataclass(expected) and not hasattr(expected, "full_text")
    return "an object" if is_plain else found or f"a {getattr(expected, '__name__', expected)}"
