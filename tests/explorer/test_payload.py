import shutil

import numpy as np
import pyarrow.parquet
import pytest

from safr import runs
from safr.attribution.gradients import gradient_x_input
from safr.data import load_data
from safr.data.encoding import encode, replace_surrogates
from safr.errors import InputError
from safr.evaluation.benchmark import benchmark
from safr.explorer.payload import choose_texts, list_texts, load_other_scores, summarize_run
from safr.model.save import load
from safr.runs import Run
from safr.storage import read_json, write_json, write_parquet, write_text
from tests import tiny


@pytest.fixture
def copied(safr_run, tmp_path):
    shutil.copytree(safr_run.folder, tmp_path / "copy")
    return Run(tmp_path / "copy")


def test_rows_are_the_test_texts_with_what_each_run_predicts(baseline, safr_run):
    found = list_texts([baseline, safr_run])
    split = tiny.dataset().test
    assert all("\ud800" not in row.text for row in found)  # which no JSON can hold
    assert [row.number for row in found] == [n for n, text in enumerate(split.texts) if text.split()]
    for row in found:
        assert row.label == tiny.LABELS[split.labels[row.number]]
        assert set(row.predictions) == {"baseline", "safr"}
        assert set(row.predictions.values()) <= set(tiny.LABELS)
    right = np.mean([row.predictions["safr"] == row.label for row in found])
    assert right == pytest.approx(safr_run.scores["accuracy"]["value"], abs=1.01 / len(split.texts))


def test_without_the_data_texts_are_put_together_from_their_words(safr_run):
    by_number = {row.number: row for row in list_texts([safr_run])}
    split = tiny.dataset().test
    for number in range(13):
        assert by_number[number].text == split.texts[number]
    assert by_number[14].text == " ".join(split.texts[14].split()[: by_number[14].words])


def test_with_the_data_texts_are_as_they_stand_there(safr_run, monkeypatch):
    monkeypatch.setattr(runs, "load_data", lambda *_, **__: tiny.dataset())
    assert {row.number: row.text for row in list_texts([safr_run])}[14] == tiny.dataset().test.texts[14]


def test_other_data_of_the_same_name_are_not_taken_for_the_runs(safr_run, monkeypatch):
    monkeypatch.setattr(runs, "load_data", lambda *_, **__: tiny.dataset(seed=9))
    assert list_texts([safr_run])[0].text == tiny.dataset().test.texts[0]


def test_no_hub_is_asked(copied, monkeypatch):
    monkeypatch.setattr(runs, "load_data", lambda *_, **__: pytest.fail("asked"))
    record = copied.record
    record["settings"]["data"] = "hub:someone/something"
    write_json(copied.config_file, record)
    assert list_texts([copied])


def test_further_scores_of_a_run_are_found_by_themselves(copied):
    assert load_other_scores(copied, 0) == {}
    benchmark(copied, tiny.dataset(), methods=["gradient_x_input"], removals=["delete"])
    found = load_other_scores(copied, 2)
    assert list(found) == ["gradient_x_input"]
    (text,) = encode(tiny.tokenizer(), [tiny.dataset().test.texts[2]], copied.settings.max_tokens)
    (expected,) = gradient_x_input(load(copied.model_folder), [text])
    np.testing.assert_allclose(found["gradient_x_input"], expected, atol=1e-6)


def test_the_examples_come_first_and_then_a_sample_that_is_always_the_same(safr_run):
    everything = list_texts([safr_run])
    chosen = choose_texts([safr_run], everything, 6)
    assert len(chosen) == 6
    assert {row.text for row in chosen[:2]} == {
        replace_surrogates(each["text"]) for each in read_json(safr_run.examples_file)
    }
    assert chosen == choose_texts([safr_run], everything[::-1], 6)
    assert len(choose_texts([safr_run], everything, 1000)) >= len(everything)
    with pytest.raises(InputError, match="--texts must be at least 1, got 0"):
        choose_texts([safr_run], everything, 0)


def test_what_is_missing_is_one_line(copied, safr_run):
    with pytest.raises(InputError, match=r"^the runs' folders need different names, got safr, safr$"):
        list_texts([safr_run, safr_run])
    copied.words_file.write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"tokens\.parquet: was changed since it was written, or is damaged"):
        list_texts([copied])
    copied.words_file.unlink()
    with pytest.raises(InputError, match="keeps no words of its test texts; run `safr evaluate"):
        list_texts([copied])
    copied.scores_file.unlink()
    with pytest.raises(InputError, match="not evaluated yet; run `safr evaluate"):
        summarize_run(copied)


def test_the_data_can_really_be_loaded_without_a_network():
    assert load_data("rotten_tomatoes", download=False).test.texts


def test_an_epoch_that_diverged_is_told_without_a_number(safr_run, tmp_path):
    run = Run(shutil.copytree(safr_run.folder, tmp_path / "run"))
    write_text(run.history_file, '{"epoch": 1, "task": NaN, "dev_accuracy": 0.5}\n')
    assert summarize_run(run).history == [{"epoch": 1, "task": None, "dev_accuracy": 0.5}]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("scores.json", b'{"site": "fc1.0"}'),
        ("scores.json", b"\xff\x00"),
        ("history.jsonl", b'{"epoch": "one"}'),
        ("history.jsonl", b"\xff"),
        ("examples.json", b"{}"),
        ("examples.json", b'[{"text": 3, "label": "pos"}]'),
        ("examples.json", b'[{"text": "a"}]'),
        ("tokens.parquet", b"PAR1PAR1"),
        ("tokens.parquet", b""),
        ("benchmark/scores/occlusion.parquet", b"PAR1 nothing PAR1"),
    ],
)
def test_a_damaged_file_is_one_line(copied, name, content):
    path = copied.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)

    def read_all():
        summarize_run(copied)
        choose_texts([copied], list_texts([copied]), 3)
        load_other_scores(copied, 0)

    with pytest.raises(InputError) as raised:
        read_all()
    assert "\n" not in str(raised.value)


def test_words_of_other_columns_or_with_gaps_are_one_line(copied):
    table = pyarrow.parquet.read_table(copied.words_file)
    gaps = pyarrow.array([None] * len(table), pyarrow.string())
    for damaged in (
        table.drop_columns(["label"]),
        table.set_column(0, "text", pyarrow.array(["a"] * len(table))),
        table.set_column(table.schema.get_field_index("label"), "label", gaps),
    ):
        write_parquet(copied.words_file, damaged)
        with pytest.raises(InputError, match=r"tokens\.parquet: expected Parquet, but it is damaged"):
            list_texts([copied])


def test_scores_that_are_not_finite_are_refused(copied):
    scores = read_json(copied.scores_file)
    scores["accuracy"]["low"] = float("nan")
    write_json(copied.scores_file, scores)
    with pytest.raises(InputError, match=r"expected type \"number\" of accuracy\.low, got NaN"):
        summarize_run(copied)
