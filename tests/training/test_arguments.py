import json
import re

import pytest
import torch
from torch.nn import functional as F
from transformers import BertForSequenceClassification, TrainingArguments

import safr
from safr import config
from safr.config import Recipe, Regularization
from safr.data import Split, TextDataset
from safr.errors import InputError
from safr.runs import Run, open_run
from safr.training import train, trainer
from safr.training.arguments import check_arguments_fit, check_training_arguments, read_training_arguments
from tests import tiny, tiny_tokenizers


def train_tiny(folder, *arguments, **changes):
    settings = tiny.settings("safr").changed(training_arguments=arguments or None, **changes)
    return train(settings, tiny.dataset(), folder)


def weights(run):
    return safr.load(run.model_folder).state_dict()


def is_same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def plain_run(tmp_path_factory):
    return train_tiny(tmp_path_factory.mktemp("plain") / "run")


# --- what is taken, and what is refused


def test_the_values_are_those_of_the_words():
    words = ("optim=adafactor", "adam_epsilon=1e-6", 'lr_scheduler_kwargs={"num_cycles": 2}', "full_determinism=true")
    assert read_training_arguments(Recipe(training_arguments=words)) == {
        "optim": "adafactor",
        "adam_epsilon": 1e-6,
        "lr_scheduler_kwargs": {"num_cycles": 2},
        "full_determinism": True,
    }
    assert read_training_arguments(Recipe()) == {}


@pytest.mark.parametrize("name", ["gradient_checkpointing", "activation_checkpointing"])
def test_an_argument_may_have_its_old_name_without_a_warning(name):
    recipe = Recipe(training_arguments=(f"{name}=true",))
    check_training_arguments(recipe)
    (current,) = read_training_arguments(recipe)
    assert current in TrainingArguments.__dataclass_fields__


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("adam_beta3=0.9", "TrainingArguments has no 'adam_beta3'; did you mean adam_beta2 or adam_beta1?"),
        ("xyz=1", "TrainingArguments has no 'xyz'; see transformers' documentation of it"),
        ("label_smoothing_factor=high", "label_smoothing_factor must be a number, got the text 'high'"),
        ("label_smoothing_factor=true", "label_smoothing_factor must be a number, got True (bool)"),
        ("dataloader_num_workers=1.5", "dataloader_num_workers must be a whole number, got 1.5 (float)"),
        ("full_determinism=1", "full_determinism must be true or false, got 1 (int)"),
        ("lr_scheduler_kwargs=3", "lr_scheduler_kwargs must be a mapping, a text or null, got 3 (int)"),
        ("optim_target_modules=[1]", "optim_target_modules must be null, a text or a list of texts, got a list of 1"),
        ("optim=adafaktor", "optim has no 'adafaktor'; did you mean adafactor or galore_adafactor"),
        ("optim=zzz", "optim has no 'zzz'; it has adamw_torch, "),
    ],
)
def test_what_there_is_not_or_has_another_type_gets_one_line(word, message):
    with pytest.raises(InputError, match=f"^`training_arguments`: {re.escape(message)}[^\n]*$"):
        check_training_arguments(Recipe(training_arguments=(word,)))


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("adam_beta1=2", "Invalid beta"),
        ("dataloader_num_workers=-1", "num_workers option should be non-negative"),
        ("dataloader_prefetch_factor=2", "dataloader_num_workers > 0"),
        ('lr_scheduler_kwargs={"colour": 1}', "unexpected keyword argument 'colour'"),
        ("optim=galore_adamw", "install `galore_torch`"),
    ],
)
def test_what_the_libraries_refuse_is_known_before_the_training(word, reason):
    recipe = Recipe(training_arguments=(word,), schedule="cosine")
    with pytest.raises(InputError, match=rf"^`training_arguments` can't be used \([^\n]*{re.escape(reason)}[^\n]*\)$"):
        check_training_arguments(recipe)


def test_options_of_a_schedule_that_takes_none_are_refused():
    with pytest.raises(InputError, match=r"lr_scheduler_kwargs has no effect with the schedule constant; "):
        check_training_arguments(Recipe(training_arguments=('lr_scheduler_kwargs={"num_cycles": 2}',)))


def test_nothing_is_written_where_an_argument_is_refused(tmp_path):
    with pytest.raises(InputError, match="TrainingArguments has no 'optym'"):
        train_tiny(tmp_path / "run", "optym=adafactor")
    assert not any(tmp_path.iterdir())


def test_labels_of_other_tasks_are_not_smoothed():
    recipe = Recipe(training_arguments=("label_smoothing_factor=0.1",))
    check_arguments_fit(recipe, tiny.model(), "classification")
    for task in ("multi_label", "regression"):
        with pytest.raises(InputError, match=f"label_smoothing_factor is for one class a text, .* for {task}; "):
            check_arguments_fit(recipe, tiny.model(), task)


def test_checkpointing_is_refused_where_the_model_has_none():
    recipe = Recipe(training_arguments=("gradient_checkpointing=true",))
    with pytest.raises(InputError, match="TransformerForSequenceClassification has no gradient checkpointing"):
        check_arguments_fit(recipe, tiny.model(), "classification")
    check_arguments_fit(recipe, tiny_tokenizers.model(BertForSequenceClassification)[0], "classification")


