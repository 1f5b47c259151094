"""Execution of runs: one run that resumes where it was stopped, or many in parallel by joblib or Ray."""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
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
from safr.errors import InputError, first_line
from safr.evaluation.evaluate import evaluate
from safr.runs import Run
from safr.storage import write_json, write_text
from safr.training import train

SplitName = Literal["dev", "test"]
Engine = Literal["joblib", "ray"]

MAX_TRIES = 3
"""How often a run is started in all if its process is killed, as by a system that is out of memory."""


@dataclass(frozen=True)
class Outcome:
    """What became of a run."""

    name: str
    seconds: float
    error: str | None = None
    """One line that says why it failed, if it did."""


OutcomeCallback = Callable[[Outcome | None, int, int], None]
"""Called with an outcome, the number of outcomes so far and the number of runs to do.

The first call comes before any outcome, and has None in its place.
"""


def is_run_finished(run: Run, splits: Sequence[SplitName]) -> bool:
    """Whether a run is trained, and evaluated on all of the splits."""
    return run.is_trained and all(scores_path(run, split).is_file() for split in splits)


def scores_path(run: Run, split: SplitName) -> Path:
    """The file of a run's scores on a split."""
    return run.scores_file if split == "test" else run.folder / f"scores_{split}.json"


def finish_run(settings: Settings, folder: Path, splits: Sequence[SplitName], data_dir: Path | None = None) -> Run:
    """The finished run; trains and evaluates what is not done yet.

    A lock makes sure that two processes never work on the same run.

    Args:
        settings: The run's settings.
        folder: The run's folder. It may be new, or hold a part of the run.
        splits: Splits to score.
        data_dir: Folder where archives of data are looked for first.

    Raises:
        InputError: The folder holds a run with other settings, or the settings or data can't be used.
    """
    run = Run(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):  # the system releases it if the process dies
        started = run.config_file.exists()
        if started and not run.was_made_with(settings):
            raise InputError(f"{folder}: holds a run with other settings; choose another folder")
        if is_run_finished(run, splits):
            return run
        data = load_data(settings, data_dir=data_dir)
        run = train(settings, data, folder, resume=started)
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
    """What became of a run; an engine calls this in its processes.

    If the run fails, the traceback is written to `failure_path`, and no error is raised, so that other runs go on.

    Args:
        name: The run's name, which is its folder in `folder`.
        settings: The run's settings.
        folder: Folder of all runs.
        splits: Splits to score.
        data_dir: Folder where archives of data are looked for first.
        parent: Id of the process with which this one ends. Default: none.
    """
    if parent not in (None, os.getpid()):  # a single worker is the parent itself
        _watch_parent(parent)
    silence_libraries()
    start = time.monotonic()
    failure_file = failure_path(folder, name)
    try:
        finish_run(settings, folder / name, splits, data_dir)
    except Exception as error:
        reason = first_line(error)
        if not isinstance(error, InputError) and reason != (kind := type(error).__name__):
            reason = f"{kind}: {reason}"
        with suppress(OSError):  # a full disk may be why the run failed
            write_text(failure_file, traceback.format_exc())
        return Outcome(name, time.monotonic() - start, reason)
    failure_file.unlink(missing_ok=True)
    return Outcome(name, time.monotonic() - start)


def failure_path(folder: Path, name: str) -> Path:
    """The file that says why a run failed."""
    return folder / f"{name}.failed.txt"


