"""Reports a training to TensorBoard, Weights & Biases, MLflow or Trackio, by the Trainer's own integrations."""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, get_args

from transformers import TrainerControl, TrainerState, TrainingArguments
from transformers.integrations.integration_utils import (
    is_mlflow_available,
    is_tensorboard_available,
    is_trackio_available,
    is_wandb_available,
)

from safr.config import Recipe, ReportTo
from safr.errors import InputError
from safr.model.trainer_callback import RegularizationCallback
from safr.runs import Run

PROJECT = "safr"
"""Name of the project, in MLflow of the experiment, unless the user's environment names another."""

LOGGING_STEPS = 50
"""Optimizer steps between two logs of a training whose epochs are not shorter."""

_IS_AVAILABLE = {
    "tensorboard": is_tensorboard_available,
    "wandb": is_wandb_available,
    "mlflow": is_mlflow_available,
    "trackio": is_trackio_available,
}


class TermLogs(RegularizationCallback):
    """Logs SAFR's terms and leaves the warm-up as it was fitted before the training, so that no number changes."""

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Do nothing, since each training has a callback of its own."""


def check_report_to(report_to: str | Sequence[str]) -> list[str]:
    """The names of the trackers that a training is reported to, each once; empty for `none`.

    Raises:
        InputError: A name is not known, `none` stands beside others, or a tracker's package is not installed.
    """
    names = list(dict.fromkeys([report_to] if isinstance(report_to, str) else report_to))
    known = get_args(ReportTo)
    if unknown := [name for name in names if name not in known]:
        raise InputError(f"`report_to` must be {', '.join(known[:-1])} or {known[-1]}, got {unknown[0]!r}")
    trackers = [name for name in names if name != "none"]
    if "none" in names and trackers:
        raise InputError(f"--report-to none can't be combined; leave it out to report to {', '.join(trackers)}")
    for name in trackers:
        if not _IS_AVAILABLE[name]():
            raise InputError(f"--report-to {name} needs the package {name}; run `pip install {name}`")
    return trackers


def choose_logging_steps(recipe: Recipe, texts: int) -> int:
    """Optimizer steps between two logs: `LOGGING_STEPS`, or an epoch where it is shorter.

    >>> choose_logging_steps(Recipe(batch_size=32, gradient_accumulation=2), 320)
    5
    """
    return min(LOGGING_STEPS, math.ceil(math.ceil(texts / recipe.batch_size) / recipe.gradient_accumulation))


@contextmanager
def prepare_trackers(run: Run, trackers: Sequence[str]) -> Iterator[None]:
    """A block in which the trackers find the run's folder for logs and the project's name in the environment.

    What the user's environment says counts. A run of Weights & Biases that is begun in the block ends with it, since
    the process's next training would otherwise go on in it.
    """
    if not trackers:
        yield
        return
    run.logs_folder.mkdir(exist_ok=True)
    logs = str(run.logs_folder.resolve())
    defaults = {"TENSORBOARD_LOGGING_DIR": logs, "WANDB_DIR": logs, "WANDB_PROJECT": PROJECT}
    if "MLFLOW_EXPERIMENT_ID" not in os.environ:
        defaults["MLFLOW_EXPERIMENT_NAME"] = PROJECT
    with ExitStack() as stack:
        stack.enter_context(_default_environment(defaults))
        if "wandb" in trackers:
            stack.enter_context(_end_wandb_run())
        yield


@contextmanager
def _default_environment(defaults: Mapping[str, str]) -> Iterator[None]:
    """A block with environment variables that are not set outside it; those that are set keep their values."""
    added = {name: value for name, value in defaults.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def _end_wandb_run() -> Iterator[None]:
    """A block that ends the run of Weights & Biases that was begun in it, and none that the user had begun before."""
    wandb = importlib.import_module("wandb")
    is_users_own = wandb.run is not None
    try:
        yield
    finally:
        if not is_users_own and wandb.run is not None:
            wandb.finish()
