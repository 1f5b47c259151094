import copy
import json
import pickle
import re
from dataclasses import replace

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification, GPT2LMHeadModel, LlamaForCausalLM

from safr.attribution.explain import explain
from safr.attribution.explanation import Explanation, token_names
from safr.attribution.internals import internal_scores
from safr.config import Regularization
from safr.data.encoding import encode
from safr.errors import InputError
from safr.model.attach import attach
from safr.model.trace import trace
from tests import tiny, tiny_tokenizers

TEXT = "the film was funny but the cast was dull"
MASKED = Regularization(vmask_width=8)


@pytest.fixture(scope="module")
def explanation():
    return explain(tiny.model(MASKED, num_hidden_layers=2), tiny.tokenizer(), TEXT)


def test_an_explanation_says_what_the_evaluation_scores():
    model = tiny.model(MASKED)
    explanation = explain(model, tiny.tokenizer(), TEXT)
    scored = internal_scores(model, encode(tiny.tokenizer(), [TEXT]), ("embedding", "vmask", "fc1", "fc1_out", "fc2"))[
        0
    ]
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


@pytest.mark.parametrize("method", ["relevance", "absolute_occlusion", "attention"])
def test_the_scores_that_were_asked_for_have_a_figure_of_their_own(method):
    explanation = explain(tiny.model(MASKED, id2label={0: "bad", 1: "good"}), tiny.tokenizer(), TEXT, method=method)
    figure = explanation.figures()["scores"]
    axes = figure.axes[0]
    np.testing.assert_allclose([bar.get_height() for bar in axes.containers[0]], explanation.scores)
    about = f" for “{explanation.prediction}”" if method != "attention" else ""
    assert axes.get_title(loc="left").partition(" (×")[0] == method + about
    assert figure.get_suptitle().replace("\n", " ").startswith(f"Scores by {method}, predicted ")
    assert bool(figure.legends) == (method == "relevance")


@pytest.mark.parametrize("text", [TEXT, ("the film was dull", "xqz jkv")], ids=["text", "pair"])
@pytest.mark.parametrize("masked", [False, True], ids=["plain", "attached"])
@pytest.mark.parametrize("kind", [kind for kind in tiny_tokenizers.MODELS if kind is not BertForMaskedLM])
def test_any_model_is_explained_at_every_site_and_layer(kind, masked, text):
    model, words = tiny_tokenizers.model(kind)
    if masked:
        attach(model, MASKED, tokenizer=words)
    explanation = explain(model, words, text)
    count = len(explanation.words)
    layers = [f"{site}.{layer}" for site in ("fc1", "fc1_out", "fc2") for layer in (0, 1)]
    assert list(explanation.sites) == ["embedding", *(["vmask"] if masked else []), *layers]
    for site in explanation.sites.values():
        assert site.capacity.shape == site.polysemanticity.shape == (count,)
        assert site.interference.shape == (count, count)
        assert ((site.capacity >= 0) & (site.capacity <= 1 + 1e-6)).all()
    assert {layer: matrix.shape for layer, matrix in explanation.attention.items()} == dict.fromkeys(
        (0, 1), (count,) * 2
    )
    assert (explanation.keep is not None) == masked
    assert json.loads(explanation.to_json())["text_of_word"] == list(explanation.text_of_word)
    assert set(explanation.text_of_word) == ({0} if text is TEXT else {0, 1})


@pytest.mark.parametrize("kind", [GPT2LMHeadModel, LlamaForCausalLM])
def test_a_language_models_answer_is_the_five_likeliest_tokens_after_the_text(kind):
    model, words = tiny_tokenizers.model(kind)
    explanation = explain(model, words, TEXT)
    with torch.inference_mode():
        likeliest = model(**words(TEXT, return_tensors="pt")).logits[0, -1].softmax(dim=-1).topk(5)
    np.testing.assert_allclose(list(explanation.probabilities.values()), likeliest.values, rtol=1e-4)
    assert words.decode([likeliest.indices[0]]) in explanation.prediction
    assert explanation.prediction == next(iter(explanation.probabilities))


def test_tokens_that_look_alike_are_told_with_their_numbers_but_the_likeliest():
    words = tiny_tokenizers.tokenizer("gpt2")
    first, *others = words("漢")["input_ids"]
    names = token_names(words, [first, *others, words.convert_tokens_to_ids("a")])
    unreadable = "\N{REPLACEMENT CHARACTER}"
    assert names == [unreadable, *(f"{unreadable} ({part})" for part in others), "a"]