def run_jobs(
    jobs: Mapping[str, Settings],
    folder: Path,
    splits: Sequence[SplitName],
    *,
    engine: Engine = "joblib",
    workers: int | None = None,
    gpus: float = 0.0,
    data_dir: Path | None = None,
    progress: OutcomeCallback | None = None,
) -> Iterator[Outcome]:
    """Outcomes of the runs that were not finished yet, in the order in which they end.

    Args:
        jobs: Settings by the name of the run.
        folder: Folder of all runs. With `ray` all workers must see it under the same path.
        splits: Splits to score.
        engine: `joblib`: processes on this machine. `ray`: tasks on the cluster that `RAY_ADDRESS` names, or on a local
            one.
        workers: Number of runs at a time. The cores are divided by this number, also while fewer runs remain. Default:
            the number of cores of the machine, or of the cluster with `ray`.
        gpus: GPUs that `ray` sets apart for each run, or the share of one, as 0.5. Default: none.
        data_dir: Folder where archives of data are looked for first.
        progress: See `OutcomeCallback`.

    Raises:
        InputError: The engine is not installed or can't be reached, no machine has so many GPUs, or a file is where the
            folder should be.
    """
    folder = folder.resolve()
    if not (unfinished := find_unfinished(jobs, folder, splits)):
        return
    if workers is not None and workers < 1:
        raise InputError(f"--workers must be at least 1, got {workers}")
    if gpus < 0 or (gpus and engine != "ray"):
        raise InputError(f"--gpus must be at least 0 and needs --engine ray, got {gpus:g} with --engine {engine}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"{folder}: expected a folder for the runs, found a file there") from None
    run_unfinished = partial(_run_on_ray, gpus=gpus) if engine == "ray" else _run_on_this_machine
    if progress is not None:
        progress(None, 0, len(unfinished))
    outcomes = run_unfinished(unfinished, folder, (tuple(splits), data_dir and data_dir.resolve()), workers)
    for done, outcome in enumerate(outcomes, start=1):
        if progress is not None:
            progress(outcome, done, len(unfinished))
        yield outcome


def find_unfinished(jobs: Mapping[str, Settings], folder: Path, splits: Sequence[SplitName]) -> dict[str, Settings]:
    """The jobs whose runs are not finished with these settings; deletes what an earlier failure left of the others."""
    unfinished = {}
    for name, settings in jobs.items():
        if _is_job_finished(Run(folder / name), settings, splits):
            failure_path(folder, name).unlink(missing_ok=True)
        else:
            unfinished[name] = settings
    return unfinished


@cache
def _watch_parent(parent: int) -> None:
    """End this process with its parent, which one thread sees to, however many runs the process does."""
    threading.Thread(target=_exit_with_parent, args=(parent,), daemon=True).start()


def _exit_with_parent(parent: int) -> None:
    """End this process when its parent has ended, as when somebody has killed it."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _is_job_finished(run: Run, settings: Settings, splits: Sequence[SplitName]) -> bool:
    try:
        return run.config_file.is_file() and run.was_made_with(settings) and is_run_finished(run, splits)
    except InputError:  # a damaged record: finishing the run will say what is wrong with it, and stop no other run
        return False


def _run_on_this_machine(
    jobs: Mapping[str, Settings], folder: Path, options: tuple[Any, ...], workers: int | None
) -> Iterator[Outcome]:
    workers = workers or cpu_count()
    waiting = dict(jobs)
    while waiting:
        # When one process is killed, all others end too. The runs that they had started resume from their last epoch,
        # one at a time, so that a run that takes all memory does not end another one.
        for name in (yield from _run_in_processes(waiting, list(waiting), folder, options, workers)):
            for _ in range(MAX_TRIES - 1):
                if not (yield from _run_in_processes(waiting, [name], folder, options, workers)):
                    break
            else:
                del waiting[name]
                yield _record_killed_run(folder, name, f"its process was killed {MAX_TRIES} times")


def _run_in_processes(
    waiting: dict[str, Settings], names: Sequence[str], folder: Path, options: tuple[Any, ...], workers: int
) -> Generator[Outcome, None, list[str]]:
    """Finish some of the waiting runs; returns the names of those that were under way when a process was killed."""
    # The number of threads per run stays the same until the end, since it decides how sums are rounded.
    try:
        with parallel_config("loky", n_jobs=workers, inner_max_num_threads=max(cpu_count() // workers, 1)):
            outcomes = Parallel(return_as="generator_unordered")(
                delayed(run_job)(name, waiting[name], folder, *options, os.getpid()) for name in names
            )
            for outcome in outcomes:
                del waiting[outcome.name]
                yield outcome
    except TerminatedWorkerError:
        unfinished = [name for name in names if name in waiting]
        return [name for name in unfinished if (folder / name).exists()] or unfinished
    finally:
        get_reusable_executor().shutdown(wait=True)  # otherwise the processes would wait for more work
    return []


def _record_killed_run(folder: Path, name: str, error: str) -> Outcome:
    """The outcome of a run whose process could not write down itself why it failed."""
    write_text(failure_path(folder, name), f"{error}\n")
    return Outcome(name, 0, error)


def _run_on_ray(
    jobs: Mapping[str, Settings], folder: Path, options: tuple[Any, ...], workers: int | None, *, gpus: float
) -> Iterator[Outcome]:
    try:
        import ray
    except ImportError:
        raise InputError("--engine ray needs the package ray; run `pip install ray`") from None
    try:
        ray.init(ignore_reinit_error=True, log_to_driver=False, configure_logging=False, include_dashboard=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise InputError(f"the Ray cluster can't be reached ({first_line(error)}); see docs/sweeps.md") from error
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cores = [int(resources.get("CPU", 0)) for resources in nodes]
    if gpus > (most := max((resources.get("GPU", 0) for resources in nodes), default=0)):
        raise InputError(f"--gpus asks for {gpus:g} on one machine, but the cluster's machines have at most {most:g}")
    # A task runs on one machine. If it asked for more cores than any machine has, it would wait for ever.
    threads = max(min(sum(cores) // (workers or sum(cores) or 1), max(cores, default=1)), 1)
    # Ray gives a task as many threads as the task asks for cores.
    remote = ray.remote(num_cpus=threads, num_gpus=gpus, max_retries=MAX_TRIES - 1)(run_job)
    remaining_jobs, names_by_task = iter(jobs.items()), {}

    def start_tasks(count: int) -> None:
        for name, settings in islice(remaining_jobs, count):
            names_by_task[remote.remote(name, settings, folder, *options)] = name

    try:
        start_tasks(workers or len(jobs))  # Ray itself starts as many as there are cores for
        while names_by_task:
            (task,), _ = ray.wait(list(names_by_task), num_returns=1)
            name = names_by_task.pop(task)
            start_tasks(1)
            try:
                outcome = ray.get(task)
            except ray.exceptions.RayError as error:
                outcome = _record_killed_run(folder, name, first_line(getattr(error, "cause", error)))
            yield outcome
    finally:
        for task in names_by_task:
            ray.cancel(task, force=True)
