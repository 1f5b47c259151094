"""Scores of words by a method's name, for a class that is asked for, beside capacity in an explanation."""

import json

import numpy as np
import pytest
import torch
from pyarrow import parquet
from transformers import GPT2Config, GPT2LMHeadModel

import safr
from safr.attribution.explanation_files import explain_to_parquet
from safr.attribution.gradients import gradient_x_input, integrated_gradients, smooth_grad
from safr.attribution.perturbation import kernel_shap, lime, occlusion, shapley
from safr.attribution.registry import get_method, knows_class
from safr.attribution.relevance import relevance
from safr.attribution.word_scores import describe_scores, find_target, score_words
from safr.cli.commands import main
from safr.config import Regularization
from safr.data.encoding import encode
from safr.errors import InputError
from safr.figures.notebook import FAINT, MINUS
from tests import linear, tiny

TEXTS = ["a lovely film", "the dull story was awful but funny", "moving"]
SIGNED = [gradient_x_input, smooth_grad, integrated_gradients, occlusion, shapley, kernel_shap, lime]


@pytest.fixture(scope="module")
def masked():
    return tiny.model(Regularization(vmask_width=8))


@pytest.mark.parametrize("score", SIGNED)
def test_of_two_classes_what_speaks_for_one_speaks_against_the_other(score, masked):
    texts = encode(tiny.tokenizer(), TEXTS)
    first, second = (score(masked, texts, targets) for targets in (0, [1, 1, 1]))
    for one, other in zip(first, second, strict=True):
        assert one == pytest.approx(-other, abs=1e-4)
    predicted = score(masked, texts)
    for number, row in enumerate(predicted):
        assert any(row == pytest.approx(rows[number], abs=1e-5) for rows in (first, second))
    with pytest.raises(InputError, match=r"expected one class for all, or one for each of 3 texts, got 2"):
        score(masked, texts, [0, 1])


def test_the_true_effects_for_a_class_are_found_by_name():
    model, words = linear.model(), tiny.tokenizer()
    model.config.id2label = {0: "bad", 1: "Good"}
    texts = encode(words, TEXTS)
    for method in ("relevance", "integrated_gradients", "occlusion"):
        scores, name = score_words(model, words, texts, method, "good")
        assert name == "Good"
        expected = linear.effects(texts, [True] * 3)
        share = 0.5 if method == "relevance" else 1  # of the logit, which is half of the log-odds
        for own, true in zip(scores, expected, strict=True):
            assert own == pytest.approx(share * true, abs=1e-5)


def test_an_explanation_holds_the_scores_beside_capacity(masked):
    words = tiny.tokenizer()
    plain = safr.explain(masked, words, TEXTS[1])
    alone = safr.explain(masked, words, TEXTS[1], method="relevance")
    listed = safr.explain(masked, words, TEXTS, method="relevance")
    assert alone.method == "relevance"
    assert alone.target == alone.prediction == plain.prediction
    assert alone.capacity == pytest.approx(plain.capacity)
    assert alone.relevance == pytest.approx(relevance(masked, encode(words, TEXTS[1:2]))[0], abs=1e-6)
    assert listed[1].relevance == pytest.approx(alone.relevance, abs=1e-5)
    assert plain.scores is None
    with pytest.raises(InputError, match=r"no relevance was computed; pass method='relevance' to explain"):
        _ = plain.relevance
    other = next(name for name in plain.labels if name != plain.prediction)
    against = safr.explain(masked, words, TEXTS[1], method="occlusion", target=other)
    assert against.target == other
    number = plain.labels.index(other)
    assert safr.explain(masked, words, TEXTS[1], method="occlusion", target=number).scores == pytest.approx(
        against.scores
    )
    unsigned = safr.explain(masked, words, TEXTS[1], method="attention")
    assert (unsigned.method, unsigned.target) == ("attention", "")


def test_tables_files_and_json_hold_the_scores(masked, tmp_path):
    words = tiny.tokenizer()
    listed = safr.explain(masked, words, TEXTS, method="relevance", target=1)
    table = listed.to_pandas()
    assert table["score"].to_numpy() == pytest.approx(np.concatenate([each.scores for each in listed]), abs=1e-6)
    assert safr.explain(masked, words, TEXTS).to_pandas()["score"].isna().all()
    values = json.loads(listed[0].to_json())
    assert (values["method"], values["target"]) == ("relevance", listed[0].labels[1])
    assert values["scores"] == pytest.approx(listed[0].scores.tolist())
    path = explain_to_parquet(masked, words, TEXTS, tmp_path / "words.parquet", method="relevance", target=1)
    assert parquet.read_table(path).to_pandas().equals(table)


