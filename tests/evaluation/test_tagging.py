"""Scores of words' tags, and explanations of one word's tag."""

import numpy as np
import pytest
import torch
from seqeval.metrics import f1_score as seqeval_f1
from sklearn.metrics import f1_score
from transformers import BertConfig, BertForTokenClassification

import safr
from safr.attribution.registry import METHODS
from safr.config import Regularization
from safr.data import Split
from safr.data.marks import encode_marked
from safr.data.tags import mark_word, tokenize_tags
from safr.data.targets import IGNORED
from safr.errors import InputError
from safr.evaluation.faithfulness import faithfulness
from safr.evaluation.labels import number_tags
from safr.evaluation.removal import make_remover
from safr.evaluation.srs import delete_words
from safr.evaluation.tagging import compute_tag_metrics, describe_tags, score_tags
from safr.explorer.what_if import predict_without_words
from safr.inference import iter_logits, predict
from tests.tiny_tokenizers import tokenizer

NAMES = ("O", "B-X", "I-X", "B-Y")
SPLIT = Split(
    ("the unbelievably good film , don't stop", "a premise says the story moves", "dull cast", "it does not move"),
    ("O B-X I-X O O B-Y O", "O B-X O O B-Y O", "B-X I-X", "O O O O"),
)


def tagger(names=NAMES):
    words = tokenizer("wordpiece")
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        id2label=dict(enumerate(names)),
        label2id={name: number for number, name in enumerate(names)},
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = BertForTokenClassification(config).eval()
        model.classifier.weight.data.mul_(50)
    return model, words


def read_tags(model, words):
    """Right and given tags of every text, each run alone."""
    ids = number_tags(model)
    rows = tokenize_tags(words, SPLIT, ids)
    right, given = [], []
    for row in rows:
        with torch.no_grad():
            logits = model(torch.tensor([row.ids])).logits[0]
        kept = [token for token, label in enumerate(row.labels) if label != IGNORED]
        right.append([NAMES[row.labels[token]] for token in kept])
        given.append([NAMES[int(logits[token].argmax())] for token in kept])
    return right, given


def test_scores_are_those_of_seqeval_and_scikit_learn():
    model, words = tagger()
    right, given = read_tags(model, words)
    scores = score_tags(model, words, SPLIT, number_tags(model))
    flat_right, flat_given = [tag for row in right for tag in row], [tag for row in given for tag in row]
    assert scores["tokens"] == len(flat_right) == 19
    assert scores["token_accuracy"]["value"] == pytest.approx(np.mean(np.array(flat_right) == np.array(flat_given)))
    assert scores["macro_f1"] == pytest.approx(f1_score(flat_right, flat_given, average="macro", zero_division=0))
    assert scores["entity_f1"]["value"] == pytest.approx(seqeval_f1(right, given, zero_division=0))
    assert scores["entity_f1"]["low"] <= scores["entity_f1"]["value"] <= scores["entity_f1"]["high"]
    assert "F1 of entities" in describe_tags({"tags": scores})


def test_entities_are_right_as_a_whole_or_not_at_all():
    labels = np.array([[1, 2, 0, IGNORED], [0, 3, 0, 0]])
    predictions = np.array([[1, 0, 0, 3], [0, 3, 0, 0]])
    metrics = compute_tag_metrics(predictions, labels, NAMES)
    assert metrics["token_accuracy"] == pytest.approx(6 / 7)
    assert metrics["entity_f1"] == pytest.approx(0.5)  # one of two, of two found
    assert compute_tag_metrics(predictions, labels, ("A", "B", "C", "D"))["entity_f1"] == 0.0


def test_parts_of_speech_have_no_entities():
    model, words = tagger(("N", "V", "A", "P"))
    split = Split(SPLIT.texts, ("N V A P N V A", "N V A P N V", "N V", "N V A P"))
    scores = score_tags(model, words, split, number_tags(model))
    assert "entity_f1" not in scores
    assert describe_tags({"tags": scores}).startswith("of 19 tags")


@pytest.mark.parametrize("number", range(7))
def test_the_answer_is_that_of_the_marked_word_also_in_a_batch(number):
    model, words = tagger()
    texts = [mark_word(SPLIT.texts[0], number), mark_word(SPLIT.texts[1], 0), mark_word(SPLIT.texts[2], 1)]
    encoded = encode_marked(words, texts)
    (row,) = tokenize_tags(words, Split(SPLIT.texts[:1], SPLIT.labels[:1]), number_tags(model))
    place = [token for token, label in enumerate(row.labels) if label != IGNORED][number]
    with torch.no_grad():
        expected = model(torch.tensor([row.ids])).logits[0, place]
    found = {}
    for batch, logits in iter_logits(model, encoded):
        found |= dict(zip(batch.indices, logits, strict=True))
    torch.testing.assert_close(found[0], expected, rtol=1e-4, atol=1e-5)


