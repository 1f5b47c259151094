"""Relevance adds up to the logit, and is what explicit layer-by-layer propagation gives."""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from transformers import (
    BertConfig,
    BertForMultipleChoice,
    BertForQuestionAnswering,
    BertForTokenClassification,
    GPT2LMHeadModel,
    LlamaForCausalLM,
    T5ForConditionalGeneration,
)

from safr.attribution.registry import METHODS, attribute, check_methods, default_methods, get_method
from safr.attribution.relevance import find_missing_rule, neuron_relevance, relevance, token_relevance
from safr.attribution.words import scores_per_word
from safr.config import Regularization
from safr.data.encoding import EncodedText, encode
from safr.errors import InputError
from safr.inference import encode_texts, iter_logits, predict
from safr.model.attach import attach
from safr.model.interventions import intervene
from safr.model.trace import trace
from tests import linear, tiny, tiny_tokenizers
from tests.model import families

LENGTHS = (7, 4, 2, 7)
DECODERS = ("t5", "t5_gated", "bart")
COVERED = [family for family in ("paper", *families._SIZES) if family not in DECODERS]
WORDS = ("a lovely film", "the dull story was awful but funny", "moving")


def make_texts(lengths=LENGTHS, seed=1):
    draw = torch.Generator().manual_seed(seed)
    return [
        EncodedText(
            tuple(torch.randint(3, 40, (length,), generator=draw).tolist()),
            tuple("w" * length),
            tuple(range(length)),
            truncated=False,
        )
        for length in lengths
    ]


def make_model(family, *, biases):
    """A tiny model whose biases are large, or that has neither biases nor positions nor token types."""
    model = families.tiny(family).eval()
    embeddings = model.get_input_embeddings()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("bias"):
                weight.normal_(0, 0.2) if biases else weight.zero_()
        for module in model.modules():
            if isinstance(module, nn.Embedding) and module is not embeddings and not biases:
                module.weight.zero_()
    if family == "paper" and not biases:
        model._positions = lambda tokens, like: torch.zeros_like(like)
    return model


def read_logits(model, texts):
    found = {}
    for batch, logits in iter_logits(model, texts):
        found |= dict(zip(batch.indices, logits.float(), strict=True))
    return torch.stack([found[number] for number in range(len(texts))])


@pytest.fixture
def masked():
    return tiny.model(Regularization(vmask_width=8), num_hidden_layers=2)


@pytest.mark.parametrize("family", COVERED)
def test_relevance_adds_up_to_the_logit_in_every_family(family):
    texts = make_texts()
    model = make_model(family, biases=False)
    logits = read_logits(model, texts)
    for found, expected in zip(token_relevance(model, texts), logits.amax(dim=-1), strict=True):
        assert found.explained == pytest.approx(expected.item(), rel=1e-4, abs=1e-6)
        assert found.tokens.sum() == pytest.approx(found.explained, rel=1e-4, abs=1e-5)


def test_relevance_adds_up_to_the_logit_where_few_neurons_are_on():
    """Relevance that neurons were given which are off would be missing at the words, or be too much."""
    model = attach(make_model("bert", biases=False), Regularization(importance=0, interaction=0, vmask=False, top_k=4))
    texts = make_texts()
    logits = read_logits(model.eval(), texts)
    for found, expected in zip(token_relevance(model, texts), logits.amax(dim=-1), strict=True):
        assert found.tokens.sum() == pytest.approx(expected.item(), rel=1e-4, abs=1e-5)


