"""Training texts in, a word-level tokenizer out: words split at white space, words seen once are unknown."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.compute as pc
import tokenizers
from datasets import Dataset, load_from_disk
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from safr.data import archives
from safr.data.encoding import check_fast_tokenizer, replace_surrogates, tokenize
from safr.data.quiet import hide_progress_bars

PADDING, UNKNOWN = "[PAD]", "[UNK]"


MAX_CACHED = 20
"""Folders kept, those that were used last: ten data sets, each with its training and its dev texts."""


_FORMAT = 2  # raised when what is written changes


_DIGEST = "sha256"


_PART = "part-"  # how a folder's name begins while it is written; what a killed process leaves of one goes after a day


_DAY = 24 * 60 * 60


_TEXTS_AT_ONCE = 1000  # a tokenizer makes much more of a text than its ids, which alone are held for all


def train_word_tokenizer(texts: Iterable[str], *, minimum_count: int = 2) -> PreTrainedTokenizerFast:
    """The tokenizer of the paper's recipe: a saved vocabulary of the words that the training texts hold often enough.

    Source: the authors' published code, whose words keep their case and are split at white space only.

    Args:
        texts: The training texts.
        minimum_count: Times that a word must occur; rarer words share one unknown token.

    Returns:
        A tokenizer without special tokens around a text; ids are in the order in which the words first occur.

    >>> tokenizer = train_word_tokenizer(["a good film", "a good day"])
    >>> tokenizer("a bad film")["input_ids"]
    [2, 1, 1]
    """
    counts = Counter(word for text in texts for word in replace_surrogates(text).split())
    words = [word for word, count in counts.items() if count >= minimum_count and word not in (PADDING, UNKNOWN)]
    vocabulary = {word: number for number, word in enumerate([PADDING, UNKNOWN, *words])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PADDING,
        unk_token=UNKNOWN,
        model_input_names=["input_ids", "attention_mask"],
        # Cleaning up spaces would change words that the vocabulary holds as they are.
        clean_up_tokenization_spaces=False,
    )


def tokenize_dataset(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], labels: Sequence[int], max_tokens: int | None = None
) -> Dataset:
    """One row per text, in their order: `input_ids`, their number as `length`, and `labels`.

    The ids are those that `encode` gives. They are read from disk as they are needed, from a folder in the user's
    cache that is its owner's alone; where that can't be written or is switched off they stay in memory.

    Args:
        tokenizer: A fast tokenizer.
        texts: Any strings.
        labels: As many as texts.
        max_tokens: Tokens kept of each text, special ones included. Default: all.

    Raises:
        InputError: As `encode` does.
    """
    check_fast_tokenizer(tokenizer)
    key = _key(tokenizer, texts, labels, max_tokens)
    if key is None or os.environ.get("SAFR_TOKEN_CACHE") == "0":
        return _tokenized(tokenizer, texts, labels, max_tokens)
    folder = archives.cache_folder() / "tokens" / key
    known = _read(folder, len(texts))
    if known is not None:
        return known
    made = _tokenized(tokenizer, texts, labels, max_tokens)
    try:
        _write(made, folder)
        _drop_oldest(folder.parent)
    except OSError:  # no right to write, no room, or another process was faster
        return made
    written = _read(folder, len(texts))
    return made if written is None else written


def _key(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], labels: Sequence[int], max_tokens: int | None
) -> str | None:
    """SHA-256 (hex) of all that decides what is written; None for a tokenizer of which that can't be told."""
    try:
        backend = json.loads(tokenizer.backend_tokenizer.to_str())
    except Exception:  # a part of it is Python code, and tokenizers says so by nothing more exact
        return None
    backend |= {"truncation": None, "padding": None}  # left there by the last call; every call sets its own
    sides = (tokenizer.truncation_side, tokenizer.split_special_tokens)
    versions = (tokenizers.__version__, datasets.__version__)
    decides = [_FORMAT, *versions, backend, *sides, max_tokens, list(texts), list(labels)]
    return hashlib.sha256(json.dumps(decides).encode()).hexdigest()


def _tokenized(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], labels: Sequence[int], max_tokens: int | None
) -> Dataset:
    parts = [texts[start : start + _TEXTS_AT_ONCE] for start in range(0, len(texts), _TEXTS_AT_ONCE)]
    ids = pa.chunked_array([_ids(tokenizer, part, max_tokens) for part in parts], type=pa.list_(pa.int32()))
    return Dataset.from_dict(
        {"input_ids": ids, "length": pc.list_value_length(ids), "labels": pa.array(labels, pa.int64())}
    )


def _ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_tokens: int | None) -> pa.Array:
    made = tokenize(tokenizer, [(replace_surrogates(text),) for text in texts], max_tokens)
    return pa.array([encoding.ids for encoding in made], type=pa.list_(pa.int32()))


def _read(folder: Path, size: int) -> Dataset | None:
    """What the folder holds, mapped into memory; a folder that can't be read is thrown away."""
    if not os.path.isdir(folder):  # Path.is_dir would raise where the cache may not be entered
        return None
    try:
        # Arrow maps what it finds into memory: of a damaged file it would give other ids, or end the process.
        if (folder / _DIGEST).read_text() != _digest(folder):
            raise ValueError("damaged")
        found = load_from_disk(str(folder))
        if found.column_names != ["input_ids", "length", "labels"] or len(found) != size:
            raise ValueError(f"expected {size} tokenized texts, got {found}")
    except Exception:  # whatever is wrong with it, it can be made anew
        shutil.rmtree(folder, ignore_errors=True)
        return None
    with contextlib.suppress(OSError):  # nothing is lost where it may only be read
        os.utime(folder)  # it was used now
    return found


def _write(made: Dataset, folder: Path) -> None:
    """Write beside the folder and rename, so that nobody ever finds half of it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=_PART, dir=folder.parent))
    try:
        with hide_progress_bars():
            made.save_to_disk(str(temporary))
        (temporary / _DIGEST).write_text(_digest(temporary))
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _digest(folder: Path) -> str:
    """SHA-256 (hex) of the files that `datasets` has written."""
    found = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.name != _DIGEST:
            found.update(f"{path.name} {path.stat().st_size} ".encode())
            with path.open("rb") as file:
                found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()


def _drop_oldest(parent: Path) -> None:
    """Keep the folders that were used last; a process that reads one of the others can still do so."""
    by_use = sorted(parent.iterdir(), key=lambda folder: folder.stat().st_mtime, reverse=True)
    whole = [folder for folder in by_use if not folder.name.startswith(_PART)]
    left = [folder for folder in by_use if folder not in whole and folder.stat().st_mtime < time.time() - _DAY]
    for folder in whole[MAX_CACHED:] + left:
        shutil.rmtree(folder, ignore_errors=True)