def test_a_notebook_tells_for_from_against_by_colour_and_by_sign(masked):
    explained = safr.explain(masked, tiny.tokenizer(), TEXTS[1], method="relevance")
    html = explained._repr_html_()
    assert html.count(MINUS) == (explained.scores < -FAINT * np.abs(explained.scores).max()).sum()
    assert html.count("rgba(230,120,30") == (explained.scores < 0).sum()
    assert f"blue words speak for “{explained.target}”" in html
    assert describe_scores("attention", "") == "The stronger the blue, the higher attention."
    plain = describe_scores("relevance", "good", coloured=False)
    assert plain == "By relevance, words above 0 speak for “good”, and those below 0 against it."


def test_a_next_token_is_a_target(masked):
    words = tiny.tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = GPT2Config(vocab_size=len(words), n_embd=16, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0)
        model = GPT2LMHeadModel(config).eval()
    number = words.convert_tokens_to_ids("film")
    explained = safr.explain(model, words, "the dull", method="relevance", target="film")
    assert explained.target == "film"
    assert explained.scores == pytest.approx(relevance(model, encode(words, ["the dull"]), number)[0], abs=1e-5)
    with pytest.raises(
        InputError, match=r"expected `target` as one token, .* got 'dull film', which is 2; give its id"
    ):
        safr.explain(model, words, "the dull", method="relevance", target="dull film")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": 1}, r"`target` needs a `method` whose scores are about a class; pass method='relevance'"),
        (
            {"method": "capacity", "target": 1},
            r"`target` has no effect on capacity, whose scores are not about a class",
        ),
        ({"method": "relevance", "target": 2}, r"expected `target` from 0 to 1, got 2"),
        (
            {"method": "relevance", "target": "neutral"},
            r"no class is called 'neutral'; the model has .* a number counted from 0",
        ),
        ({"method": "relevance", "target": True}, r"expected `target` as a class.s name or number, got True"),
        ({"method": "magic"}, r"no attribution method is called 'magic'"),
    ],
)
def test_what_can_not_be_asked_is_refused_in_one_line(options, message, masked):
    for text in (TEXTS[0], TEXTS):
        with pytest.raises(InputError, match=message):
            safr.explain(masked, tiny.tokenizer(), text, **options)


def test_equal_names_are_told_apart_by_number_alone(masked):
    words = tiny.tokenizer()
    (text,) = encode(words, TEXTS[:1])
    before = masked.config.id2label
    masked.config.id2label = {0: "same", 1: "Same"}
    try:
        assert find_target(masked, words, text, "Same") == (1, "Same")
        with pytest.raises(InputError, match=r"2 classes are called 'SAME'; the model has same, Same; a number"):
            find_target(masked, words, text, "SAME")
        assert find_target(masked, words, text, "1") == (1, "Same")  # as the command line gives it
    finally:
        masked.config.id2label = before


def test_models_without_classes_have_no_target():
    words = tiny.tokenizer()
    model = tiny.model(problem_type="regression", id2label={0: "stars"})
    with pytest.raises(InputError, match=r"`target` is for classes, and this model predicts a number; leave it out"):
        safr.explain(model, words, TEXTS[0], method="relevance", target=0)


def test_methods_know_a_class_where_they_are_signed():
    assert knows_class("relevance")
    assert knows_class("absolute_occlusion")
    assert not knows_class("capacity")
    texts = encode(tiny.tokenizer(), TEXTS)
    model = linear.model()
    absolute = get_method("absolute_occlusion").score(model, texts, 0)
    assert [row.tolist() for row in absolute] == [np.abs(row).tolist() for row in occlusion(model, texts, 0)]


@pytest.mark.slow
def test_the_command_line_says_which_words_speak_for_a_class(tmp_path_factory, tmp_path, capsys):
    run = tiny.evaluated_run("safr", tmp_path_factory)
    assert main(["explain", str(run.folder), "a dull but funny film", "--method", "relevance", "--target", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("By relevance, words above 0 speak for “")
    listed = lines[2 : lines.index("")]
    assert [line.split("  ")[-1] for line in listed] == ["a", "dull", "but", "funny", "film"]
    assert all(line.strip()[0] in "+-" or line.strip().startswith("0.00 ") for line in listed)
    assert any(line.startswith(("for “", "against “")) for line in lines)
    (tmp_path / "texts.txt").write_text("a dull film\nmoving\n")
    options = [
        "--file",
        str(tmp_path / "texts.txt"),
        "--output",
        str(tmp_path / "out.parquet"),
        "--method",
        "relevance",
    ]
    assert main(["explain", str(run.folder), *options]) == 0
    assert parquet.read_table(tmp_path / "out.parquet").column("score").null_count == 0