def test_the_paper_s_layer_by_hand():
    """Each matrix of the linear map that the rules leave, written out for one text; the rest is what biases take."""
    model = tiny.model(num_hidden_layers=1)
    (text,) = encode(tiny.tokenizer(), ["the dull story was awful but funny"])
    layer, norm_1, norm_2 = model.layers[0], model.layers[0].attention_norm, model.layers[0].feed_forward_norm

    def split(values):
        return values.view(len(text.ids), 2, 8).transpose(0, 1)  # (head, token, size)

    def back_through_norm(gradient, norm, before):
        gradient = gradient * norm.weight / (before.var(dim=-1, correction=0, keepdim=True) + norm.eps).sqrt()
        return gradient - gradient.mean(dim=-1, keepdim=True)

    with torch.no_grad():
        for norm in (norm_1, norm_2):
            norm.weight.normal_(1, 0.3)
            norm.bias.normal_(0, 0.3)
        embedding = model.embedding(torch.tensor([text.ids]))[0]
        positions = model._positions(torch.ones(1, len(text.ids)), embedding[None])[0]
        hidden = embedding + positions
        query, key = split(layer.attention.query(hidden)), split(layer.attention.key(hidden))
        weights = (query @ key.mT / math.sqrt(8)).softmax(dim=-1)
        mixed = (weights @ split(layer.attention.value(hidden))).transpose(0, 1).reshape(hidden.shape)
        before_1 = hidden + layer.attention.out(mixed)
        between = norm_1(before_1)
        neurons = layer.fc1(between)
        before_2 = between + layer.fc2(neurons.relu())
        last = norm_2(before_2)
        logits = model.classifier(last.mean(dim=0))
        chosen = int(logits.argmax())

        gradient = model.classifier.weight[chosen].expand_as(last) / len(last)
        rest = model.classifier.bias[chosen] + (gradient * norm_2.bias).sum()
        gradient = back_through_norm(gradient, norm_2, before_2)
        through_neurons = (gradient @ layer.fc2.weight) * (neurons > 0)
        expected_neurons = through_neurons * neurons
        rest += (gradient * layer.fc2.bias).sum() + (through_neurons * layer.fc1.bias).sum()
        gradient = gradient + through_neurons @ layer.fc1.weight
        rest += (gradient * norm_1.bias).sum()
        gradient = back_through_norm(gradient, norm_1, before_1)
        through_values = (weights.mT @ split(gradient @ layer.attention.out.weight)).transpose(0, 1)
        through_values = through_values.reshape(hidden.shape)
        rest += (gradient * layer.attention.out.bias).sum() + (through_values * layer.attention.value.bias).sum()
        gradient = gradient + through_values @ layer.attention.value.weight
        rest += (gradient * positions).sum()
        expected = (gradient * embedding).sum(dim=-1)
    (found,) = token_relevance(model, [text])
    np.testing.assert_allclose(found.tokens, expected, rtol=1e-4, atol=1e-6)
    assert found.explained == pytest.approx(logits[chosen].item(), abs=1e-6)
    assert found.rest == pytest.approx(rest.item(), rel=1e-4)
    for site in ("fc1.0", "fc1_out.0"):  # the same before and behind an activation
        np.testing.assert_allclose(neuron_relevance(model, [text], site)[0], expected_neurons, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(relevance(model, [text])[0], scores_per_word(text, found.tokens, "sum"))


def propagate(weight, inputs, outputs, relevance_out):
    """LRP-0 through a linear map, neuron by neuron: each output's relevance is shared as its inputs contribute."""
    contributions = inputs[:, None, :] * weight  # (token, output, input)
    return (contributions * (relevance_out / outputs)[..., None]).sum(dim=1)


def propagate_sum(parts, relevance_out):
    """LRP-0 through a sum: the relevance of each part."""
    total = sum(parts)
    return [part / total * relevance_out for part in parts]


def propagate_norm(norm, inputs, relevance_out):
    """LRP-0 through a layer norm whose scale is fixed: a linear map of matrix (I - 1/n) times weight / scale."""
    scale = (inputs.var(dim=-1, correction=0, keepdim=True) + norm.eps).sqrt()
    centring = torch.eye(inputs.shape[-1], dtype=inputs.dtype) - 1 / inputs.shape[-1]
    outputs = norm(inputs)
    matrix = norm.weight[None, :, None] * centring / scale[..., None]  # (token, output, input)
    return (matrix * inputs[:, None, :] * (relevance_out / outputs)[..., None]).sum(dim=1)


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "silu", "gelu_python"])
@torch.no_grad()
def test_bert_is_an_explicit_propagation_of_relevance_from_layer_to_layer(activation):
    """By the rules of the papers as they are printed, in double precision: no gradient is taken."""
    base = families.tiny("bert")
    model = type(base)(BertConfig(**{**base.config.to_dict(), "hidden_act": activation, "dtype": None}))
    model.load_state_dict(base.state_dict())
    for name, weight in model.named_parameters():
        if name.endswith("bias"):
            weight.normal_(0, 0.2)
    model = model.double().eval()
    (text,) = make_texts((6,))
    inputs = {"input_ids": torch.tensor([text.ids]), "attention_mask": torch.ones(1, 6, dtype=torch.long)}
    logits = model(**inputs, output_hidden_states=True)
    states = [state[0] for state in logits.hidden_states]  # each (token, width)
    chosen = int(logits.logits.argmax())

    pooler, first = model.bert.pooler, states[-1][:1]
    dense = pooler.dense(first)
    pooled = dense.tanh()
    one = torch.zeros_like(logits.logits)
    one[0, chosen] = logits.logits[0, chosen]
    values = propagate(model.classifier.weight, pooled, logits.logits, one)  # also tanh: its relevance is its input's
    values = propagate(pooler.dense.weight, first, dense, values)
    values = torch.cat([values, torch.zeros_like(states[-1][1:])])

    for layer, state in zip(reversed(model.bert.encoder.layer), reversed(states[:-1]), strict=True):
        own = layer.attention.self
        query, key, value = (part(state).view(6, 2, 8).transpose(0, 1) for part in (own.query, own.key, own.value))
        weights = (query @ key.mT / math.sqrt(8)).softmax(dim=-1)
        mixed = weights @ value  # (head, token, size)
        joined = mixed.transpose(0, 1).reshape(6, 16)
        attended = layer.attention.output.dense(joined)
        between = layer.attention.output.LayerNorm(attended + state)
        neurons = layer.intermediate.dense(between)
        active = layer.intermediate.intermediate_act_fn(neurons)
        fed = layer.output.dense(active)

        values = propagate_norm(layer.output.LayerNorm, fed + between, values)
        through, past = propagate_sum([fed, between], values)
        through = propagate(layer.output.dense.weight, active, fed, through)
        values = past + propagate(layer.intermediate.dense.weight, between, neurons, through)
        values = propagate_norm(layer.attention.output.LayerNorm, attended + state, values)
        through, past = propagate_sum([attended, state], values)
        through = propagate(layer.attention.output.dense.weight, joined, attended, through)
        through = through.view(6, 2, 8).transpose(0, 1)  # (head, query, size)
        # Each value has its part of what a query mixes.
        through = torch.einsum("hqk,hks,hqs->hks", weights, value, through / mixed)
        through = through.transpose(0, 1).reshape(6, 16)
        values = past + propagate(own.value.weight, state, own.value(state), through)

    words = model.bert.embeddings.word_embeddings.weight[inputs["input_ids"][0]]
    types, places = model.bert.embeddings.token_type_embeddings.weight[0], model.bert.embeddings.position_embeddings
    summed = words + types + places.weight[:6]
    values = propagate_norm(model.bert.embeddings.LayerNorm, summed, values)
    expected = (words / summed * values).sum(dim=-1)
    (found,) = token_relevance(model, [text])
    np.testing.assert_allclose(found.tokens, expected, rtol=1e-4, atol=1e-6)


