"""SAFR's terms in a Trainer's logs, and a warm-up that fits the training."""

import copy
import math
import warnings
from typing import ClassVar

import pytest
import torch
from transformers import (
    EarlyStoppingCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

import safr
from safr.config import Regularization
from safr.errors import InputError
from safr.model.attach import attach, detach
from safr.model.trainer_callback import RegularizationCallback, TermMeans
from tests.model.families import tiny

WEIGHTS = Regularization(importance=0.5, interaction=0.25, vmask=False)
TERMS = ("task_loss", "importance", "interaction")


def make_rows(count, *, language=False):
    rows = []
    for number in range(count):
        ids = torch.randint(3, 40, (6,), generator=torch.Generator().manual_seed(number))
        labels = ids.clone() if language else number % 2
        if language:
            labels[2 + number % 4 :] = -100  # so that batches hold different numbers of labels
        rows.append({"input_ids": ids, "labels": labels})
    return rows


def collate(rows):
    return {name: torch.stack([torch.as_tensor(row[name]) for row in rows]) for name in rows[0]}


def make_trainer(model, folder, rows, *, callbacks=(RegularizationCallback,), **options):
    """A Trainer whose weights stay as they are, so that every batch can be computed again."""
    arguments = {"per_device_train_batch_size": 2, "per_device_eval_batch_size": 2, "logging_steps": 1}
    arguments |= {"learning_rate": 0.0, "train_sampling_strategy": "sequential", "save_strategy": "no"}
    arguments |= {"report_to": "none", "disable_tqdm": True, "dataloader_pin_memory": False, "num_train_epochs": 1}
    evaluated = options.pop("eval_dataset", rows)
    return Trainer(
        model,
        TrainingArguments(str(folder), **(arguments | options)),
        train_dataset=rows,
        eval_dataset=evaluated,
        data_collator=collate,
        callbacks=list(callbacks),
    )


def without_chance(model):
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.0
    return model


def classifier(settings=WEIGHTS):
    return attach(without_chance(tiny("bert")), settings)


@torch.no_grad()
def read_terms(model, rows):
    model(**collate(rows))
    return [float(model.safr.terms[name]) for name in ("task", "importance", "interaction")]


def mean(rows):
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize(("accumulated", "logging"), [(1, 1), (1, 3), (2, 1), (2, 2), (3, 1)])
def test_the_logs_hold_each_terms_mean_since_the_last_logging(accumulated, logging, tmp_path):
    model, rows = classifier(), make_rows(10)
    trainer = make_trainer(model, tmp_path, rows, gradient_accumulation_steps=accumulated, logging_steps=logging)
    trainer.train()
    passes = [read_terms(model, rows[start : start + 2]) for start in range(0, 10, 2)]
    steps = [mean(passes[start : start + accumulated]) for start in range(0, 5, accumulated)]  # the last may be short
    expected = [mean(steps[start : start + logging]) for start in range(0, len(steps) - logging + 1, logging)]
    logged = [line for line in trainer.state.log_history if "loss" in line]
    assert len(logged) == len(expected) > 0
    for line, terms in zip(logged, expected, strict=True):
        assert [line[name] for name in TERMS] == pytest.approx(terms, rel=1e-5)
        assert line["loss"] == pytest.approx(terms[0] + 0.5 * terms[1] + 0.25 * terms[2], rel=1e-3)


def test_a_language_models_batches_count_by_their_tokens(tmp_path):
    model, rows = attach(without_chance(tiny("llama", "CausalLM")), WEIGHTS), make_rows(4, language=True)
    trainer = make_trainer(
        model, tmp_path, rows, per_device_train_batch_size=1, gradient_accumulation_steps=4, eval_strategy="epoch"
    )
    trainer.train()
    tokens = [int((row["labels"][1:] != -100).sum()) for row in rows]
    passes = [read_terms(model, [row]) for row in rows]
    assert len(set(tokens)) > 1
    expected = [
        sum(count * terms[part] for count, terms in zip(tokens, passes, strict=True)) / sum(tokens) for part in range(3)
    ]
    line = trainer.state.log_history[0]
    assert [line[name] for name in TERMS] == pytest.approx(expected, rel=1e-4)
    assert line["loss"] == pytest.approx(expected[0] + 0.5 * expected[1] + 0.25 * expected[2], rel=1e-3)
    evaluated = next(each for each in trainer.state.log_history if "eval_loss" in each)
    plain = make_trainer(detach(copy.deepcopy(model)), tmp_path, rows, callbacks=()).evaluate()
    assert evaluated["eval_task_loss"] == pytest.approx(plain["eval_loss"], rel=1e-5)


def test_the_tasks_loss_in_evaluation_is_that_of_a_model_without_safr(tmp_path):
    model, rows = classifier(), make_rows(7)  # the last batch is a single text
    trainer = make_trainer(model, tmp_path, rows)
    found = trainer.evaluate()
    plain = make_trainer(detach(copy.deepcopy(model)), tmp_path, rows, callbacks=()).evaluate()
    assert found["eval_task_loss"] == pytest.approx(plain["eval_loss"], rel=1e-5)
    texts = [read_terms(model, [row]) for row in rows]
    assert [found[f"eval_{name}"] for name in TERMS] == pytest.approx(mean(texts), rel=1e-4)
    weighted = found["eval_task_loss"] + 0.5 * found["eval_importance"] + 0.25 * found["eval_interaction"]
    assert found["eval_loss"] == pytest.approx(weighted, rel=1e-5)
    assert trainer.state.log_history[-1]["eval_task_loss"] == found["eval_task_loss"]
    assert trainer.evaluate()["eval_task_loss"] == pytest.approx(found["eval_task_loss"])  # the means begin anew


def test_every_set_that_is_evaluated_and_predicted_has_its_own_terms(tmp_path):
    model, rows = classifier(), make_rows(6)
    trainer = make_trainer(model, tmp_path, rows, eval_dataset={"a": rows[:3], "b": rows[3:]})
    found = trainer.evaluate()
    for name, part in (("a", rows[:3]), ("b", rows[3:])):
        expected = mean([read_terms(model, [row]) for row in part])
        assert [found[f"eval_{name}_{term}"] for term in TERMS] == pytest.approx(expected, rel=1e-4)
    predicted = trainer.predict(rows[:3]).metrics
    assert predicted["test_task_loss"] == pytest.approx(found["eval_a_task_loss"])
    assert (
        trainer.predict([{"input_ids": row["input_ids"]} for row in rows])
        .metrics.keys()
        .isdisjoint({"test_task_loss", "test_importance"})
    )


def test_the_best_model_is_chosen_by_the_tasks_loss(tmp_path):
    model, rows = classifier(), make_rows(8)
    trainer = make_trainer(
        model, tmp_path, rows, callbacks=[RegularizationCallback(), EarlyStoppingCallback(1)], num_train_epochs=3,
        learning_rate=1e-3, eval_strategy="epoch", save_strategy="epoch", load_best_model_at_end=True,
        metric_for_best_model="eval_task_loss",
    )  # fmt: skip
    trainer.train()
    values = [line["eval_task_loss"] for line in trainer.state.log_history if "eval_task_loss" in line]
    assert trainer.state.best_metric == min(values)


class Spy(TrainerCallback):
    """What another callback is given."""

    seen: ClassVar = []

    def on_log(self, args, state, control, logs=None, **kwargs):
        self.seen.append(dict(logs))


def test_callbacks_that_the_trainer_puts_first_see_the_terms_too(tmp_path, monkeypatch):
    from transformers.integrations import integration_utils

    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "tensorboard", Spy)
    monkeypatch.setattr(Spy, "seen", [])
    trainer = make_trainer(classifier(), tmp_path, make_rows(4), report_to="tensorboard", eval_strategy="epoch")
    names = [type(callback) for callback in trainer.callback_handler.callbacks]
    assert names.index(Spy) < names.index(RegularizationCallback)
    trainer.train()
    assert [set(TERMS) <= set(logs) for logs in Spy.seen if "loss" in logs] == [True, True]
    assert [logs["eval_task_loss"] > 0 for logs in Spy.seen if "eval_loss" in logs] == [True]


