import pytest
from hypothesis import given
from hypothesis import strategies as st

from safr.errors import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a good film", "a good film"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\u202efilm\u200b", "\\u202efilm\\u200b"),
        ("\x9b1m", "\\x9b1m"),
        ("\ud800", "\\ud800"),
        ("漢字 é 👩 '\"\\", "漢字 é 👩 '\"\\"),
        ("", ""),
    ],
)
def test_what_could_drive_a_terminal_is_shown_as_an_escape(text, shown):
    assert printable(text) == shown


@given(st.text(st.characters(exclude_categories=())))
def test_printable_text_is_printable_and_nothing_else_is_changed(text):
    assert printable(text).isprintable()
    printable(text).encode("utf-8")
    if text.isprintable():
        assert printable(text) == text
