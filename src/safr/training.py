"""Trains a model with the Hugging Face Trainer and the paper's recipe, and saves it as a run."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from datasets import Dataset
from torch import Tensor
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    EvalPrediction,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils.import_utils import is_torch_bf16_gpu_available

from safr.config import Recipe, Settings
from safr.data import TextDataset
from safr.data.batches import TOKENS_PER_BATCH, LengthGroupedSampler
from safr.data.tokenizer import tokenize_dataset, train_word_tokenizer
from safr.errors import InputError
from safr.model.attach import attach, parameter_groups
from safr.model.save import save
from safr.model.transformer import TransformerConfig, TransformerForSequenceClassification
from safr.runs import Run, create_run, open_run
from safr.storage import write_json, write_text

PAPER_MODEL = "transformer"
"""Value of the `model` setting for the paper's transformer."""


def train(
    settings: Settings,
    data: TextDataset,
    output: str | Path,
    *,
    resume: bool = False,
    callbacks: Sequence[TrainerCallback] = (),
) -> Run:
    """The finished run, whose folder holds the trained model with the weights of the epoch that `kept_epoch` names.

    The same settings on the same machine give the same weights, also if training was stopped and resumed.

    Args:
        settings: The model, the data and the recipe.
        data: The data set from `load_data(settings.data)`.
        output: The run's folder, which also holds the checkpoints for resuming.
        resume: Resume the run in `output`, whose settings must be the same.
        callbacks: More callbacks of the Trainer, such as a progress bar.

    Raises:
        InputError: The folder holds another run, the run to resume has other settings or data, or this machine doesn't
            support the precision in the settings.
    """
    if resume and (run := _open_to_resume(output, settings, data)).is_trained:
        shutil.rmtree(run.checkpoints_folder, ignore_errors=True)  # left over if training was killed at its very end
        return run
    _require_precision(settings.recipe)
    set_seed(settings.recipe.seed)
    tokenizer = _load_tokenizer(settings, data)
    model = _build_model(settings, tokenizer, data.label_names)
    attach(model, settings.regularization, tokenizer=tokenizer)
    if not resume:  # not earlier, so that a mistake in the settings leaves no folder behind
        run = create_run(output, settings, _describe_data(data))
    dev = tokenize_dataset(tokenizer, data.dev.texts, data.dev.labels, settings.max_tokens)
    padded_length = settings.max_tokens if settings.regularization.padding == "count" else None
    history = _History(run)
    trainer = _LengthGroupedTrainer(
        model=model,
        args=_build_arguments(run, settings),
        train_dataset=tokenize_dataset(tokenizer, data.train.texts, data.train.labels, settings.max_tokens),
        eval_dataset=dev.select(np.argsort(dev["length"]), keep_in_memory=True),  # by length, so that little is padded
        data_collator=DataCollatorWithPadding(
            tokenizer, padding="max_length" if padded_length else True, max_length=padded_length
        ),
        processing_class=tokenizer,
        compute_metrics=_compute_accuracy,
        callbacks=[EarlyStoppingCallback(settings.recipe.patience), history, *callbacks],
        optimizers=(_build_optimizer(model, settings.recipe), None),
    )
    # The Trainer would print its reports; ours come through the callbacks.
    trainer.pop_callback(transformers.PrinterCallback)
    checkpoint = _find_last_checkpoint(run)
    if checkpoint is not None:
        _update_best_checkpoint(checkpoint, run)
    if checkpoint is not None and (epochs := _read_final_epoch(checkpoint)) is not None:
        trainer.args.num_train_epochs = epochs  # else the Trainer trains for one more epoch before it checks
    trainer.train(resume_from_checkpoint=checkpoint)
    save(model, run.model_folder.with_name(".model"), tokenizer=tokenizer)
    run.model_folder.with_name(".model").replace(run.model_folder)
    shutil.rmtree(run.checkpoints_folder, ignore_errors=True)
    return run


