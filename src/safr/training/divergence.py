"""Stops a training whose loss is no longer a number, without stopping a GPU to look in every step."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import EvalPrediction, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from safr.config import Recipe
from safr.data import TextDataset
from safr.errors import InputError
from safr.evaluation.answering import compute_answer_metrics
from safr.evaluation.generation import compute_generation_metrics
from safr.evaluation.tagging import compute_tag_metrics
from safr.evaluation.task_metrics import compute_dev_metrics
from safr.inference import read_labels
from safr.training.distributed import take_minimum

CHECK_INTERVAL = 100
"""Steps after which the device is asked whether the loss was always finite; it is asked at an epoch's end too."""


class DivergenceError(InputError):
    """Training diverged; going on would only repeat it."""


class DivergenceCheck(TrainerCallback):
    """Raises a DivergenceError that names the first step whose loss was not finite."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.first_bad_step: Tensor | None = None
        """On the model's device; infinite as long as the loss is finite."""

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Look at the step's loss on the device, and every `CHECK_INTERVAL` steps at the result."""
        terms = list(kwargs["model"].safr.terms.values())
        if terms:
            is_finite = torch.stack([term.float() for term in terms]).isfinite().all()
            bad_step = torch.where(is_finite, torch.inf, float(state.global_step))
            earlier = self.first_bad_step
            self.first_bad_step = bad_step if earlier is None else torch.minimum(earlier, bad_step)
        if state.global_step % CHECK_INTERVAL == 0:
            self._check()

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Look at the result before the epoch is evaluated and saved."""
        self._check()

    def _check(self) -> None:
        # All processes must raise in the same step, or the others would wait for the one that has.
        step = float("inf") if self.first_bad_step is None else float(take_minimum(self.first_bad_step))
        if step < float("inf"):
            raise _make_error(f"the loss is not a finite number from step {step:.0f} on", self.recipe)


def score_dev(prediction: EvalPrediction, recipe: Recipe, data: TextDataset) -> dict[str, float]:
    """The metrics on dev, as the Trainer asks for them; a DivergenceError if a logit is not a number."""
    outputs, labels = prediction.predictions, np.asarray(prediction.label_ids)
    logits = outputs[0] if isinstance(outputs, tuple) else outputs  # of an encoder-decoder, its states come after
    if not np.isfinite(logits).all():
        raise _make_error("the model's logits on the dev split are not finite numbers", recipe)
    if data.task == "generation":
        return compute_generation_metrics(logits)  # what `judge_tokens` has made of them
    if data.task == "token_classification":
        return compute_tag_metrics(logits.astype(np.int64), labels, data.label_names)
    if data.task == "multiple_choice":  # a logit for every choice
        return {"accuracy": float((logits.argmax(axis=-1) == labels).mean())}
    if data.task == "question_answering":
        return compute_answer_metrics(logits.astype(np.int64), labels)
    predictions = read_labels(data.task, torch.from_numpy(logits)).numpy()
    return compute_dev_metrics(data.task, predictions, labels)


def _make_error(what: str, recipe: Recipe) -> DivergenceError:
    return DivergenceError(
        f"training diverged: {what}; train again in another folder with a lower learning_rate (it was "
        f"{recipe.learning_rate:g}) or lower weights of the losses"
    )
