import dataclasses
import json
import math
import shutil
import traceback
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from sklearn.metrics import f1_score
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast, TrainerCallback

import safr
from safr.config import Architecture, Recipe, Regularization, Settings
from safr.data import Split, TextDataset, archives
from safr.data.batches import LengthGroupedSampler
from safr.data.encoding import encode
from safr.data.tokenizer import train_word_tokenizer
from safr.errors import InputError
from safr.inference import predict
from safr.runs import Run
from safr.training import train, trainer
from tests import tiny

SETTINGS = Settings(
    regularization=Regularization(vmask_width=8, importance=0.1, interaction=0.1),
    architecture=Architecture(width=16, heads=2, feed_forward=32),
    recipe=Recipe(epochs=3, batch_size=8, learning_rate=3e-3),
)


def small_data(size=48) -> TextDataset:
    """Sentences whose label is decided by one word among others."""
    draw = torch.Generator().manual_seed(0)

    def split(count):
        texts, labels = [], []
        for number in range(count):
            others = [f"word{int(each)}" for each in torch.randint(0, 12, (3 + number % 6,), generator=draw)]
            texts.append(" ".join([*others, ("bad", "good")[number % 2], "film"]))
            labels.append(number % 2)
        return Split(tuple(texts), tuple(labels))

    parts = split(size), split(size // 2), split(size // 2)
    return TextDataset("small", *parts, label_names=("negative", "positive"), origin="made up", cleaned={})


def weights(run: Run) -> dict[str, torch.Tensor]:
    return safr.load(run.model_folder).state_dict()


def same(one: dict, other: dict) -> bool:
    return set(one) == set(other) and all(torch.equal(one[name], other[name]) for name in one)


class StopAfter(TrainerCallback):
    """Ctrl-C at the first step of an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_step_end(self, args, state, control, **kwargs):
        if state.epoch > self.epoch:
            raise KeyboardInterrupt


def with_recipe(**changes) -> Settings:
    return dataclasses.replace(SETTINGS, recipe=dataclasses.replace(SETTINGS.recipe, **changes))


def test_the_default_recipe_is_the_papers_but_for_the_patience():
    # Heads, dropout, learning rate, batch size and sizes as in the authors' published code.
    recipe, architecture = Recipe(), Architecture()
    assert (recipe.learning_rate, recipe.batch_size, recipe.patience, recipe.epochs) == (1e-4, 32, 8, 100)
    assert (architecture.hidden_layers, architecture.width, architecture.feed_forward) == (1, 256, 1024)
    assert (architecture.heads, architecture.dropout, Regularization().vmask_width) == (8, 0.1, 1024)
    assert [Settings(data=name).max_tokens for name in ("sst2", "imdb", "imdb_train")] == [128, 256, 256]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path):
    first, again, other = (
        weights(train(with_recipe(seed=seed), small_data(), tmp_path / name))
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    )
    assert same(first, again)
    assert not same(first, other)


@pytest.mark.parametrize("stopped_in", [1, 2])
def test_a_stopped_training_goes_on_as_if_nothing_had_happened(tmp_path, stopped_in):
    whole = train(SETTINGS, small_data(), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(SETTINGS, small_data(), tmp_path / "stopped", callbacks=[StopAfter(stopped_in)])
    assert not Run(tmp_path / "stopped").is_trained
    resumed = train(SETTINGS, small_data(), tmp_path / "stopped", resume=True)
    assert same(weights(whole), weights(resumed))
    for one, other in zip(whole.history, resumed.history, strict=True):
        one.pop("seconds"), other.pop("seconds")
        assert one == pytest.approx(other, rel=1e-6)


class StopAtTheEnd(TrainerCallback):
    """Ctrl-C when training is over and its last checkpoint written, before the model is."""

    def on_save(self, args, state, control, **kwargs):
        if control.should_training_stop:
            raise KeyboardInterrupt


@pytest.mark.parametrize("kept", ["best", "last"])
@pytest.mark.parametrize("patience", [1, 8])
def test_a_training_stopped_at_its_end_is_not_trained_any_further(tmp_path, kept, patience):
    settings = with_recipe(epochs=6, patience=patience, kept_epoch=kept, learning_rate=3e-2)
    whole = train(settings, small_data(), tmp_path / "whole")
    assert (len(whole.history) < 6) == (patience == 1)
    with pytest.raises(KeyboardInterrupt):
        train(settings, small_data(), tmp_path / "stopped", callbacks=[StopAtTheEnd()])
    (tmp_path / "stopped").rename(tmp_path / "moved")
    resumed = train(settings, small_data(), tmp_path / "moved", resume=True)
    assert len(resumed.history) == len(whole.history)
    assert same(weights(whole), weights(resumed))


def test_a_best_epoch_that_is_gone_is_told(tmp_path):
    settings = with_recipe(epochs=3, learning_rate=3e-2)
    with pytest.raises(KeyboardInterrupt):
        train(settings, small_data(), tmp_path / "run", callbacks=[StopAtTheEnd()])
    checkpoints = (tmp_path / "run" / "checkpoints").glob("checkpoint-*")
    last = max(checkpoints, key=lambda path: int(path.name.partition("-")[2]))
    best = Path(json.loads((last / "trainer_state.json").read_text())["best_model_checkpoint"])
    assert best.name != last.name
    shutil.rmtree(best)
    with pytest.raises(InputError, match=rf"{best.name}: expected the best epoch's checkpoint, it is damaged or gone"):
        train(settings, small_data(), tmp_path / "run", resume=True)


@pytest.mark.parametrize("left", [None, "{"])
def test_a_checkpoint_that_was_being_written_is_not_used(tmp_path, left):
    whole = train(SETTINGS, small_data(), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(SETTINGS, small_data(), tmp_path / "stopped", callbacks=[StopAfter(2)])
    half = tmp_path / "stopped" / "checkpoints" / "checkpoint-1000"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    if left is not None:
        (half / "trainer_state.json").write_text(left)
    # Nobody needs to hear of one that was being written, which has no state yet: a warning would be an error here.
    damaged = r"checkpoint-1000 can't be used .*; continuing from checkpoint-12$"
    with nullcontext() if left is None else pytest.warns(UserWarning, match=damaged):
        resumed = train(SETTINGS, small_data(), tmp_path / "stopped", resume=True)
    assert same(weights(whole), weights(resumed))


def test_training_stopped_before_the_first_checkpoint_begins_again(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(SETTINGS, small_data(), tmp_path / "run", callbacks=[StopAfter(0)])
    assert train(SETTINGS, small_data(), tmp_path / "run", resume=True).is_trained


@pytest.mark.parametrize("kept", ["best", "last"])
def test_the_weights_are_those_of_the_epoch_that_is_to_be_kept(tmp_path, kept):
    class Spoil(TrainerCallback):
        """Ruins the model after its second epoch, so that the last epoch is not the best."""

        def on_epoch_begin(self, args, state, control, model=None, **kwargs):
            if state.epoch >= 2:
                torch.nn.init.zeros_(model.classifier.weight)
                args.learning_rate = 0

    data = small_data()
    recipe = with_recipe(epochs=4, learning_rate=1e-2, kept_epoch=kept).changed(tokenizer="words")
    run = train(recipe, data, tmp_path / "run", callbacks=[Spoil()])
    accuracies = {"best": max(line["dev_accuracy"] for line in run.history), "last": run.history[-1]["dev_accuracy"]}
    assert accuracies["best"] > accuracies["last"]
    model, tokenizer = safr.load(run.model_folder), PreTrainedTokenizerFast.from_pretrained(run.model_folder)
    right = predict(model, encode(tokenizer, data.dev.texts)) == torch.tensor(data.dev.labels).numpy()
    assert right.mean() == pytest.approx(accuracies[kept])


def test_training_stops_when_dev_accuracy_no_longer_rises(tmp_path):
    run = train(with_recipe(epochs=30, learning_rate=1e-9, patience=2), small_data(), tmp_path / "run")
    assert len(run.history) == 3


def test_a_run_says_what_it_was_made_from(tmp_path):
    data = small_data()
    run = train(with_recipe(epochs=1), data, tmp_path / "run")
    assert run.settings == with_recipe(epochs=1)
    record = run.record
    assert record["data"]["fingerprint"] == data.fingerprint()
    assert record["data"]["sizes"] == {"train": 48, "dev": 24, "test": 24}
    assert {"safr", "torch", "transformers", "python"} <= set(record["versions"])
    assert set(run.history[0]) >= {"epoch", "step", "task", "importance", "interaction", "dev_accuracy", "seconds"}
    assert not run.checkpoints_folder.exists()
    names = safr.load(run.model_folder).config.id2label
    assert names == {0: "negative", 1: "positive"}


def test_the_mean_loss_terms_of_an_epoch_are_written_down(tmp_path):
    seen = []

    class Watch(TrainerCallback):
        def on_step_end(self, args, state, control, model=None, **kwargs):
            seen.append({name: float(value) for name, value in model.safr.terms.items()})

    run = train(with_recipe(epochs=1), small_data(), tmp_path / "run", callbacks=[Watch()])
    for name in ("task", "importance", "interaction"):
        assert run.history[0][name] == pytest.approx(sum(step[name] for step in seen) / len(seen), rel=1e-5)


def test_the_baseline_is_the_plain_transformer(tmp_path):
    nothing = Regularization(importance=0, interaction=0, vmask=False)
    run = train(dataclasses.replace(with_recipe(epochs=1), regularization=nothing), small_data(), tmp_path / "run")
    assert set(weights(run)) - {"safr.steps"} == {name for name in weights(run) if not name.startswith("safr")}
    assert set(run.history[0]) == {"epoch", "step", "task", "dev_accuracy", "seconds"}


def test_padding_counts_from_training_to_evaluation_where_the_settings_say_so(tmp_path):
    counted = Regularization(padding="count", exclude_self=True, vmask_width=8)
    settings = dataclasses.replace(with_recipe(epochs=1, max_tokens=10), regularization=counted)
    lengths = set()

    class Watch(TrainerCallback):
        def on_train_begin(self, args, state, control, train_dataloader=None, **kwargs):
            lengths.update(batch["input_ids"].shape[1] for batch in train_dataloader)

    run = train(settings, small_data(), tmp_path / "run", callbacks=[Watch()])
    assert lengths == {10}
    model, tokenizer = safr.load(run.model_folder), PreTrainedTokenizerFast.from_pretrained(run.model_folder)
    inputs = tokenizer(["good film"], padding="max_length", max_length=10, return_tensors="pt")
    expected = int(model(**inputs).logits.argmax())
    assert predict(model, encode(tokenizer, ["good film"]))[0] == expected


def test_a_pretrained_model_is_fine_tuned_with_its_own_tokenizer(tmp_path):
    tokenizer = train_word_tokenizer(["good film bad film"] * 2)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    BertForSequenceClassification(config).save_pretrained(tmp_path / "bert")
    tokenizer.save_pretrained(tmp_path / "bert")
    settings = with_recipe(epochs=1).changed(model=str(tmp_path / "bert"), warmup_steps=0)
    run = train(settings, small_data(), tmp_path / "run")
    model = safr.load(run.model_folder)
    assert type(model) is BertForSequenceClassification
    assert "importance" in run.history[0]


def test_a_model_that_is_not_there_is_named(tmp_path):
    settings = dataclasses.replace(SETTINGS, model=str(tmp_path / "nothing"))
    with pytest.raises(InputError, match="nothing': expected 'transformer', a folder or a hub name"):
        train(settings, small_data(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_holds_a_run_is_not_overwritten(tmp_path):
    train(with_recipe(epochs=1), small_data(), tmp_path / "run")
    before = (tmp_path / "run" / "config.json").read_bytes()
    with pytest.raises(InputError, match="already holds a run; continue it by --resume"):
        train(with_recipe(epochs=1), small_data(), tmp_path / "run")
    assert (tmp_path / "run" / "config.json").read_bytes() == before


def test_resuming_needs_the_same_settings_and_data(tmp_path):
    train(with_recipe(epochs=1), small_data(), tmp_path / "run")
    with pytest.raises(InputError, match="was made with other settings"):
        train(with_recipe(epochs=2), small_data(), tmp_path / "run", resume=True)
    with pytest.raises(InputError, match="was trained on other data than made up holds now"):
        train(with_recipe(epochs=1), small_data(50), tmp_path / "run", resume=True)


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    run = train(with_recipe(epochs=1), small_data(), tmp_path / "run")

    def files(folder: Path) -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}

    before = files(run.folder)
    train(with_recipe(epochs=1), small_data(), tmp_path / "run", resume=True)
    assert files(run.folder) == before


def test_texts_that_are_found_tokenized_train_the_same_weights(tmp_path, monkeypatch):
    """Tokenized just now, found on disk, and kept in memory because nothing can be written."""
    made, found, kept = tmp_path / "made", tmp_path / "found", tmp_path / "kept"
    (tmp_path / "file").write_text("")
    trained = []
    for folder, cache in ((made, tmp_path / "cache"), (found, tmp_path / "cache"), (kept, tmp_path / "file")):
        monkeypatch.setattr(archives, "cache_folder", lambda cache=cache: cache)
        trained.append(weights(train(with_recipe(epochs=1), small_data(), folder)))
    assert len(list((tmp_path / "cache" / "tokens").iterdir())) == 2  # the training and the dev texts
    assert same(trained[0], trained[1])
    assert same(trained[0], trained[2])


@pytest.mark.filterwarnings("ignore:this processor has no instructions for bfloat16")
@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_training_computes_with_the_numbers_that_are_asked_for(tmp_path, precision, dtype):
    seen = {"fc1": set(), "weights": set(), "terms": set()}

    class Watch(TrainerCallback):
        def on_train_begin(self, args, state, control, model=None, **kwargs):
            model.layers[0].fc1.register_forward_hook(lambda module, given, made: seen["fc1"].add(made.dtype))

        def on_step_end(self, args, state, control, model=None, **kwargs):
            seen["weights"] |= {weight.dtype for weight in model.parameters()}
            seen["terms"] |= {value.dtype for value in model.safr.terms.values()}

    run = train(with_recipe(epochs=2, precision=precision), small_data(), tmp_path / "run", callbacks=[Watch()])
    assert seen == {"fc1": {dtype}, "weights": {torch.float32}, "terms": {torch.float32}}
    assert all(0 <= line["dev_accuracy"] <= 1 and math.isfinite(line["importance"]) for line in run.history)
    assert {weight.dtype for weight in weights(run).values()} <= {torch.float32, torch.long}


@pytest.mark.filterwarnings("ignore:this processor has no instructions for bfloat16")
def test_bfloat16_changes_training_by_rounding_only(tmp_path):
    whole, half = (
        train(with_recipe(epochs=1, precision=precision), small_data(), tmp_path / precision).history[0]
        for precision in ("float32", "bfloat16")
    )
    for name in ("task", "importance", "interaction"):
        assert whole[name] == pytest.approx(half[name], rel=0.03)
        assert whole[name] != half[name]


def test_a_gpu_that_cannot_compute_with_bfloat16_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr("safr.training.prepare.is_torch_bf16_gpu_available", lambda: False)
    with pytest.raises(
        InputError, match=r"^`precision='bfloat16'` needs a GPU .*, which this one does not; use float32$"
    ):
        train(with_recipe(precision="bfloat16"), small_data(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("cuda", [True, False])
def test_batches_are_pinned_and_copied_while_cuda_computes_and_nowhere_else(tmp_path, monkeypatch, cuda):
    asked, arguments = {}, trainer.TrainingArguments
    monkeypatch.setattr(trainer, "TrainingArguments", lambda **given: asked.update(given) or arguments(use_cpu=True))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    trainer._build_arguments(Run(tmp_path), SETTINGS, "accuracy")
    assert asked["dataloader_pin_memory"] is asked["accelerator_config"]["non_blocking"] is cuda


def test_of_several_gpus_a_run_takes_the_first(tmp_path, monkeypatch):
    class OnTwoGPUs(trainer.TrainingArguments):
        def __post_init__(self):
            super().__post_init__()
            self._n_gpu = 2

    monkeypatch.setattr(trainer, "TrainingArguments", OnTwoGPUs)
    assert trainer._build_arguments(Run(tmp_path), SETTINGS, "accuracy").n_gpu == 1


def test_no_step_reads_a_number_from_the_device(tmp_path):
    """Every such read would stop a GPU until it has finished the step before."""
    reads = []

    class Reads(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if function in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default):
                places = traceback.format_stack()
                # On a processor transformers looks whether a mask masks anything; on a GPU it is told not to.
                if not any("masking_utils.py" in place for place in places):
                    reads.append("".join(places[-4:]))
            return function(*args, **(kwargs or {}))

    class Watch(TrainerCallback):
        mode = None

        def on_step_begin(self, args, state, control, **kwargs):
            self.mode = Reads()
            self.mode.__enter__()

        def on_step_end(self, args, state, control, **kwargs):
            self.mode.__exit__(None, None, None)

    train(with_recipe(epochs=1), small_data(), tmp_path / "run", callbacks=[Watch()])
    assert reads == []


@pytest.mark.parametrize("rates", [{}, {"vmask_learning_rate": 1e-2}, {"embedding_learning_rate": 1e-2}])
def test_the_optimizer_is_fused_with_learning_rates_of_the_parts_own_too(tmp_path, rates):
    seen, given = [], set()

    class Watch(TrainerCallback):
        def on_train_begin(self, args, state, control, optimizer=None, **kwargs):
            seen.extend((type(optimizer.optimizer), group["fused"]) for group in optimizer.param_groups)
            given.update(group["initial_lr"] for group in optimizer.param_groups)

    train(with_recipe(epochs=1, **rates), small_data(), tmp_path / "run", callbacks=[Watch()])
    assert set(seen) == {(torch.optim.AdamW, True)}
    assert set(rates.values()) <= given


def test_the_records_are_plain_json(tmp_path):
    run = train(with_recipe(epochs=1), small_data(), tmp_path / "run")
    json.loads(run.config_file.read_text())
    for line in run.history_file.read_text().splitlines():
        json.loads(line)


def without_noise(**recipe) -> Settings:
    """Settings without dropout and mask, so that two trainings can be compared."""
    return dataclasses.replace(
        with_recipe(**recipe),
        architecture=Architecture(width=16, heads=2, feed_forward=32, dropout=0),
        regularization=Regularization(importance=0.1, interaction=0.1, vmask=False, interaction_estimator="exact"),
    )


def test_batches_whose_gradients_are_added_up_are_one_larger_batch(tmp_path, monkeypatch):
    # All texts of one length and in one order, so that the halves of a batch are the same texts.
    monkeypatch.setattr(LengthGroupedSampler, "__iter__", lambda self: iter(range(len(self.lengths))))
    split = Split(
        tuple(f"word{n % 7} {('bad', 'good')[n % 2]} film" for n in range(32)), tuple(n % 2 for n in range(32))
    )
    data = TextDataset("small", split, split, split, ("negative", "positive"), "made up", {})
    whole = train(without_noise(epochs=2, batch_size=16), data, tmp_path / "whole")
    halves = train(without_noise(epochs=2, batch_size=8, gradient_accumulation=2), data, tmp_path / "halves")
    assert [line["step"] for line in halves.history] == [line["step"] for line in whole.history] == [2, 4]
    one, other = weights(whole), weights(halves)
    # Softmax does not see a bias of the keys, whose gradient is rounding alone, and Adam makes steps of it.
    for name in one.keys() - {"layers.0.attention.key.bias", "safr.steps"}:
        torch.testing.assert_close(other[name], one[name], rtol=1e-3, atol=1e-5)


def test_the_history_holds_the_mean_over_all_batches_that_are_added_up(tmp_path):
    data = small_data()
    halves = train(
        without_noise(epochs=1, batch_size=8, gradient_accumulation=2, learning_rate=1e-12), data, tmp_path / "halves"
    )
    alone = train(without_noise(epochs=1, batch_size=8, learning_rate=1e-12), data, tmp_path / "alone")
    for name in ("task", "importance", "interaction"):
        assert halves.history[0][name] == pytest.approx(alone.history[0][name], rel=1e-5)


def test_balanced_classes_weigh_a_rare_one_as_scikit_learn_says(tmp_path, monkeypatch):
    labels = tuple(int(n % 8 == 0) for n in range(64))
    split = Split(tuple(f"word{n % 9} {('bad', 'good')[label]} film" for n, label in enumerate(labels)), labels)
    data = TextDataset("rare", split, split, split, ("negative", "positive"), "made up", {})
    made = []
    real = trainer._LengthGroupedTrainer.compute_loss

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        loss, outputs = real(self, model, inputs, True, num_items_in_batch)
        if model.training:
            regularizers = outputs.loss - torch.nn.functional.cross_entropy(outputs.logits, inputs["labels"])
            weight = torch.tensor([64 / (2 * 56), 64 / (2 * 8)])
            expected = torch.nn.functional.cross_entropy(outputs.logits, inputs["labels"], weight) + regularizers
            made.append((loss.item(), expected.item()))
        return (loss, outputs) if return_outputs else loss

    monkeypatch.setattr(trainer._LengthGroupedTrainer, "compute_loss", compute_loss)
    train(with_recipe(epochs=1, class_weights="balanced"), data, tmp_path / "run")
    losses, expected = zip(*made, strict=True)
    assert losses == pytest.approx(expected, rel=1e-5)
    assert len(losses) == 8


@pytest.mark.parametrize("own_rate", [None, 1e-3])
def test_weight_decay_is_that_of_matrices_alone(tmp_path, own_rate):
    settings = with_recipe(weight_decay=0.1, vmask_learning_rate=own_rate)
    arguments = trainer._build_arguments(Run(tmp_path), settings, "accuracy")
    assert arguments.weight_decay == 0.1
    optimizer = trainer._build_optimizer(tiny.model(Regularization(vmask_width=8)), settings.recipe, arguments)
    if own_rate is None:
        assert optimizer is None  # the Trainer makes its own
    else:
        decays = {
            (group["weight_decay"], weight.ndim > 1) for group in optimizer.param_groups for weight in group["params"]
        }
        assert decays == {(0.1, True), (0.0, False)}


def test_schedule_warmup_and_clipping_are_the_trainers(tmp_path):
    settings = with_recipe(schedule="cosine", warmup_ratio=0.1, max_grad_norm=1.0, gradient_accumulation=3)
    arguments = trainer._build_arguments(Run(tmp_path), settings, "accuracy")
    assert (arguments.lr_scheduler_type, arguments.max_grad_norm, arguments.gradient_accumulation_steps) == (
        "cosine",
        1,
        3,
    )
    assert arguments.get_warmup_steps(200) == 20


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"warmup_ratio": 0.1}, "`warmup_ratio` needs a schedule that rises first; choose constant_with_warmup"),
        ({"warmup_ratio": 1.0, "schedule": "linear"}, r"`warmup_ratio` must be in \[0, 1\), got 1.0"),
        ({"weight_decay": -0.1}, "`weight_decay` must be at least 0, got -0.1"),
        ({"gradient_accumulation": 0}, "`gradient_accumulation` must be at least 1, got 0"),
    ],
)
def test_options_of_training_that_mean_nothing_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        with_recipe(**changes)


def test_the_best_epoch_is_that_of_the_chosen_metric(tmp_path):
    run = train(with_recipe(metric="macro_f1"), small_data(), tmp_path / "run")
    assert list(run.history[0])[-3:] == ["dev_accuracy", "dev_macro_f1", "seconds"]
    best = max(run.history, key=lambda line: line["dev_macro_f1"])
    dev = small_data().dev
    model, tokenizer = run.load_model()
    predictions = predict(model, encode(tokenizer, dev.texts))
    assert f1_score(dev.labels, predictions, average="macro") == pytest.approx(best["dev_macro_f1"])


@pytest.mark.usefixtures("without_type_checks")
def test_the_history_holds_a_language_models_loss_per_token_where_passes_share_a_step(tmp_path):
    history = trainer._History(Run(tmp_path), ["perplexity"])
    regularizer = SimpleNamespace(
        terms={"task": torch.tensor(1.5), "importance": torch.tensor(0.2)}, batch_fraction=0.5
    )
    model, state = SimpleNamespace(safr=regularizer), SimpleNamespace(epoch=1.0, global_step=2)
    history.on_epoch_begin(None, state, None)
    for _ in range(2):
        history.on_step_end(None, state, None, model=model)
    history.on_evaluate(None, state, None, metrics={"eval_perplexity": 9.0})
    (line,) = Run(tmp_path).history
    assert (line["task"], line["dev_perplexity"]) == (3.0, 9.0)
    assert line["importance"] == pytest.approx(0.2)
