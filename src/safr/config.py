"""The settings: frozen dataclasses that are the command line's options and what a run saves as JSON.

Imports no torch, so that `safr --help` answers at once.
"""

from __future__ import annotations

import ast
import inspect
import json
import shlex
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from functools import cache, cached_property
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from safr.errors import InputError, describe_value

Class = TypeVar("Class")

Layers = Literal["all"] | int | tuple[int, ...]

Task = Literal[
    "classification",
    "multi_label",
    "regression",
    "generation",
    "token_classification",
    "question_answering",
    "multiple_choice",
]
"""What a model says about a text: its one class, each of the classes that fit it, a number, how it goes on, a tag for
each of its words, where in it the answer to a question stands, or which choice is right."""

QUESTION_TASKS: tuple[Task, ...] = ("question_answering", "multiple_choice")
"""Tasks whose texts are pairs of a question with its text or its choices, and whose answer a model finds or picks."""

ReportTo = Literal["none", "tensorboard", "wandb", "mlflow", "trackio"]
"""What shows a training's curves beside the run's own history. It changes no number, so it is no setting."""

SAFR_LOSSES = ("importance", "interaction", "information")
"""SAFR's own losses, each with a weight of the same name."""

PAPER_MODEL = "transformer"
"""Name of the paper's transformer, which is trained from scratch."""

_PAPER_DATA = ("sst2_paper", "imdb")
_PAIR_DATA = ("planted_pairs",)
_MOST_WEIGHTS = 10**11  # of the paper's transformer's layers; no machine trains more


class _DocWithFields:
    """A docstring that also describes the fields, so that `help` shows them; it is made when it is first read.

    The descriptions stand as strings under the fields, where `help` does not look. Python keeps them in the source
    alone; reading that takes longer than importing this file, so it waits until somebody asks.
    """

    def __init__(self, summary: str) -> None:
        self.summary = summary

    def __get__(self, instance: object, owner: type) -> str:
        lines = [f"    {name}: {text}" for name, text in describe_fields(owner).items()]
        return "\n".join([self.summary, "", "Attributes:", *lines]) if lines else self.summary


def _document_fields(cls: type[Class]) -> type[Class]:
    """A class whose docstring describes its fields too."""
    cls.__doc__ = _DocWithFields(cls.__doc__ or "")  # type: ignore[assignment]
    return cls


@cache
def describe_fields(cls: type) -> dict[str, str]:
    """Each field's description, by its name; empty where the source is not at hand.

    >>> describe_fields(Architecture)["heads"]
    'Attention heads of a layer; must divide the width.'
    """
    try:
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    except (OSError, TypeError):
        return {}
    assert isinstance(definition, ast.ClassDef)
    descriptions = {}
    for field_line, text in zip(definition.body, definition.body[1:], strict=False):
        match field_line, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(description))):
                descriptions[name] = " ".join(description.split())
    return descriptions


