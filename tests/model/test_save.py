import json
import os
import pickle
import shutil
from pathlib import Path

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    Qwen2Config,
    Qwen2ForSequenceClassification,
    T5Config,
    T5ForConditionalGeneration,
    Trainer,
    TrainingArguments,
)

import safr
from safr.config import Regularization
from safr.data.tokenizer import train_word_tokenizer
from safr.errors import InputError
from safr.model import save
from tests.model.families import batch, tiny

SETTINGS = Regularization(importance=0.3, interaction=0.2, vmask_width=8, layers=(0, -1), warmup_steps=5)
SIZES = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.fixture
def saved(tmp_path):
    model = safr.attach(tiny("bert").eval(), SETTINGS)
    model.safr.steps += 3
    return model, safr.save(model, tmp_path / "model")


def gpt2():
    config = GPT2Config(vocab_size=40, n_embd=16, n_layer=2, n_head=2, pad_token_id=0, bos_token_id=1, eos_token_id=2)
    return GPT2LMHeadModel(config)


def t5():
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
    return T5ForConditionalGeneration(T5Config(vocab_size=40, decoder_start_token_id=0, **sizes))


def change_config(folder, **values):
    """Other values in `config.json`; None takes one out."""
    config = json.loads((folder / "config.json").read_text()) | values
    kept = {key: value for key, value in config.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(kept))


def forget_checksums(folder):
    """What an older version wrote."""
    settings = json.loads((folder / "config.json").read_text())["safr"]
    change_config(folder, safr={key: value for key, value in settings.items() if key != "sha256"})


def assert_same(loaded, model):
    """All weights and their types, those that are tied and those of the mask too."""
    ours, theirs = loaded.state_dict(), model.state_dict()
    assert type(loaded) is type(model)
    assert set(ours) == set(theirs)
    assert all(ours[key].dtype == theirs[key].dtype and torch.equal(ours[key], theirs[key]) for key in theirs)


class Bomb:
    """A pickle that makes a file when it is read."""

    def __init__(self, proof):
        self.proof = proof

    def __reduce__(self):
        return Path.touch, (self.proof,)


@pytest.mark.parametrize("family", ["paper", "bert", "gpt2"])
@torch.no_grad()
def test_what_is_loaded_computes_what_was_saved(family, tmp_path):
    model, inputs = safr.attach(tiny(family).eval(), SETTINGS), batch()
    loaded = safr.load(safr.save(model, tmp_path / "model"))
    assert loaded.safr.regularization == model.safr.regularization
    assert loaded.safr.special_ids == model.safr.special_ids
    assert not loaded.training
    labels = torch.tensor([0, 1, 1])
    assert torch.equal(loaded(**inputs).logits, model(**inputs).logits)
    assert torch.equal(loaded(**inputs, labels=labels).loss, model(**inputs, labels=labels).loss)


def test_every_weight_comes_back(saved):
    model, folder = saved
    loaded = safr.load(folder)
    assert_same(loaded, model)
    assert int(loaded.safr.steps) == 3


@pytest.mark.parametrize(
    ("make", "fc1"),
    [
        (lambda: BertModel(BertConfig(**SIZES)), None),
        (lambda: BertForMaskedLM(BertConfig(**SIZES)), None),
        (gpt2, None),
        (t5, "encoder.block.*.layer.*.DenseReluDense.wi"),
        (lambda: tiny("bert").to(torch.bfloat16), None),
    ],
    ids=["no head", "tied masked", "tied causal", "T5", "bfloat16"],
)
@pytest.mark.parametrize("max_shard_size", ["50GB", "3KB"])
def test_heads_ties_types_and_shards_come_back(make, fc1, max_shard_size, tmp_path):
    model = safr.attach(make(), Regularization(vmask_width=8, fc1=fc1))
    folder = safr.save(model, tmp_path, max_shard_size=max_shard_size)
    assert (folder / "model.safetensors.index.json").is_file() == (max_shard_size == "3KB")
    loaded = safr.load(folder)
    assert_same(loaded, model)
    tied = model.get_output_embeddings()
    if tied is not None:
        assert loaded.get_output_embeddings().weight is loaded.get_input_embeddings().weight


def test_how_a_model_generates_comes_back(tmp_path):
    model = safr.attach(gpt2(), SETTINGS)
    model.generation_config.max_new_tokens = 7
    assert safr.load(safr.save(model, tmp_path)).generation_config.max_new_tokens == 7


def test_saving_leaves_the_settings_in_the_models_config_alone(tmp_path):
    model = safr.attach(tiny("bert"), SETTINGS)
    before = model.config.to_dict()["safr"]
    safr.save(model, tmp_path)
    assert model.config.to_dict()["safr"] == before


