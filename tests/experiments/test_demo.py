"""The demonstration's baseline on English as people write it: no word is unknown, and most answers are a person's."""

import pytest

from safr.data import load_data
from safr.data.encoding import encode
from safr.experiments.demo import demo_settings
from safr.inference import predict
from safr.training import train

SENTENCES = {
    "positive": [
        "A masterpiece. Brilliant!",
        "I loved every minute of it.",
        "It's a warm, funny and touching film.",
        "What a wonderful surprise: smart, moving, and beautifully acted!",
        "The performances are excellent, and the story is powerful.",
        "One of the best films of the year.",
        "We laughed, we cried... Don't miss it!",
        "An honest, fascinating portrait of a remarkable woman.",
        "Great fun for the whole family!",
        "Gorgeous to look at and surprisingly moving.",
    ],
    "negative": [
        "I hated it.",
        "What a boring, pointless mess!",
        "It's too long, and the plot doesn't make sense.",
        "The jokes aren't funny.",
        "A complete waste of time and money.",
        "Dull, predictable and badly acted.",
        "I couldn't wait for it to end.",
        "The worst movie I've seen in years!",
        "The script is lazy; the characters are flat.",
        "Unfortunately, it never comes to life.",
    ],
}
"""Twenty sentences of clear sentiment, written before any model had read them."""


@pytest.mark.slow
def test_the_baseline_answers_everyday_sentences_as_a_person_would(tmp_path):
    run = train(demo_settings(seed=0)["baseline"], load_data("rotten_tomatoes"), tmp_path / "baseline")
    model, tokenizer = run.load_model()
    labels, right = model.config.id2label, 0
    for label, texts in SENTENCES.items():
        encoded = encode(tokenizer, texts)
        assert not any(text.unknown for text in encoded)
        right += sum(labels[answer] == label for answer in predict(model, encoded))
    assert right >= 17
