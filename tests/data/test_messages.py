import pytest
from hypothesis import given
from hypothesis import strategies as st

from safr.data.messages import describe_cell, list_names, refuse_unreadable, shorten_path
from safr.errors import InputError, describe_value, shorten_text

any_text = st.text(st.characters(exclude_categories=()), max_size=400)


@given(any_text)
def test_an_echo_of_anything_is_one_short_printable_line(text):
    for echo, limit in ((shorten_text(text), 60), (shorten_path(text), 100), (describe_cell(text), 60)):
        assert len(echo) <= limit
        assert echo.isprintable()


@given(st.lists(any_text, min_size=1, max_size=50))
def test_a_list_of_names_is_short(names):
    assert len(list_names(names)) <= 100
    assert list_names(names).isprintable()


def test_short_texts_and_paths_stay_and_of_a_long_path_the_end_is_shown():
    assert shorten_text("a fine film") == "a fine film"
    assert shorten_path("folder/a.csv") == "folder/a.csv"
    assert shorten_path(f"{'x' * 300}/a.csv").endswith("xxx/a.csv")


@pytest.mark.parametrize(
    "value", [10**5000, [list(range(10**5))], {"a": "b" * 10**6}, b"\0" * 10**6], ids=lambda value: type(value).__name__
)
def test_any_value_is_described_briefly(value):
    assert describe_cell(value).startswith(f"{type(value).__name__} ")
    assert len(describe_cell(value)) < 60


@pytest.mark.parametrize("error", [ValueError("a\nb " * 100), KeyError(), MemoryError(), RecursionError("deep")])
def test_any_error_of_a_reader_becomes_one_line(error):
    with (
        pytest.raises(InputError, match=r"^a\.csv: broken; write it again \(.*\)$") as caught,
        refuse_unreadable("a.csv", "broken", "write it again"),
    ):
        raise error
    assert len(str(caught.value)) < 110


def test_errors_of_the_disk_and_our_own_keep_what_they_say():
    with (
        pytest.raises(InputError, match=r"a\.csv: cannot be read \(No space left\)"),
        refuse_unreadable("a.csv", "", ""),
    ):
        raise OSError(28, "No space left")
    with pytest.raises(InputError, match=r"^mine$"), refuse_unreadable("a.csv", "", ""):
        raise InputError("mine")


def test_a_text_in_a_message_is_escaped_once():
    assert describe_value("two\nlines") == r"the text 'two\nlines'"
