import gc
import random
import subprocess
import sys

import numpy as np
import pandas
import pytest
import torch

import safr
from safr.attribution import explanation_files
from safr.attribution.explain import explain
from safr.attribution.explanation import Explanation
from safr.attribution.explanation_files import explain_to_parquet
from safr.config import Regularization
from safr.data.encoding import EncodedText
from safr.errors import InputError
from tests import tiny

MASKED = Regularization(vmask_width=8)


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    monkeypatch.setattr(explanation_files, "TEXTS_PER_PART", 4)
    monkeypatch.setattr(explanation_files, "_ROWS_PER_GROUP", 30)


@pytest.fixture(scope="module")
def model():
    return tiny.model(MASKED)


def make_texts(count):
    draw = random.Random(0)
    words = f"{tiny.GOOD} {tiny.BAD} {tiny.NEITHER}".split()
    return [" ".join(draw.choices(words, k=draw.randint(1, 9))) for _ in range(count)]


class Killed(BaseException):
    pass


def stop_after(count):
    def progress(done, total):
        if done >= count:
            raise Killed

    return progress


def folder_of(path):
    return path.with_name(f".{path.name}.parts")


@pytest.mark.parametrize("count", [0, 1, 4, 19])
def test_the_file_is_the_table_of_the_list(model, tmp_path, count):
    texts = make_texts(count)
    path = explain_to_parquet(model, tiny.tokenizer(), iter(texts), tmp_path / "new" / "words.parquet")
    expected = explain(model, tiny.tokenizer(), texts).to_pandas()
    found = pandas.read_parquet(path)
    assert list(found.columns) == list(expected.columns)
    for name in ("capacity", "keep", "probability"):  # other texts share a batch
        np.testing.assert_allclose(found.pop(name), expected.pop(name), rtol=1e-5, atol=1e-6)
    pandas.testing.assert_frame_equal(found, expected)
    assert [file.name for file in path.parent.iterdir()] == ["words.parquet"]


def test_progress_tells_how_many_texts_are_done_and_of_how_many(model, tmp_path):
    calls = []
    explain_to_parquet(
        model, tiny.tokenizer(), make_texts(9), tmp_path / "a", progress=lambda *call: calls.append(call)
    )
    assert calls == [(4, 9), (8, 9), (9, 9)]
    explain_to_parquet(
        model, tiny.tokenizer(), iter(make_texts(9)), tmp_path / "b", progress=lambda *call: calls.append(call)
    )
    assert calls[3:] == [(4, None), (8, None), (9, None)]


def count_held():
    return sum(type(each) in (EncodedText, Explanation) for each in gc.get_objects())


def test_texts_are_read_as_they_are_needed_and_not_kept(model, tmp_path):
    """Nothing that is made of a text, whatever their number, outlives the part that the text is in."""
    given, most_ahead, most_held = 0, 0, 0

    def give():
        nonlocal given
        for text in make_texts(60):
            given += 1
            yield text

    def progress(done, total):
        nonlocal most_ahead, most_held
        most_ahead = max(most_ahead, given - done)
        most_held = max(most_held, count_held() - before)

    before = count_held()
    explain_to_parquet(model, tiny.tokenizer(), give(), tmp_path / "words.parquet", progress=progress)
    assert most_ahead == 0
    assert most_held <= 2 * explanation_files.TEXTS_PER_PART


def test_a_stopped_call_goes_on_and_the_file_is_the_same(model, tmp_path, monkeypatch):
    texts = make_texts(19)
    whole = explain_to_parquet(model, tiny.tokenizer(), texts, tmp_path / "whole.parquet").read_bytes()
    path = tmp_path / "words.parquet"
    with pytest.raises(Killed):
        explain_to_parquet(model, tiny.tokenizer(), texts, path, progress=stop_after(8))
    assert not path.exists()
    explained = []
    explain_texts = explanation_files.explain_texts
    monkeypatch.setattr(
        explanation_files,
        "explain_texts",
        lambda *args, **options: explained.append(options["first"]) or explain_texts(*args, **options),
    )
    explain_to_parquet(model, tiny.tokenizer(), iter(texts), path)
    assert explained == [8, 12, 16]
    assert path.read_bytes() == whole
    assert not folder_of(path).exists()


@pytest.mark.slow
def test_a_killed_process_leaves_what_the_next_call_goes_on_with(tmp_path):
    script = """
import os, sys, signal
from pathlib import Path
from safr.attribution import explanation_files
from tests import tiny
from tests.attribution.test_explanation_files import MASKED, make_texts
explanation_files.TEXTS_PER_PART, explanation_files._ROWS_PER_GROUP = 4, 30
stop = int(sys.argv[2])
kill = lambda done, total: os.kill(os.getpid(), signal.SIGKILL) if stop and done >= stop else None
explanation_files.explain_to_parquet(
    tiny.model(MASKED), tiny.tokenizer(), make_texts(19), Path(sys.argv[1]), progress=kill
)
"""
    codes = [
        subprocess.run([sys.executable, "-c", script, str(tmp_path / name), stop], check=False).returncode
        for name, stop in (("a", "0"), ("b", "8"), ("b", "16"), ("b", "0"))
    ]
    assert codes == [0, -9, -9, 0]
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.fixture
def stopped(model, tmp_path):
    """A file of which two parts are there."""
    path = tmp_path / "words.parquet"
    with pytest.raises(Killed):
        explain_to_parquet(model, tiny.tokenizer(), make_texts(19), path, max_tokens=9, progress=stop_after(8))
    return path


