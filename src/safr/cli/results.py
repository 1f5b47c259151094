"""What the commands say of finished runs: scores, sentences on them, and the results of a benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from safr.cli.console import CommandConsole, print_table
from safr.errors import printable
from safr.evaluation.answering import describe_answers
from safr.evaluation.classification import describe_classes
from safr.evaluation.evaluate import describe_parts_of_pairs, describe_unknown_words
from safr.evaluation.generation import describe_generation
from safr.evaluation.regression import describe_values
from safr.evaluation.srs import MAIN_PERCENT, describe_undeletable
from safr.evaluation.tagging import describe_tags
from safr.evaluation.task_metrics import get_main_metric
from safr.experiments.benchmark_table import BenchmarkTables
from safr.experiments.text_table import TextTable


def scores_table(scores_by_run: Mapping[str, Mapping[str, Any]], *, split: str = "test") -> TextTable:
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
    k = str(MAIN_PERCENT)
    rows = []
    for name, scores in scores_by_run.items():
        deletion = scores["deletion"]
        estimates = (scores[metric.key], deletion["random"][k], deletion["capacity"][k], scores["srs"][k])
        rows.append((printable(name), *map(metric.format, estimates)))
    columns = ("run", metric.key, "random", "capacity", "SRS (drop)" if metric.is_share else "SRS (rise)")
    return TextTable("scores", title, columns, tuple(rows))


def print_titled_table(
    console: CommandConsole, table: TextTable, place: Path | str, *, left_out_first: Sequence[str] = ()
) -> None:
    """Print a table below its title and above its note, and say where what does not fit is found.

    Args:
        console: Where to.
        table: The table.
        place: Where all of it is.
        left_out_first: Columns that are left out before others on a narrow terminal.
    """
    console.print_wrapped(table.title)
    left_out = print_table(console, table, left_out_first=left_out_first)
    if left_out:
        console.print_wrapped(f"Left out here: {', '.join(left_out)}. All numbers are in {place}.")
    if table.note:
        console.print_wrapped(f"\n{table.note}")


def print_benchmark(console: CommandConsole, tables: BenchmarkTables, file: Path) -> None:
    """Print a benchmark's results as far as they fit: the methods by the main metrics, and what follows from them.

    Args:
        console: Where to.
        tables: The results.
        file: Markdown file that holds all of them.
    """
    left_out = []
    for group in tables.groups:
        console.print_wrapped(f"\n{group.table.title}")
        left_out += print_table(console, group.table, stacked=False, folded=False)
        conclusions = Table.grid(padding=(0, 1, 0, 0))
        for sentence in group.conclusions:
            conclusions.add_row("-", Text(sentence))
        console.print()
        console.print_wrapped(conclusions)
    if tables.differences is not None:
        console.print_wrapped(f"\n{tables.differences.title}")
        left_out += print_table(console, tables.differences, stacked=False)
    console.print_wrapped("\nAn arrow says which way is better. *: the best, and all whose interval overlaps it.")
    if left_out:
        console.print_wrapped(f"Left out here: {', '.join(dict.fromkeys(left_out))}.")
    console.print(f"all numbers, and how they were tested: {file.resolve()}")


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
