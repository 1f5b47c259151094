"""Output of the command line: progress bars, tables and coloured words, or plain lines where there is no terminal."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from safr.attribution.registry import is_signed
from safr.data.tokenizer import describe_tokenizer
from safr.errors import InputError, printable
from safr.evaluation.answering import describe_answers
from safr.evaluation.classification import describe_classes
from safr.evaluation.evaluate import describe_parts_of_pairs, describe_unknown_words
from safr.evaluation.generation import describe_generation
from safr.evaluation.regression import describe_values
from safr.evaluation.srs import MAIN_PERCENT, describe_undeletable
from safr.evaluation.tagging import describe_tags
from safr.evaluation.task_metrics import LOWER_IS_BETTER, SHARES, get_main_metric
from safr.rounding import format_share
from safr.runs import Run

if TYPE_CHECKING:
    from safr.attribution.explanation import Explanation, TextNeurons
    from safr.attribution.generation import OutputExplanation
    from safr.experiments.runner import Outcome, OutcomeCallback

_SECONDS_BETWEEN_LOOKS = 1

_SHADES = ("#f7fbff", "#deebf7", "#c6dbef", "#9ecae1", "#6baed6", "#4292c6", "#2171b5", "#08519c")
"""ColorBrewer's Blues, which are readable for the colour-blind; darker is more."""

_AGAINST = ("#fff5eb", "#fee6ce", "#fdd0a2", "#fdae6b", "#fd8d3c", "#f16913", "#d94801", "#8c2d04")
"""ColorBrewer's Oranges, for words that speak against a class."""

_LIGHT_SHADES = 6
"""Number of shades, from the lightest on, on which dark letters are readable; darker ones need light letters."""

PLAIN_UNKNOWN_MARK = "(?)"
"""Stands behind a word that is unknown to the tokenizer, in letters that every terminal has."""


PLAIN_MINUS = "-"
"""Stands before a word that speaks against a class."""


_MOST_WORDS = 5
"""Words that are named of a neuron."""


class ProgressBar:
    """A bar over a known number of steps; without a terminal, one line per part that has a name."""

    def __init__(self, console: Console, title: str) -> None:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        self.progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
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
    """A bar that shows the loss terms during training, and one line per epoch."""

    def __init__(self, console: Console, title: str) -> None:
        self.console, self.title = console, title
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[terms]}"),
        )
        self.progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.task = self.progress.add_task(title, total=None, terms="")

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
        """Set the bar to 0 for a new epoch."""
        epoch = round(state.epoch or 0) + 1
        steps = state.max_steps // max(int(args.num_train_epochs), 1)
        self.progress.update(self.task, description=f"{self.title}, epoch {epoch}", completed=0, total=steps)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Advance the bar; update the loss terms every 20 steps, as often as a person can read them."""
        self.progress.advance(self.task)
        if not self.progress.disable and state.global_step % 20 == 0:
            terms = kwargs["model"].safr.terms
            self.progress.update(self.task, terms="  ".join(f"{name} {float(terms[name]):.3f}" for name in terms))

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
    '  safr, epoch 3: dev accuracy 65.6% *'
    """
    is_lower_better = metric in LOWER_IS_BETTER
    is_best = best is None or (value < best if is_lower_better else value > best)
    shown = f"{format_share(value)}%" if metric in SHARES else f"{value:.3g}"
    return f"  {name}, epoch {epoch:g}: dev {metric.replace('_', ' ')} {shown}{' *' if is_best else ''}"


def scores_table(scores_by_run: Mapping[str, Mapping[str, Any]], *, split: str = "test") -> Table:
    """A table of runs in the form of the paper's Table 1, every number with its 95 % interval.

    Args:
        scores_by_run: What `evaluate` returned for each run, by the run's name.
        split: Which part of the data they are on.
    """
    metric = get_main_metric(next(iter(scores_by_run.values())))
    title = (
        f"{split.capitalize()} {metric.name}{' in %' if metric.is_share else ''}, and with {MAIN_PERCENT} % of the "
        "words deleted at random or by capacity [95 % interval]"
    )
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("run", no_wrap=True, min_width=8)
    for name in (metric.key, "random", "capacity", "SRS (drop)" if metric.is_share else "SRS (rise)"):
        table.add_column(name, justify="right", no_wrap=True)
    k = str(MAIN_PERCENT)
    for name, scores in scores_by_run.items():
        cells = (
            scores[metric.key],
            scores["deletion"]["random"][k],
            scores["deletion"]["capacity"][k],
            scores["srs"][k],
        )
        # Without the space after the comma a row fits a terminal of 80 columns.
        table.add_row(Text(name), *(metric.format(cell).replace(", ", ",") for cell in cells))
    return table


