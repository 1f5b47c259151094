"""The callback that logs SAFR's terms in a Hugging Face Trainer, beside the loss, in training and in evaluation."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import CallbackHandler
from transformers.trainer_utils import has_length

from safr.errors import InputError
from safr.model.families import unwrap
from safr.model.regularizer import Regularizer, get_regularizer, write_settings

LOG_NAMES = {"task": "task_loss"}
"""Names in the Trainer's logs of terms that are called otherwise there; the others keep theirs."""

WARMUP_SHARE = 10
"""A warm-up that nobody chose is at most a tenth of a training, as that of the learning rate in BERT's fine-tuning."""


class RegularizationCallback(TrainerCallback):
    """Logs SAFR's terms in a Hugging Face Trainer: `Trainer(..., callbacks=[safr.RegularizationCallback()])`.

    In training, `task_loss`, `importance`, `interaction` and `information` (if they are computed) are logged together
    with `loss`. Like it, they are means since the last logging, over steps and processes, and without the weights. In
    evaluation, `eval_task_loss` and the others are logged together with `eval_loss`, as means over the texts.
    `eval_loss` contains the regularizers, and `eval_task_loss` is what a model without SAFR calls `eval_loss`, so use
    `metric_for_best_model="eval_task_loss"` to compare. The values are in `trainer.state.log_history` and in every
    tracker, such as TensorBoard. Sums stay on the device until they are logged.

    If the loss is computed outside the model, as with label smoothing, there is no `task_loss`. In evaluation nothing
    is added then, because `eval_loss` is already the loss of the task alone.

    When a training begins, it also keeps the warm-up short enough; see `fit_warmup`.
    """

    def __init__(self) -> None:
        self.step_passes: list[tuple[dict[str, Tensor], Tensor | float]] = []
        """Terms of the forward passes of the optimizer step under way, and which part of its batch each has seen."""
        self.training = TermMeans()
        self.evaluation = TermMeans()
        self.last_terms: Mapping[str, Tensor] = {}
        _log_terms_before_others()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start anew, and fit the warm-up to the training's length."""
        regularizer = _require_regularizer(kwargs["model"])
        self.step_passes, self.training, self.evaluation = [], TermMeans(), TermMeans()
        self.last_terms = regularizer.terms
        before = int(regularizer.steps) if state.global_step == 0 else 0  # a resumed training has counted its own
        fit_warmup(kwargs["model"], _count_passes(args, state, kwargs["train_dataloader"]), before)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Forget what an interrupted evaluation has left."""
        self.evaluation = TermMeans()

    def on_substep_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Note one forward pass of several."""
        self._note_pass(kwargs["model"])

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Add a step's mean: every step counts the same, as in the Trainer's `loss`."""
        self._note_pass(kwargs["model"])
        for terms, fraction in self.step_passes:
            # Language models' batches count by their label tokens; others' the same.
            self.training.add(terms, fraction, 1.0 if isinstance(fraction, Tensor) else 1 / len(self.step_passes))
        self.step_passes = []

    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Add a batch of an evaluation."""
        regularizer = _require_regularizer(kwargs["model"])
        if self._is_new(regularizer.terms):
            self.evaluation.add(regularizer.terms, regularizer.batch_fraction, regularizer.texts)

    def on_predict(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float],
        **kwargs: Any,
    ) -> None:
        """Add the terms to what `trainer.predict` returns."""
        metrics.update(self.pop_terms(metrics))

    def pop_terms(self, logs: Mapping[str, Any]) -> dict[str, float]:
        """What belongs beside some logs, by name; the means begin anew.

        Args:
            logs: What the Trainer logs: of training steps, with `loss`, or of an evaluation, with its prefix.
        """
        if "loss" in logs:
            means, self.training, prefix = self.training, TermMeans(), ""
        else:
            # Every evaluation logs its runtime, also one without a loss; so does a training, at its end.
            name = next((name for name in logs if name.endswith("_runtime") and name != "train_runtime"), None)
            if name is None:
                return {}
            means, self.evaluation, prefix = self.evaluation, TermMeans(), name.removesuffix("runtime")
        return {f"{prefix}{LOG_NAMES.get(name, name)}": value for name, value in means.read().items()}

    def _note_pass(self, model: Any) -> None:
        regularizer = _require_regularizer(model)
        if self._is_new(regularizer.terms):
            self.step_passes.append((regularizer.terms, regularizer.batch_fraction))

    def _is_new(self, terms: Mapping[str, Tensor]) -> bool:
        """Whether a pass has computed these terms since the last that were noted; every pass makes its own."""
        last, self.last_terms = self.last_terms, terms
        return terms is not last


