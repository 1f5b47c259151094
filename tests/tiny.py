"""Models, texts and runs small enough for any test: about 50 words, width 16, a few dozen sentences."""

import random

import torch

from safr.config import Architecture, Recipe, Regularization, Settings
from safr.data import TextDataset
from safr.data.tokenizer import train_word_tokenizer
from safr.evaluation.evaluate import evaluate
from safr.model.attach import attach
from safr.model.transformer import TransformerConfig, TransformerForSequenceClassification
from safr.runs import Run
from safr.training import train

BAD = "dull awful boring poor weak tedious stale clumsy"
GOOD = "bright lovely funny rich sharp moving fresh clever"
NEITHER = "a an the this that film story cast scene plot line idea is was has with and but of in"
LABELS = ("bad", "<good>")
HOSTILE = (
    "a <script>alert('x')</script> film with \"quotes\" & 👩‍👩‍👧 the scene",
    "the </div> story \x00 \ud800 was <img src=http://example.org/x.png> \x1b[31m 漢字 && dull",
)
"""The only test texts long enough to be examples, so that every report shows both."""

MAX_TOKENS = 12

REGULARIZATIONS = {
    "baseline": Regularization(importance=0, interaction=0, vmask=False),
    "safr": Regularization(importance=0.1, interaction=0.1, vmask_width=8),
}


def sentences(count, seed, *, longest):
    """Labelled sentences of 1 to `longest` words, one or two of which say the label."""
    draw = random.Random(seed)
    made = []
    for number in range(count):
        label = number % 2
        length = draw.randint(1, longest)
        words = draw.choices(NEITHER.split(), k=length)
        for place in draw.sample(range(length), min(length, 2)):
            words[place] = draw.choice((BAD, GOOD)[label].split())
        made.append((" ".join(words), label))
    return made


def dataset(seed=0):
    """60 / 12 / 17 sentences; the test has an empty text, one that is cut, and two that try to break a page."""
    test = [*sentences(13, seed + 2, longest=7), ("", 0), ("a plot " * 9, 1), (HOSTILE[0], 1), (HOSTILE[1], 0)]
    parts = {"train": sentences(60, seed, longest=9), "dev": sentences(12, seed + 1, longest=9), "test": test}
    cleaned = {"duplicate <texts> left out": 2}
    return TextDataset.from_parts("tiny & <mine>", parts, label_names=LABELS, origin="made <here>", cleaned=cleaned)


def single_words():
    """The same sentences to train on; the texts of dev and test are single words, from which nothing can be deleted."""
    draw = random.Random(3)
    words = [(draw.choice((BAD, GOOD)[number % 2].split()), number % 2) for number in range(20)]
    parts = {"train": sentences(60, 0, longest=9), "dev": words[:8], "test": words[8:]}
    return TextDataset.from_parts("single words", parts, label_names=LABELS, origin="made <here>", cleaned={})


def tokenizer():
    return train_word_tokenizer(text for text, _ in sentences(60, 0, longest=9))


def model(regularization=None, *, seed=0, vocabulary=None, **options):
    """A random transformer in evaluation mode, with SAFR on it if a regularization is given."""
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32, **options}
    words = tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = TransformerForSequenceClassification(TransformerConfig(vocab_size=vocabulary or len(words), **sizes))
        if regularization is not None:
            attach(made, regularization, tokenizer=words)
    return made.eval()


def settings(kind):
    return Settings(
        data="tiny",
        tokenizer="words",
        regularization=REGULARIZATIONS[kind],
        architecture=Architecture(width=16, heads=2, feed_forward=32),
        recipe=Recipe(epochs=2, batch_size=8, learning_rate=1e-2, max_tokens=MAX_TOKENS),
    )


_evaluated: dict[str, Run] = {}


def evaluated_run(kind, tmp_path_factory):
    """A run trained for 2 epochs and evaluated, made once in a session; tests read it and change nothing."""
    if kind not in _evaluated:
        run = train(settings(kind), dataset(), tmp_path_factory.mktemp("runs") / kind)
        evaluate(run, dataset())
        _evaluated[kind] = run
    return _evaluated[kind]


def run_on_single_words(tmp_path_factory):
    """A run with SAFR whose test texts are single words, made once in a session too."""
    name = "single words"
    if name not in _evaluated:
        run = train(settings("safr"), single_words(), tmp_path_factory.mktemp("runs") / name)
        evaluate(run, single_words())
        _evaluated[name] = run
    return _evaluated[name]