def test_the_folder_holds_no_pickled_code_and_nothing_unfinished(saved):
    _, folder = saved
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors", "README.md"}


def test_the_tokenizer_and_scores_may_be_saved_beside_it(tmp_path):
    tokenizer = train_word_tokenizer(["a b", "a b"])
    folder = safr.save(safr.attach(tiny("paper")), tmp_path, tokenizer=tokenizer, scores={"SRS(30)": "12.0"})
    assert AutoTokenizer.from_pretrained(folder).get_vocab() == tokenizer.get_vocab()
    assert "| SRS(30) | 12.0 |" in (folder / "README.md").read_text()


def test_no_path_of_this_machine_is_in_the_folder(tmp_path):
    tiny("bert").save_pretrained(tmp_path / "base")
    train_word_tokenizer(["a b", "a b"]).save_pretrained(tmp_path / "base")
    model = BertForSequenceClassification.from_pretrained(tmp_path / "base")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "base")
    folder = safr.save(safr.attach(model, SETTINGS), tmp_path / "model", tokenizer=tokenizer)
    assert all(str(tmp_path).encode() not in path.read_bytes() for path in folder.iterdir())


def test_the_model_that_was_fine_tuned_is_remembered_by_its_hub_name(tmp_path):
    model = safr.attach(tiny("bert"), SETTINGS)
    model.config.name_or_path = "google-bert/bert-base-uncased"
    again = safr.save(safr.load(safr.save(model, tmp_path / "a")), tmp_path / "b")
    assert json.loads((again / "config.json").read_text())["safr"]["base_model"] == "google-bert/bert-base-uncased"


def test_a_model_replaces_the_one_that_was_in_the_folder(saved):
    _, folder = saved
    (folder / "notes.txt").write_text("mine")
    other = safr.attach(gpt2(), SETTINGS)
    for max_shard_size in ("3KB", "1MB", "3KB", "5KB"):
        safr.save(other, folder, max_shard_size=max_shard_size)
        assert_same(safr.load(folder), other)
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_model_may_be_saved_where_it_was_loaded_from(saved):
    model, folder = saved
    loaded = safr.load(folder)
    with torch.no_grad():
        loaded.classifier.bias += 1
    safr.save(loaded, folder)
    assert torch.equal(loaded.bert.pooler.dense.weight, model.bert.pooler.dense.weight)
    assert_same(safr.load(folder), loaded)


def test_a_crash_while_writing_leaves_the_old_model(saved, monkeypatch):
    model, folder = saved
    before = sorted(folder.iterdir())
    monkeypatch.setattr(save, "model_card", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        safr.save(safr.attach(tiny("gpt2"), SETTINGS), folder)
    assert sorted(folder.iterdir()) == before
    assert_same(safr.load(folder), model)


def test_a_crash_while_replacing_leaves_a_folder_that_does_not_load(saved, monkeypatch):
    _, folder = saved
    replace = Path.replace

    def crash_at_the_weights(path, target):
        if path.suffix == ".safetensors":
            raise OSError("disk full")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", crash_at_the_weights)
    with pytest.raises(OSError, match="disk full"):
        safr.save(safr.attach(tiny("gpt2"), SETTINGS), folder)
    with pytest.raises(InputError, match=r"found no config.json"):
        safr.load(folder)


def test_a_file_is_no_place_for_a_model(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file: expected a folder to save the model in, found a file"):
        safr.save(safr.attach(tiny("bert"), SETTINGS), tmp_path / "file")


def test_a_plain_loader_reads_the_network_and_names_the_mask_it_leaves_out(saved, caplog):
    model, folder = saved
    transformers.logging.enable_propagation()
    transformers.logging.set_verbosity_warning()
    try:
        plain = AutoModelForSequenceClassification.from_pretrained(folder)
    finally:
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_propagation()
    assert all(f"safr.{name}" in caplog.text for name in model.safr.state_dict())
    assert "UNEXPECTED" in caplog.text
    assert torch.equal(plain.classifier.weight, model.classifier.weight)


def test_a_model_without_safr_is_not_saved(tmp_path):
    with pytest.raises(InputError, match=r"SAFR is not attached to this Bert.*; use its own save_pretrained"):
        safr.save(tiny("bert"), tmp_path)


def test_a_class_that_could_not_be_loaded_is_not_saved(tmp_path):
    class Mine(BertForSequenceClassification):
        pass

    with pytest.raises(InputError, match="the model class Mine is neither transformers' nor SAFR's"):
        safr.save(safr.attach(Mine(BertConfig(**SIZES)), SETTINGS), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # PEFT asks for it
@pytest.mark.parametrize("order", ["SAFR first", "PEFT first"])
@torch.no_grad()
def test_adapters_are_merged_into_what_is_written_and_stay_in_memory(order, tmp_path):
    model = tiny("bert")
    if order == "SAFR first":
        safr.attach(model, SETTINGS)
    lora = peft.LoraConfig(
        target_modules=["query", "value"],
        modules_to_save=["classifier", "vmask"] if order == "SAFR first" else ["classifier"],
    )
    adapted = peft.get_peft_model(model, lora)
    if order == "PEFT first":
        safr.attach(adapted.get_base_model(), SETTINGS)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.normal_(std=0.3)
    before = {key: value.clone() for key, value in adapted.eval().state_dict().items()}
    logits = adapted(**batch()).logits
    loaded = safr.load(safr.save(adapted, tmp_path))
    assert type(loaded) is BertForSequenceClassification
    assert torch.allclose(loaded(**batch()).logits, logits, atol=1e-5)
    assert not any("lora" in key for key in loaded.state_dict())
    assert adapted.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[key]) for key, value in adapted.state_dict().items())
    assert torch.equal(adapted(**batch()).logits, logits)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_adapters_that_are_no_part_of_the_weights_are_refused(tmp_path):
    prompts = peft.PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=2)
    with pytest.raises(InputError, match="expected adapters that can be merged into the weights"):
        safr.save(peft.get_peft_model(safr.attach(tiny("bert"), SETTINGS), prompts), tmp_path)
    model = safr.attach(tiny("bert"), SETTINGS)
    model.add_adapter(peft.LoraConfig(target_modules=["query"]))
    with pytest.raises(InputError, match=r"expected adapters from peft.get_peft_model, got model.add_adapter's"):
        safr.save(model, tmp_path)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere: expected a folder written by safr.save, found no config.json"):
        safr.load(tmp_path / "nowhere")


