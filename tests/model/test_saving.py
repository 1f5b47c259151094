import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

import safr
from safr.config import Regularization
from safr.data.tokenizer import word_tokenizer
from safr.errors import InputError
from tests.model.families import batch, tiny

SETTINGS = Regularization(importance=0.3, interaction=0.2, vmask_width=8, layers=(0, -1), warmup_steps=5)


@pytest.fixture
def saved(tmp_path):
    model = safr.attach(tiny("bert").eval(), SETTINGS)
    model.safr.steps += 3
    return model, safr.save(model, tmp_path / "model")


@pytest.mark.parametrize("family", ["paper", "bert", "gpt2"])
@torch.no_grad()
def test_what_is_loaded_computes_what_was_saved(family, tmp_path):
    model, inputs = safr.attach(tiny(family).eval(), SETTINGS), batch()
    loaded = safr.load(safr.save(model, tmp_path / "model"))
    assert type(loaded) is type(model)
    assert loaded.safr.regularization == SETTINGS
    assert loaded.safr.special_ids == model.safr.special_ids
    labels = torch.tensor([0, 1, 1])
    assert torch.equal(loaded(**inputs).logits, model(**inputs).logits)
    assert torch.equal(loaded(**inputs, labels=labels).loss, model(**inputs, labels=labels).loss)


def test_every_weight_comes_back(saved):
    model, folder = saved
    loaded = safr.load(folder).state_dict()
    assert set(loaded) == set(model.state_dict())
    assert all(torch.equal(loaded[name], value) for name, value in model.state_dict().items())
    assert int(loaded["safr.steps"]) == 3


def test_saving_leaves_the_models_config_alone(saved):
    model, _ = saved
    assert not hasattr(model.config, "safr")


def test_the_folder_holds_no_pickled_code_and_the_card_warns(saved):
    _, folder = saved
    assert {path.suffix for path in folder.iterdir()} <= {".json", ".safetensors", ".md"}
    card = (folder / "README.md").read_text()
    assert "Do not load this folder with a plain `from_pretrained`" in card
    assert "| importance | 0.3 |" in card


def test_the_tokenizer_and_scores_may_be_saved_beside_it(tmp_path):
    tokenizer = word_tokenizer(["a b", "a b"])
    folder = safr.save(safr.attach(tiny("paper")), tmp_path, tokenizer=tokenizer, scores={"SRS(30)": "12.0"})
    assert (folder / "tokenizer.json").is_file()
    assert "| SRS(30) | 12.0 |" in (folder / "README.md").read_text()


def test_a_plain_loader_reads_the_network_and_names_the_mask_it_leaves_out(saved, caplog):
    model, folder = saved
    plain, report = AutoModelForSequenceClassification.from_pretrained(folder, output_loading_info=True)
    assert set(report["unexpected_keys"]) == {f"safr.{name}" for name in model.safr.state_dict()}
    assert torch.equal(plain.classifier.weight, model.classifier.weight)


def test_a_model_without_safr_is_not_saved(tmp_path):
    with pytest.raises(InputError, match=r"SAFR is not attached to this Bert.*; use its own save_pretrained"):
        safr.save(tiny("bert"), tmp_path)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere: expected a folder written by safr.save, found no config.json"):
        safr.load(tmp_path / "nowhere")


def test_a_foreign_folder_is_told_apart(tmp_path):
    tiny("bert").save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"expected SAFR's settings under 'safr', found none"):
        safr.load(tmp_path)


def test_damaged_json_is_named(saved):
    _, folder = saved
    (folder / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config.json: expected SAFR's settings"):
        safr.load(folder)


def test_damaged_weights_are_named(saved):
    _, folder = saved
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:200])
    with pytest.raises(InputError, match="the model's weights can't be read"):
        safr.load(folder)
    weights.unlink()
    with pytest.raises(InputError, match="the model's weights can't be read"):
        safr.load(folder)


def test_weights_without_the_mask_are_damaged(saved, tmp_path):
    _, folder = saved
    plain = tmp_path / "plain"
    tiny("bert").save_pretrained(plain)
    shutil.copy(plain / "model.safetensors", folder / "model.safetensors")
    with pytest.raises(InputError, match=r"damaged, the weights of .*vmask.inner.weight.* are missing"):
        safr.load(folder)


def test_a_weight_of_the_network_that_is_missing_is_no_fresh_start(saved):
    _, folder = saved
    weights = load_file(folder / "model.safetensors")
    del weights["classifier.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"damaged, the weights of classifier.weight are missing"):
        safr.load(folder)


@pytest.mark.parametrize(
    ("key", "value"), [("model_type", None), ("architectures", None), ("architectures", ["No"]), ("hidden_size", 8)]
)
def test_a_config_that_does_not_fit_is_one_line(saved, key, value):
    _, folder = saved
    config = json.loads((folder / "config.json").read_text())
    config.pop(key) if value is None else config.update({key: value})
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError) as error:
        safr.load(folder)
    assert "\n" not in str(error.value)


def test_unknown_settings_are_named(saved):
    _, folder = saved
    config = json.loads((folder / "config.json").read_text())
    config["safr"]["regularization"]["newer"] = 1
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="unknown settings of Regularization: newer"):
        safr.load(folder)
