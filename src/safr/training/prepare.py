"""Everything that can be known before a training is checked before it, and the model and its tokenizer are made."""

from __future__ import annotations

import math
import shutil
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMultipleChoice,
    AutoModelForQuestionAnswering,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.import_utils import is_torch_bf16_gpu_available

from safr.config import PAPER_MODEL, Recipe, Settings, Task
from safr.data import Split, TextDataset
from safr.data.answers import mark_answers, tokenize_answers
from safr.data.choices import mark_choices, tokenize_choices
from safr.data.encoding import EncodedText, encode, special_token_ids
from safr.data.tags import mark_texts, tokenize_tags
from safr.data.targets import TargetRow, find_common_mark, tokenize_targets
from safr.data.tokenizer import train_subword_tokenizer, train_word_tokenizer
from safr.errors import InputError, describe_reason
from safr.evaluation.labels import align_labels, number_tags
from safr.evaluation.task_metrics import DEV_METRICS
from safr.inference import (
    PROBLEM_TYPES,
    count_positions,
    encode_texts,
    finds_answers,
    is_tagger,
    iter_traces,
    text_logits,
)
from safr.model.attach import attach
from safr.model.families import get_encoder, picks_choices
from safr.model.forward_pass import SITES
from safr.model.pretrained_tokenizer import load_tokenizer
from safr.model.regularizer import get_explaining_site, get_regularizer
from safr.model.trainer_callback import fit_warmup
from safr.model.transformer import (
    TransformerConfig,
    TransformerForMultipleChoice,
    TransformerForQuestionAnswering,
    TransformerForSequenceClassification,
    TransformerForTokenClassification,
)
from safr.training.arguments import check_arguments_fit, check_training_arguments

MIN_TEXTS = 2
"""Texts of a split, without which nothing has an interval."""

CHECKPOINT_SHARE = 3
"""Size of a checkpoint in sizes of the model: the weights and Adam's two moments of each."""

_HEADS: dict[Task, Any] = {
    "token_classification": AutoModelForTokenClassification,
    "question_answering": AutoModelForQuestionAnswering,
    "multiple_choice": AutoModelForMultipleChoice,
}
_OUTPUT_NAMES: dict[Task, tuple[str, ...]] = {"question_answering": ("start", "end"), "multiple_choice": ("choice",)}
"""What the logits of a model's head are, where they are not the data's classes."""

_MOST_LAYERS = 1_000  # of a pretrained model, so that a damaged config does not ask for a million
_FEW_TEXTS = 100  # among which one is looked for that a model which gives tags or answers can be asked about


