import hashlib
import json
import shutil
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import torch
from huggingface_hub import ModelCard
from sklearn.metrics import classification_report
from transformers import AutoTokenizer, BertForSequenceClassification

from safr import inference
from safr.attribution.internals import InternalScores, internal_scores
from safr.attribution.relevance import relevance
from safr.data import Split, TextDataset
from safr.data.batches import iter_batches
from safr.data.encoding import EncodedText, encode
from safr.errors import InputError
from safr.evaluation import evaluate as evaluate_module
from safr.evaluation.audit import AUDIT_MEASURES
from safr.evaluation.benchmark_data import make_model_data
from safr.evaluation.evaluate import (
    EXAMPLES_PER_OUTCOME,
    MAX_WORDS,
    MIN_WORDS,
    PAPER_SENTENCE,
    choose_examples,
    count_unknown,
    count_unknown_words,
    describe_unknown_words,
    evaluate,
)
from safr.evaluation.labels import number_by_name
from safr.evaluation.srs import DELETION_PERCENTS, count_deleted, srs
from safr.evaluation.statistics import bootstrap_mean
from safr.inference import predict
from safr.model.attach import attach
from safr.model.save import load
from safr.model.transformer import TransformerForSequenceClassification
from safr.report import write_report
from safr.runs import Run
from safr.storage import read_json, write_json
from tests import tiny, tiny_tokenizers

SITES = {"capacity_embedding", "capacity_fc1_0", "capacity_fc1_out_0", "capacity_fc2_0"}


@pytest.fixture
def copy(run, tmp_path):
    """A run of one's own, to be evaluated again."""
    shutil.copytree(run.folder, tmp_path / run.name)
    return Run(tmp_path / run.name)


def has_mask(run):
    return run.settings.regularization.vmask


def estimates(value):
    """Every value with an interval in nested scores."""
    if isinstance(value, dict) and "value" in value:
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from estimates(inner)


def texts_of(run):
    tokenizer = AutoTokenizer.from_pretrained(run.model_folder)
    return encode(tokenizer, tiny.dataset().test.texts, tiny.MAX_TOKENS)


def words_by_text(run, column):
    table = pyarrow.parquet.read_table(run.words_file)
    number, values = table["text"].to_numpy(), np.array(table[column].to_pylist())
    return [values[number == each] for each in range(len(tiny.dataset().test))]


SENTIMENTS = ("negative", "positive")


TEN = [f"text {number} of exactly ten words , that is so" for number in range(12)]


def encoded(text, *, truncated=False):
    words = tuple(text.split())
    return EncodedText(tuple(range(len(words))), words, tuple(range(len(words))), truncated=truncated)


def chosen(texts, predictions=None, *, labels=None, names=("no", "yes"), truncated=()):
    labels = labels or [number % 2 for number in range(len(texts))]
    scored = [InternalScores(guess, None, {"fc1.0": np.ones(1)}) for guess in predictions or labels]
    split = Split(tuple(texts), tuple(labels))
    data = TextDataset("mine", split, split, split, names, "a.csv", {})
    return choose_examples(split, [encoded(text, truncated=text in truncated) for text in texts], scored, data)


def by_hash(texts):
    return sorted(texts, key=lambda text: hashlib.sha256(text.encode()).hexdigest())


def test_scores_have_the_documented_names(run):
    scores, percents = run.scores, {str(percent) for percent in DELETION_PERCENTS}
    names = {"capacity", "capacity_fc1_out_0", "attention", "random"} | ({"keep"} if has_mask(run) else set())
    about = {"task", "split", "site", "texts", "truncated", "undeletable", "unknown", "unknown_words", "duplicates"}
    assert set(scores) == about | {"accuracy", "classes", "deletion", "srs", "capacity", "audit"}
    assert scores["duplicates"] == tiny.dataset().duplicates.to_dict()
    assert scores["site"] == "fc1.0"
    assert (scores["split"], scores["texts"], scores["truncated"]) == ("test", 17, 1)
    assert set(scores["deletion"]) == names
    assert set(scores["srs"]) == percents | {"above_random"} | (names - {"capacity"})
    assert set(scores["srs"]["above_random"]) == percents
    for name in names:
        expected = percents if name in ("capacity", "random") else {"30"}
        assert set(scores["deletion"][name]) == expected
        assert name == "capacity" or set(scores["srs"][name]) == expected
    assert set(scores["capacity"]) == ({"all", "important", "rest"} if has_mask(run) else {"all"})
    assert set(scores["audit"]) == AUDIT_MEASURES.keys() - (set() if has_mask(run) else {"keep"})


