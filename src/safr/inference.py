"""The one place where models are run on texts: traces, logits, predictions, probabilities and log-odds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from threading import Lock
from typing import Any, Literal, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, Shaped
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from safr.config import Task
from safr.data.answers import THE_ANSWER, read_questions
from safr.data.batches import TOKENS_PER_BATCH, Batch, iter_batches
from safr.data.choices import ask_about, encode_questions, parse_question
from safr.data.encoding import (
    EncodedText,
    Span,
    ask_about_tokens,
    count_end_tokens,
    encode,
    find_span,
    read_texts,
    replace_surrogates,
    tokenize,
)
from safr.data.marks import count_marks, drop_mark, encode_marked, label_asked, mark_words
from safr.data.splits import Label, Text
from safr.data.targets import IGNORED, TargetRow
from safr.errors import InputError, describe_value, shorten_text
from safr.model.answer_logits import IMPOSSIBLE, choose_spans, compare_answers, compare_choices, find_asked
from safr.model.families import (
    complete_batch,
    get_encoder,
    ignores_padding,
    keeping_attention_type,
    picks_choices,
    takes_token_types,
    unwrap,
)
from safr.model.regularizer import check_mask_present
from safr.model.trace import Trace, read_output_logits, trace
from safr.processes import share_texts

POSITION_TABLES = ("position_embeddings", "position_embedding", "embed_positions", "wpe")
"""How families call the table of their learned positions; a model without one reads texts of any length."""

ProblemType = Literal["single_label_classification", "multi_label_classification", "regression"]

PROBLEM_TYPES: dict[Task, ProblemType] = {
    "classification": "single_label_classification",
    "multi_label": "multi_label_classification",
    "regression": "regression",
}
"""What transformers calls the tasks, in a model's config."""

_MOST_LOGITS = 2**26
"""Logits of all tokens that are in memory at once, a quarter of a gigabyte."""

_Outputs = TypeVar("_Outputs", Tensor, NDArray[Any])

