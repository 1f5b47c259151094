"""What the page is told about neurons is what a slow loop over interventions finds."""

import base64

import numpy as np
import pytest
import torch

from safr.attribution.explain import explain
from safr.attribution.neurons import summarize_neurons
from safr.config import Regularization
from safr.data.encoding import encode
from safr.errors import InputError
from safr.explorer.neurons import make_neuron_page, pack_neurons, predict_with_neurons_off, switch_off
from safr.inference import predict, predict_probabilities
from safr.model.interventions import intervene
from tests import tiny

SENTENCES = ["the dull story was awful but funny and rich", "a lovely film", "moving cast"]
TEXTS = encode(tiny.tokenizer(), SENTENCES)
SITE = "fc1_out.0"


@pytest.fixture(scope="module")
def model():
    return tiny.model(Regularization(vmask_width=8), num_hidden_layers=2)


def unpack(packed, neurons):
    values = np.frombuffer(base64.b64decode(packed.values), dtype="<i2") * packed.unit
    return values.reshape(neurons, -1)


def run_without(model, text, neurons):
    def clear(values):
        values = values.clone()
        values[..., neurons] = 0
        return values

    with intervene(model, SITE, clear):
        return predict_probabilities(model, [text])[0]


def test_predictions_with_neurons_off_are_a_slow_loop(model):
    sets = np.random.default_rng(0).random((4, 32)) < 0.4
    found = predict_with_neurons_off(model, TEXTS[0], SITE, sets)
    for row, off in zip(found, sets, strict=True):
        np.testing.assert_allclose(row, run_without(model, TEXTS[0], np.flatnonzero(off)), atol=1e-6)
    untouched = predict_with_neurons_off(model, TEXTS[0], SITE, np.zeros((1, 32), dtype=bool))
    np.testing.assert_allclose(untouched[0], predict_probabilities(model, [TEXTS[0]])[0], atol=1e-6)


def test_neurons_of_a_text_are_packed_with_what_each_alone_does(model):
    used = explain(model, tiny.tokenizer(), SENTENCES[0], neurons=5).neurons
    packed = pack_neurons(model, TEXTS[0], used)
    chosen = int(predict(model, TEXTS)[0])
    assert packed.neurons == used.neurons.tolist()
    assert packed.whole == pytest.approx(predict_probabilities(model, TEXTS)[0, chosen], rel=1e-3)
    for neuron, alone in zip(packed.neurons, packed.alone, strict=True):
        assert alone == pytest.approx(run_without(model, TEXTS[0], [neuron])[chosen], rel=1e-3)
    assert len(packed.random) == 5
    size = np.abs(used.activations).max()
    np.testing.assert_allclose(unpack(packed.activations, 5), used.activations.T, atol=size / 3e4)
    size = np.abs(used.relevance).max()
    np.testing.assert_allclose(unpack(packed.relevance, 5), used.relevance.T, atol=size / 3e4)


def test_switching_off_is_beside_as_many_random_neurons(model):
    found = switch_off(model, tiny.tokenizer(), TEXTS[0], SITE, [1, 5, 7])
    chosen = int(predict(model, TEXTS)[0])
    after = run_without(model, TEXTS[0], [1, 5, 7])
    assert found.followed == pytest.approx(after[chosen], rel=1e-3)
    assert found.prediction == model.config.id2label[int(after.argmax())]
    assert len(found.random) == 5
    assert found == switch_off(model, tiny.tokenizer(), TEXTS[0], SITE, [7, 5, 1])
    assert switch_off(model, tiny.tokenizer(), TEXTS[0], SITE, range(20)).random == []  # only 12 are left
    with pytest.raises(InputError, match="expected neurons from 0 to 31, got 32"):
        switch_off(model, tiny.tokenizer(), TEXTS[0], SITE, [32])


def test_random_neurons_are_others_and_as_many(model, monkeypatch):
    asked = []

    def record(model, text, site, sets):
        asked.append(sets)
        return np.full((len(sets), 2), 0.5, dtype=np.float32)

    monkeypatch.setattr("safr.explorer.neurons.predict_with_neurons_off", record)
    switch_off(model, tiny.tokenizer(), TEXTS[0], SITE, [1, 5, 7])
    (sets,) = asked
    assert sets.sum(axis=1).tolist() == [3] * 6
    assert not sets[1:, [1, 5, 7]].any()
    assert len({row.tobytes() for row in sets}) == 6


def test_the_page_of_a_neuron(model):
    summary = summarize_neurons(model, tiny.tokenizer(), TEXTS)
    words = {number: text.words for number, text in enumerate(TEXTS)}
    page = make_neuron_page(summary, 3, words)
    assert (page.neuron, page.site) == (3, SITE)
    assert [top.word for top in page.top] == list(summary.words[3])
    assert page.kept == len(page.top)
    for top in page.top:
        assert words[top.text][top.position] == top.word
        around = [*top.before.split(), top.word, *top.after.split()]
        assert " ".join(around) in " ".join(words[top.text])
    assert page.distinct == len(set(summary.words[3]))
    assert set(page.relevance) == set(summary.classes)
    assert make_neuron_page(summary, 3, {}).top[0].before == ""
    with pytest.raises(InputError, match="expected a neuron from 0 to 31, got 32"):
        make_neuron_page(summary, 32, words)


def test_a_model_that_predicts_numbers():
    torch.manual_seed(0)
    number = tiny.model(num_hidden_layers=1, num_labels=1, problem_type="regression")
    used = explain(number, tiny.tokenizer(), SENTENCES[0], neurons=2).neurons
    packed = pack_neurons(number, TEXTS[0], used)
    assert packed.whole == pytest.approx(predict_probabilities(number, TEXTS)[0, 0], rel=1e-3)
