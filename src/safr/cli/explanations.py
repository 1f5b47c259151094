"""How the terminal shows an explanation: the shaded text, its strongest words with bars and numbers, neurons."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from rich.table import Table
from rich.text import Text

from safr.attribution.registry import is_signed
from safr.attribution.word_scores import describe_scores, name_scores
from safr.cli.console import CommandConsole
from safr.cli.shades import bar_style, count_decimals, make_shade_key, style_score
from safr.errors import printable
from safr.rounding import format_decimals, format_share

if TYPE_CHECKING:
    from safr.attribution.explanation import Explanation, TextNeurons
    from safr.attribution.generation import OutputExplanation

PLAIN_UNKNOWN_MARK = "(?)"
"""Stands behind a word that is unknown to the tokenizer, in letters that every terminal has."""

PLAIN_MINUS = "-"
"""Stands before a word that speaks against a class."""

_MOST_WORDS = 5
"""Words that are named of a text or of a neuron."""

_BLOCKS = " ▏▎▍▌▋▊▉█"
"""The last letter of a bar, by eighths."""


def print_explanation(console: CommandConsole, explanation: Explanation) -> None:
    """Print a prediction, the text's words and their scores.

    A terminal shows the text, shaded where it has colours; a pipe gets a line for each word. Both get the strongest
    words with bars and numbers.
    """
    console.print_wrapped(f"predicted {printable(describe_prediction(explanation))}")
    if console.is_terminal:
        console.print_wrapped(Text("\n").append_text(shade_words(explanation)).append("\n"))
    if console.has_colours:
        console.print_wrapped(make_shade_key(_find_largest(explanation), signed=is_signed(explanation.method)))
    console.print_wrapped(_describe_measure(explanation, coloured=console.has_colours))
    if not console.is_terminal:
        console.print(list_words(explanation))
    for heading, words in _rank_words(explanation):
        console.print_wrapped(f"\n{heading}")
        if words:
            console.print_wrapped(_tabulate_words(console, explanation, words))
    if explanation.left_out_note or explanation.unknown_note or explanation.neurons is not None:
        console.print()
    if explanation.left_out_note:
        console.print_wrapped(explanation.left_out_note)
    if explanation.unknown_note:
        console.print_wrapped(f"{PLAIN_UNKNOWN_MARK} {printable(explanation.unknown_note)}")
    if explanation.neurons is not None:
        print_neurons(console, explanation.neurons)


def describe_prediction(explanation: Explanation) -> str:
    """What the model says: its class and how sure it is, all its classes where several can be right, or its number."""
    likeliest = f"{explanation.prediction} ({explanation.format_probability()})"
    if explanation.task != "multi_label":
        return likeliest
    shares = [f"{name} ({format_share(share)} %)" for name, share in explanation.fitting.items()]
    return ", ".join(shares) or f"none; the likeliest is {likeliest}"


def shade_words(explanation: Explanation) -> Text:
    """The words in shades that are stronger for higher capacity, or for the method's score that was asked for.

    Words that speak against the class are orange, with a minus. The highest is also underlined, unless it speaks
    against the class too. Unknown words are followed by `PLAIN_UNKNOWN_MARK`.
    """
    values, largest, line = _get_values(explanation), _find_largest(explanation), Text()
    for word, value in zip(_mark_unknown(explanation), values, strict=True):
        is_highest = value == values.max() and (explanation.scores is None or value > 0)
        style = f"{'bold underline ' if is_highest else ''}{style_score(value, largest)}"
        minus = PLAIN_MINUS * _format_score(explanation, value).startswith("-")
        line.append(minus + word, style=style.strip())
        line.append(" ")
    return line


def list_words(explanation: Explanation) -> str:
    """The words with their capacity, or their scores, one word per line, for output without colours.

    Unknown ones are marked.
    """
    scores = [_format_score(explanation, value) for value in _get_values(explanation)]
    width = max(map(len, scores))
    return "\n".join(
        f"{score:>{width}}  {word}" for score, word in zip(scores, _mark_unknown(explanation), strict=True)
    )


def print_neurons(console: CommandConsole, used: TextNeurons) -> None:
    """Print each neuron with what it adds to the class and the words that share it, the strongest first."""
    about = f", what each adds to “{printable(used.target)}”" if used.target else ""
    console.print_wrapped(
        f"Neurons at {used.site} that the text uses most{about}, and its activation at the words that share it:"
    )
    table = Table.grid(padding=(0, 2, 0, 0))
    for justify in ("right", *(("right",) if used.total is not None else ()), "left"):
        table.add_column(justify=justify)
    for column, neuron in enumerate(used.neurons.tolist()):
        values = used.activations[:, column]
        order = [word for word in np.argsort(-np.abs(values), kind="stable").tolist() if values[word]]
        words = ", ".join(f"“{printable(used.words[word])}” {values[word]:.2f}" for word in order[:_MOST_WORDS])
        more = f" and {len(order) - _MOST_WORDS} more" if len(order) > _MOST_WORDS else ""
        adds = (f"{used.total[column]:+.3f}",) if used.total is not None else ()
        table.add_row(str(neuron), *adds, Text(words + more))
    console.print_wrapped(table)


def list_output(explanation: OutputExplanation) -> str:
    """A model's output, and for each of its tokens the words that speak for it most, with their scores."""
    width = max(len(printable(token)) for token in explanation.tokens)
    lines = [
        f"wrote {printable(explanation.output)}",
        f"token, probability, words with the highest {explanation.method}",
    ]
    for number, (token, share) in enumerate(zip(explanation.tokens, explanation.probabilities, strict=True)):
        words = ", ".join(f"{printable(word)} {score:.2f}" for word, score in explanation.rank_words(number))
        lines.append(f"{printable(token):<{width}}  {format_share(share):>5} %  {words}")
    return "\n".join(lines)