def test_a_gated_layer_gives_half_to_its_gate():
    """All that the product behind the gate has is what comes in; before it, the half of `up_proj`."""
    model, texts = make_model("llama", biases=False), make_texts((5,))
    (product,), (up,) = (neuron_relevance(model, texts, site) for site in ("fc1_out.0", "fc1.0"))
    np.testing.assert_allclose(up, product / 2, rtol=1e-4, atol=1e-7)


def test_relevance_is_weight_times_embedding_in_a_linear_model():
    model, texts = linear.model(), encode(tiny.tokenizer(), WORDS)
    classes = predict(model, texts)
    effects = linear.effects(texts, classes)
    for own, against, true in zip(
        relevance(model, texts), relevance(model, texts, contrast=1 - classes), effects, strict=True
    ):
        np.testing.assert_allclose(own, true / 2, atol=1e-6)  # the logits are minus and plus half the weight
        np.testing.assert_allclose(against, true, atol=1e-6)


def test_a_contrast_is_the_difference_of_two_classes(masked):
    texts = encode(tiny.tokenizer(), WORDS)
    first, second = relevance(masked, texts, targets=0), relevance(masked, texts, targets=1)
    both = relevance(masked, texts, targets=0, contrast=1)
    for one, two, together in zip(first, second, both, strict=True):
        np.testing.assert_allclose(together, one - two, rtol=1e-4, atol=1e-6)
    classes = predict(masked, texts)
    for one, two in zip(relevance(masked, texts), relevance(masked, texts, targets=classes), strict=True):
        np.testing.assert_array_equal(one, two)
    found = token_relevance(masked, texts, targets=[0, 1, 0], contrast=[1, 0, 1])
    logits = read_logits(masked, texts)
    for part, row, sign in zip(found, logits, (1, -1, 1), strict=True):
        assert part.explained == pytest.approx(sign * (row[0] - row[1]).item(), abs=1e-6)
    with pytest.raises(InputError, match="expected a class from 0 to 1, got 2"):
        relevance(masked, texts, targets=2)
    with pytest.raises(InputError, match="one class for all, or one for each of 3 texts, got 2"):
        relevance(masked, texts, targets=0, contrast=[1, 1])