def test_classes_that_do_not_exclude_each_other_have_probabilities_of_their_own():
    model, words = tiny_tokenizers.model(BertForSequenceClassification, problem_type="multi_label_classification")
    with torch.inference_mode():
        logits = model(**words(TEXT, return_tensors="pt")).logits[0]
    np.testing.assert_allclose(list(explain(model, words, TEXT).probabilities.values()), logits.sigmoid(), rtol=1e-4)


def test_a_model_that_shows_no_attention_is_explained_without_it(monkeypatch):
    model, words = tiny_tokenizers.model(BertForSequenceClassification)
    monkeypatch.setattr(type(model), "_can_set_attn_implementation", lambda self: False)
    explanation = explain(model, words, TEXT)
    assert explanation.attention == {}
    assert set(explanation.sites) == set(explain(*tiny_tokenizers.model(GPT2LMHeadModel), TEXT).sites)
    assert list(explanation.site_pictures()) == ["embedding", "fc1", "fc2"]
    assert len(explanation.figures()) == 4


def test_a_model_without_feed_forward_layers_says_so():
    model = tiny.model()
    del model.layers[0].fc1
    with pytest.raises(InputError, match="FC1"):
        explain(model, tiny.tokenizer(), TEXT)


def test_numbers_in_half_precision_are_those_of_single_precision():
    whole, half = tiny.model(MASKED), tiny.model(MASKED).bfloat16()
    one, other = (explain(model, tiny.tokenizer(), TEXT) for model in (whole, half))
    np.testing.assert_allclose(one.capacity, other.capacity, atol=0.05)
    np.testing.assert_allclose(one.attention[0], other.attention[0], atol=0.05)


def test_another_site_is_named(explanation):
    assert explanation.site("fc2.1") is explanation.sites["fc2.1"]
    assert explanation.site().capacity is explanation.capacity
    with pytest.raises(InputError, match=r"nothing at site 'fc9'; recorded are: embedding, vmask, fc1\.0, .*fc2\.1$"):
        explanation.site("fc9")


def test_the_figures_of_another_site_show_its_numbers_and_its_layers(explanation):
    figures = explanation.figures(site="fc1_out.1")
    bars = [bar.get_height() for bar in figures["capacity"].axes[0].containers[0]]
    np.testing.assert_allclose(bars, explanation.sites["fc1_out.1"].capacity)
    titles = {name: figure.get_suptitle().replace("\n", " ") for name, figure in figures.items()}
    assert titles["interference"].startswith("Interference at FC1 of layer 1, after the activation, predicted")
    assert titles["sites"].startswith("From embedding to FC2 of layer 1, predicted")
    pictures = explanation.site_pictures(1)
    assert list(pictures) == ["embedding", "vmask", "attention", "fc1", "fc2"]
    assert np.array_equal(pictures["fc1"].matrix, explanation.sites["fc1.1"].interference)
    assert np.array_equal(pictures["attention"].matrix, explanation.attention[1])


def test_attention_of_one_word_is_drawn_as_attention():
    figure = explain(*tiny_tokenizers.model(BertForSequenceClassification), "xqz").figures()["sites"]
    assert [len(axes.collections) for axes in figure.axes[1::3]] == [1, 0, 1, 1]


def test_json_has_null_for_what_is_no_number():
    explanation = explain(tiny.model(MASKED), tiny.tokenizer(), TEXT)
    nan = np.full_like(explanation.site().interference, np.nan)
    sites = {**explanation.sites, "fc1.0": replace(explanation.site(), interference=nan)}
    probabilities = dict.fromkeys(explanation.probabilities, np.inf)
    explanation = replace(explanation, sites=sites, probabilities=probabilities)
    values = json.loads(explanation.to_json(), parse_constant=pytest.fail)
    assert {each for row in values["sites"]["fc1.0"]["interference"] for each in row} == {None}
    assert set(values["probabilities"].values()) == {None}
    assert None not in values["sites"]["embedding"]["capacity"]


def test_a_model_that_has_diverged_is_not_explained():
    model = tiny.model(MASKED)
    model.layers[0].fc1.bias.data[0] = float("nan")
    with pytest.raises(InputError, match="are not finite numbers, as after a training that diverged"):
        explain(model, tiny.tokenizer(), TEXT)


def test_a_long_text_is_cut_and_says_so():
    explanation = explain(tiny.model(MASKED), tiny.tokenizer(), TEXT, max_tokens=4)
    assert explanation.words == tuple(TEXT.split()[:4])
    assert explanation.truncated


def test_a_text_longer_than_a_models_padding_is_read_whole():
    model = tiny.model(Regularization(padding="count", vmask_width=8), padded_length=5)
    assert explain(model, tiny.tokenizer(), TEXT).words == tuple(TEXT.split())


