import pytest

from safr.errors import InputError
from safr.figures.words import LONGEST_WORD, NOTHING_TO_SEE, drawable_text, drawable_words


def test_an_ordinary_word_stays_as_it_is():
    assert [drawable_text(word) for word in ("film", "$5", "naïve", "漢字", "שלום", "😀")] == [
        "film",
        "$5",
        "naïve",
        "漢字",
        "שלום",
        "😀",
    ]


def test_a_long_word_ends_in_an_ellipsis_at_the_longest_length():
    short = drawable_text("x" * 60)
    assert len(short) == LONGEST_WORD
    assert short.endswith("…")


@pytest.mark.parametrize("character", ["\x00", "\x07", "\x7f", "\ud800", "\ufffe", "\uffff", "\ufdd0"])
def test_a_character_that_xml_forbids_is_replaced(character):
    assert drawable_text(f"a{character}b") == "a\ufffdb"


@pytest.mark.parametrize("word", ["", " ", "\n\t", "\u2003"])
def test_a_word_with_nothing_to_see_gets_a_mark(word):
    assert drawable_text(word) == NOTHING_TO_SEE


def test_line_breaks_inside_a_word_become_a_blank():
    assert drawable_text("a\r\nb\u2028c") == "a b c"


def test_repeated_words_stay_apart():
    assert drawable_words(["so", "so", "good"]) == ["so", "so", "good"]


def test_a_string_in_place_of_words_is_an_error():
    with pytest.raises(InputError, match=r"list of words, got one string; try text.split\(\)"):
        drawable_words("so good")


def test_no_words_is_an_error():
    with pytest.raises(InputError, match="at least one word, got none"):
        drawable_words([])
