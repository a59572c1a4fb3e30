"""Text files of other programs, and the numbers in them: what the formats allow, and no more.

Python's ``float`` and ``int`` take more than any format means: ``1_1`` is 11 to them, and ``nan``,
``infinity`` and digits of other scripts are numbers. They also take less: Fortran writes the
exponent of ``1.0D+00`` with another letter, and the files of QM9 write ``6.0*^-3``.
"""

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path

_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:(?:[eEdD]|\*\^)[+-]?[0-9]+)?")
_EXPONENT = re.compile(r"[dD]|\*\^")
_PLAIN = re.compile(r"[0-9eE+\-. ]*")  # of these characters float() makes what they mean
_LONGEST = 18  # digits of an integer that numpy holds


def read_text(path: Path, kind: str, *, encoding: str = "utf-8") -> str:
    r"""Returns the text of a file without a byte order mark; all line ends become ``\n``.

    Args:
      path: The file.
      kind: What it is to be, for the message, such as "an xyz file".
      encoding: How bytes become letters; "latin-1" takes all bytes.

    Raises:
      OSError: If there is no such file.
      ValueError: If it is not text in this encoding.
    """
    content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not {kind}: it is not text.") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def to_float(word: str) -> float:
    """Returns a number that is written with digits; its exponent begins with e, E, d, D or ``*^``.

    Example:
      >>> [to_float(word) for word in ("-.5", "1.5D+01", "6.25*^-2")]
      [-0.5, 15.0, 0.0625]

    Args:
      word: Letters of the word, without white space.

    Raises:
      ValueError: If it is no such number.
    """
    if not _NUMBER.fullmatch(word):
        raise ValueError(f"{word[:60]!r} is not a number")
    return float(_EXPONENT.sub("e", word))


def to_floats(words: Sequence[str]) -> list[float]:
    """Returns numbers as `to_float` does; white space around them is passed over.

    Args:
      words: Letters of the words.

    Raises:
      ValueError: If one of them is no number.
    """
    if _PLAIN.fullmatch("".join(words)):  # several times as fast, for tables of millions
        with contextlib.suppress(ValueError):
            return [float(word) for word in words]
    return [to_float(word.strip()) for word in words]


def to_integer(word: str) -> int:
    """Returns an integer that is written with the digits 0 to 9, perhaps with a sign.

    Args:
      word: Letters of the word, without white space.

    Raises:
      ValueError: If it is no integer, or has more than 18 digits.
    """
    if not _INTEGER.fullmatch(word) or len(word) > _LONGEST:
        raise ValueError(f"{word[:60]!r} is not an integer")
    return int(word)