@dataclass
class TermMeans:
    """Weighted means of terms, summed up on their device."""

    sums: dict[str, Tensor] = field(default_factory=dict)
    weight: Tensor | float = 0.0

    def add(self, terms: Mapping[str, Tensor], fraction: Tensor | float, count: float) -> None:
        """Add the terms of one forward pass.

        Args:
            terms: The task's loss, which is that of its fraction of the batch already, and others, which are means.
            fraction: The part of the whole batch that the pass has seen, as the Trainer counts it.
            count: What the batch counts.
        """
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + value.float() * (count if name == "task" else count * fraction)
        self.weight = self.weight + count * fraction

    def read(self) -> dict[str, float]:
        """The means over all processes, which must all ask; empty if nothing was added."""
        if not self.sums:
            return {}
        values = list(self.sums.values())
        weight = torch.as_tensor(self.weight, dtype=values[0].dtype, device=values[0].device)
        together = torch.stack([*values, weight])
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(together)
        *sums, total = together.tolist()
        return {name: value / total if total else math.nan for name, value in zip(self.sums, sums, strict=True)}


def fit_warmup(model: PreTrainedModel, passes: int, before: int = 0) -> None:
    """Make a warm-up that nobody has chosen at most a tenth of a training, and warn of a chosen one that is longer.

    A shorter warm-up is in the settings that are saved with the model.

    Args:
        model: A model with SAFR on it.
        passes: Forward passes of the training in one process, which is what `warmup_steps` counts.
        before: Forward passes that are counted already.
    """
    regularizer = _require_regularizer(model)
    settings = regularizer.regularization
    warmup = settings.warmup_steps or 0
    if regularizer.has_default_warmup and (longest := max(passes // WARMUP_SHARE, 1)) < warmup:
        regularizer.regularization = replace(settings, warmup_steps=longest)
        write_settings(unwrap(model), regularizer)
    elif not regularizer.has_default_warmup and warmup > before + passes:
        warnings.warn(
            f"`warmup_steps` is {warmup}, but the training has {passes} forward passes, so SAFR's loss weights never "
            "reach their full size; give fewer, or train longer",
            stacklevel=2,
        )


def _count_passes(args: TrainingArguments, state: TrainerState, dataloader: Any) -> int:
    """Forward passes of one process in a training that is not stopped early."""
    accumulated = args.gradient_accumulation_steps
    if not has_length(dataloader):
        return state.max_steps * accumulated
    batches = max(len(dataloader), 1)
    epochs, steps = divmod(state.max_steps, math.ceil(batches / accumulated))  # an epoch's last step may have fewer
    return epochs * batches + steps * accumulated


def _require_regularizer(model: Any) -> Regularizer:
    if (regularizer := get_regularizer(model)) is None:
        raise InputError(
            f"SAFR is not attached to this {type(model).__name__}, so that there are no terms to log; call safr.attach "
            "before the training, or leave RegularizationCallback out"
        )
    return regularizer


@functools.cache
def _log_terms_before_others() -> None:
    """Let transformers add the terms to its logs before any callback reads them.

    The Trainer puts callbacks of its own, such as TensorBoard's, before a user's, and writes its history before all.
    """
    original = CallbackHandler.on_log

    @functools.wraps(original)
    def on_log(
        self: Any,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any],
        **kwargs: Any,
    ) -> Any:
        for callback in self.callbacks:
            if isinstance(callback, RegularizationCallback) and (terms := callback.pop_terms(logs)):
                logs.update(terms)
                state.log_history[-1].update(terms)
        return original(self, args, state, control, logs, **kwargs)

    CallbackHandler.on_log = on_log  # type: ignore[method-assign]