_mode_lock = Lock()
_paused_modules: WeakKeyDictionary[nn.Module, tuple[int, list[nn.Module]]] = WeakKeyDictionary()
"""By model, how many blocks of `evaluation_mode` run now, and which of its modules were in training mode before."""


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Run a block with all of a model in evaluation mode, and give every module its own mode back.

    Blocks may be nested and may run in several threads: the modes come back when the last one ends. A thread that
    trains the same model meanwhile would train in evaluation mode; that can't be told from here.
    """
    with _mode_lock:
        blocks, paused = _paused_modules.get(model, (0, []))
        in_training = [module for module in model.modules() if module.training]
        for module in in_training:  # not by model.eval(), which some models answer by changing weights
            module.training = False
        _paused_modules[model] = blocks + 1, paused + in_training
    try:
        yield
    finally:
        with _mode_lock:
            blocks, paused = _paused_modules.pop(model)
            if blocks > 1:
                _paused_modules[model] = blocks - 1, paused
            else:
                for module in paused:
                    module.training = True


def check_model(model: Any) -> None:
    """Raise an InputError for what is no loaded Hugging Face model."""
    if not isinstance(model, nn.Module) or not hasattr(model, "config"):
        raise InputError(f"expected a Hugging Face model, got {describe_value(model)}{_advise_about_model(model)}")
    if getattr(model, "device", torch.device("cpu")).type == "meta":
        raise InputError(
            f"expected a {type(model).__name__} with weights, got one on the meta device; load its weights"
        )


def iter_traces(
    model: PreTrainedModel, texts: Sequence[EncodedText], sites: Collection[str]
) -> Iterator[tuple[Batch, Trace]]:
    """Run texts through a model batch by batch, without gradients; yields batches with their traces.

    Args:
        model: A model; it runs in evaluation mode.
        texts: Encoded texts.
        sites: See `safr.trace`.
    """
    for batch in iter_model_batches(model, texts):
        with evaluation_mode(model), torch.inference_mode():
            batch_trace = trace(model, batch.inputs, sites, content_mask=batch.content_mask)
        yield batch, batch_trace


def iter_logits(
    model: PreTrainedModel, texts: Sequence[EncodedText]
) -> Iterator[tuple[Batch, Float[Tensor, "batch label"]]]:
    """Run texts through a model batch by batch, without gradients; yields batches with the logits of their texts.

    Args:
        model: A model; it runs in evaluation mode.
        texts: Encoded texts.
    """
    for batch in iter_model_batches(model, texts):
        with torch.inference_mode():
            logits = batch_logits(model, batch)
        yield batch, logits


def iter_hidden_states(
    model: PreTrainedModel, texts: Sequence[EncodedText]
) -> Iterator[tuple[Batch, Float[Tensor, "batch token width"]]]:
    """Run texts through a model batch by batch, without gradients; yields batches with what leaves the last layer.

    Args:
        model: A model, such as a sentence encoder; it runs in evaluation mode.
        texts: Encoded texts.

    Raises:
        InputError: The model does not return its hidden states, as an encoder-decoder.
    """
    for batch in iter_model_batches(model, texts):
        with keeping_attention_type(model), evaluation_mode(model), torch.inference_mode():
            outputs = model(**complete_batch(model, batch.inputs), output_hidden_states=True)
        states = outputs.get("hidden_states")
        if not states:
            raise InputError(f"expected an encoder that returns its hidden states, got {type(model).__name__}")
        yield batch, states[-1]


def iter_target_logits(
    model: PreTrainedModel, rows: Sequence[TargetRow]
) -> Iterator[tuple[Batch, Float[Tensor, "batch token label"], Int[Tensor, "batch target"]]]:
    """Run a model on texts with labels of tokens batch by batch, without gradients, each label given those before it.

    Args:
        model: A causal language model, an encoder-decoder, or a model that gives each token a tag; it runs in
            evaluation mode.
        rows: What it is given, with the token ids to write or the numbers of tags.

    Yields:
        Batches with the logits of all tokens, and with their labels.
    """
    texts = [EncodedText(row.ids, (), (None,) * len(row.ids), truncated=False) for row in rows]
    longer = max((len(row.labels) / len(row.ids) for row in rows), default=1.0)
    most = int(_MOST_LOGITS / model.config.get_text_config().vocab_size / max(longer, 1.0))
    for batch in iter_model_batches(model, texts, tokens_per_batch=max(min(most, TOKENS_PER_BATCH), 1)):
        labels = [torch.tensor(rows[index].labels) for index in batch.indices]
        targets = pad_sequence(labels, batch_first=True, padding_value=IGNORED).to(model.device)
        if not model.config.is_encoder_decoder:  # a label for each token, also for those of padding
            length = batch.inputs["input_ids"].shape[1]
            targets = F.pad(targets, (0, length - targets.shape[1]), value=IGNORED)
        with evaluation_mode(model), keeping_attention_type(model), torch.inference_mode():
            logits = model(**batch.inputs, labels=targets).logits
        yield batch, logits, targets


def iter_model_batches(
    model: PreTrainedModel, texts: Sequence[EncodedText], *, tokens_per_batch: int | None = None
) -> Iterator[Batch]:
    """Batches as this model needs them, so that every text gets the logits that it gets alone.

    Args:
        model: The model.
        texts: Encoded texts.
        tokens_per_batch: See `iter_batches`. Default: its own.

    Raises:
        InputError: What is to be run is no encoded text, or a token is beyond the model's vocabulary.
    """
    check_model(model)
    check_mask_present(model)
    _check_tokens(model, texts)
    rivals = _score_rivals(model, texts)
    for group in _group_by_end_tokens(model, texts):
        for batch in _iter_padded_batches(model, [texts[number] for number in group], tokens_per_batch):
            indices = tuple(group[index] for index in batch.indices)
            yield replace(batch, indices=indices, rivals=None if rivals is None else rivals[list(indices)])


def _score_rivals(model: PreTrainedModel, texts: Sequence[EncodedText]) -> Float[Tensor, "text rival"] | None:
    """Logits of the other choices of every question; -1e9 where one has fewer than others; None without choices.

    They are fixed: interventions and gradients are about the choice that is asked about.
    """
    most = max((len(text.rivals) for text in texts), default=0)
    if not most:
        return None
    rivals = {rival.model_input: rival for text in texts for rival in text.rivals}
    numbers = {key: number for number, key in enumerate(rivals)}
    scores = torch.zeros(len(rivals), device=model.device)
    _check_tokens(model, list(rivals.values()))
    for batch in _iter_padded_batches(model, list(rivals.values()), None):
        scores[list(batch.indices)] = _score_choices(model, batch)
    rows = torch.full((len(texts), most), IMPOSSIBLE, device=model.device)
    for number, text in enumerate(texts):
        rows[number, : len(text.rivals)] = scores[[numbers[rival.model_input] for rival in text.rivals]]
    return rows


def _score_choices(model: PreTrainedModel, batch: Batch) -> Float[Tensor, " batch"]:
    """Logit of each text of a batch as a question's choice, without gradients."""
    with keeping_attention_type(model), evaluation_mode(model), torch.inference_mode():
        return model(**complete_batch(model, batch.inputs)).logits[:, 0].float()


