"""Whatever the words and the values: every figure draws and saves, without a warning, as well-formed XML."""

import io
from xml.etree import ElementTree

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from safr.figures import (
    DeletionCurve,
    SitePicture,
    allocation_graph,
    capacity_bars,
    deletion_curves,
    figure_to_svg,
    interference_heatmap,
    score_bars,
    sites_panel,
    training_history,
)

# Surrogates too, and characters that matplotlib, XML or a terminal could trip over.
ANY_WORD = st.text(st.characters(exclude_categories=()), max_size=30) | st.sampled_from(
    ["$x$", "\\$", "$\\frac{", "\x00", "\ud83d", "a\u202eb", "שלום", "مرحبا", "👩‍👩‍👧", "漢字" * 15, "﷽" * 18, "W" * 60]
)
ANY_VALUE = st.floats(allow_nan=False, allow_infinity=False)
FEW_EXAMPLES = settings(max_examples=8, deadline=None, derandomize=True)


@st.composite
def texts(draw):
    words = draw(st.lists(ANY_WORD, min_size=1, max_size=5))
    count = len(words)
    values = draw(st.lists(ANY_VALUE, min_size=count, max_size=count))
    capacity = draw(st.lists(st.floats(0, 1), min_size=count, max_size=count))
    matrix = np.array(draw(st.lists(ANY_VALUE, min_size=count * count, max_size=count * count))).reshape(count, count)
    return words, values, capacity, matrix, draw(st.lists(st.booleans(), min_size=count, max_size=count))


def draws_and_saves(figure):
    figure.savefig(io.BytesIO(), format="png", dpi=30)
    ElementTree.fromstring(figure_to_svg(figure).encode("utf-8"))


@FEW_EXAMPLES
@given(texts())
def test_any_words_and_values_can_be_drawn_as_bars(text):
    words, values, _, _, unknown = text
    draws_and_saves(capacity_bars(words, values, title=words[0], label=words[-1], unknown=unknown))
    draws_and_saves(score_bars(words, values, words[0], title=words[0], label=words[-1], unknown=unknown))


@FEW_EXAMPLES
@given(texts())
def test_any_words_and_values_can_be_drawn_as_a_graph(text):
    words, _, capacity, matrix, unknown = text
    draws_and_saves(
        allocation_graph(words, capacity, np.triu(matrix) + np.triu(matrix, 1).T, title=words[0], unknown=unknown)
    )


@FEW_EXAMPLES
@given(texts())
def test_any_words_and_values_can_be_drawn_as_a_heat_map(text):
    words, _, _, matrix, unknown = text
    draws_and_saves(
        interference_heatmap(words, np.triu(matrix) + np.triu(matrix, 1).T, title=words[0], unknown=unknown)
    )


@FEW_EXAMPLES
@given(texts())
def test_any_words_and_values_can_be_drawn_in_a_panel(text):
    words, values, capacity, matrix, unknown = text
    sites = {words[0]: SitePicture(values, matrix), words[0] + "2": SitePicture(capacity, matrix, "attention")}
    draws_and_saves(sites_panel(words, sites, unknown=unknown))


@FEW_EXAMPLES
@given(texts())
def test_any_names_and_values_can_be_drawn_as_curves(text):
    words, values, capacity, *_ = text
    curve = DeletionCurve(*[[30]] + 6 * [[capacity[0]]], full=capacity[-1])
    draws_and_saves(deletion_curves(dict.fromkeys(words, curve), title=words[0]))
    draws_and_saves(training_history({word: {words[0]: (range(len(values)), values)} for word in words}))