@_document_fields
@dataclass(frozen=True)
class Regularization:
    """What SAFR adds to a model: the word mask and the two losses (Chang et al. 2025, section 3)."""

    importance: float = 0.1
    """Weight of the importance loss (lambda_Imp): important tokens get directions of their own."""

    interaction: float = 0.1
    """Weight of the interaction loss (lambda_Inter): strongly attending tokens share directions."""

    information: float = 0.0
    """Weight of VMASK's information term (beta in Chen and Ji 2020), the negative entropy of the keep probabilities."""

    vmask: bool = True
    """Put the variational word mask on the embeddings. Without it the importance loss reads the embeddings."""

    vmask_width: int = 1024
    """Hidden width of VMASK's network."""

    vmask_keep: float | None = None
    """Keep probability that VMASK starts with. Default: 0.97 on pretrained weights, else the paper's, about 0.5."""

    whole_words: bool = False
    """Let the sub-word pieces of a word share one sample of the mask."""

    layers: Layers = "all"
    """Layers that the losses read: all, one (negative numbers count from the last), or several."""

    importance_sites: str | tuple[str, ...] = "auto"
    """Sites that the importance loss reads: `vmask`, `fc1` at the chosen layers, `fc1.3`, `fc1_out`, or several.
    `auto`: `vmask` as in the paper in a model trained from scratch; on pretrained weights FC1 of the upper half of
    the chosen layers, scale-free, weighted by attention."""

    # Differs from the paper: token weighting lets tokens above their text's mean have directions of their own and
    # those below it share. It is for pretrained weights, whose embeddings the loss should not pull apart.
    token_weighting: Literal["auto", "equal", "keep", "attention"] = "auto"
    """How much each token counts in the importance loss. `equal`: all the same, as in the paper, and the default for
    sites that you name. `keep` and `attention`: by how much its keep probability, or the attention that it receives at
    the site's layer, is above the mean of its text; tokens below the mean are pushed to share directions."""

    site: str = "auto"
    """Site whose capacity explains a prediction. `auto`: the second to last FC1 that the importance loss reads, or the
    only one; if it reads none, the FC1 of the first layer, as in the paper."""

    fc1: str | None = None
    """Wildcard for the module paths of the first feed-forward layers, in a model whose family is not known."""

    # Differs from the paper: padding never counts. The published code counts it in every sum and mean.
    padding: Literal["mask", "count"] = "mask"
    """Whether padding counts in the losses and under VMASK. `count`: as in the authors' published code; `mask`:
    never."""

    scale_free: bool | None = None
    """Let the importance loss measure the share of its own direction that a token loses to others, which does not
    depend on the length of the vectors. Default: on if tokens are weighted."""

    interaction_estimator: Literal["auto", "exact", "probes"] = "auto"
    """How the interaction loss is computed. `exact`: the cost grows with the cube of a text's length. `probes`:
    estimated without bias by 8 random vectors for each head. `auto`: exactly up to 128 tokens. For longer texts each
    training step draws some heads and texts: up to 256 tokens a quarter of the heads, up to 1024 an eighth of the heads
    in a quarter of the texts, and above that a quarter of the heads by probes."""

    interaction_heads: int | None = None
    """How many heads of each layer the interaction loss reads in a training step; they are drawn anew each time.
    Default: as `interaction_estimator` says."""

    interaction_layers: int | None = None
    """How many of the chosen layers the interaction loss reads in a training step; they are drawn anew each time.
    Default: all."""

    neuron_losses: tuple[str, ...] | None = None
    """Other published losses, on the activations of FC1 (site `fc1_out`) at the chosen layers, as NAME=WEIGHT, as in
    `l1=0.01 decorrelation=0.1`: `l1`, `l1_l2`, `decorrelation`, `token_entropy`, `monosemanticity`, or your own from
    `safr.losses.NEURON_LOSSES`. Default: none."""

    top_k: int | None = None
    """How many neurons of FC1 stay active for a token at the chosen layers: those that are largest in magnitude. The
    others are set to 0, but their gradients are as if they were not. This changes the architecture; `detach` undoes it.
    Default: all."""

    neuron_dropout: float = 0.0
    """Probability that a neuron of FC1 is set to 0 for a token in training, at the chosen layers."""

    exclude_self: bool = False
    """Leave a token's interference with itself out of the interaction loss, as the authors' published code does."""

    warmup_steps: int | None = None
    """Forward passes in training over which the loss weights rise linearly from 0 to their full size. Default: none
    from scratch; on pretrained weights, whose new classifier needs time to adapt, 200, or a tenth of a training that
    has no more than 200."""

    def __post_init__(self) -> None:
        _check_types(self)
        if self.neuron_losses is not None:  # so that equal settings are written alike
            object.__setattr__(self, "neuron_losses", _write_neuron_losses(self.neuron_losses))
        _check_ranges(self)
        if self.information and not self.vmask:
            raise InputError("`information` needs `vmask`, since it is the mask's own loss; leave it at 0")
        if self.token_weighting == "keep" and not self.vmask:
            raise InputError("`token_weighting='keep'` needs `vmask`, which gives the keep probabilities")
        if self.token_weighting in ("keep", "attention") and self.scale_free is False:
            raise InputError(
                "`token_weighting` needs `scale_free`: without it, vectors that grow would lower the loss for ever"
            )

    @cached_property  # read in each forward pass
    def neuron_loss_weights(self) -> dict[str, float]:
        """The weights of `neuron_losses`, by name."""
        return _parse_neuron_losses(self.neuron_losses or ())

    @cached_property
    def loss_weights(self) -> dict[str, float]:
        """The weights of all losses that are not 0, by name.

        >>> Regularization(interaction=0, neuron_losses=("l1=0.01",)).loss_weights
        {'importance': 0.1, 'l1': 0.01}
        """
        own = {name: getattr(self, name) for name in SAFR_LOSSES}
        return {name: weight for name, weight in own.items() if weight} | self.neuron_loss_weights

    @property
    def gates_neurons(self) -> bool:
        """Whether neurons of FC1 are set to 0, by `top_k` or `neuron_dropout`."""
        return bool(self.top_k or self.neuron_dropout)


