import os
from xml.etree import ElementTree

import pytest

from safr.figures import allocation_graph, capacity_bars, figure_to_svg, interference_heatmap, save_figure


def figure_of(text):
    return interference_heatmap(text.words, text.interference, title="Interference")


def test_all_files_are_written_and_nothing_else(tmp_path, sentence):
    paths = save_figure(figure_of(sentence), tmp_path / "figures" / "fc1")
    assert paths == [tmp_path / "figures" / f"fc1.{suffix}" for suffix in ("svg", "png", "pdf")]
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["fc1.pdf", "fc1.png", "fc1.svg"]


def test_a_dot_in_the_name_is_not_a_suffix(tmp_path):
    names = [path.name for path in save_figure(capacity_bars(["a"], [0.5]), str(tmp_path / "lambda0.1"))]
    assert names == ["lambda0.1.svg", "lambda0.1.png", "lambda0.1.pdf"]


def test_the_same_figure_gives_the_same_bytes(tmp_path, sentence):
    def graph():
        return allocation_graph(sentence.words, sentence.capacity, sentence.interference)

    for one, other in zip(save_figure(graph(), tmp_path / "a"), save_figure(graph(), tmp_path / "b"), strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_saving_twice_gives_the_same_bytes(tmp_path, sentence):
    figure = figure_of(sentence)
    first = [path.read_bytes() for path in save_figure(figure, tmp_path / "a")]
    assert [path.read_bytes() for path in save_figure(figure, tmp_path / "a")] == first


def test_an_svg_holds_its_words_as_text_in_common_fonts_and_no_date(sentence):
    svg = figure_to_svg(figure_of(sentence))
    assert "Preposterous" in svg
    assert "'DejaVu Sans', 'Verdana', 'Arial', sans-serif" in svg
    assert "date" not in svg


@pytest.mark.parametrize("by_user", [False, True])
def test_a_pdf_embeds_its_fonts_as_truetype_and_has_no_date(tmp_path, by_user):
    figure = capacity_bars(["dull"], [0.5])
    if by_user:
        figure.savefig(tmp_path / "a.pdf")
    else:
        save_figure(figure, tmp_path / "a")
    pdf = (tmp_path / "a.pdf").read_bytes()
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    assert (b"/CreationDate" in pdf) == by_user


def test_an_svg_is_small(sentence):
    assert len(figure_to_svg(figure_of(sentence))) < 60_000


def test_svg_text_is_one_element_that_can_be_embedded():
    svg = figure_to_svg(capacity_bars(["<script>", "a&b", "]]>", '"', "\x00"], [0.1] * 5, title="<b>"))
    assert svg.startswith("<svg")
    root = ElementTree.fromstring(svg)
    texts = "".join(root.itertext())
    assert "<script>" in texts
    assert "a&b" in texts


def test_another_salt_gives_other_ids(sentence):
    one, other = (figure_to_svg(figure_of(sentence), salt=salt) for salt in ("first", "second"))
    hatches = [{line for line in svg.split() if line.startswith('id="h')} for svg in (one, other)]
    assert hatches[0]
    assert not hatches[0] & hatches[1]


def test_a_failed_write_leaves_the_old_file_and_no_half_one(tmp_path, monkeypatch):
    figure = capacity_bars(["a"], [0.5])
    save_figure(figure, tmp_path / "a")
    before = (tmp_path / "a.svg").read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save_figure(figure, tmp_path / "a")
    assert (tmp_path / "a.svg").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pdf", "a.png", "a.svg"]
