"""What a model that writes text learns and is judged by: the tokens that come after a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from datasets import Dataset
from tokenizers import Encoding
from transformers import PreTrainedTokenizerBase

from safr.data.encoding import count_end_tokens, encode, replace_surrogates, special_token_ids, tokenize
from safr.data.splits import Split, hash_text
from safr.errors import InputError

IGNORED = -100
"""Label of a token that is not to be written, as in transformers."""

_WORDS_BEFORE = 2
"""Words before the place where a text is cut, at least, so that one of them can be deleted."""

_MOST_TRIES = 8
"""Places where a text is cut until its beginning has the same tokens alone as in the whole text."""


_Cut = tuple[int, str]
"""Number of a token, and the text before it."""


@dataclass(frozen=True)
class TargetRow:
    """One text as a model that writes is trained on it."""

    ids: tuple[int, ...]
    """Token ids that the model, or an encoder, is given."""

    labels: tuple[int, ...]
    """Token ids to write, an id of `ids` each, or those of a decoder's output; `IGNORED` where nothing is written."""

    text: int = 0
    """Number of the text; a long one that is itself the target has several rows."""

    token_types: tuple[int, ...] = ()
    """Token type ids, which tell the texts of a pair apart; empty if the tokenizer makes none."""


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
            "an encoder-decoder writes one text after reading another, but the data have only one text a row; name "
            "the columns of both by --text-column and --label-column"
        )
    inputs = tokenize(tokenizer, [(text,) for text in texts], max_tokens)
    outputs = tokenizer(text_target=targets)["input_ids"]
    return [
        TargetRow(tuple(encoding.ids), _cut_output(tokenizer, output, max_tokens), number)
        for number, (encoding, output) in enumerate(zip(inputs, outputs, strict=True))
    ]


def make_target_dataset(rows: Sequence[TargetRow], *, shifted: bool) -> Dataset:
    """The rows for the Trainer: `input_ids`, their number as `length`, `labels`, and `token_type_ids` if there are any.

    Rows without anything to learn are left out.

    Args:
        rows: From `tokenize_targets`, `tokenize_tags` or `tokenize_answers`.
        shifted: Whether a token is written after those before it, as in a causal model, so that the first is not.

    Raises:
        InputError: Fewer than two rows are left.
    """
    kept = [row for row in rows if any(label != IGNORED for label in row.labels[shifted:])]
    if len(kept) < 2:
        raise InputError(
            f"expected at least 2 texts with tokens to learn, got {len(kept)} of {len(rows)}; raise `max_tokens`, or "
            "bring others"
        )
    types = {"token_type_ids": [row.token_types for row in kept]} if kept[0].token_types else {}
    return Dataset.from_dict(
        {
            "input_ids": [row.ids for row in kept],
            "length": [len(row.ids) for row in kept],
            "labels": [row.labels for row in kept],
            **types,
        }
    )


def make_prompts(
    tokenizer: PreTrainedTokenizerBase,
    split: Split,
    max_tokens: int | None = None,
    *,
    encoder_decoder: bool,
    forced: int | None = None,
) -> tuple[Split, int]:
    """Texts with the id of the token that comes next, by which a model is judged, and how many texts have none.

    The token is the first one of the target that can be seen: a mark of a space alone goes to the text of a causal
    model. Where the text itself is the target, it is cut before a word that its SHA-256 chooses, with two words before
    it at least. Left out are texts that can't be cut so, those with a token that reaches into the target or changes
    without it, those of a causal model whose end is cut off, and those of an encoder-decoder whose output begins with a
    mark.

    Args:
        tokenizer: A fast tokenizer.
        split: Texts, and what is to be written after each, or "" for the text itself.
        max_tokens: Most tokens of a text. Default: no limit.
        encoder_decoder: Whether the model is one.
        forced: The token that begins every output of an encoder-decoder, which is not judged.

    Raises:
        InputError: As `tokenize_targets`, or fewer than two texts are left.
    """
    if encoder_decoder:
        prompts = _find_first_outputs(tokenizer, split, forced)
    else:
        prompts = _find_next_tokens(tokenizer, split, max_tokens)
    kept = [prompt for prompt in prompts if prompt is not None]
    if len(kept) < 2:
        advice = (
            "the others are tokenized differently with their target than without, or it begins with a token for a space"
            if any(split.labels)
            else f"bring texts of more than {_WORDS_BEFORE} words, or targets"
        )
        raise InputError(
            f"expected at least 2 texts with a token to write after them, got {len(kept)} of {len(split)}; {advice}"
        )
    return Split(tuple(text for text, _ in kept), tuple(token for _, token in kept)), len(split) - len(kept)


def _read_texts(split: Split) -> list[str]:
    if any(isinstance(text, tuple) for text in split.texts):
        raise InputError(
            "a model that writes text reads single texts, but these are pairs; join each pair into one text"
        )
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


def _cut_output(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], most: int | None) -> tuple[int, ...]:
    """The ids of a target with the end token, of which a long one loses what stands before that."""
    whole = _add_end(tokenizer, ids)
    if most is None or len(whole) <= most:
        return tuple(whole)
    ends = whole[-1:] if whole[-1] in special_token_ids(tokenizer) else []
    return (*whole[: most - len(ends)], *ends)


