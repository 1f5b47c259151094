import io
from dataclasses import replace

import numpy as np
import pytest

from safr.attribution.explain import explain
from safr.cli.console import CommandConsole
from safr.cli.explanations import list_words, print_explanation, shade_words
from safr.cli.shades import style_score
from safr.config import Regularization
from tests import tiny

WORDS = "the film was funny but the cast was dull"


def explanation(text=WORDS):
    return explain(tiny.model(Regularization(vmask_width=8)), tiny.tokenizer(), text)


@pytest.fixture(scope="module")
def by_capacity():
    """Nine words, of which two stand out."""
    capacity = np.array([0.1, 0.45, 0.0, 0.85, 0.12, 0.1, 0.3, 0.01, 0.25])
    return replace(explanation(), explaining_capacity=capacity)


@pytest.fixture(scope="module")
def by_relevance():
    """The same words with scores for and against a class."""
    scores = np.array([0.0, 0.2, 0.001, 0.8, -0.1, 0.0, -0.001, 0.0, -0.75])
    return replace(explanation(), method="relevance", target="good", scores=scores)


def show(made, **options):
    """What is printed, by lines; by default in a pipe."""
    console = CommandConsole(file=io.StringIO(), **options)
    print_explanation(console, made)
    return console.file.getvalue().splitlines()


def test_every_word_is_shaded_by_its_capacity(by_capacity):
    line = shade_words(by_capacity)
    assert line.plain == f"{WORDS} "
    shades = {line.plain[span.start : span.end]: str(span.style) for span in line.spans}
    assert shades == {
        "film": style_score(0.45, 1.0),
        "funny": f"bold underline {style_score(0.85, 1.0)}",
        "cast": style_score(0.3, 1.0),
        "dull": style_score(0.25, 1.0),
    }


def test_a_shade_of_capacity_means_the_same_in_every_text(by_capacity):
    halved = shade_words(replace(by_capacity, explaining_capacity=by_capacity.capacity / 2))
    assert [halved.plain[span.start : span.end] for span in halved.spans] == ["film", "funny"]


def test_words_against_the_class_have_a_minus_and_those_of_no_account_have_none(by_relevance):
    line = shade_words(by_relevance)
    assert line.plain == "the film was funny -but the cast was -dull "
    shades = {line.plain[span.start : span.end]: str(span.style) for span in line.spans}
    assert shades["-dull"] == style_score(-0.75, 0.8)
    assert shades["funny"] == f"bold underline {style_score(0.8, 0.8)}"


def test_a_terminal_shows_the_key_and_the_strongest_words_with_bars_and_numbers(by_capacity):
    lines = show(by_capacity, width=80, force_terminal=True, color_system=None)
    assert lines[-6:] == [
        "5 of 9 words by capacity",
        "funny  █████████████████···  0.85",
        "film   █████████···········  0.45",
        "cast   ██████··············  0.30",
        "dull   █████···············  0.25",
        "but    ██▍·················  0.12",
    ]
    coloured = "\n".join(show(by_capacity, width=80, force_terminal=True, color_system="truecolor"))
    assert "Bluer words have a higher capacity" in coloured
    assert "0  a \x1b" in coloured


def test_both_sides_of_a_class_are_named_without_words_that_round_to_nothing(by_relevance):
    lines = [line.rstrip() for line in show(by_relevance, width=80, force_terminal=True, color_system=None)]
    start = lines.index("for “good”")
    assert lines[start:] == [
        "for “good”",
        "funny  ████████████████████  +0.80",
        "film   █████···············  +0.20",
        "",
        "against “good”",
        "dull  ██████████████████▊·  -0.75",
        "but   ██▌·················  -0.10",
    ]
    alone = show(replace(by_relevance, scores=np.abs(by_relevance.scores)))
    assert alone[-1] == "against “good”: no word"


@pytest.mark.parametrize("options", [{"no_color": True, "force_terminal": True}, {"color_system": None}])
def test_without_colours_nothing_is_said_of_them(by_capacity, options):
    lines = show(by_capacity, **options)
    assert any(line.startswith("By capacity, the share of its own direction") for line in lines)
    assert not any("Bluer" in line or " a  a " in line for line in lines)
    assert lines[-5].startswith("funny  █████████████████···  0.85")


def test_a_pipe_gets_every_word_on_a_line_and_cuts_none(by_capacity):
    long = replace(by_capacity, words=("x" * 300, *by_capacity.words[1:]))
    lines = show(long)
    assert lines[2] == f"0.10  {'x' * 300}"
    assert [line.split()[0] for line in lines[2:11]] == [f"{value:.2f}" for value in by_capacity.capacity]


def test_a_terminal_that_knows_ascii_alone_gets_bars_of_ascii(by_capacity):
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="backslashreplace", write_through=True)
    print_explanation(CommandConsole(file=file), by_capacity)
    assert b"funny  #################...  0.85" in file.buffer.getvalue()


@pytest.mark.parametrize("width", [40, 80, 200])
def test_every_line_fits_the_terminal(by_relevance, width):
    made = replace(by_relevance, words=("x" * 100, *by_relevance.words[1:8], "y" * 100))
    made = replace(made, scores=np.array([0.9, *by_relevance.scores[1:]]))
    lines = show(made, width=width, force_terminal=True, color_system=None)
    assert max(len(line) for line in lines) <= width
    numbers = [line.split()[-1] for line in lines if "·" in line or "█" in line]
    assert numbers == ["+0.90", "+0.80", "+0.20", "-0.75", "-0.10"]


def test_without_colours_every_word_is_listed_with_its_capacity():
    made = explanation()
    lines = list_words(made).splitlines()
    assert [line.split() for line in lines] == [[f"{c:.2f}", w] for w, c in zip(made.words, made.capacity, strict=True)]


def test_unknown_words_are_marked_in_letters_too():
    made = explanation("a Brilliant! film")
    assert shade_words(made).plain == "a Brilliant! (?) film "
    assert [line.split("  ")[1] for line in list_words(made).splitlines()] == ["a", "Brilliant! (?)", "film"]
    assert list_words(replace(made, unknown=())) == list_words(made).replace(" (?)", "")


@pytest.mark.parametrize("options", [{}, {"force_terminal": True, "color_system": "truecolor", "width": 200}])
def test_words_that_look_like_commands_are_shown_as_words(options):
    shown = "\n".join(show(explanation("[bold]film[/bold] \x1b[2Jdull [/x] :smile:"), **options))
    for word in ("[bold]film[/bold]", "\\x1b[2Jdull", "[/x]", ":smile:"):
        assert word in shown
    assert "\x1b[2J" not in shown
