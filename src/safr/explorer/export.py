"""Evaluated runs in, one HTML file out that holds all it shows and asks nothing of any network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from safr.attribution.explanation import Explanation
from safr.explorer.contents import Contents, Row, chosen_rows, other_scores, rows, summary
from safr.explorer.page import page
from safr.explorer.reader import Reader, open_reader
from safr.explorer.readings import Reading, reading
from safr.explorer.what_if import WhatIf
from safr.runs import Run, write_text

TEXTS = 200
"""Texts of a file unless told otherwise."""

LARGEST_MATRICES = 3_000_000
"""Bytes of a file that its matrices may take, so that it can be mailed; only texts with many words reach it."""

Progress = Callable[[int, int], None]


def export_page(runs: Sequence[Run], output: Path, *, texts: int = TEXTS, progress: Progress | None = None) -> Path:
    """Write one HTML file that shows runs on some of their test texts; returns its path.

    See `chosen_rows` for which texts those are.

    Args:
        runs: Evaluated runs of the same data.
        output: The file.
        texts: How many texts it holds.
        progress: Called with the number of texts that are done and the number there are.

    Raises:
        InputError: A run is not evaluated, two share a name, or they were made from different data.
    """
    summaries, everything = [summary(run) for run in runs], rows(runs)
    readers = {run.name: open_reader(run) for run in runs}
    chosen = chosen_rows(runs, everything, texts)
    read: dict[str, dict[int, tuple[Explanation, WhatIf]]] = {name: {} for name in readers}
    for done, row in enumerate(chosen, start=1):
        for name, reader in readers.items():
            read[name][row.number] = reader.explain(row.text), reader.what_if(row.text)
        if progress is not None:
            progress(done, len(chosen))
    most_paired = _most_paired([each for found in read.values() for each, _ in found.values()])
    contents = Contents(
        live=False,
        data=runs[0].record["data"]["name"],
        labels=runs[0].record["data"]["labels"],
        runs=summaries,
        rows=[_completed(row, {name: found[row.number] for name, found in read.items()}) for row in chosen],
        total=sum(row.number >= 0 for row in everything),
        readings={name: _readings(readers[name], found, most_paired) for name, found in read.items()},
        what_ifs={name: {number: each for number, (_, each) in found.items()} for name, found in read.items()},
    )
    write_text(output, page(contents))
    return output


def _completed(row: Row, found: Mapping[str, tuple[Explanation, WhatIf]]) -> Row:
    """The row with what the readings say; an example that is not in the test split had none."""
    effects: dict[str, float | None] = {}
    for name, (_, what_if) in found.items():
        whole, left = (what_if.probability["capacity"][what_if.counts.index(count)] for count in (0, what_if.main))
        effects[name] = None if whole is None or left is None else round(whole - left, 4)
    predictions = {name: explanation.prediction for name, (explanation, _) in found.items()}
    words = max(len(explanation.words) for explanation, _ in found.values())
    return replace(row, words=words, predictions=predictions, effects=effects)


def _readings(reader: Reader, found: Mapping[int, tuple[Explanation, WhatIf]], most_paired: int) -> dict[int, Reading]:
    return {
        number: reading(
            explanation,
            most_paired=most_paired,
            other=other_scores(reader.run, number),
        )
        for number, (explanation, _) in found.items()
    }


def _most_paired(explanations: Sequence[Explanation]) -> int:
    """The most words of a text whose pairs can be told without the file growing too large."""
    words = np.array([len(each.words) for each in explanations])
    sites = np.array([len(each.sites) for each in explanations])
    layers = np.array([len(each.attention) for each in explanations])

    def size(most: int) -> float:
        shown = np.minimum(words, most)
        numbers = sites * shown * (shown - 1) / 2 + layers * shown**2
        return float((numbers * 2 * 4 / 3).sum())  # base64 of 2 bytes each

    return max(most for most in range(2, max(int(words.max()), 2) + 1) if most == 2 or size(most) <= LARGEST_MATRICES)