@_document_fields
@dataclass(frozen=True)
class Architecture:
    """The paper's transformer (Chang et al. 2025, section 4 and Table 5; heads and dropout from the authors' code)."""

    hidden_layers: int = 1
    """Number of transformer layers."""

    width: int = 256
    """Width of the embeddings and of the residual stream."""

    heads: int = 8
    """Attention heads of a layer; must divide the width."""

    feed_forward: int = 1024
    """Width of the first feed-forward layer, FC1."""

    dropout: float = 0.1
    """Dropout probability."""

    def __post_init__(self) -> None:
        _check_types(self)
        _check_ranges(self)
        if self.width % self.heads:
            raise InputError(f"`heads` must divide `width`, got {self.heads} and {self.width}; try {_divisor(self)}")
        if self.width % 2:
            raise InputError(f"`width` must be even for the sinusoidal positions, got {self.width}")
        weights = self.hidden_layers * self.width * (4 * self.width + 2 * self.feed_forward)
        if weights > _MOST_WEIGHTS:
            raise InputError(
                f"`hidden_layers`, `width` and `feed_forward` ask for {weights:,} weights, and at most "
                f"{_MOST_WEIGHTS:,} can be trained; give smaller ones"
            )


@_document_fields
@dataclass(frozen=True)
class Recipe:
    """How a model is trained.

    Defaults are the paper's, from the authors' published code, except for `patience` and `kept_epoch`.
    """

    # Differs from the paper: recipe, of which the paper says little. What it leaves open is the published code's.
    seed: int = 0
    """Seed of the weights, the order of the texts, dropout and the mask's samples."""

    epochs: int = 100
    """Largest number of epochs."""

    # Differs from the paper: patience, which is 3 in the published code. The dev accuracy of 825 sentences moves by 1.6
    # points by chance, and with padding masked that ended a training 5 points of dev accuracy before its best.
    patience: int = 8
    """Epochs without a better dev accuracy after which training stops."""

    # Differs from the paper: kept epoch, which is the last in the published code, since it keeps references to the
    # live weights where it means to keep the best.
    kept_epoch: Literal["best", "last"] = "best"
    """Which epoch's weights are kept: the one with the best dev accuracy, or the last one, as in the published code. If
    dev accuracy stays level while the losses still fall, which epoch is the best is a matter of chance."""

    metric: Literal[
        "auto",
        "accuracy",
        "macro_f1",
        "micro_f1",
        "balanced_accuracy",
        "mae",
        "rmse",
        "spearman",
        "perplexity",
        "token_accuracy",
        "exact_match",
        "entity_f1",
        "answer_f1",
    ] = "auto"
    """Metric on dev by which the best epoch is chosen and `patience` counts. `auto`: accuracy; for numbers the mean
    absolute error, `mae`; for written text `perplexity`; for tags `macro_f1` over all words; for answers
    `exact_match`."""

    batch_size: int = 32
    """Texts in a batch, over all processes together."""

    learning_rate: float = 1e-4
    """Learning rate of Adam."""

    gradient_accumulation: int = 1
    """How many batches' gradients are added up before a step of the optimizer."""

    schedule: Literal[
        "constant",
        "linear",
        "cosine",
        "cosine_with_restarts",
        "polynomial",
        "inverse_sqrt",
        "constant_with_warmup",
    ] = "constant"
    """How the learning rate changes, by the Trainer's names: constant as in the published code, linear to 0 over all
    epochs, ..."""

    warmup_ratio: float = 0.0
    """Share of the steps over which the learning rate rises from 0, in schedules other than `constant`."""

    weight_decay: float = 0.0
    """Weight decay of AdamW, for matrices and embeddings. With 0 AdamW is the Adam of the published code."""

    max_grad_norm: float = 0.0
    """Norm that gradients are clipped to. With 0, as in the published code, they are not clipped."""

    class_weights: Literal["equal", "balanced"] = "equal"
    """What counts the same in the loss. `equal`: every text; `balanced`: every class, however rare it is."""

    vmask_learning_rate: float | None = None
    """Learning rate of the mask's own weights. Default: `learning_rate`."""

    embedding_learning_rate: float | None = None
    """Learning rate of the token embeddings. In a model trained from scratch on few texts a higher one helps: the
    embedding of a word that is seen ten times moves ten times. Default: `learning_rate`."""

    max_tokens: int | None = None
    """How many tokens of each text are read. Default: 256 for IMDB, 384 for a question with the text that answers it,
    and otherwise 128, as in the authors' published code."""

    precision: Literal["float32", "bfloat16"] = "float32"
    """Number type of the training. `bfloat16` uses autocast: the weights and SAFR's losses stay in float32."""

    training_arguments: tuple[str, ...] | None = None
    """Any other `TrainingArguments` of the Hugging Face Trainer as NAME=VALUE, such as
    `optim=adafactor label_smoothing_factor=0.1`; on the command line also a YAML file. Arguments that SAFR has an
    option for are refused."""

    def __post_init__(self) -> None:
        _check_types(self)
        if self.training_arguments is not None:  # so that equal settings are written alike
            arguments = write_training_arguments(parse_training_arguments(self.training_arguments))
            object.__setattr__(self, "training_arguments", arguments)
        _check_ranges(self)
        if self.warmup_ratio and self.schedule == "constant":
            raise InputError("`warmup_ratio` needs a schedule that rises first; choose constant_with_warmup")


