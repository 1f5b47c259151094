"""Trains a model with the Hugging Face Trainer and the paper's recipe, and saves it as a run."""

from __future__ import annotations

import copy
import functools
import json
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from accelerate.data_loader import prepare_data_loader
from datasets import Dataset
from jaxtyping import Float
from safetensors import SafetensorError
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from transformers import (
    DataCollatorForMultipleChoice,
    DataCollatorForSeq2Seq,
    DataCollatorWithPadding,
    EarlyStoppingCallback,
    PreTrainedModel,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)
from transformers.trainer import OPTIMIZER_NAME

from safr.config import Recipe, Settings
from safr.data import Split, TextDataset
from safr.data.batches import TOKENS_PER_BATCH, LengthGroupedSampler
from safr.data.choices import make_choice_dataset, tokenize_choices
from safr.data.targets import IGNORED, make_target_dataset
from safr.data.token_cache import tokenize_dataset
from safr.errors import InputError
from safr.evaluation.generation import judge_tokens
from safr.evaluation.task_metrics import DEV_METRICS, LOWER_IS_BETTER
from safr.inference import finds_answers, is_tagger
from safr.launcher import count_processes, is_first_process
from safr.model.answer_logits import choose_spans, find_asked
from safr.model.attach import parameter_groups
from safr.model.save import save
from safr.processes import name_lost_process, take_over_sharding
from safr.runs import Run, check_is_new, create_run, open_run
from safr.storage import find_disk_error, write_json, write_text
from safr.training.arguments import read_training_arguments
from safr.training.checkpoints import (
    KEPT_CHECKPOINTS,
    CheckpointManifest,
    delete_checkpoints,
    find_last_checkpoint,
    fit_random_state,
    read_final_epoch,
    update_best_checkpoint,
)
from safr.training.distributed import (
    SharedBatches,
    agree_on_errors,
    average_over_processes,
    join_processes,
    run_on_first,
    seed_others,
    take_turns,
)
from safr.training.divergence import DivergenceCheck, DivergenceError, score_dev
from safr.training.prepare import (
    PreparedTraining,
    choose_metric,
    prepare_training,
    record_data,
    tokenize_labels,
)
from safr.training.reporting import (
    LOGGING_STEPS,
    PROJECT,
    TermLogs,
    check_report_to,
    choose_logging_steps,
    prepare_trackers,
)
from safr.training.sharding import gather_state, gather_weights, shard_loaded_state, shard_model
from safr.training.word_history import WordHistoryWriter


def train(
    settings: Settings,
    data: TextDataset,
    output: str | Path,
    *,
    resume: bool = False,
    report_to: str | Sequence[str] = "none",
    callbacks: Sequence[TrainerCallback] = (),
) -> Run:
    """The finished run, whose folder holds the trained model with the weights of the epoch that `kept_epoch` names.

    The same settings on the same machine give the same weights, also if training was stopped and resumed. Settings that
    don't fit the model or the data are refused before anything is written; a lock keeps other processes out of the run.

    Processes that a launcher such as torchrun has started train it together, each on its part of a batch, and all call
    this. The first of them writes the run. They are still connected when it returns. If the launcher is accelerate and
    asks for FSDP2, each holds a part of the weights; what is written is the same.

    Args:
        settings: The model, the data and the recipe.
        data: The data set from `load_data(settings.data)`.
        output: The run's folder, which also holds the checkpoints for resuming.
        resume: Resume the run in `output`, whose settings must be the same.
        report_to: What shows the training's curves: `none`, or any of `tensorboard`, `wandb`, `mlflow` and `trackio`.
            It changes no number, so a resumed run may have another.
        callbacks: More callbacks of the Trainer, such as a progress bar.

    Raises:
        InputError: The folder holds another run, the run to resume has other settings or data, another process works on
            it, the settings don't fit the model, the data, this machine or the launcher, a package that `report_to`
            needs is missing, training diverges, or the disk is full.
    """
    join_processes(settings.recipe)
    run = Run(Path(output))
    with (
        take_over_sharding() as is_sharded,
        name_lost_process(f"continue with `safr train --resume {run.folder}`"),
        ExitStack() as locked,
    ):
        with agree_on_errors():
            trackers = check_report_to(report_to)
            begin = _reopen_run if resume else _begin_run
            prepared = begin(run, settings, data, locked)
        if prepared is not None:
            _train_model(run, prepared, data, trackers, callbacks, is_sharded=is_sharded)
        with agree_on_errors():
            if is_first_process():
                delete_checkpoints(run)  # also those left over if training was killed at its very end
    return run


