"""Field types: direct sums of representations, how they are written, and how features transform."""

import dataclasses
import itertools
import math
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import jax.numpy as jnp
import numpy as np

from eqattn import numerics
from eqattn.checks import check_instance, check_sizes
from eqattn.fields.action import GroupAction, Section
from eqattn.fields.gauges import Gauge
from eqattn.groups.base import LieGroup, has_scalings
from eqattn.representations import (
    CustomRepresentation,
    Irrep,
    NaturalRepresentation,
    Representation,
    Tensor,
)
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
      multiplicity: How many fields of the representation.
      representation: The representation ρ of each.
      weight: Scale weight w: ρ(g) has the factor s^w, for s the factor by which g stretches
        lengths. 0 for values that do not change with scale, 1 for vectors between points.
      gauge: Gauge in which ρ is one of the stabilizer; None where it is one of the group.
    """

    multiplicity: int
    representation: Representation
    weight: float = 0.0
    gauge: Gauge | None = None

    def group(self, space: Space) -> LieGroup:
        """The group that ρ is a representation of: that of the space, or its stabilizer."""
        return space.group if self.gauge is None else space.stabilizer

    def size(self, space: Space) -> int:
        """Number of channels of one field on a space."""
        return self.representation.size(self.group(space))

    def check(self, space: Space) -> None:
        """Makes sure that such fields make sense on a space; raises as :meth:`FieldType.check`."""
        if self.gauge is not None:
            self.gauge.check(space)
        self.representation.check(self.group(space))
        if self.weight and not has_scalings(space.group):
            raise ValueError(
                f"scale weight of {self.single} needs a group with scalings, got {space.group}"
            )

    def matrix(self, action: GroupAction) -> Float[Array, "*B r r"]:
        """ρ(g) of one field."""
        if self.gauge is not None:
            action = action.in_gauge(self.gauge.section)
        matrix = action.matrix(self.representation)
        if self.weight:
            log_scale = action.space.group.log_scale(action.element)
            matrix = matrix * jnp.exp(self.weight * log_scale)[..., None, None]
        return matrix

    @property
    def is_trivial(self) -> bool:
        """Whether ρ is trivial whatever the group."""
        return self.representation.is_trivial and self.weight == 0

    def __str__(self) -> str:
        return f"{self.multiplicity}x {self.single}"

    @property
    def single(self) -> str:
        """The representation with its gauge and weight, without the multiplicity."""
        text = str(self.representation)
        if self.gauge is not None:
            text = f"gauge({', '.join(filter(None, (text, self.gauge.name)))})"
        return f"{text}[{self.weight:g}]" if self.weight else text


@dataclasses.dataclass(frozen=True)
class FieldType:
    """A direct sum of representations, such as scalars and vectors.

    Features hold the terms in order, each field of a term as consecutive channels. Written, a term
    is ``[N x] kind [weight]`` with the kinds

    * ``scalar``, ``pseudoscalar`` (its sign changes under reflections),
    * ``vector``, ``pseudovector`` (in space: what a cross product gives),
    * ``tensor(k)``, ``pseudotensor(k)``: V^k components, row-major,
    * ``irrep(l)``, ``irrep(l, even)``, ``irrep(l, odd)``: those of rotations and reflections, see
      :class:`eqattn.representations.Irrep`; ``symmetric_traceless(k)`` is the same as ``irrep(k)``,
    * ``gauge(kind)``: components in the section's gauge, see :class:`eqattn.fields.Gauge`,

    and a scale weight in brackets where the group has scalings: ``vector[1]`` for differences of
    points. Any other :class:`eqattn.representations.Representation` makes a :class:`Term`, too; one
    that a function gives is made by :func:`eqattn.fields.custom`. Types add up.

    Args:
      terms: The :class:`Term` s.

    Raises:
      TypeError: For a representation of another type.
      ValueError: For a multiplicity below 1, a weight that is not finite, no terms, or a
        representation in a gauge that is not a :class:`NaturalRepresentation`.

    >>> import eqattn
    >>> space = eqattn.spaces.euclidean(eqattn.groups.SE(3))
    >>> FieldType.parse("4x scalar + 2x pseudovector + irrep(2)").size(space)
    15
    """

    terms: tuple[Term, ...]

    def __post_init__(self):
        if not self.terms:
            raise ValueError("terms of a field type must not be empty")
        for multiplicity, representation, weight, gauge in self.terms:
            check_sizes({"multiplicity of a field": multiplicity})
            check_instance("representation of a field", representation, Representation)
            if not math.isfinite(weight):
                raise ValueError(f"scale weight of a field must be finite, got {weight}")
            # Of the stabilizer's elements, which are stored as those of the group, only what they
            # do to vectors is known.
            if gauge is not None and not isinstance(representation, NaturalRepresentation):
                raise ValueError(
                    "representation of a gauge field must be a NaturalRepresentation, got "
                    f"{representation}"
                )

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
                raise ValueError(
                    f"field type {text!r} has the unreadable term {part.strip()!r}{_hint(part)}"
                )
            single, weight = _read_kind(match[2], match[3]), _read_weight(match[4])
            terms.append(single._replace(multiplicity=int(match[1] or 1), weight=weight))
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
        sizes = ((term.size(space),) * term.multiplicity for term in self.terms)
        return tuple(itertools.chain.from_iterable(sizes))

    def split(
        self, space: Space, features: Float[Array, "*B C"]
    ) -> Iterator[tuple[Term, Float[Array, "*B _"]]]:
        """Each term with the channels of its fields."""
        widths = [term.multiplicity * term.size(space) for term in self.terms]
        return zip(self.terms, jnp.split(features, np.cumsum(widths)[:-1], axis=-1), strict=True)

    @property
    def is_scalar(self) -> bool:
        """Whether ρ is trivial, whatever the group."""
        return all(term.is_trivial for term in self.terms)

    def check(self, space: Space) -> None:
        """Makes sure that such fields make sense on a space.

        Raises:
          ValueError: For a term that the space's group cannot act on, such as a pseudovector in
            the plane, an irrep of a group other than rotations and reflections, a scale weight
            without scalings, or a representation that is none of the group.
        """
        for term in self.terms:
            term.check(space)
            if term.representation.is_restricted:
                raise ValueError(
                    f"{term.representation} cannot be the type of a field: it represents only "
                    f"some of the elements of {space.group}"
                )

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
        action = GroupAction(space, elements, inverse=inverse, points=points, images=images)
        parts = [_apply(term, action, part) for term, part in self.split(space, features)]
        parts = [jnp.broadcast_to(part, (*batch, part.shape[-1])) for part in parts]
        return jnp.concatenate(parts, axis=-1)

    def __add__(self, other: "FieldType") -> "FieldType":
        return FieldType(self.terms + other.terms)

    def __str__(self) -> str:
        return " + ".join(map(str, self.terms))


def _apply(term: Term, action: GroupAction, part: Array) -> Array:
    """Applies ρ(g) to the fields of a term, without a lower-precision product."""
    if term.is_trivial:
        return part
    matrix = term.matrix(action)
    values = part.reshape(*part.shape[:-1], term.multiplicity, matrix.shape[-1])
    values = numerics.at_least_float32(values)
    moved = jnp.sum(matrix[..., None, :, :] * values[..., None, :], axis=-1)
    moved = moved.reshape(*moved.shape[:-2], part.shape[-1])
    return moved.astype(part.dtype) if jnp.issubdtype(part.dtype, jnp.floating) else moved


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


def _hint(part: str) -> str:
    """How a term is written here that is written as e3nn does."""
    match = re.fullmatch(r"(?:(\d+)x)?(\d+)([eo])", part.strip())
    if match is None:
        return ""
    copies, degree, parity = match.groups()
    names = {"0e": "scalar", "0o": "pseudoscalar", "1o": "vector", "1e": "pseudovector"}
    name = names.get(degree + parity, f"irrep({degree}, {'even' if parity == 'e' else 'odd'})")
    single = FieldType.parse(name).terms[0]
    written = single._replace(multiplicity=int(copies or 1))
    return f", which is written {str(written)!r}"


def _read_kind(name: str, argument: str | None) -> Term:
    """A single field, with neither multiplicity nor weight."""
    if name in _TENSORS and argument is None:
        return Term(1, _TENSORS[name])
    if name not in KINDS:
        raise ValueError(f"kind of a field must be one of {KINDS}, got {name!r}")
    if name in _TENSORS or not argument:
        written = f"{name}({argument})" if argument is not None else name
        raise ValueError(f"kind must be written {_WITH_ARGUMENTS.get(name, name)}, got {written!r}")
    if name == "gauge":
        return _in_gauge(argument, Gauge())
    number, _, parity = (part.strip() for part in argument.partition(","))
    readable = re.fullmatch(r"\d+", number) and (not parity or name == "irrep")
    if not readable or (parity not in ("", "even", "odd")):
        raise ValueError(
            f"kind must be written {_WITH_ARGUMENTS[name]}, got {f'{name}({argument})'!r}"
        )
    if name.endswith("tensor"):
        return Term(1, Tensor(int(number), name == "pseudotensor"))
    if int(number) == 0:
        return Term(1, Tensor(0, parity == "odd"))
    return Term(1, Irrep(int(number), cast(Any, parity or None)))


def _in_gauge(text: str, gauge: Gauge) -> Term:
    """The one field that is written, in a gauge."""
    field = FieldType.parse(text)
    term, *others = field.terms
    if others or term.multiplicity > 1 or term.weight:
        raise ValueError(f"kind of a gauge field must be a single one, got {field}")
    if term.gauge is not None:
        raise ValueError(f"kind of a gauge field must not be {term.single}")
    return term._replace(gauge=gauge)


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
    return FieldType((Term(num, CustomRepresentation(fn, channels), weight),))


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
    return FieldType((_in_gauge(kind, Gauge(section))._replace(multiplicity=num),))