def list_leaves(value):
    """Every estimate, or what stands in its place, in nested scores."""
    if not isinstance(value, dict) or "value" in value:
        return [value]
    return [leaf for inner in value.values() for leaf in list_leaves(inner)]


def list_paths(value, *place):
    """The keys that lead to them."""
    if not isinstance(value, dict) or "value" in value:
        return [place]
    return [path for name, inner in value.items() for path in list_paths(inner, *place, name)]


def test_where_nothing_can_be_deleted_its_scores_are_null_with_the_reason(single_word_run, safr_run):
    scores = single_word_run.scores
    assert scores["srs_reason"] == "each of the 12 texts holds one word, so nothing can be deleted"
    assert (scores["texts"], scores["undeletable"]) == (12, 12)
    for name in ("deletion", "srs"):
        assert list_paths(scores[name]) == list_paths(safr_run.scores[name])
        assert set(list_leaves(scores[name])) == {None}
    assert 0 <= scores["accuracy"]["low"] <= scores["accuracy"]["value"] <= scores["accuracy"]["high"]
    assert scores["capacity"]["important"] is None, "30 % of one word is no word, and has no capacity"
    assert scores["capacity"]["all"]["value"] == scores["capacity"]["rest"]["value"] == pytest.approx(1)
    assert len(pyarrow.parquet.read_table(single_word_run.words_file)) == 12
    assert single_word_run.examples == []
    assert "srs_reason" not in safr_run.scores


def test_the_card_of_a_model_without_srs_says_why(single_word_run):
    card = (single_word_run.model_folder / "README.md").read_text(encoding="utf-8")
    assert "| SRS(30) | – (each of the 12 texts holds one word, so nothing can be deleted) |" in card
    assert [result.metric_name for result in ModelCard(card).data.eval_results] == ["accuracy", "macro F1"]


def test_a_model_on_single_words_is_evaluated_where_srs_of_them_is_refused():
    split = Split(("film", "dull", "fresh"), (0, 0, 1))
    scores = evaluate(tiny.model(), split, tokenizer=tiny.tokenizer())
    assert (scores["srs"]["30"], scores["deletion"]["random"]["30"]) == (None, None)
    with pytest.raises(InputError, match="each of the 3 texts is one word to the tokenizer"):
        srs(tiny.model(), tiny.tokenizer(), split.texts, split.labels)
    with pytest.raises(InputError, match="each of the 3 texts is one word to the tokenizer"):
        make_model_data(tiny.model(), tiny.tokenizer(), split, Path("nowhere"), limit=3)


def test_texts_of_one_word_among_others_count_as_0_in_srs():
    texts = ("film", "a dull film", "fresh", "the clever cast")
    scores = evaluate(tiny.model(), Split(texts, (0, 0, 1, 1)), tokenizer=tiny.tokenizer())
    longer = evaluate(tiny.model(), Split(texts[1::2], (0, 1)), tokenizer=tiny.tokenizer())
    assert (scores["undeletable"], "srs_reason" in scores) == (2, False)
    for k in map(str, DELETION_PERCENTS):
        assert scores["srs"][k]["value"] == pytest.approx(longer["srs"][k]["value"] / 2)


def test_a_run_without_a_mask_has_keep_probabilities_nowhere(baseline):
    assert "keep" not in baseline.scores_file.read_text(encoding="utf-8")
    assert "keep" not in pyarrow.parquet.read_table(baseline.words_file).column_names


def test_every_value_lies_in_its_interval(run):
    found = list(estimates(run.scores))
    assert len(found) > 40
    for each in found:
        assert each["low"] <= each["value"] <= each["high"]
    shares = [run.scores["accuracy"], *estimates(run.scores["deletion"]), *estimates(run.scores["capacity"])]
    assert all(each["low"] >= 0 and each["high"] <= 1 for each in shares)


def test_random_deletion_tells_its_spread_over_draws(run):
    for found in run.scores["deletion"]["random"].values():
        assert 0 < found["spread"] < 0.5
    assert "spread" not in run.scores["deletion"]["capacity"]["30"]


