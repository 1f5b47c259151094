import numpy as np
import pytest

SENTENCE = "Preposterous and tedious , Sonny is spiked with unintentional laughter that , unfortunately , occurs ."


class Text:
    """A text with random vectors: its words, their capacity and their interference."""

    def __init__(self, words, seed=0):
        vectors = np.random.default_rng(seed).normal(size=(len(words), 12))
        self.words = words
        self.interference = vectors @ vectors.T
        self.capacity = self.interference.diagonal() ** 2 / (self.interference**2).sum(axis=1)


@pytest.fixture
def sentence():
    return Text(SENTENCE.split())


@pytest.fixture
def long_text():
    return Text([f"word{number}" for number in range(180)])


@pytest.fixture
def caption():
    """The line under the axes, as one line."""
    return lambda figure: (figure.get_supxlabel() or "").replace("\n", " ")
