import json

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from safr.attribution.explanation import explain
from safr.attribution.scores import score_words
from safr.config import Regularization
from safr.data.batches import encode
from safr.errors import InputError
from safr.model.attach import trace
from tests import tiny

TEXT = "the film was funny but the cast was dull"
MASKED = Regularization(vmask_width=8)


@pytest.fixture(scope="module")
def explanation():
    return explain(tiny.model(MASKED, num_hidden_layers=2), tiny.tokenizer(), TEXT)


def test_an_explanation_says_what_the_evaluation_scores():
    model = tiny.model(MASKED)
    explanation = explain(model, tiny.tokenizer(), TEXT)
    scored = score_words(model, encode(tiny.tokenizer(), [TEXT]), ("embedding", "vmask", "fc1", "fc1_out", "fc2"))[0]
    assert explanation.words == tuple(TEXT.split())
    assert explanation.prediction == model.config.id2label[scored.prediction]
    np.testing.assert_allclose(explanation.keep, scored.keep, rtol=1e-5)
    assert explanation.capacity is explanation.sites["fc1.0"].capacity
    assert explanation.sites.keys() == scored.capacity.keys()
    for name, site in explanation.sites.items():
        np.testing.assert_allclose(site.capacity, scored.capacity[name], rtol=1e-5)


def test_interference_and_polysemanticity_follow_from_the_vectors(explanation):
    ids = torch.tensor([tiny.tokenizer()(TEXT)["input_ids"]])
    with torch.inference_mode():
        seen = trace(tiny.model(MASKED, num_hidden_layers=2), {"input_ids": ids}, ("fc2.1",))
    vectors = seen.vectors["fc2.1"][0].double().numpy()
    overlap = vectors @ vectors.T
    site = explanation.sites["fc2.1"]
    np.testing.assert_allclose(site.interference, overlap, rtol=1e-4, atol=1e-5)
    squares = overlap**2 / np.diag(overlap)[:, None]
    np.testing.assert_allclose(site.polysemanticity, squares.sum(axis=1) - np.diag(squares), rtol=1e-4)


def test_probabilities_sum_to_one_and_the_prediction_has_the_largest(explanation):
    assert sum(explanation.probabilities.values()) == pytest.approx(1)
    assert explanation.prediction == max(explanation.probabilities, key=explanation.probabilities.get)


def test_attention_is_told_per_layer_and_rows_sum_to_one(explanation):
    assert list(explanation.attention) == [0, 1]
    for matrix in explanation.attention.values():
        assert matrix.shape == (9, 9)
        np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-5)


def test_sites_come_in_the_order_data_flows(explanation):
    layers = [f"{site}.{layer}" for site in ("fc1", "fc1_out", "fc2") for layer in (0, 1)]
    assert list(explanation.sites) == ["embedding", "vmask", *layers]
    assert list(explanation.site_pictures()) == ["embedding", "vmask", "attention", "fc1", "fc2"]


def test_a_model_without_a_mask_has_no_keep_probabilities():
    explanation = explain(tiny.model(), tiny.tokenizer(), TEXT)
    assert explanation.keep is None
    assert explanation.to_dict()["keep"] is None
    assert "vmask" not in explanation.site_pictures()


def test_an_explanation_as_json_holds_every_number(explanation):
    values = json.loads(json.dumps(explanation.to_dict()))
    assert values["words"] == TEXT.split()
    assert values["capacity"] == explanation.capacity.tolist()
    assert values["sites"]["fc1.1"]["interference"] == explanation.sites["fc1.1"].interference.tolist()
    assert values["attention"]["1"] == explanation.attention[1].tolist()
    assert values["keep"] == explanation.keep.tolist()


def test_the_mask_is_pictured_by_its_keep_probabilities_and_attention_by_what_words_receive(explanation):
    pictures = explanation.site_pictures()
    assert np.array_equal(pictures["vmask"][0], explanation.keep)
    np.testing.assert_allclose(pictures["attention"][0], explanation.attention[0].mean(axis=0))
    assert np.array_equal(pictures["fc1"][0], explanation.capacity)


def test_the_papers_figures_are_drawn_for_any_text():
    figures = explain(tiny.model(MASKED), tiny.tokenizer(), tiny.HOSTILE[1]).figures()
    assert set(figures) == {"capacity", "allocation", "interference", "sites"}
    assert all(isinstance(figure, Figure) for figure in figures.values())


def test_a_long_text_is_cut_and_says_so():
    explanation = explain(tiny.model(MASKED), tiny.tokenizer(), TEXT, max_tokens=4)
    assert explanation.words == tuple(TEXT.split()[:4])
    assert explanation.truncated


def test_a_text_longer_than_a_models_padding_is_read_whole():
    model = tiny.model(Regularization(padding="count", vmask_width=8), padded_length=5)
    assert explain(model, tiny.tokenizer(), TEXT).words == tuple(TEXT.split())


@pytest.mark.parametrize("text", ["", " \n\t ", "[PAD]"])
def test_a_text_without_words_cannot_be_explained(text):
    with pytest.raises(InputError, match="expected a text with at least one word, got none"):
        explain(tiny.model(MASKED), tiny.tokenizer(), text)