@pytest.mark.parametrize("text", ["", " \n\t ", "[PAD]", ("", " ")])
def test_a_text_without_words_cannot_be_explained(text):
    with pytest.raises(InputError, match="expected a text with at least one word, got none"):
        explain(tiny.model(MASKED), tiny.tokenizer(), text)


def test_sites_are_made_when_they_are_looked_at_and_once():
    explanation = explain(tiny.model(), tiny.tokenizer(), "a good film")
    assert list(explanation.sites) == ["embedding", "fc1.0", "fc1_out.0", "fc2.0"]
    assert "fc2.0" not in explanation.sites.computed
    assert explanation.site("fc2.0") is explanation.site("fc2.0")
    assert "fc2.0" in explanation.sites.computed
    assert "fc1.0" not in explanation.sites.computed
    again = pickle.loads(pickle.dumps(explanation))
    assert again.to_json() == explanation.to_json()


def test_a_text_longer_than_the_model_can_read_gets_one_clear_line():
    tokenizer = tiny.tokenizer()
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 16}
    model = BertForSequenceClassification(BertConfig(vocab_size=len(tokenizer), **size)).eval()
    with pytest.raises(
        InputError, match="a text has 30 tokens, more than the model's 16 positions; pass a max_tokens of at most 16"
    ):
        explain(model, tokenizer, "film " * 30)
    assert explain(model, tokenizer, "film " * 30, max_tokens=16).truncated


def classifier(biases, **options):
    """A model that gives every text the same logits."""
    model, words = tiny_tokenizers.model(BertForSequenceClassification, num_labels=len(biases), **options)
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor(biases))
    return model, words


@pytest.mark.parametrize(
    ("biases", "predicted", "names"),
    [
        ([0.5, 3.0, -2.0], 1, ["bad", "other", "other (2)"]),
        ([0.5, -2.0, 3.0], 2, ["bad", "other (1)", "other"]),
        ([3.0, 0.1, 0.2], 0, ["bad", "other (1)", "other"]),
    ],
)
def test_of_classes_that_share_a_name_none_is_lost(biases, predicted, names):
    labels = {0: "bad", 1: "other", 2: "other"}
    explanation = explain(*classifier(biases, id2label=labels, label2id={}), TEXT)
    assert (explanation.predicted, explanation.prediction) == (predicted, labels[predicted])
    assert explanation.labels == tuple(labels.values())
    assert list(explanation.probabilities) == names
    shares = torch.tensor(biases).softmax(dim=0).tolist()
    assert list(explanation.probabilities.values()) == pytest.approx(shares)
    assert explanation.probability == explanation.probabilities[explanation.prediction] == pytest.approx(max(shares))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({0: "a"}, ("a", "LABEL_1", "LABEL_2")),
        ({1: "a", 2: "b", 3: "c"}, ("LABEL_0", "LABEL_1", "LABEL_2")),  # counted from 1
        ({0: "a", 1: "b", 2: "c", 3: "d"}, ("LABEL_0", "LABEL_1", "LABEL_2")),  # of other outputs
    ],
)
def test_names_that_do_not_fit_the_outputs_are_not_guessed(labels, expected):
    model, words = classifier([0.0, 1.0, 2.0])
    model.config.id2label = labels
    explanation = explain(model, words, TEXT)
    assert (explanation.labels, explanation.prediction) == (expected, expected[2])


def test_a_regression_models_value_is_shown_and_no_per_cent():
    explanation = explain(*classifier([3.2], problem_type="regression", id2label={0: "stars"}, label2id={}), TEXT)
    assert explanation.probabilities == {"stars": pytest.approx(3.2)}
    assert explanation.format_probability() == "3.2"
    assert "predicted <b>stars</b> (3.2)" in explanation._repr_html_()
    assert "%" not in explanation._repr_html_().partition("</div>")[0].partition("predicted")[2]
    titles = [figure.get_suptitle() for figure in explanation.figures().values()]
    assert all("(3.2)" in title.replace("\n", " ") for title in titles)


