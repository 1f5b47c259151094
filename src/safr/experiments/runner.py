"""Settings in, one finished run out, however often it was stopped on the way."""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock
from joblib import Parallel, cpu_count, delayed, parallel_config
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError

from safr.config import Settings
from safr.data import load_data
from safr.data.quiet import silence_libraries
from safr.errors import InputError
from safr.evaluation.evaluate import evaluate
from safr.runs import Run
from safr.storage import write_json, write_text
from safr.training import train

SplitName = Literal["dev", "test"]


Engine = Literal["joblib", "ray"]


MAX_TRIES = 3
"""How often a run is begun whose process is killed, as by a system that has no memory left."""


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


def run_jobs(
    jobs: Mapping[str, Settings],
    folder: Path,
    splits: Sequence[SplitName],
    *,
    engine: Engine = "joblib",
    workers: int | None = None,
    data_dir: Path | None = None,
    progress: OutcomeCallback | None = None,
) -> Iterator[Outcome]:
    """Finish every run that is not, and tell of each as it is done.

    Args:
        jobs: Settings by the name of the run.
        folder: Each run is a folder in it. With `ray` all workers must see it under the same path.
        splits: Splits to score.
        engine: `joblib`: processes of this machine. `ray`: tasks on the cluster that `RAY_ADDRESS` names, or on one of
            this machine.
        workers: Runs at a time; the cores are shared out between them, also while fewer are left. Default: one for each
            core, with `ray` for each core of the cluster.
        data_dir: Folder where archives of data are looked for first.
        progress: See `OutcomeCallback`.

    Raises:
        InputError: The engine is not installed or can't be reached, or a file is where the folder should be.
    """
    folder = folder.resolve()
    if not (open_jobs := find_unfinished(jobs, folder, splits)):
        return
    if workers is not None and workers < 1:
        raise InputError(f"--workers must be at least 1, got {workers}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"{folder}: expected a folder for the runs, found a file there") from None
    run_some = _on_ray if engine == "ray" else _on_this_machine
    if progress is not None:
        progress(None, 0, len(open_jobs))
    outcomes = run_some(open_jobs, folder, (tuple(splits), data_dir and data_dir.resolve()), workers)
    for done, outcome in enumerate(outcomes, start=1):
        if progress is not None:
            progress(outcome, done, len(open_jobs))
        yield outcome


def find_unfinished(jobs: Mapping[str, Settings], folder: Path, splits: Sequence[SplitName]) -> dict[str, Settings]:
    """The runs that are not done with their settings; for the others nothing is left of a failure before."""
    left = {}
    for name, settings in jobs.items():
        if _is_done(Run(folder / name), settings, splits):
            failure_path(folder, name).unlink(missing_ok=True)
        else:
            left[name] = settings
    return left


def _end_with(parent: int) -> None:
    """End this process when its parent is gone, as when somebody has killed it."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _is_done(run: Run, settings: Settings, splits: Sequence[SplitName]) -> bool:
    try:
        return run.config_file.is_file() and run.settings == settings and is_run_finished(run, splits)
    except InputError:  # a damaged record: to finish the run fails with what is wrong with it, and stops no other
        return False


def _on_this_machine(
    jobs: Mapping[str, Settings], folder: Path, how: tuple[Any, ...], workers: int | None
) -> Iterator[Outcome]:
    workers = workers or cpu_count()
    waiting = dict(jobs)
    while waiting:
        # All processes end with one that was killed. What they had begun goes on from its last epoch, a run at a time,
        # so that one that takes all memory takes no other with it.
        for name in (yield from _in_processes(waiting, list(waiting), folder, how, workers)):
            for _ in range(MAX_TRIES - 1):
                if not (yield from _in_processes(waiting, [name], folder, how, workers)):
                    break
            else:
                del waiting[name]
                yield _lost(folder, name, f"its process was killed {MAX_TRIES} times")


def _in_processes(
    waiting: dict[str, Settings], names: Sequence[str], folder: Path, how: tuple[Any, ...], workers: int
) -> Generator[Outcome, None, list[str]]:
    """Finish some of the waiting runs; returns the names of those that were under way when a process was killed."""
    # As many threads for each run however many are left, since their number decides how sums are rounded.
    try:
        with parallel_config("loky", n_jobs=workers, inner_max_num_threads=max(cpu_count() // workers, 1)):
            outcomes = Parallel(return_as="generator_unordered")(
                delayed(run_job)(name, waiting[name], folder, *how, os.getpid()) for name in names
            )
            for outcome in outcomes:
                del waiting[outcome.name]
                yield outcome
    except TerminatedWorkerError:
        left = [name for name in names if name in waiting]
        return [name for name in left if (folder / name).exists()] or left
    finally:
        get_reusable_executor().shutdown(wait=True)  # else the processes would wait for more to do
    return []


def _lost(folder: Path, name: str, why: str) -> Outcome:
    """A run whose process could not say itself why it failed."""
    write_text(failure_path(folder, name), f"{why}\n")
    return Outcome(name, 0, why)


def _on_ray(jobs: Mapping[str, Settings], folder: Path, how: tuple[Any, ...], workers: int | None) -> Iterator[Outcome]:
    try:
        import ray
    except ImportError:
        raise InputError("--engine ray needs Ray; install it by `pip install 'safr[ray]'`") from None
    try:
        ray.init(ignore_reinit_error=True, log_to_driver=False, configure_logging=False, include_dashboard=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise InputError(
            f"the Ray cluster can't be reached ({str(error).splitlines()[0]}); see docs/sweeps.md"
        ) from error
    cores = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    # A task runs on one machine, and would wait for ever for more cores than any has.
    threads = max(min(sum(cores) // (workers or sum(cores) or 1), max(cores, default=1)), 1)
    # Ray gives a task as many threads as it asks cores for.
    remote = ray.remote(num_cpus=threads, max_retries=MAX_TRIES - 1)(run_job)
    to_begin, waiting = iter(jobs.items()), {}

    def begin(count: int) -> None:
        for name, settings in islice(to_begin, count):
            waiting[remote.remote(name, settings, folder, *how)] = name

    try:
        begin(workers or len(jobs))  # Ray would begin as many as it has cores for
        while waiting:
            (done,), _ = ray.wait(list(waiting), num_returns=1)
            name = waiting.pop(done)
            begin(1)
            try:
                outcome = ray.get(done)
            except ray.exceptions.RayError as error:
                outcome = _lost(folder, name, str(getattr(error, "cause", error)).strip().splitlines()[0])
            yield outcome
    finally:
        for each in waiting:
            ray.cancel(each, force=True)