@_document_fields
@dataclass(frozen=True)
class Settings:
    """Everything that decides what a run computes."""

    data: str = "rotten_tomatoes"
    """A known name (see `safr data`), the path of a file or folder, `hub:NAME` or `hub:NAME:CONFIGURATION`."""

    text_column: str | tuple[str, ...] = "text"
    """Column that holds the text, for data of your own, or the two columns of a pair, as in `premise hypothesis`. For
    multiple choice: the column of the question, and one column for each choice or one with a list of them."""

    label_column: str | tuple[str, ...] = "label"
    """Column that holds the label, for data of your own, or several columns of 0 and 1, one for each class."""

    task: Literal["auto"] | Task = "auto"
    """What the labels are. `classification`: one class for each text. `multi_label`: any number of classes, as a list,
    as names joined by `;` or in several columns. `regression`: a number. `generation`: a text that the model is to
    write; with a .txt file, or the same column for text and label, it is the text itself. `token_classification`: a tag
    for each word, as two lists or a .conll file. `question_answering`: the answers to a question and their places in a
    text, in columns like those of SQuAD or a .json file. `multiple_choice`: the right one of several choices. `auto`:
    guessed from the labels."""

    drop_duplicates: bool = False
    """Remove from train the texts that are also in dev or test, and from dev those that are also in test."""

    model: str = PAPER_MODEL
    """The paper's transformer, trained from scratch, or the folder or hub name of a pretrained model to fine-tune."""

    # Differs from the paper: tokenizer, which is `words` there and for its own data sets here.
    tokenizer: Literal["auto", "subwords", "words"] = "auto"
    """How the paper's transformer reads texts; a pretrained model brings its own tokenizer. `subwords`: in lower case
    and separated from punctuation, so that no word is unknown. `words`: split at white space and with their case; words
    that occur only once in the training texts are unknown, as in the authors' published code. `auto`: `words` for the
    paper's own data sets, `sst2_paper` and `imdb`, otherwise `subwords`."""

    regularization: Regularization = field(default_factory=Regularization)
    """What SAFR adds."""

    architecture: Architecture = field(default_factory=Architecture)
    """Size of the paper's transformer; a pretrained model has its own."""

    recipe: Recipe = field(default_factory=Recipe)
    """How it is trained."""

    def __post_init__(self) -> None:
        _check_types(self)
        for name in ("text_column", "label_column"):
            columns = getattr(self, name)
            if isinstance(columns, tuple) and len(columns) == 1:
                object.__setattr__(self, name, columns[0])  # so that equal settings are written alike
        if len(self.text_columns) > 2 and self.task != "multiple_choice":
            raise InputError(f"`text_column` must be one column or the two of a pair, got {len(self.text_columns)}")

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The columns of the text, two for a pair."""
        return (self.text_column,) if isinstance(self.text_column, str) else self.text_column

    @property
    def has_pairs(self) -> bool:
        """Whether the texts are pairs."""
        return len(self.text_columns) == 2 or self.data in _PAIR_DATA

    @property
    def label_columns(self) -> tuple[str, ...]:
        """The columns of the label, several where each is a class."""
        return (self.label_column,) if isinstance(self.label_column, str) else self.label_column

    @property
    def max_tokens(self) -> int:
        """Tokens kept of each text."""
        if self.recipe.max_tokens:
            return self.recipe.max_tokens
        if self.task == "question_answering" or self.data.lower().endswith((".json", ".json.gz")):
            return 384
        return 256 if self.data in ("imdb", "imdb_train") else 128

    @property
    def reads_words(self) -> bool:
        """Whether the paper's transformer reads whole words, and no sub-words."""
        return self.tokenizer == "words" or (self.tokenizer == "auto" and self.data in _PAPER_DATA)

    @property
    def command(self) -> str:
        """The command that repeats a run with these settings.

        >>> Settings(data="sst2", regularization=Regularization(vmask=False)).command
        'safr train --data sst2 --no-vmask'
        """
        options, defaults = _options(self), _options(Settings())
        return shlex.join(
            ["safr", "train", *(word for name in options if options[name] != defaults[name] for word in options[name])]
        )

    @property
    def data_options(self) -> list[str]:
        """The options that say which data these are and how they are read."""
        names = ("data", "text_column", "label_column", "task", "drop_duplicates", "max_tokens")
        options, defaults = _options(self), _options(Settings())
        return [word for name in names if name == "data" or options[name] != defaults[name] for word in options[name]]

    def get(self, name: str) -> Any:
        """A setting by the name that the command line gives it."""
        return getattr(getattr(self, _PART[name]), name) if name in _PART else getattr(self, name)

    def changed(self, **values: Any) -> Settings:
        """The same settings but for some, by the names that the command line gives them.

        >>> Settings().changed(importance=1.0, seed=3).recipe.seed
        3
        """
        own: dict[str, Any] = {}
        parts: dict[str, dict[str, Any]] = {}
        for name, value in values.items():
            if name in _PART:
                parts.setdefault(_PART[name], {})[name] = value
            else:
                own[name] = value
        return replace(
            self, **own, **{part: replace(getattr(self, part), **changes) for part, changes in parts.items()}
        )

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Settings:
        """The settings that `to_dict` wrote, also after a round through JSON."""
        return _from_dict(cls, values)