class _LengthGroupedTrainer(Trainer):
    """The Trainer with batches of about equally long texts."""

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> LengthGroupedSampler:
        # The argument lacks the columns that the model does not read, among them the lengths.
        dataset: Any = self.train_dataset
        return LengthGroupedSampler(dataset["length"], self.args.train_batch_size)


class _History(TrainerCallback):
    """Writes one line per epoch: the mean of every loss term, the dev accuracy and the seconds."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.sums: dict[str, Tensor] = {}
        self.steps = 0
        self.started = time.monotonic()

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.sums, self.steps, self.started = {}, 0, time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.steps += 1
        for name, value in kwargs["model"].safr.terms.items():
            self.sums[name] = self.sums.get(name, 0) + value  # stays on the device: reading it would stop a GPU

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        epoch = round(state.epoch or 0)
        line: dict[str, float] = {"epoch": epoch, "step": state.global_step}
        line |= {name: float(value) / max(self.steps, 1) for name, value in self.sums.items()}
        line |= {"dev_accuracy": kwargs["metrics"]["eval_accuracy"], "seconds": time.monotonic() - self.started}
        # A resumed training repeats the epochs after its last checkpoint, so their lines are replaced.
        lines = [row for row in self.run.history if row["epoch"] < epoch] + [line]
        write_text(self.run.history_file, "".join(f"{json.dumps(row)}\n" for row in lines))


def _open_to_resume(output: str | Path, settings: Settings, data: TextDataset) -> Run:
    run = open_run(output)
    if run.settings != settings:
        raise InputError(
            f"{run.folder}: was made with other settings; go on by --resume alone, or choose another --output"
        )
    run.check_data(data)
    return run


def _require_precision(recipe: Recipe) -> None:
    # Without an accelerator the processor trains, and every processor supports bfloat16.
    if recipe.precision == "bfloat16" and torch.accelerator.is_available() and not is_torch_bf16_gpu_available():
        raise InputError("`precision='bfloat16'` needs a GPU that computes with it, and this one can't; use float32")


def _describe_data(data: TextDataset) -> dict[str, Any]:
    return {
        "name": data.name,
        "origin": data.origin,
        "fingerprint": data.fingerprint(),
        "sizes": {split: len(getattr(data, split).texts) for split in ("train", "dev", "test")},
        "labels": list(data.label_names),
        "mended": data.cleaned,
        "duplicates": data.duplicates.to_dict(),
    }


def _load_tokenizer(settings: Settings, data: TextDataset) -> PreTrainedTokenizerBase:
    if settings.model == PAPER_MODEL:
        return train_word_tokenizer(data.train.texts)
    tokenizer = _load_pretrained(AutoTokenizer, settings.model)
    if tokenizer.pad_token is None:  # as in a language model; the attention mask tells padding from the end of a text
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    return tokenizer


def _build_model(settings: Settings, tokenizer: PreTrainedTokenizerBase, label_names: Sequence[str]) -> PreTrainedModel:
    labels = dict(enumerate(label_names))
    names: dict[str, Any] = {"id2label": labels, "label2id": {name: number for number, name in labels.items()}}
    if settings.model != PAPER_MODEL:
        model = _load_pretrained(AutoModelForSequenceClassification, settings.model, **names)
        if model.config.pad_token_id is None:  # the model needs it to find a text's last token, which it classifies
            model.config.pad_token_id = tokenizer.pad_token_id
        return model
    size = settings.architecture
    config = TransformerConfig(
        vocab_size=len(tokenizer),
        hidden_size=size.width,
        num_hidden_layers=size.hidden_layers,
        num_attention_heads=size.heads,
        intermediate_size=size.feed_forward,
        dropout=size.dropout,
        pad_token_id=tokenizer.pad_token_id,
        padded_length=settings.max_tokens if settings.regularization.padding == "count" else None,
        **names,
    )
    return TransformerForSequenceClassification(config)


def _load_pretrained(auto_class: Any, name: str, **options: Any) -> Any:
    try:
        return auto_class.from_pretrained(name, **options)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"model '{name}': expected '{PAPER_MODEL}', a folder or a hub name ({reason})") from error


def _build_arguments(run: Run, settings: Settings) -> TrainingArguments:
    recipe, cuda = settings.recipe, torch.cuda.is_available()
    return TrainingArguments(
        output_dir=str(run.checkpoints_folder),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch_size,
        per_device_eval_batch_size=max(TOKENS_PER_BATCH // settings.max_tokens, 1),
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.schedule,
        weight_decay=0.0,  # without weight decay AdamW equals the Adam of the published code
        max_grad_norm=0.0,  # 0 means no clipping, as in the published code
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,  # besides the best one, if that is kept
        logging_strategy="no",
        load_best_model_at_end=recipe.kept_epoch == "best",
        metric_for_best_model="accuracy",
        greater_is_better=True,
        restore_callback_states_from_checkpoint=True,
        seed=recipe.seed,
        data_seed=recipe.seed,
        bf16=recipe.precision == "bfloat16",  # autocast: the weights stay float32
        use_cpu=not torch.accelerator.is_available(),  # without this the Trainer refuses bf16 on a processor
        # A batch is copied to the GPU while the GPU still computes the previous step.
        dataloader_pin_memory=cuda,
        accelerator_config={"non_blocking": cuda},
        logging_nan_inf_filter=False,  # it would read the loss in every step, which stops a GPU
        disable_tqdm=True,
        report_to="none",
    )


def _build_optimizer(model: PreTrainedModel, recipe: Recipe) -> torch.optim.Optimizer | None:
    """Adam with a separate learning rate for VMASK; None if there is none, so that the Trainer makes its own."""
    if recipe.vmask_learning_rate is None:
        return None
    groups = parameter_groups(model, recipe.learning_rate, recipe.vmask_learning_rate)
    return torch.optim.AdamW(groups, weight_decay=0.0, fused=True)  # fused, like the Trainer's own


def _compute_accuracy(prediction: EvalPrediction) -> dict[str, float]:
    return {"accuracy": float(np.mean(np.argmax(prediction.predictions, axis=-1) == prediction.label_ids))}


def _find_last_checkpoint(run: Run) -> str | None:
    """The newest complete checkpoint, or None; one that was being written when training stopped is deleted."""
    while run.checkpoints_folder.is_dir():
        newest = get_last_checkpoint(str(run.checkpoints_folder))
        if newest is None or _is_whole(newest):
            return newest
        shutil.rmtree(newest)
    return None


def _read_final_epoch(checkpoint: str) -> float | None:
    """Number of epochs of a training that had ended at this checkpoint, as by early stopping; None if it had not."""
    state = _read_trainer_state(checkpoint)
    has_ended = state["stateful_callbacks"]["TrainerControl"]["args"]["should_training_stop"]
    return state["epoch"] if has_ended else None


def _update_best_checkpoint(checkpoint: str, run: Run) -> None:
    """Write the current path of the best checkpoint into a checkpoint, since the run's folder may have moved.

    If the Trainer does not find the best checkpoint, it silently keeps the last weights.

    Raises:
        InputError: The best checkpoint is gone.
    """
    state = _read_trainer_state(checkpoint)
    if not (old_path := state["best_model_checkpoint"]):
        return
    best = run.checkpoints_folder / Path(old_path).name
    if not best.is_dir():
        raise InputError(f"{best}: expected the best epoch's checkpoint, it is gone; train again in another folder")
    write_json(Path(checkpoint) / "trainer_state.json", state | {"best_model_checkpoint": str(best)})


def _is_whole(checkpoint: str) -> bool:
    try:
        _read_trainer_state(checkpoint)
    except (OSError, ValueError):
        return False
    return True


def _read_trainer_state(checkpoint: str) -> dict[str, Any]:
    """State of the Trainer, which is the last file that it writes to a checkpoint."""
    state: dict[str, Any] = json.loads((Path(checkpoint) / "trainer_state.json").read_text(encoding="utf-8"))
    return state
