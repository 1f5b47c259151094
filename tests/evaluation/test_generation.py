"""Perplexity, token accuracy and exact matches of models that write text."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import BartForConditionalGeneration, GPT2LMHeadModel, LlamaForCausalLM, T5ForConditionalGeneration

import safr
from safr.config import Regularization
from safr.data import Split
from safr.data.encoding import encode
from safr.data.targets import IGNORED, make_prompts, tokenize_targets
from safr.evaluation.generation import compute_generation_metrics, describe_generation, judge_tokens, score_generation
from safr.evaluation.labels import align_split
from safr.inference import predict
from tests.tiny_tokenizers import model as build

WRITERS = (GPT2LMHeadModel, LlamaForCausalLM, T5ForConditionalGeneration, BartForConditionalGeneration)
SPLIT = Split(
    ("the film was good", "a premise says", "don't stop the film", "the story moves"),
    ("and the cast", "good", "it does not move", "unbelievably"),
)


@pytest.mark.parametrize("encoder_decoder", [False, True])
def test_tokens_are_judged_as_by_a_slow_loop(encoder_decoder):
    torch.manual_seed(0)
    logits, labels = torch.randn(3, 5, 7), torch.randint(7, (3, 5))
    labels[0, :3] = IGNORED
    judged = judge_tokens(logits, labels, encoder_decoder=encoder_decoder)
    for text in range(3):
        losses, right = [], []
        for place in range(0 if encoder_decoder else 1, 5):
            if labels[text, place] != IGNORED:
                row = logits[text, place if encoder_decoder else place - 1]
                losses.append(float(-F.log_softmax(row, dim=0)[labels[text, place]]))
                right.append(int(row.argmax()) == int(labels[text, place]))
        expected = [sum(losses), sum(right), len(right), float(all(right))]
        np.testing.assert_allclose(judged[text].numpy(), expected, rtol=1e-5)


def test_the_metrics_count_tokens_and_not_texts():
    judged = np.array([[math.log(2) * 4, 4, 4, 1], [math.log(8) * 1, 0, 1, 0], [0.0, 0, 0, 1]])
    metrics = compute_generation_metrics(judged)
    assert metrics["perplexity"] == pytest.approx(2 ** ((4 + 3) / 5))
    assert (metrics["token_accuracy"], metrics["exact_match"]) == (0.8, 0.5)


@pytest.mark.parametrize("kind", WRITERS)
def test_perplexity_is_that_of_the_models_own_loss_whatever_shares_the_batch(kind):
    model, words = build(kind)
    encoder_decoder = model.config.is_encoder_decoder
    rows = tokenize_targets(words, SPLIT, encoder_decoder=encoder_decoder)
    losses, counts = [], []
    for row in rows:
        labels = torch.tensor([row.labels])
        with torch.no_grad():
            losses.append(float(model(torch.tensor([row.ids]), labels=labels).loss))
        counts.append(int((labels[:, 0 if encoder_decoder else 1 :] != IGNORED).sum()))
    expected = math.exp(np.average(losses, weights=counts))
    scores = score_generation(model, words, SPLIT)
    assert scores["perplexity"]["value"] == pytest.approx(expected, rel=1e-4)
    assert scores["perplexity"]["low"] <= expected <= scores["perplexity"]["high"]
    assert scores["tokens"] == sum(counts)


@pytest.mark.parametrize("kind", [GPT2LMHeadModel, T5ForConditionalGeneration])
def test_a_text_is_whole_where_greedy_decoding_writes_it(kind):
    model, words = build(kind)
    texts = SPLIT.texts
    encoder_decoder = model.config.is_encoder_decoder
    outputs = []
    for text in texts:  # what the model itself writes; decoding and tokenizing again may change its tokens
        explained = safr.explain_output(model, words, text, max_new_tokens=1)
        outputs.append(explained.output.strip() or "good")
    rows = tokenize_targets(words, Split(texts, tuple(outputs)), encoder_decoder=encoder_decoder)
    for row in rows:
        labels = torch.tensor([row.labels])
        with torch.no_grad():
            logits = model(torch.tensor([row.ids]), labels=labels).logits
        judged = judge_tokens(logits, labels, encoder_decoder=encoder_decoder)[0]
        shift = 0 if encoder_decoder else 1
        wanted = labels[0, shift:]
        written = logits[0, : len(wanted) if shift else None].argmax(dim=-1)
        assert bool(judged[3]) == bool((written == wanted)[wanted != IGNORED].all())


@pytest.mark.parametrize("kind", [GPT2LMHeadModel, BartForConditionalGeneration])  # others cut words at spaces
def test_a_model_is_evaluated_by_the_token_that_comes_first(kind):
    model, words = build(kind)
    if model.config.pad_token_id is None:
        model.config.pad_token_id = words.eos_token_id or 0
    if kind is BartForConditionalGeneration:
        model.generation_config.forced_bos_token_id = words.bos_token_id
    safr.attach(model, Regularization(0, 0, vmask=False), tokenizer=words)
    scores = safr.evaluate(model, SPLIT, tokenizer=words)
    prompts, left_out = make_prompts(words, SPLIT, encoder_decoder=model.config.is_encoder_decoder)
    right = predict(model, encode(words, prompts.texts)) == prompts.label_array
    assert scores["task"] == "generation"
    assert scores["accuracy"]["value"] == pytest.approx(right.mean())
    assert (scores["texts"], scores["not_judged"]) == (len(prompts), left_out)
    assert scores["generation"] | score_generation(model, words, SPLIT) == scores["generation"]
    assert scores["generation"]["majority"]["share"] >= 1 / len(prompts)
    assert "perplexity" in describe_generation(scores)


def test_ids_of_tokens_are_labels_too():
    model, words = build(GPT2LMHeadModel)
    aligned = align_split(model, words, split := Split(SPLIT.texts, (1, 2, 3, 4)), split)
    assert aligned == split
    safr.attach(model, Regularization(0, 0, vmask=False), tokenizer=words)
    scores = safr.evaluate(model, split, tokenizer=words)
    assert set(scores["generation"]) == {"majority"}
    assert describe_generation(scores).startswith("always ")


def test_a_text_in_pieces_counts_once():
    model, words = build(GPT2LMHeadModel)
    texts = ("the film was good and the cast was dull and the story moves", "a premise says that the film moves")
    split, size = Split(texts, ("", "")), 6
    rows = tokenize_targets(words, split, size, encoder_decoder=False)
    assert len(rows) > 4
    scores = score_generation(model, words, split, size)
    assert scores["tokens"] == sum(len(row.ids) - 1 for row in rows)
    losses = []
    for row in rows:
        with torch.no_grad():
            losses.append(
                float(model(torch.tensor([row.ids]), labels=torch.tensor([row.ids])).loss) if row.ids[1:] else 0
            )
    weights = [len(row.ids) - 1 for row in rows]
    assert scores["perplexity"]["value"] == pytest.approx(math.exp(np.average(losses, weights=weights)), rel=1e-4)
