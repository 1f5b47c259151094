import pytest
import torch
from transformers import GPT2Config, GPT2ForSequenceClassification

from safr.config import Regularization
from safr.data.encoding import encode
from safr.errors import InputError
from safr.evaluation.removal import REMOVALS, Remover, make_remover
from safr.inference import iter_traces
from safr.model.interventions import intervene
from tests import tiny

TEXTS = encode(tiny.tokenizer(), ["a lovely film", "the dull story was awful but funny and rich", "moving"])
SETS = [frozenset(), frozenset({1}), frozenset({0, 2})], [frozenset(), frozenset({1, 4, 6})], [frozenset()]
CLASSES = [1, 0, 1]


@pytest.fixture(scope="module")
def model():
    return tiny.model(Regularization(vmask_width=8))


def slowly(model, how, text, words, chosen, mean):
    """One text at a time, the words removed by hand."""
    ids, attention = torch.tensor([text.ids]), torch.ones(1, len(text.ids), dtype=torch.long)
    gone = torch.tensor([[word in words for word in text.word_of_token]])
    if how == "delete":
        ids, attention = ids[~gone][None], attention[~gone][None]
    elif how == "replace":
        ids = ids.masked_fill(gone, tiny.tokenizer().unk_token_id)
    elif how == "hide":
        attention = attention.masked_fill(gone, 0)
    with (
        torch.no_grad(),
        intervene(
            model,
            "embedding",
            lambda vectors: torch.where(gone[..., None], mean, vectors) if how == "average" else vectors,
        ),
    ):
        return model(input_ids=ids, attention_mask=attention).logits.softmax(dim=-1)[0, chosen].item()


@pytest.mark.parametrize("how", REMOVALS)
def test_words_are_removed_as_by_hand(model, how):
    answers = make_remover(model, how, tiny.tokenizer(), TEXTS).predict(TEXTS, SETS, CLASSES)
    vectors = [seen.site("vmask")[batch.content_mask] for batch, seen in iter_traces(model, TEXTS, ["vmask"])]
    mean = torch.cat(vectors).mean(dim=0)
    for text, sets, chosen, found in zip(TEXTS, SETS, CLASSES, answers, strict=True):
        assert set(found) == set(sets)
        for words, answer in found.items():
            expected = slowly(model, how, text, words, chosen, mean)
            assert answer.probability == pytest.approx(expected, abs=1e-5)
            assert answer.prediction == (chosen if expected > 0.5 else 1 - chosen)


def test_the_whole_text_is_the_same_however_words_would_go(model):
    found = [make_remover(model, how, tiny.tokenizer(), TEXTS).predict(TEXTS, SETS, CLASSES)[1] for how in REMOVALS]
    whole = [each[frozenset()].probability for each in found]
    assert whole == pytest.approx([whole[0]] * 4, abs=1e-6)
    without = [each[frozenset({1, 4, 6})].probability for each in found]
    assert len({round(each, 5) for each in without}) > 2


def test_what_is_asked_twice_is_run_once(model, monkeypatch):
    rows = []
    handle = model.register_forward_pre_hook(
        lambda _, __, given: rows.append(len(given["input_ids"])), with_kwargs=True
    )
    Remover(model, "delete").predict(TEXTS, [[frozenset({0}), frozenset({0})], [], [frozenset()]], CLASSES)
    handle.remove()
    assert sum(rows) == 2


def test_a_tokenizer_without_a_token_for_it_is_told(model):
    tokenizer = tiny.tokenizer()
    tokenizer.unk_token = None
    with pytest.raises(InputError, match="words can't be replaced: the tokenizer has no token"):
        make_remover(model, "replace", tokenizer, TEXTS)


def test_a_model_that_still_reads_a_hidden_word_is_found_also_where_it_is_sure():
    tokenizer = tiny.tokenizer()
    size = {"vocab_size": len(tokenizer), "n_embd": 16, "n_layer": 1, "n_head": 2, "num_labels": 4}
    torch.manual_seed(0)
    model = GPT2ForSequenceClassification(GPT2Config(**size, pad_token_id=tokenizer.pad_token_id)).eval()
    model.score = torch.nn.Linear(16, 4)
    torch.nn.init.constant_(model.score.bias[:1], -20)  # surely not the first class, whatever is read
    with pytest.raises(InputError, match="words can't be removed by hide: this model still reads them"):
        make_remover(model, "hide", tokenizer, TEXTS)
