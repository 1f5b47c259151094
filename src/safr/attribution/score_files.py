"""Scores in, a file out, and back again: also the scores of any other tool, to be judged beside ours."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet

from safr.attribution.words import Scores
from safr.data.encoding import EncodedText
from safr.errors import InputError
from safr.storage import write_parquet

_COLUMNS = ("text", "position", "word", "score")


def write_scores(path: Path, texts: Sequence[EncodedText], numbers: Sequence[int], scores: Scores) -> None:
    """Write scores as Parquet, one row per word: number of the text, position, word, score.

    Args:
        path: The file.
        texts: Encoded texts.
        numbers: Number of each text in its split.
        scores: One score per word, for every text.
    """
    sizes = [len(text.words) for text in texts]
    columns = (
        np.repeat(numbers, sizes),
        np.concatenate([np.arange(size) for size in sizes]),
        [word for text in texts for word in text.words],
        np.concatenate(scores),
    )
    write_parquet(path, pyarrow.table(dict(zip(_COLUMNS, columns, strict=True))))


def read_scores(path: Path, texts: Sequence[EncodedText], numbers: Sequence[int]) -> Scores:
    """Scores from a file, for texts that are known.

    Args:
        path: Parquet as `write_scores` writes it, or JSONL: for each text of the split, in their order, one line such
            as `{"words": ["a", "fine", "film"], "scores": [0.1, 2.3, 0.7]}`.
        texts: The texts that are asked for.
        numbers: Number of each of them in the split; the file may hold others too.

    Raises:
        InputError: No such file, not one finite score for each word, or other words.
    """
    if not path.is_file():
        raise InputError(f"{path}: expected a file of scores (.parquet or .jsonl), found none")
    readers = {".parquet": _from_parquet, ".jsonl": _from_jsonl}
    if path.suffix not in readers:
        raise InputError(f"{path}: expected scores as .parquet or .jsonl, got {path.suffix or 'no ending'}")
    found = readers[path.suffix](path)
    nothing: tuple[list[str], np.ndarray] = ([], np.zeros(0))
    for number, text in zip(numbers, texts, strict=True):
        words, scores = found.get(number, nothing)
        if words != list(text.words):
            raise InputError(
                f"{path}: expected the words {list(text.words)[:8]}... of text {number}, got {words[:8]}...; see the "
                "run's tokens.parquet for how texts are cut into words"
            )
        if scores.shape != (len(words),) or not np.isfinite(scores).all():
            raise InputError(f"{path}: expected {len(words)} finite scores of text {number}, got {scores.tolist()[:8]}")
    return [found.get(number, nothing)[1] for number in numbers]


ScoresByText = dict[int, tuple[list[str], np.ndarray]]
"""Words and their scores by the number of the text."""


def _from_parquet(path: Path) -> ScoresByText:
    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{path}: expected Parquet, but it can't be read ({error})") from error
    if missing := [name for name in _COLUMNS if name not in table.column_names]:
        raise InputError(f"{path}: expected the columns {', '.join(_COLUMNS)}, found no {', '.join(missing)}")
    rows = table.sort_by([("text", "ascending"), ("position", "ascending")])
    try:
        texts, words = rows["text"].to_numpy().astype(np.int64), rows["word"].to_pylist()
        scores = rows["score"].to_numpy().astype(np.float64)
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: expected numbers in the columns text and score ({error})") from error
    numbers, starts = np.unique(texts, return_index=True)
    ends = [*starts[1:].tolist(), len(texts)]
    return {
        number: (words[start:end], scores[start:end])
        for number, start, end in zip(numbers.tolist(), starts.tolist(), ends, strict=True)
    }


def _from_jsonl(path: Path) -> ScoresByText:
    found: ScoresByText = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines()):
        try:
            values = json.loads(line)
            found[number] = list(values["words"]), np.array(values["scores"], dtype=np.float64)
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(
                f'{path}, line {number + 1}: expected {{"words": [...], "scores": [...]}}, got {line[:60]}'
            ) from error
    return found