def _iter_padded_batches(
    model: PreTrainedModel, texts: Sequence[EncodedText], tokens_per_batch: int | None
) -> Iterator[Batch]:
    """Batches on the model's device and padded as it pads.

    Texts of one length come together where padding changes what the model computes; one text at a time where it has no
    padding.
    """
    config = model.config.get_text_config()
    size = tokens_per_batch if takes_batches(model) else 1
    types = getattr(config, "type_vocab_size", None)
    return iter_batches(
        texts,
        padding_id=getattr(config, "pad_token_id", None) or 0,
        padded_length=getattr(config, "padded_length", None),
        # One embedding for all types tells no texts apart; without embeddings of its own, a model that takes types
        # reads them in another way (XLNet by relation, GPT-2 as words), and then all 0 is not the same as none.
        token_types=takes_token_types(model) if types is None else types > 1,
        zero_types=types is None,
        equal_lengths=not ignores_padding(model),
        device=model.device,
        **({} if size is None else {"tokens_per_batch": size}),
    )


def takes_batches(model: PreTrainedModel) -> bool:
    """Whether a model takes several rows at once; a classifier without a padding token may refuse to."""
    return getattr(model.config.get_text_config(), "pad_token_id", None) is not None


def batch_logits(
    model: PreTrainedModel, batch: Batch, inputs: Mapping[str, Tensor] | None = None
) -> Float[Tensor, "batch label"]:
    """Run a model on one batch; returns the logits of its texts as wholes.

    Gradients and interventions are the caller's: they hold where this is called inside their block.

    Args:
        model: A model; it runs in evaluation mode.
        batch: The batch.
        inputs: What the model gets in place of the batch's inputs, such as a mask that hides some tokens.
    """
    with keeping_attention_type(model), evaluation_mode(model):
        outputs = model(**complete_batch(model, batch.inputs if inputs is None else inputs))
    return text_logits(model, read_output_logits(outputs), batch)


def text_logits(model: PreTrainedModel, logits: Tensor | None, batch: Batch) -> Float[Tensor, "batch label"]:
    """The logits of texts as wholes: of their classes, of the token that would come next, or of an answer in them.

    Of an encoder-decoder that writes text, the next token is the first one of its output. Of a model that finds answers
    they are those of `ANSWER_NAMES`.

    Args:
        model: A classifier, a language model, or a model that gives tags or finds answers.
        logits: (batch, label), (batch, token, label) of a model that says something about every token, or None of a
            model without a head.
        batch: What the model was given.

    Raises:
        InputError: The model has no head, or says something about every token, and not what comes next, or its logits
            are not numbers.
    """
    if logits is None:
        raise InputError(f"expected a model that classifies texts or continues them, got {type(model).__name__}")
    if not (logits < torch.inf).all():  # of the tokens that a language model rules out they are minus infinity
        raise InputError(
            f"the logits of this {type(model).__name__} are not finite numbers, as after a training that diverged; "
            "train it again with a lower learning rate"
        )
    if picks_choices(model):
        return compare_choices(logits, batch.rivals)
    if logits.dim() == 2:
        return logits
    if logits.dim() == 3 and batch.asked is not None and finds_answers(model):
        return compare_answers(logits, batch.asked)
    if logits.dim() == 3 and batch.asked is not None:
        first, _ = find_asked(batch.asked)
        return logits[torch.arange(len(first), device=logits.device), first]
    if logits.dim() == 3 and is_tagger(model):
        raise InputError(
            f"{type(model).__name__} gives each word a tag: mark the word that is asked about, as in John saw [[Paris]]"
        )
    if logits.dim() != 3 or not model.can_generate():
        raise InputError(
            f"expected a model that classifies texts or continues them, got {type(model).__name__}, whose logits "
            f"have the shape {tuple(logits.shape)}"
        )
    if model.config.is_encoder_decoder:
        return logits[:, -1]
    last = _find_last_tokens(batch.inputs["attention_mask"])
    return logits[torch.arange(len(last), device=last.device), last]