def test_padding_changes_no_number():
    texts = make_texts((7, 4, 2, 6))
    for family in ("paper", "bert", "gpt2", "llama", "xlnet", "deberta"):
        model = make_model(family, biases=True)
        together = token_relevance(model, texts)
        for text, found in zip(texts, together, strict=True):
            np.testing.assert_allclose(found.tokens, token_relevance(model, [text])[0].tokens, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("attached", [False, True])
def test_pairs_are_scored_in_both_texts(attached):
    model, words = tiny_tokenizers.model(tiny_tokenizers.CLASSIFIERS[0])
    if attached:
        attach(model, Regularization(vmask_width=8), tokenizer=words)
    texts = encode_texts(model, words, [("the film was good", "the cast was dull"), "the film moves"])
    found = token_relevance(model, texts)
    assert [len(part.tokens) for part in found] == [len(text.ids) for text in texts]
    assert found[0].explained == pytest.approx(read_logits(model, texts)[0].max().item(), abs=1e-6)
    assert [len(scores) for scores in relevance(model, texts)] == [8, 3]


def test_behind_the_word_mask_the_vectors_are_what_the_layers_read(masked):
    """The keep probabilities are held fixed: a model that reads the masked vectors has the same relevance."""
    texts = encode(tiny.tokenizer(), WORDS)
    plain = tiny.model(num_hidden_layers=2)
    plain.load_state_dict({name: value for name, value in masked.state_dict().items() if "safr" not in name})
    for text, found in zip(texts, token_relevance(masked, texts), strict=True):
        inputs = {"input_ids": torch.tensor([text.ids]), "attention_mask": torch.ones(1, len(text.ids)).long()}
        vectors = trace(masked, inputs, ["vmask"]).site("vmask").detach()
        with intervene(plain, "embedding", lambda _, vectors=vectors: vectors):
            (expected,) = token_relevance(plain, [text])
        np.testing.assert_allclose(found.tokens, expected.tokens, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", [GPT2LMHeadModel, LlamaForCausalLM])
def test_a_language_model_is_explained_from_its_next_token(kind):
    model, words = tiny_tokenizers.model(kind)
    texts = encode_texts(model, words, ["the film was", "a dull story"])
    logits = read_logits(model, texts)
    found = token_relevance(model, texts)
    assert [part.explained for part in found] == pytest.approx(logits.amax(dim=-1).tolist(), abs=1e-5)
    assert token_relevance(model, texts, targets=5)[0].explained == pytest.approx(logits[0, 5].item(), abs=1e-5)


def test_a_tagger_is_asked_about_a_word():
    words = tiny_tokenizers.tokenizer("wordpiece")
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=len(words), pad_token_id=words.pad_token_id, num_labels=3, **sizes)
    model = BertForTokenClassification(config).eval()
    (text,) = encode_texts(model, words, ["the [[film]] was good"])
    logits = model(input_ids=torch.tensor([text.ids])).logits[0, text.asked_tokens[0]]
    (found,) = token_relevance(model, [text])
    assert found.explained == pytest.approx(logits.max().item(), abs=1e-6)
    assert len(relevance(model, [text])[0]) == 4
    assert find_missing_rule(model) == ""


def test_an_answer_is_explained_by_the_logits_of_its_first_and_last_token():
    words = tiny_tokenizers.tokenizer("wordpiece")
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 32}
    model = BertForQuestionAnswering(BertConfig(vocab_size=len(words), pad_token_id=words.pad_token_id, **sizes)).eval()
    texts = encode_texts(model, words, [("what moves ?", "the story moves"), ("who ?", "the dull cast was good")])
    for text, found in zip(texts, token_relevance(model, texts), strict=True):
        outputs = model(input_ids=torch.tensor([text.ids]), token_type_ids=torch.tensor([text.token_types]))
        first, last = text.asked_tokens
        expected = outputs.start_logits[0, first] + outputs.end_logits[0, last]
        assert found.explained == pytest.approx(expected.item(), abs=1e-5)
        (other,) = token_relevance(model, [text], targets=0)
        assert other.explained < found.explained
    assert find_missing_rule(model) == ""