@_document_fields
@dataclass(frozen=True)
class ModelData:
    """Data for judging a model that is not a run; a run knows its own data."""

    data: str | None = None
    """For a model that is not a run: a known name (see `safr data`), the path of a file or folder, or `hub:NAME`."""

    text_column: str | tuple[str, ...] = "text"
    """Column that holds the text, or the two columns of a pair."""

    label_column: str | tuple[str, ...] = "label"
    """Column that holds the label, or several columns of 0 and 1, one for each class."""

    task: Literal["auto"] | Task = "auto"
    """What the model says about a text, if its config does not say so."""

    max_tokens: int | None = None
    """How many tokens of each text are read. Default: as in training, but no more than the model reads."""

    def __post_init__(self) -> None:
        _check_types(self)
        if self.data is None and any(getattr(self, setting.name) != setting.default for setting in fields(self)):
            raise InputError("these options describe the data of a model that is not a run; add --data")

    def get_settings(self, model: str) -> Settings:
        """Settings that name the model and its data."""
        if self.data is None:
            raise InputError(f"{model}: is a model, not a run; name the data to judge it on by --data FILE")
        return Settings(
            data=self.data,
            text_column=self.text_column,
            label_column=self.label_column,
            task=self.task,
            model=model,
            recipe=Recipe(max_tokens=self.max_tokens),
        )


PRESETS: dict[str, dict[str, Any]] = {
    "best": {
        "importance": 0.3,
        "interaction": 0.1,
        "vmask_keep": 0.9,
        "padding": "count",
        "max_tokens": 64,
        "learning_rate": 3e-4,
        "schedule": "linear",
        "epochs": 15,
        "patience": 15,
        "kept_epoch": "last",
    }
}
"""Settings by name. `best`: what was found on the dev split of SST-2 (experiments/trials.md), for sentences and the
paper's transformer; texts are read up to 64 tokens and padded to as many, so that longer ones want a `max_tokens`
beside it."""

_PART = {
    setting.name: part
    for part, kind in (("regularization", Regularization), ("architecture", Architecture), ("recipe", Recipe))
    for setting in fields(kind)
}
"""Which part of the settings holds a setting."""


RENAMED_SETTINGS = {"importance_at": "importance_sites", "importance_weights": "token_weighting"}
"""Settings that had another name once; the old one is still read in saved files, in plans and on the command line."""


