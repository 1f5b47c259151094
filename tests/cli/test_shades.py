import io

import numpy as np
import pytest
from rich.color import Color, ColorSystem
from rich.console import Console
from rich.style import Style

from safr.cli.shades import bar_style, count_decimals, make_shade_key, style_score

BLACK, WHITE = (0, 0, 0), (255, 255, 255)
SCORES = np.linspace(0.21, 1, 4)


def parse(score, largest=1.0):
    """The letters and the ground of a score's shade, each as red, green and blue."""
    style = Style.parse(style_score(score, largest))
    return style.color.get_truecolor(), style.bgcolor.get_truecolor()


def linear(colour):
    shares = np.array(colour) / 255
    return np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)


def contrast(one, other):
    """By the Web Content Accessibility Guidelines."""
    first, second = (linear(colour) @ [0.2126, 0.7152, 0.0722] + 0.05 for colour in (one, other))
    return max(first / second, second / first)


def distance(one, other):
    """How different two colours look, by CIELAB."""

    def lab(colour):
        matrix = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
        x, y, z = np.cbrt(np.array(matrix) @ linear(colour) / [0.9505, 1, 1.089])
        return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])

    return np.linalg.norm(lab(one) - lab(other))


@pytest.mark.parametrize("sign", [1, -1], ids=["for", "against"])
@pytest.mark.parametrize("terminal", [BLACK, WHITE], ids=["dark", "light"])
def test_a_stronger_word_stands_out_more_on_a_dark_and_on_a_light_terminal(terminal, sign):
    differences = [distance(parse(sign * score)[1], terminal) for score in SCORES]
    assert differences == sorted(differences)
    assert min(np.diff(differences)) > 2
    assert min(contrast(parse(sign * score)[1], terminal) for score in SCORES) > 4


@pytest.mark.parametrize("sign", [1, -1], ids=["for", "against"])
def test_letters_are_readable_on_every_shade(sign):
    assert min(contrast(*parse(sign * score)) for score in SCORES) >= 4.5


@pytest.mark.parametrize("score", [0.0, 0.19, -0.19, np.nan])
def test_weak_words_have_no_ground(score):
    assert style_score(score, 1.0) == ""


def test_shades_are_shares_of_the_largest_score():
    assert style_score(0.05, 0.1) == style_score(0.5, 1.0) != style_score(0.9, 1.0)
    assert style_score(1.0, 1.0) == style_score(0.81, 1.0)
    assert style_score(-0.5, 1.0) != style_score(0.5, 1.0)


@pytest.mark.parametrize("sign", [1, -1], ids=["for", "against"])
def test_shades_differ_on_a_terminal_of_256_colours(sign):
    grounds = [Color.from_rgb(*parse(sign * score)[1]).downgrade(ColorSystem.EIGHT_BIT).number for score in SCORES]
    assert len(set(grounds)) == 4


def test_the_key_runs_from_the_weakest_to_the_strongest_shade():
    key = make_shade_key(1.0, signed=False)
    assert key.plain == "0  a  a  a  a  a  1"
    assert [str(span.style) for span in key.spans] == [style_score(score, 1.0) for score in SCORES]
    signed = make_shade_key(0.42, signed=True)
    assert signed.plain.split() == ["-0.42", *["a"] * 9, "+0.42"]
    both = [style_score(score, 1.0) for score in (*-SCORES[::-1], *SCORES)]
    assert [str(span.style) for span in signed.spans] == both


def test_bars_have_the_colour_of_their_sign():
    console = Console(file=io.StringIO())
    assert console.get_style(bar_style(0.3)).color.get_truecolor() == parse(1.0)[1]
    assert console.get_style(bar_style(-0.3)).color.get_truecolor() == parse(-1.0)[1]


def test_small_scores_have_two_digits():
    assert [count_decimals(largest) for largest in (30.0, 1.0, 0.1, 0.05, 0.0031, 0.0)] == [2, 2, 2, 3, 4, 2]
