"""Export: one HTML file about evaluated runs that works without a network, and the page about one explanation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

import numpy as np

from safr.attribution.explanation import Explanation
from safr.explorer.explanation_payload import ExplanationPayload, pack_explanation
from safr.explorer.model_session import ModelSession, open_session
from safr.explorer.neurons import SHOWN_NEURONS, NeuronPage
from safr.explorer.page import render_page
from safr.explorer.payload import (
    PagePayload,
    RunSummary,
    TextRow,
    choose_texts,
    describe_data,
    list_texts,
    summarize_run,
)
from safr.explorer.what_if import WhatIf
from safr.explorer.word_history import read_word_histories
from safr.explorer.words import cut_to_bytes
from safr.progress import Progress
from safr.runs import Run
from safr.storage import write_text

EXPORTED_TEXTS = 200
"""How many texts a file holds by default."""

MAX_MATRIX_BYTES = 3_000_000
"""Bytes that the matrices of a file may take, so that it can be mailed. Only texts with many words reach this limit."""

MAX_NEURON_BYTES = 2_000_000
"""Bytes that the activations and relevance of neurons may take. Only many long texts reach this limit."""

MAX_WORD_BYTES = 250_000
"""Bytes that the words of all test texts may take. Of many words those that stand most often are kept."""

TOP_WORDS_IN_FILE = 5
"""Words that a file holds of each neuron."""

NOTEBOOK_RUN = "model"
"""What the page about one explanation calls its model."""


_TextResults = dict[str, tuple[ExplanationPayload, WhatIf]]
"""What the models say about one text, by run."""


@dataclass(frozen=True)
class NotebookPage:
    """The page about one explanation; a notebook shows it if it is the value of a cell."""

    html: str
    """The whole page, which can also be written to a file."""

    height: int = 900
    """Pixels."""

    def _repr_html_(self) -> str:
        # A frame keeps the styles and scripts of the page and those of the notebook apart.
        return (
            f'<iframe srcdoc="{escape(self.html, quote=True)}" sandbox="allow-scripts allow-downloads" '
            f'title="SAFR explorer" style="width:100%;height:{self.height}px;border:0"></iframe>'
        )


def export_page(
    runs: Sequence[Run],
    output: Path,
    *,
    texts: int = EXPORTED_TEXTS,
    device: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write one HTML file that shows runs on some of their test texts, and return its path.

    `choose_texts` says which texts those are.

    Args:
        runs: Evaluated runs of the same data.
        output: The file.
        texts: How many texts it holds.
        device: Where the models go. Default: the GPU, where there is one.
        progress: Called with the number of texts that are done and the number of all texts.

    Raises:
        InputError: A run is not evaluated, two share a name, or they were made from different data.
    """
    summaries, all_rows = [summarize_run(run) for run in runs], list_texts(runs)
    sessions = [open_session(run, device=device) for run in runs]
    rows = choose_texts(runs, all_rows, texts)
    limits = _limit_paired_words(sessions, rows), _limit_neurons(sessions, rows)
    results_by_text: dict[int, _TextResults] = {}
    for done, row in enumerate(rows, start=1):
        results_by_text[row.number] = {
            session.run.name: _compute_results(session, row, *limits) for session in sessions
        }
        if progress is not None:
            progress(done, len(rows))
    (data, labels), names = describe_data(runs), [run.name for run in runs]
    readings = {name: {number: results[name][0] for number, results in results_by_text.items()} for name in names}
    payload = PagePayload(
        live=False,
        data=data,
        labels=labels,
        has_pairs=runs[0].has_pairs,
        task=runs[0].task,
        runs=summaries,
        rows=[_complete_row(row, results_by_text[row.number]) for row in rows],
        total=len(all_rows),
        readings=readings,
        what_ifs={name: {number: results[name][1] for number, results in results_by_text.items()} for name in names},
        neuron_pages={
            session.run.name: _describe_neurons(session, readings[session.run.name].values()) for session in sessions
        },
        words=cut_to_bytes({session.run.name: session.word_index.table for session in sessions}, MAX_WORD_BYTES),
        word_histories=read_word_histories(runs),
    )
    write_text(output, render_page(payload))
    return output