def _find_last_tokens(attention_mask: Int[Tensor, "batch token"]) -> Int[Tensor, " batch"]:
    """Index of every text's last token, on whichever side the padding is; 0 of a text without tokens."""
    positions = torch.arange(attention_mask.shape[-1], device=attention_mask.device)
    return (positions * attention_mask.bool()).amax(dim=-1)


@share_texts("texts")
def predict(model: PreTrainedModel, texts: Sequence[EncodedText]) -> Int[np.ndarray, " text"]:
    """The output with the highest logit: the class, or of a language model the next token, of every text, (text,).

    Where several classes can be right it is the likeliest; see `predict_labels` for all.

    Args:
        model: A model; it runs in evaluation mode.
        texts: Encoded texts. Those with the same tokens are run once.
    """
    return _read_logits(model, texts, lambda logits: drop_rest(model, logits).argmax(dim=-1)).astype(np.int64)


Targets = int | Sequence[int] | Int[np.ndarray, " text"]
"""Number of one class, or of a language model's next token, for all texts, or one for each."""


def get_targets(
    model: PreTrainedModel, texts: Sequence[EncodedText], targets: Targets | None = None
) -> Int[np.ndarray, " text"]:
    """The class of every text that an explanation speaks about: the one that is asked for, or the predicted one.

    Args:
        model: A model; it runs in evaluation mode.
        texts: Encoded texts.
        targets: Numbers of classes. Default: `predict`.

    Raises:
        InputError: There are fewer or more than texts.
    """
    if targets is None:
        return predict(model, texts)
    if isinstance(targets, int | np.integer):
        return np.full(len(texts), int(targets), dtype=np.int64)
    if len(targets) != len(texts):
        raise InputError(f"expected one class for all, or one for each of {len(texts)} texts, got {len(targets)}")
    return np.asarray(targets, dtype=np.int64)


def predict_labels(model: PreTrainedModel, texts: Sequence[EncodedText]) -> Shaped[np.ndarray, "text ..."]:
    """What the model says in the form of the data's labels.

    Args:
        model: A model; it runs in evaluation mode.
        texts: Encoded texts. Those with the same tokens are run once.

    Returns:
        Classes as int64, (text,); or float64: of a regression model values, (text,), and where several classes can be
        right 1 for each that is likelier than not and 0 for the others, (text, label).
    """
    task = get_task(model)
    return _read_logits(model, texts, lambda logits: read_labels(task, logits)).astype(
        np.float64 if task in ("regression", "multi_label") else np.int64
    )


def read_labels(task: Task, logits: Float[Tensor, "batch label"]) -> Shaped[Tensor, "batch ..."]:
    """What logits say in the form of the data's labels; see `predict_labels`."""
    match task:
        case "regression":
            return logits[:, 0].float()
        case "multi_label":
            return (logits > 0).float()
        case "question_answering" | "multiple_choice":
            return logits[:, : THE_ANSWER + 1].argmax(dim=-1)
    return logits.argmax(dim=-1)


def drop_rest(model: PreTrainedModel, outputs: _Outputs) -> _Outputs:
    """The outputs that a model can choose: of `ANSWER_NAMES` not the last, all other answers together.

    Args:
        model: The model.
        outputs: Logits or probabilities, as a tensor or an array, (..., label).
    """
    return outputs[..., : THE_ANSWER + 1] if compares_answers(model) else outputs


def list_labels(task: Task, logits: Float[Tensor, "batch label"]) -> list[Label]:
    """What logits say as labels of Python's own numbers, one for every text."""
    labels = read_labels(task, logits).tolist()
    return [tuple(map(int, label)) for label in labels] if task == "multi_label" else labels


def get_task(model: PreTrainedModel) -> Task:
    """What a model says about a text, by its kind and its config; see `Task`."""
    if model.can_generate():
        return "generation"
    if is_tagger(model):
        return "token_classification"
    if finds_answers(model):
        return "question_answering"
    if picks_choices(model):
        return "multiple_choice"
    if is_regression(model):
        return "regression"
    return "multi_label" if model.config.problem_type == PROBLEM_TYPES["multi_label"] else "classification"


def is_tagger(model: PreTrainedModel) -> bool:
    """Whether a model gives each token a tag."""
    return type(unwrap(model)).__name__.endswith("ForTokenClassification")


