"""Test texts in, a few to show out, chosen by a rule that cannot pick the pretty ones."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from safr.attribution.scores import InternalScores
from safr.data import Split
from safr.data.batches import EncodedText

MIN_WORDS, MAX_WORDS = 8, 30
"""Words of an example; shorter ones show little, longer ones don't fit a figure."""

EXAMPLES_PER_OUTCOME = 2

EXAMPLE_RULE = (
    f"Of the test texts with {MIN_WORDS} to {MAX_WORDS} words, the {EXAMPLES_PER_OUTCOME} that the last run classifies "
    f"right and the {EXAMPLES_PER_OUTCOME} that it classifies wrong whose SHA-256 comes first. The paper's own "
    "sentence comes before them where the classes are negative and positive."
)

PAPER_SENTENCE = (
    "Preposterous and tedious , Sonny is spiked with unintentional laughter that , unfortunately , occurs too "
    "infrequently to make the film even a guilty pleasure ."
)
"""The sentence of the paper's figures, in the treebank's spelling; its label is negative."""


@dataclass(frozen=True)
class ShownText:
    """A text to show."""

    text: str
    label: str
    origin: str
    """Why it is shown: `paper`, `right` or `wrong`."""


def choose_examples(
    split: Split, texts: Sequence[EncodedText], scored: Sequence[InternalScores], label_names: Sequence[str]
) -> list[dict[str, str]]:
    """The examples of a run, as JSON values, by `EXAMPLE_RULE`."""
    found = [_paper_example(split)] if set(label_names) == {"negative", "positive"} else []
    fitting = [n for n, text in enumerate(texts) if MIN_WORDS <= len(text.words) <= MAX_WORDS and not text.truncated]
    fitting.sort(key=lambda n: hashlib.sha256(split.texts[n].encode("utf-8", "surrogatepass")).digest())
    for origin, is_right in (("right", True), ("wrong", False)):
        matching = [n for n in fitting if (scored[n].prediction == split.labels[n]) == is_right]
        found += [
            ShownText(split.texts[n], label_names[split.labels[n]], origin) for n in matching[:EXAMPLES_PER_OUTCOME]
        ]
    return [asdict(example) for example in found]


def _paper_example(split: Split) -> ShownText:
    """The paper's sentence, spelled as the data spell it where it is among them."""
    alike = (text for text in split.texts if text.lower() == PAPER_SENTENCE.lower())
    return ShownText(next(alike, PAPER_SENTENCE), "negative", "paper")