@dataclass(frozen=True)
class PreparedTraining:
    """A model with SAFR on it that can be trained by the settings, as far as can be known beforehand."""

    settings: Settings
    """The settings, with `max_tokens` fitted to the task and cut to what the model reads where nobody chose it."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


def prepare_training(settings: Settings, data: TextDataset, output: Path) -> PreparedTraining:
    """Make the model and check all that would otherwise stop the training, or its evaluation, later on.

    Nothing is written. What goes on otherwise than a user may expect is said as a warning.

    Args:
        settings: The model, the data and the recipe.
        data: The data set.
        output: The run's folder, which need not be there.

    Raises:
        InputError: The settings don't fit the model, the data or this machine.
    """
    _require_precision(settings.recipe)
    if data.task == "generation" and settings.model == PAPER_MODEL:
        raise InputError(
            "the paper's transformer writes no text; pass --model with the folder or hub name of a causal language "
            "model or an encoder-decoder"
        )
    check_training_arguments(settings.recipe)
    choose_metric(settings.recipe, data.task)
    if settings.recipe.class_weights == "balanced" and data.task != "classification":
        raise InputError(f"`class_weights` is for one class a text, but the data are for {data.task}; leave it out")
    _check_sizes(data)
    tokenizer = _load_tokenizer(settings, data)
    model = _build_model(settings, tokenizer, data)
    if data.task == "generation":
        prepare_writer(model, tokenizer, data)
    check_arguments_fit(settings.recipe, model, data.task)
    check_vocabulary(settings, model, tokenizer)
    settings = fit_max_tokens(settings, model, data.task)
    attach(model, settings.regularization, tokenizer=tokenizer)
    _check_warmup(settings, model, len(data.train))
    if data.has_string_labels:
        _check_token_labels(settings, model, tokenizer, data)
    else:
        _check_end_tokens(settings, model, tokenizer, data)
    _check_first_pass(settings, model, tokenizer, data)
    _check_space(model, output)
    return PreparedTraining(settings, model, tokenizer)


def choose_metric(recipe: Recipe, task: Task) -> str:
    """The metric on dev that the best epoch is chosen by.

    Raises:
        InputError: The recipe names one of another task.
    """
    metrics = DEV_METRICS[task]
    if recipe.metric not in ("auto", *metrics):
        raise InputError(
            f"`metric` {recipe.metric!r} is none of {task}, which the data are for; choose {', '.join(metrics)}"
        )
    return metrics[0] if recipe.metric == "auto" else recipe.metric


def record_data(data: TextDataset) -> dict[str, Any]:
    """What a run remembers of its data, as JSON values."""
    return {
        "name": data.name,
        "origin": data.origin,
        "fingerprint": data.fingerprint(),
        "sizes": {split: len(getattr(data, split).texts) for split in ("train", "dev", "test")},
        "task": data.task,
        "labels": list(data.label_names),
        "mended": data.cleaned,
        "duplicates": data.duplicates.to_dict(),
    }


def count_steps(recipe: Recipe, texts: int) -> int:
    """Steps of a training that is not stopped early.

    >>> count_steps(Recipe(epochs=3, batch_size=32), 65)
    9
    """
    return recipe.epochs * math.ceil(texts / recipe.batch_size)


def computes_bfloat16() -> bool:
    """Whether the processor has instructions for bfloat16; without them torch emulates it, many times as slow.

    True where this version of torch can't tell.
    """
    if not hasattr(torch.cpu, "get_capabilities"):
        return True
    return any(has_it for name, has_it in torch.cpu.get_capabilities().items() if name.endswith("bf16"))


def _require_precision(recipe: Recipe) -> None:
    if recipe.precision != "bfloat16":
        return
    if not torch.accelerator.is_available():
        if not computes_bfloat16():
            warnings.warn(
                "this processor has no instructions for bfloat16, so that training takes many times as long as with "
                "float32; use --precision float32",
                stacklevel=3,
            )
    elif not is_torch_bf16_gpu_available():
        raise InputError("`precision='bfloat16'` needs a GPU that supports it, which this one does not; use float32")


def _check_sizes(data: TextDataset) -> None:
    for name in ("train", "dev", "test"):
        if (count := len(getattr(data, name))) < MIN_TEXTS:
            raise InputError(
                f"{data.origin}: expected at least {MIN_TEXTS} texts in the {name} split, since a single one has no "
                f"interval, got {count}; bring more data"
            )


def _load_tokenizer(settings: Settings, data: TextDataset) -> PreTrainedTokenizerBase:
    if settings.model == PAPER_MODEL:
        train_tokenizer = train_word_tokenizer if settings.reads_words else train_subword_tokenizer
        return train_tokenizer(data.train.texts)
    if settings.tokenizer != "auto":
        raise InputError(
            f"`tokenizer` {settings.tokenizer!r} is for the paper's transformer; a pretrained model brings its own, so "
            "leave it out"
        )
    return load_model_tokenizer(settings.model)


def load_model_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a pretrained model, with a token for padding.

    Raises:
        InputError: There is none that reads texts, or none of its tokens can stand for padding.
    """
    tokenizer = load_pretrained(load_tokenizer, name)
    if not isinstance(tokenizer, PreTrainedTokenizerBase):  # as the processor of a model that reads images
        raise InputError(f"model '{name}': expected a tokenizer of texts, got {type(tokenizer).__name__}")
    if tokenizer.pad_token is None:  # as in a language model; the attention mask tells padding from the end of a text
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if tokenizer.pad_token is None:
        raise InputError(
            f"model '{name}': its tokenizer has no token for padding, nor one for the end of a text or for "
            "unknown words to take instead; set tokenizer.pad_token and save it again"
        )
    return tokenizer


