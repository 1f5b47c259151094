"""Answers found in texts: their logits, scores, and explanations."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    AutoModelForQuestionAnswering,
    BartConfig,
    BertConfig,
    DebertaV2Config,
    GPT2Config,
    RobertaConfig,
    T5Config,
    XLMConfig,
    XLMForQuestionAnswering,
)

import safr
from safr.attribution.gradients import gradient_x_input
from safr.attribution.perturbation import kernel_shap, lime, occlusion, shapley
from safr.config import Regularization
from safr.data import Split
from safr.data.answers import ANSWER_NAMES, encode_answers
from safr.data.encoding import encode
from safr.data.marks import FIRST_ASKED, LAST_ASKED, add_mark
from safr.data.targets import IGNORED
from safr.errors import InputError
from safr.evaluation.answering import compute_answer_metrics, describe_answers, score_answers
from safr.evaluation.evaluate import evaluate
from safr.evaluation.labels import align_split
from safr.evaluation.srs import srs
from safr.explorer.what_if import compute_what_if, predict_without_words
from safr.inference import (
    encode_texts,
    find_answers,
    iter_logits,
    predict,
    predict_probabilities,
    text_log_odds,
)
from safr.model.answer_logits import choose_spans
from safr.model.transformer import TransformerConfig
from tests.tiny_tokenizers import FAMILIES, tokenizer

PAIRS = (
    ("what moves ?", "a premise says the story moves"),
    ("who is dull ?", "the unbelievably good film , don't stop the dull cast"),
    ("is it ?", "it does not move"),
)
PLACES = ("19:24", "4:21", "0:2")
SPLIT = Split(PAIRS, PLACES)
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def answerer(config_class=BertConfig, *, seed=0, words=None, **options):
    words = words or tokenizer("wordpiece")
    config = config_class(vocab_size=len(words), pad_token_id=words.pad_token_id, **(options or SIZES))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForQuestionAnswering.from_config(config).eval()
        for weight in model.parameters():
            if weight.dim() > 1:
                torch.nn.init.normal_(weight, std=0.3)
    return model, words


def run_alone(model, text):
    """Start and end logits of one encoded pair, from the model itself."""
    inputs = {"input_ids": torch.tensor([text.ids])}
    if text.token_types:
        inputs["token_type_ids"] = torch.tensor([text.token_types])
    with torch.no_grad():
        outputs = model(**inputs)
    return outputs.start_logits[0].double(), outputs.end_logits[0].double()


def score_slowly(model, text):
    """Logit of every span of words of the second text, by its first and last token."""
    start, end = run_alone(model, text)
    possible = [n for n, word in enumerate(text.word_of_token) if word is not None and word >= text.second]
    return {(a, b): float(start[a] + end[b]) for a in possible for b in possible if a <= b}


def test_probabilities_are_those_of_all_spans_of_the_text():
    model, words = answerer()
    texts = encode_answers(words, SPLIT)
    shares = predict_probabilities(model, texts)
    odds = text_log_odds(model, texts, np.ones(len(texts), dtype=np.int64))
    for text, row, odd in zip(texts, shares, odds, strict=True):
        scores = score_slowly(model, text)
        total = sum(np.exp(value) for value in scores.values())
        chosen = np.exp(scores.pop(text.asked_tokens)) / total
        best = np.exp(max(scores.values())) / total
        assert row == pytest.approx([best, chosen, 1 - best - chosen], abs=1e-5)
        assert odd == pytest.approx(np.log(chosen / (1 - chosen)), abs=1e-4)


def test_the_models_answer_is_the_span_with_the_highest_logit():
    model, words = answerer()
    found = find_answers(model, words, PAIRS)
    for pair, (start, end), text in zip(PAIRS, found, encode(words, PAIRS), strict=True):
        scores = score_slowly(model, text)
        best = max(scores, key=lambda span: scores[span])
        (read,) = encode_answers(words, Split((pair,), (f"{start}:{end}",)))
        assert read.asked_tokens == best
    right = Split(PAIRS, tuple(f"{start}:{end}" for start, end in found))
    assert (predict(model, encode_answers(words, right)) == 1).all()
    wrong = tuple(
        "0:1" if start else f"{len(text) - 1}:{len(text)}" for (start, _), (_, text) in zip(found, PAIRS, strict=True)
    )
    assert (predict(model, encode_answers(words, Split(PAIRS, wrong))) == 0).all()


def test_batches_and_padding_change_nothing():
    model, words = answerer()
    texts = encode_answers(words, SPLIT)
    together = {batch.indices[n]: row for batch, rows in iter_logits(model, texts) for n, row in enumerate(rows)}
    for number, text in enumerate(texts):
        ((_, alone),) = iter_logits(model, [text])
        assert torch.allclose(together[number], alone[0], atol=1e-5)


@given(st.integers(0, 2**31 - 1))
@settings(max_examples=25, deadline=None)
def test_spans_are_chosen_as_by_a_slow_loop(seed):
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 6, 2, generator=draw)
    possible = torch.rand(2, 6, generator=draw) < 0.6
    possible[:, 3] = True
    for row, allowed, (first, last) in zip(logits, possible, choose_spans(logits, possible).tolist(), strict=True):
        pairs = [(a, b) for a in range(6) for b in range(a, 6) if allowed[a] and allowed[b]]
        assert (first, last) == max(pairs, key=lambda pair: float(row[pair[0], 0] + row[pair[1], 1]))


def test_an_explanation_is_about_the_models_own_answer_or_the_one_that_is_marked():
    model, words = answerer()
    own = safr.explain(model, words, *PAIRS[1])
    (start, end), *_ = find_answers(model, words, PAIRS[1:2])
    answer = PAIRS[1][1][start:end]
    assert own.prediction == answer
    assert list(own.probabilities) == [ANSWER_NAMES[0], answer, ANSWER_NAMES[2]]
    assert sum(own.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert own.task == "question_answering"
    assert own.answer == ANSWER_NAMES[1]  # as the label that a test text has
    assert " ".join(own.words).count("[[") == 1
    marked = safr.explain(model, words, PAIRS[1][0], PAIRS[1][1].replace("dull cast", "[[dull cast]]"))
    assert marked.words[-2:] == ("[[dull", "cast]]")
    assert "dull cast" in marked.probabilities
    assert marked.answer == ANSWER_NAMES[own.prediction == "dull cast"]
    assert np.allclose(marked.capacity, own.capacity)  # one pass over the same tokens
    listed = safr.explain(model, words, [PAIRS[0], PAIRS[1]])
    assert listed[1].prediction == own.prediction
    assert np.allclose(listed[1].capacity, own.capacity, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("text", ["see the 👩‍👩‍👧 film", "漢字 good café", "  the story   moves", "e\u0301 ½ good"])
def test_the_models_own_answer_is_the_one_that_is_asked_about_whatever_its_tokens(family, text):
    words = tokenizer(family)
    for seed in range(5):
        model, _ = answerer(seed=seed, words=words)
        (read,) = encode_texts(model, words, [("what is it ?", text)])
        scores = score_slowly(model, read)
        assert read.asked_tokens == max(scores, key=lambda span: scores[span])
        assert predict(model, [read]).tolist() == [1]
        ((start, end),) = find_answers(model, words, [("what is it ?", text)])
        assert read.asked_text == text[start:end].strip() != ""


def test_occlusion_is_the_fall_of_the_answers_log_odds():
    model, words = answerer()
    (text,) = encode_texts(model, words, [PAIRS[1]])
    (scores,) = occlusion(model, [text])
    classes = np.array([1, 1])
    for word in range(len(text.words)):
        before, after = text_log_odds(model, [text, text.without({word})], classes)
        expected = 0 if word in text.asked else before - after
        assert scores[word] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("family", ["wordpiece", "gpt2"])
def test_scores_stay_small_where_no_other_answer_is_left(family):
    words = tokenizer(family)
    model, _ = answerer(words=words)
    (text,) = encode_texts(model, words, [("what is it ?", "the [[good]] film")])
    first, last = text.asked_tokens
    alone = text.without(range(len(text.words)))
    start, end = run_alone(model, alone)
    if first == last:
        answer, none = (float(start[token] + end[token]) for token in (alone.asked_tokens[0], 0))
        expected = answer - np.logaddexp(none, min(none, answer - np.log(2)))
        assert text_log_odds(model, [alone], np.array([1])) == pytest.approx([expected], abs=1e-4)
    assert predict(model, [alone]).tolist() == [1]
    for score in (occlusion, shapley, kernel_shap, lime):
        (scores,) = score(model, [text])
        assert np.abs(scores).max() < 100
    (scores,) = shapley(model, [text])
    predicted = predict(model, [text])
    whole, none = text_log_odds(model, [text, alone], np.repeat(predicted, 2))
    assert scores.sum() == pytest.approx(whole - none, abs=1e-3)


def test_gradients_are_those_of_the_answers_log_odds():
    model, words = answerer()
    (text,) = encode_texts(model, words, [PAIRS[0]])
    (scores,) = gradient_x_input(model, [text])
    types = torch.tensor([text.token_types]) if text.token_types else None
    embedded = model.get_input_embeddings()(torch.tensor([text.ids])).detach().requires_grad_()
    outputs = model(inputs_embeds=embedded, token_type_ids=types)
    start, end = outputs.start_logits[0], outputs.end_logits[0]
    spans = list(score_slowly(model, text))
    every = torch.stack([start[a] + end[b] for a, b in spans])
    others = torch.stack([start[a] + end[b] for a, b in spans if (a, b) != text.asked_tokens])
    chosen = start[text.asked_tokens[0]] + end[text.asked_tokens[1]]
    (chosen - others.logsumexp(0)).backward()
    assert len(every) == len(others) + 1
    values = (embedded.grad * embedded)[0].sum(-1).tolist()
    expected = [
        sum(values[t] for t, w in enumerate(text.word_of_token) if w == word) for word in range(len(text.words))
    ]
    assert scores == pytest.approx(np.array(expected), abs=1e-4)


@pytest.mark.parametrize(
    ("config_class", "options"),
    [
        (RobertaConfig, SIZES),
        (DebertaV2Config, SIZES),
        (GPT2Config, {"n_embd": 16, "n_layer": 2, "n_head": 2, "bos_token_id": 0, "eos_token_id": 0}),
        (
            BartConfig,
            {"d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2}
            | {"decoder_attention_heads": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32},
        ),
        (
            T5Config,
            {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2, "decoder_start_token_id": 0},
        ),
    ],
)
def test_other_families_answer_as_alone(config_class, options):
    model, words = answerer(config_class, **options)
    safr.attach(model, Regularization(), tokenizer=words)
    model.eval()
    found = find_answers(model, words, PAIRS)
    for pair, place, explained in zip(PAIRS, found, safr.explain(model, words, list(PAIRS)), strict=True):
        assert find_answers(model, words, [pair]) == [place]
        assert explained.prediction == pair[1][slice(*place)]


def test_the_papers_transformer_answers_in_half_precision_too():
    model, words = answerer(TransformerConfig, **SIZES)
    half = copy.deepcopy(model).half()
    for (question, text), place in zip(PAIRS, find_answers(model, words, PAIRS), strict=True):
        whole = safr.explain(model, words, question, add_mark(text, place))
        shares = safr.explain(half, words, question, add_mark(text, place)).probabilities
        assert list(shares.values()) == pytest.approx(list(whole.probabilities.values()), abs=0.02)


def test_scores_are_those_of_answers_by_hand():
    model, words = answerer()
    found = find_answers(model, words, PAIRS)
    perfect = Split(PAIRS, tuple(f"0:1 {start}:{end}" for start, end in found))
    scores = score_answers(model, words, perfect)
    assert scores["exact_match"]["value"] == scores["f1"]["value"] == 1
    assert (scores["questions"], scores["not_read"]) == (3, 0)
    whole = Split(PAIRS, tuple(f"0:{len(text)}" for _, text in PAIRS))
    expected = []
    for (_, text), (start, end) in zip(PAIRS, found, strict=True):
        right, given = (
            [w for w in part.replace(",", "").replace("'", "").split() if w not in ("a", "an", "the")]
            for part in (text, text[start:end])
        )
        shared = sum(min(right.count(word), given.count(word)) for word in set(given))
        expected.append(2 * shared / (len(right) + len(given)) if shared else 0)
    assert score_answers(model, words, whole)["f1"]["value"] == pytest.approx(np.mean(expected))
    line = describe_answers({"answers": scores | {"not_read": 4}})
    assert line.startswith("of 3 questions 100.0")
    assert line.endswith("the answer to 4 is not read")
    assert describe_answers({}) == ""


@given(st.lists(st.tuples(*[st.integers(0, 6)] * 4), min_size=1, max_size=5))
@settings(deadline=None)
def test_metrics_by_tokens_are_those_of_sets_of_tokens(rows):
    labels, spans, exact, f1 = [], [], [], []
    for a, b, c, d in rows:
        (first, last), (start, end) = sorted((a, b)), sorted((c, d))
        row = [0] * 7 + [IGNORED]
        row[first] += FIRST_ASKED
        row[last] += LAST_ASKED
        labels.append(row)
        spans.append((start, end))
        right, given_tokens = set(range(first, last + 1)), set(range(start, end + 1))
        exact.append(right == given_tokens)
        f1.append(2 * len(right & given_tokens) / (len(right) + len(given_tokens)))
    metrics = compute_answer_metrics(np.array(spans), np.array(labels))
    assert metrics == {"exact_match": pytest.approx(np.mean(exact)), "answer_f1": pytest.approx(np.mean(f1))}


def test_a_model_is_evaluated_and_words_are_deleted_on_a_split():
    model, words = answerer()
    scores = evaluate(model, SPLIT, tokenizer=words)
    marked = align_split(model, words, SPLIT, SPLIT)
    expected = predict(model, encode_texts(model, words, marked.texts)) == 1
    assert scores["accuracy"]["value"] == pytest.approx(expected.mean())
    assert scores["answers"] == score_answers(model, words, SPLIT)
    assert "classes" not in scores
    assert set(scores["within"]) == {"first", "second"}
    assert srs(model, words, marked.texts, marked.labels).srs.value == pytest.approx(scores["srs"]["30"]["value"])


def test_what_if_follows_the_answer_and_keeps_it():
    model, words = answerer()
    (text,) = encode_texts(model, words, [PAIRS[1]])
    result = compute_what_if(model, words, text, {"capacity": np.arange(len(text.words), dtype=float)})
    assert result.followed == ANSWER_NAMES[1]
    assert set(result.predictions["capacity"]) <= set(ANSWER_NAMES[:2])
    with pytest.raises(InputError, match=r"the words that are asked about can't be deleted; delete others"):
        predict_without_words(model, words, text, [text.asked[0]])


def test_what_can_not_be_asked_is_refused_in_one_line():
    model, words = answerer()
    with pytest.raises(InputError, match=r"expected a pair of a question and the text that answers it, got the single"):
        safr.explain(model, words, "no question here")
    with pytest.raises(InputError, match=r"expected a text with a word that could be the answer, got ' '"):
        safr.explain(model, words, "what ?", " ")
    with pytest.raises(InputError, match=r"expected a text with one mark at .*, got 2 marks"):
        safr.explain(model, words, "what ?", "[[one]] and [[two]]")
    config = XLMConfig(vocab_size=len(words), emb_dim=16, n_layers=1, n_heads=2)
    with pytest.raises(
        InputError, match=r"XLMForQuestionAnswering gives no logits of an answer's first and last token"
    ):
        find_answers(XLMForQuestionAnswering(config).eval(), words, PAIRS)
