import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet
import pytest
from transformers import (
    BertForSequenceClassification,
    GPT2LMHeadModel,
    MambaConfig,
    MambaForCausalLM,
    T5ForConditionalGeneration,
)

from safr.attribution.explain import explain
from safr.errors import InputError
from safr.evaluation.srs import rank_words
from safr.explorer.explanation_payload import round_values
from safr.explorer.model_session import MAX_CLASSES
from safr.explorer.neurons import SHOWN_NEURONS
from safr.runs import Run
from tests import tiny_tokenizers

TEXT = "a bright film and a dull plot"


def with_model(session, kind, **options):
    model, tokenizer = tiny_tokenizers.model(kind, **options)
    return replace(session, model=model, tokenizer=tokenizer)


def check_relevance(session, told, labels):
    assert list(told.relevance) == [str(label) for label in labels]
    for label in labels:
        made = explain(session.model, session.tokenizer, TEXT, max_tokens=12, method="relevance", target=label)
        np.testing.assert_allclose(told.relevance[str(label)], made.relevance, rtol=1e-3, atol=1e-8)


def test_relevance_is_there_for_every_class_of_few(readers):
    for session in readers:
        told = session.read(TEXT)
        check_relevance(session, told, range(2))
        assert "relevance" not in told.other


def test_of_many_classes_relevance_is_there_for_the_predicted_one(readers):
    for count in (MAX_CLASSES, MAX_CLASSES + 1):
        session = with_model(readers[0], BertForSequenceClassification, num_labels=count)
        told = session.read(TEXT)
        expected = range(count) if count == MAX_CLASSES else [told.predicted]
        check_relevance(session, told, expected)


@pytest.mark.parametrize(
    ("kind", "options"),
    [(GPT2LMHeadModel, {}), (BertForSequenceClassification, {"num_labels": 1, "problem_type": "regression"})],
    ids=["next token", "number"],
)
def test_relevance_for_the_likeliest_token_and_for_a_number_stands_at_its_place(readers, kind, options):
    session = with_model(readers[0], kind, **options)
    told = session.read(TEXT)
    assert told.predicted == 0
    made = explain(session.model, session.tokenizer, TEXT, max_tokens=12, method="relevance")
    assert told.relevance == {"0": round_values(made.relevance)}


def test_a_model_without_rules_lacks_the_measure_and_the_order(readers):
    session = with_model(readers[0], T5ForConditionalGeneration)
    assert session.read(TEXT).relevance == {}
    assert list(session.what_if(TEXT).orders) == ["capacity"]
    sizes = {"hidden_size": 16, "intermediate_size": 32, "state_size": 4, "num_hidden_layers": 1, "pad_token_id": 0}
    states = MambaForCausalLM(MambaConfig(vocab_size=len(readers[0].tokenizer), **sizes)).eval()
    assert not replace(readers[0], model=states).has_relevance


def test_words_that_speak_most_for_the_prediction_are_deleted_first(readers):
    for session in readers:
        told, what_if = session.read(TEXT), session.what_if(TEXT)
        scores = np.array(told.relevance[str(told.predicted)])
        order = what_if.orders["relevance"]
        assert order == rank_words(scores)
        assert order[0] == scores.argmax()
        assert (np.diff(scores[order]) <= 0).all()


def test_the_neurons_that_a_text_uses_most_come_with_its_explanation(readers):
    for session in readers:
        told = session.read(TEXT).neurons
        made = explain(session.model, session.tokenizer, TEXT, max_tokens=12, neurons=SHOWN_NEURONS).neurons
        assert told.neurons == made.neurons.tolist()
        assert told.total == round_values(made.total)
        for neuron, alone in list(zip(told.neurons, told.alone, strict=True))[:3]:
            assert session.switch_off(TEXT, [neuron]).followed == alone
        assert session.read(TEXT, most_neurons=2).neurons.neurons == told.neurons[:2]


def test_a_model_without_rules_has_neurons_without_relevance(readers):
    told = with_model(readers[0], T5ForConditionalGeneration).read(TEXT).neurons
    assert len(told.neurons) == SHOWN_NEURONS
    assert told.relevance is None
    assert told.total is None


def test_a_neuron_is_described_with_the_words_around_those_that_drive_it(readers):
    for session in readers:
        words = pyarrow.parquet.read_table(session.run.words_file).to_pylist()
        for neuron in range(3):
            page = session.describe_neuron(neuron)
            assert page.kept == len(page.top) == 10
            for top in page.top:
                of_text = [row["word"] for row in words if row["text"] == top.text]
                assert of_text[top.position] == top.word
                before = " ".join(of_text[max(top.position - 4, 0) : top.position])
                assert (top.before, top.after) == (before, " ".join(of_text[top.position + 1 : top.position + 5]))
        with pytest.raises(LookupError, match="no such neuron; they go from 0 to"):
            session.describe_neuron(10**9)


def test_of_a_run_without_a_summary_or_with_a_damaged_one_no_neuron_is_described(readers, tmp_path):
    run = Run(shutil.copytree(readers[1].run.folder, tmp_path / "copy"))
    run.neurons_file.write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"neurons\.parquet: .*run `safr evaluate"):
        replace(readers[1], run=run).describe_neuron(0)
    run.neurons_file.unlink()
    session = replace(readers[1], run=run)
    with pytest.raises(LookupError, match="copy: has no table of its neurons; run `safr evaluate"):
        session.describe_neuron(0)
    assert session.read(TEXT).neurons is not None
