"""Loads and checks a data set of the Hugging Face hub, or a local folder in the hub's format."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

from safr.data.cleaning import LabelledText, build_dataset, clean_rows, normalize_label
from safr.data.files import SPLIT_STEMS, RawRow, column_position
from safr.data.quiet import hide_progress_bars
from safr.data.splits import TextDataset
from safr.errors import InputError


def load_from_hub(name: str, columns: tuple[str, str]) -> TextDataset:
    """The data set of "hub:NAME" or "hub:NAME:CONFIGURATION"; the names in a ClassLabel column become the label names.

    A split whose labels are all hidden (-1) counts as absent, and absent splits are taken from "train".
    """
    splits = _load_splits(*split_hub_name(name))
    parts: dict[str, list[LabelledText]] = {}
    cleaned: Counter[str] = Counter()
    for part, stems in SPLIT_STEMS.items():
        for stem in stems:
            if stem in splits and part not in parts:
                rows, split_cleaned = clean_rows(_read_cells(splits[stem], f"{name}, {stem}", columns), columns)
                cleaned += split_cleaned
                if rows or part == "train":
                    parts[part] = rows
    if "train" not in parts:
        raise InputError(f"{name}: expected a split train, found {', '.join(map(str, splits)) or 'none'}")
    names = getattr(splits["train"].features[columns[1]], "names", ())
    label_names = [normalize_label(label) or label for label in names]  # as `clean_rows` writes them
    return build_dataset(name, parts, origin=name, cleaned=cleaned, label_names=label_names)


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
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"hub:{name} could not be loaded ({reason or type(error).__name__}); check the name and the network, "
            "write hub:NAME:CONFIGURATION where it has several, or download it elsewhere and give its folder"
        ) from error


def _read_cells(split: Any, place: str, columns: tuple[str, str]) -> list[RawRow]:
    """The rows of a split, with the numbers of a ClassLabel replaced by names, or by None where they are hidden."""
    for column in columns:
        column_position(column, split.column_names, place)
    texts, labels = split[columns[0]], split[columns[1]]
    names = getattr(split.features[columns[1]], "names", None)
    if names:
        labels = [names[label] if label is not None and label >= 0 else None for label in labels]
    return [RawRow(f"{place}, row {row}", cells) for row, cells in enumerate(zip(texts, labels, strict=True), start=1)]
