"""A run is a folder: its settings, history, scores, words and figures; it loads its model and its data.

Its files are written whole or not at all (see `safr.storage`).
"""

from __future__ import annotations

import json
import os
import platform
import re
import shlex
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from filelock import FileLock, Timeout
from transformers import PreTrainedModel, PreTrainedTokenizerBase

import safr
from safr.config import PAPER_MODEL, QUESTION_TASKS, Settings, Task
from safr.data import TextDataset, load_data
from safr.errors import InputError
from safr.model.pretrained_tokenizer import load_tokenizer
from safr.model.save import default_device, load
from safr.progress import Progress
from safr.storage import CHECKSUMS_FILE, keep_checksums, read_json, read_json_lines, read_parquet, write_json

if TYPE_CHECKING:
    import pyarrow

LOCK_SECONDS = 0.3
"""How long a lock is waited for that nobody is to wait for: it may just be given back."""

_LEFTOVER = re.compile(r"\.([0-9a-f]{32}\.part|saving-\w+|model|figures)")
"""Names of what is being written, in the run's folder and the folders in it."""

_PACKAGES = ("torch", "transformers", "tokenizers", "datasets", "numpy", "scipy")


@dataclass(frozen=True)
class Run:
    """A run's folder and the names in it."""

    folder: Path

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.resolve().name

    @property
    def config_file(self) -> Path:
        """Settings, versions and the data's fingerprint."""
        return self.folder / "config.json"

    @property
    def model_folder(self) -> Path:
        """The trained model, as `safr.save` writes it."""
        return self.folder / "model"

    @property
    def checkpoints_folder(self) -> Path:
        """What the Trainer needs to resume."""
        return self.folder / "checkpoints"

    @property
    def logs_folder(self) -> Path:
        """Event files of TensorBoard and local files of Weights & Biases, if the training was reported to them."""
        return self.folder / "logs"

    @property
    def divergence_file(self) -> Path:
        """Says why the training diverged, if it did."""
        return self.folder / "diverged.json"

    @property
    def history_file(self) -> Path:
        """One JSON line per epoch."""
        return self.folder / "history.jsonl"

    @property
    def word_history_file(self) -> Path:
        """One JSON line before training and one per epoch: capacity of the words of a few texts."""
        return self.folder / "word_history.jsonl"

    @property
    def scores_file(self) -> Path:
        """What the evaluation found."""
        return self.folder / "scores.json"

    @property
    def words_file(self) -> Path:
        """One row per word of the test texts."""
        return self.folder / "tokens.parquet"

    @property
    def neurons_file(self) -> Path:
        """One row per neuron of the explaining layer, with the words of the test texts that drive it most."""
        return self.folder / "neurons.parquet"

    @property
    def examples_file(self) -> Path:
        """A few test texts to show."""
        return self.folder / "examples.json"

    @property
    def figures_folder(self) -> Path:
        """Pictures."""
        return self.folder / "figures"

    @property
    def benchmark_file(self) -> Path:
        """How its explanations fare beside those of other methods."""
        return self.folder / "benchmark.json"

    @property
    def attributions_folder(self) -> Path:
        """Scores of attribution methods, a Parquet file a method, with what it cost."""
        return self.folder / "benchmark" / "scores"

    @property
    def benchmark_values_file(self) -> Path:
        """The same for every single text."""
        return self.folder / "benchmark.parquet"

    @property
    def record(self) -> dict[str, Any]:
        """What `config.json` holds."""
        return read_json(self.config_file, _schema("record"))

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the data that it was trained on."""
        return self.record["data"]["fingerprint"]

    @property
    def task(self) -> Task:
        """What its model says about a text."""
        task: Task = self.record["data"].get("task", "classification")  # older runs are all of classification
        return task

    @property
    def has_pairs(self) -> bool:
        """Whether its texts are pairs."""
        return self.settings.has_pairs or self.task in QUESTION_TASKS

    @property
    def settings(self) -> Settings:
        """The settings the run was made with."""
        try:
            return Settings.from_dict(_add_tokenizer(self.record["settings"]))
        except InputError as error:
            message = str(error)
            raise InputError(message if str(self.config_file) in message else f"{self.config_file}: {error}") from error
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InputError(f"{self.config_file}: expected a run's settings, found none that can be read") from error

    @property
    def scores(self) -> dict[str, Any]:
        """What the evaluation found on the test split; an InputError where it has not run."""
        if not self.scores_file.exists():
            raise InputError(f"{self.folder}: not evaluated yet; run `safr evaluate {self.folder}` first")
        return self.read_scores(self.scores_file)

    def read_scores(self, path: Path) -> dict[str, Any]:
        """What the evaluation of a split found, from its file."""
        is_test = path == self.scores_file
        advice = f"run `safr evaluate {self.folder}` again" if is_test else "delete it and give the same command again"
        return read_json(path, _schema("scores"), advice=advice)

    @property
    def examples(self) -> list[dict[str, Any]]:
        """A few test texts or pairs to show, with their labels and why they are shown."""
        examples = read_json(self.examples_file, _schema("examples"), advice=f"run `safr evaluate {self.folder}` again")
        texts = [example["text"] for example in examples]
        pairs = [text if isinstance(text, str) else tuple(text) for text in texts]
        return [example | {"text": text} for example, text in zip(examples, pairs, strict=True)]

    @property
    def benchmark(self) -> dict[str, Any]:
        """What the benchmark found."""
        schema = read_json(Path(str(files("safr"))) / "evaluation" / "benchmark.schema.json")
        return read_json(self.benchmark_file, schema, advice=f"delete it and run `safr benchmark {self.folder}` again")

    def read_words(self, columns: Mapping[str, str], *, optional: Mapping[str, str] | None = None) -> pyarrow.Table:
        """Columns of the table of words, by name with what they hold; see `safr.storage.read_parquet`."""
        if not self.words_file.exists():
            raise InputError(
                f"{self.folder}: keeps no words of its test texts; run `safr evaluate {self.folder}` first"
            )
        advice = f"run `safr evaluate {self.folder}` again"
        return read_parquet(self.words_file, columns, optional=optional, advice=advice)

    @property
    def history(self) -> list[dict[str, Any]]:
        """One entry per finished epoch; empty where nothing was trained, an InputError where it is damaged."""
        if not os.path.lexists(self.history_file):  # a link that leads nowhere is damage
            return []
        return read_json_lines(self.history_file, _schema("history"))

    @property
    def word_history(self) -> list[dict[str, Any]]:
        """How the words of a few texts part in training; empty where that was not kept, an InputError where damaged."""
        if not os.path.lexists(self.word_history_file):
            return []
        return read_json_lines(self.word_history_file, _schema("word_history"))

    @property
    def is_trained(self) -> bool:
        """Whether the final model is there."""
        return (self.model_folder / "config.json").is_file()

    @property
    def is_adopted(self) -> bool:
        """Whether its model was trained elsewhere."""
        return bool(self.record.get("adopted", False))

    def check_adopted(self, settings: Settings, adopted: str) -> None:
        """Raise an InputError unless it holds this model with the data that these settings name, read in this way."""
        names = ("model", "data", "text_column", "label_column")
        is_same = self.record.get("adopted") == adopted and all(
            self.settings.get(name) == settings.get(name) for name in names
        )
        is_same = is_same and settings.task in ("auto", self.settings.task)
        if not is_same or settings.recipe.max_tokens not in (None, self.settings.recipe.max_tokens):
            raise InputError(
                f"{self.folder}: holds another model, or the same one before it was changed or with other options for "
                "the data; remove it, or call `safr evaluate` with another --output"
            )

    def check_copied(self) -> None:
        """Raise an InputError where what copied a model here was stopped before the model was there."""
        if self.is_adopted and not self.is_trained:
            raise InputError(f"{self.folder}: its model was not copied to the end; call `{self.command}` again")

    @property
    def command(self) -> str:
        """The command that makes it again."""
        if not self.is_adopted:
            return self.settings.command
        return shlex.join(["safr", "evaluate", self.settings.model, *self.settings.data_options])

    def was_made_with(self, settings: Settings) -> bool:
        """Whether these settings were asked for; a `max_tokens` that nobody chose may have been cut for the model."""
        recorded = self.settings
        was_cut = self.record.get("max_tokens_cut", False)
        return settings == recorded or (was_cut and settings == recorded.changed(max_tokens=None))

    @contextmanager
    def lock(self, *, wait: bool = False) -> Iterator[None]:
        """Keep other processes from writing into the run; what dead ones were writing is removed.

        The folder is made if it isn't there. The system gives the lock back if the process dies. A thread that holds it
        may take it again.

        Args:
            wait: Wait for another process that holds it.

        Raises:
            InputError: Another process holds it, or the folder can't be written to.
        """
        is_new = not self.folder.exists()
        path = self.folder / ".lock"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path.resolve(), timeout=-1 if wait else LOCK_SECONDS, is_singleton=True)
            is_outermost = not lock.is_locked
            lock.acquire(poll_interval=LOCK_SECONDS / 10)
        except Timeout:
            raise InputError(f"{self.folder}: {self._describe_holder()}; wait until it has finished") from None
        except OSError as error:
            raise InputError(f"{self.folder}: can't be written to ({error.strerror or error})") from error
        try:
            if is_outermost:
                self._remove_leftovers()
                self._write_holder()
            yield
        finally:
            if is_outermost:
                self._holder_file.unlink(missing_ok=True)
                with suppress(OSError):  # where an open file can't be deleted it stays, which matters to nobody
                    path.unlink()
            lock.release()
            if is_outermost and is_new:
                with suppress(OSError):  # it holds something, as it should
                    self.folder.rmdir()

    @property
    def _holder_file(self) -> Path:
        """Says who holds the lock."""
        return self.folder / ".lock.json"

    def _write_holder(self) -> None:
        since = datetime.now(UTC).isoformat(timespec="seconds")
        with suppress(OSError):  # it only makes a message better
            self._holder_file.write_text(
                json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since}), encoding="utf-8"
            )

    def _describe_holder(self) -> str:
        try:
            holder = json.loads(self._holder_file.read_text(encoding="utf-8"))
            return f"process {holder['pid']} on {holder['host']} has worked on it since {holder['since']}"
        except (OSError, ValueError, KeyError, TypeError):
            return "another process works on it"

    def _remove_leftovers(self) -> None:
        """Remove what processes were writing that are dead, since this one holds the lock."""
        for path in list(self.folder.rglob(".*")):
            if _LEFTOVER.fullmatch(path.name):
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)

    def load_model(
        self, *, device: torch.device | str | None = None
    ) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
        """The trained model in evaluation mode, and its tokenizer.

        Args:
            device: Where the model goes, such as `cpu` or `cuda:1`. Default: the GPU, where CUDA finds one.

        Raises:
            InputError: The model is not there or is damaged, or the device is not there.
        """
        model, tokenizer = load(self.model_folder, device=device or default_device()), load_tokenizer(self.model_folder)
        _check_vocabulary(self.model_folder, model, tokenizer)
        return model, tokenizer

    def load_data(
        self, *, data_dir: Path | None = None, download: bool = True, progress: Progress | None = None
    ) -> TextDataset:
        """The data that the run was trained on.

        Args:
            data_dir: Folder where archives of data are looked for first.
            download: Whether what is not on this machine may be downloaded.
            progress: Called while something is downloaded.

        Raises:
            InputError: They can't be had, or were changed since.
        """
        data = load_data(self.settings, data_dir=data_dir, download=download, progress=progress)
        self.check_data(data)
        return data

    def check_divergence(self) -> None:
        """Raise an InputError where the training diverged, which going on would only repeat."""
        if os.path.lexists(self.divergence_file):
            reason = {"reason": {"type": "string", "maxLength": 1000}}
            found = read_json(self.divergence_file, {"type": "object", "required": ["reason"], "properties": reason})
            raise InputError(f"{self.folder}: {found['reason']}")

    def check_data(self, data: TextDataset) -> None:
        """Let only the data pass that the run was trained on.

        Raises:
            InputError: They are others, or were changed since.
        """
        if self.fingerprint != data.fingerprint():
            raise InputError(f"{self.folder}: was trained on other data than {data.origin} holds now")


def check_is_new(run: Run) -> None:
    """Raise an InputError where a run's folder holds a run or something else."""
    if run.config_file.exists():
        if run.is_adopted and not run.is_trained:  # what copied a model here was stopped before the model was there
            return
        raise InputError(f"{run.folder}: already holds a run; continue it by --resume, or choose another --output")
    # A process that was killed before it had written the settings leaves only checksums, and names with a leading dot.
    if run.folder.exists() and (
        not run.folder.is_dir()
        or any(not path.name.startswith(".") and path.name != CHECKSUMS_FILE for path in run.folder.iterdir())
    ):
        raise InputError(f"{run.folder}: expected a new or empty folder, found something else there")


