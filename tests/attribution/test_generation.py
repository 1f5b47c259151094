"""One map for every token that a language model writes."""

import json
import random

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, T5Config, T5ForConditionalGeneration

import safr
from safr.attribution.registry import METHODS
from safr.config import Regularization
from safr.data.encoding import encode
from safr.data.tokenizer import train_word_tokenizer
from safr.errors import InputError
from safr.inference import log_odds
from safr.model.families import add_decoder_start
from tests.tiny_tokenizers import CLASSIFIERS, MODELS
from tests.tiny_tokenizers import model as build

TEXT = "the film was good and the cast was dull"
CAUSAL = [kind for kind in MODELS if kind.__name__.endswith(("LMHeadModel", "ForCausalLM"))]
SEQ2SEQ = [kind for kind in MODELS if kind.__name__.endswith("ForConditionalGeneration")]


def writer(kind):
    """A random model that writes and does not stop, and its tokenizer."""
    model, words = build(kind)
    model.config.eos_token_id = model.generation_config.eos_token_id = len(words) + 1_000
    model.generation_config.forced_eos_token_id = None
    return model, words


@pytest.mark.parametrize("kind", CAUSAL + SEQ2SEQ)
def test_the_output_is_what_the_model_writes_greedily(kind):
    model, words = writer(kind)
    explained = safr.explain_output(model, words, TEXT, max_new_tokens=5)
    ids = torch.tensor([encode(words, [TEXT])[0].ids])
    written = model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=5, min_new_tokens=5
    )[0]
    written = written[-5:]
    assert explained.output == words.decode(written.tolist())
    assert len(explained.tokens) == len(explained.probabilities) == len(explained.scores) == 5
    assert ((explained.probabilities > 0) & (explained.probabilities <= 1)).all()
    first = safr.explain(model, words, TEXT)
    # Tokens that look alike have their numbers behind them, which depends on what they stand beside.
    assert explained.tokens[0].partition(" (")[0] == first.prediction.partition(" (")[0]
    assert explained.probabilities[0] == pytest.approx(first.probability, rel=1e-5)


@pytest.mark.parametrize("kind", CAUSAL)
def test_a_causal_models_maps_are_of_the_text_and_the_tokens_before(kind):
    model, words = writer(kind)
    explained = safr.explain_output(model, words, TEXT, max_new_tokens=4)
    encoded = encode(words, [TEXT])[0]
    given = len(encoded.words)
    assert explained.words == (*encoded.words, *explained.tokens)
    ids = list(encoded.ids)
    for token, scores in enumerate(explained.scores):
        assert np.isnan(scores[given + token :]).all()
        chosen = int(logits_after(model, ids)[0].argmax())
        owners = [*encoded.word_of_token, *range(given, given + token)]
        whole = odds(model, ids, chosen)
        for word in set(owners) - {None}:
            if word < given or explained.tokens[word - given].strip():
                without = [number for number, owner in zip(ids, owners, strict=True) if owner != word]
                assert scores[word] == pytest.approx(whole - odds(model, without, chosen), abs=1e-4)
        ids.append(chosen)


def logits_after(model, ids, written=()):
    inputs = {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.long)}
    with torch.no_grad():
        inputs = dict(add_decoder_start(model, inputs))
        if "decoder_input_ids" in inputs:
            start = inputs["decoder_input_ids"]
            inputs["decoder_input_ids"] = torch.cat([start, start.new_tensor([list(written)])], dim=1)
        return model(**inputs).logits[:, -1].float()


def odds(model, ids, chosen, written=()):
    return float(log_odds(model, logits_after(model, ids, written), torch.tensor([chosen]))[0])


@pytest.mark.parametrize("kind", SEQ2SEQ)
def test_an_encoder_decoders_maps_are_of_the_text_given_what_is_written(kind):
    model, words = writer(kind)
    explained = safr.explain_output(model, words, TEXT, max_new_tokens=4)
    encoded = encode(words, [TEXT])[0]
    assert explained.words == encoded.words
    written = []
    for scores in explained.scores:
        chosen = int(logits_after(model, encoded.ids, written)[0].argmax())
        whole = odds(model, encoded.ids, chosen, written)
        for word in range(len(encoded.words)):
            without = encoded.without({word}).ids
            assert scores[word] == pytest.approx(whole - odds(model, without, chosen, written), abs=1e-4)
        written.append(chosen)
    assert len({tuple(row) for row in explained.scores.tolist()}) > 1  # each token has a map of its own


@pytest.mark.parametrize("method", ["capacity", "gradient_x_input", "integrated_gradients", "attention"])
def test_every_method_explains_the_next_token_as_it_does_a_text(method):
    model, words = writer(GPT2LMHeadModel)
    explained = safr.explain_output(model, words, TEXT, method=method, max_new_tokens=2)
    (expected,) = METHODS[method].score(model, encode(words, [TEXT]))
    np.testing.assert_allclose(explained.scores[0, : len(expected)], expected, rtol=1e-4, atol=1e-6)
    assert explained.method == method


def test_the_end_of_text_ends_the_output_and_is_not_explained():
    model, words = writer(GPT2LMHeadModel)
    whole = safr.explain_output(model, words, TEXT, max_new_tokens=6)
    ids = encode(words, [TEXT])[0].ids
    written = model.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=6)[0, len(ids) :].tolist()
    end = next((count for count, token in enumerate(written) if token not in written[:count] and count), None)
    if end is None:
        model.generation_config.eos_token_id = [written[0]]
        with pytest.raises(InputError, match="ends its output before the first token"):
            safr.explain_output(model, words, TEXT)
        return
    model.generation_config.eos_token_id = written[end]
    assert safr.explain_output(model, words, TEXT, max_new_tokens=6).tokens == whole.tokens[:end]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text": ""}, "at least one word"),
        ({"text": ["a", "b"]}, "expected one text"),
        ({"max_new_tokens": 0}, "max_new_tokens must be a whole number of at least 1, got 0"),
        ({"method": "sorcery"}, "no attribution method is called 'sorcery'"),
    ],
)
def test_wrong_input_is_one_line(without_type_checks, change, message):
    model, words = writer(GPT2LMHeadModel)
    with pytest.raises(InputError, match=message):
        safr.explain_output(model, words, **{"text": TEXT, **change})