def test_a_foreign_folder_is_told_apart(tmp_path):
    tiny("bert").save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"settings under 'safr', found none, .* by from_pretrained, then .*attach"):
        safr.load(tmp_path)


@pytest.mark.parametrize("max_shard_size", ["50GB", "3KB"])
def test_weights_without_settings_say_where_to_take_them_from(max_shard_size, tmp_path):
    model = safr.attach(tiny("bert"), SETTINGS)
    model.save_pretrained(tmp_path, max_shard_size=max_shard_size)
    change_config(tmp_path, safr=None)
    with pytest.raises(InputError, match=r"SAFR's weights are in the folder, .* from another config.json of the same"):
        safr.load(tmp_path)


def train_for_two_steps(model, folder, **options):
    """A Trainer's run that writes a checkpoint after each step."""
    rows = [{"input_ids": torch.tensor([3 + row, 9, 2]), "labels": row % 2} for row in range(4)]
    arguments = {"per_device_train_batch_size": 2, "max_steps": 2, "save_steps": 1, "learning_rate": 0.01}
    arguments |= {"report_to": "none", "disable_tqdm": True, "dataloader_pin_memory": False, **options}
    trainer = Trainer(model, TrainingArguments(str(folder), **arguments), train_dataset=rows)
    trainer.train()
    return trainer


@pytest.mark.parametrize("family", ["bert", "paper", "deberta", "t5"])
@torch.no_grad()
def test_a_trainers_checkpoint_and_its_saved_model_are_loaded(family, tmp_path):
    model = safr.attach(tiny(family), SETTINGS)
    with torch.enable_grad():
        trainer = train_for_two_steps(model, tmp_path)
    trainer.save_model(str(tmp_path / "saved"))
    model.save_pretrained(tmp_path / "plain")
    expected = model.eval()(**batch()).logits
    assert (tmp_path / "checkpoint-2" / "optimizer.pt").is_file()  # a pickle, which is not read
    for name in ("checkpoint-2", "saved", "plain"):
        loaded = safr.load(tmp_path / name)
        torch.testing.assert_close(loaded(**batch()).logits, expected, rtol=0, atol=1e-6)
        assert not loaded.training
        assert loaded.safr.regularization == model.safr.regularization
        assert loaded.safr.special_ids == model.safr.special_ids
        assert int(loaded.safr.steps) == 2
    earlier = safr.load(tmp_path / "checkpoint-1")
    assert int(earlier.safr.steps) == 1
    assert not torch.equal(earlier(**batch()).logits, expected)


