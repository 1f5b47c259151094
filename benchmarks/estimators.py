"""How far the interaction loss's estimators spread, beside how far batches do, on IMDB reviews of 256 and 1,024 tokens.

The paper's transformer is trained for 60 steps; then the gradient of the interaction loss with respect to the weights
of queries and keys is taken exactly on 20 batches, and 20 times with each estimator on the first of them. Writes
`benchmarks/estimators.json` and prints Markdown tables; some ten minutes.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from dataclasses import replace
from pathlib import Path

# Threads that spin while they wait would fight for the cores with whatever else runs there.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from torch import Tensor

import safr
from safr.config import Regularization
from safr.data import load_data
from safr.data.encoding import encode
from safr.data.tokenizer import train_word_tokenizer
from safr.losses.interaction import PROBES

SEED = 0
STEPS, BATCHES, DRAWS = 60, 20, 20
TEXTS = {256: 32, 1024: 8}
"""Texts in a batch, by tokens in each."""
ESTIMATORS = {
    256: [("exact", 8, 32), ("exact", 1, 32), ("exact", 2, 32), ("exact", 4, 32), ("probes", 2, 32), ("probes", 8, 32)],
    1024: [("exact", 8, 8), ("exact", 1, 8), ("exact", 1, 2), ("probes", 2, 8), ("probes", 8, 8)],
}
"""Estimators, by tokens: how, in how many heads, of how many texts."""


def main() -> None:
    """Train, measure, print and write."""
    torch.manual_seed(SEED)
    split = load_data("imdb").train
    tokenizer = train_word_tokenizer(split.texts)
    model = safr.TransformerForSequenceClassification(safr.TransformerConfig(vocab_size=len(tokenizer)))
    safr.attach(model, Regularization(importance=1, interaction=0.1))
    train(model, review_batches(split, tokenizer, 256, STEPS))
    result = {"seed": SEED, "draws": DRAWS, "weight": 0.1, "lengths": {}}
    for tokens in TEXTS:
        result["lengths"][tokens] = found = at_length(model, review_batches(split, tokenizer, tokens, BATCHES))
        print(f"\n{tokens} tokens: at weight 0.1 the noise between batches is {found['share_of_whole']:.2e} of")
        print("the task and importance loss's\n")
        print("| estimator | heads | texts | ms | spread of the loss | noise of its gradient / noise between batches |")
        print("| --- | --- | --- | --- | --- | --- |")
        for row in found["estimators"]:
            print("| {estimator} | {heads} | {texts} | {ms:.0f} | {loss:.1%} | {gradient:.2f} |".format(**row))
    Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n")


def at_length(model: torch.nn.Module, batches: list[dict[str, Tensor]]) -> dict:
    """Noise between batches, and of every estimator on the first of them."""
    tokens = batches[0]["input_ids"].shape[1]
    every = [interaction_gradient(model, each, "exact", 8) for each in batches]
    between = noise([gradient for _, gradient in every])
    value, exact = every[0]
    found = []
    for estimator, heads, texts in ESTIMATORS[tokens]:
        drawn, times = [], []
        for _ in range(DRAWS):
            chosen = torch.randperm(TEXTS[tokens])[:texts]
            some = {name: each[chosen] for name, each in batches[0].items()}
            started = time.perf_counter()
            drawn.append(interaction_gradient(model, some, estimator, heads))
            times.append(1000 * (time.perf_counter() - started))
        found.append(
            {
                "estimator": f"{PROBES} probes" if estimator == "probes" else estimator,
                "heads": heads,
                "texts": texts,
                "ms": statistics.median(times),
                "loss": float(torch.tensor([loss for loss, _ in drawn]).std() / value),
                "gradient": noise([gradient for _, gradient in drawn], exact) / between,
            }
        )
    whole = noise([task_gradient(model, each) for each in batches])
    return {"share_of_whole": 0.1 * between / whole, "estimators": found}


def review_batches(split: object, tokenizer: object, tokens: int, count: int) -> list[dict[str, Tensor]]:
    """Batches of IMDB reviews of at least so many tokens, cut there."""
    texts = encode(tokenizer, split.texts, tokens)
    long = [number for number, text in enumerate(texts) if len(text.ids) == tokens]
    chosen = [long[place] for place in torch.randperm(len(long))[: count * TEXTS[tokens]].tolist()]
    batches = []
    for start in range(0, len(chosen), TEXTS[tokens]):
        some = chosen[start : start + TEXTS[tokens]]
        ids = torch.tensor([texts[number].ids for number in some])
        labels = torch.tensor([split.labels[number] for number in some])
        batches.append({"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels})
    return batches


def train(model: torch.nn.Module, batches: list[dict[str, Tensor]]) -> None:
    """One step on each batch."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0, fused=True)
    model.train()
    for inputs in batches:
        optimizer.zero_grad()
        model(**inputs).loss.backward()
        optimizer.step()


def interaction_gradient(
    model: torch.nn.Module, inputs: dict[str, Tensor], estimator: str, heads: int
) -> tuple[float, Tensor]:
    """The loss, and its gradient with the mask's samples and dropout left out."""
    model.safr.regularization = replace(
        model.safr.regularization,
        importance=0.0,
        interaction=1.0,
        interaction_estimator=estimator,
        interaction_heads=heads,
    )
    for module in model.modules():
        module.training = module is model
    output = model(**inputs)
    task = torch.nn.functional.cross_entropy(output.logits, inputs["labels"])
    return float(model.safr.terms["interaction"]), gradient(model, output.loss - task)


def task_gradient(model: torch.nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    """The gradient of all but the interaction loss, as in training."""
    model.safr.regularization = replace(model.safr.regularization, importance=1.0, interaction=0.0)
    return gradient(model.train(), model(**inputs).loss)


def gradient(model: torch.nn.Module, loss: Tensor) -> Tensor:
    """With respect to the weights that make queries and keys."""
    attention = model.layers[0].attention
    return torch.cat(
        [each.flatten() for each in torch.autograd.grad(loss, (attention.query.weight, attention.key.weight))]
    )


def noise(gradients: list[Tensor], center: Tensor | None = None) -> float:
    """Root of the mean squared distance from the center, by default their mean."""
    stacked = torch.stack(gradients)
    if center is None:
        center, free = stacked.mean(dim=0), len(gradients) / (len(gradients) - 1)
    else:
        free = 1.0
    return float(((stacked - center).norm(dim=1).square().mean() * free).sqrt())


if __name__ == "__main__":
    main()