def test_parts_of_another_model_or_other_settings_are_refused(model, stopped):
    texts = make_texts(19)
    other = tiny.model(MASKED)
    with torch.no_grad():
        other.layers[0].fc1.bias[0] += 1
    with pytest.raises(InputError, match=r"parts that were made with another model; delete it to start over, or name"):
        explain_to_parquet(other, tiny.tokenizer(), texts, stopped, max_tokens=9)
    with pytest.raises(InputError, match="parts that were made with another max_tokens; delete"):
        explain_to_parquet(model, tiny.tokenizer(), texts, stopped, max_tokens=8)
    words = tiny.tokenizer()
    words.add_tokens(["unheard-of"])
    with pytest.raises(InputError, match="parts that were made with another tokenizer; delete"):
        explain_to_parquet(model, words, texts, stopped, max_tokens=9)
    explain_to_parquet(model, tiny.tokenizer(), texts, stopped, max_tokens=9)


def test_parts_of_other_texts_are_refused(model, stopped):
    texts = make_texts(19)
    with pytest.raises(InputError, match=r"other texts \(among the texts 4 to 7 is another\); give the same texts"):
        explain_to_parquet(model, tiny.tokenizer(), [*texts[:5], "a film", *texts[6:]], stopped, max_tokens=9)
    with pytest.raises(InputError, match=r"other texts \(there are 4 texts, but the parts that are kept hold more\)"):
        explain_to_parquet(model, tiny.tokenizer(), texts[:4], stopped, max_tokens=9)
    assert not stopped.exists()
    explain_to_parquet(model, tiny.tokenizer(), [*texts[:8], "a film"], stopped, max_tokens=9)  # whose later texts may
    assert pandas.read_parquet(stopped)["text"].max() == 8


def test_a_damaged_part_is_named(model, stopped):
    (folder_of(stopped) / "000001.parquet").write_bytes(b"PAR1")
    with pytest.raises(
        InputError, match=r"000001\.parquet: expected Parquet, but it is damaged .*delete it, and it is"
    ):
        explain_to_parquet(model, tiny.tokenizer(), make_texts(19), stopped, max_tokens=9)


def test_a_text_that_cannot_be_explained_is_named_and_nothing_is_lost(model, tmp_path):
    texts, path = [*make_texts(9), " ", "a film"], tmp_path / "words.parquet"
    with pytest.raises(InputError, match=r"^text 9: expected a text with at least one word, got none; leave out"):
        explain_to_parquet(model, tiny.tokenizer(), texts, path)
    del texts[9]
    explain_to_parquet(model, tiny.tokenizer(), texts, path)
    assert pandas.read_parquet(path)["text"].max() == 9


def test_where_nothing_is_kept_yet_other_settings_may_follow(model, tmp_path):
    path = tmp_path / "words.parquet"
    with pytest.raises(InputError, match="text 0"):
        explain_to_parquet(model, tiny.tokenizer(), [" "], path, max_tokens=5)
    explain_to_parquet(model, tiny.tokenizer(), ["a film"], path, max_tokens=6)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("a film", "expected a list of texts, or something that gives them in order, got the text 'a film'"),
        ({"a film"}, "expected a list of texts, or something that gives them in order, got a set of 1"),
        (None, "expected a list of texts, or something that gives them in order, got None"),
        (["a film", None], "^text 1: expected a text or a pair of texts as a tuple, got None"),
    ],
)
def test_what_are_no_texts_gets_one_line(without_type_checks, model, tmp_path, texts, message):
    with pytest.raises(InputError, match=message):
        explain_to_parquet(model, tiny.tokenizer(), texts, tmp_path / "words.parquet")


def test_a_folder_is_no_place_for_the_file(model, tmp_path):
    with pytest.raises(InputError, match="expected the name of a file, found something else there"):
        explain_to_parquet(model, tiny.tokenizer(), ["a film"], tmp_path)


def test_pairs_are_written_with_the_text_of_every_word(tmp_path):
    path = safr.explain_to_parquet(
        tiny.model(), tiny.tokenizer(), [("a film", "dull"), "a"], tmp_path / "words.parquet"
    )
    table = pandas.read_parquet(path)
    assert table["text_of_word"].tolist() == [0, 0, 1, 0]
    assert table["keep"].isna().all()


def test_numbers_may_be_numpys(without_type_checks, model, tmp_path):
    texts = ["a lovely film", "a dull story"]
    one = explain_to_parquet(model, tiny.tokenizer(), texts, tmp_path / "one.parquet", max_tokens=np.int64(8))
    other = explain_to_parquet(model, tiny.tokenizer(), texts, tmp_path / "other.parquet", max_tokens=8)
    assert one.read_bytes() == other.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.parquet", "other.parquet"]


def test_parts_without_the_settings_they_were_made_with_are_not_joined(model, tmp_path):
    folder = tmp_path / ".words.parquet.parts"
    folder.mkdir()
    (folder / "000000.parquet").write_bytes(b"")
    with pytest.raises(InputError, match=r"settings\.json"):
        explain_to_parquet(model, tiny.tokenizer(), ["a lovely film"], tmp_path / "words.parquet")