def _begin_run(run: Run, settings: Settings, data: TextDataset, locked: ExitStack) -> PreparedTraining:
    """The model of a new run, which the first process makes and locks."""
    if is_first_process():
        check_is_new(run)
    prepared = _prepare(settings, data, run)
    if is_first_process():
        locked.enter_context(run.lock())
        was_cut = prepared.settings != settings
        create_run(run.folder, prepared.settings, record_data(data), max_tokens_cut=was_cut)
    return prepared


def _reopen_run(run: Run, settings: Settings, data: TextDataset, locked: ExitStack) -> PreparedTraining | None:
    """The model of a run that was stopped, which the first process locks; None if its training is finished."""
    _check_resumable(run, settings, data)
    if is_first_process():
        locked.enter_context(run.lock())
    if run.is_trained:
        return None
    run.check_divergence()
    run.check_copied()
    return _prepare(run.settings, data, run)


def _check_resumable(run: Run, settings: Settings, data: TextDataset) -> None:
    if not open_run(run.folder).was_made_with(settings):
        raise InputError(
            f"{run.folder}: was made with other settings; continue by --resume alone, or choose another --output"
        )
    run.check_data(data)


def _prepare(settings: Settings, data: TextDataset, run: Run) -> PreparedTraining:
    set_seed(settings.recipe.seed)
    return prepare_training(settings, data, run.folder)


def _train_model(
    run: Run,
    prepared: PreparedTraining,
    data: TextDataset,
    trackers: Sequence[str],
    callbacks: Sequence[TrainerCallback],
    *,
    is_sharded: bool,
) -> None:
    """Train from the last checkpoint on, if there is one, and save the model in the run."""
    settings, model, tokenizer = prepared.settings, prepared.model, prepared.tokenizer
    train_rows, dev = take_turns(lambda: [_tokenize_split(prepared, split, data) for split in (data.train, data.dev)])
    padded_length = settings.max_tokens if settings.regularization.padding == "count" else None
    metric = choose_metric(settings.recipe, data.task)
    # The collator for sequences pads the labels too; at the right, as in evaluation, since positions count from there.
    collate: Any = DataCollatorForSeq2Seq if data.has_string_labels else DataCollatorWithPadding
    collate = DataCollatorForMultipleChoice if data.task == "multiple_choice" else collate
    has_token_labels = data.has_string_labels and data.task != "multiple_choice"
    padder = copy.deepcopy(tokenizer)
    if data.has_string_labels:
        padder.padding_side = "right"
    own_callbacks = [
        EarlyStoppingCallback(settings.recipe.patience),
        DivergenceCheck(settings.recipe),
        _History(run, dict.fromkeys((DEV_METRICS[data.task][0], metric))),
        *([] if is_sharded else [WordHistoryWriter(run, prepared, data)]),
        CheckpointManifest(),
        *([TermLogs()] if trackers else []),
    ]
    logging_steps = choose_logging_steps(settings.recipe, len(data.train))
    arguments = _build_arguments(run, settings, metric, trackers=trackers, logging_steps=logging_steps)
    # A copy that stays on the processor, for the weights at the end.
    whole = copy.deepcopy(model) if is_sharded and is_first_process() else model
    with _name_failed_writes(run), _record_divergence(run), prepare_trackers(run, trackers):
        trainer = _LengthGroupedTrainer(
            model=model,
            args=arguments,
            train_dataset=train_rows,
            eval_dataset=dev.select(np.argsort(dev["length"]), keep_in_memory=True),  # so that little is padded
            data_collator=collate(padder, padding="max_length" if padded_length else True, max_length=padded_length),
            processing_class=tokenizer,
            compute_metrics=functools.partial(score_dev, recipe=settings.recipe, data=data),
            preprocess_logits_for_metrics=_make_token_judge(model) if has_token_labels else None,
            callbacks=[*own_callbacks, *callbacks],
        )
        if data.task == "question_answering":
            trainer.finds_answers = True
            trainer.label_names = ["labels"]
            trainer.model_accepts_loss_kwargs = False  # the loss is a batch's mean, and not over these labels
        if is_sharded:
            trainer.shard()
        trainer.optimizer = _build_optimizer(model, settings.recipe, arguments)
        if settings.recipe.class_weights == "balanced":
            trainer.class_weights = _balance_classes(data).to(trainer.args.device)
        # The Trainer would print its reports; ours come through the callbacks.
        trainer.pop_callback(transformers.PrinterCallback)
        checkpoint, epochs = run_on_first(functools.partial(_find_start, run))
        if epochs is not None:
            trainer.args.num_train_epochs = epochs  # else the Trainer trains for one more epoch before it checks
        seed_others(settings.recipe.seed)
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        with agree_on_errors():  # at its end all have read the best epoch's checkpoint, which may then be deleted
            weights = gather_weights(model) if is_sharded else None
            if is_first_process():
                if weights is not None:
                    whole.load_state_dict(weights)
                save(whole, run.model_folder, tokenizer=tokenizer)