def _describe_measure(explanation: Explanation, *, coloured: bool) -> str:
    if explanation.scores is None:
        if coloured:
            return "Bluer words have a higher capacity: more of their own direction to themselves."
        return "By capacity, the share of its own direction that a word has to itself (0 to 1)."
    return describe_scores(explanation.method, printable(explanation.target), coloured=coloured)


def _rank_words(explanation: Explanation) -> list[tuple[str, list[int]]]:
    """Headings and the numbers of the strongest words: of all, or of those for and of those against a class."""
    values = _get_values(explanation)
    ranking = np.argsort(-values, kind="stable").tolist()
    target, count = printable(explanation.target), len(values)
    if not is_signed(explanation.method):
        name = name_scores(explanation.method, target) if explanation.method else "capacity"
        highest = f"{_MOST_WORDS} of {count} words by {name}" if count > _MOST_WORDS else f"by {name}"
        return [(highest, ranking[:_MOST_WORDS])]
    signs = [_format_score(explanation, value)[0] for value in values]
    parts = {
        f"for “{target}”": [word for word in ranking if signs[word] == "+"],
        f"against “{target}”": [word for word in reversed(ranking) if signs[word] == "-"],
    }
    return [(heading if words else f"{heading}: no word", words[:_MOST_WORDS]) for heading, words in parts.items()]


def _tabulate_words(console: CommandConsole, explanation: Explanation, words: list[int]) -> Table:
    """A row for each of some words: the word, a bar that is full for the highest score that can be, and its score.

    Args:
        console: Where it is shown, which says how wide a bar is and what letters there are.
        explanation: What they are words of.
        words: Their numbers, from 0.
    """
    values, largest, marked = _get_values(explanation), _find_largest(explanation), _mark_unknown(explanation)
    width = 20 if console.width >= 60 else 10
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=console.width // 2 - 5)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, justify="right")
    for word in words:
        bar = _draw_bar(float(abs(values[word]) / largest), width, ascii_only=console.options.ascii_only)
        table.add_row(Text(marked[word]), Text(bar, bar_style(values[word])), _format_score(explanation, values[word]))
    return table


def _get_values(explanation: Explanation) -> Float[np.ndarray, " word"]:
    return explanation.capacity if explanation.scores is None else explanation.scores


def _find_largest(explanation: Explanation) -> float:
    """The score that has the strongest shade and a full bar: 1 of capacity, so that texts and runs can be compared."""
    return 1.0 if explanation.scores is None else max(float(np.nanmax(np.abs(explanation.scores))), 1e-12)


def _format_score(explanation: Explanation, score: float) -> str:
    text = format_decimals(score, count_decimals(_find_largest(explanation)))
    return f"+{text}" if is_signed(explanation.method) and float(text) > 0 else text


def _draw_bar(share: float, width: int, *, ascii_only: bool) -> str:
    """A bar of so many letters for a share of 0 to 1; one that is not 0 has a mark at least, where it can be seen."""
    if ascii_only:
        return ("#" * round(share * width)).ljust(width, ".")
    full, eighths = divmod(round(share * width * 8), 8)
    return f"{_BLOCKS[-1] * full}{_BLOCKS[eighths].strip()}".ljust(width, "·")


def _mark_unknown(explanation: Explanation) -> list[str]:
    """The words, safe to print, with a mark behind those that are unknown to the tokenizer."""
    unknown = explanation.unknown or (False,) * len(explanation.words)
    return [
        f"{printable(word)} {PLAIN_UNKNOWN_MARK}" if is_unknown else printable(word)
        for word, is_unknown in zip(explanation.words, unknown, strict=True)
    ]