def finds_answers(model: PreTrainedModel) -> bool:
    """Whether a model finds the answer to a question in a text."""
    return type(unwrap(model)).__name__.removesuffix("Simple").endswith("ForQuestionAnswering")


def compares_answers(model: PreTrainedModel) -> bool:
    """Whether what a model says are `ANSWER_NAMES`: it finds an answer in a text, or picks one of several choices."""
    return finds_answers(model) or picks_choices(model)


def encode_texts(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[Text], max_tokens: int | None = None
) -> list[EncodedText]:
    """Texts as this model is asked about them, by `encode`.

    For a model that gives tags they are marked; see `encode_marked`. For one that finds answers they are pairs, with a
    mark at the answer that is asked about, or without one to ask about the model's own; so they are for one that picks
    choices, which the second text holds; see `parse_question`. A causal language model goes on
    with a text, so that it reads none of the tokens that its tokenizer puts behind one.
    """
    if is_tagger(model):
        return encode_marked(tokenizer, texts, max_tokens)
    if finds_answers(model):
        return _encode_questions(model, tokenizer, read_questions(texts), max_tokens)
    if picks_choices(model):
        return _encode_choices(model, tokenizer, texts, max_tokens)
    encoded = encode(tokenizer, texts, max_tokens)
    if not model.can_generate() or model.config.is_encoder_decoder:
        return encoded
    count = count_end_tokens(tokenizer)
    return [text.without_end(count) for text in encoded]


def encode_unmarked(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[Text], max_tokens: int | None = None
) -> list[EncodedText]:
    """Texts as this model reads them, which need no mark at what is asked about; see `encode_texts`.

    For a model that gives tags or finds answers a mark is left out. One that picks choices is asked which it picks.
    """
    if not (is_tagger(model) or finds_answers(model)):
        return encode_texts(model, tokenizer, texts, max_tokens)
    read: Sequence[Text] = read_texts(texts)
    if finds_answers(model):
        read = read_questions(read)
    return encode(tokenizer, [drop_mark(text) for text in read], max_tokens)


def _encode_questions(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[tuple[str, str]],
    max_tokens: int | None,
) -> list[EncodedText]:
    """Questions with the texts that answer them, where what is asked about is marked or found by the model."""
    unmarked = [number for number, (_, text) in enumerate(pairs) if not count_marks(text)]
    marked = [number for number, (_, text) in enumerate(pairs) if count_marks(text)]
    encoded = dict(zip(marked, encode_marked(tokenizer, [pairs[n] for n in marked], max_tokens), strict=True))
    answers = _answer_questions(model, tokenizer, [pairs[number] for number in unmarked], max_tokens)
    for number, (read, _) in zip(unmarked, answers, strict=True):
        if not read.asked:
            raise InputError(
                f"expected a text with a word that could be the answer, got {shorten_text(pairs[number][1], 40)!r}"
            )
        encoded[number] = mark_words(read)
    return [encoded[number] for number in range(len(pairs))]


def _encode_choices(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Sequence[Text], max_tokens: int | None
) -> list[EncodedText]:
    """Questions with the choice that is marked, or picked by the model, and the others beside it."""
    questions = [parse_question(text) for text in texts]
    rows = encode_questions(tokenizer, questions, max_tokens)
    firsts = [ask_about(choices, question.asked or 0, "") for choices, question in zip(rows, questions, strict=True)]
    scores = _pick_choices(model, [first for first, q in zip(firsts, questions, strict=True) if q.asked is None])
    picked = iter(scores)
    asked = [next(picked) if question.asked is None else question.asked for question in questions]
    return [
        ask_about(choices, number, question.choices[number])
        for choices, number, question in zip(rows, asked, questions, strict=True)
    ]


def _pick_choices(model: PreTrainedModel, texts: Sequence[EncodedText]) -> list[int]:
    """The number of the choice with the highest logit of every question, of which the first choice is asked about."""
    picked: dict[int, int] = {}
    for batch in iter_model_batches(model, texts):
        assert batch.rivals is not None
        numbers = torch.cat([_score_choices(model, batch)[:, None], batch.rivals], dim=1).argmax(dim=1)
        picked |= dict(zip(batch.indices, numbers.tolist(), strict=True))
    return [picked[number] for number in range(len(texts))]