def _find_start(run: Run) -> tuple[Path | None, float | None]:
    """The checkpoint that training goes on from, if any, and its number of epochs if it had ended there."""
    checkpoint = find_last_checkpoint(run)
    if checkpoint is None:
        return None, None
    update_best_checkpoint(checkpoint, run)
    fit_random_state(checkpoint)
    return checkpoint, read_final_epoch(checkpoint)


@contextmanager
def _record_divergence(run: Run) -> Iterator[None]:
    """Leave in the run why its training can't go on."""
    try:
        yield
    except DivergenceError as error:
        if is_first_process():
            write_json(run.divergence_file, {"reason": str(error)})
        raise


@contextmanager
def _name_failed_writes(run: Run) -> Iterator[None]:
    """Turn what the libraries raise where nothing can be written into one line; what is there can be resumed."""
    try:
        yield
    except InputError:
        raise
    except (OSError, RuntimeError, SafetensorError) as error:
        if (number := find_disk_error(error)) is None:
            raise
        raise InputError(
            f"{run.folder}: could not be written ({os.strerror(number)}); make room, then continue with `safr train "
            f"--resume {run.folder}`"
        ) from error


class _LengthGroupedTrainer(Trainer):
    """The Trainer with batches of about equally long texts, and with classes that may count by their weights."""

    class_weights: Float[Tensor, " label"] | None = None
    finds_answers = False
    """Whether the labels are those of `label_asked`, and the model takes an answer's first and last token."""
    is_sharded = False

    def shard(self) -> None:
        """Leave in each process a part of the model; checkpoints are those of the whole one all the same."""
        assert isinstance(self.model, PreTrainedModel)
        shard_model(self.model)
        self.is_sharded = True
        self.is_distributed_loading_by_transformers = True  # else the Trainer would put DistributedDataParallel on it

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """The optimizer, which takes the whole state from a checkpoint also where the model is sharded."""
        optimizer = super().create_optimizer(model)
        if self.is_sharded:
            shard_loaded_state(optimizer)
        return optimizer

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the whole model, to which each process adds its part."""
        if not self.is_sharded:
            super().save_model(output_dir, _internal_call)
            return
        assert self.model is not None
        weights = gather_weights(self.model)
        if self.args.should_save:
            self._save(output_dir, weights)

    @contextmanager
    def _defer_fsdp_gradient_reduction(self) -> Iterator[None]:
        # Not deferred: the whole gradients of what is accumulated would take the memory that the parts save.
        yield

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self.is_sharded:
            state = gather_state(self.optimizer)
            if self.args.should_save:
                torch.save(state, os.path.join(output_dir, OPTIMIZER_NAME))

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Any,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The model's loss, in training with the weighted cross-entropy in place of the plain one."""
        labels = inputs["labels"]
        if self.finds_answers:
            inputs = {name: value for name, value in inputs.items() if name != "labels"}
            inputs["start_positions"], inputs["end_positions"] = find_asked(labels)
        loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        if self.class_weights is not None and model.training:
            logits, weights = outputs["logits"].float(), self.class_weights
            cross_entropy = functools.partial(F.cross_entropy, label_smoothing=self.args.label_smoothing_factor)
            weighted = cross_entropy(logits, labels, weights)
            if count_processes() > 1:  # it is a share of this process's weights, and should be one of the whole batch's
                own = weights[labels].sum()
                weighted = weighted * own / average_over_processes({"weight": own})["weight"]
            loss = loss + weighted - cross_entropy(logits, labels)
        return (loss, outputs) if return_outputs else loss

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> LengthGroupedSampler:
        # The argument lacks the columns that the model does not read, among them the lengths.
        dataset: Any = self.train_dataset
        return LengthGroupedSampler(dataset["length"], self.args.train_batch_size * count_processes())

    def get_train_dataloader(self) -> DataLoader:
        """Batches of about equally long texts; of several processes, each one's part of them."""
        if count_processes() == 1:
            return super().get_train_dataloader()
        sampler = self._get_train_sampler()
        batches = SharedBatches(sampler, sampler.batch_size)
        dataset = self._remove_unused_columns(self.train_dataset, description="training")
        loader = DataLoader(
            dataset,
            batch_sampler=batches,
            collate_fn=self.data_collator,
            pin_memory=self.args.dataloader_pin_memory,
        )
        # They are shared out already, and accelerate would share them out again.
        return prepare_data_loader(
            loader,
            self.args.device,
            num_processes=1,
            process_index=0,
            put_on_device=True,
            non_blocking=self.args.dataloader_pin_memory,
        )