def test_a_choice_is_explained_against_the_likeliest_other():
    words = tiny_tokenizers.tokenizer("wordpiece")
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=len(words), pad_token_id=words.pad_token_id, initializer_range=0.3, **sizes)
    model = BertForMultipleChoice(config).eval()
    texts = encode_texts(model, words, [("what moves ?", "the story | a premise | dull"), ("is it ?", "it does | not")])
    for found, (other, own, _) in zip(token_relevance(model, texts), read_logits(model, texts), strict=True):
        assert found.explained == pytest.approx((own - other).item(), abs=1e-5)
        assert np.abs(found.tokens).max() > 0
    assert find_missing_rule(model) == ""
    assert "relevance" in default_methods(model)


@pytest.mark.parametrize("problem", ["multi_label_classification", "regression"])
def test_other_tasks_are_explained_by_their_highest_logit(problem):
    labels = {0: "value"} if problem == "regression" else dict(enumerate("abc"))
    model = tiny.model(problem_type=problem, id2label=labels)
    texts = encode(tiny.tokenizer(), WORDS)
    expected = read_logits(model, texts).amax(dim=-1).tolist()
    assert [part.explained for part in token_relevance(model, texts)] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("family", ["paper", "bert", "llama", "gemma2"])
def test_half_precision_gives_finite_float32(family):
    model, texts = make_model(family, biases=False), make_texts()
    full, half = token_relevance(model, texts), token_relevance(model.to(torch.bfloat16), texts)
    for one, two in zip(full, half, strict=True):
        assert two.tokens.dtype == np.float32
        assert np.isfinite(two.tokens).all()
        np.testing.assert_allclose(two.tokens, one.tokens, atol=0.1 * np.abs(one.tokens).max() + 0.02)