def create_run(
    folder: str | Path,
    settings: Settings,
    data: Mapping[str, Any],
    *,
    max_tokens_cut: bool = False,
    adopted: str = "",
) -> Run:
    """Make a run's folder and write down everything that decides what it computes.

    Args:
        folder: Made with its parents; must not hold a run already.
        settings: The settings.
        data: What the run should remember of its data: origin, fingerprint, sizes, ...
        max_tokens_cut: Whether `max_tokens` in the settings was fitted to the task or the model, and not chosen.
        adopted: What tells the model apart that was trained elsewhere; empty where it is to be trained.

    Raises:
        InputError: The folder holds a run or something else.
    """
    run = Run(Path(folder))
    check_is_new(run)
    run.folder.mkdir(parents=True, exist_ok=True)
    keep_checksums(run.folder)
    versions = {"safr": safr.__version__, "python": platform.python_version()}
    versions |= {package: version(package) for package in _PACKAGES}
    record: dict[str, Any] = {"settings": settings.to_dict(), "data": dict(data), "versions": versions}
    record["machine"] = {"platform": platform.platform(), "cores": os.cpu_count()}
    notes = {"max_tokens_cut": max_tokens_cut, "adopted": adopted}
    write_json(run.config_file, record | {name: note for name, note in notes.items() if note})
    return run