def test_a_trainers_folder_says_which_checkpoint_to_load(tmp_path):
    train_for_two_steps(safr.attach(tiny("bert"), SETTINGS), tmp_path)
    with pytest.raises(InputError, match=r"no config.json; pass one of its checkpoints, such as \S*checkpoint-2$"):
        safr.load(tmp_path)


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu")])
def test_a_model_is_loaded_onto_a_device(device, saved):
    assert safr.load(saved[1], device=device).device == torch.device("cpu")


@pytest.mark.parametrize("device", ["nonsense", "cuda:77", "meta", "cpu:1"])
def test_a_device_that_is_not_there_is_named_before_the_folder_is_read(device):
    with pytest.raises(InputError, match=rf"`device` must be one that this machine has \(cpu.*\), got '{device}'$"):
        safr.load("nowhere", device=device)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json"])
def test_truncated_json_is_named(name, saved):
    model, folder = saved
    safr.save(model, folder, max_shard_size="3KB")
    (folder / name).write_text("{")
    with pytest.raises(InputError, match=rf"^\S*{name}: expected JSON, but it is damaged"):
        safr.load(folder)


def test_damaged_weights_are_named(saved):
    _, folder = saved
    forget_checksums(folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:200])
    with pytest.raises(InputError, match="the model's weights can't be read"):
        safr.load(folder)
    weights.unlink()
    with pytest.raises(InputError, match=r"the model's weights can't be read \(no model.safetensors\)"):
        safr.load(folder)


def test_a_missing_shard_is_named(saved):
    model, folder = saved
    safr.save(model, folder, max_shard_size="3KB")
    shard = next(folder.glob("model-00002-of-*.safetensors"))
    shard.unlink()
    with pytest.raises(InputError, match=rf"the model's weights can't be read \(no {shard.name}\)"):
        safr.load(folder)


@pytest.mark.parametrize("elsewhere", ["../a.safetensors", "/a.safetensors", "", 1])
def test_an_index_can_name_only_files_beside_it(elsewhere, saved):
    model, folder = saved
    safr.save(model, folder, max_shard_size="3KB")
    shutil.copy(next(folder.glob("*.safetensors")), folder.parent / "a.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": elsewhere}}))
    with pytest.raises(InputError, match=r"model.safetensors.index.json: expected the names of the weights' files"):
        safr.load(folder)


def test_settings_without_any_weight_of_safr_say_where_to_look(saved, tmp_path):
    _, folder = saved
    forget_checksums(folder)
    plain = tmp_path / "plain"
    tiny("bert").save_pretrained(plain)
    shutil.copy(plain / "model.safetensors", folder / "model.safetensors")
    with pytest.raises(InputError, match=r"has SAFR's settings but none of its weights, .* loading by from_pretrained"):
        safr.load(folder)


@pytest.mark.parametrize("name", ["classifier.weight", "safr.steps", "safr.vmask.outer.bias"])
def test_a_weight_that_is_missing_or_of_another_shape_is_no_fresh_start(name, saved):
    _, folder = saved
    forget_checksums(folder)
    weights = load_file(folder / "model.safetensors")
    del weights[name]
    for changed in (weights, weights | {name: torch.zeros(3, 5)}):
        save_file(changed, folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(InputError, match=rf"damaged, the weights of {name} are missing or do not fit"):
            safr.load(folder)


def test_weights_of_safr_that_are_not_known_are_not_left_out(saved):
    _, folder = saved
    forget_checksums(folder)
    weights = load_file(folder / "model.safetensors") | {"safr.newer": torch.ones(1)}
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(InputError, match=r"the weights of safr.newer are missing or do not fit"):
        safr.load(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model_type", None),
        ("model_type", "gpt2"),
        ("architectures", None),
        ("architectures", ["No"]),
        ("architectures", ["pipeline"]),
        ("architectures", 3),
        ("transformers_weights", "pytorch_model.bin"),
        ("hidden_size", 8),
        ("hidden_size", "wide"),
        ("hidden_act", "no such function"),
        ("safr", [1]),
        ("safr", {}),
        ("safr", {"special_ids": ["a"], "regularization": {}}),
        ("safr", {"special_ids": [], "regularization": {"importance": "high"}}),
        ("safr", {"special_ids": [], "regularization": {"layers": 9}}),
    ],
)
def test_a_config_that_does_not_fit_is_one_line(saved, key, value):
    _, folder = saved
    change_config(folder, **{key: value})
    with pytest.raises(InputError) as error:
        safr.load(folder)
    assert "\n" not in str(error.value)
    assert key == "safr" or str(folder) in str(error.value)


