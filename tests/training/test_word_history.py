import json
import warnings

import numpy as np
import pytest
from transformers import TrainerCallback

from safr.attribution.explain import explain
from safr.config import Regularization
from safr.data import Split, TextDataset
from safr.data.splits import hash_text
from safr.errors import InputError
from safr.evaluation.evaluate import PAPER_SENTENCE
from safr.runs import Run
from safr.training import train, trainer, word_history
from safr.training.prepare import prepare_training
from tests.test_training import StopAfter, same, small_data, weights, with_recipe
from tests.training.test_reporting import history


def dev_texts(*texts: str) -> TextDataset:
    """Data whose dev split holds these texts."""
    small = small_data()
    dev = Split(texts, tuple(number % 2 for number in range(len(texts))))
    return TextDataset("small", small.train, dev, small.test, label_names=("bad", "good"), origin="made up", cleaned={})


def test_following_the_words_changes_no_number_of_the_training(tmp_path, monkeypatch):
    settings = with_recipe(epochs=2, gradient_accumulation=2).changed(information=0.1, warmup_steps=3)
    followed = train(settings, small_data(), tmp_path / "followed")
    monkeypatch.setattr(trainer, "WordHistoryWriter", lambda *_: TrainerCallback())
    alone = train(settings, small_data(), tmp_path / "alone")
    assert same(weights(followed), weights(alone))
    assert history(followed) == history(alone)
    assert followed.word_history
    assert not alone.word_history_file.exists()


def test_there_is_a_line_before_training_and_one_for_each_epoch(tmp_path):
    run = train(with_recipe(epochs=2, kept_epoch="last"), small_data(), tmp_path / "run")
    first, *others = run.word_history
    assert [line["epoch"] for line in run.word_history] == [0, 1, 2]
    assert first["site"] == "fc1.0"
    assert PAPER_SENTENCE.startswith(" ".join(first["texts"][0]["words"]))
    assert all("texts" not in line for line in others)
    assert first["capacity"] != others[0]["capacity"]
    assert "word_history.jsonl" in json.loads((run.folder / "safr-checksums.json").read_text())
    model, tokenizer = run.load_model()
    for number, text in enumerate(first["texts"]):
        explanation = explain(model, tokenizer, " ".join(text["words"]), max_tokens=run.settings.max_tokens)
        np.testing.assert_allclose(others[-1]["capacity"][number], explanation.capacity, rtol=6e-3)
        assert others[-1]["prediction"][number] == explanation.prediction
        assert others[-1]["probability"][number] == pytest.approx(explanation.probability, rel=6e-3)


def test_a_resumed_training_leaves_the_same_lines(tmp_path):
    whole = train(with_recipe(), small_data(), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(with_recipe(), small_data(), tmp_path / "stopped", callbacks=[StopAfter(1)])
    assert [line["epoch"] for line in Run(tmp_path / "stopped").word_history] == [0, 1]
    resumed = train(with_recipe(), small_data(), tmp_path / "stopped", resume=True)
    assert resumed.word_history == whole.word_history


def test_a_run_that_an_older_version_began_has_the_words_in_its_first_line(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(with_recipe(), small_data(), tmp_path / "run", callbacks=[StopAfter(1)])
    Run(tmp_path / "run").word_history_file.unlink()
    resumed = train(with_recipe(), small_data(), tmp_path / "run", resume=True)
    assert [line["epoch"] for line in resumed.word_history] == [2, 3]
    assert resumed.word_history[0]["texts"]


def test_what_fails_is_said_once_and_training_goes_on(tmp_path, monkeypatch):
    def fail(*_, **options):
        raise RuntimeError("out of memory\nand more")

    plain = train(with_recipe(epochs=2), small_data(), tmp_path / "plain")
    monkeypatch.setattr(word_history, "explain_texts", fail)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = train(with_recipe(epochs=2), small_data(), tmp_path / "run")
    said = [str(warning.message) for warning in caught if "example sentences" in str(warning.message)]
    expected = "the words of the example sentences are no longer followed (out of memory); training continues"
    assert said == [f"{run.folder}: {expected} without them"]
    assert same(weights(plain), weights(run))
    assert run.word_history == []


def test_a_damaged_file_is_said_and_left_as_it_is_when_training_is_resumed(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(with_recipe(), small_data(), tmp_path / "run", callbacks=[StopAfter(1)])
    file = Run(tmp_path / "run").word_history_file
    file.write_text("{")
    with pytest.warns(UserWarning, match=r"no longer followed \(.*word_history\.jsonl: .*damaged"):
        run = train(with_recipe(), small_data(), tmp_path / "run", resume=True)
    assert file.read_text() == "{"
    with pytest.raises(InputError, match=r"word_history\.jsonl: "):
        run.word_history  # noqa: B018


def test_texts_of_8_to_30_words_come_first_and_then_the_nearest(tmp_path):
    fitting = [f"{'film ' * count}good" for count in (7, 12, 29)]
    data = dev_texts("", "film", f"{'film ' * 40}", *fitting, f"{'film ' * 5}")
    chosen = word_history.choose_followed_texts(prepare_training(with_recipe(), data, tmp_path), data)
    assert chosen == sorted(fitting, key=hash_text)
    data = dev_texts("film", "film " * 40, "", fitting[0], "film " * 5)
    chosen = word_history.choose_followed_texts(prepare_training(with_recipe(), data, tmp_path), data)
    assert [text.split() for text in chosen] == [fitting[0].split(), ["film"] * 5, ["film"]]


def test_a_model_without_a_word_mask_is_followed_too(tmp_path):
    settings = with_recipe(epochs=1).changed(regularization=Regularization(importance=0, interaction=0, vmask=False))
    run = train(settings, small_data(), tmp_path / "run")
    assert len(run.word_history) == 2