class _History(TrainerCallback):
    """Writes one line per epoch: the mean of every loss term over batches and processes, metrics on dev, seconds."""

    def __init__(self, run: Run, metrics: Iterable[str]) -> None:
        self.run = run
        self.metrics = list(metrics)
        self.sums: dict[str, Tensor] = {}
        self.batches = 0
        self.started = time.monotonic()

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.sums, self.batches, self.started = {}, 0, time.monotonic()

    def on_substep_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._add_terms(kwargs["model"].safr)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._add_terms(kwargs["model"].safr)

    def _add_terms(self, regularizer: Any) -> None:
        """Add the loss terms of the last batch, of which a step may accumulate several."""
        self.batches += 1
        for name, value in regularizer.terms.items():
            # A language model's loss is its share of that of all tokens in the step, which other passes hold too.
            whole = value / regularizer.batch_fraction if name == "task" else value
            self.sums[name] = self.sums.get(name, 0) + whole  # stays on the device: reading it would stop a GPU

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        epoch = round(state.epoch or 0)
        line: dict[str, float] = {"epoch": epoch, "step": state.global_step}
        sums = average_over_processes(self.sums)
        if not is_first_process():
            return
        line |= {name: float(value) / max(self.batches, 1) for name, value in sums.items()}
        line |= {f"dev_{name}": kwargs["metrics"][f"eval_{name}"] for name in self.metrics}
        line["seconds"] = time.monotonic() - self.started
        # A resumed training repeats the epochs after its last checkpoint, so their lines are replaced.
        lines = [row for row in self.run.history if row["epoch"] < epoch] + [line]
        write_text(self.run.history_file, "".join(f"{json.dumps(row)}\n" for row in lines))