def test_a_trainer_without_the_callback_logs_what_it_did(tmp_path):
    RegularizationCallback()
    trainer = make_trainer(classifier(), tmp_path, make_rows(4), callbacks=())
    trainer.train()
    assert not any("task_loss" in line for line in trainer.state.log_history)


def test_a_step_reads_nothing_from_the_device(tmp_path):
    model, callback = classifier(), RegularizationCallback()
    event = TrainingArguments(str(tmp_path)), TrainerState(), TrainerControl()
    for fraction in (1.0, torch.ones((), device="meta")):  # whose numbers can't be read
        model.safr.terms = {"task": torch.ones((), device="meta"), "importance": torch.ones((), device="meta")}
        model.safr.batch_fraction, model.safr.texts = fraction, 2
        callback.on_substep_end(*event, model=model)
        model.safr.terms = dict(model.safr.terms)
        callback.on_step_end(*event, model=model)
        model.safr.terms = dict(model.safr.terms)
        callback.on_prediction_step(*event, model=model)
    assert callback.training.sums["task"].device.type == "meta"
    assert callback.evaluation.sums["importance"].device.type == "meta"


def test_with_label_smoothing_the_tasks_loss_is_not_known(tmp_path):
    rows = make_rows(4)
    trainer = make_trainer(classifier(), tmp_path, rows, label_smoothing_factor=0.1, eval_strategy="epoch")
    trainer.train()
    first, evaluated = trainer.state.log_history[0], next(e for e in trainer.state.log_history if "eval_loss" in e)
    assert {"importance", "interaction"} <= set(first)
    assert "task_loss" not in first
    assert not any(f"eval_{name}" in evaluated for name in TERMS)


