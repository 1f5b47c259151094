"""What a model that writes text learns and is judged by: the tokens that come after a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from safr.data.encoding import encode, replace_surrogates, special_token_ids, tokenize
from safr.data.splits import Split, hash_text
from safr.errors import InputError

IGNORED = -100
"""Label of a token that is not to be written, as in transformers."""

_WORDS_BEFORE = 2
"""Words before the place where a text is cut, at least, so that one of them can be deleted."""

_MOST_TRIES = 8
"""Places where a text is cut until its beginning has the same tokens alone as in the whole text."""


@dataclass(frozen=True)
class TargetRow:
    """One text as a model that writes is trained on it."""

    ids: tuple[int, ...]
    """Token ids that the model, or an encoder, is given."""

    labels: tuple[int, ...]
    """Token ids to write, an id of `ids` each, or those of a decoder's output; `IGNORED` where nothing is written."""

    text: int = 0
    """Number of the text; a long one that is itself the target has several rows."""


def tokenize_targets(
    tokenizer: PreTrainedTokenizerBase, split: Split, max_tokens: int | None = None, *, encoder_decoder: bool
) -> list[TargetRow]:
    """The rows that a model which writes text is trained on, in the order of the texts.

    A causal model reads the text, a space unless there is white space, the target, and the end token; only target and
    end token are to be written. Where they are too long, the text loses its beginning, and then the target its end. A
    text that is itself the target is written whole, in several rows where it is too long for one. An encoder-decoder
    reads the text and writes the target.

    Args:
        tokenizer: A fast tokenizer.
        split: Texts, and what is to be written after each, or "" for the text itself.
        max_tokens: Most tokens of a row, special ones included, and of a decoder's output. Default: no limit.
        encoder_decoder: Whether the model is one.

    Raises:
        InputError: The texts are pairs, or an encoder-decoder has nothing to write.
    """
    texts, targets = _read_texts(split), [replace_surrogates(str(label)) for label in split.labels]
    if not encoder_decoder:
        return _tokenize_causal(tokenizer, texts, targets, max_tokens)
    if not all(target.strip() for target in targets):
        raise InputError(
            "an encoder-decoder writes one text after reading another, and the data hold texts alone; name the columns "
            "of both by --text-column and --label-column"
        )
    inputs = tokenize(tokenizer, [(text,) for text in texts], max_tokens)
    limit = {} if max_tokens is None else {"truncation": True, "max_length": max_tokens}
    outputs = tokenizer(text_target=targets, **limit)["input_ids"]
    return [
        TargetRow(tuple(encoding.ids), tuple(_add_end(tokenizer, output)[:max_tokens]), number)
        for number, (encoding, output) in enumerate(zip(inputs, outputs, strict=True))
    ]


def make_target_dataset(rows: Sequence[TargetRow]) -> Dataset:
    """The rows for the Trainer: `input_ids`, their number as `length`, and `labels`; those without a label left out."""
    kept = [row for row in rows if any(label != IGNORED for label in row.labels)]
    return Dataset.from_dict(
        {
            "input_ids": [row.ids for row in kept],
            "length": [len(row.ids) for row in kept],
            "labels": [row.labels for row in kept],
        }
    )


def make_prompts(
    tokenizer: PreTrainedTokenizerBase, split: Split, max_tokens: int | None = None, *, encoder_decoder: bool
) -> tuple[Split, int]:
    """Texts with the id of the token that comes next, by which a model is judged, and how many texts have none.

    The token is the first one of the target. Where the text itself is the target, it is cut before a word that its
    SHA-256 chooses, with two words before it at least. Left out are texts that can't be cut so, those whose last token
    melts into the target's first, and those of a causal model whose end is cut off.

    Args:
        tokenizer: A fast tokenizer.
        split: Texts, and what is to be written after each, or "" for the text itself.
        max_tokens: Most tokens of a text. Default: no limit.
        encoder_decoder: Whether the model is one.

    Raises:
        InputError: As `tokenize_targets`, or fewer than two texts are left.
    """
    if encoder_decoder or any(split.labels):
        rows = tokenize_targets(tokenizer, split, encoder_decoder=encoder_decoder)
        prompts = _find_first_targets(tokenizer, split, rows, max_tokens, encoder_decoder=encoder_decoder)
    else:
        prompts = _cut_texts(tokenizer, _read_texts(split), max_tokens)
    kept = [prompt for prompt in prompts if prompt is not None]
    if len(kept) < 2:
        raise InputError(
            f"expected at least 2 texts with a token to write after them, got {len(kept)} of {len(split)}; bring texts "
            f"of more than {_WORDS_BEFORE} words, or targets"
        )
    return Split(tuple(text for text, _ in kept), tuple(token for _, token in kept)), len(split) - len(kept)


