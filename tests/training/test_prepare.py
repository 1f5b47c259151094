import dataclasses
import warnings

import pytest
import torch
from transformers import (
    BartConfig,
    BartForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from safr.config import Architecture, Regularization, Settings
from safr.data import Split, load_data
from safr.data.encoding import encode
from safr.data.tokenizer import train_word_tokenizer
from safr.errors import InputError
from safr.inference import count_positions, predict
from safr.runs import Run, open_trained_run
from safr.training import train
from safr.training.prepare import computes_bfloat16, prepare_training
from tests import tiny, tiny_tokenizers
from tests.task_data import write_answers
from tests.test_training import small_data, with_recipe

BART_LAYER = {"layers": 1, "ffn_dim": 32, "attention_heads": 2}


def save_bert(folder, **options):
    tokenizer = train_word_tokenizer(["good film bad film"] * 2)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(**{"vocab_size": len(tokenizer), **sizes, **options})
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return with_recipe(epochs=1).changed(model=str(folder), warmup_steps=0)


@pytest.mark.parametrize(
    ("regularization", "said"),
    [
        ({"site": "fc1.9"}, "`site` must name a layer of this model, fc1.0, got 'fc1.9'"),
        ({"importance_sites": "fc1.9"}, "`importance_sites` must name a layer of this model, fc1.0, got 'fc1.9'"),
        ({"layers": 7}, "`layers` must be 'all' or numbers"),
        ({"warmup_steps": 6}, "`warmup_steps` is 6, but the training has 6 steps"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused_before_anything_is_written(tmp_path, regularization, said):
    settings = dataclasses.replace(
        with_recipe(epochs=1), regularization=Regularization(vmask_width=8, **regularization)
    )
    with pytest.raises(InputError, match=said):
        train(settings, small_data(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("found", "has_it"),
    [({"avx2": True, "avx512_bf16": False}, False), ({"avx512_bf16": True}, True), ({"bf16": True}, True)],
)
def test_a_processor_that_emulates_bfloat16_is_warned_of(monkeypatch, tmp_path, found, has_it):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)
    assert computes_bfloat16() is has_it
    settings = with_recipe(precision="bfloat16")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        prepare_training(settings, small_data(), tmp_path)
    assert [f"{one.message}" for one in said if "bfloat16" in f"{one.message}"] == (
        []
        if has_it
        else [
            "this processor has no instructions for bfloat16, so that training takes many times as long as with "
            "float32; use --precision float32"
        ]
    )


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_a_split_of_one_text_is_refused(tmp_path, split):
    data = dataclasses.replace(small_data(), **{split: Split(("good film",), (1,))})
    with pytest.raises(InputError, match=f"expected at least 2 texts in the {split} split"):
        train(with_recipe(epochs=1), data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("data", "tokenizer", "pieces"),
    [
        ("mine", "auto", ["good", "film", "!"]),
        ("mine", "subwords", ["good", "film", "!"]),
        ("mine", "words", ["[UNK]"]),
        ("sst2_paper", "auto", ["[UNK]"]),
        ("imdb", "auto", ["[UNK]"]),
    ],
)
def test_texts_are_read_as_written_but_for_the_papers_own_data(tmp_path, data, tokenizer, pieces):
    settings = with_recipe(epochs=1).changed(data=data, tokenizer=tokenizer, warmup_steps=0)
    prepared = prepare_training(settings, small_data(), tmp_path / "run")
    assert prepared.tokenizer.tokenize("Good film!")[-len(pieces) :] == pieces


def test_a_tokenizer_is_not_chosen_for_a_pretrained_model(tmp_path):
    with pytest.raises(InputError, match="`tokenizer` 'words' is for the paper's transformer; a pretrained model"):
        prepare_training(save_bert(tmp_path / "base").changed(tokenizer="words"), small_data(), tmp_path / "run")


def test_a_head_of_another_size_is_replaced_and_said(tmp_path):
    settings = save_bert(tmp_path / "base", num_labels=3)
    with pytest.warns(UserWarning, match="its head has 3 outputs, the data need 2; it gets a new one"):
        run = train(settings, small_data(), tmp_path / "run")
    assert run.load_model()[0].config.num_labels == 2


def test_a_config_that_asks_for_a_million_layers_is_refused_before_they_are_made(tmp_path):
    settings = save_bert(tmp_path / "base")
    path = tmp_path / "base" / "config.json"
    path.write_text(path.read_text().replace('"num_hidden_layers": 1,', '"num_hidden_layers": 1000000,'))
    with pytest.raises(InputError, match=r"config\.json says num_hidden_layers 1000000, and no model has more"):
        train(settings, small_data(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_default_warmup_longer_than_the_training_becomes_a_tenth_of_it(tmp_path):
    settings = save_bert(tmp_path / "base").changed(warmup_steps=None, epochs=10)
    data = small_data()
    model = prepare_training(settings, data, tmp_path / "run").model
    passes = 10 * -(-len(data.train) // settings.recipe.batch_size)
    assert passes < 200
    assert model.safr.regularization.warmup_steps == passes // 10
    others = settings.changed(importance=0.0, interaction=0.0, neuron_losses=("l1=1",))
    model = prepare_training(others, data, tmp_path / "run").model
    assert model.safr.regularization.warmup_steps == passes // 10, "other losses warm up alike"


@pytest.mark.parametrize("kind", ["regression", "multi_label_classification"])
def test_a_base_model_of_another_problem_learns_one_class_a_text(tmp_path, kind):
    run = train(save_bert(tmp_path / "base", problem_type=kind), small_data(), tmp_path / "run")
    assert run.load_model()[0].config.problem_type == "single_label_classification"


def test_max_tokens_is_cut_to_the_models_positions_unless_it_was_chosen(tmp_path):
    settings = save_bert(tmp_path / "base", max_position_embeddings=8)
    with pytest.warns(UserWarning, match="the model reads at most 8 tokens"):
        run = train(settings, small_data(), tmp_path / "run")
    assert run.settings.max_tokens == 8
    assert train(settings, small_data(), tmp_path / "run", resume=True).is_trained
    chosen = settings.changed(max_tokens=9)
    with pytest.raises(InputError, match="`max_tokens` is 9, but the model has 8 positions"):
        train(chosen, small_data(), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_questions_in_a_folder_are_read_up_to_as_many_tokens_as_those_in_a_file(tmp_path):
    (tmp_path / "data").mkdir()
    for number, part in enumerate(("train", "dev", "test")):
        write_answers(tmp_path / "data" / f"{part}.json", rows=12, seed=number)
    settings = Settings(data=str(tmp_path / "data"), architecture=Architecture(width=8, heads=2, feed_forward=16))
    settings = settings.changed(vmask_width=8, padding="count")
    data = load_data(settings)
    prepared = prepare_training(settings, data, tmp_path / "run")
    assert prepared.settings.max_tokens == prepared.model.config.padded_length == 384
    chosen = prepare_training(settings.changed(max_tokens=64), data, tmp_path / "run")
    assert chosen.settings.max_tokens == chosen.model.config.padded_length == 64
    run = train(settings.changed(padding="mask", epochs=1), data, tmp_path / "run")
    assert run.settings.max_tokens == 384
    assert train(settings.changed(padding="mask", epochs=1), data, run.folder, resume=True).is_trained


def test_roberta_counts_its_positions_from_after_the_padding():
    config = RobertaConfig(
        vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, max_position_embeddings=34
    )
    assert count_positions(RobertaForSequenceClassification(config)) == 32
    assert count_positions(tiny.model()) is None


def test_a_tokenizer_beyond_the_embeddings_is_refused(tmp_path):
    with pytest.raises(InputError, match="its tokenizer gives ids up to"):
        train(save_bert(tmp_path / "base", vocab_size=3), small_data(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_texts_with_an_end_token_written_out_are_refused_where_they_can_not_be_batched(tmp_path):
    tokenizer = tiny_tokenizers.tokenizer("roberta")
    sizes = {f"{part}_{name}": size for part in ("encoder", "decoder") for name, size in BART_LAYER.items()}
    ends = {"eos_token_id": tokenizer.eos_token_id, "decoder_start_token_id": tokenizer.eos_token_id}
    config = BartConfig(
        num_labels=2, vocab_size=len(tokenizer), d_model=16, pad_token_id=tokenizer.pad_token_id, **ends, **sizes
    )
    BartForSequenceClassification(config).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    settings, data = with_recipe(epochs=1).changed(model=str(tmp_path / "base"), warmup_steps=0), small_data()
    train_texts = ("good </s> film", *data.train.texts[1:])
    data = dataclasses.replace(data, train=Split(train_texts, data.train.labels))
    with pytest.raises(InputError, match=r"1 of [0-9]+ texts .* contain the model's end token, '</s>', written out"):
        train(settings, data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_of_damaged_weights_is_one_line(tmp_path):
    settings = save_bert(tmp_path / "base")
    (tmp_path / "base" / "model.safetensors").write_bytes(b"half")
    with pytest.raises(InputError, match=r"base': expected 'transformer', a folder or a hub name \(") as error:
        train(settings, small_data(), tmp_path / "run")
    assert "\n" not in str(error.value)


def test_a_training_that_diverges_says_so_and_leaves_no_model(tmp_path):
    with pytest.raises(InputError, match=r"training diverged: .* lower learning_rate"):
        train(with_recipe(epochs=3, learning_rate=1e30), small_data(), tmp_path / "run")
    assert not Run(tmp_path / "run").is_trained
    for open_it in (open_trained_run, lambda folder: train(Run(folder).settings, small_data(), folder, resume=True)):
        with pytest.raises(InputError, match=r"run: training diverged: .* lower learning_rate"):
            open_it(tmp_path / "run")


def test_a_model_of_nan_predicts_nothing():
    model = tiny.model()
    model.classifier.weight.data.fill_(float("nan"))
    with pytest.raises(InputError, match="are not finite numbers"):
        predict(model, encode(tiny.tokenizer(), ["a film"]))
