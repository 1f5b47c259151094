"""How far long work is: progress bars, or plain lines where there is no terminal."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from safr.data.tokenizer import describe_tokenizer
from safr.errors import InputError
from safr.evaluation.task_metrics import LOWER_IS_BETTER, SHARES
from safr.rounding import format_share
from safr.runs import Run

if TYPE_CHECKING:
    from safr.experiments.runner import Outcome, OutcomeCallback

_SECONDS_BETWEEN_LOOKS = 1


class ProgressBar:
    """A bar over a known number of steps; without a terminal, one line per part that has a name."""

    def __init__(self, console: Console, title: str) -> None:
        columns = (
            _Name(console, share=0.5),
            _make_bar(),
            _FromWidth(50, console, MofNCompleteColumn()),
            TimeRemainingColumn(),
        )
        self.progress = _open_progress(console, columns)
        self.console, self.title, self.part = console, title, ""
        self.task = self.progress.add_task(title, total=None)

    def __enter__(self) -> ProgressBar:
        self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.stop()

    def begin_part(self, part: str) -> ProgressBar:
        """Show the name of one of several parts."""
        if part != self.part and not self.console.is_terminal:
            self.console.print(f"{self.title}: {part}", highlight=False)
        self.part = part
        self.progress.update(self.task, description=f"{self.title}: {part}")
        return self

    def __call__(self, done: int, total: int | None) -> None:
        """Show the progress."""
        self.progress.update(self.task, completed=done, total=total)


class TrainingProgress(TrainerCallback):
    """A bar over the steps of a training with the time it still takes at most and its loss, and one line per epoch.

    What a narrow terminal has no room for goes in this order: the terms of the regularization, the task's loss, the
    number of steps, the run's name. The bar stays.
    """

    def __init__(self, console: Console, title: str) -> None:
        self.console, self.title = console, title
        columns = (
            _FromWidth(50, console, _Name(console, share=0.2)),
            TextColumn("{task.fields[epoch]}"),
            _make_bar(),
            _FromWidth(60, console, MofNCompleteColumn()),
            TimeRemainingColumn(),
            _FromWidth(72, console, TextColumn("{task.fields[loss]}")),
            _FromWidth(110, console, TextColumn("{task.fields[regularization]}")),
        )
        self.progress = _open_progress(console, columns)
        self.task = self.progress.add_task(title, total=None, epoch="", loss="", regularization="")

    def __enter__(self) -> TrainingProgress:
        self.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.stop()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Print what the texts are read as."""
        line = f"  {self.title}, tokenizer: {describe_tokenizer(kwargs['processing_class'])}"
        self.console.print(line, highlight=False, markup=False)

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Show which epoch begins; of a training that goes on, the steps that are done stand in the bar at once."""
        epochs = max(int(args.num_train_epochs), 1)
        number = f"epoch {round(state.epoch or 0) + 1}/{epochs}"
        self.progress.update(self.task, epoch=number, completed=state.global_step, total=state.max_steps)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Advance the bar; update the loss every 20 steps, as often as a person can read it."""
        self.progress.update(self.task, completed=state.global_step)
        if not self.progress.disable and state.global_step % 20 == 0:
            terms = [f"{name} {float(term):.3f}" for name, term in kwargs["model"].safr.terms.items()]
            loss = f"loss: {terms[0]}" if terms else ""  # none where the Trainer computes the loss of a plain model
            self.progress.update(self.task, loss=loss, regularization="  ".join(terms[1:]))

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Print a line that stays, with a star for the best accuracy so far."""
        metric = args.metric_for_best_model or "accuracy"
        line = describe_epoch(
            self.title, round(state.epoch or 0), metric, kwargs["metrics"][f"eval_{metric}"], state.best_metric
        )
        self.console.print(line, highlight=False, markup=False)


def describe_epoch(name: str, epoch: float, metric: str, value: float, best: float | None) -> str:
    """A line about a finished epoch, with a star where its dev metric is better than the best before it, if any.

    >>> describe_epoch("safr", 3, "accuracy", 0.656, 0.65)
    '  safr, epoch 3: dev accuracy 65.6 % *'
    """
    is_lower_better = metric in LOWER_IS_BETTER
    is_best = best is None or (value < best if is_lower_better else value > best)
    shown = f"{format_share(value)} %" if metric in SHARES else f"{value:.3g}"
    return f"  {name}, epoch {epoch:g}: dev {metric.replace('_', ' ')} {shown}{' *' if is_best else ''}"


class EpochLines:
    """Prints a line for each epoch that a run in a folder of runs finishes, for as long as its `with` block runs."""

    def __init__(self, console: Console, folder: Path) -> None:
        self.console, self.folder = console, folder
        self.states: dict[Path, tuple[int, int]] = {}
        self.shown = {name: len(history) for name, history in self._read_changed().items()}
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> EpochLines:
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stopped.set()
        self.thread.join()
        self._print_new()  # what came since the last look

    def _follow(self) -> None:
        with suppress(BrokenPipeError):  # which the main thread meets as well
            while not self.stopped.wait(_SECONDS_BETWEEN_LOOKS):
                self._print_new()

    def _print_new(self) -> None:
        for name, history in self._read_changed().items():
            metric = [key for key in history[0] if _is_dev_metric(key)][-1] if history else ""
            values = [line[metric] for line in history]
            find_best = min if metric.removeprefix("dev_") in LOWER_IS_BETTER else max
            for number in range(self.shown.get(name, 0), len(history)):
                best = find_best(values[:number], default=None)
                epoch = history[number]["epoch"]
                line = describe_epoch(name, epoch, metric.removeprefix("dev_"), values[number], best)
                self.console.print(line, highlight=False, markup=False)
            self.shown[name] = len(history)

    def _read_changed(self) -> dict[str, list[dict[str, Any]]]:
        """The histories that were written since the last call; a sweep may hold hundreds that are not."""
        histories = {}
        for file in sorted(self.folder.glob("*/history.jsonl")):
            with suppress(InputError, OSError):  # of a damaged file, which the process that trains the run tells
                status = file.stat()
                state = status.st_mtime_ns, status.st_size
                if self.states.get(file) != state:
                    self.states[file] = state
                    lines = Run(file.parent).history
                    histories[file.parent.name] = [line for line in lines if any(map(_is_dev_metric, line))]
        return histories


def _is_dev_metric(key: str) -> bool:
    """Whether this is the key of a metric on dev; the last one of a line is what the best epoch is chosen by."""
    return key.startswith("dev_")


def outcome_printer(console: Console) -> OutcomeCallback:
    """A callback that prints the number of runs to do, then a line per finished run with the remaining time."""
    start = time.monotonic()

    def print_outcome(outcome: Outcome | None, done: int, total: int) -> None:
        if outcome is None:
            console.print(f"{total} {'run' if total == 1 else 'runs'} to do", highlight=False)
            return
        minutes = (time.monotonic() - start) / done * (total - done) / 60
        result = "done" if outcome.error is None else f"failed: {outcome.error}"
        console.print(f"[{done} of {total}, about {minutes:.0f} min left] {outcome.name}: {result}", highlight=False)

    return print_outcome


def _open_progress(console: Console, columns: Sequence[ProgressColumn]) -> Progress:
    """Bars as wide as the terminal, which are gone when all is done; none where there is no terminal."""
    return Progress(*columns, console=console, transient=True, expand=True, disable=not console.is_terminal)


def _make_bar() -> BarColumn:
    """A bar that takes the room which the other columns leave, and keeps some where they leave none."""
    return BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=8))


class _Name(ProgressColumn):
    """What is being done, cut to a share of the terminal's width."""

    def __init__(self, console: Console, share: float) -> None:
        super().__init__(Column(no_wrap=True))
        self.console, self.share = console, share

    def render(self, task: Task) -> Text:
        text = Text(task.description, no_wrap=True)
        text.truncate(int(self.share * self.console.width), overflow="ellipsis")
        return text


class _FromWidth(ProgressColumn):
    """Another column, on a terminal with at least so many columns of letters."""

    def __init__(self, width: int, console: Console, column: ProgressColumn) -> None:
        super().__init__(Column(no_wrap=True))
        self.width, self.console, self.column = width, console, column

    def render(self, task: Task) -> RenderableType:
        return self.column.render(task) if self.console.width >= self.width else Text()
