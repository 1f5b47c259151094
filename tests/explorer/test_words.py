import dataclasses
import json
import math
import shutil

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from safr.data.tokenizer import train_subword_tokenizer
from safr.errors import InputError
from safr.explorer import words
from safr.explorer.words import WordIndex, WordTable, count_half_words, cut_to_bytes, read_word_index
from safr.runs import Run
from safr.storage import write_parquet


def index(task="classification", **columns):
    places = {"text": [0, 0, 0, 1], "word": ["good", "film", "good", "good"], "capacity": [0.5, 0.25, 0.75, 1.0]}
    return WordIndex(pyarrow.table(places | columns), ("bad", "fine"), task, is_lower=True)


def test_words_are_counted_by_texts_and_places():
    table = index().table
    assert (table.words, table.texts, table.counts, table.total) == (["good", "film"], [2, 1], [3, 1], 2)
    assert (table.capacity, table.keep, table.relevance) == ([0.75, 0.25], None, {})


def test_relevance_is_a_mean_over_the_texts_that_get_the_class():
    table = index(relevance=[1.0, 2.0, 3.0, 8.0], prediction=["fine", "fine", "fine", "bad"]).table
    assert table.relevance == {"bad": [8.0, None], "fine": [2.0, 2.0]}
    assert list(table.relevance) == ["bad", "fine"], "the classes stand in the data's order"


@pytest.mark.parametrize("task", ["regression", "multi_label"])
def test_relevance_of_a_number_or_of_several_classes_is_one_column(task):
    prediction = [1.5, 1.5, 1.5, 2.5] if task == "regression" else ["a; b", "a; b", "a; b", "a"]
    table = index(task, relevance=[1.0, 2.0, 3.0, 8.0], prediction=prediction).table
    assert table.relevance == {"": [4.0, 2.0]}


def test_relevance_of_many_classes_is_one_column(monkeypatch):
    monkeypatch.setattr(words, "MOST_WORD_CLASSES", 1)
    table = index(relevance=[1.0, 2.0, 3.0, 8.0], prediction=["fine", "fine", "fine", "bad"]).table
    assert table.relevance == {"": [4.0, 2.0]}


def test_the_least_frequent_words_are_left_out_and_counted(monkeypatch):
    monkeypatch.setattr(words, "MOST_TABLE_WORDS", 1)
    assert (index().table.words, index().table.total) == (["good"], 2)


def test_a_number_that_is_not_finite_is_none():
    assert index(keep=[0.5, math.nan, 0.5, 0.5]).table.keep == [0.5, None]


def test_the_texts_of_a_word_are_found():
    assert index().find_texts("good") == [0, 1]
    assert index().find_texts("film") == [0]
    assert index().find_texts("Film") == []


def test_the_table_of_a_run_says_what_its_words_file_says(readers):
    for reader in readers:
        places = pyarrow.parquet.read_table(reader.run.words_file).to_pandas()
        table = reader.word_index.table
        assert table.total == len(table.words) == places["word"].nunique()
        assert (table.keep is None) == (reader.run.name == "baseline")
        for number, word in enumerate(table.words):
            rows = places[places["word"] == word]
            assert (table.texts[number], table.counts[number]) == (rows["text"].nunique(), len(rows))
            assert table.capacity[number] == pytest.approx(rows["capacity_fc1_0"].mean(), rel=6e-3)
            for name in ("bad", "<good>"):
                found = table.relevance[name][number]
                expected = rows[rows["prediction"] == name]["relevance"].mean()
                assert found == pytest.approx(expected, rel=6e-3) if found is not None else np.isnan(expected)
        assert reader.word_index.find_texts(table.words[0]) == sorted(
            set(places[places["word"] == table.words[0]]["text"])
        )


def test_upper_and_lower_case_are_one_word_where_the_model_reads_them_alike(safr_run, tmp_path):
    run = Run(shutil.copytree(safr_run.folder, tmp_path / "run"))
    table = pyarrow.parquet.read_table(run.words_file)
    spelled = pyarrow.array(["Film", "film"] + ["a"] * (len(table) - 2))
    write_parquet(run.words_file, table.set_column(table.column_names.index("word"), "word", spelled))
    as_read = read_word_index(run, run.load_model()[1])
    assert (as_read.table.words, as_read.is_lower) == (["a", "Film", "film"], False)
    lower = read_word_index(run, train_subword_tokenizer(["a film"] * 2))
    assert (lower.table.words, lower.is_lower) == (["a", "film"], True)


def test_a_run_of_an_older_version_has_words_without_relevance(safr_run, tmp_path):
    run = Run(shutil.copytree(safr_run.folder, tmp_path / "run"))
    write_parquet(run.words_file, pyarrow.parquet.read_table(run.words_file).drop_columns(["relevance"]))
    assert read_word_index(run, run.load_model()[1]).table.relevance == {}
    assert count_half_words(run) is None
    write_parquet(run.words_file, pyarrow.parquet.read_table(run.words_file).drop_columns(["capacity_fc1_0"]))
    with pytest.raises(InputError, match=r"tokens\.parquet: .*capacity_fc1_0"):
        read_word_index(run, run.load_model()[1])


def with_relevance(folder, *texts):
    """A run whose words have this relevance, text by text."""
    rows = [(number, value) for number, values in enumerate(texts) for value in values]
    write_parquet(
        folder / "tokens.parquet", pyarrow.table(dict(zip(("text", "relevance"), zip(*rows, strict=True), strict=True)))
    )
    return Run(folder)


def test_half_of_what_speaks_for_the_prediction_lies_in_so_many_words(tmp_path):
    half = count_half_words(with_relevance(tmp_path, [2.0, -9.0, 3.0, 2.0], [1.0, 1.0, 5.0, 1.0], [-1.0, 0.0]))
    assert (half.value, half.low, half.high) == (1.5, 1.0, 2.0), "of two texts; no word of the third speaks for it"
    assert count_half_words(with_relevance(tmp_path, [1.0, 2.0])) is None, "one text has no interval"


def test_words_with_half_are_counted_as_by_a_loop(safr_run):
    rows = pyarrow.parquet.read_table(safr_run.words_file, columns=["text", "relevance"]).to_pylist()
    texts = {}
    for row in rows:
        texts.setdefault(row["text"], []).append(max(row["relevance"], 0))
    counts = []
    for values in texts.values():
        held, count = 0.0, 0
        for value in sorted(values, reverse=True):
            if held < sum(values) / 2:
                held, count = held + value, count + 1
        counts += [count] if count else []
    assert len(set(counts)) > 1
    assert count_half_words(safr_run).value == pytest.approx(np.mean(counts))


def test_tables_are_cut_to_a_number_of_bytes_all_columns_alike():
    count = 200
    table = WordTable(
        [f"word{n}" for n in range(count)],
        [1] * count,
        [2] * count,
        [0.5] * count,
        [0.25] * count,
        {"bad": [1.5] * count},
        count,
        is_lower=True,
    )
    cut = cut_to_bytes({"one": table, "two": table}, 8000)
    for part in cut.values():
        assert 2500 < len(json.dumps(dataclasses.asdict(part), separators=(",", ":"))) <= 4000
        columns = [part.words, part.texts, part.counts, part.capacity, part.keep, part.relevance["bad"]]
        assert {len(column) for column in columns} == {len(part.words)}
        assert part.words == table.words[: len(part.words)]
        assert part.total == count
    assert cut_to_bytes({"one": table}, 10**6)["one"] == table
