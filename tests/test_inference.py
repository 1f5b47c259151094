import threading

import numpy as np
import pytest
import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BartForSequenceClassification,
    BertForSequenceClassification,
    GPT2LMHeadModel,
    T5ForConditionalGeneration,
)

from safr.attribution.registry import METHODS
from safr.config import Regularization
from safr.data.encoding import EncodedText, encode
from safr.errors import InputError
from safr.evaluation.audit import audit
from safr.inference import (
    evaluation_mode,
    iter_logits,
    iter_model_batches,
    iter_traces,
    predict,
    predict_probabilities,
    text_log_odds,
)
from safr.model.attach import attach
from safr.model.trace import trace
from tests import tiny, tiny_tokenizers
from tests.model import families

TEXTS = ["a lovely film was dull", "the story of a film", "dull"]
MASKED = Regularization(vmask_width=8)


def modes(model):
    return [module.training for module in model.modules()]


def test_every_module_gets_its_own_mode_back_also_after_an_error():
    model = tiny.model(MASKED).train()
    model.layers[0].eval()
    before = modes(model)
    with evaluation_mode(model), evaluation_mode(model):
        assert not any(modes(model))
    assert modes(model) == before
    with pytest.raises(ZeroDivisionError), evaluation_mode(model):
        1 / 0  # noqa: B018
    assert modes(model) == before


def test_the_mode_comes_back_when_the_last_thread_is_done():
    model, entered, leave = tiny.model().train(), threading.Event(), threading.Event()

    def stay():
        with evaluation_mode(model):
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=stay)
    with evaluation_mode(model):
        thread.start()
        assert entered.wait(10)
    assert not any(modes(model))
    leave.set()
    thread.join()
    assert all(modes(model))


@pytest.mark.parametrize("name", [name for name in METHODS if name != "random"])
def test_every_method_scores_a_model_in_training_mode_as_one_in_evaluation_mode(name):
    model, texts = tiny.model(MASKED), encode(tiny.tokenizer(), TEXTS)
    expected = METHODS[name].score(model, texts)
    scored = METHODS[name].score(model.train(), texts)
    for one, other in zip(scored, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert all(modes(model))


def test_an_audit_in_training_mode_is_one_in_evaluation_mode():
    model, texts = tiny.model(MASKED), encode(tiny.tokenizer(), TEXTS)
    expected, audited = audit(model, texts), audit(model.train(), texts)
    assert {name: values.tolist() for name, values in audited.items()} == {
        name: values.tolist() for name, values in expected.items()
    }


def test_a_trace_says_whether_it_is_of_training():
    model, batch = tiny.model(MASKED), {"input_ids": torch.tensor([[3, 4, 5]])}
    assert not trace(model, batch).training
    model.layers[0].train()
    assert trace(model, batch).training


def test_numbers_of_a_regression_model_are_its_values():
    model, texts = tiny.model(num_labels=1, problem_type="regression"), encode(tiny.tokenizer(), TEXTS)
    logits = np.array([model(input_ids=torch.tensor([text.ids])).logits.item() for text in texts])
    np.testing.assert_allclose(predict_probabilities(model, texts)[:, 0], logits, rtol=1e-5)
    np.testing.assert_allclose(text_log_odds(model, texts, np.zeros(3, dtype=np.int64)), logits, rtol=1e-5)
    model.config.problem_type = None
    np.testing.assert_allclose(predict_probabilities(model, texts)[:, 0], 1 / (1 + np.exp(-logits)), rtol=1e-5)


def test_an_encoder_decoder_gets_texts_of_as_many_end_tokens_together():
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "max_position_embeddings": 64}
    ids = {"pad_token_id": 1, "eos_token_id": 2, "bos_token_id": 0, "decoder_start_token_id": 2}
    model = BartForSequenceClassification(BartConfig(vocab_size=12, **sizes, **heads, **ids)).eval()
    rows = [(0, 5, 2), (0, 6, 2, 7, 2), (0, 8, 9, 2), (0, 2, 5, 2), (0, 2)]
    texts = [EncodedText(row, (), (None,) * len(row), truncated=False) for row in rows]
    assert sorted(number for batch in iter_model_batches(model, texts) for number in batch.indices) == [0, 1, 2, 3, 4]
    alone = [predict_probabilities(model, [text])[0] for text in texts]
    np.testing.assert_allclose(predict_probabilities(model, texts), alone, atol=1e-6)


def test_a_tokenizer_larger_than_the_model_gets_one_line():
    model, words = tiny_tokenizers.model(BertForSequenceClassification)
    model.resize_token_embeddings(10)
    with pytest.raises(InputError, match=r"the tokenizer gives token \d+, but the model's vocabulary has 10; use the"):
        predict(model, encode(words, TEXTS))


def test_texts_that_are_not_encoded_get_one_line(without_type_checks):
    for texts in (["a film"], [None]):
        with pytest.raises(InputError, match=r"expected texts from safr\.data\.encoding\.encode, got"):
            predict(tiny.model(), texts)


def test_a_language_model_keeps_its_probabilities_whatever_its_problem_type():
    model, words = tiny_tokenizers.model(GPT2LMHeadModel, problem_type="regression")
    assert predict_probabilities(model, encode(words, ["a film"])).sum() == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize("kind", [T5ForConditionalGeneration, BartForConditionalGeneration])
def test_the_next_token_of_an_encoder_decoder_is_the_first_that_it_writes(kind):
    model, words = tiny_tokenizers.model(kind)
    written = [
        model.generate(**words(text, return_tensors="pt"), max_new_tokens=2, do_sample=False, forced_eos_token_id=None)
        for text in TEXTS
    ]
    assert predict(model, encode(words, TEXTS)).tolist() == [ids[0, 1].item() for ids in written]


def test_a_token_that_the_output_is_forced_to_begin_with_is_no_prediction():
    model, words = tiny_tokenizers.model(BartForConditionalGeneration)
    model.generation_config.forced_bos_token_id = 7
    inputs = words(TEXTS[0], return_tensors="pt")
    written = model.generate(**inputs, max_new_tokens=2, do_sample=False, forced_eos_token_id=None)[0]
    assert written[1] == 7
    assert predict(model, encode(words, TEXTS[:1])).tolist() == [written[2].item()]


def test_what_is_traced_is_what_predicts_whoever_counts_the_tokens():
    """A mask was trained on special tokens that nobody has named; an explanation then has to show them masked too."""
    model = attach(families.tiny("bert"), MASKED).eval()
    text = EncodedText((30, 5, 6, 7, 31), ("a", "b", "c"), (None, 0, 1, 2, None), truncated=False)
    ((batch, traced),) = iter_traces(model, [text], ["fc1"])
    ((_, logits),) = iter_logits(model, [text])
    assert batch.content_mask.tolist() == [[False, True, True, True, False]]
    assert torch.equal(traced.logits, logits)
    assert (traced.keep < 1).all()
