import pytest

from eqattn.data.atoms.elements import SYMBOLS, atomic_number, element_symbol


def test_every_element_is_known_by_number_and_symbol_in_any_case():
    assert len(set(SYMBOLS)) == 118
    for number, symbol in enumerate(SYMBOLS, start=1):
        words = (symbol, symbol.upper(), symbol.lower(), f"{symbol}12", str(number))
        assert {atomic_number(word) for word in words} == {number}
        assert element_symbol(number) == symbol
    assert (element_symbol(1), element_symbol(6), element_symbol(79)) == ("H", "C", "Au")


@pytest.mark.parametrize(
    ("word", "number"), [("D", 1), ("T", 1), ("2H", 1), ("3H", 1), ("13C", 6), ("18O", 8)]
)
def test_isotopes(word, number):
    assert atomic_number(word) == number


@pytest.mark.parametrize(
    "word", ["0", "119", "Xx", "", "1C", "40C", "C-1", "CAB", "C1a", "06", "\uff11", "1_1"]
)
def test_what_is_no_element(word):
    with pytest.raises(ValueError, match="unknown element"):
        atomic_number(word)
