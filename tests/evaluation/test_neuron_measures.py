import json

import numpy as np
import pytest
import torch
from transformers import AutoModelForQuestionAnswering, AutoModelForTokenClassification, BertConfig

import safr
from safr.config import Regularization
from safr.data.encoding import encode
from safr.errors import InputError
from safr.evaluation import neuron_measures as module
from safr.evaluation.class_selectivity import class_selectivity_index, class_separability
from safr.evaluation.monosemanticity import hoyer_sparsity, monosemanticity_score, permutation_null, token_entropy
from safr.evaluation.statistics import bootstrap_mean
from tests import tiny

TEXTS, LABELS = (list(column) for column in zip(*tiny.sentences(40, 0, longest=9), strict=True))
BY_CLASS = tuple(
    f"{name}{chance}"
    for name in ("class_separability", "class_selectivity", "single_class")
    for chance in ("", "_by_chance")
)


@pytest.fixture(scope="module")
def tokenizer():
    return tiny.tokenizer()


@pytest.fixture(scope="module")
def measured(tokenizer):
    return safr.measure_neurons(tiny.model(), tokenizer, TEXTS, LABELS, autoencoders=0)


def activations_of(model, tokenizer, texts, site="fc1_out.0"):
    """Each text's activations and ids, one text at a time."""
    found = []
    for text in encode(tokenizer, texts):
        batch = {
            "input_ids": torch.tensor([text.ids]),
            "attention_mask": torch.ones(1, len(text.ids), dtype=torch.long),
        }
        with torch.no_grad():
            vectors = safr.trace(model, batch, site).site(site)[0].numpy()
        content = [place for place, word in enumerate(text.word_of_token) if word is not None]
        found.append((vectors[content], np.array(text.ids)[content]))
    return found


def test_all_is_measured_on_the_tokens_of_words(measured, tokenizer):
    rows = activations_of(tiny.model(), tokenizer, TEXTS)
    values, ids = (np.concatenate(column) for column in zip(*rows, strict=True))
    assert (measured.site, measured.neurons, measured.texts, measured.tokens) == ("fc1_out.0", 32, 40, len(ids))
    by_neuron = {
        "monosemanticity": monosemanticity_score(values, ids),
        "token_entropy": token_entropy(values, ids, normalized=True),
        "active_share": (values > 0).mean(axis=0),
        "neuron_sparsity": hoyer_sparsity(values),
    }
    largest = np.stack([row.max(axis=0) for row, _ in rows])
    by_neuron["class_separability"] = class_separability(largest, LABELS)
    by_neuron["class_selectivity"] = class_selectivity_index(largest, LABELS)
    assert set(measured.by_neuron) == set(by_neuron)
    for name, expected in by_neuron.items():
        np.testing.assert_allclose(measured.by_neuron[name], expected, rtol=1e-4, atol=1e-6, err_msg=name)
        if name != "active_share":
            assert getattr(measured, name).value == pytest.approx(np.nanmean(expected), rel=1e-4)
    active = (values > 0).sum(axis=1)
    assert measured.active.value == pytest.approx(active.mean())
    assert measured.token_sparsity.value == pytest.approx(hoyer_sparsity(values, axis=1).mean(), rel=1e-4)
    assert measured.dead.value == np.mean((values > 0).sum(axis=0) == 0)
    index = by_neuron["class_selectivity"]
    assert measured.single_class.value == pytest.approx(np.mean(index[~np.isnan(index)] >= 0.5))


def test_chance_is_what_shuffled_words_and_labels_give(measured, tokenizer):
    rows = activations_of(tiny.model(), tokenizer, TEXTS)
    values, ids = (np.concatenate(column) for column in zip(*rows, strict=True))
    null = permutation_null(lambda values, ids: token_entropy(values, ids, normalized=True), values, ids, draws=50)
    assert measured.token_entropy_by_chance == pytest.approx(np.nanmean(null.null), abs=0.01)
    null = permutation_null(monosemanticity_score, values, ids, draws=50)
    assert measured.monosemanticity_by_chance == pytest.approx(np.nanmean(null.null), abs=0.005)
    assert measured.monosemanticity.value > measured.monosemanticity_by_chance
    largest, rng = np.stack([row.max(axis=0) for row, _ in rows]), np.random.default_rng(1)
    shuffled = [rng.permutation(LABELS) for _ in range(200)]
    separability = np.mean([class_separability(largest, labels) for labels in shuffled])
    assert measured.class_separability_by_chance == pytest.approx(separability, rel=0.1)
    index = np.array([class_selectivity_index(largest, labels) for labels in shuffled])
    index = index[~np.isnan(index)]
    assert measured.class_selectivity_by_chance == pytest.approx(index.mean(), rel=0.2)
    assert measured.single_class_by_chance == pytest.approx(np.mean(index >= 0.5), abs=0.05)


def test_intervals_hold_their_means_and_those_of_tokens_are_over_texts(measured, tokenizer):
    values = measured.to_dict()
    for name, value in values.items():
        if isinstance(value, dict):
            assert value["low"] <= value["value"] <= value["high"], name
    rows = activations_of(tiny.model(), tokenizer, TEXTS)
    active = [(values > 0).sum(axis=1).mean() for values, _ in rows]
    assert measured.active == bootstrap_mean(active, [len(values) for values, _ in rows])
    assert json.loads(json.dumps(values)) == values
    assert "by_neuron" not in values


