import io
import threading

import matplotlib
from matplotlib import style
from matplotlib.figure import Figure

from safr.figures import capacity_bars
from safr.figures.style import RUN_COLOURS, TEXT_SIZE


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


def test_the_style_file_can_be_used_by_name_and_has_the_colours_of_runs(sentence):
    with style.context("safr.figures.safr"):
        assert tuple(matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]) == RUN_COLOURS
        assert (matplotlib.rcParams["pdf.fonttype"], matplotlib.rcParams["font.size"]) == (42, TEXT_SIZE)