def list_score_notes(name: str, scores: Mapping[str, Any], max_tokens: int) -> list[str]:
    """Sentences on a run's classes or numbers, and on texts that were cut, hold one word, or were not read.

    Args:
        name: The run's name.
        scores: What `evaluate` returned for it.
        max_tokens: How many tokens of a text it reads.
    """
    texts, truncated, unknown = scores["texts"], scores.get("truncated"), scores.get("unknown")
    left_out = scores.get("not_judged", 0)
    notes = [
        describe_classes(scores),
        describe_values(scores),
        describe_generation(scores),
        describe_tags(scores),
        describe_answers(scores),
        *describe_parts_of_pairs(scores),
        f"{left_out:,} of {texts + left_out:,} texts have no token to judge the model by" if left_out else "",
        f"{truncated:,} of {texts:,} texts were cut to {max_tokens} tokens" if truncated else "",
        describe_undeletable(scores["undeletable"], texts) if scores.get("undeletable") else "",
        describe_unknown_words(scores),
        f"{unknown:,} of {texts:,} texts hold unknown words only" if unknown else "",
    ]
    return [f"{name}: {note}" for note in notes if note]


def describe_prediction(explanation: Explanation) -> str:
    """What the model says: its class and how sure it is, all its classes where several can be right, or its number."""
    likeliest = f"{explanation.prediction} ({explanation.format_probability()})"
    if explanation.task != "multi_label":
        return likeliest
    shares = [f"{name} ({format_share(share)}%)" for name, share in explanation.fitting.items()]
    return ", ".join(shares) or f"none; the likeliest is {likeliest}"


def shade_words(explanation: Explanation) -> Text:
    """The words on blue that is darker for higher capacity, or for the higher score of the method that was asked for.

    Words that speak against the class are on orange, with a minus. The highest is also bold and underlined, unless it
    speaks against the class too. Unknown words are followed by `PLAIN_UNKNOWN_MARK`.
    """
    values = explanation.capacity if explanation.scores is None else explanation.scores
    largest = max(float(abs(values).max()), 1e-12)
    line = Text()
    for word, value in zip(_mark_unknown(explanation), values, strict=True):
        shades = _AGAINST if value < 0 else _SHADES
        shade = min(int(len(shades) * abs(value) / largest), len(shades) - 1)
        letters = "#000000" if shade < _LIGHT_SHADES else "#ffffff"
        is_highest = value == values.max() and (explanation.scores is None or value > 0)
        emphasis = "bold underline " if is_highest else ""
        line.append(f"{PLAIN_MINUS * bool(value < 0)}{word}", style=f"{emphasis}{letters} on {shades[shade]}")
        line.append(" ")
    return line


def list_words(explanation: Explanation) -> str:
    """The words with their capacity, or their scores, one word per line, for output without colours.

    Unknown ones are marked.
    """
    values = explanation.capacity if explanation.scores is None else explanation.scores
    sign = "+" if is_signed(explanation.method) else ""
    pairs = zip(_mark_unknown(explanation), values, strict=True)
    return "\n".join(f"{value:{sign}.2f}  {word}" for word, value in pairs)


def list_neurons(used: TextNeurons) -> str:
    """A line for each neuron, with what it adds to the class and the words that share it, the strongest first."""
    about = f", what each adds to “{printable(used.target)}”" if used.target else ""
    lines = [f"Neurons at {used.site} that the text uses most{about}, and its activation at the words that share it:"]
    for column, neuron in enumerate(used.neurons.tolist()):
        values = used.activations[:, column]
        order = [word for word in np.argsort(-np.abs(values), kind="stable").tolist() if values[word]]
        words = ", ".join(f"“{printable(used.words[word])}” {values[word]:.2f}" for word in order[:_MOST_WORDS])
        more = f" and {len(order) - _MOST_WORDS} more" if len(order) > _MOST_WORDS else ""
        adds = f"  {used.total[column]:+.3f}" if used.total is not None else ""
        lines.append(f"{neuron:>6}{adds}  {words}{more}")
    return "\n".join(lines)


def list_output(explanation: OutputExplanation) -> str:
    """A model's output, and for each of its tokens the words that speak for it most, with their scores."""
    width = max(len(printable(token)) for token in explanation.tokens)
    lines = [
        f"wrote {printable(explanation.output)}",
        f"token, probability, words with the highest {explanation.method}",
    ]
    for number, (token, share) in enumerate(zip(explanation.tokens, explanation.probabilities, strict=True)):
        words = ", ".join(f"{printable(word)} {score:.2f}" for word, score in explanation.rank_words(number))
        lines.append(f"{printable(token):<{width}}  {share:6.1%}  {words}")
    return "\n".join(lines)


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


def _mark_unknown(explanation: Explanation) -> list[str]:
    """The words, safe to print, with a mark behind those that are unknown to the tokenizer."""
    unknown = explanation.unknown or (False,) * len(explanation.words)
    return [
        f"{printable(word)} {PLAIN_UNKNOWN_MARK}" if is_unknown else printable(word)
        for word, is_unknown in zip(explanation.words, unknown, strict=True)
    ]
