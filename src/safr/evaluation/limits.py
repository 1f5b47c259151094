"""Texts in; the least and the greatest AOPC that any order of their words could have, by beam search, out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from safr.data.batches import EncodedText
from safr.evaluation.removal import Remover, WordSet

BEAM_WIDTH = 5
"""Sets of words that the search goes on with, as in Edin et al. 2025."""

MIN_AOPC_RANGE = 1e-4
"""Under so much between the least and the greatest AOPC the quotient would be rounding."""


def search_aopc_bounds(
    remover: Remover,
    texts: Sequence[EncodedText],
    classes: Sequence[int],
    *,
    beam: int = BEAM_WIDTH,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float64]:
    """Least and greatest AOPC of each text over the orders that a beam search finds, (2, text).

    Each step takes one more word out; of all sets that can be reached, the `beam` with the lowest (or highest) sum of
    probabilities so far stay, and of two ways to the same set the better one. With a beam of all sets it is exact.

    Source: Edin et al. 2025 (ACL, "Normalized AOPC"), section 4, for NAOPC = (AOPC - least) / (greatest - least).

    Args:
        remover: Removes words and asks the model.
        texts: Encoded texts; the cost grows with the square of their length.
        classes: The class that is predicted for each whole text.
        beam: How many sets stay at each step.
        progress: Called with how many words are out and how many there are in the longest text.

    Returns:
        NaN for a text without two words.
    """
    whole = np.array(
        [each[frozenset()].probability for each in remover.answers(texts, [[frozenset()]] * len(texts), classes)]
    )
    counts = np.array([_removable(text) for text in texts])
    # The least AOPC keeps the probabilities as high as can be, the greatest as low.
    sums = [_extreme_sums(remover, texts, classes, sign, beam, progress) for sign in (1, -1)]
    return np.stack([np.where(counts > 0, whole - each / np.maximum(counts, 1), np.nan) for each in sums])


def normalized_aopc(
    aopc: NDArray[np.float64], least: NDArray[np.float64], greatest: NDArray[np.float64]
) -> NDArray[np.float64]:
    """AOPC between the least, which becomes 0, and the greatest, which becomes 1, (text,).

    NaN where there is no room between both, as where a prediction is so sure that no order changes it.
    """
    room = greatest - least
    return np.divide(aopc - least, room, out=np.full(len(aopc), np.nan), where=room > MIN_AOPC_RANGE)


def _extreme_sums(
    remover: Remover,
    texts: Sequence[EncodedText],
    classes: Sequence[int],
    sign: int,
    beam: int,
    progress: Callable[[int, int], None] | None,
) -> NDArray[np.float64]:
    """The highest sum of probabilities that an order of each text's words has, or with -1 the lowest, (text,)."""
    # By text, the sets that are gone on with, and sign times the sum on the best way there.
    reached: list[dict[WordSet, float]] = [{frozenset(): 0.0} for _ in texts]
    steps = max((_removable(text) for text in texts), default=0)
    for step in range(1, steps + 1):
        going = [number for number, text in enumerate(texts) if _removable(text) >= step]
        wider = [{more for words in reached[number] for more in _one_more(texts[number], words)} for number in going]
        answers = remover.answers([texts[number] for number in going], wider, [classes[number] for number in going])
        for number, known in zip(going, answers, strict=True):
            gains = {words: sign * answer.probability for words, answer in known.items()}
            reached[number] = _best(texts[number], reached[number], gains, beam)
        if progress is not None:
            progress(step, steps)
    return sign * np.array([max(each.values()) for each in reached])


def _best(
    text: EncodedText, reached: dict[WordSet, float], gains: dict[WordSet, float], beam: int
) -> dict[WordSet, float]:
    """The sets of one word more with the highest sums, each by the best way to it."""
    longer: dict[WordSet, float] = {}
    for words, total in reached.items():
        for more in _one_more(text, words):
            longer[more] = max(total + gains[more], longer.get(more, -np.inf))
    ranking = sorted(longer, key=lambda words: (-longer[words], sorted(words)))
    return {words: longer[words] for words in ranking[:beam]}


def _one_more(text: EncodedText, words: WordSet) -> list[WordSet]:
    """Every set with one word more that leaves each of the texts a word."""
    owners = text.text_of_word
    left = [word for word in range(len(owners)) if word not in words]
    last = {owner for owner in owners if sum(owners[word] == owner for word in left) == 1}
    return [words | {word} for word in left if owners[word] not in last]


def _removable(text: EncodedText) -> int:
    return len(text.words) - len(set(text.text_of_word))
