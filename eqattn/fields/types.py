"""Field types: direct sums of kinds, how they are written, and how features of them transform."""

import dataclasses
import functools
import itertools
import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax.numpy as jnp

from eqattn import numerics
from eqattn.checks import check_sizes
from eqattn.fields.action import GroupAction, Section, has_scalings
from eqattn.fields.kinds import Custom, Gauge, Irrep, Kind, Natural, Parity, Tensor
from eqattn.spaces.base import Space
from eqattn.typing import Array, Float

_TERM = re.compile(r"(?:(\d+)\s*x\s*)?([a-z_]+)\s*(?:\((.*)\))?\s*(?:\[([^][]*)\])?")
_TENSORS = {
    "scalar": Tensor(0),
    "pseudoscalar": Tensor(0, pseudo=True),
    "vector": Tensor(1),
    "pseudovector": Tensor(1, pseudo=True),
}
_WITH_ARGUMENTS = {
    "tensor": "tensor(rank)",
    "pseudotensor": "pseudotensor(rank)",
    "symmetric_traceless": "symmetric_traceless(rank)",
    "irrep": "irrep(degree) or irrep(degree, parity)",
    "gauge": "gauge(kind)",
}
KINDS = (*_TENSORS, *_WITH_ARGUMENTS)
"""Names of the kinds that can be written."""


class Term(NamedTuple):
    """One term of a direct sum.

    Attributes:
      multiplicity: How many fields of the kind.
      kind: The representation of each.
      weight: Scale weight w: ρ(g) has the factor s^w, for s the factor by which g stretches
        lengths. 0 for values that do not change with scale, 1 for vectors between points.
    """

    multiplicity: int
    kind: Kind
    weight: float = 0.0

    @property
    def is_trivial(self) -> bool:
        """Whether ρ is trivial whatever the group."""
        return self.kind.is_trivial and self.weight == 0

    def __str__(self) -> str:
        return f"{self.multiplicity}x {self.single}"

    @property
    def single(self) -> str:
        """The kind with its weight, without the multiplicity."""
        return f"{self.kind}[{self.weight:g}]" if self.weight else str(self.kind)


