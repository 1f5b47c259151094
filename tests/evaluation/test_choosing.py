"""Choices that a model picks: their logits, and explanations of one of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForMultipleChoice,
    BertConfig,
    BigBirdConfig,
    DebertaV2Config,
    RobertaConfig,
    RoFormerConfig,
)

import safr
from safr.attribution.gradients import gradient_x_input, integrated_gradients
from safr.attribution.perturbation import occlusion
from safr.config import Regularization
from safr.data import Split
from safr.data.answers import ANSWER_NAMES
from safr.data.choices import parse_question
from safr.data.encoding import encode
from safr.errors import InputError
from safr.evaluation.evaluate import evaluate
from safr.evaluation.labels import align_split
from safr.evaluation.removal import make_remover
from safr.explorer.what_if import compute_what_if
from safr.inference import encode_texts, iter_logits, predict, predict_probabilities, text_log_odds
from safr.model.transformer import TransformerConfig, TransformerForMultipleChoice
from tests.tiny_tokenizers import tokenizer

TEXTS = (
    ("what moves ?", "the story | a premise | dull"),
    ("who is it ?", "the unbelievably good film | don't stop the dull cast | it"),
    ("is it ?", "it does | not | it does not move"),
)
SPLIT = Split(TEXTS, ("0", "2", "1"))
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def chooser(config_class=BertConfig, **settings):
    words = tokenizer("wordpiece")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = config_class(**{"vocab_size": len(words), "pad_token_id": words.pad_token_id} | SIZES | settings)
        model = AutoModelForMultipleChoice.from_config(config).eval()
        for weight in model.parameters():
            if weight.dim() > 1:
                torch.nn.init.normal_(weight, std=0.3)
    return model, words


def score_alone(model, words, question):
    """Logit of each choice, from the model itself with one choice at a time."""
    logits = []
    for choice in question.choices:
        inputs = words(question.text, choice, return_tensors="pt")
        with torch.no_grad():
            logits.append(float(model(**{name: value[None] for name, value in inputs.items()}).logits))
    return logits


@pytest.mark.parametrize("config_class", [BertConfig, RobertaConfig, DebertaV2Config, TransformerConfig])
def test_probabilities_are_those_of_the_choices_and_the_model_picks_the_highest(config_class):
    model, words = chooser(config_class)
    safr.attach(model, Regularization(vmask=False), tokenizer=words)
    model.eval()
    for text, explained in zip(TEXTS, safr.explain(model, words, list(TEXTS)), strict=True):
        question = parse_question(text)
        logits = score_alone(model, words, question)
        best = int(np.argmax(logits))
        shares = np.exp(logits) / np.exp(logits).sum()
        assert explained.prediction == question.choices[best]
        assert explained.probability == pytest.approx(shares[best], abs=1e-5)
        assert explained.words == encode(words, [(question.text, question.choices[best])])[0].words
        assert explained.answer == "the answer"
        for asked in range(3):
            assert (safr.explain(model, words, *question.mark(asked)).answer == "the answer") == (asked == best)
            (read,) = encode_texts(model, words, [question.mark(asked)])
            (row,) = predict_probabilities(model, [read])
            others = sorted(share for number, share in enumerate(shares) if number != asked)
            assert row == pytest.approx([others[-1], shares[asked], others[0]], abs=1e-5)
            assert predict(model, [read])[0] == (asked == best)
            (odds,) = text_log_odds(model, [read], np.array([1]))
            assert odds == pytest.approx(np.log(shares[asked] / (1 - shares[asked])), abs=1e-4)


def test_the_paper_transformer_scores_choices_together_as_alone():
    model, words = chooser(TransformerConfig)
    assert isinstance(model, TransformerForMultipleChoice)
    question = parse_question(TEXTS[0])
    inputs = words([question.text] * 3, list(question.choices), padding=True, return_tensors="pt")
    inputs = {name: inputs[name][None] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        outputs = model(**inputs, labels=torch.tensor([1]))
    assert outputs.logits[0].tolist() == pytest.approx(score_alone(model, words, question), abs=1e-5)
    assert float(outputs.loss) == pytest.approx(float(-outputs.logits[0].log_softmax(0)[1]))


@pytest.mark.parametrize("config_class", [BertConfig, RoFormerConfig])
def test_batches_change_nothing(config_class):
    model, words = chooser(config_class)
    texts = encode_texts(model, words, list(TEXTS))
    together = {batch.indices[n]: row for batch, rows in iter_logits(model, texts) for n, row in enumerate(rows)}
    for number, text in enumerate(texts):
        ((_, alone),) = iter_logits(model, [text])
        assert torch.allclose(together[number], alone[0], atol=1e-5)


def test_a_model_keeps_its_attention_after_short_choices():
    model, words = chooser(BigBirdConfig, block_size=2, num_random_blocks=1)
    assert model.bert.attention_type == "block_sparse"
    safr.explain(model, words, *TEXTS[0])
    assert model.bert.attention_type == "block_sparse"


@pytest.mark.parametrize("listed", ["[[it]] | {}", "it | {}", "[[{}]] | it"])
def test_choices_that_a_model_has_no_positions_or_embeddings_for_are_refused(listed):
    model, words = chooser(max_position_embeddings=20)
    with pytest.raises(InputError, match=r"a text has 31 tokens, more than the model's 20 positions; pass a max_token"):
        safr.explain(model, words, "is it ?", listed.format(" ".join(["film"] * 24)))
    model, words = chooser(vocab_size=40)
    with pytest.raises(InputError, match=r"the tokenizer gives token \d+, but the model's vocabulary has 40"):
        safr.explain(model, words, "is", listed.format("unbelievably"))


def test_questions_with_different_numbers_of_choices_are_explained_together():
    model, words = chooser()
    both = safr.explain(model, words, [TEXTS[0], ("what moves ?", "the story | a premise")])
    alone = safr.explain(model, words, "what moves ?", "the story | a premise")
    assert both[1].probability == pytest.approx(alone.probability, abs=1e-5)
    assert sum(both[1].probabilities.values()) == pytest.approx(1, abs=1e-5)


def test_occlusion_deletes_a_word_of_the_question_beside_every_choice():
    model, words = chooser()
    question = parse_question(TEXTS[1])
    best = int(np.argmax(score_alone(model, words, question)))
    (text,) = encode_texts(model, words, [TEXTS[1]])

    def odds(question):
        logits = torch.tensor(score_alone(model, words, question))
        others = torch.cat([logits[:best], logits[best + 1 :]])
        return float(logits[best] - others.logsumexp(0))

    (scores,) = occlusion(model, [text])
    assert scores[0] == pytest.approx(odds(question) - odds(replace(question, text="is it ?")), abs=1e-4)


def test_gradients_are_about_the_choice_that_is_asked_about():
    model, words = chooser()
    question = parse_question(TEXTS[0])
    logits = score_alone(model, words, question)
    asked = int(np.argmax(logits))
    (text,) = encode_texts(model, words, [TEXTS[0]])
    (scores,) = gradient_x_input(model, [text])
    inputs = words(question.text, question.choices[asked], return_tensors="pt")
    embedded = model.get_input_embeddings()(inputs["input_ids"]).detach().requires_grad_()
    types = inputs.get("token_type_ids")
    output = model(inputs_embeds=embedded[None], token_type_ids=None if types is None else types[None]).logits[0, 0]
    output.backward()
    values = (embedded.grad * embedded)[0].sum(-1).tolist()
    expected = [
        sum(values[token] for token, owner in enumerate(text.word_of_token) if owner == word)
        for word in range(len(text.words))
    ]
    assert scores == pytest.approx(np.array(expected), abs=1e-4)
    assert np.isfinite(integrated_gradients(model, [text])[0]).all()


def test_a_model_is_evaluated_on_a_split():
    model, words = chooser()
    scores = evaluate(model, SPLIT, tokenizer=words)
    right = [int(np.argmax(score_alone(model, words, parse_question(text)))) for text in TEXTS]
    expected = np.mean([str(number) == label for number, label in zip(right, SPLIT.labels, strict=True)])
    assert scores["accuracy"]["value"] == pytest.approx(expected)
    assert scores["choices"] == {"chance": pytest.approx(1 / 3)}
    assert scores["not_judged"] == 0
    assert set(scores["within"]) == {"first", "second"}


def test_labels_may_be_numbers():
    model, words = chooser()
    right = [int(np.argmax(score_alone(model, words, parse_question(text)))) for text in TEXTS]
    wrong = [(number + 1) % 3 for number in right]
    more = (*TEXTS, ("who moves ?", "it | not | the cast | a premise"))
    for labels, expected in ((right, 1), (wrong, 0), ([*right[:2], wrong[2]], 2 / 3)):
        scores = evaluate(model, Split(TEXTS, tuple(labels)), tokenizer=words)
        assert scores == evaluate(model, Split(TEXTS, tuple(map(str, labels))), tokenizer=words)
        assert scores["accuracy"]["value"] == pytest.approx(expected)
        measured = safr.srs(model, words, TEXTS, np.array(labels))
        assert measured.srs.value == pytest.approx(scores["srs"]["30"]["value"])
        assert evaluate(model, Split(more, (*labels, 3)), tokenizer=words)["texts"] == 4
    marked = align_split(model, words, SPLIT, SPLIT)
    assert align_split(model, words, marked, marked) == marked
    with pytest.raises(InputError, match=r"expected the number of a choice, 0 to 2, got '3'"):
        safr.srs(model, words, TEXTS, [0, 1, 3])


@pytest.mark.parametrize("how", ["delete", "replace", "hide", "average"])
def test_words_are_removed_in_every_way(how):
    model, words = chooser()
    marked = align_split(model, words, SPLIT, SPLIT)
    texts = encode_texts(model, words, marked.texts)
    remover = make_remover(model, how, words, texts)
    outcomes = remover.predict(texts, [[frozenset(), frozenset({0})]] * 3, [1] * 3)
    whole = predict_probabilities(model, texts)[:, 1]
    assert [outcome[frozenset()].probability for outcome in outcomes] == pytest.approx(whole.tolist(), abs=1e-5)


def test_what_if_follows_the_choice():
    model, words = chooser()
    (text,) = encode_texts(model, words, [TEXTS[1]])
    result = compute_what_if(model, words, text, {"capacity": np.arange(len(text.words), dtype=float)})
    assert result.followed == ANSWER_NAMES[1]
    assert set(result.predictions["capacity"]) <= set(ANSWER_NAMES[:2])


def test_texts_without_choices_are_refused():
    model, words = chooser()
    with pytest.raises(InputError, match=r"expected a pair of a question and the text that answers it, got the single"):
        safr.explain(model, words, "no choices here")
    with pytest.raises(InputError, match=r"expected two or more choices separated by ' \| '"):
        safr.explain(model, words, "what ?", "one")
    with pytest.raises(InputError, match=r"expected questions with choices, got texts"):
        predict(model, encode(words, [("what ?", "one")]))
