from dataclasses import replace

import numpy as np
import pytest
import torch

from safr.attribution.relevance import neuron_relevance
from safr.config import Regularization
from safr.data.encoding import encode
from safr.evaluation.causal import (
    CAUSAL_METRICS,
    CausalSetup,
    ablation_effects,
    causal_effects,
    interaction_effects,
    patching_effects,
    relevance_of_neurons,
)
from safr.evaluation.neuron_allocation import draw_control_neurons, mean_neuron_values, record_allocation
from safr.inference import predict
from safr.model.interventions import intervene
from safr.model.trace import trace
from tests import linear, tiny

TEXTS = encode(tiny.tokenizer(), ["a lovely film", "the dull story was awful but funny and rich", "moving cast"])


@pytest.fixture(scope="module")
def subject():
    model = tiny.model(Regularization(vmask_width=8), num_hidden_layers=2)
    return CausalSetup(model, TEXTS, predict(model, TEXTS), "fc1.0")


def logits(model, text):
    ids = torch.tensor([text.ids])
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]


def odds(values, chosen):
    return (values[chosen] - values[1 - chosen]).item()


def test_every_neuron_belongs_to_the_word_that_moves_it_most(subject):
    shown = record_allocation(subject.model, TEXTS, "fc1.1")
    mean = mean_neuron_values(shown)
    vectors = []
    for text in TEXTS:
        ids = torch.tensor([text.ids])
        traced = trace(subject.model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, ["fc1"])
        vectors.append(traced.site("fc1.1")[0].detach())
    np.testing.assert_allclose(mean, torch.cat(vectors).mean(dim=0).numpy(), atol=1e-6)
    for each, own in zip(shown, vectors, strict=True):
        allocated = each.allocated(mean)
        assert (allocated.sum(axis=0) == 1).all()
        assert (allocated.argmax(axis=0) == (own - torch.from_numpy(mean)).abs().argmax(dim=0).numpy()).all()


def test_ablation_is_a_slow_loop(subject):
    model, classes, whole = subject.model, subject.classes, subject.whole
    neurons = [np.random.default_rng(n).random((3, 32)) < 0.4 for n in range(len(TEXTS))]
    value = np.random.default_rng(9).normal(size=32)
    found = ablation_effects(subject, neurons, value)
    for number, text in enumerate(TEXTS):
        for place, some in enumerate(neurons[number]):
            fixed = torch.from_numpy(value).float()
            chosen = torch.from_numpy(some)
            with intervene(model, "fc1.0", lambda v, s=chosen, f=fixed: torch.where(s, f, v)):
                after = odds(logits(model, text), classes[number])
            assert found[number][place] == pytest.approx(abs(whole[number] - after), abs=1e-5)


def test_relevance_of_neurons_is_a_slow_loop(subject):
    neurons = [np.random.default_rng(n).random((3, 32)) < 0.4 for n in range(len(TEXTS))]
    found = relevance_of_neurons(subject, neurons)
    for number, text in enumerate(TEXTS):
        chosen = int(subject.classes[number])
        (values,) = neuron_relevance(subject.model, [text], "fc1.0", chosen, 1 - chosen)
        for place, some in enumerate(neurons[number]):
            by_hand = sum(values[token, neuron] for token in range(len(text.ids)) for neuron in np.flatnonzero(some))
            assert found[number][place] == pytest.approx(by_hand, abs=1e-5)
    assert not np.allclose(found[1], np.abs(found[1]))  # for and against


def test_relevance_is_what_ablation_takes_away_where_all_behind_the_neurons_is_linear():
    model = tiny.model(num_hidden_layers=1)
    model.layers[0].feed_forward_norm = torch.nn.Identity()
    setup = CausalSetup(model, TEXTS, predict(model, TEXTS), "fc1.0")
    width = model.layers[0].fc1.out_features
    neurons = [np.random.default_rng(n).random((3, width)) < 0.4 for n in range(len(TEXTS))]
    effects = ablation_effects(setup, neurons, np.zeros(width))
    for sums, expected in zip(relevance_of_neurons(setup, neurons), effects, strict=True):
        np.testing.assert_allclose(np.abs(sums), expected, rtol=1e-4, atol=1e-5)
        assert expected.max() > 0.01


def test_a_model_without_rules_has_the_other_metrics(subject, monkeypatch):
    monkeypatch.setattr("safr.evaluation.causal.has_rules", lambda model: False)
    left = {"relevance_own", "relevance_others", "relevance_minus_capacity_own", "patched", "capacity_patched"}
    assert causal_effects(subject).keys() == CAUSAL_METRICS.keys() - left


def test_patching_is_a_slow_loop(subject):
    model, classes, whole = subject.model, subject.classes, subject.whole
    stand_in = tiny.tokenizer().unk_token_id
    found = patching_effects(subject, stand_in)
    for number, text in enumerate(TEXTS):
        for word in range(len(text.words)):
            place = text.word_of_token.index(word)
            ids = torch.tensor([text.ids])
            ids[0, place] = stand_in
            other = trace(model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, ["fc1"]).site("fc1.0")

            def put(vectors, place=place, other=other):
                vectors = vectors.clone()
                vectors[0, place] = other[0, place]
                return vectors

            with intervene(model, "fc1.0", put):
                after = odds(logits(model, text), classes[number])
            assert found[number][word] == pytest.approx(abs(whole[number] - after), abs=1e-5)


def test_words_of_a_linear_model_do_not_interact_and_those_of_another_do(subject):
    pairs = [np.array([[0, 1]]), np.array([[1, 4], [4, 6]]), np.array([[0, 1]])]
    plain = linear.model()
    classes = predict(plain, TEXTS)
    for each in interaction_effects(CausalSetup(plain, TEXTS, classes, "fc1.0"), pairs):
        np.testing.assert_allclose(each, 0, atol=1e-5)
    model, classes = subject.model, subject.classes
    found = interaction_effects(subject, pairs)
    text, values = TEXTS[1], []
    for words in ((), (1,), (4,), (1, 4)):
        values.append(odds(logits(model, text.without(words)), classes[1]))
    assert found[1][0] == pytest.approx(abs(values[0] - values[1] - values[2] + values[3]), abs=1e-5)
    assert found[1][0] > 1e-4


def test_chance_gets_as_many_neurons_and_none_of_the_words_own():
    own = np.random.default_rng(0).random((5, 32)) < 0.3
    own[0] = True  # more than half: there are not as many others
    others = draw_control_neurons(own, np.random.default_rng(1))
    assert not (own & others).any()
    assert others.sum(axis=1).tolist() == [0, *own[1:].sum(axis=1).tolist()]


def test_own_and_others_are_compared_on_the_same_words(subject):
    found = causal_effects(subject, seed=3)
    np.testing.assert_allclose(found["own_minus_others"], found["own"] - found["others"])
    capacities = [each.capacity for each in record_allocation(subject.model, TEXTS, "fc1.0")]
    assert len(capacities[2]) == 2
    assert np.isnan(found["capacity_own"][2])  # of two words one owns half of the neurons or more


def test_all_numbers_are_there_repeatable_and_explained(subject):
    second = replace(subject, site="fc1.1")
    found = causal_effects(second, tiny.tokenizer().unk_token_id)
    assert found.keys() == CAUSAL_METRICS.keys()
    assert all(np.isfinite(values[1]) for values in found.values())
    again = causal_effects(second, tiny.tokenizer().unk_token_id)
    assert all(np.array_equal(found[name], again[name], equal_nan=True) for name in found)
    assert not {"patched", "capacity_patched"} & causal_effects(subject).keys()
