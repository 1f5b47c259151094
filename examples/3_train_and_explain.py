"""A small training on real sentences, from data to an explanation."""

import tempfile
from pathlib import Path

from transformers import AutoTokenizer

import safr

data = safr.load_data("rotten_tomatoes")
settings = safr.Settings(
    regularization=safr.Regularization(importance=1, interaction=0.1, vmask_width=64),
    architecture=safr.Architecture(width=32, heads=4, feed_forward=64),
    recipe=safr.Recipe(epochs=1, learning_rate=1e-3),
)
with tempfile.TemporaryDirectory() as folder:
    run = safr.train(settings, data, Path(folder) / "run")
    model, tokenizer = safr.load(run.model_folder), AutoTokenizer.from_pretrained(run.model_folder)

explanation = safr.explain(model, tokenizer, "a moving and often funny film")
print(explanation.prediction, f"{explanation.probability:.0%}")
for word, capacity in zip(explanation.words, explanation.capacity, strict=True):
    print(f"{word:10} {'#' * round(40 * capacity)} {capacity:.2f}")