def test_the_scores_of_classes_are_those_of_scikit_learn(run):
    (model, tokenizer), test = run.load_model(), tiny.dataset().test
    predictions = predict(model, encode(tokenizer, test.texts, run.settings.max_tokens))
    report = classification_report(
        test.labels, predictions, target_names=tiny.dataset().label_names, output_dict=True, zero_division=0
    )
    classes = run.scores["classes"]
    assert classes["macro_f1"]["value"] == pytest.approx(report["macro avg"]["f1-score"])
    assert classes["balanced_accuracy"]["value"] == pytest.approx(report["macro avg"]["recall"])
    for row in classes["per_class"]:
        assert report[row["label"]] == pytest.approx(
            {"f1-score" if name == "f1" else name: value for name, value in row.items() if name != "label"}
        )
    assert classes["majority"]["share"] == max(map(test.labels.count, {0, 1})) / len(test)


def test_the_models_card_tells_the_main_scores(run):
    card = (run.model_folder / "README.md").read_text(encoding="utf-8")
    scores = run.scores
    told = [
        scores["accuracy"],
        scores["classes"]["macro_f1"],
        *(scores["deletion"][name]["30"] for name in ("random", "capacity")),
        scores["srs"]["30"],
    ]
    results = ModelCard(card).data.eval_results
    assert [result.metric_value for result in results] == [each["value"] for each in told]
    assert {(result.dataset_name, result.dataset_split) for result in results} == {("tiny & <mine>", "test")}
    value, low, high = (f"{100 * scores['srs']['30'][name]:.1f}" for name in ("value", "low", "high"))
    assert f"| SRS(30) | {value} % [{low}, {high}] |" in card


def test_srs_is_what_accuracy_loses(run):
    scores = run.scores
    for percent in map(str, DELETION_PERCENTS):
        for name in ("capacity", "random"):
            drop = scores["srs"][percent] if name == "capacity" else scores["srs"][name][percent]
            lost = scores["accuracy"]["value"] - scores["deletion"][name][percent]["value"]
            assert drop["value"] == pytest.approx(lost, abs=1e-12)


def test_accuracy_and_deletion_are_those_of_a_slow_loop_over_texts(run):
    model = load(run.model_folder)
    capacity = words_by_text(run, "capacity_fc1_0")
    labels = tiny.dataset().test.labels

    def right(text, label):
        ids, attended = (text.ids, [1] * len(text.ids)) if text.ids else ([0], [0])
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([ids]), attention_mask=torch.tensor([attended])).logits
        return int(logits.argmax()) == label

    whole, without = [], {percent: [] for percent in DELETION_PERCENTS}
    for text, scores, label in zip(texts_of(run), capacity, labels, strict=True):
        whole.append(right(text, label))
        for percent in DELETION_PERCENTS:
            highest = sorted(range(len(scores)), key=lambda word: (-scores[word], word))
            left = text.without(highest[: count_deleted(len(scores), percent)])
            without[percent].append(right(left, label))
    assert run.scores["accuracy"]["value"] == pytest.approx(np.mean(whole), abs=1e-12)
    for percent in DELETION_PERCENTS:
        found = run.scores["deletion"]["capacity"][str(percent)]["value"]
        assert found == pytest.approx(np.mean(without[percent]), abs=1e-12)


def test_the_table_holds_the_predictions(run):
    texts = texts_of(run)
    scored = internal_scores(load(run.model_folder), texts)
    for found, text in zip(words_by_text(run, "prediction"), scored, strict=True):
        assert set(found) <= {tiny.LABELS[text.prediction]}


def test_the_table_has_a_row_per_word(run):
    table = pyarrow.parquet.read_table(run.words_file)
    masked = {"keep", "capacity_vmask"} if has_mask(run) else set()
    assert set(table.column_names) == {"text", "position", "word", "label", "prediction", "relevance"} | SITES | masked
    texts = texts_of(run)
    assert table.num_rows == sum(len(text.words) for text in texts)
    assert table["word"].to_pylist() == [word for text in texts for word in text.words]
    assert table["position"].to_pylist() == [place for text in texts for place in range(len(text.words))]
    assert table["text"].to_pylist() == [number for number, text in enumerate(texts) for _ in text.words]
    labels = tiny.dataset().test.labels
    assert table["label"].to_pylist() == [
        tiny.LABELS[label] for text, label in zip(texts, labels, strict=True) for _ in text.words
    ]
    for name in table.column_names:
        if name.startswith("capacity") or name == "keep":
            values = table[name].to_numpy()
            assert ((values >= 0) & (values <= 1)).all()


