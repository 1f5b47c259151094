"""Loads and checks a data set of the Hugging Face hub, or a local folder that `datasets` reads."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safr.config import Task
from safr.data.cleaning import LabelledText, build_dataset, clean_rows
from safr.data.files import SPLIT_STEMS, Columns, RawRow, column_positions
from safr.data.labels import normalize_label_names
from safr.data.messages import list_names, refuse_unreadable, shorten_path
from safr.data.quiet import hide_progress_bars
from safr.data.splits import TextDataset
from safr.errors import InputError, shorten_text


def load_from_hub(name: str, columns: Columns, task: Task | None = None) -> TextDataset:
    """The data set of "hub:NAME" or "hub:NAME:CONFIGURATION"; the names in a ClassLabel column become the label names.

    A split whose labels are all hidden (-1) counts as absent, and absent splits are taken from "train".
    """
    repository, configuration = split_hub_name(name)
    saved = is_saved_dataset(Path(repository))
    splits = _load_saved(Path(repository)) if saved else _load_splits(repository, configuration)
    return _build_from_splits(name, splits, columns, task)


def load_saved_dataset(name: str, folder: Path, columns: Columns, task: Task | None = None) -> TextDataset:
    """The data set in a folder that `Dataset.save_to_disk` or `DatasetDict.save_to_disk` has written."""
    return _build_from_splits(name, _load_saved(folder), columns, task)


def is_saved_dataset(folder: Path) -> bool:
    """Whether `save_to_disk` has written the folder."""
    return any(os.path.isfile(folder / file) for file in ("dataset_dict.json", "state.json"))


def split_hub_name(name: str) -> tuple[str, str | None]:
    """The repository or folder in "hub:NAME" or "hub:NAME:CONFIGURATION", and the configuration, or None without one.

    >>> split_hub_name("hub:nyu-mll/glue:sst2"), split_hub_name("hub:stanfordnlp/imdb")
    (('nyu-mll/glue', 'sst2'), ('stanfordnlp/imdb', None))
    """
    name = name.removeprefix("hub:")
    repository, colon, configuration = name.rpartition(":")
    if not colon or os.path.exists(name):  # a folder's name may hold a colon
        return name, None
    return repository, configuration


def _load_splits(name: str, configuration: str | None) -> dict[str, Any]:
    import datasets

    try:
        with hide_progress_bars():
            return datasets.load_dataset(name, configuration)
    except Exception as error:  # any error of the network, the hub or a broken file becomes one line for the user
        reason = shorten_text(" ".join(str(error).split()) or type(error).__name__, 100)
        raise InputError(
            f"hub:{shorten_path(name)[-60:]} could not be loaded ({reason}); check the name and the network, "
            "write hub:NAME:CONFIGURATION if it has several, or download it elsewhere and give its folder"
        ) from error


def _load_saved(folder: Path) -> dict[str, Any]:
    """The splits of a folder that `save_to_disk` has written; a data set without splits is "train"."""
    import datasets

    place = shorten_path(folder)
    with refuse_unreadable(place, "not a whole folder of save_to_disk", "save it again"), hide_progress_bars():
        saved = datasets.load_from_disk(str(folder))
        splits = dict(saved) if isinstance(saved, datasets.DatasetDict) else {"train": saved}
        for split in splits.values():
            # The files are mapped into memory, where reading a damaged one could end the process.
            split.data.table.validate(full=True)
    return splits


def _build_from_splits(name: str, splits: dict[str, Any], columns: Columns, task: Task | None) -> TextDataset:
    place = shorten_path(name)
    parts: dict[str, list[LabelledText]] = {}
    cleaned: Counter[str] = Counter()
    for part, stems in SPLIT_STEMS.items():
        for stem in stems:
            if stem in splits and part not in parts:
                split = splits[stem]
                rows = _read_cells(split, f"{place}, {stem}", columns)
                parts[part], split_cleaned = clean_rows(rows, columns, _read_class_names(split, columns), task)
                cleaned += split_cleaned
                if not parts[part] and part != "train":
                    del parts[part]
    if "train" not in parts:
        raise InputError(f"{place}: expected a split train, found {list_names(list(splits)).replace(chr(39), '')}")
    label_names = _read_class_names(splits["train"], columns)
    return build_dataset(name, parts, columns, origin=name, cleaned=cleaned, label_names=label_names, task=task)


def _read_class_names(split: Any, columns: Columns) -> list[str]:
    """The names of a ClassLabel column, or of a list of them, numbers written as everywhere; none of others."""
    feature = split.features[columns.labels[0]] if len(columns.labels) == 1 else None
    return normalize_label_names(getattr(getattr(feature, "feature", feature), "names", None) or ())


def _read_cells(split: Any, place: str, columns: Columns) -> Iterator[RawRow]:
    column_positions(columns.names, split.column_names, place)
    return _iter_cells(split, place, columns)


def _iter_cells(split: Any, place: str, columns: Columns) -> Iterator[RawRow]:
    with refuse_unreadable(place, "the rows cannot be read", "write the data set again"):
        for row, cells in enumerate(zip(*(split[name] for name in columns.names), strict=True), start=1):
            yield RawRow(f"{place}, row {row}", cells)