def test_a_text_without_a_mark_is_refused_with_an_example():
    model, words = tagger()
    with pytest.raises(InputError, match=r"expected a text with one mark at .*, such as John saw \[\[Paris\]\]"):
        safr.explain(model, words, "no mark here")


def test_an_explanation_shows_which_word_it_is_about():
    model, words = tagger()
    explained = safr.explain(model, words, "the good [[film]] moves")
    assert explained.words == ("the", "good", "[[film]]", "moves")
    assert set(explained.probabilities) == set(NAMES)
    assert explained.task == "token_classification"
    listed = safr.explain(model, words, ["the good [[film]] moves", "[[a]] film"])
    assert listed[0].probabilities == pytest.approx(explained.probabilities, rel=1e-4)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("keep", "lime", "kernel_shap", "shapley")])
def test_every_method_scores_the_words_for_the_marked_one(name):
    model, words = tagger()
    first, second = (encode_marked(words, [mark_word(SPLIT.texts[0], number)]) for number in (1, 5))
    (one,), (other,) = METHODS[name].score(model, first), METHODS[name].score(model, second)
    assert one.shape == other.shape == (len(first[0].words),)
    assert np.isfinite(one).all()
    is_blind = name in ("capacity", "attention", "attention_rollout", "random")
    assert np.allclose(one, other) == is_blind
    if name == "occlusion":
        assert one[list(first[0].asked)] == pytest.approx(0)


def test_gradients_are_those_of_the_marked_words_log_odds():
    model, words = tagger()
    (text,) = encode_marked(words, [mark_word(SPLIT.texts[0], 5)])
    (scores,) = METHODS["gradient_x_input"].score(model, [text])
    embedded = model.get_input_embeddings()(torch.tensor([text.ids])).detach().requires_grad_()
    logits = model(inputs_embeds=embedded, attention_mask=torch.ones(1, len(text.ids))).logits[0, text.asked_tokens[0]]
    chosen = int(logits.argmax())
    others = torch.cat([logits[:chosen], logits[chosen + 1 :]]).logsumexp(dim=0)
    (gradient,) = torch.autograd.grad(logits[chosen] - others, embedded)
    products = (gradient * embedded.detach()).sum(dim=-1)[0]
    for word, score in enumerate(scores):
        tokens = [token for token, owner in enumerate(text.word_of_token) if owner == word]
        assert score == pytest.approx(float(products[tokens].sum()), abs=1e-3, rel=1e-3)


@pytest.mark.parametrize("how", ["delete", "replace", "average"])
def test_no_order_of_removal_takes_the_marked_word(how):
    model, words = tagger()
    texts = encode_marked(words, [mark_word(text, 0) for text in SPLIT.texts])
    scores = [np.array([9.0] * len(text.asked) + [1.0] * (len(text.words) - len(text.asked))) for text in texts]
    for text, shortened in zip(texts, delete_words(texts, scores, 100), strict=True):
        assert {text.words[word] for word in text.asked} <= set(shortened.words)
        assert len(shortened.words) == len(text.words) - text.most_deletable
    remover = make_remover(model, how, words, texts)
    classes = predict(model, texts).tolist()
    values = faithfulness(remover, texts, [0] * 4, classes, {"fixed": scores})["fixed"]
    assert np.isfinite(values["comprehensiveness"][[0, 1, 3]]).all()
    assert np.isnan(values["comprehensiveness"][2]) == (texts[2].most_deletable == 0)


def test_a_model_is_evaluated_by_one_word_a_text_and_by_all_words():
    model, words = tagger()
    safr.attach(model, Regularization(0, 0, vmask=False), tokenizer=words)
    scores = safr.evaluate(model, SPLIT, tokenizer=words)
    assert (scores["task"], scores["texts"], scores["not_judged"]) == ("token_classification", 4, 0)
    assert scores["tags"] == score_tags(model, words, SPLIT, number_tags(model))
    assert {row["label"] for row in scores["classes"]["per_class"]} <= set(NAMES)


def test_tags_are_matched_by_name_or_by_order():
    model, _ = tagger()
    assert number_tags(model, ("I-X", "B-X")) == {"O": 0, "B-X": 1, "I-X": 2, "B-Y": 3}
    with pytest.raises(InputError, match="the data's tags B-Z are not among the model's O, B-X, I-X, B-Y"):
        number_tags(model, ("O", "B-Z"))
    model.config.id2label = {number: f"LABEL_{number}" for number in range(4)}
    assert number_tags(model, ("B-X", "B-Y", "I-X", "O")) == {"B-X": 0, "B-Y": 1, "I-X": 2, "O": 3}


def test_the_page_does_not_delete_the_word_that_is_asked_about():
    model, words = tagger()
    (text,) = encode_marked(words, ["the good [[film]] moves"])
    with pytest.raises(InputError, match="the words that are asked about"):
        predict_without_words(model, words, text, {2})
