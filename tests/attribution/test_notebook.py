import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertForSequenceClassification

from safr.attribution.explain import explain
from safr.config import Regularization
from tests import tiny, tiny_tokenizers

TEXT = "the film was funny but the cast was dull"


class Snippet(HTMLParser):
    """The elements and the text of a snippet; everything opened must be closed."""

    def __init__(self, source):
        super().__init__()
        self.elements, self.open, self.text = [], [], ""
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def explanation():
    return explain(tiny.model(Regularization(vmask_width=8)), tiny.tokenizer(), TEXT)


def shades(snippet):
    return [
        float(re.search(r"rgba\(\d+,\d+,\d+,([\d.]+)\)", attributes["style"])[1])
        for tag, attributes in snippet.elements
        if tag == "span"
    ]


def test_words_are_shaded_by_capacity_and_the_highest_is_underlined(explanation):
    source = explanation._repr_html_()
    np.testing.assert_allclose(
        shades(Snippet(source)), 0.7 * explanation.capacity / explanation.capacity.max(), atol=0.005
    )
    assert source.count("underline") == 1
    assert TEXT in Snippet(source).text


def test_the_prediction_comes_with_its_probability(explanation):
    shown = explanation.probabilities[explanation.prediction]
    assert Snippet(explanation._repr_html_()).text.startswith(
        f"predicted {explanation.prediction} ({100 * shown:.1f} %)"
    )


def test_the_numbers_of_a_word_show_where_the_mouse_rests(explanation):
    titles = [attributes["title"] for tag, attributes in Snippet(explanation._repr_html_()).elements if tag == "span"]
    site = explanation.site()
    assert titles == [
        f"capacity {capacity:.2f}, polysemanticity {shared:.3g}, keep {keep:.2f}"
        for capacity, shared, keep in zip(site.capacity, site.polysemanticity, explanation.keep, strict=True)
    ]


def test_the_texts_of_a_pair_stand_on_two_lines():
    pair = explain(*tiny_tokenizers.model(BertForSequenceClassification), ("the film", "a good film"))
    lines = re.findall(r'<div dir="auto">(.*?)</div>', pair._repr_html_())
    assert [Snippet(line).text for line in lines] == ["the film", "a good film"]
    assert "keep" not in pair._repr_html_()


@given(st.text(st.characters(exclude_categories=()), min_size=1), st.text(max_size=9))
def test_whatever_the_text_nothing_in_it_becomes_markup(explanation, word, label):
    hostile = replace(
        explanation,
        words=(word, "<script>alert(1)</script>", "</div>", '" onmouseover="x', *explanation.words[4:]),
        prediction=label,
        probabilities={label: 1.0},
    )
    snippet = Snippet(hostile._repr_html_())
    hostile._repr_html_().encode()
    assert {tag for tag, _ in snippet.elements} == {"div", "span", "b"}
    assert {name for _, attributes in snippet.elements for name in attributes} == {"style", "dir", "title"}
    assert '<script>alert(1)</script> </div> " onmouseover="x' in snippet.text


def test_nothing_is_loaded_from_outside(explanation):
    assert not re.search(r"https?:|url\(|src=|href=|<script", explanation._repr_html_())


def test_a_text_that_was_cut_says_so(explanation):
    note = "2 words at the end were left out."
    assert f" {note}</div>" in replace(explanation, truncated=True, left_out_note=note)._repr_html_()
    assert "left out" not in explanation._repr_html_()


def test_unknown_words_have_a_mark_a_dotted_line_and_a_note():
    explanation = explain(tiny.model(), tiny.tokenizer(), "the Film was <so>")
    source = explanation._repr_html_()
    spans = [attributes for tag, attributes in Snippet(source).elements if tag == "span"]
    assert ["dotted" in attributes["style"] for attributes in spans] == [False, True, False, True]
    assert ["unknown to the tokenizer, " in attributes["title"] for attributes in spans] == [False, True, False, True]
    assert "the Film† was <so>†" in Snippet(source).text
    assert Snippet(source).text.endswith(f" † {explanation.unknown_note}")
    before_it_was_recorded = replace(explanation, unknown=())._repr_html_()
    assert "the Film was <so>" in Snippet(before_it_was_recorded).text
    assert "unknown" not in before_it_was_recorded