def test_without_labels_nothing_is_measured_by_class(measured, tokenizer):
    plain = safr.measure_neurons(tiny.model(), tokenizer, TEXTS, autoencoders=0)
    assert [getattr(plain, name) for name in BY_CLASS] == [None] * len(BY_CLASS)
    assert plain.monosemanticity == measured.monosemanticity


def test_any_site_of_a_model_with_safr(tokenizer):
    model = tiny.model(Regularization(vmask_width=8)).train()
    found = safr.measure_neurons(model, tokenizer, TEXTS, LABELS, site="fc1.0", autoencoders=0)
    rows = activations_of(model.eval(), tokenizer, TEXTS, "fc1.0")
    values, ids = (np.concatenate(column) for column in zip(*rows, strict=True))
    np.testing.assert_allclose(found.by_neuron["monosemanticity"], monosemanticity_score(values, ids), rtol=1e-4)
    assert found.site == "fc1.0"
    assert safr.measure_neurons(model, tokenizer, TEXTS, site="fc1", autoencoders=0).site == "fc1.0"


def test_effective_features_are_a_mean_over_autoencoders(tokenizer, monkeypatch):
    train = module.train_sparse_autoencoder
    seeds = []

    def train_shortly(sample, *, active=2, seed):
        seeds.append(seed)
        return train(sample, active=active, steps=20, seed=seed)

    monkeypatch.setattr(module, "train_sparse_autoencoder", train_shortly)
    monkeypatch.setattr("safr.evaluation.activations.SAMPLED_TOKENS", 50)
    several = safr.measure_neurons(tiny.model(), tokenizer, TEXTS, autoencoders=3, seed=4)
    assert seeds == [4, 5, 6]
    assert several.effective_features.low < several.effective_features.value < several.effective_features.high
    assert 0 < several.unexplained < 2
    single = safr.measure_neurons(tiny.model(), tokenizer, TEXTS, autoencoders=1)
    assert single.effective_features.low == single.effective_features.value


def test_dead_neurons_have_no_value(tokenizer):
    model = tiny.model()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "fc1" in name:
                parameter.fill_(-1.0 if name.endswith("bias") else 0.0)
    found = safr.measure_neurons(model, tokenizer, TEXTS, LABELS, autoencoders=1)
    assert found.dead.value == 1
    assert found.effective_features is None
    assert (found.active.value, found.token_sparsity.value) == (0, 0)
    assert found.monosemanticity is found.token_entropy is found.class_selectivity is found.single_class is None
    for name in ("token_entropy", "class_selectivity", "single_class"):
        assert found.to_dict()[f"{name}_by_chance"] is None
    assert found.class_separability.value == 0


@pytest.mark.parametrize("kind", [AutoModelForTokenClassification, AutoModelForQuestionAnswering])
def test_texts_need_no_mark_where_nothing_is_asked(kind, tokenizer):
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    model = kind.from_config(BertConfig(vocab_size=len(tokenizer), **sizes))
    is_tagger = kind is AutoModelForTokenClassification
    plain = TEXTS if is_tagger else [("film ?", text) for text in TEXTS]
    marked = [f"[[{text}]]" if is_tagger else ("film ?", f"[[{text}]]") for text in TEXTS]
    found, same = (safr.measure_neurons(model, tokenizer, texts, autoencoders=0) for texts in (plain, marked))
    assert found.texts == 40
    assert found.to_dict() == same.to_dict()


@pytest.mark.parametrize(
    ("kind", "texts", "message"),
    [
        (AutoModelForTokenClassification, "film story", "expected a list of texts"),
        (AutoModelForQuestionAnswering, "film story", "expected a list of texts"),
        (AutoModelForQuestionAnswering, ["a film", "a story"], "expected a pair of a question and the text"),
    ],
)
def test_texts_of_a_wrong_kind_are_refused(kind, texts, message, tokenizer):
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    model = kind.from_config(BertConfig(vocab_size=len(tokenizer), **sizes))
    with pytest.raises(InputError, match=message):
        safr.measure_neurons(model, tokenizer, texts, autoencoders=0)


def test_texts_without_a_word_do_not_count(measured, tokenizer):
    more = safr.measure_neurons(tiny.model(), tokenizer, ["", *TEXTS], [1, *LABELS], autoencoders=0)
    assert more.texts == 40
    assert more.class_separability == measured.class_separability


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        (TEXTS[:1], {}, "at least 2 texts with words, got 1"),
        (["", "", TEXTS[0]], {}, "at least 2 texts with words, got 1"),
        ([], {}, "at least 2 texts with words, got 0"),
        (TEXTS, {"labels": LABELS[:3]}, "expected 40 labels, one class for each text"),
        (TEXTS, {"labels": [[0, 1]] * 40}, r"got the shape \(40, 2\)"),
        (TEXTS, {"labels": [np.nan, *LABELS[1:]]}, r"1 of 40 labels are missing \(None or NaN\)"),
        (TEXTS, {"labels": ["a", np.nan] * 20}, r"20 of 40 labels are missing"),
        (TEXTS, {"labels": [1] * 40}, "at least 2 classes, got 1"),
        (TEXTS, {"autoencoders": -1}, "at least 0, got -1"),
        (TEXTS, {"site": "attention"}, "expected one site with vectors, got 'attention'"),
        (TEXTS, {"site": "fc9"}, "unknown sites: fc9"),
    ],
)
def test_what_cannot_be_measured_gets_one_line(texts, options, message, tokenizer):
    with pytest.raises(InputError, match=message):
        safr.measure_neurons(tiny.model(), tokenizer, texts, **{"autoencoders": 0, **options})
