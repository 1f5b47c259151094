"""Settings in, one finished run out, however often it was stopped on the way."""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock

from safr.config import Settings
from safr.data import load_data
from safr.data.quiet import silence_libraries
from safr.errors import InputError
from safr.evaluation.evaluate import evaluate
from safr.runs import Run
from safr.storage import write_json, write_text
from safr.training import train

SplitName = Literal["dev", "test"]


@dataclass(frozen=True)
class Outcome:
    """What became of a run."""

    name: str
    seconds: float
    error: str | None = None
    """One line that says why it failed, if it did."""


OutcomeCallback = Callable[[Outcome | None, int, int], None]
"""Called with each outcome, how many there are so far and how many runs were to do; with None before the first."""


def is_run_finished(run: Run, splits: Sequence[SplitName]) -> bool:
    """Whether a run is trained and evaluated on some splits."""
    return run.is_trained and all(scores_path(run, split).is_file() for split in splits)


def scores_path(run: Run, split: SplitName) -> Path:
    """Where a run keeps the scores of a split."""
    return run.scores_file if split == "test" else run.folder / f"scores_{split}.json"


def finish_run(settings: Settings, folder: Path, splits: Sequence[SplitName], data_dir: Path | None = None) -> Run:
    """Train and evaluate what of a run is not done yet; two processes never work on the same run.

    Args:
        settings: The run's settings.
        folder: The run's folder, with or without a part of the run in it.
        splits: Splits to score.
        data_dir: Folder where archives of data are looked for first.

    Raises:
        InputError: The folder holds a run with other settings, or the settings or data can't be used.
    """
    run = Run(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):  # let go by the system if the process dies
        there = run.config_file.exists()
        if there and run.settings != settings:
            raise InputError(f"{folder}: holds a run with other settings; choose another folder")
        if is_run_finished(run, splits):
            return run
        data = load_data(
            settings.data, data_dir=data_dir, text_column=settings.text_column, label_column=settings.label_column
        )
        run = train(settings, data, folder, resume=there)
        for split in splits:
            if not scores_path(run, split).is_file():
                write_json(scores_path(run, split), evaluate(run, data, split=split))
    return run


def run_job(
    name: str,
    settings: Settings,
    folder: Path,
    splits: Sequence[SplitName],
    data_dir: Path | None = None,
    parent: int | None = None,
) -> Outcome:
    """`finish_run`, in a process of an engine: what goes wrong is written down beside the others, which go on.

    Args:
        name: The run's name, a folder in `folder`.
        settings: The run's settings.
        folder: Folder of all runs.
        splits: Splits to score.
        data_dir: Folder where archives of data are looked for first.
        parent: Process without which this one shall not go on. Default: none.
    """
    if parent not in (None, os.getpid()):  # one worker alone is the parent itself
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    silence_libraries()
    started = time.monotonic()
    report = failure_path(folder, name)
    try:
        finish_run(settings, folder / name, splits, data_dir)
    except Exception as error:
        reason = str(error).strip() if isinstance(error, InputError) else traceback.format_exception_only(error)[-1]
        write_text(report, traceback.format_exc())
        return Outcome(name, time.monotonic() - started, reason.strip().splitlines()[0])
    report.unlink(missing_ok=True)
    return Outcome(name, time.monotonic() - started)


def failure_path(folder: Path, name: str) -> Path:
    """Where it stands why a run failed."""
    return folder / f"{name}.failed.txt"


def _end_with(parent: int) -> None:
    """End this process when its parent is gone, as when somebody has killed it."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
