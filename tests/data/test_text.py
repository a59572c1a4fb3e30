import numpy as np
import pytest

from eqattn.data.text import read_text, to_float, to_floats, to_integer


@pytest.mark.parametrize(
    ("word", "value"),
    [("1.5", 1.5), ("-.5", -0.5), ("+2.", 2.0), ("1e-3", 1e-3), ("1D+01", 10.0), ("6*^-3", 6e-3)],
)
def test_numbers(word, value):
    assert to_float(word) == value
    assert to_floats([word, " 2 "]) == [value, 2.0]


@pytest.mark.parametrize("word", ["1_1", "nan", "inf", "-Infinity", "\uff11", "1,5", "1d", "", "."])
def test_what_python_takes_and_no_format_means(word):
    with pytest.raises(ValueError, match="is not a number"):
        to_float(word)
    with pytest.raises(ValueError, match="is not a number"):
        to_floats(["1.0", word])


def test_integers():
    assert [to_integer(word) for word in ("12", "-3", "+4")] == [12, -3, 4]
    for word in ("1_1", "1.0", "\uff11", "", "1" * 19):
        with pytest.raises(ValueError, match="is not an integer"):
            to_integer(word)


def test_the_bits_are_those_of_python():
    words = [repr(x) for x in np.random.default_rng(0).normal(size=100).tolist()]
    assert to_floats(words) == [to_float(word) for word in words] == [float(w) for w in words]


def test_marks_and_line_ends_are_not_text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfa\r\nb\rc\n")
    assert read_text(path, "a text") == read_text(path, "a text", encoding="latin-1") == "a\nb\nc\n"
    path.write_bytes(b"\xff")
    assert read_text(path, "a text", encoding="latin-1") == "\xff"
    with pytest.raises(ValueError, match=r"a\.txt is not a text: it is not text"):
        read_text(path, "a text")