def _build_model(settings: Settings, tokenizer: PreTrainedTokenizerBase, data: TextDataset) -> PreTrainedModel:
    if data.task == "generation":
        return _load_writer(settings.model, tokenizer)
    labels = dict(enumerate(_OUTPUT_NAMES.get(data.task, data.label_names)))
    names: dict[str, Any] = {"id2label": labels, "label2id": {name: number for number, name in labels.items()}}
    if settings.model != PAPER_MODEL:
        # The data's, whatever the model had before.
        head_class = _HEADS.get(data.task, AutoModelForSequenceClassification)
        model = _load_classifier(head_class, settings.model, names | {"problem_type": PROBLEM_TYPES.get(data.task)})
        if model.config.pad_token_id is None:  # the model needs it to find a text's last token, which it classifies
            model.config.pad_token_id = tokenizer.pad_token_id
        return model
    size, max_tokens = settings.architecture, settings.changed(task=data.task).max_tokens
    config = TransformerConfig(
        vocab_size=len(tokenizer),
        hidden_size=size.width,
        num_hidden_layers=size.hidden_layers,
        num_attention_heads=size.heads,
        intermediate_size=size.feed_forward,
        dropout=size.dropout,
        pad_token_id=tokenizer.pad_token_id,
        padded_length=max_tokens if settings.regularization.padding == "count" else None,
        problem_type=None if data.task == "classification" else PROBLEM_TYPES.get(data.task),
        **names,
    )
    if data.task == "token_classification":
        return TransformerForTokenClassification(config)
    if data.task == "question_answering":
        return TransformerForQuestionAnswering(config)
    if data.task == "multiple_choice":
        return TransformerForMultipleChoice(config)
    return TransformerForSequenceClassification(config)


def _load_classifier(head_class: Any, name: str, head: dict[str, Any]) -> PreTrainedModel:
    """A pretrained model whose head has one logit a label; a head of another size is replaced by a new one.

    Raises:
        InputError: There is no such model, or its weights are not the ones that its config describes.
    """
    model, loading = load_pretrained(
        head_class.from_pretrained,
        name,
        config=load_config(name, head),
        trust_remote_code=False,
        ignore_mismatched_sizes=True,  # of the head alone, see below
        output_loading_info=True,
    )
    outputs = len(head["id2label"])
    others = {}
    for weight, stored, expected in loading["mismatched_keys"]:
        if expected[0] != outputs or stored[1:] != expected[1:]:
            raise InputError(
                f"model '{name}': {weight} has the shape {tuple(stored)}, but config.json describes {tuple(expected)}; "
                "save the model again"
            )
        others[weight] = stored[0]
    if others:
        _warn(
            f"model '{name}': its head has {min(others.values())} outputs, the data need {outputs}; it gets a new one"
        )
    body = {weight for weight in model.state_dict() if weight.startswith(f"{model.base_model_prefix}.")}
    if body and body <= set(loading["missing_keys"]):
        raise InputError(f"model '{name}': expected the weights of a {type(model).__name__}, found none of them there")
    return model