def test_an_output_beyond_the_models_positions_is_one_line():
    _, words = writer(GPT2LMHeadModel)
    count = len(encode(words, [TEXT])[0].ids)
    sizes = {"n_embd": 16, "n_layer": 1, "n_head": 2, "vocab_size": len(words), "bos_token_id": None}
    model = GPT2LMHeadModel(GPT2Config(n_positions=count + 2, eos_token_id=len(words) + 1_000, **sizes)).eval()
    assert len(safr.explain_output(model, words, TEXT, max_new_tokens=3).tokens) == 3
    with pytest.raises(
        InputError, match=rf"^a text has {count + 3} tokens, more than the model's {count + 2} positions"
    ):
        safr.explain_output(model, words, TEXT, max_new_tokens=9)


def test_models_that_write_nothing_are_refused():
    with pytest.raises(InputError, match=r"expected a model that writes text, got .*; `safr.explain` explains"):
        safr.explain_output(*build(CLASSIFIERS[0]), TEXT)


def test_gradients_of_an_encoder_decoder_are_refused_and_leave_nothing_behind():
    model, words = writer(SEQ2SEQ[0])
    before = safr.explain(model, words, TEXT)
    with pytest.raises(InputError, match="gradients need a model without a decoder of its own"):
        safr.explain_output(model, words, TEXT, method="gradient_x_input", max_new_tokens=3)
    assert safr.explain(model, words, TEXT).probabilities == before.probabilities


def test_a_token_that_is_written_again_has_the_same_name():
    model, words = writer(GPT2LMHeadModel)
    with torch.no_grad():  # the same token has the highest logit after any text
        model.lm_head.weight.zero_()
    explained = safr.explain_output(model, words, TEXT, max_new_tokens=3)
    assert len(set(explained.tokens)) == 1
    assert "(" not in explained.tokens[0]


def test_an_explanation_of_an_output_as_table_json_and_html():
    model, words = writer(GPT2LMHeadModel)
    explained = safr.explain_output(model, words, "the <b>film</b> was good", max_new_tokens=3)
    table = explained.to_pandas()
    assert len(table) == np.isfinite(explained.scores).sum()
    for row in table.itertuples():
        assert explained.scores[row.token, row.position] == row.score
        assert (row.word, row.written) == (explained.words[row.position], explained.tokens[row.token])
    kept = json.loads(explained.to_json())
    assert np.array(kept["scores"], dtype=float) == pytest.approx(explained.scores, nan_ok=True)
    html = explained._repr_html_()
    assert html.count(">&lt;/</span>") == 3  # the text's own mark-up, once for each token
    (best, score), *_ = explained.rank_words(0)
    assert score == np.nanmax(explained.scores[0])
    assert best == explained.words[int(np.nanargmax(explained.scores[0]))]


COLOURS = ["red", "blue", "green", "black", "white"]
OTHERS = [
    "the",
    "a",
    "house",
    "stands",
    "by",
    "every",
    "river",
    "and",
    "nobody",
    "sees",
    "how",
    "old",
    "it",
    "has",
    "become",
]


def colour_tasks(count, seed):
    """Texts with one colour somewhere among other words, and that colour."""
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        words, colour = draw.choices(OTHERS, k=9), draw.choice(COLOURS)
        words.insert(draw.randrange(10), colour)
        made.append((" ".join(words), colour))
    return made


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_a_trained_writers_answer_goes_back_to_the_word_that_it_copies(kind):
    """The answer is the one colour in the text; deleting that word takes the answer away."""
    tasks = colour_tasks(600, seed=0)
    words = train_word_tokenizer([text for text, _ in tasks])
    sizes = {"vocab_size": len(words), "pad_token_id": words.pad_token_id, "eos_token_id": words.pad_token_id}
    torch.manual_seed(0)
    if kind == "gpt2":
        model = GPT2LMHeadModel(GPT2Config(n_embd=64, n_layer=2, n_head=4, n_positions=32, **sizes))
    else:
        config = T5Config(d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4, decoder_start_token_id=0, **sizes)
        model = T5ForConditionalGeneration(config)
    safr.attach(model, Regularization(importance=0.01, interaction=0.01, vmask=False), tokenizer=words)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    ids = torch.tensor([encode(words, [text])[0].ids for text, _ in tasks])
    answers = torch.tensor([words.convert_tokens_to_ids(colour) for _, colour in tasks])[:, None]
    model.train()
    for step in range(300):
        some = torch.arange(step * 32, step * 32 + 32) % len(ids)
        if kind == "gpt2":
            given = torch.cat([ids[some], answers[some]], dim=1)
            labels = torch.cat([torch.full_like(ids[some], -100), answers[some]], dim=1)
        else:
            given, labels = ids[some], answers[some]
        optimizer.zero_grad()
        model(input_ids=given, attention_mask=torch.ones_like(given), labels=labels).loss.backward()
        optimizer.step()
    right, found = 0, 0
    new = colour_tasks(40, seed=1)
    for text, colour in new:
        explained = safr.explain_output(model, words, text, max_new_tokens=1)
        if explained.output.strip() == colour:
            right += 1
            found += explained.rank_words(0, 1)[0][0] == colour
    assert right >= 36
    assert found >= 0.9 * right