def test_settings_of_a_newer_version_are_named_with_it(saved):
    _, folder = saved
    settings = json.loads((folder / "config.json").read_text())["safr"]
    change_config(folder, safr=settings | {"version": "9.1", "regularization": {"newer": 1}})
    with pytest.raises(InputError, match=r"written by SAFR 9.1, .*unknown settings of Regularization: newer"):
        safr.load(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pkl"])
def test_a_folder_with_pickles_only_is_refused_and_none_is_read(name, saved, tmp_path):
    _, folder = saved
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(pickle.dumps(Bomb(tmp_path / "proof")))
    with pytest.raises(InputError, match=rf"expected model.safetensors, found {name}, pickles that could run code"):
        safr.load(folder)
    assert not (tmp_path / "proof").exists()
    pickle.loads((folder / name).read_bytes())
    assert (tmp_path / "proof").exists()


def test_nothing_in_a_folder_makes_a_pickle_be_read(saved, tmp_path):
    model, folder = saved
    bomb = pickle.dumps(Bomb(tmp_path / "proof"))
    for name in ("pytorch_model.bin", "training_args.bin", "adapter_model.bin"):
        (folder / name).write_bytes(bomb)
    (folder / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": str(folder), "peft_type": "LORA"})
    )
    assert_same(safr.load(folder), model)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "pytorch_model.bin"}}))
    with pytest.raises(InputError, match=r"can't be read \(no pytorch_model.bin\)"):
        safr.load(folder)
    assert not (tmp_path / "proof").exists()


@pytest.mark.parametrize("model_type", ["gpt2", "mine"])
def test_code_in_the_folder_is_never_run(model_type, tmp_path):
    folder = safr.save(safr.attach(gpt2(), SETTINGS), tmp_path / "model")
    code = f"from pathlib import Path\nPath({str(tmp_path / 'proof')!r}).touch()\n"
    (folder / "custom_generate").mkdir()
    for path in ("mine.py", "custom_generate/generate.py"):
        (folder / path).write_text(code)
    mapping = {"AutoConfig": "mine.Config", "AutoModel": "mine.Model", "AutoModelForCausalLM": "mine.Model"}
    change_config(folder, auto_map=mapping, model_type=model_type, attn_implementation="somebody/kernel")
    if model_type == "gpt2":
        assert not hasattr(safr.load(folder).config, "auto_map")
    else:
        with pytest.raises(InputError, match=r"a GPT2LMHeadModel has the model type gpt2, but config.json says mine"):
            safr.load(folder)
    assert not (tmp_path / "proof").exists()


@pytest.mark.parametrize("max_shard_size", ["50GB", "3KB"])
def test_a_flipped_bit_in_the_weights_is_found(max_shard_size, tmp_path):
    folder = safr.save(safr.attach(tiny("bert"), SETTINGS), tmp_path, max_shard_size=max_shard_size)
    weights = max(folder.glob("*.safetensors"))
    content = weights.read_bytes()
    weights.write_bytes(content[:-2] + bytes([content[-2] ^ 64]) + content[-1:])
    with pytest.raises(InputError, match=rf"{weights.name}: was changed since it was written, or is damaged"):
        safr.load(folder)


@pytest.mark.parametrize(
    "values",
    [{"num_hidden_layers": 10**6}, {"vocab_size": 10**12}, {"intermediate_size": 10**10}, {"vocab_size": -1}],
    ids=str,
)
def test_a_config_of_other_sizes_is_refused_before_anything_is_built(values, saved):
    _, folder = saved
    change_config(folder, **values)
    with pytest.raises(InputError, match=r"^[^\n]*$"):
        safr.load(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "generation_config.json"])
def test_a_pipe_in_a_files_place_is_not_waited_for(name, saved):
    _, folder = saved
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    with pytest.raises(InputError):
        safr.load(folder)


def test_a_tokenizer_may_have_several_chat_templates(tmp_path):
    tokenizer = train_word_tokenizer(["a b", "a b"])
    tokenizer.chat_template = {"default": "{{ messages }}", "tool_use": "{{ tools }}"}
    folder = safr.save(safr.attach(tiny("paper")), tmp_path / "model", tokenizer=tokenizer)
    assert any(path.is_dir() for path in folder.iterdir()), "transformers keeps them in a folder"
    safr.load(folder)
    assert AutoTokenizer.from_pretrained(folder).chat_template == tokenizer.chat_template


def test_a_setting_that_counts_no_layers_may_be_greater_than_the_number_of_weights(tmp_path):
    sizes = SIZES | {"num_key_value_heads": 2, "max_window_layers": 280, "pad_token_id": 0}
    model = Qwen2ForSequenceClassification(Qwen2Config(**sizes))
    folder = safr.save(safr.attach(model, SETTINGS), tmp_path / "model")
    assert_same(safr.load(folder), model.eval())