@dataclasses.dataclass(frozen=True)
class FieldType:
    """A direct sum of representations, such as scalars and vectors.

    Features hold the terms in order, each field of a term as consecutive channels. Written, a term
    is ``[N x] kind [weight]`` with the kinds

    * ``scalar``, ``pseudoscalar`` (its sign changes under reflections),
    * ``vector``, ``pseudovector`` (in space: what a cross product gives),
    * ``tensor(k)``, ``pseudotensor(k)``: V^k components, row-major,
    * ``irrep(l)``, ``irrep(l, even)``, ``irrep(l, odd)``: see :class:`eqattn.fields.Irrep`;
      ``symmetric_traceless(k)`` is another name of ``irrep(k)``,
    * ``gauge(kind)``: components in the section's gauge, see :class:`eqattn.fields.Gauge`,

    and a scale weight in brackets where the group has scalings: ``vector[1]`` for differences of
    points. Representations of other kinds are made by :func:`eqattn.fields.custom`. Types add up.

    Args:
      terms: The :class:`Term` s.

    Raises:
      ValueError: For a multiplicity below 1, a weight that is not finite, or no terms.

    >>> import eqattn
    >>> space = eqattn.spaces.euclidean(eqattn.groups.SE(3))
    >>> FieldType.parse("4x scalar + 2x pseudovector + irrep(2)").size(space)
    15
    """

    terms: tuple[Term, ...]

    def __post_init__(self):
        if not self.terms:
            raise ValueError("terms of a field type must not be empty")
        for multiplicity, _, weight in self.terms:
            check_sizes({"multiplicity of a field": multiplicity})
            if not math.isfinite(weight):
                raise ValueError(f"scale weight of a field must be finite, got {weight}")

    @classmethod
    def parse(cls, text: str) -> "FieldType":
        """Reads a direct sum such as ``"8x scalar + 2x vector[1] + irrep(2, odd)"``.

        Raises:
          ValueError: If a term is not ``[N x] kind [weight]`` with a known kind.
        """
        terms = []
        for part in _split(text):
            match = _TERM.fullmatch(part.strip())
            if match is None:
                raise ValueError(f"field type {text!r} has the unreadable term {part.strip()!r}")
            kind = _read_kind(match[2], match[3])
            terms.append(Term(int(match[1] or 1), kind, _read_weight(match[4])))
        return cls(tuple(terms))

    @classmethod
    def read(cls, field: "FieldType | str") -> "FieldType":
        """Returns a field type as it is, or the one that is written.

        Args:
          field: The field type, or how it is written.

        Raises:
          ValueError: As :meth:`parse`.
        """
        return cls.parse(field) if isinstance(field, str) else field

    def size(self, space: Space) -> int:
        """Number of channels on a space."""
        return sum(self.widths(space))

    def widths(self, space: Space) -> tuple[int, ...]:
        """Numbers of channels on a space of each single field, in order."""
        sizes = ((term.kind.size(space),) * term.multiplicity for term in self.terms)
        return tuple(itertools.chain.from_iterable(sizes))

    @property
    def is_scalar(self) -> bool:
        """Whether ρ is trivial, whatever the group."""
        return all(term.is_trivial for term in self.terms)

    def check(self, space: Space) -> None:
        """Makes sure that such fields make sense on a space.

        Raises:
          ValueError: For a term that the space's group cannot act on, such as a pseudovector in
            the plane, an irrep of a group other than rotations and reflections, a scale weight
            without scalings, or a custom function that is no representation.
        """
        _check(self, space)

    def transform(
        self,
        space: Space,
        elements: Float[Array, "*#B E"],
        features: Float[Array, "*#B C"],
        *,
        inverse: bool = False,
        points: Float[Array, "*#B D"] | None = None,
        images: Float[Array, "*#B D"] | None = None,
    ) -> Float[Array, "*B C"]:
        """Applies ρ(g), or ρ(g)⁻¹: elementwise, in float32 or wider.

        Args:
          space: Where the field lives; its group gives ρ.
          elements: Group elements g.
          features: Values of the field.
          inverse: Whether to apply the inverse.
          points: Where the values are before g moves them (with ``inverse``: after it is undone).
            Only values in a gauge depend on it; by default the origin, as in a lift.
          images: g applied to ``points``, where that is known more precisely than by computing it.

        Raises:
          ValueError: If the field makes no sense on the space (see :meth:`check`), or the channels
            of ``features`` are not those of this type.
        """
        self.check(space)
        expected = self.size(space)
        if features.shape[-1] != expected:
            raise ValueError(
                f"features of field type {self} must have {expected} channels, "
                f"got shape {features.shape}"
            )
        given = [x.shape[:-1] for x in (elements, features, points, images) if x is not None]
        batch = jnp.broadcast_shapes(*given)
        if self.is_scalar:
            return jnp.broadcast_to(features, (*batch, expected))
        action = GroupAction(space, elements, inverse=inverse, points=points, images=images)
        parts, start = [], 0
        for term in self.terms:
            width = term.multiplicity * term.kind.size(space)
            part = _apply(term, action, features[..., start : start + width])
            parts.append(jnp.broadcast_to(part, (*batch, width)))
            start += width
        return jnp.concatenate(parts, axis=-1)

    def __add__(self, other: "FieldType") -> "FieldType":
        return FieldType(self.terms + other.terms)

    def __str__(self) -> str:
        return " + ".join(map(str, self.terms))


def matrix_of(term: Term, action: GroupAction) -> Float[Array, "*B r r"]:
    """ρ(g) of one field of a term."""
    matrix = term.kind.matrix(action)
    if term.weight:
        matrix = matrix * jnp.exp(term.weight * term.kind.log_scale(action))[..., None, None]
    return matrix


def _apply(term: Term, action: GroupAction, part: Array) -> Array:
    """Applies ρ(g) to the fields of a term, without a lower-precision product."""
    if term.is_trivial:
        return part
    matrix = matrix_of(term, action)
    values = part.reshape(*part.shape[:-1], term.multiplicity, matrix.shape[-1])
    values = numerics.at_least_float32(values)
    moved = jnp.sum(matrix[..., None, :, :] * values[..., None, :], axis=-1)
    moved = moved.reshape(*moved.shape[:-2], part.shape[-1])
    return moved.astype(part.dtype) if jnp.issubdtype(part.dtype, jnp.floating) else moved


