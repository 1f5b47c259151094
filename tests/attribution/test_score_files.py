import json
import tempfile
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safr.attribution.score_files import read_scores, write_scores
from safr.attribution.words import random_scores
from safr.data.encoding import encode
from safr.errors import InputError
from tests import tiny

TEXTS = encode(tiny.tokenizer(), ["a lovely film", "", "the 漢字 story", "dull"])
NUMBERS = [3, 5, 6, 11]
"""Of the texts in their split."""


@given(st.integers(0, 1000))
def test_scores_come_back_to_the_bit(seed):
    with tempfile.TemporaryDirectory() as folder:
        scores = random_scores(TEXTS, seed)
        write_scores(Path(folder) / "a.parquet", TEXTS, NUMBERS, scores)
        for one, other in zip(read_scores(Path(folder) / "a.parquet", TEXTS, NUMBERS), scores, strict=True):
            np.testing.assert_array_equal(one, other)


def lines(texts=TEXTS):
    return [{"words": list(text.words), "scores": [len(word) for word in text.words]} for text in texts]


def test_another_tool_may_write_lines_of_json(tmp_path):
    path = tmp_path / "lime.jsonl"
    path.write_text("\n".join(map(json.dumps, lines())))
    assert [scores.tolist() for scores in read_scores(path, TEXTS, range(4))] == [[1, 6, 4], [], [3, 2, 5], [4]]


def test_of_a_file_for_the_whole_split_those_that_are_asked_for_are_taken(tmp_path):
    path, scores = tmp_path / "a.parquet", random_scores(TEXTS, 0)
    write_scores(path, TEXTS, NUMBERS, scores)
    np.testing.assert_array_equal(read_scores(path, TEXTS[2:], NUMBERS[2:])[0], scores[2])


def test_rows_may_stand_in_any_order(tmp_path):
    path, scores = tmp_path / "a.parquet", random_scores(TEXTS, 0)
    write_scores(path, TEXTS, NUMBERS, scores)
    table = pyarrow.parquet.read_table(path)
    pyarrow.parquet.write_table(table.take(np.random.default_rng(0).permutation(len(table))), path)
    np.testing.assert_array_equal(read_scores(path, TEXTS, NUMBERS)[2], scores[2])


def test_lines_may_be_what_lines_of_data_may_be(tmp_path):
    texts = encode(tiny.tokenizer(), ["a\u2028lovely film", "dull"])
    words = json.dumps(list(texts[0].words), ensure_ascii=False)
    path = tmp_path / "a.jsonl"
    content = f'\ufeff{{"words": {words}, "scores": [1, 2, 3], "more": "a\u2028b"}}\r\n\r\n'
    path.write_bytes((content + '{"words": ["dull"], "scores": [4]}\n\n').encode())
    assert [scores.tolist() for scores in read_scores(path, texts, range(2))] == [[1, 2, 3], [4]]


def written(path, wrong):
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in wrong))
    return path


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lines()[:3], r"expected the words \['dull'\]\.\.\. of text 3, got \[\]"),
        (
            [*lines()[:3], {"words": ["dul"], "scores": [1]}],
            r"expected the words \['dull'\]\.\.\. of text 3, got \['dul'\]",
        ),
        ([*lines()[:3], {"words": ["dull"], "scores": [1, 2]}], "expected 1 finite scores of text 3"),
        ([*lines()[:3], {"words": ["dull"], "scores": [None]}], r"expected 1 finite scores of text 3, got \[nan\]"),
        ([*lines()[:3], {"words": "dull", "scores": [1]}], r"line 4: expected \{\"words\""),
        ([*lines()[:3], {"words": ["dull"], "scores": [float("nan")]}], "expected 1 finite scores of text 3"),
        ([*lines()[:3], "{"], r"line 4: invalid JSON"),
        ([*lines()[:3], {"words": ["dull"], "scores": ["high"]}], r"line 4: expected \{\"words\""),
        ([*lines()[:3], {"scores": [1]}], r"line 4: expected \{\"words\""),
    ],
)
def test_what_does_not_fit_gets_one_clear_line(tmp_path, wrong, message):
    with pytest.raises(InputError, match=message) as raised:
        read_scores(written(tmp_path / "a.jsonl", wrong), TEXTS, range(4))
    assert "\n" not in str(raised.value)


def test_files_that_are_none_are_told(tmp_path):
    with pytest.raises(InputError, match="expected a file of scores"):
        read_scores(tmp_path / "none.parquet", TEXTS, NUMBERS)
    with pytest.raises(InputError, match=r"expected scores as \.parquet or \.jsonl, got \.csv"):
        read_scores(written(tmp_path / "a.csv", ["a"]), TEXTS, NUMBERS)
    with pytest.raises(InputError, match="expected Parquet"):
        read_scores(written(tmp_path / "a.parquet", ["a"]), TEXTS, NUMBERS)
    pyarrow.parquet.write_table(pyarrow.table({"text": [0]}), tmp_path / "b.parquet")
    with pytest.raises(InputError, match="found no position, word, score"):
        read_scores(tmp_path / "b.parquet", TEXTS, NUMBERS)