def test_a_model_without_safr_is_refused(tmp_path):
    trainer = make_trainer(tiny("bert"), tmp_path, make_rows(4))
    for start in (trainer.train, trainer.evaluate):
        with pytest.raises(InputError, match=r"not attached to this BertFor.*; call safr.attach before the training"):
            start()


def test_it_is_a_public_name():
    assert safr.RegularizationCallback is RegularizationCallback


def test_means_of_nothing_are_none_and_of_no_items_no_number():
    assert TermMeans().read() == {}
    means = TermMeans()
    means.add({"importance": torch.ones(())}, torch.zeros(()), 1.0)
    assert math.isnan(means.read()["importance"])


def pretrained(warmup_steps=None, **options):
    """A classifier whose config names where its weights came from."""
    model = without_chance(tiny("bert"))
    model.name_or_path = "someone/model"
    return attach(model, Regularization(0.5, 0.25, vmask=False, warmup_steps=warmup_steps, **options))


@pytest.mark.parametrize(
    ("options", "passes"),
    [
        ({"max_steps": 30}, 30),
        ({"max_steps": 30, "gradient_accumulation_steps": 2}, 60),
        ({"max_steps": 31, "gradient_accumulation_steps": 4}, 104),  # ten batches are three steps an epoch
        ({"num_train_epochs": 3}, 3 * 10),
        ({"num_train_epochs": 3, "gradient_accumulation_steps": 4}, 3 * 10),
        ({"num_train_epochs": 0.5}, 5),
    ],
)
def test_a_warmup_that_nobody_chose_is_a_tenth_of_a_short_training(options, passes, tmp_path):
    model = pretrained()
    assert model.safr.regularization.warmup_steps == 200
    trainer = make_trainer(model, tmp_path / "run", make_rows(20), **options)
    trainer.train()
    assert int(model.safr.steps) == passes
    assert model.safr.regularization.warmup_steps == max(passes // 10, 1)
    assert model.safr._strength() == 1
    trainer.save_model(str(tmp_path / "saved"))
    assert safr.load(tmp_path / "saved").safr.regularization == model.safr.regularization


def test_the_length_of_a_training_on_a_stream_is_that_of_its_steps(tmp_path):
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(make_rows(40))

    model = pretrained()
    options = {"max_steps": 10, "gradient_accumulation_steps": 2, "train_sampling_strategy": "random"}
    make_trainer(model, tmp_path, Stream(), **options).train()
    assert int(model.safr.steps) == 20
    assert model.safr.regularization.warmup_steps == 2


@pytest.mark.parametrize("family", ["new", "pretrained"])
def test_a_warmup_is_not_made_longer(family, tmp_path):
    model = classifier() if family == "new" else pretrained()
    before = model.safr.regularization.warmup_steps
    trainer = make_trainer(model, tmp_path, make_rows(2), max_steps=3000, callbacks=[RegularizationCallback, Stop])
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert model.safr.regularization.warmup_steps == before == (0 if family == "new" else 200)


class Stop(TrainerCallback):
    """Ends a training before its first step."""

    def on_step_begin(self, args, state, control, **kwargs):
        raise KeyboardInterrupt


def test_a_chosen_warmup_that_is_longer_than_the_training_is_warned_of(tmp_path):
    model = pretrained(warmup_steps=21)
    with pytest.warns(UserWarning, match=r"`warmup_steps` is 21, but the training has 20 forward passes, .* fewer"):
        make_trainer(model, tmp_path, make_rows(16), max_steps=5, gradient_accumulation_steps=4).train()
    assert model.safr.regularization.warmup_steps == 21


@pytest.mark.parametrize("chosen", [200, 20])
def test_a_chosen_warmup_stays(chosen, tmp_path):
    model = pretrained(warmup_steps=chosen)
    model.safr.steps += chosen - 20  # an earlier training
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_trainer(model, tmp_path, make_rows(4), max_steps=20).train()
    assert model.safr.regularization.warmup_steps == chosen
    assert model.safr._strength() == 1


def test_a_resumed_training_has_the_warmup_of_one_that_was_not_stopped(tmp_path):
    rows, options = make_rows(20), {"max_steps": 30, "save_strategy": "steps", "save_steps": 15}
    make_trainer(pretrained(), tmp_path, rows, **options).train()
    model = pretrained()
    make_trainer(model, tmp_path, rows, **options).train(resume_from_checkpoint=str(tmp_path / "checkpoint-15"))
    assert int(model.safr.steps) == 30
    assert model.safr.regularization.warmup_steps == 3
