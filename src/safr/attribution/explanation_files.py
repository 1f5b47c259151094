"""`explain_to_parquet`, which explains any number of texts into one Parquet file and goes on where it was stopped."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import ExitStack, suppress
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

import safr
from safr.attribution.explain import explain_texts
from safr.attribution.explanation import build_word_table, word_schema
from safr.data.encoding import check_fast_tokenizer, check_max_tokens, check_text, has_order, read_backend
from safr.data.splits import Text
from safr.errors import InputError, describe_value
from safr.inference import check_model
from safr.progress import Progress, no_progress
from safr.storage import alone_in, name_disk_errors, read_json, read_parquet, replace_file, write_json, write_parquet

if TYPE_CHECKING:
    import pyarrow

TEXTS_PER_PART = 1_000
"""Texts that are held at a time, and that a killed process may have to explain again."""

_ROWS_PER_GROUP = 100_000
"""Rows of the file that are written, and can be read, at a time."""

_SETTINGS_FILE = "settings.json"
_DIGEST = b"safr.texts"


def explain_to_parquet(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Iterable[Text],
    path: str | Path,
    *,
    max_tokens: int | None = None,
    method: str | None = None,
    target: str | int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Explain any number of texts into a Parquet file, one row per word, in the columns of `Explanations.to_pandas`.

    The texts are read, run and written 1,000 at a time, so that memory does not grow with their number. Each thousand
    becomes a part in a hidden folder beside the file. At the end the parts become the file at once, and the folder is
    removed. A call that was stopped is called again with the same texts: what has its part is not explained again, and
    the file is the same as without the stop.

    Args:
        model: See `safr.explain`.
        tokenizer: Its tokenizer.
        texts: Texts and pairs, from a list or anything else that gives one after the other. To go on, all texts are
            read again from the first.
        path: The file; one that is there is replaced at the end.
        max_tokens: Tokens read of a text. Default: all.
        method: See `safr.explain`.
        target: See `safr.explain`.
        progress: Called with the number of texts that are done, and of all texts where they have a length.

    Returns:
        The path of the file.

    Raises:
        InputError: A text can't be explained (see `safr.explain`; the message names it by its number, from 0), or the
            kept parts are of another model, tokenizer, `max_tokens`, version of SAFR or of other texts.
        OSError: The disk is full, the folder is read-only, ...
    """
    check_model(model)
    check_fast_tokenizer(tokenizer)
    check_max_tokens(max_tokens)
    if not has_order(texts):
        raise InputError(
            f"expected a list of texts, or something that gives them in order, got {describe_value(texts)}"
        )
    max_tokens = None if max_tokens is None else int(max_tokens)  # numpy's numbers can't be written as JSON
    target = int(target) if isinstance(target, Integral) and not isinstance(target, bool) else target
    path, report = Path(path), progress or no_progress("")
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: expected the name of a file, found something else there")
    folder = path.with_name(f".{path.name}.parts")
    with name_disk_errors(path), ExitStack() as at_end:
        folder.mkdir(parents=True, exist_ok=True)
        at_end.callback(_remove_empty, folder)  # last of all, without the lock
        at_end.enter_context(alone_in(folder))
        at_end.callback(_forget_settings, folder)
        options = {"max_tokens": max_tokens, "method": method, "target": target}
        _check_settings(folder, _describe_settings(model, tokenizer) | options)
        parts = _write_parts(model, tokenizer, texts, folder, options, report)
        _join_parts(parts, path)
        for part in parts:
            part.unlink()
    return path


def _forget_settings(folder: Path) -> None:
    """Delete the settings where no part is kept that was made with them."""
    if not any(folder.glob("*.parquet")):
        (folder / _SETTINGS_FILE).unlink(missing_ok=True)


def _remove_empty(folder: Path) -> None:
    """Delete the folder, unless parts are kept or another call waits in it."""
    with suppress(OSError):
        folder.rmdir()