def open_run(folder: str | Path) -> Run:
    """A run that is there.

    Raises:
        InputError: The folder is not there or holds no run.
    """
    run = Run(Path(folder))
    if not run.folder.is_dir():
        is_file = run.folder.exists() and (run.folder.parent / "config.json").is_file()
        advice = f"; give the folder that it is in: {run.folder.parent}" if is_file else ""
        raise InputError(f"{run.folder}: expected the folder of a run, found none there{advice}")
    if not run.config_file.exists():
        raise InputError(
            f"{run.folder}: expected the folder of a run, but it holds no config.json{_find_run(run.folder)}"
        )
    if not (run.folder / "history.jsonl").exists() and "model_type" in read_json(run.config_file, {"type": "object"}):
        raise InputError(f"{run.folder}: expected the folder of a run, found that of a model{_find_run(run.folder)}")
    return run


def _find_run(folder: Path) -> str:
    """Advice that names a run near a folder; empty where there is none."""
    for parent in list(folder.absolute().parents)[:2]:
        if (parent / "config.json").is_file():
            return f"; give the folder of the run: {parent}"
    try:
        runs = sorted(path.parent for path in folder.glob("*/config.json") if path.parent.name != "model")
    except OSError:
        return ""
    return f"; it holds runs, so give one of them, such as {runs[0]}" if runs else ""


