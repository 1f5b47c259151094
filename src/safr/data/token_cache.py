"""Tokenized data sets, with a cache on disk."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.compute as pc
import tokenizers
from datasets import Dataset, load_from_disk
from transformers import PreTrainedTokenizerBase

from safr.data import archives
from safr.data.encoding import check_fast_tokenizer, read_backend, replace_surrogates, tokenize
from safr.data.quiet import hide_progress_bars
from safr.data.splits import Label, Text, split_pair
from safr.errors import InputError
from safr.storage import create_folder, hash_file

MAX_CACHED = 20
"""Cached folders to keep, the last used ones: enough for the training and dev texts of ten data sets."""

_FORMAT_VERSION = 2  # raised when the format of the written files changes
_DIGEST_FILE = "sha256"
_TEMPORARY_PREFIX = "part-"  # of a folder that is being written; one that a killed process left is deleted after a day
_DAY = 24 * 60 * 60  # seconds
_TEXTS_AT_ONCE = 1000  # an encoding is much larger than its ids, so only the ids are held for all texts


def tokenize_dataset(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[Text], labels: Sequence[Label], max_tokens: int | None = None
) -> Dataset:
    """One row per text, in order: `input_ids`, their number as `length`, and `labels`; of pairs `token_type_ids` too.

    The ids equal those of `encode`. They are read from disk when they are needed, from a folder in the user's cache
    that only its owner can read. They stay in memory if the cache can't be written or is switched off.

    Args:
        tokenizer: A fast tokenizer.
        texts: Any strings, or pairs of them, as tuples.
        labels: One class id per text; or a number to predict, or 0 and 1 for each class, which become float32.
        max_tokens: Most tokens of a text, special ones included. Default: no limit.

    Raises:
        InputError: In the same cases as `encode`.
    """
    check_fast_tokenizer(tokenizer)
    key = _compute_key(tokenizer, texts, labels, max_tokens)
    if key is None or os.environ.get("SAFR_TOKEN_CACHE") == "0":
        return _tokenize_rows(tokenizer, texts, labels, max_tokens)
    try:
        folder = archives.cache_folder() / "tokens" / key
    except InputError:  # the user has no home folder
        return _tokenize_rows(tokenizer, texts, labels, max_tokens)
    cached = _read_cached(folder, len(texts))
    if cached is not None:
        return cached
    rows = _tokenize_rows(tokenizer, texts, labels, max_tokens)
    try:
        _write(rows, folder)
        _drop_oldest(folder.parent)
    except OSError:  # no right to write, no room, or another process was faster
        return rows
    written = _read_cached(folder, len(texts))
    return rows if written is None else written


def _compute_key(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[Text], labels: Sequence[Label], max_tokens: int | None
) -> str | None:
    """SHA-256 (hex) of everything that the rows depend on; None for a tokenizer that can't be serialized."""
    if (backend := read_backend(tokenizer)) is None:
        return None
    options = (tokenizer.truncation_side, tokenizer.split_special_tokens, tokenizer.model_input_names)
    versions = (tokenizers.__version__, datasets.__version__)
    contents = [_FORMAT_VERSION, *versions, backend, *options, max_tokens, list(texts), list(labels)]
    return hashlib.sha256(json.dumps(contents).encode()).hexdigest()


def _tokenize_rows(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[Text], labels: Sequence[Label], max_tokens: int | None
) -> Dataset:
    parts = [texts[start : start + _TEXTS_AT_ONCE] for start in range(0, len(texts), _TEXTS_AT_ONCE)]
    columns: dict[str, list[pa.Array]] = {"input_ids": []}
    if isinstance(next(iter(texts), None), tuple) and "token_type_ids" in tokenizer.model_input_names:
        columns["token_type_ids"] = []
    for part in parts:
        pairs = [tuple(map(replace_surrogates, split_pair(text))) for text in part]
        encodings = tokenize(tokenizer, pairs, max_tokens)
        for name, attribute in (("input_ids", "ids"), ("token_type_ids", "type_ids")):
            if name in columns:
                rows = [getattr(encoding, attribute) for encoding in encodings]
                columns[name].append(pa.array(rows, type=pa.list_(pa.int32())))
    arrays = {name: pa.chunked_array(chunks, type=pa.list_(pa.int32())) for name, chunks in columns.items()}
    return Dataset.from_dict(
        arrays | {"length": pc.list_value_length(arrays["input_ids"]), "labels": _make_label_column(labels)}
    )


def _make_label_column(labels: Sequence[Label]) -> pa.Array:
    first = next(iter(labels), 0)
    if isinstance(first, tuple):
        return pa.array(labels, pa.list_(pa.float32()))
    return pa.array(labels, pa.float32() if isinstance(first, float) else pa.int64())


def _read_cached(folder: Path, size: int) -> Dataset | None:
    """The rows in the folder, mapped into memory, or None; a folder that can't be read is deleted."""
    if not os.path.isdir(folder):  # Path.is_dir would raise where the cache may not be entered
        return None
    try:
        # Arrow maps the files into memory: a damaged file would give wrong ids or crash the process.
        if (folder / _DIGEST_FILE).read_text() != _compute_digest(folder):
            raise ValueError("damaged")
        rows = load_from_disk(str(folder))
        if not {"input_ids", "length", "labels"} <= set(rows.column_names) or len(rows) != size:
            raise ValueError(f"expected {size} tokenized texts, got {rows}")
    except Exception:  # whatever is wrong with the folder, it can be written again
        shutil.rmtree(folder, ignore_errors=True)
        return None
    with contextlib.suppress(OSError):  # a folder that is read-only is used all the same
        os.utime(folder)  # marks the folder as just used
    return rows


def _write(rows: Dataset, folder: Path) -> None:
    """Write to a temporary folder beside it and rename that, so that nobody ever reads half of it."""
    with create_folder(folder, prefix=_TEMPORARY_PREFIX) as temporary:
        with hide_progress_bars():
            rows.save_to_disk(str(temporary))
        (temporary / _DIGEST_FILE).write_text(_compute_digest(temporary))


def _compute_digest(folder: Path) -> str:
    """SHA-256 (hex) of all files in the folder except the digest itself."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.name != _DIGEST_FILE:
            digest.update(f"{path.name} {path.stat().st_size} ".encode())
            digest.update(hash_file(path))
    return digest.hexdigest()


def _drop_oldest(parent: Path) -> None:
    """Delete all folders but the last used; a process that has one of them open can go on reading it."""
    by_use = sorted(parent.iterdir(), key=lambda folder: folder.stat().st_mtime, reverse=True)
    complete = [folder for folder in by_use if not folder.name.startswith(_TEMPORARY_PREFIX)]
    abandoned = [folder for folder in by_use if folder not in complete and folder.stat().st_mtime < time.time() - _DAY]
    for folder in complete[MAX_CACHED:] + abandoned:
        shutil.rmtree(folder, ignore_errors=True)
