import io
import threading

import matplotlib
from matplotlib.figure import Figure

from safr.figures import capacity_bars
from safr.figures.style import new_figure, text_width, wrap_text


def test_drawing_leaves_the_users_settings_alone(sentence):
    before = dict(matplotlib.rcParams)
    capacity_bars(sentence.words, sentence.capacity).savefig(io.BytesIO(), dpi=30)
    assert dict(matplotlib.rcParams) == before


def test_the_users_settings_do_not_change_a_figure(sentence):
    def picture():
        buffer = io.BytesIO()
        capacity_bars(sentence.words, sentence.capacity).savefig(buffer, dpi=40, format="png")
        return buffer.getvalue()

    plain = picture()
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "black", "axes.grid": True}):
        assert picture() == plain


def test_a_figure_saved_by_the_user_is_quiet_about_missing_glyphs():
    figure = capacity_bars(["漢字", "film"], [0.2, 0.8], title="標題")
    figure.savefig(io.BytesIO(), dpi=30)
    figure.savefig(io.BytesIO(), dpi=30, bbox_inches="tight")  # as notebooks do


def test_figures_are_not_kept_alive_by_pyplot(sentence):
    from matplotlib import pyplot

    assert isinstance(capacity_bars(sentence.words, sentence.capacity), Figure)
    assert pyplot.get_fignums() == []


def test_threads_may_draw_at_the_same_time(sentence):
    before = dict(matplotlib.rcParams)
    threads = [
        threading.Thread(target=lambda: capacity_bars(sentence.words, sentence.capacity).savefig(io.BytesIO(), dpi=30))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert dict(matplotlib.rcParams) == before


def test_a_long_title_is_wrapped_and_makes_the_figure_higher():
    one, many = (new_figure(4, 2, title=title, caption="") for title in ("short", "a long title " * 20))
    assert many.get_figheight() > one.get_figheight()


def test_wrapped_lines_fit_the_width():
    for text in ("of narrow letters " * 20, "WIDE LETTERS " * 20, "漢字 " * 60):
        assert all(text_width(line) <= 4 * 72 for line in wrap_text(text, 4).split("\n"))


def test_dollar_signs_are_measured_as_text():
    assert text_width("$x$") > text_width("x")