def _build_arguments(
    run: Run, settings: Settings, metric: str, *, trackers: Sequence[str] = (), logging_steps: int = LOGGING_STEPS
) -> TrainingArguments:
    recipe, cuda = settings.recipe, torch.cuda.is_available()
    arguments = TrainingArguments(
        output_dir=str(run.checkpoints_folder),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch_size // count_processes(),
        gradient_accumulation_steps=recipe.gradient_accumulation,
        per_device_eval_batch_size=max(TOKENS_PER_BATCH // settings.max_tokens, 1),
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.schedule,
        warmup_steps=recipe.warmup_ratio,  # below 1 it is a share of all steps
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=KEPT_CHECKPOINTS,
        logging_strategy="steps" if trackers else "no",
        logging_steps=logging_steps,  # also without trackers: a resumed training takes it from its checkpoint
        load_best_model_at_end=recipe.kept_epoch == "best",
        metric_for_best_model=metric,
        greater_is_better=metric not in LOWER_IS_BETTER,
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
        report_to=list(trackers) or "none",
        run_name=run.name,
        project=os.environ.get("TRACKIO_PROJECT", PROJECT),
        **read_training_arguments(recipe),
    )
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # of several GPUs the first: the Trainer would use DataParallel, which copies SAFR's hooks
    return arguments


def _tokenize_split(prepared: PreparedTraining, split: Split, data: TextDataset) -> Dataset:
    """The rows that the Trainer reads."""
    model, tokenizer, max_tokens = prepared.model, prepared.tokenizer, prepared.settings.max_tokens
    if data.task == "multiple_choice":
        return make_choice_dataset(tokenize_choices(tokenizer, split, max_tokens))
    if data.has_string_labels:
        shifted = model.can_generate() and not model.config.is_encoder_decoder
        rows = tokenize_labels(model, tokenizer, split, data, max_tokens)
        unread = sum(set(row.labels) == {IGNORED} for row in rows) if data.task == "question_answering" else 0
        if unread:
            part = "train" if split is data.train else "dev"
            warnings.warn(
                f"the answers to {unread:,} of {len(rows):,} questions in {part} are not read, and nothing is learned "
                f"from them; `max_tokens` is {max_tokens}",
                stacklevel=3,
            )
        return make_target_dataset(rows, shifted=shifted)
    return tokenize_dataset(tokenizer, split.texts, split.labels, max_tokens)


def _make_token_judge(model: PreTrainedModel) -> Callable[[Any, Tensor], Tensor]:
    """What the Trainer keeps of the logits on dev: not those of the whole vocabulary for every token."""

    def judge(outputs: Any, labels: Tensor) -> Tensor:
        logits: Tensor = outputs[0] if isinstance(outputs, tuple) else outputs
        if finds_answers(model):
            ends = torch.stack(outputs[:2], dim=-1)
            spans = choose_spans(ends, labels != IGNORED).float()
            return torch.where(ends.isfinite().all(dim=(1, 2))[:, None], spans, torch.nan)
        if is_tagger(model):  # a logit that is no number stays one
            return torch.where(logits.isfinite().all(dim=-1), logits.argmax(dim=-1).float(), torch.nan)
        return judge_tokens(logits, labels, encoder_decoder=model.config.is_encoder_decoder)

    return judge


def _balance_classes(data: TextDataset) -> Float[Tensor, " label"]:
    """Weights by which every class counts the same, by scikit-learn; 1 for a class without training texts."""
    labels = data.train.label_array
    classes = np.unique(labels)
    weights = torch.ones(len(data.label_names))
    weights[classes] = torch.from_numpy(compute_class_weight("balanced", classes=classes, y=labels)).float()
    return weights


def _build_optimizer(
    model: PreTrainedModel, recipe: Recipe, arguments: TrainingArguments
) -> torch.optim.Optimizer | None:
    """The optimizer with the parts' own learning rates; None if there are none, so that the Trainer makes its own."""
    own_rates = recipe.vmask_learning_rate, recipe.embedding_learning_rate
    if own_rates == (None, None):
        return None
    groups = [
        {"params": weights, "lr": group["lr"], "weight_decay": decay}
        for group in parameter_groups(model, recipe.learning_rate, *own_rates)
        for decay in dict.fromkeys((recipe.weight_decay, 0.0))
        if (weights := [w for w in group["params"] if decay == (recipe.weight_decay if w.ndim > 1 else 0.0)])
    ]
    optimizer_class, options = Trainer.get_optimizer_cls_and_kwargs(arguments, model)
    return optimizer_class(groups, **options)