def make_notebook_page(explanation: Explanation, *, height: int = 900) -> NotebookPage:
    """The explorer's page about one explanation, without a model behind it.

    Args:
        explanation: The explanation of one text.
        height: Height of the frame in pixels.
    """
    row = TextRow(0, " ".join(explanation.words), None, len(explanation.words), {NOTEBOOK_RUN: explanation.answer}, {})
    payload = PagePayload(
        live=False,
        data="",
        labels=[],
        has_pairs=1 in explanation.text_of_word,
        task=explanation.task,
        runs=[RunSummary(NOTEBOOK_RUN, explanation.explaining_site, "", {}, [])],
        rows=[row],
        total=1,
        readings={NOTEBOOK_RUN: {0: pack_explanation(explanation)}},
    )
    return NotebookPage(render_page(payload), height)


def _compute_results(
    session: ModelSession, row: TextRow, most_paired: int, most_neurons: int
) -> tuple[ExplanationPayload, WhatIf]:
    """What one model says about one text. Only the packed numbers are kept, a hundredth of the explanation's size."""
    explanation = session.read(row.source, number=row.number, most_paired=most_paired, most_neurons=most_neurons)
    return explanation, session.what_if(row.source)


def _describe_neurons(session: ModelSession, explanations: Iterable[ExplanationPayload]) -> dict[int, NeuronPage]:
    """The neurons that texts use most, by number; none where the run keeps nothing of its neurons."""
    if session.neuron_summary is None:
        return {}
    used = {number for each in explanations if each.neurons is not None for number in each.neurons.neurons}
    pages = {number: session.describe_neuron(number) for number in sorted(used)}
    return {number: replace(page, top=page.top[:TOP_WORDS_IN_FILE]) for number, page in pages.items()}


def _complete_row(row: TextRow, results: _TextResults) -> TextRow:
    """The row with what the models say. An example that is not in the test split had no predictions before."""
    effects: dict[str, float | None] = {}
    for name, (explanation, what_if) in results.items():
        before, after = (what_if.probability["capacity"][what_if.counts.index(count)] for count in (0, what_if.main))
        if what_if.main == 0 or before is None or after is None:  # nothing can be deleted, or it was no number
            effects[name] = None
        else:  # a predicted number may move either way
            effects[name] = round(abs(before - after) if explanation.is_regression else before - after, 4)
    predictions = {name: explanation.answer for name, (explanation, _) in results.items()}
    words = max(len(explanation.words) for explanation, _ in results.values())
    return replace(row, words=words, predictions=predictions, effects=effects)


def _limit_paired_words(sessions: Sequence[ModelSession], rows: Sequence[TextRow]) -> int:
    """How many words of a text can get values for their pairs before the file becomes too large."""
    words = np.array([row.words or len(row.text.split()) for row in rows])
    shortest = rows[int(words.argmin())].source
    explanations = [session.explain(shortest) for session in sessions]  # all texts have the same sites and layers
    sites = sum(len(explanation.sites) for explanation in explanations)
    layers = sum(len(explanation.attention) for explanation in explanations)

    def count_bytes(most_paired: int) -> float:
        paired = np.minimum(words, most_paired)
        numbers = sites * paired * (paired - 1) / 2 + layers * paired**2
        return float((numbers * 2 * 4 / 3).sum())  # 2 bytes per number, as base64

    candidates = range(2, max(int(words.max()), 2) + 1)
    return max(count for count in candidates if count == 2 or count_bytes(count) <= MAX_MATRIX_BYTES)


def _limit_neurons(sessions: Sequence[ModelSession], rows: Sequence[TextRow]) -> int:
    """How many neurons of a text can be kept before the file becomes too large."""
    words = sum(row.words or len(row.text.split()) for row in rows)
    bytes_per_neuron = len(sessions) * words * 2 * 2 * 4 / 3  # activation and relevance, 2 bytes each, as base64
    return max(1, min(SHOWN_NEURONS, int(MAX_NEURON_BYTES / bytes_per_neuron)))
