import json
import shutil

import pytest

from safr.errors import InputError
from safr.explorer.word_history import read_word_histories, read_word_history
from safr.runs import Run
from safr.storage import write_text


@pytest.fixture
def copied(safr_run, tmp_path):
    return Run(shutil.copytree(safr_run.folder, tmp_path / "run"))


def test_the_history_of_the_words_is_told_with_the_accuracy_of_each_epoch(safr_run):
    history = read_word_history(safr_run)
    lines = safr_run.word_history
    assert (history.site, history.metric) == ("fc1.0", "accuracy")
    assert [text.words for text in history.texts] == [text["words"] for text in lines[0]["texts"]]
    assert [epoch.capacity for epoch in history.epochs] == [line["capacity"] for line in lines]
    accuracies = [line["dev_accuracy"] for line in safr_run.history]
    assert [epoch.accuracy for epoch in history.epochs] == [None, *accuracies]


def test_a_run_without_it_is_left_out(copied, safr_run):
    copied.word_history_file.unlink()
    assert list(read_word_histories([copied, safr_run])) == ["safr"]


@pytest.mark.parametrize("name", ["capacity", "prediction", "probability", "texts"])
def test_a_line_that_does_not_fit_the_words_is_named(copied, name):
    lines = copied.word_history
    lines[0 if name == "texts" else 1][name].pop()
    write_text(copied.word_history_file, "".join(f"{json.dumps(line)}\n" for line in lines))
    with pytest.raises(InputError, match=r"word_history\.jsonl: expected the capacity of every word of each text"):
        read_word_history(copied)
