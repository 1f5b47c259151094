"""Evaluated runs in, one HTML file out that holds all it shows and asks nothing of any network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

import numpy as np

from safr.attribution.explanation import Explanation
from safr.explorer.explanation_payload import ExplanationPayload, pack_explanation
from safr.explorer.model_session import ModelSession, open_session
from safr.explorer.page import render_page
from safr.explorer.payload import (
    PagePayload,
    RunSummary,
    TextRow,
    choose_texts,
    list_texts,
    load_other_scores,
    summarize_run,
)
from safr.explorer.what_if import WhatIf
from safr.runs import Run
from safr.storage import write_text

EXPORTED_TEXTS = 200
"""Texts of a file unless told otherwise."""


MAX_MATRIX_BYTES = 3_000_000
"""Bytes of a file that its matrices may take, so that it can be mailed; only texts with many words reach it."""


ExportProgress = Callable[[int, int], None]


_TextResults = dict[str, tuple[ExplanationPayload, WhatIf]]
"""What the models say about one text, by run."""


NOTEBOOK_RUN = "model"


def export_page(
    runs: Sequence[Run], output: Path, *, texts: int = EXPORTED_TEXTS, progress: ExportProgress | None = None
) -> Path:
    """Write one HTML file that shows runs on some of their test texts; returns its path.

    See `choose_texts` for which texts those are.

    Args:
        runs: Evaluated runs of the same data.
        output: The file.
        texts: How many texts it holds.
        progress: Called with the number of texts that are done and the number there are.

    Raises:
        InputError: A run is not evaluated, two share a name, or they were made from different data.
    """
    summaries, everything = [summarize_run(run) for run in runs], list_texts(runs)
    readers = [open_session(run) for run in runs]
    chosen = choose_texts(runs, everything, texts)
    most_paired = _most_paired(readers, chosen)
    found: dict[int, _TextResults] = {}
    for done, row in enumerate(chosen, start=1):
        found[row.number] = {reader.run.name: _read(reader, row, most_paired) for reader in readers}
        if progress is not None:
            progress(done, len(chosen))
    data, names = runs[0].record["data"], [run.name for run in runs]
    contents = PagePayload(
        live=False,
        data=data["name"],
        labels=data["labels"],
        runs=summaries,
        rows=[_completed(row, found[row.number]) for row in chosen],
        total=len(everything),
        readings={name: {number: each[name][0] for number, each in found.items()} for name in names},
        what_ifs={name: {number: each[name][1] for number, each in found.items()} for name in names},
    )
    write_text(output, render_page(contents))
    return output


@dataclass(frozen=True)
class NotebookPage:
    """The page about one explanation; a notebook shows it where it is the value of a cell."""

    html: str
    """The whole page, which can also be written to a file."""

    height: int = 900
    """Pixels."""

    def _repr_html_(self) -> str:
        # A frame of its own: the page's styles and scripts can't touch the notebook, nor the notebook's the page.
        return (
            f'<iframe srcdoc="{escape(self.html, quote=True)}" sandbox="allow-scripts allow-downloads" '
            f'title="SAFR explorer" style="width:100%;height:{self.height}px;border:0"></iframe>'
        )


def make_notebook_page(explanation: Explanation, *, height: int = 900) -> NotebookPage:
    """The explorer's page about one explanation, without a model behind it.

    Args:
        explanation: Of one text.
        height: Of the frame, in pixels.
    """
    told = pack_explanation(explanation)
    row = TextRow(
        0, " ".join(explanation.words), None, len(explanation.words), {NOTEBOOK_RUN: explanation.prediction}, {}
    )
    contents = PagePayload(
        live=False,
        data="",
        labels=[],
        runs=[RunSummary(NOTEBOOK_RUN, explanation.explaining_site, "", {}, [])],
        rows=[row],
        total=1,
        readings={NOTEBOOK_RUN: {0: told}},
    )
    return NotebookPage(render_page(contents), height)


def _read(reader: ModelSession, row: TextRow, most_paired: int) -> tuple[ExplanationPayload, WhatIf]:
    """What one model says about one text; of the explanation only the numbers are kept, which are a hundredth of it."""
    other = load_other_scores(reader.run, row.number)
    told = pack_explanation(reader.explain(row.text), most_paired=most_paired, other=other)
    return told, reader.what_if(row.text)


def _completed(row: TextRow, found: _TextResults) -> TextRow:
    """The row with what the models say; an example that is not in the test split had none."""
    effects: dict[str, float | None] = {}
    for name, (_, what_if) in found.items():
        whole, left = (what_if.probability["capacity"][what_if.counts.index(count)] for count in (0, what_if.main))
        effects[name] = None if whole is None or left is None else round(whole - left, 4)
    predictions = {name: told.prediction for name, (told, _) in found.items()}
    return replace(
        row, words=max(len(told.words) for told, _ in found.values()), predictions=predictions, effects=effects
    )


def _most_paired(readers: Sequence[ModelSession], chosen: Sequence[TextRow]) -> int:
    """The most words of a text whose pairs can be told without the file growing too large."""
    words = np.array([row.words or len(row.text.split()) for row in chosen])
    shortest = chosen[int(words.argmin())].text
    shown = [reader.explain(shortest) for reader in readers]  # all texts have the same sites and layers
    sites, layers = sum(len(each.sites) for each in shown), sum(len(each.attention) for each in shown)

    def size(most: int) -> float:
        paired = np.minimum(words, most)
        numbers = sites * paired * (paired - 1) / 2 + layers * paired**2
        return float((numbers * 2 * 4 / 3).sum())  # base64 of 2 bytes each

    return max(most for most in range(2, max(int(words.max()), 2) + 1) if most == 2 or size(most) <= MAX_MATRIX_BYTES)