def _write_parts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Iterable[Text],
    folder: Path,
    options: Mapping[str, Any],
    report: Progress,
) -> list[Path]:
    """The files of all parts, in order; those that are not there yet are written."""
    total = len(texts) if isinstance(texts, Sized) else None
    parts: list[Path] = []
    done = 0
    for chunk in _iter_chunks(texts):
        part = _name_part(folder, len(parts))
        digest = hashlib.sha256(json.dumps(chunk).encode()).hexdigest()
        if part.exists():
            _check_part(part, digest, done, len(chunk))
        else:
            explanations = explain_texts(model, tokenizer, chunk, first=done, **options)
            table = build_word_table(explanations, first=done)
            write_parquet(part, table.replace_schema_metadata({_DIGEST: digest}))
        parts.append(part)
        done += len(chunk)
        report(done, total)
    if _name_part(folder, len(parts)).exists():
        raise _make_other_texts_error(folder, f"there are {done:,} texts, but the parts that are kept hold more")
    return parts


def _name_part(folder: Path, number: int) -> Path:
    return folder / f"{number:06}.parquet"


def _iter_chunks(texts: Iterable[Any]) -> Iterator[list[Text]]:
    """Checked texts, so many at a time as make a part; no more are read ahead."""
    checked = (check_text(text, f"text {number}: ") for number, text in enumerate(texts))
    while chunk := list(itertools.islice(checked, TEXTS_PER_PART)):
        yield chunk


def _describe_settings(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """What the numbers depend on beside the texts."""
    backend = read_backend(tokenizer) or {"vocabulary": tokenizer.get_vocab()}
    special = sorted(tokenizer.all_special_ids), tokenizer.truncation_side, tokenizer.model_input_names
    return {
        "version of SAFR": safr.__version__,
        "model": _hash_model(model),
        "tokenizer": hashlib.sha256(json.dumps([backend, special]).encode()).hexdigest(),
        "number of texts in a part": TEXTS_PER_PART,
    }


def _hash_model(model: PreTrainedModel) -> str:
    """SHA-256 of a model's config and weights."""
    digest = hashlib.sha256(model.config.to_json_string(use_diff=False).encode())
    for name, value in model.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _check_settings(folder: Path, settings: dict[str, Any]) -> None:
    """Write the settings down, or compare them with those of the kept parts."""
    file = folder / _SETTINGS_FILE
    if not any(folder.glob("*.parquet")):
        write_json(file, settings)
        return
    kept = read_json(file, {"type": "object"}, advice=f"delete the folder {folder} to start over")
    if different := [name for name, value in settings.items() if kept.get(name) != value]:
        raise InputError(
            f"{folder}: holds parts that were made with another {' and another '.join(different)}; "
            "delete it to start over, or name another file"
        )


def _check_part(part: Path, digest: str, first: int, count: int) -> None:
    table = read_parquet(part, advice="delete it, and it is made again")
    if (table.schema.metadata or {}).get(_DIGEST) != digest.encode():
        raise _make_other_texts_error(part.parent, f"among the texts {first} to {first + count - 1} is another")


def _make_other_texts_error(folder: Path, difference: str) -> InputError:
    return InputError(
        f"{folder}: holds parts of other texts ({difference}); give the same texts, delete it to start over, or name "
        "another file"
    )


def _join_parts(parts: Sequence[Path], path: Path) -> None:
    """Write the rows of all parts to one file, some parts at a time."""
    import pyarrow
    from pyarrow import parquet

    schema = word_schema()
    with replace_file(path) as temporary, parquet.ParquetWriter(temporary, schema) as writer:
        tables: list[pyarrow.Table] = []
        for part in parts:
            tables.append(read_parquet(part).replace_schema_metadata(None))
            if sum(table.num_rows for table in tables) >= _ROWS_PER_GROUP:
                writer.write_table(pyarrow.concat_tables(tables))
                tables = []
        if tables:
            writer.write_table(pyarrow.concat_tables(tables))