@functools.cache
def _check(field: FieldType, space: Space) -> None:
    for term in field.terms:
        term.kind.check(space)
        if term.weight and not has_scalings(space.group):
            raise ValueError(
                f"scale weight of {term.single} needs a group with scalings, got {space.group}"
            )


def _split(text: str) -> list[str]:
    """The terms between plus signs outside of brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([") - (character in ")]")
        if character == "+" and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _read_weight(text: str | None) -> float:
    try:
        return 0.0 if text is None else float(text)
    except ValueError:
        raise ValueError(f"scale weight of a field must be a number, got {text!r}") from None


def _read_kind(name: str, argument: str | None) -> Kind:
    if name in _TENSORS and argument is None:
        return _TENSORS[name]
    if name not in KINDS:
        raise ValueError(f"kind of a field must be one of {KINDS}, got {name!r}")
    if name in _TENSORS or not argument:
        written = f"{name}({argument})" if argument is not None else name
        raise ValueError(f"kind must be written {_WITH_ARGUMENTS.get(name, name)}, got {written!r}")
    if name == "gauge":
        return _gauge_of(FieldType.parse(argument))
    number, _, parity = (part.strip() for part in argument.partition(","))
    readable = re.fullmatch(r"\d+", number) and (not parity or name == "irrep")
    if not readable or (parity not in ("", "even", "odd")):
        raise ValueError(
            f"kind must be written {_WITH_ARGUMENTS[name]}, got {f'{name}({argument})'!r}"
        )
    if name.endswith("tensor"):
        return Tensor(int(number), name == "pseudotensor")
    return _irrep(int(number), parity or None)


def _irrep(degree: int, parity: Parity | str | None) -> Kind:
    """The irrep; in degree 0 a scalar or pseudoscalar."""
    if degree == 0:
        return Tensor(0, parity == "odd")
    return Irrep(degree, cast(Any, parity))


def _gauge_of(field: FieldType, section: Section | None = None) -> Gauge:
    """The one kind of a field type, in a gauge."""
    term, *others = field.terms
    if others or term.multiplicity > 1 or term.weight:
        raise ValueError(f"kind of a gauge field must be a single one, got {field}")
    if not isinstance(term.kind, Natural):
        raise ValueError(f"kind of a gauge field must not be {term.kind}")
    return Gauge(term.kind, section)


def scalars(num: int = 1) -> FieldType:
    """The type of ``num`` scalar channels."""
    return FieldType((Term(num, Tensor(0)),))


def vectors(num: int = 1) -> FieldType:
    """The type of ``num`` vectors."""
    return FieldType((Term(num, Tensor(1)),))


def custom(
    fn: Callable[[Array], Array], channels: int, num: int = 1, *, weight: float = 0.0
) -> FieldType:
    """The type of ``num`` fields of a representation that a function gives.

    Args:
      fn: Function of elements [*B E] that gives matrices [*B r r], with fn(g h) = fn(g) fn(h);
        samples of the group are checked for that.
      channels: Number of channels r.
      num: Multiplicity.
      weight: Scale weight.

    Raises:
      ValueError: For ``channels`` or ``num`` below 1.

    >>> import eqattn
    >>> space = eqattn.spaces.euclidean(eqattn.groups.SE(3))
    >>> motions = custom(space.group.adjoint, 6)  # angular and linear velocities: twists
    >>> turn = space.group.exp(jnp.array([0.0, 0.0, jnp.pi / 2, 0.0, 0.0, 0.0]))
    >>> motions.transform(space, turn, jnp.arange(6.0)).round(4).tolist()
    [-1.0, 0.0, 2.0, -4.0, 3.0, 5.0]
    """
    return FieldType((Term(num, Custom(fn, channels), weight),))


def gauge(kind: str, section: Section | None = None, num: int = 1) -> FieldType:
    """The type of ``num`` fields in the gauge of a section: see :class:`eqattn.fields.Gauge`.

    Args:
      kind: Representation of the stabilizer, such as ``"vector"`` or ``"irrep(2)"``.
      section: Function of points [*B D] that gives elements [*B E] which take the origin to them;
        that of the space by default.
      num: Multiplicity.

    Raises:
      ValueError: If ``kind`` is not a single kind with a name.

    >>> str(gauge("vector", num=2))
    '2x gauge(vector)'
    """
    return FieldType((Term(num, _gauge_of(FieldType.parse(kind), section)),))