def find_answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[tuple[str, str]],
    max_tokens: int | None = None,
) -> list[Span]:
    """Where in its text the model's answer to every question stands: of all places the one with the highest logit.

    Args:
        model: A model that finds answers; it runs in evaluation mode.
        tokenizer: Its tokenizer.
        pairs: Questions, each with the text that answers it.
        max_tokens: See `encode`.

    Returns:
        First character and the one after the last; equal where no word of the text is read.
    """
    return [place for _, place in _answer_questions(model, tokenizer, pairs, max_tokens)]


def _answer_questions(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[tuple[str, str]],
    max_tokens: int | None,
) -> list[tuple[EncodedText, Span]]:
    """Questions with their texts, whose answer by the model is what is asked about, and the places of these answers.

    The answer's tokens are kept, since its characters may not tell them: several tokens may be of one character.
    """
    if not pairs:
        return []
    texts = encode(tokenizer, pairs, max_tokens)
    parts = [(replace_surrogates(question), replace_surrogates(text)) for question, text in pairs]
    encodings = tokenize(tokenizer, parts, max_tokens)
    answers: dict[int, tuple[EncodedText, Span]] = {}
    for batch in iter_model_batches(model, texts):
        rows = [torch.tensor(label_asked(texts[index])) for index in batch.indices]
        asked = pad_sequence(rows, batch_first=True, padding_value=IGNORED).to(model.device)
        asked = F.pad(asked, (0, batch.content_mask.shape[1] - asked.shape[1]), value=IGNORED)
        with keeping_attention_type(model), evaluation_mode(model), torch.inference_mode():
            logits = read_output_logits(model(**batch.inputs))
        if logits is None:
            raise InputError(f"{type(model).__name__} gives no logits of an answer's first and last token")
        spans = choose_spans(logits, asked != IGNORED).tolist()
        for index, (first, last) in zip(batch.indices, spans, strict=True):
            answers[index] = texts[index], (0, 0)
            if 1 in texts[index].text_of_word:
                found = texts[index], encodings[index], parts[index][1], (first, last)
                answers[index] = ask_about_tokens(*found), find_span(*found)
    return [answers[number] for number in range(len(pairs))]


def predict_probabilities(model: PreTrainedModel, texts: Sequence[EncodedText]) -> Float[np.ndarray, "text label"]:
    """Probability of every class, or of a language model of every next token, (text, label).

    Args:
        model: A model; it runs in evaluation mode.
        texts: Encoded texts. Those with the same tokens are run once.
    """
    return _read_logits(model, texts, lambda logits: probabilities(model, logits)).astype(np.float32)


@share_texts("texts", "classes")
def text_log_odds(
    model: PreTrainedModel, texts: Sequence[EncodedText], classes: Int[np.ndarray, " text"]
) -> Float[np.ndarray, " text"]:
    """Log-odds of one class for every text, (text,).

    Args:
        model: A model; it runs in evaluation mode.
        texts: Encoded texts.
        classes: The class whose log-odds are asked for, (text,).
    """
    odds = np.zeros(len(texts))
    for batch, logits in iter_logits(model, texts):
        indices = list(batch.indices)
        odds[indices] = to_numpy(log_odds(model, logits, torch.from_numpy(classes[indices]).to(logits.device)))
    return odds


def probabilities(model: PreTrainedModel, logits: Float[Tensor, "batch label"]) -> Float[Tensor, "batch label"]:
    """Probability of every class or next token, as in transformers' own pipeline.

    Where several classes can be right, every class has a probability of its own. What a regression model gives is no
    probability: its values are returned as they are.
    """
    if has_exclusive_classes(model, logits):
        return logits.float().softmax(dim=-1)
    return logits.float() if is_regression(model) else logits.float().sigmoid()