def test_whatever_safr_sets_can_not_be_set_beside_it(tmp_path, monkeypatch):
    """Of two values for an argument one would be lost; and each refused name is one that some version has."""
    calls = []
    monkeypatch.setattr(
        trainer, "TrainingArguments", lambda **values: calls.append(values) or TrainingArguments(**values)
    )
    trainer._build_arguments(Run(tmp_path), tiny.settings("safr"), "accuracy")
    refused = {*config._OPTION_OF_ARGUMENT, *config._OWN_ARGUMENTS}
    assert set(calls[0]) <= refused
    assert len(refused) == len(config._OPTION_OF_ARGUMENT) + len(config._OWN_ARGUMENTS)
    assert refused - set(TrainingArguments.__dataclass_fields__) <= {"warmup_ratio", "group_by_length"}


def test_every_other_argument_of_this_version_is_known_and_taken_with_its_default():
    refused = {*config._OPTION_OF_ARGUMENT, *config._OWN_ARGUMENTS}
    defaults = TrainingArguments(output_dir="unused", report_to="none")
    for name in sorted(set(TrainingArguments.__dataclass_fields__) - refused):
        value = getattr(defaults, name)
        if value is not None and name != "optim":
            read_training_arguments(Recipe(training_arguments=(f"{name}={json.dumps(value)}",)))


# --- what it does to a training


@pytest.mark.parametrize(
    "word", ["label_smoothing_factor=0.2", "optim=adafactor", "optim=sgd", "adam_beta2=0.5", "neftune_noise_alpha=5"]
)
def test_an_argument_changes_the_training(plain_run, word, tmp_path):
    run = train_tiny(tmp_path / "run", word)
    assert not is_same(weights(run), weights(plain_run))
    assert run.settings.recipe.training_arguments == (word,)


def test_loading_in_processes_of_its_own_changes_no_number(plain_run, tmp_path):
    run = train_tiny(tmp_path / "run", "dataloader_num_workers=1")
    assert is_same(weights(run), weights(plain_run))


def test_checkpointing_changes_no_number_of_a_pretrained_model(tmp_path):
    model, words = tiny_tokenizers.model(BertForSequenceClassification)
    model.save_pretrained(tmp_path / "bert")
    words.save_pretrained(tmp_path / "bert")
    sizes = {"model": str(tmp_path / "bert"), "tokenizer": "auto", "epochs": 1}
    plain = train_tiny(tmp_path / "plain", **sizes)
    checkpointed = train_tiny(tmp_path / "checkpointed", "gradient_checkpointing=true", **sizes)
    assert is_same(weights(plain), weights(checkpointed))


@pytest.mark.parametrize("balanced", [False, True])
def test_smoothed_labels_are_torchs_with_the_regularizers_and_weights_of_classes(tmp_path, monkeypatch, balanced):
    labels = tuple(int(n % 4 == 0) for n in range(32))
    split = Split(tuple(f"the film {('dull', 'funny')[label]} plot" for label in labels), labels)
    data = TextDataset("rare", split, split, split, ("bad", "good"), "made up", {})
    losses, expected = [], []
    compute_loss = trainer._LengthGroupedTrainer.compute_loss

    def record_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        targets = inputs["labels"]  # the Trainer takes them out
        loss, outputs = compute_loss(self, model, inputs, True, num_items_in_batch)
        if model.training:
            weight = torch.tensor([32 / (2 * 24), 32 / (2 * 8)]) if balanced else None
            smoothed = F.cross_entropy(outputs.logits, targets, weight, label_smoothing=0.2)
            losses.append(loss.item())
            expected.append((smoothed + outputs.regularization).item())
        return (loss, outputs) if return_outputs else loss

    monkeypatch.setattr(trainer._LengthGroupedTrainer, "compute_loss", record_loss)
    settings = tiny.settings("safr").changed(
        training_arguments=("label_smoothing_factor=0.2",), class_weights="balanced" if balanced else "equal", epochs=1
    )
    train(settings, data, tmp_path / "run")
    assert len(losses) == 4
    assert losses == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("words", "kind", "options"),
    [
        ((), torch.optim.AdamW, {"betas": (0.9, 0.999), "eps": 1e-8, "fused": True}),
        (("adam_beta2=0.98", "adam_epsilon=1e-6"), torch.optim.AdamW, {"betas": (0.9, 0.98), "eps": 1e-6}),
        (("optim=sgd",), torch.optim.SGD, {}),
    ],
)
def test_weights_with_learning_rates_of_their_own_have_the_chosen_optimizer(tmp_path, words, kind, options):
    settings = tiny.settings("safr").changed(vmask_learning_rate=1e-3, training_arguments=words or None)
    arguments = trainer._build_arguments(Run(tmp_path), settings, "accuracy")
    model = tiny.model(Regularization(vmask_width=8))
    optimizer = trainer._build_optimizer(model, settings.recipe, arguments)
    assert type(optimizer) is kind
    assert {group["lr"] for group in optimizer.param_groups} == {1e-2, 1e-3}
    for group in optimizer.param_groups:
        assert options.items() <= group.items()


def test_they_are_among_what_a_resumed_run_must_have_been_made_with(plain_run, tmp_path):
    run = train_tiny(tmp_path / "run", "optim=adafactor", epochs=1)
    assert json.loads(run.config_file.read_text())["settings"]["recipe"]["training_arguments"] == ["optim=adafactor"]
    settings = open_run(run.folder).settings
    assert settings.command.endswith("--training-arguments optim=adafactor")
    assert run.was_made_with(settings)
    for others in (None, ("optim=sgd",), ("optim=adafactor", "adam_beta2=0.98")):
        assert not run.was_made_with(settings.changed(training_arguments=others))
