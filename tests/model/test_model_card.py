import json
import re

import pytest
import transformers
from huggingface_hub import ModelCard, metadata_load
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
)

import safr
from safr.model.model_card import model_card
from tests import tiny
from tests.model import families

SETTINGS = safr.Regularization(importance=0.3, vmask_width=8)
SCORES = {
    "accuracy": {"value": 0.7013, "low": 0.679, "high": 0.722, "spread": 0.1},
    "SRS(30)": {"value": -0.01, "low": -0.02, "high": 0.0},
    "loss": 0.51234567,
    "seeds | all": "two\nof them",
}


@pytest.fixture
def folder(tmp_path):
    return safr.save(safr.attach(families.tiny("bert"), SETTINGS), tmp_path / "model")


def bert():
    return BertConfig(vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)


@pytest.mark.parametrize(
    ("make", "task"),
    [
        (lambda: families.tiny("paper"), "text-classification"),
        (lambda: families.tiny("gpt2"), "text-classification"),
        (lambda: BertForMaskedLM(bert()), "fill-mask"),
        (lambda: BertModel(bert()), "feature-extraction"),
        (lambda: GPT2LMHeadModel(GPT2Config(vocab_size=40, n_embd=16, n_layer=1, n_head=2)), "text-generation"),
    ],
)
def test_the_front_matter_names_the_task_of_the_head(make, task, tmp_path):
    folder = safr.save(safr.attach(make(), SETTINGS), tmp_path)
    assert metadata_load(folder / "README.md") == {
        "library_name": "safr",
        "pipeline_tag": task,
        "tags": ["safr", "interpretability", "superposition"],
    }


@pytest.mark.parametrize(
    ("name", "base_model"),
    [("google-bert/bert-base-uncased", "google-bert/bert-base-uncased"), ("gpt2", "gpt2"), ("/home/me/bert", None)],
)
def test_the_model_it_was_fine_tuned_from_is_named_only_by_a_hub_name(name, base_model, tmp_path):
    model = safr.attach(families.tiny("bert"), SETTINGS)
    model.config.name_or_path = name
    assert metadata_load(safr.save(model, tmp_path) / "README.md").get("base_model") == base_model


def test_a_folder_beside_this_one_is_no_hub_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    families.tiny("bert").save_pretrained("models/bert")
    model = AutoModelForSequenceClassification.from_pretrained("models/bert")
    folder = safr.save(safr.attach(model, SETTINGS), tmp_path / "saved")
    assert "models/bert" not in (folder / "README.md").read_text()


def test_numbers_are_results_that_the_hub_reads(folder):
    card = ModelCard(model_card(folder, SCORES, dataset="hub:stanfordnlp/imdb", split="test"))
    found = {result.metric_name: result for result in card.data.eval_results}
    assert {name: result.metric_value for name, result in found.items()} == {
        "accuracy": 0.7013,
        "SRS(30)": -0.01,
        "loss": 0.51234567,
    }
    first = found["SRS(30)"]
    assert (first.metric_type, first.task_type) == ("srs_30", "text-classification")
    assert (first.dataset_type, first.dataset_name, first.dataset_split) == ("stanfordnlp/imdb",) * 2 + ("test",)
    assert card.data.model_name == "BertForSequenceClassification"


def test_the_configuration_of_a_data_set_is_told_apart_from_its_name(folder):
    card = model_card(folder, SCORES, dataset="hub:nyu-mll/glue:sst2", split="test")
    first = ModelCard(card).data.eval_results[0]
    assert (first.dataset_type, first.dataset_config) == ("nyu-mll/glue", "sst2")
    assert "On the test split of `nyu-mll/glue sst2`." in card


def test_scores_are_shown_with_their_intervals(folder):
    card = model_card(folder, SCORES, dataset="imdb", split="test")
    assert "| accuracy | 70.1 % [67.9, 72.2] |\n| SRS(30) | -1.0 % [-2.0, 0.0] |\n| loss | 0.5123 |\n" in card
    assert "| seeds \\| all | two of them |\n" in card
    assert "On the test split of `imdb`." in card
    assert "## Scores" not in model_card(folder)


def test_an_estimate_that_is_no_share_is_shown_in_its_own_unit(folder):
    card = model_card(folder, {"mean absolute error": {"value": 0.552, "low": 0.5, "high": 12.345, "is_share": False}})
    assert "| mean absolute error | 0.552 [0.5, 12.35] |" in card


def test_scores_of_unnamed_data_are_results_too(folder):
    card = ModelCard(model_card(folder, {"accuracy": 0.5}))
    assert [result.dataset_name for result in card.data.eval_results] == ["unknown"]
    assert "model-index" not in model_card(folder, {"accuracy": "50"})


def test_data_from_a_file_is_named_without_its_folders(folder):
    card = model_card(folder, SCORES, dataset="/home/me/reviews.csv")
    assert "`reviews.csv`" in card
    assert "/home" not in card


def test_the_settings_are_listed(folder):
    card = model_card(folder)
    settings = json.loads((folder / "config.json").read_text())["safr"]
    assert all(f"| {name} | {value} |" in card for name, value in settings["regularization"].items())
    assert f"Written by SAFR {safr.__version__}." in card


def test_the_card_warns_of_what_a_plain_loader_leaves_out(tmp_path):
    with_mask = safr.save(safr.attach(families.tiny("bert"), SETTINGS), tmp_path / "a")
    without = safr.save(safr.attach(families.tiny("bert"), safr.Regularization(vmask=False)), tmp_path / "b")
    assert "Do not load this folder with a plain `from_pretrained`" in model_card(with_mask)
    assert "Do not load this folder" not in model_card(without)
    assert "predicts the same" in model_card(without)
    assert "Where SAFR is not loaded" not in model_card(without)


def test_the_card_quotes_what_transformers_says_of_the_papers_transformer(tmp_path, monkeypatch):
    folder = safr.save(safr.attach(families.tiny("paper"), SETTINGS), tmp_path)
    quoted = re.search(r'stops with "(.*?)"', model_card(folder), flags=re.DOTALL)[1].replace("\n", " ")
    monkeypatch.delitem(transformers.CONFIG_MAPPING._extra_content, "safr-transformer")
    with pytest.raises(ValueError, match=re.escape(quoted)):
        AutoModelForSequenceClassification.from_pretrained(folder)


@pytest.mark.parametrize("tokenizer", [tiny.tokenizer(), None])
def test_the_code_on_the_card_runs(tokenizer, tmp_path, capsys):
    folder = safr.save(tiny.model(SETTINGS), tmp_path, tokenizer=tokenizer)
    code = re.search(r"```python\n(.*?)```", model_card(folder), flags=re.DOTALL)[1]
    exec(code.replace("FOLDER", str(folder)), {})
    assert ("'yours'," in capsys.readouterr().out) == (tokenizer is not None)


def test_the_card_reads_well(folder):
    card = model_card(folder, SCORES)
    assert "\n\n\n" not in card
    assert card.endswith("|\n")