def load_with_head(name: str, config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """A pretrained model with the trained head that its config names, which classifies, predicts or writes text.

    Raises:
        InputError: There is no such model, its head is of another kind, or has no weights.
    """
    model, loading = load_pretrained(
        _choose_class(name, config).from_pretrained,
        name,
        config=config,
        trust_remote_code=False,
        output_loading_info=True,
    )
    if loading["missing_keys"]:
        missing = ", ".join(sorted(loading["missing_keys"])[:3])
        raise InputError(
            f"model '{name}': expected a trained {type(model).__name__}, but it has no weights for {missing}; "
            "fine-tune it first, for example by `safr train --model`"
        )
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    if model.can_generate():
        _force_first_token(model, tokenizer)
    return model


def _choose_class(name: str, config: PretrainedConfig) -> Any:
    """The class of transformers that loads a model by its head."""
    architecture = str((config.architectures or ["none"])[0])
    if architecture.endswith("ForSequenceClassification"):
        return AutoModelForSequenceClassification
    if architecture.endswith("ForTokenClassification"):
        return AutoModelForTokenClassification
    if architecture.removesuffix("Simple").endswith("ForQuestionAnswering"):
        return AutoModelForQuestionAnswering
    if architecture.endswith("ForMultipleChoice"):
        return AutoModelForMultipleChoice
    if architecture.endswith("ForConditionalGeneration"):
        return AutoModelForSeq2SeqLM
    if architecture.endswith(("ForCausalLM", "LMHeadModel")):
        return AutoModelForCausalLM
    raise InputError(
        f"model '{name}': expected a model that classifies texts or their words, predicts a number, writes text, "
        f"finds answers or picks choices, got {architecture}; fine-tune it first, for example by `safr train --model`"
    )


def _load_writer(name: str, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    model = load_with_head(name, load_config(name, {}), tokenizer)
    if not model.can_generate():
        raise InputError(f"model '{name}': expected a model that writes text, got {type(model).__name__}")
    return model


def prepare_writer(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, data: TextDataset) -> None:
    """Let a causal model read the ends of long texts, and an encoder-decoder begin with the mark of all targets."""
    settings = getattr(model, "generation_config", None)
    if not model.config.is_encoder_decoder:
        # What is written comes after a text's end. Only initial values are saved with a tokenizer.
        tokenizer.truncation_side = tokenizer.init_kwargs["truncation_side"] = "left"
    elif settings is not None and settings.forced_bos_token_id is None and any(data.train.labels):
        settings.forced_bos_token_id = find_common_mark(tokenizer, data.train)


def _force_first_token(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Let an encoder-decoder begin its output with the special token that begins all targets, as <s> does BART's."""
    settings = getattr(model, "generation_config", None)
    if not model.config.is_encoder_decoder or settings is None or settings.forced_bos_token_id is not None:
        return
    first = tokenizer(text_target="a")["input_ids"][0]
    if first in special_token_ids(tokenizer) and first != tokenizer.eos_token_id:
        settings.forced_bos_token_id = first


def load_config(name: str, head: dict[str, Any]) -> PretrainedConfig:
    """The config of a pretrained model, without what names code on the hub.

    Raises:
        InputError: There is none, or it asks for more layers than any model has.
    """
    config = load_pretrained(
        AutoConfig.from_pretrained,
        name,
        trust_remote_code=False,
        **head,
    )
    for setting, value in config.to_dict().items():
        if "layer" in setting and type(value) is int and value > _MOST_LAYERS:
            raise InputError(
                f"model '{name}': its config.json says {setting} {value}, and no model has more than "
                f"{_MOST_LAYERS:,} layers; save it again"
            )
    config._attn_implementation = None  # a name here can be that of a kernel on the hub, which is code
    return config


def load_pretrained(load: Callable[..., Any], name: str, **options: Any) -> Any:
    """What transformers loads under a name; an InputError where it can't."""
    try:
        return load(name, **options)
    except MemoryError:
        raise
    except Exception as error:  # whatever it stumbles over in a folder, it is the folder that can't be used
        raise InputError(
            f"model '{name}': expected '{PAPER_MODEL}', a folder or a hub name ({describe_reason(error)})"
        ) from error


def check_vocabulary(settings: Settings, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise an InputError unless the model has an embedding for each of the tokenizer's ids."""
    embeddings = get_encoder(model).get_input_embeddings()
    if not isinstance(embeddings, nn.Embedding):
        raise InputError(
            f"model '{settings.model}': expected a model that reads texts, got {type(model).__name__}, which has no "
            "embeddings of tokens"
        )
    highest = max(tokenizer.get_vocab().values(), default=-1)
    if highest >= embeddings.num_embeddings:
        raise InputError(
            f"model '{settings.model}': its tokenizer gives ids up to {highest}, but the model has "
            f"{embeddings.num_embeddings} embeddings; call model.resize_token_embeddings(len(tokenizer)) and save it "
            "again, or bring the tokenizer that it was trained with"
        )


def fit_max_tokens(settings: Settings, model: PreTrainedModel, task: Task) -> Settings:
    """The settings with as many tokens as the data's task asks for, but no more than the model has positions for."""
    most, expected = count_positions(model), settings.changed(task=task).max_tokens
    if most is None or expected <= most:
        # That a folder's files are of questions is known only once they are read.
        return settings if settings.max_tokens == expected else settings.changed(max_tokens=expected)
    if settings.recipe.max_tokens is not None:
        raise InputError(
            f"`max_tokens` is {settings.recipe.max_tokens}, but the model has {most} positions; give at most {most}"
        )
    _warn(f"the model reads at most {most} tokens, so each text is cut to {most} and not to {expected}")
    return settings.changed(max_tokens=most)


def _check_warmup(settings: Settings, model: PreTrainedModel, texts: int) -> None:
    chosen, steps = settings.regularization, count_steps(settings.recipe, texts)
    attached = get_regularizer(model)
    warmup = None if attached is None else attached.regularization.warmup_steps
    if not warmup or warmup < steps or not any(chosen.loss_weights.values()):
        return
    if chosen.warmup_steps is not None:
        raise InputError(
            f"`warmup_steps` is {warmup}, but the training has {steps} steps, so SAFR's loss weights would never reach "
            "their full size; give fewer, or train longer"
        )
    fit_warmup(model, steps)


def _check_token_labels(
    settings: Settings, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, data: TextDataset
) -> None:
    """Raise an InputError where a model with labels of tokens can't be trained on the data or judged by them."""
    first = Split(data.train.texts[:1], data.train.labels[:1])
    if data.task == "multiple_choice":
        tokenize_choices(tokenizer, first, settings.max_tokens)
    else:
        tokenize_labels(model, tokenizer, first, data, settings.max_tokens)
    align_labels(model, tokenizer, data, settings.max_tokens)


def tokenize_labels(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    split: Split,
    data: TextDataset,
    max_tokens: int | None,
) -> list[TargetRow]:
    """The rows that a model is trained on which writes text, tags words or finds answers, with labels of tokens."""
    if data.task == "question_answering":
        return tokenize_answers(tokenizer, split, max_tokens)
    if data.task == "token_classification":
        return tokenize_tags(tokenizer, split, number_tags(model, data.label_names), max_tokens)
    return tokenize_targets(tokenizer, split, max_tokens, encoder_decoder=model.config.is_encoder_decoder)


def _check_end_tokens(
    settings: Settings, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, data: TextDataset
) -> None:
    """Refuse texts that hold an encoder-decoder's end token written out.

    Its classifiers read their answer at the last end token, and take no batch whose texts hold different numbers of it.
    """
    end = getattr(model.config, "eos_token_id", None)
    if not model.config.is_encoder_decoder or end is None:
        return
    texts = [*data.train.texts, *data.dev.texts]
    counts = Counter(text.ids.count(end) for text in encode(tokenizer, texts, settings.max_tokens))
    if others := len(texts) - max(counts.values()):
        raise InputError(
            f"{data.origin}: {others} of {len(texts)} texts in train and dev contain the model's end token, "
            f"{tokenizer.decode(end)!r}, written out, and {type(model).__name__} can't be trained on them together "
            "with others; remove it from them"
        )


def _check_first_pass(
    settings: Settings, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, data: TextDataset
) -> None:
    """Run the longest text through the model: whether it can be read, classified, and explained at the site."""
    texts = _choose_longest(settings, model, tokenizer, data)
    site = get_explaining_site(model)
    try:
        for batch, trace in iter_traces(model, texts, [name for name in SITES if name != "attention"]):
            logits = text_logits(model, trace.logits, batch)
            fixes_outputs = data.task == "generation" or data.task in _OUTPUT_NAMES
            if not fixes_outputs and logits.shape[-1] != len(data.label_names):
                raise InputError(
                    f"model '{settings.model}': expected {len(data.label_names)} logits, one a label, got "
                    f"{logits.shape[-1]}"
                )
            if "embedding" not in trace.vectors:
                raise InputError(
                    f"model '{settings.model}': SAFR can't find where {type(model).__name__} looks up its tokens; "
                    "choose another"
                )
            if site not in trace.vectors:
                raise InputError(f"this model has no `site` {site!r}; it has {', '.join(trace.vectors)}")
    except (InputError, MemoryError):
        raise
    except Exception as error:
        if settings.model == PAPER_MODEL:
            raise
        raise InputError(
            f"model '{settings.model}': {type(model).__name__} can't read a text of the data ({describe_reason(error)})"
        ) from error


def _choose_longest(
    settings: Settings, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, data: TextDataset
) -> list[EncodedText]:
    """The longest training text, as the model is asked about it; none if it holds no word."""
    numbers = sorted(range(len(data.train)), key=lambda number: -len("".join(data.train.texts[number])))[:_FEW_TEXTS]
    longest = Split(*zip(*((data.train.texts[number], data.train.labels[number]) for number in numbers), strict=True))
    if finds_answers(model):
        longest = mark_answers(tokenizer, longest, settings.max_tokens)
    if picks_choices(model):
        longest = mark_choices(longest)
    if is_tagger(model):
        longest = mark_texts(tokenizer, longest, number_tags(model, data.label_names), settings.max_tokens)
    encoded = encode_texts(model, tokenizer, longest.texts[:1], settings.max_tokens)
    return [text for text in encoded if text.words]


def _check_space(model: PreTrainedModel, output: Path) -> None:
    size = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    parent = next((path for path in (output, *output.absolute().parents) if path.is_dir()), Path())
    free = shutil.disk_usage(parent).free
    if free < CHECKPOINT_SHARE * size:
        raise InputError(
            f"{output}: expected room for a checkpoint of {CHECKPOINT_SHARE * size / 1e6:,.0f} MB, but the disk has "
            f"{free / 1e6:,.0f} MB left; make room, or choose another --output"
        )


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=5)