def test_the_table_holds_what_each_word_adds_to_the_class_its_text_gets(run):
    expected = relevance(load(run.model_folder), texts_of(run))
    for found, values in zip(words_by_text(run, "relevance"), expected, strict=True):
        np.testing.assert_allclose(found, values, rtol=1e-4, atol=1e-6)


def test_the_capacity_table_follows_from_the_table_of_words(run):
    capacity, found = words_by_text(run, "capacity_fc1_0"), run.scores["capacity"]
    assert found["all"]["value"] == pytest.approx(np.concatenate(capacity).mean(), abs=1e-12)
    if not has_mask(run):
        return
    important, rest = [], []
    for scores, keep in zip(capacity, words_by_text(run, "keep"), strict=True):
        ranking = sorted(range(len(keep)), key=lambda word: (-keep[word], word))
        count = count_deleted(len(keep), 30)
        important += [scores[word] for word in ranking[:count]]
        rest += [scores[word] for word in ranking[count:]]
    assert found["important"]["value"] == pytest.approx(np.mean(important), abs=1e-12)
    assert found["rest"]["value"] == pytest.approx(np.mean(rest), abs=1e-12)


def test_the_intervals_are_over_texts(run):
    """A word is not drawn without the others of its text."""
    capacity = words_by_text(run, "capacity_fc1_0")
    expected = bootstrap_mean([each.mean() if len(each) else 0 for each in capacity], [len(each) for each in capacity])
    assert run.scores["capacity"]["all"] == pytest.approx(expected.to_dict(), abs=1e-9)


def test_evaluating_again_gives_the_same_numbers(copy, run, dataset):
    scores = evaluate(copy, dataset)
    assert scores == run.scores == copy.scores
    assert copy.words_file.read_bytes() == run.words_file.read_bytes()
    assert copy.examples_file.read_bytes() == run.examples_file.read_bytes()


def test_the_numbers_do_not_depend_on_the_batches_size(copy, run, dataset, monkeypatch):
    monkeypatch.setattr(inference, "iter_batches", partial(iter_batches, tokens_per_batch=1))
    scores, before = evaluate(copy, dataset), run.scores
    for name in ("accuracy", "deletion", "srs"):
        assert scores[name] == before[name]
    for name in ("capacity", "audit"):
        for one, other in zip(estimates(scores[name]), estimates(before[name]), strict=True):
            assert one == pytest.approx(other, rel=1e-4, abs=1e-6)


def test_the_dev_split_is_scored_and_nothing_is_written(copy, dataset):
    before = {path: path.read_bytes() for path in copy.folder.rglob("*") if path.is_file()}
    scores = evaluate(copy, dataset, split="dev")
    assert (scores["split"], scores["texts"]) == ("dev", 12)
    assert scores["accuracy"]["value"] == max(line["dev_accuracy"] for line in copy.history)
    assert {path: path.read_bytes() for path in copy.folder.rglob("*") if path.is_file()} == before


def test_other_data_are_refused(run):
    with pytest.raises(InputError, match="was trained on other data than made <here> holds now"):
        evaluate(run, tiny.dataset(seed=1))