@pytest.mark.parametrize("activation", [F.gelu, F.silu, torch.tanh, F.mish, F.elu])
def test_at_zero_a_slope_is_its_limit(activation):
    from safr.model.relevance_rules import relevance_rules

    values = torch.tensor([0.0, -0.0, 1e-30, 1.0, -2.0], requires_grad=True)
    with relevance_rules():
        outputs = activation(values)
    torch.testing.assert_close(outputs, activation(values))
    (gradient,) = torch.autograd.grad(outputs.sum(), values)
    (tangent,) = torch.autograd.grad(activation(values).sum(), values)
    torch.testing.assert_close(gradient[:3], tangent[:3], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(gradient[3:], (activation(values) / values)[3:].detach())


def test_neurons_add_up_to_what_the_layer_brings():
    """In a last layer with no norm behind it that is what the logit loses without the layer."""
    model, texts = make_model("gpt2", biases=False), make_texts((5,))
    model.transformer.ln_f = nn.Identity()
    (neurons,), (whole,) = neuron_relevance(model, texts, "fc1.1"), token_relevance(model, texts)
    chosen = int(predict(model, texts)[0])
    with intervene(model, "fc1_out.1", torch.zeros_like):
        without = read_logits(model, texts)[0, chosen].item()
    assert neurons.shape == (5, 32)
    assert neurons.sum() == pytest.approx(whole.explained - without, rel=1e-4)


def test_what_relevance_costs_and_what_its_absolute_scores_are(masked):
    texts = encode(tiny.tokenizer(), WORDS)
    cost = attribute(masked, texts, METHODS["relevance"].score)
    assert (cost.forward, cost.backward) == (1, 1)
    for one, two in zip(cost.scores, get_method("absolute_relevance").score(masked, texts), strict=True):
        np.testing.assert_array_equal(np.abs(one), two)
    assert "relevance" in default_methods(masked)


class Cubed(nn.Module):
    def forward(self, values):
        return values.cumprod(dim=-1)


def test_a_model_without_a_rule_is_refused_in_one_line():
    model = families.tiny("bert").eval()
    model.dropout = Cubed()
    assert find_missing_rule(model) == "Cumprod"
    with pytest.raises(InputError, match="relevance has no rule for Cumprod, which BertForSequenceClassification comp"):
        relevance(model, make_texts())
    with pytest.raises(InputError, match="the method absolute_relevance needs a rule for Cumprod, which this model"):
        check_methods(model, ["absolute_relevance"])
    assert "relevance" not in default_methods(model)
    writer, words = tiny_tokenizers.model(T5ForConditionalGeneration)
    with pytest.raises(InputError, match="relevance needs a model without a decoder of its own"):
        relevance(writer, encode(words, ["the film"]))
    with pytest.raises(InputError, match=r"expected the site embedding, fc1\.0 to fc1\.1, or fc1_out\.0"):
        neuron_relevance(families.tiny("bert"), make_texts(), "fc2.0")


def test_nothing_is_left_on_a_model_or_on_torch_whatever_happens(masked, monkeypatch):
    texts = encode(tiny.tokenizer(), WORDS)

    def count_hooks():
        hooks = nn.modules.module._global_forward_hooks
        return len(hooks), [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in masked.modules()]

    before, weights = count_hooks(), {name: value.clone() for name, value in masked.state_dict().items()}
    relevance(masked, texts)
    assert count_hooks() == before
    monkeypatch.setattr(masked.layers[1].fc2, "forward", lambda values: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        relevance(masked, texts)
    assert count_hooks() == before
    assert all(torch.equal(value, weights[name]) for name, value in masked.state_dict().items())
    assert all(weight.grad is None and weight.requires_grad for weight in masked.parameters())
    values = torch.ones(3, requires_grad=True)
    assert values.softmax(dim=-1).requires_grad


def test_threads_get_the_numbers_of_one(masked):
    texts, other = encode(tiny.tokenizer(), WORDS), make_model("gpt2", biases=True)
    expected, plain = relevance(masked, texts), masked(input_ids=torch.tensor([texts[0].ids])).logits

    def run(number):
        if number % 3 == 0:  # an ordinary gradient of the same model meanwhile
            logits = masked(input_ids=torch.tensor([texts[0].ids])).logits
            (gradient,) = torch.autograd.grad(logits[0, 0], masked.layers[0].attention.query.weight)
            return torch.equal(logits, plain) and bool(gradient.abs().max() > 0)
        if number % 3 == 1:
            return bool(np.isfinite(token_relevance(other, make_texts())[0].tokens).all())
        return all(np.array_equal(one, two) for one, two in zip(relevance(masked, texts), expected, strict=True))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(run, range(24)))


def test_it_works_where_gradients_are_off_and_on_frozen_weights(masked):
    texts = encode(tiny.tokenizer(), WORDS)
    expected = relevance(masked, texts)
    with torch.no_grad():
        off = relevance(masked, texts)
    frozen = relevance(masked.requires_grad_(False), texts)
    for one, two, three in zip(expected, off, frozen, strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, three)


def test_what_hides_the_weights_is_set_aside_for_the_pass(without_type_checks):
    """Fused attention of another implementation, and what torch.compile makes of a model."""
    model, texts = make_model("bert", biases=True), make_texts()
    expected = relevance(model, texts)
    model.set_attn_implementation("flex_attention")
    for other in (model, torch.compile(model, backend="eager")):
        for one, two in zip(expected, relevance(other, texts), strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-7)
    assert model.config._attn_implementation == "flex_attention"


def test_a_text_without_words_has_no_scores(masked):
    (empty, other) = encode(tiny.tokenizer(), ["", "a film"])
    assert [len(scores) for scores in relevance(masked, [empty, other])] == [0, 2]
    assert [len(scores) for scores in relevance(masked, [replace(other, ids=(), words=(), word_of_token=())])] == [0]