def _join(text: str, target: str) -> str:
    has_space = not target or text[-1:].isspace() or target[:1].isspace()
    return text + target if has_space else f"{text} {target}"


def _add_end(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> list[int]:
    """The ids and the end token, unless the tokenizer has none or has added it."""
    end = tokenizer.eos_token_id
    return [*ids] if end is None or ids[-1:] == [end] else [*ids, end]


def find_common_mark(tokenizer: PreTrainedTokenizerBase, split: Split) -> int | None:
    """The mark of a space that begins every target of an encoder-decoder, as of Chinese ones; None if there is none."""
    special_ids = special_token_ids(tokenizer)
    rows = tokenize_targets(tokenizer, split, encoder_decoder=True)
    first = {next((label for label in row.labels if label not in special_ids), None) for row in rows}
    (mark,) = first if len(first) == 1 else (None,)
    return None if mark is None or str(tokenizer.decode([mark])).strip() else mark


def _find_first_outputs(
    tokenizer: PreTrainedTokenizerBase, split: Split, forced: int | None
) -> list[tuple[str, int] | None]:
    """Every text with the first token of its target; None where nobody can see that token."""
    special_ids = special_token_ids(tokenizer)
    prompts: list[tuple[str, int] | None] = []
    for text, row in zip(_read_texts(split), tokenize_targets(tokenizer, split, encoder_decoder=True), strict=True):
        tokens = [label for label in row.labels if label not in special_ids]
        first = next(iter(tokens[tokens[:1] == [forced] :]), None)
        is_seen = first is not None and str(tokenizer.decode([first])).strip()
        prompts.append((text, first) if first is not None and is_seen else None)
    return prompts


def _find_next_tokens(
    tokenizer: PreTrainedTokenizerBase, split: Split, max_tokens: int | None
) -> list[tuple[str, int] | None]:
    """Beginnings of texts with the token after them; None where there is no place to cut a text."""
    texts, ends, special_ids = _read_texts(split), count_end_tokens(tokenizer), special_token_ids(tokenizer)
    # A text that loses its end is no longer what comes before the token.
    most = None if max_tokens is None or tokenizer.truncation_side == "left" else max_tokens - ends
    wholes = [_join(text, replace_surrogates(str(target))) for text, target in zip(texts, split.labels, strict=True)]
    encodings = tokenize(tokenizer, [(whole,) for whole in wholes])
    places = [
        _list_target_cuts(whole, len(text), encoding, most, special_ids)
        if target
        else _list_word_cuts(tokenizer, whole, encoding, max_tokens)
        for text, target, whole, encoding in zip(texts, split.labels, wholes, encodings, strict=True)
    ]
    prompts: list[tuple[str, int] | None] = [None] * len(texts)
    for turn in range(max(map(len, places), default=0)):
        numbers = [number for number, prompt in enumerate(prompts) if prompt is None and turn < len(places[number])]
        if not numbers:
            break
        alone = tokenize(tokenizer, [(places[number][turn][1],) for number in numbers])
        for number, encoding in zip(numbers, alone, strict=True):
            (place, cut), ids = places[number][turn], encodings[number].ids
            if encoding.ids[: len(encoding.ids) - ends] == ids[:place]:
                prompts[number] = cut, ids[place]
    return prompts


def _list_target_cuts(
    whole: str, length: int, encoding: Encoding, most: int | None, special_ids: frozenset[int]
) -> list[_Cut]:
    """The places before the first token of the target, which begins after so many characters of the whole."""
    for place, (start, end) in enumerate(encoding.offsets):
        if whole[max(start, length) : end].strip() and encoding.ids[place] not in special_ids:
            reaches_back = bool(whole[start:length].strip())
            is_read = most is None or place <= most
            return [] if reaches_back or not is_read else _list_cuts(whole, encoding, place)
    return []


def _list_word_cuts(
    tokenizer: PreTrainedTokenizerBase, text: str, encoding: Encoding, max_tokens: int | None
) -> list[_Cut]:
    """The places before words, those that the text's hash chooses first; at least two words stand before each."""
    (read,) = encode(tokenizer, [text])
    words = range(_WORDS_BEFORE, len({owner for owner in read.word_of_token[:max_tokens] if owner is not None}))
    turn = int(hash_text(text), 16) % len(words) if words else 0
    cuts: list[_Cut] = []
    for word in [*words[turn:], *words[:turn]][:_MOST_TRIES]:
        tokens = [token for token, owner in enumerate(read.word_of_token) if owner == word]
        seen = [token for token in tokens if text[slice(*encoding.offsets[token])].strip()]
        cuts += _list_cuts(text, encoding, seen[0]) if seen else []
    return cuts


def _list_cuts(whole: str, encoding: Encoding, place: int) -> list[_Cut]:
    """The whole up to a token, without the white space before it, with a part of it that is not the token's, or all."""
    start, end = encoding.offsets[place]
    before = whole[: end - len(whole[start:end].lstrip())]
    cuts = dict.fromkeys((before.rstrip(), whole[:start], before[:-1], before))
    return [(place, cut) for cut in cuts if cut.strip() and not whole[len(cut) : len(before)].strip()]