def log_odds(
    model: PreTrainedModel, logits: Float[Tensor, "batch label"], classes: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    r"""By how much a class is preferred to all others together, $\log(p / (1 - p))$: it does not saturate as p does.

    Where several classes can be right it is the class's own logit, as of one with a single logit; of a regression model
    it is the value itself.
    """
    logits = logits.float()  # a sum near 20 would be rounded to steps of 0.125 in bfloat16
    if not has_exclusive_classes(model, logits):
        return logits.gather(1, classes[:, None])[:, 0]
    others = logits.scatter(1, classes[:, None], -torch.inf).logsumexp(dim=-1)
    return logits.gather(1, classes[:, None])[:, 0] - others


def has_exclusive_classes(model: PreTrainedModel, logits: Float[Tensor, "batch label"]) -> bool:
    """Whether only one class can be right, so that their probabilities sum to 1."""
    return model.can_generate() or (
        logits.shape[-1] > 1 and model.config.problem_type != "multi_label_classification" and not is_regression(model)
    )


def is_regression(model: PreTrainedModel) -> bool:
    """Whether the model gives values on a scale of their own, and no classes.

    As in transformers' pipeline, one with a single output is a regression model only if its config says so.
    """
    return not model.can_generate() and model.config.problem_type == "regression"


def to_numpy(values: Shaped[Tensor, "*axis"]) -> Float32[np.ndarray, "*axis"]:
    """A tensor of any precision, on any device, as an array; numpy has no bfloat16."""
    return values.float().numpy(force=True)


def _check_encoded(texts: Sequence[EncodedText]) -> None:
    for text in texts:
        if not isinstance(text, EncodedText):
            raise InputError(f"expected texts from safr.data.encoding.encode, got {describe_value(text)}")


def count_positions(model: PreTrainedModel) -> int | None:
    """Tokens of the longest text that a model has positions for; None where any length will do."""
    counts = []
    for path, module in get_encoder(model).named_modules():
        rows = getattr(module, "num_embeddings", None)
        if path.rpartition(".")[2] in POSITION_TABLES and isinstance(rows, int):
            # RoBERTa and its relatives count from the padding's id on, OPT and BART from 2.
            padding = module.padding_idx
            counts.append(rows - (0 if padding is None else padding + 1) - getattr(module, "offset", 0))
    return min(counts, default=None)


def _check_tokens(model: PreTrainedModel, texts: Sequence[EncodedText]) -> None:
    """Raise an InputError unless these are encoded texts whose tokens and positions the model has embeddings for."""
    _check_encoded(texts)
    known = getattr(model.get_input_embeddings(), "num_embeddings", None)
    highest = max((max(text.ids, default=0) for text in texts), default=0)
    if known is not None and highest >= known:  # on a GPU it would end the whole process
        raise InputError(
            f"the tokenizer gives token {highest:,}, but the model's vocabulary has {known:,}; use the model's own "
            "tokenizer, or resize its embeddings"
        )
    longest, most = max((len(text.ids) for text in texts), default=0), count_positions(model)
    if most is not None and longest > most:
        raise InputError(
            f"a text has {longest:,} tokens, more than the model's {most:,} positions; pass a max_tokens of at most "
            f"{most}"
        )


def _group_by_end_tokens(model: PreTrainedModel, texts: Sequence[EncodedText]) -> list[Sequence[int]]:
    """Numbers of the texts that may share a batch: of an encoder-decoder, those with as many end tokens.

    Its classifiers read their answer at the last end token, and take no batch of texts that hold different numbers of
    them. A user's text may hold some, written out as </s>.
    """
    end = getattr(model.config, "eos_token_id", None)
    if not model.config.is_encoder_decoder or end is None:
        return [range(len(texts))]
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for number, text in enumerate(texts):
        # Padding by end tokens would be counted, so then texts are of one length too.
        length = len(text.ids) if end == getattr(model.config, "pad_token_id", None) else 0
        groups[text.ids.count(end), length].append(number)
    return list(groups.values())


def _advise_about_model(value: Any) -> str:
    if isinstance(value, str):
        return "; load it first: AutoModelForSequenceClassification.from_pretrained(...), or safr.load"
    if isinstance(value, PreTrainedTokenizerBase):
        return "; the model comes first, then its tokenizer"
    if isinstance(getattr(value, "model", None), nn.Module):
        return "; pass its .model and its .tokenizer"
    if isinstance(getattr(value, "module", None), nn.Module):
        return "; pass its .module"
    return ""


def _read_logits(model: PreTrainedModel, texts: Sequence[EncodedText], read: Callable[[Tensor], Tensor]) -> NDArray:
    """What is read in the logits of the texts; those with the same tokens are run once."""
    _check_encoded(texts)
    first: dict[Any, int] = {}
    for number, text in enumerate(texts):
        first.setdefault(text.model_input, number)
    distinct = [texts[number] for number in first.values()]
    values: dict[int, NDArray] = {}
    for batch, logits in iter_logits(model, distinct):
        values |= dict(zip(batch.indices, read(logits).numpy(force=True), strict=True))
    place = {key: number for number, key in enumerate(first)}
    return np.array([values[place[text.model_input]] for text in texts])