def test_scores_are_written_last(copy, dataset, monkeypatch):
    """They say that the run is evaluated: where the words could not be written, there are none."""
    copy.scores_file.unlink()
    monkeypatch.setattr(evaluate_module, "choose_examples", lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        evaluate(copy, dataset)
    assert not copy.scores_file.exists()


def test_progress_counts_the_texts(copy, dataset, monkeypatch):
    monkeypatch.setattr("safr.evaluation.srs._TEXTS_TOGETHER", 7)
    done = []
    evaluate(copy, dataset, split="dev", progress=lambda *given: done.append(given))
    texts = len(dataset.dev.texts)
    assert done == [(min(start + 7, texts), texts) for start in range(0, texts, 7)]


def test_examples_are_in_the_run(run):
    shown = json.loads(run.examples_file.read_text(encoding="utf-8"))
    assert {each["text"] for each in shown} == set(tiny.HOSTILE)


def test_a_model_whose_attention_can_not_be_seen_is_scored_without_it(copy, monkeypatch):
    for module in ("srs", "audit"):
        monkeypatch.setattr(f"safr.evaluation.{module}.has_visible_attention", lambda _: False)
    scores = evaluate(copy, tiny.dataset())
    assert "attention" not in scores["deletion"]
    assert "attention_entropy" not in scores["audit"]
    assert "SRS" in write_report([copy], copy.folder / "report.html").read_text(encoding="utf-8")


def test_the_first_by_hash_of_the_right_and_of_the_wrong_are_chosen():
    predictions = [number % 2 if number < 6 else 1 - number % 2 for number in range(12)]
    shown = chosen(TEN, predictions)
    assert [each["origin"] for each in shown] == ["right"] * EXAMPLES_PER_OUTCOME + ["wrong"] * EXAMPLES_PER_OUTCOME
    assert [each["text"] for each in shown] == by_hash(TEN[:6])[:EXAMPLES_PER_OUTCOME] + by_hash(TEN[6:])[
        :EXAMPLES_PER_OUTCOME
    ]
    assert [each["label"] for each in shown] == [("no", "yes")[TEN.index(each["text"]) % 2] for each in shown]


def test_the_order_of_the_texts_changes_nothing():
    forwards = chosen(TEN, labels=[0] * 12, predictions=[0] * 6 + [1] * 6)
    backwards = chosen(TEN[::-1], labels=[0] * 12, predictions=[1] * 6 + [0] * 6)
    assert forwards == backwards


@pytest.mark.parametrize(
    ("words", "shown"), [(MIN_WORDS - 1, False), (MIN_WORDS, True), (MAX_WORDS, True), (MAX_WORDS + 1, False)]
)
def test_examples_are_neither_short_nor_long(words, shown):
    assert len(chosen([" ".join(["word"] * words)])) == shown


def test_a_text_that_was_cut_is_no_example():
    assert chosen(TEN[:1], truncated=TEN[:1]) == []


def test_the_papers_sentence_comes_first_where_the_classes_are_its():
    first, *others = chosen(TEN, names=SENTIMENTS)
    assert first == {"text": PAPER_SENTENCE, "label": "negative", "origin": "paper"}
    assert {each["origin"] for each in others} == {"right"}
    assert chosen(TEN, names=SENTIMENTS[::-1])[0]["origin"] == "paper"
    assert all(each["origin"] != "paper" for each in chosen(TEN, names=(*SENTIMENTS, "neutral")))


def test_the_papers_sentence_is_spelled_as_in_the_data():
    assert chosen([*TEN, PAPER_SENTENCE.lower()], names=SENTIMENTS)[0]["text"] == PAPER_SENTENCE.lower()


def test_any_text_can_be_an_example():
    text = "lone \ud800 surrogates and \x00 are letters of texts too"
    assert chosen([text])[0]["text"] == text


def test_where_nothing_fits_nothing_is_shown():
    assert chosen(["too short"]) == chosen([]) == []


def test_srs_of_the_model_is_what_evaluate_says_of_the_run(run):
    model, tokenizer = run.load_model()
    test, scores = tiny.dataset().test, run.scores
    for percent in (30, 50):
        result = srs(model, tokenizer, test.texts, test.labels, percent=percent, max_tokens=tiny.MAX_TOKENS)
        k = str(percent)
        assert result.accuracy.to_dict() == scores["accuracy"]
        assert result.srs.to_dict() == scores["srs"][k]
        assert result.random_drop.to_dict() == scores["srs"]["random"][k]
        assert result.above_random.to_dict() == scores["srs"]["above_random"][k]
        assert result.after_deletion.to_dict() == scores["deletion"]["capacity"][k]
        assert result.after_random.to_dict().items() <= scores["deletion"]["random"][k].items()
        assert result.site == scores["site"]


def test_a_model_that_was_only_attached_is_evaluated_as_a_run_is(run):
    # The same weights in a model that no run knows of: attached in two lines, and never saved or loaded.
    trained, tokenizer = run.load_model()
    config = deepcopy(trained.config)
    del config.safr  # it says that the model was saved with a mask
    plain = TransformerForSequenceClassification(config)
    model = attach(plain, run.settings.regularization, tokenizer=tokenizer)
    model.load_state_dict(trained.state_dict())
    test = tiny.dataset().test
    scores = evaluate(model.eval(), tiny.dataset(), tokenizer=tokenizer, max_tokens=tiny.MAX_TOKENS)
    assert json.loads(json.dumps(scores)) == run.scores
    del scores["duplicates"]  # a split alone does not know the others
    assert evaluate(model, test, tokenizer=tokenizer, max_tokens=tiny.MAX_TOKENS) == scores
    result = srs(model, tokenizer, test.texts, test.labels, max_tokens=tiny.MAX_TOKENS)
    assert result.srs.to_dict() == run.scores["srs"]["30"]


def test_a_model_is_evaluated_in_evaluation_mode_with_a_tokenizer_and_data():
    with pytest.raises(InputError, match="evaluating a model needs a tokenizer and data; pass both"):
        evaluate(tiny.model(), tiny.dataset())
    model = tiny.model()
    expected = evaluate(model, tiny.dataset(), tokenizer=tiny.tokenizer())
    assert evaluate(model.train(), tiny.dataset(), tokenizer=tiny.tokenizer()) == expected
    assert model.training
    with pytest.raises(InputError, match="`split` must be test or dev, got 'train'"):
        evaluate(tiny.model(), tiny.dataset(), tokenizer=tiny.tokenizer(), split="train")


def test_a_run_finds_its_data_itself_and_takes_no_split_alone(copy, monkeypatch):
    monkeypatch.setattr(Run, "load_data", lambda self: tiny.dataset())
    assert evaluate(copy, split="dev")["texts"] == 12
    with pytest.raises(InputError, match="a run is evaluated on the data it was trained on, but a split was given"):
        evaluate(copy, tiny.dataset().test)


def named_data(*names):
    data = tiny.dataset()
    return replace(data, label_names=names)


def test_classes_are_found_by_name_where_the_model_numbers_them_in_another_order():
    model, split = tiny.model(id2label={0: "Good", 1: "bad"}), tiny.dataset().test
    labels = number_by_name(model, named_data("bad", "good"), split)
    assert labels == tuple(1 - label for label in split.labels)
    for same in (named_data("good", "bad"), named_data("no", "yes"), split):
        assert number_by_name(model, same, split) == split.labels
    with pytest.raises(InputError, match="the data's classes are bad, fine, the model's Good, bad; give labels by"):
        number_by_name(model, named_data("bad", "fine"), split)


def test_texts_of_unknown_words_are_counted():
    texts = encode(tiny.tokenizer(), ["zzz qqq", "a zzz", "", "film"])
    assert count_unknown(texts) == 1
    assert count_unknown_words(texts) == {"words": 3, "of": 5, "texts": 2}


def test_unknown_words_are_scored_with_the_rest(safr_run):
    texts = texts_of(safr_run)
    assert safr_run.scores["unknown"] == 0
    assert safr_run.scores["unknown_words"] == {
        "words": sum(len(text.unknown) for text in texts),
        "of": sum(len(text.words) for text in texts),
        "texts": sum(1 for text in texts if text.unknown),
    }
    assert safr_run.scores["unknown_words"]["words"] > 9


@pytest.mark.parametrize("counts", [{}, {"unknown_words": {"words": 0, "of": 9, "texts": 0}}])
def test_without_unknown_words_nothing_is_said_of_them(counts):
    assert describe_unknown_words({"texts": 2, **counts}) == ""


@pytest.mark.parametrize("counts", [5, {"words": 1, "of": 2}, {"words": -1, "of": 2, "texts": 1}])
def test_damaged_counts_of_unknown_words_are_refused(copy, counts):
    write_json(copy.scores_file, read_json(copy.scores_file) | {"unknown_words": counts})
    with pytest.raises(InputError, match=r"scores\.json"):
        _ = copy.scores


def test_data_of_another_type_get_one_line(without_type_checks):
    with pytest.raises(InputError, match=r"expected data as a TextDataset or Split\(texts, labels\), got a dict of 0"):
        evaluate(tiny.model(), {}, tokenizer=tiny.tokenizer())


def test_pairs_are_benchmarked(without_type_checks, tmp_path):
    model, words = tiny_tokenizers.model(BertForSequenceClassification)
    pairs = Split(tuple((f"the film {word}", "it was good") for word in ("a", "b", "c")), (0, 1, 0))
    data = make_model_data(model, words, pairs, tmp_path, limit=3)
    assert [text.second for text in data.texts] == [3, 3, 3]