@pytest.mark.parametrize(
    ("side", "text", "most", "left_out", "note"),
    [
        ("right", "a film was a film was a film", 6, 4, "4 words at the end were left out."),
        ("left", "a film was a film was a film", 6, 4, "4 words at the beginning were left out."),
        ("right", ("a film was a film", "a film"), 8, 2, "2 words at the end of the first text were left out."),
        ("right", ("a film was", "a film was"), 8, 1, "1 word at the end of the first text was left out."),
        ("right", "a film was a film", None, 0, ""),
    ],
)
def test_what_was_left_out_is_counted_and_placed(monkeypatch, side, text, most, left_out, note):
    model, words = tiny_tokenizers.model(BertForSequenceClassification)
    monkeypatch.setattr(words, "truncation_side", side)
    explanation = explain(model, words, text, max_tokens=most)
    assert (explanation.left_out, explanation.left_out_note) == (left_out, note)
    assert explanation.truncated == bool(left_out)
    assert note in explanation._repr_html_()


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("a Brilliant! film", (False, True, False)),
        ("xqz", (True,)),
        (("the film", "was ☃ ☃"), (False,) * 3 + (True,) * 2),
    ],
)
def test_words_that_the_tokenizer_does_not_know_are_told(text, unknown):
    explanation = explain(tiny.model(), tiny.tokenizer(), text)
    assert explanation.unknown == unknown
    assert json.loads(explanation.to_json())["unknown"] == list(unknown)
    assert f"{sum(unknown)} of {len(unknown)} word" in explanation.unknown_note


def test_every_figure_marks_the_words_that_were_not_read():
    figures = explain(tiny.model(MASKED), tiny.tokenizer(), "the Film was so Good").figures()
    for figure in figures.values():
        assert "† unknown to the tokenizer" in figure.get_supxlabel().replace("\n", " ")


def test_where_all_words_are_known_or_it_was_not_recorded_nothing_is_said(explanation):
    assert explanation.unknown == (False,) * 9
    assert explanation.unknown_note == ""
    assert replace(explanation, unknown=()).unknown_note == ""


ANYTHING = st.recursive(
    st.one_of(st.text(), st.none(), st.booleans(), st.integers(), st.floats(), st.binary()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.tuples(inner, inner), st.dictionaries(st.text(), inner, max_size=2)
    ),
    max_leaves=4,
)


@given(ANYTHING)
def test_anything_is_explained_or_refused_in_one_line(value):
    is_text = isinstance(value, str) or (
        isinstance(value, tuple) and len(value) == 2 and all(isinstance(part, str) for part in value)
    )
    message = ""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jaxtyping.config, "jaxtyping_disable", True)
        try:
            explanation = explain(*tiny_tokenizers.model(BertForSequenceClassification), value)
        except InputError as error:
            message = str(error)
    if message:
        assert not is_text or "at least one word" in message
        assert len(message.splitlines()) == 1
        assert len(message) < 200
    elif isinstance(value, list | tuple) and not is_text:
        assert [type(each) for each in explanation] == [Explanation] * len(value)
    else:
        assert is_text
        assert explanation.labels[explanation.predicted] == explanation.prediction


def test_numpys_strings_are_texts():
    model, words = tiny_tokenizers.model(BertForSequenceClassification)
    for text in np.array([TEXT], dtype=object)[0], np.array([TEXT])[0]:
        assert explain(model, words, text).to_json() == explain(model, words, TEXT).to_json()


def test_what_is_no_model_or_no_tokenizer_gets_one_line(without_type_checks):
    model, words = tiny_tokenizers.model(BertForSequenceClassification)
    for pair, message in (
        ((words, model), "expected a Hugging Face model, got a TokenizersBackend; the model comes first"),
        ((model, model), "expected a tokenizer, got a BertForSequenceClassification; the model comes first"),
        (("bert", words), "expected a Hugging Face model, got the text 'bert'; load it first"),
        ((model, "bert"), "expected a tokenizer, got the text 'bert'; load it first"),
        ((model, words.backend_tokenizer), "expected a tokenizer, got a Tokenizer; wrap it"),
        ((None, words), "expected a Hugging Face model, got None"),
        ((torch.nn.DataParallel(model), words), "got a DataParallel; pass its .module"),
        ((copy.deepcopy(model).to("meta"), words), "got one on the meta device; load its weights"),
    ):
        with pytest.raises(InputError, match=re.escape(message)):
            explain(*pair, TEXT)


@pytest.mark.parametrize("text", ["[CLS] good [SEP] film", "good [PAD] film", "a\x00b", "\ud800 film", "x" * 100_000])
def test_texts_that_hold_special_tokens_or_odd_letters_are_explained(text):
    explanation = explain(*tiny_tokenizers.model(BertForSequenceClassification), text)
    assert np.isfinite(explanation.capacity).all()


def test_a_model_in_half_precision_is_explained_on_a_processor():
    explanation = explain(tiny.model(MASKED).half(), tiny.tokenizer(), TEXT)
    assert np.isfinite(explanation.capacity).all()