def _read_texts(split: Split) -> list[str]:
    if any(isinstance(text, tuple) for text in split.texts):
        raise InputError("a model that writes text reads single texts, and these are pairs; join the two of a pair")
    return [replace_surrogates(str(text)) for text in split.texts]


def _tokenize_causal(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], targets: Sequence[str], max_tokens: int | None
) -> list[TargetRow]:
    joined = [(_join(text, target),) for text, target in zip(texts, targets, strict=True)]
    special_ids = special_token_ids(tokenizer)
    rows = []
    for number, (text, target, encoding) in enumerate(zip(texts, targets, tokenize(tokenizer, joined), strict=True)):
        ids = _add_end(tokenizer, encoding.ids)
        if not target:
            size = max_tokens or len(ids) or 1
            pieces = [tuple(ids[start : start + size]) for start in range(0, len(ids), size)]
            rows += [TargetRow(piece, piece, number) for piece in pieces]
            continue
        # The target begins with the first token that reaches beyond the text.
        beyond = [position for position, (_, end) in enumerate(encoding.offsets) if end > len(text)]
        first = beyond[0] if beyond else len(encoding.ids)
        labels = [IGNORED] * first + ids[first:]
        if max_tokens is not None and (surplus := len(ids) - max_tokens) > 0:
            leading = len(list(takewhile(special_ids.__contains__, ids)))
            cut = min(surplus, max(first - leading - 1, 0))
            ids = (ids[:leading] + ids[leading + cut :])[:max_tokens]
            labels = (labels[:leading] + labels[leading + cut :])[:max_tokens]
        rows.append(TargetRow(tuple(ids), tuple(labels), number))
    return rows


def _join(text: str, target: str) -> str:
    has_space = not target or text[-1:].isspace() or target[:1].isspace()
    return text + target if has_space else f"{text} {target}"


def _add_end(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> list[int]:
    """The ids and the end token, unless the tokenizer has none or has added it."""
    end = tokenizer.eos_token_id
    return [*ids] if end is None or ids[-1:] == [end] else [*ids, end]


def _find_first_targets(
    tokenizer: PreTrainedTokenizerBase,
    split: Split,
    rows: Sequence[TargetRow],
    max_tokens: int | None,
    *,
    encoder_decoder: bool,
) -> list[tuple[str, int] | None]:
    """Every text with the first token of its target; None where there is none, or it does not come after the text."""
    special_ids, texts = special_token_ids(tokenizer), _read_texts(split)
    alone = tokenize(tokenizer, [(text,) for text in texts])
    loses_end = max_tokens is not None and tokenizer.truncation_side == "right"
    prompts: list[tuple[str, int] | None] = [None] * len(texts)
    for row in rows:
        encoding = alone[row.text]
        written = [label for label in row.labels if label != IGNORED]
        tokens = [label for label in written if label not in special_ids]
        is_next = row.ids[: -len(written)] == _strip_end(encoding.ids, special_ids)
        is_read = not (loses_end and len(encoding.ids) > (max_tokens or 0))
        if tokens and split.labels[row.text] and (encoder_decoder or (is_next and is_read)):
            prompts[row.text] = texts[row.text], tokens[0]
    return prompts


def _cut_texts(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_tokens: int | None
) -> list[tuple[str, int] | None]:
    """The beginning of every text and the token after it; None where there is no place to cut it."""
    special_ids = special_token_ids(tokenizer)
    encoded = encode(tokenizer, texts, max_tokens)
    encodings = tokenize(tokenizer, [(text,) for text in texts], max_tokens)
    places = []  # by text, the tokens that it may be cut before
    for text, read in zip(texts, encoded, strict=True):
        words = range(_WORDS_BEFORE, len(read.words))
        turn = int(hash_text(text), 16) % len(words) if words else 0
        places.append([read.word_of_token.index(word) for word in [*words[turn:], *words[:turn]][:_MOST_TRIES]])
    prompts: list[tuple[str, int] | None] = [None] * len(texts)
    for turn in range(_MOST_TRIES):
        numbers = [number for number, prompt in enumerate(prompts) if prompt is None and turn < len(places[number])]
        if not numbers:
            break
        cuts = [texts[number][: encodings[number].offsets[places[number][turn]][0]].rstrip() for number in numbers]
        alone = tokenize(tokenizer, [(cut,) for cut in cuts])
        for number, cut, encoding in zip(numbers, cuts, alone, strict=True):
            place, ids = places[number][turn], encodings[number].ids
            if _strip_end(encoding.ids, special_ids) == tuple(ids[:place]):
                prompts[number] = cut, ids[place]
    return prompts


def _strip_end(ids: Sequence[int], special_ids: frozenset[int]) -> tuple[int, ...]:
    """The ids without the special tokens at their end."""
    surplus = len(list(takewhile(special_ids.__contains__, reversed(ids))))
    return tuple(ids[: len(ids) - surplus])
