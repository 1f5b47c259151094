import io
import warnings

import matplotlib
import pytest
from matplotlib.font_manager import fontManager, get_font
from matplotlib.text import Text

from safr.figures import capacity_bars, figure_to_svg, fonts, save_figure
from safr.figures.fonts import choose_fallbacks, find_missing, warn_of_missing
from safr.figures.frame import text_width


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch):
    monkeypatch.setattr(fonts, "_told_characters", set())


@pytest.fixture
def only_matplotlibs_fonts(monkeypatch):
    """A machine without other fonts than matplotlib's own."""
    folder = matplotlib.get_data_path()
    monkeypatch.setattr(fontManager, "ttflist", [font for font in fontManager.ttflist if font.fname.startswith(folder)])
    caches = (fonts.choose_fallbacks, fonts._search_fonts, text_width)
    for function in caches:
        function.cache_clear()
    yield
    for function in caches:
        function.cache_clear()


@pytest.fixture
def only_in_stix(only_matplotlibs_fonts):
    """A character that DejaVu Sans lacks and another font of matplotlib's holds."""
    own, other = (
        get_font(next(font.fname for font in fontManager.ttflist if font.name == name)).get_charmap()
        for name in ("DejaVu Sans", "STIXGeneral")
    )
    return chr(min(set(other) - set(own)))


def families(figure, text):
    return next(label.get_fontfamily() for label in figure.findobj(Text) if label.get_text() == text)


def test_latin_greek_and_arabic_words_need_no_other_font():
    assert [choose_fallbacks(word) for word in ("naïve", "λόγος", "فيلم", "1½ ×10⁻⁵", "a\n")] == [()] * 5


def test_a_character_that_our_font_lacks_is_drawn_in_an_installed_one(only_in_stix):
    assert choose_fallbacks("film" + only_in_stix) == ("STIXGeneral",)
    figure = capacity_bars(["film", only_in_stix], [0.2, 0.8])
    figure.savefig(io.BytesIO(), dpi=30)  # no warning
    assert families(figure, only_in_stix) == ["sans-serif", "STIXGeneral"]
    assert families(figure, "film") == ["sans-serif"]


def test_what_no_font_holds_is_told_once_with_the_font_to_install(tmp_path, only_matplotlibs_fonts):
    figure = capacity_bars(["漢字", "film", "नमस्ते"], [0.2, 0.8, 0.1], title="漢 and 👍")
    with pytest.warns(UserWarning, match="no installed font holds") as told:
        save_figure(figure, tmp_path / "a")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_figure(capacity_bars(["字"], [0.2]), tmp_path / "b")
    message = str(told[0].message)
    assert len(told) == 1
    assert message.startswith("no installed font holds ")
    assert all(character in message for character in "漢字न")
    for package in ("fonts-noto-cjk", "fonts-noto-core"):
        assert package in message


def test_an_svg_says_nothing_because_the_reader_has_fonts(only_matplotlibs_fonts):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "漢字" in figure_to_svg(capacity_bars(["漢字"], [0.2]))
    assert fonts._told_characters == set()


def test_a_user_who_saves_a_figure_is_told_too(only_matplotlibs_fonts):
    figure = capacity_bars(["漢字"], [0.2])
    with pytest.warns(UserWarning, match=r"holds 漢字; .* install Noto Sans CJK"):
        figure.savefig(io.BytesIO(), dpi=30, bbox_inches="tight")  # as notebooks do


def test_characters_without_a_look_of_their_own_are_not_missing():
    assert find_missing(["a\u200db\ufe0f\u202e\u00ad\ud800"]) == ""


def test_a_long_list_of_missing_characters_is_cut():
    with pytest.warns(UserWarning, match="holds 一丁丂七丄丅丆万丈三上下…; figures"):
        warn_of_missing("".join(map(chr, range(0x4E00, 0x4E20))))
