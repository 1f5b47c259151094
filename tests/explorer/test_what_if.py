import numpy as np
import pytest
import torch

from safr.data.encoding import encode
from safr.errors import InputError
from safr.evaluation.srs import rank_words
from safr.explorer.what_if import RANDOM_DRAWS, compute_what_if, deletion_counts, find_flip, predict_without_words
from tests import tiny

TEXT = "the film was funny but the cast was dull"


def probability(model, text, gone, label):
    """One text at a time, straight from the model."""
    left = text.without(gone)
    with torch.inference_mode():
        return model(input_ids=torch.tensor([left.ids])).logits[0].softmax(-1)[label].item()


@pytest.fixture(scope="module")
def model():
    return tiny.model()


@pytest.fixture(scope="module")
def text():
    return encode(tiny.tokenizer(), [TEXT])[0]


@pytest.fixture(scope="module")
def found(model, text):
    return compute_what_if(model, tiny.tokenizer(), text, {"capacity": np.arange(9.0), "keep": np.ones(9)}, seed=3)


def test_every_step_is_what_the_model_says_without_those_words(found, model, text):
    label = int(found.followed.removeprefix("LABEL_"))
    assert found.counts == list(range(9))
    assert found.orders == {"capacity": [8, 7, 6, 5, 4, 3, 2, 1], "keep": list(range(8))}
    for name, order in found.orders.items():
        for count, share, prediction in zip(
            found.counts, found.probability[name], found.predictions[name], strict=True
        ):
            expected = probability(model, text, order[:count], label)
            assert share == pytest.approx(expected, abs=1e-3)
            assert (prediction == found.followed) == (expected >= 0.5)


def test_one_word_alone_is_what_the_model_says_without_it(found, model, text):
    label = int(found.followed.removeprefix("LABEL_"))
    expected = [probability(model, text, [word], label) for word in range(9)]
    assert found.alone == pytest.approx(expected, abs=1e-3)


def test_random_orders_are_a_mean_between_a_lowest_and_a_highest(found, model, text):
    draw = np.random.default_rng(3)
    label = int(found.followed.removeprefix("LABEL_"))
    orders = [rank_words(draw.random(9)) for _ in range(RANDOM_DRAWS)]
    shares = np.array([[probability(model, text, order[:count], label) for count in found.counts] for order in orders])
    assert found.random == pytest.approx(shares.mean(axis=0).tolist(), abs=1e-3)
    assert found.random_low == pytest.approx(shares.min(axis=0).tolist(), abs=1e-3)
    assert found.random_high == pytest.approx(shares.max(axis=0).tolist(), abs=1e-3)


def test_the_step_of_srs_is_always_among_them():
    for movable in range(1, 200):
        main = max(int(0.3 * (movable + 1) + 0.5), 1)
        made = deletion_counts(movable, main)
        assert {0, main, movable} <= set(made)
        assert made == sorted(set(made))
        assert len(made) <= 35


def test_one_word_can_not_be_deleted(model):
    text = encode(tiny.tokenizer(), ["film"])[0]
    found = compute_what_if(model, tiny.tokenizer(), text, {"capacity": np.ones(1)})
    assert (found.counts, found.main, found.alone) == ([0], 0, None)
    with pytest.raises(InputError, match="expected a word to be left after deleting, got none"):
        predict_without_words(model, tiny.tokenizer(), text, {0})


def test_of_a_pair_one_word_of_each_text_stays(model):
    text = encode(tiny.tokenizer(), [("the film was dull", "a cast")])[0]
    found = compute_what_if(model, tiny.tokenizer(), text, {"capacity": np.arange(6.0)})
    assert found.orders["capacity"] == [5, 3, 2, 1]
    with pytest.raises(InputError, match="keep at least one"):
        predict_without_words(model, tiny.tokenizer(), text, {4, 5})


def test_any_words_can_be_deleted(found, model, text):
    label = int(found.followed.removeprefix("LABEL_"))
    told = predict_without_words(model, tiny.tokenizer(), text, {0, 4, 8})
    assert told.followed == pytest.approx(probability(model, text, {0, 4, 8}, label), abs=1e-3)
    assert (told.prediction == found.followed) == (told.probability == told.followed)
    with pytest.raises(InputError, match="expected words from 0 to 8 to delete, got 9"):
        predict_without_words(model, tiny.tokenizer(), text, {9})


def test_classes_are_named_wherever_the_prediction_stands_among_them():
    names = {0: "yes", 1: "no", 2: "maybe"}
    model, words = tiny.model(id2label=names), tiny.tokenizer()
    text = encode(words, ["a dull film was the fresh scene"])[0]
    what_if = compute_what_if(model, words, text, {"capacity": np.arange(7.0)})
    assert {what_if.followed, *what_if.predictions["capacity"]} <= set(names.values())
    assert predict_without_words(model, words, text, {0}).prediction in names.values()


def says_it(model, text, gone):
    """What the model predicts, one text at a time, straight from the model."""
    with torch.inference_mode():
        return int(model(input_ids=torch.tensor([text.without(frozenset(gone)).ids])).logits[0].argmax())


def test_words_that_flip_the_answer_are_found_in_the_order_of_the_score_and_then_pruned(model):
    flipped = 0
    for seed, sentence in enumerate([TEXT, "a bright film", "a dull plot and a dull cast but funny", "film " * 50]):
        encoded = encode(tiny.tokenizer(), [sentence])[0]
        scores = np.random.default_rng(seed).random(len(encoded.words))
        whole, order = says_it(model, encoded, []), rank_words(scores)
        gone = next((order[:n] for n in range(1, len(order) + 1) if says_it(model, encoded, order[:n]) != whole), [])
        for word in reversed(gone):
            rest = [other for other in gone if other != word]
            gone = rest if says_it(model, encoded, rest) != whole else gone
        found = find_flip(model, tiny.tokenizer(), encoded, scores)
        assert found.deleted == sorted(gone)
        assert found.prediction == f"LABEL_{says_it(model, encoded, gone)}"
        assert found.followed == pytest.approx(probability(model, encoded, gone, whole), abs=1e-3)
        flipped += bool(gone)
    assert 0 < flipped < 4
