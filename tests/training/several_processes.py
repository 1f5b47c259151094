"""Trains tiny runs by `safr.train`, for test_distributed.py; run by torchrun as several processes."""

import copy
import os
import signal
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch
from torch import distributed
from transformers import TrainerCallback

from safr import storage
from safr.config import Settings
from safr.data import Split
from safr.model import save
from safr.model.attach import attach
from safr.model.vmask import VMASK
from safr.runs import Run
from safr.storage import write_json
from safr.training import train, trainer
from safr.training.divergence import DivergenceError
from safr.training.sharding import gather_weights, shard_model
from tests import tiny
from tests.model import families
from tests.model.test_ways_to_train import sure

SETTINGS = tiny.settings("safr")
SETTINGS = replace(
    SETTINGS,
    architecture=replace(SETTINGS.architecture, dropout=0.0),  # each process draws its own
    recipe=replace(SETTINGS.recipe, epochs=3, kept_epoch="last", learning_rate=0.05),
)
BALANCED = SETTINGS.changed(class_weights="balanced")
ACCUMULATED = SETTINGS.changed(gradient_accumulation=2, kept_epoch="best")


class Expected(VMASK):
    """A mask that multiplies by the keep probability also in training, since each process draws its own samples."""

    def train(self, mode=True):
        return super().train(False)


class StopAfter(TrainerCallback):
    """Ctrl-C, in all processes at the first step of an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_step_end(self, args, state, control, **kwargs):
        if state.epoch > self.epoch:
            raise KeyboardInterrupt


class Die(TrainerCallback):
    """The second process is killed in the third step."""

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 3 and os.environ.get("RANK") == "1":
            os._exit(9)


class Poison(TrainerCallback):
    """The loss of the second process alone is no number in the third step."""

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        if state.global_step == 2 and os.environ["RANK"] == "1":
            kwargs["model"].safr.terms["task"] = torch.tensor(float("nan"))


def data():
    """60 training texts, of which the last batch of 8 holds 4, in classes of 20 and 40."""
    made = tiny.dataset()
    labels = tuple(int(number % 3 > 0) for number in range(len(made.train)))
    return replace(made, train=Split(made.train.texts, labels))


def train_without_chance(settings: Settings, folder: Path, **options) -> Run:
    """A run in which nothing is drawn but the order of the texts and the first weights."""
    prepare, build_optimizer = trainer.prepare_training, trainer._build_optimizer

    def prepare_without_samples(*arguments):
        prepared = prepare(*arguments)
        prepared.model.safr.vmask.__class__ = Expected
        prepared.model.safr.vmask.train()
        return prepared

    def build_sgd(model, recipe, arguments):
        # Adam would turn the last bits of a gradient that is 0, as that of a key's bias, into whole steps.
        return torch.optim.SGD(model.parameters(), lr=recipe.learning_rate, momentum=0.9)

    trainer.prepare_training, trainer._build_optimizer = prepare_without_samples, build_sgd
    try:
        return train(settings, data(), folder, **options)
    finally:
        trainer.prepare_training, trainer._build_optimizer = prepare, build_optimizer


class Count(TrainerCallback):
    """How many numbers of the weights this process holds, and how many there are."""

    def on_train_begin(self, args, state, control, **kwargs):
        weights = list(kwargs["model"].parameters())
        self.own = sum(weight.to_local().numel() for weight in weights)
        self.all = sum(weight.numel() for weight in weights)


def compare_sharded(family):
    """By how much loss, gradients and weights differ where each process holds a part of a family's weights."""
    torch.manual_seed(0)
    whole = attach(families.tiny(family), replace(tiny.REGULARIZATIONS["safr"], information=0.1))
    sure(whole)
    parts = copy.deepcopy(whole)
    shard_model(parts)
    batch = families.batch(family=family) | {"labels": torch.tensor([0, 1, 1])}
    losses = [model(**batch).loss for model in (whole, parts)]
    for loss in losses:
        loss.backward()
    gradients = {name: weight.grad for name, weight in parts.named_parameters() if weight.grad is not None}
    differences = [
        abs(gradient.full_tensor() - whole.get_parameter(name).grad).max() for name, gradient in gradients.items()
    ]
    weights = gather_weights(parts)
    if os.environ["RANK"] == "0":
        differences += [abs(weights[name].float() - value.float()).max() for name, value in whole.state_dict().items()]
    changed = {name: value + 1 for name, value in whole.state_dict().items()}
    parts.load_state_dict(changed)
    assert all(weight.to_local().numel() < weight.numel() for weight in parts.parameters() if weight.numel() > 1)
    loaded = {name: weight.full_tensor() for name, weight in parts.named_parameters()}
    differences += [abs(value - changed[name]).max() for name, value in loaded.items()]
    return float(torch.stack([abs(losses[0] - losses[1]), *differences]).detach().max())


def train_sharded(folder):
    """The runs of `main` as a launcher asks for them that sets accelerate to FSDP2."""
    os.environ |= {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
    count = Count()
    train_without_chance(SETTINGS, folder / "whole", callbacks=[count])
    assert count.own < 0.6 * count.all
    train_without_chance(BALANCED, folder / "balanced")
    train_without_chance(ACCUMULATED, folder / "accumulated")
    train_without_chance(SETTINGS, folder / "begun by one", resume=True)
    for name in ("stopped", "begun by two"):
        with suppress(KeyboardInterrupt):
            train_without_chance(SETTINGS, folder / name, callbacks=[StopAfter(1)])
    train_without_chance(SETTINGS, folder / "stopped", resume=True)
    for name, callbacks in (("adam", []), ("stopped adam", [StopAfter(1)])):
        with suppress(KeyboardInterrupt):
            train(SETTINGS.changed(vmask_learning_rate=0.01), data(), folder / name, callbacks=callbacks)
    train(SETTINGS.changed(vmask_learning_rate=0.01), data(), folder / "stopped adam", resume=True)
    assert os.environ["ACCELERATE_USE_FSDP"] == "true"
    differences = {family: compare_sharded(family) for family in families.FC1}
    if os.environ["RANK"] == "0":
        write_json(folder / "differences.json", differences)


def refuse_to_write(*arguments, **options):
    raise AssertionError("only the first process writes")


def main(folder, what):
    if os.environ["RANK"] != "0":
        storage.replace_file = save.update_folder = Run.lock = refuse_to_write
    if what == "die":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun's may come before gloo notices the lost process
        train(SETTINGS, data(), folder / "dead", callbacks=[Die()])
    if what == "shard":
        train_sharded(folder)
        return
    train_without_chance(SETTINGS, folder / "whole")
    train_without_chance(BALANCED, folder / "balanced")
    train_without_chance(SETTINGS, folder / "begun by one", resume=True)
    for name in ("stopped", "begun by two"):
        with suppress(KeyboardInterrupt):
            train_without_chance(SETTINGS, folder / name, callbacks=[StopAfter(1)])
    train_without_chance(SETTINGS, folder / "stopped", resume=True)
    with suppress(DivergenceError):
        train(SETTINGS, data(), folder / "diverged", callbacks=[Poison()])
        raise AssertionError("every process must raise")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
    distributed.barrier()
    os._exit(0)  # gloo's threads, which are left at the end, sometimes abort a process that ends in the usual way