def open_trained_run(folder: str | Path) -> Run:
    """A run whose model is finished.

    Raises:
        InputError: No run, or one that stopped before its end.
    """
    run = open_run(folder)
    if not run.is_trained:
        run.check_divergence()
        run.check_copied()
        raise InputError(
            f"{run.folder}: its training is not finished; continue with `safr train --resume {run.folder}`"
        )
    return run


def check_same_data(runs: Sequence[Run]) -> None:
    """Raise an InputError where runs were not all made from the same data, and so can't be compared."""
    prints = [run.fingerprint for run in runs]
    if other := next((run for run, print_ in zip(runs, prints, strict=True) if print_ != prints[0]), None):
        raise InputError(
            f"{other.name} was made from other data than {runs[0].name}, or the data were changed in between; compare "
            "runs of the same data, and train old ones again in another folder"
        )


@cache
def _schema(name: str) -> dict[str, Any]:
    """The JSON Schema of one of a run's files."""
    return read_json(Path(str(files("safr"))) / "run_files.schema.json") | {"$ref": f"#/$defs/{name}"}


def _add_tokenizer(settings: dict[str, Any]) -> dict[str, Any]:
    """The saved settings of a run, also of one from before there were sub-words."""
    if "tokenizer" in settings:
        return settings
    is_auto = settings.get("model", PAPER_MODEL) != PAPER_MODEL or Settings.from_dict(settings).reads_words
    return settings | {"tokenizer": "auto" if is_auto else "words"}


def _check_vocabulary(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise an InputError where a tokenizer's ids go beyond the model's embeddings, or a text can't be padded."""
    rows = int(cast(Any, model.get_input_embeddings()).num_embeddings)
    largest = max(tokenizer.get_vocab().values(), default=-1)
    if largest >= rows or tokenizer.pad_token_id is None:
        raise InputError(
            f"{folder}: its tokenizer does not fit its model, which has {rows:,} embeddings (largest id {largest:,}, "
            f"padding {tokenizer.pad_token!r}); copy the folder again or train again"
        )