def use_current_names(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same settings by the names that they have now.

    Raises:
        InputError: One is given by its old name and by its new one.

    >>> use_current_names({"importance_at": "fc1", "seed": 1})
    {'importance_sites': 'fc1', 'seed': 1}
    """
    if twice := [name for name in RENAMED_SETTINGS if name in values and RENAMED_SETTINGS[name] in values]:
        raise InputError(f"`{twice[0]}` is the old name of `{RENAMED_SETTINGS[twice[0]]}`; give one of them")
    return {RENAMED_SETTINGS.get(name, name): value for name, value in values.items()}


_OPTION_OF_ARGUMENT = {
    "output_dir": "--output",
    "num_train_epochs": "--epochs",
    "max_steps": "--epochs",
    "per_device_train_batch_size": "--batch-size",
    "auto_find_batch_size": "--batch-size",
    "gradient_accumulation_steps": "--gradient-accumulation",
    "learning_rate": "--learning-rate",
    "lr_scheduler_type": "--schedule",
    "warmup_steps": "--warmup-ratio",
    "warmup_ratio": "--warmup-ratio",
    "weight_decay": "--weight-decay",
    "max_grad_norm": "--max-grad-norm",
    "seed": "--seed",
    "data_seed": "--seed",
    "bf16": "--precision",
    "fp16": "--precision",
    "bf16_full_eval": "--precision",
    "fp16_full_eval": "--precision",
    "load_best_model_at_end": "--kept-epoch",
    "metric_for_best_model": "--metric",
    "greater_is_better": "--metric",
    "report_to": "--report-to",
    "run_name": "--output",
    "project": "--report-to",
    "resume_from_checkpoint": "--resume",
}
"""Training arguments that `safr train` has an option for."""

_OWN_ARGUMENTS = (
    *("eval_strategy", "eval_steps", "eval_delay", "eval_on_start", "per_device_eval_batch_size"),
    *("prediction_loss_only", "eval_do_concat_batches", "eval_use_gather_object", "batch_eval_metrics"),
    *("include_for_metrics", "save_strategy", "save_steps", "save_total_limit", "save_only_model", "save_on_each_node"),
    *("enable_jit_checkpoint", "ignore_data_skip", "restore_callback_states_from_checkpoint"),
    *("logging_strategy", "logging_steps", "logging_first_step", "logging_nan_inf_filter", "log_on_each_node"),
    *("log_level", "log_level_replica", "disable_tqdm", "use_cpu", "accelerator_config", "dataloader_pin_memory"),
    *("dataloader_drop_last", "debug"),
    *("remove_unused_columns", "label_names", "train_sampling_strategy", "group_by_length", "length_column_name"),
    *("push_to_hub", "hub_token", "hub_private_repo", "hub_model_id", "hub_strategy", "hub_always_push"),
    *("hub_revision", "trackio_space_id", "trackio_bucket_id", "trackio_static_space_id"),
    *("do_train", "do_eval", "do_predict", "local_rank", "deepspeed", "fsdp", "fsdp_config", "parallelism_config"),
    *("ddp_find_unused_parameters", "ddp_bucket_cap_mb", "ddp_broadcast_buffers", "ddp_static_graph", "ddp_backend"),
    *("ddp_timeout", "average_tokens_across_devices", "use_liger_kernel", "liger_kernel_config"),
)
"""Training arguments that SAFR sets by itself, or has no use for."""


_TOO_MANY = 2**31
"""A count beyond what a tensor can be indexed by everywhere."""

_AT_LEAST_0 = ("at least 0", lambda value: value >= 0)
_AT_LEAST_1 = ("at least 1", lambda value: value >= 1)
_ABOVE_0 = ("above 0", lambda value: value > 0)

_RANGES: dict[str, tuple[str, Callable[[float], bool]]] = {
    **dict.fromkeys(("importance", "interaction", "information"), _AT_LEAST_0),
    **dict.fromkeys(("warmup_steps", "weight_decay", "max_grad_norm"), _AT_LEAST_0),
    **dict.fromkeys(("vmask_width", "interaction_heads", "interaction_layers", "top_k"), _AT_LEAST_1),
    **dict.fromkeys(("hidden_layers", "width", "heads", "feed_forward"), _AT_LEAST_1),
    **dict.fromkeys(("epochs", "patience", "batch_size", "gradient_accumulation", "max_tokens"), _AT_LEAST_1),
    **dict.fromkeys(("learning_rate", "vmask_learning_rate", "embedding_learning_rate"), _ABOVE_0),
    "vmask_keep": ("in (0, 1)", lambda value: 0 < value < 1),
    **dict.fromkeys(("dropout", "neuron_dropout", "warmup_ratio"), ("in [0, 1)", lambda value: 0 <= value < 1)),
    "seed": ("in [0, 2**32)", lambda value: 0 <= value < 2**32),
}
"""By setting, which numbers are allowed and how that is checked."""

_TYPE_NAMES: dict[Any, tuple[str, ...]] = {
    bool: ("True", "False"),
    int: ("a whole number",),
    float: ("a finite number",),
    str: ("a string",),
    NoneType: ("None",),
    tuple[int, ...]: ("a tuple of whole numbers",),
    tuple[str, ...]: ("a tuple of strings",),
}


def setting_names() -> list[str]:
    """Every setting's name on the command line."""
    return [setting.name for setting in fields(Settings) if not is_dataclass(getattr(Settings(), setting.name))] + list(
        _PART
    )


def setting_type(name: str) -> Any:
    """The type of a setting's values, by the name that the command line gives it."""
    return get_type_hints(type(getattr(Settings(), _PART[name])) if name in _PART else Settings)[name]


def describe_type(kind: Any) -> str:
    """What the values of a setting of this type may be, in words.

    >>> describe_type(Layers), describe_type(bool | None)
    ("'all', a whole number or a tuple of whole numbers", 'True, False or None')
    """
    words = [word for member in _list_members(kind) for word in _describe_member(member)]
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def preset_options(name: str) -> list[list[str]]:
    """The options that a preset stands for, with their values.

    Raises:
        InputError: No preset is called so.

    >>> preset_options("best")[0]
    ['--importance', '0.3']
    """
    if name not in PRESETS:
        raise InputError(f"no preset is called {name!r}; known are {', '.join(PRESETS)}")
    options = _options(Settings().changed(**PRESETS[name]))
    return [options[setting] for setting in PRESETS[name]]


def write_training_arguments(values: Mapping[Any, Any]) -> tuple[str, ...]:
    """Training arguments by name as the words NAME=VALUE, in the order of their names.

    Raises:
        InputError: A name is none, SAFR sets the argument itself or has an option for it, or a value is not JSON's.

    >>> write_training_arguments({"optim": "adafactor", "lr_scheduler_kwargs": {"num_cycles": 2}})
    ('lr_scheduler_kwargs={"num_cycles": 2}', 'optim=adafactor')
    """
    words = {}
    for name, value in values.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise InputError(f"`training_arguments` must have names, got {describe_value(name)}")
        if name in _OPTION_OF_ARGUMENT:
            raise InputError(f"`training_arguments` can't set {name}; use `safr train {_OPTION_OF_ARGUMENT[name]}`")
        if name in _OWN_ARGUMENTS:
            raise InputError(
                f"`training_arguments` can't set {name}, which SAFR sets itself or can't use; leave it out"
            )
        try:
            is_plain_text = isinstance(value, str) and _parse_argument(value) == value
            words[name] = value if is_plain_text else json.dumps(value, allow_nan=False, sort_keys=True)
        except (TypeError, ValueError, RecursionError):
            raise InputError(
                f"`training_arguments` must have values that JSON can hold, got {name} {describe_value(value)}"
            ) from None
    return tuple(f"{name}={word}" for name, word in sorted(words.items()))


def parse_training_arguments(words: Iterable[str]) -> dict[str, Any]:
    """Training arguments by name, from the words NAME=VALUE; a value that is not JSON is a text.

    Raises:
        InputError: A word has another form, or a name is given twice.

    >>> parse_training_arguments(["optim=adafactor", "adam_beta2=0.98"])
    {'optim': 'adafactor', 'adam_beta2': 0.98}
    """
    values: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise InputError(f"`training_arguments` must be given as NAME=VALUE, got {describe_value(word)}")
        if name in values:
            raise InputError(f"`training_arguments` has {describe_value(name)} twice; give it once")
        values[name] = _parse_argument(value)
    return values


def _parse_neuron_losses(words: Iterable[str]) -> dict[str, float]:
    """Weights by the name of the loss, from the words NAME=WEIGHT.

    Raises:
        InputError: A word has another form, a name is given twice or is a setting of its own, or a weight is below 0.
    """
    weights: dict[str, float] = {}
    for word in words:
        name, equals, value = word.partition("=")
        weight = _parse_argument(value)
        if not (name.isidentifier() and equals and _is_instance(weight, float) and weight >= 0):
            raise InputError(
                f"`neuron_losses` must be given as NAME=WEIGHT with a weight of at least 0, as in l1=0.01, got "
                f"{describe_value(word)}"
            )
        if name in weights:
            raise InputError(f"`neuron_losses` has {describe_value(name)} twice; give it once")
        if name in (*SAFR_LOSSES, "task"):
            raise InputError(f"`neuron_losses` can't hold {name}; use the setting of that name")
        weights[name] = float(weight)
    return weights


def _write_neuron_losses(words: Iterable[str]) -> tuple[str, ...] | None:
    """The same words in the order of their names and without those of weight 0; None where nothing is left."""
    weights = _parse_neuron_losses(words)
    return tuple(f"{name}={json.dumps(weight)}" for name, weight in sorted(weights.items()) if weight) or None


def regularization_from_dict(values: dict[str, Any]) -> Regularization:
    """The regularization that `asdict` wrote, also after a round through JSON."""
    return _from_dict(Regularization, values)


def _parse_argument(word: str) -> Any:
    try:
        return json.loads(word)
    except (ValueError, RecursionError):
        return word


def _from_dict(cls: type, values: dict[str, Any]) -> Any:
    if not isinstance(values, Mapping):
        raise InputError(f"expected the settings of {cls.__name__} by name, got {describe_value(values)}")
    known = {field.name for field in fields(cls)}
    values = use_current_names(values)
    if unknown := sorted(set(values) - known):
        raise InputError(
            f"unknown settings of {cls.__name__}: {', '.join(unknown)}; known are {', '.join(sorted(known))}"
        )
    types = _field_types(cls)
    built = {}
    for name, value in values.items():
        if is_dataclass(types[name]):
            built[name] = _from_dict(types[name], value) if isinstance(value, dict) else value
        else:
            built[name] = tuple(value) if isinstance(value, list) else value
    return cls(**built)


def _options(settings: Any) -> dict[str, list[str]]:
    """Every setting as the words that would give it on the command line."""
    options: dict[str, list[str]] = {}
    for setting in fields(settings):
        value, flag = getattr(settings, setting.name), setting.name.replace("_", "-")
        if is_dataclass(value):
            options |= _options(value)
        elif setting.type == "bool":
            options[setting.name] = [f"--{flag}" if value else f"--no-{flag}"]
        else:
            options[setting.name] = [f"--{flag}", *map(str, value if isinstance(value, tuple) else [value])]
    return options


@cache
def _field_types(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _check_types(settings: Any) -> None:
    """Check every field by its annotation, whether the values come from Python, JSON, a plan or the command line.

    Numpy's numbers become Python's, lists tuples, and whole numbers floats where the field holds one, so that equal
    settings are written alike.
    """
    for name, kind in _field_types(settings.__class__).items():
        value = getattr(settings, name)
        plain = _make_plain(value)
        member = next((member for member in _list_members(kind) if _is_instance(plain, member)), None)
        if member is None:
            raise InputError(f"`{name}` must be {describe_type(kind)}, got {describe_value(value)}")
        object.__setattr__(settings, name, float(plain) if member is float else plain)  # since they are frozen


def _make_plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(map(_make_plain, value))
    return value.item() if getattr(value, "ndim", None) == 0 else value


def _list_members(kind: Any) -> tuple[Any, ...]:
    """The types that an annotation joins by `|`."""
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _is_instance(value: Any, member: Any) -> bool:
    if get_origin(member) is Literal:
        return isinstance(value, str) and value in get_args(member)
    if get_origin(member) is tuple:
        kind = get_args(member)[0]
        return isinstance(value, tuple) and bool(value) and all(_is_instance(part, kind) for part in value)
    if member in (int, float) and isinstance(value, bool):
        return False  # to Python, True is an int
    if member is float:
        return isinstance(value, int | float) and abs(value) <= sys.float_info.max
    return isinstance(value, member)


def _describe_member(member: Any) -> tuple[str, ...]:
    if get_origin(member) is Literal:
        return tuple(map(repr, get_args(member)))
    return _TYPE_NAMES.get(member, (f"an instance of {member.__name__}",))


def describe_range(name: str) -> str:
    """Which numbers a setting may have, as in `at least 0`; empty where it holds no number.

    >>> describe_range("dropout"), describe_range("data")
    ('in [0, 1)', '')
    """
    return _RANGES[name][0] if name in _RANGES else ""


def _check_ranges(settings: Any) -> None:
    for name in (setting.name for setting in fields(settings) if setting.name in _RANGES):
        value = getattr(settings, name)
        description, holds = _RANGES[name]
        if value is not None and not holds(value):
            raise InputError(f"`{name}` must be {description}, got {value}")
        if isinstance(value, int) and value >= _TOO_MANY and name != "seed":
            raise InputError(f"`{name}` must be below {_TOO_MANY:,}, got {describe_value(value)}")


def _divisor(architecture: Architecture) -> int:
    """The largest number of heads up to the one asked for that divides the width; of many thousand, a smaller one."""
    most = min(architecture.heads, 4096)
    return next(heads for heads in range(most, 0, -1) if architecture.width % heads == 0)
