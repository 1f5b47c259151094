"""Write scores per word to files and read them back, also the scores of other tools that are compared with ours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow

from safr.attribution.words import Scores
from safr.data.encoding import EncodedText
from safr.data.files import iter_json_objects
from safr.data.messages import list_names, shorten_path
from safr.errors import InputError, shorten_text
from safr.storage import read_parquet, write_parquet

ScoresByText = dict[int, tuple[list[str], np.ndarray]]
"""Words and their scores by the number of the text."""

_COLUMNS = ("text", "position", "word", "score")


def write_scores(path: Path, texts: Sequence[EncodedText], numbers: Sequence[int], scores: Scores) -> None:
    """Write scores as Parquet, one row per word: number of the text, position, word, score.

    Args:
        path: The file.
        texts: Encoded texts.
        numbers: Numbers of the texts in their split.
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
    """Scores of some texts, read from a file.

    Args:
        path: Parquet as `write_scores` writes it, or JSONL with one line per text of the split, in the split's order,
            such as `{"words": ["a", "fine", "film"], "scores": [0.1, 2.3, 0.7]}`.
        texts: The texts whose scores are read.
        numbers: Numbers of these texts in the split; the file may also hold others.

    Raises:
        InputError: The file does not exist or can't be read, its words are others than the text's, or there is not one
            finite score per word.
    """
    if not path.is_file():
        raise InputError(f"{path}: expected a file of scores (.parquet or .jsonl), found none")
    readers = {".parquet": _read_parquet, ".jsonl": _read_jsonl}
    if path.suffix not in readers:
        raise InputError(f"{path}: expected scores as .parquet or .jsonl, got {path.suffix or 'no ending'}")
    scores_by_text = readers[path.suffix](path)
    no_scores: tuple[list[str], np.ndarray] = ([], np.zeros(0))
    for number, text in zip(numbers, texts, strict=True):
        words, scores = scores_by_text.get(number, no_scores)
        if words != list(text.words):
            raise InputError(
                f"{shorten_path(path)}: expected the words {_show_words(text.words)} of text {number}, got "
                f"{_show_words(words)}; see the run's tokens.parquet for how texts are cut into words"
            )
        if scores.shape != (len(words),) or not np.isfinite(scores).all():
            shown = shorten_text(scores.tolist())
            raise InputError(f"{shorten_path(path)}: expected {len(words)} finite scores of text {number}, got {shown}")
    return [scores_by_text.get(number, no_scores)[1] for number in numbers]


def _show_words(words: Sequence[object]) -> str:
    return f"[{list_names(words[:8], 60).removesuffix(', ...')}]..."


def _read_parquet(path: Path) -> ScoresByText:
    table = read_parquet(path)
    if missing := [name for name in _COLUMNS if name not in table.column_names]:
        raise InputError(f"{path}: expected the columns {', '.join(_COLUMNS)}, found no {', '.join(missing)}")
    rows = table.sort_by([("text", "ascending"), ("position", "ascending")])
    try:
        if rows["text"].null_count:
            raise ValueError("a text has no number")
        texts, words = rows["text"].to_numpy().astype(np.int64), rows["word"].to_pylist()
        scores = rows["score"].to_numpy().astype(np.float64)
    except (ValueError, TypeError, OverflowError, pyarrow.ArrowException) as error:
        raise InputError(
            f"{shorten_path(path)}: expected numbers in the columns text and score ({shorten_text(error)})"
        ) from error
    numbers, starts = np.unique(texts, return_index=True)
    ends = [*starts[1:].tolist(), len(texts)]
    return {
        number: (words[start:end], scores[start:end])
        for number, start, end in zip(numbers.tolist(), starts.tolist(), ends, strict=True)
    }


def _read_jsonl(path: Path) -> ScoresByText:
    scores_by_text: ScoresByText = {}
    for number, (place, values) in enumerate(iter_json_objects(path)):
        words = values.get("words")
        try:
            if not isinstance(words, list):
                raise TypeError("no list of words")
            scores_by_text[number] = words, np.array(values["scores"], dtype=np.float64)  # null becomes NaN
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            shown = shorten_text(values)
            raise InputError(f'{place}: expected {{"words": [...], "scores": [...]}}, got {shown}') from error
    return scores_by_text
