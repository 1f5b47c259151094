"""What SAFR costs on a GPU, beside the same network without it, in float32 and in bfloat16.

Prints a Markdown table and writes `benchmarks/gpu.json` and `benchmarks/gpu.md`; needs CUDA. What is compared takes
turns, as in `benchmarks/speed.py`; each turn ends when the GPU has finished it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

import torch
import transformers
from speed import (
    ADDED,
    PUBLISHED,
    SAFR,
    Row,
    batch,
    encoded,
    paper_model,
    published_step,
    rows,
    sentence_batches,
    take_turns,
    training_step,
    write_results,
)
from transformers import BertConfig, BertForSequenceClassification

import safr
from safr.attribution.words import random_scores
from safr.config import Regularization
from safr.data import load_data
from safr.data.encoding import encode
from safr.data.tokenizer import train_word_tokenizer
from safr.evaluation.srs import predict_after_deletion
from safr.inference import iter_logits

Step = Callable[[dict[str, torch.Tensor]], None]
PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16}


def main() -> None:
    """Measure everything, print the table and write it."""
    if not torch.cuda.is_available():
        sys.exit("expected a GPU with CUDA, found none; `make bench` measures the processor")
    transformers.logging.set_verbosity_error()
    torch.manual_seed(0)
    found: list[Row] = []
    for part in (
        lambda: paper_steps(20, 32, 200),
        lambda: paper_steps(256, 32, 100),
        lambda: paper_steps(1024, 8, 50),
        lambda: paper_steps(2048, 4, 50),
        lambda: bert_steps(128, 32, 40),
        lambda: bert_steps(512, 32, 20),
        lambda: memory(2048, 4),
        epoch,
        explanations,
        evaluation,
        lambda: compiled(20, 32, 100),
    ):
        found += part()
        print(f"{found[-1]['what']}: done", file=sys.stderr, flush=True)
        text = write_results("gpu", found)  # what is measured so far, should a later part fail
    print(text)


def finished(run: Callable[[], object]) -> Callable[[], None]:
    """The same run, which returns when the GPU has done it."""

    def run_to_its_end() -> None:
        run()
        torch.cuda.synchronize()

    return run_to_its_end


def on_gpu(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The batch in the GPU's memory."""
    return {name: value.cuda() for name, value in inputs.items()}


def compare(what: str, steps: dict[str, Step], inputs: dict[str, torch.Tensor], turns: int) -> list[Row]:
    """Rows of steps that take turns on one batch."""
    inputs = on_gpu(inputs)
    runs = {name: finished(lambda step=step: step(inputs)) for name, step in steps.items()}
    return rows(what, take_turns(runs, turns))


def in_each_precision(
    build: Callable[[Regularization | None], torch.nn.Module], added: dict[str, Regularization | None]
) -> dict[str, Step]:
    """A step of the network with each of what is added to it, in float32 and under autocast to bfloat16."""
    return {
        f"{name}, {precision}": training_step(build(extra).cuda(), dtype)
        for precision, dtype in PRECISIONS.items()
        for name, extra in added.items()
    }


def paper_steps(tokens: int, texts: int, turns: int) -> list[Row]:
    """A step of the paper's transformer; the published formulation reads all heads, as SAFR does in the row `exact`."""
    exact = replace(ADDED[SAFR], interaction_estimator="exact")
    steps = in_each_precision(paper_model, {**ADDED, f"{SAFR}, exact": exact})
    steps[f"{PUBLISHED}, float32"] = published_step(tokens, device="cuda")
    return compare(
        f"paper's transformer, training step of {texts} texts of {tokens} tokens", steps, batch(tokens, texts), turns
    )


def bert(added: Regularization | None) -> torch.nn.Module:
    """A model of BERT base's size with random weights."""
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig())
    return model if added is None else safr.attach(model, added)


def bert_steps(tokens: int, texts: int, turns: int) -> list[Row]:
    """A step of a model that people fine-tune."""
    steps = in_each_precision(bert, ADDED)
    return compare(f"BERT base, training step of {texts} texts of {tokens} tokens", steps, batch(tokens, texts), turns)


def compiled(tokens: int, texts: int, turns: int) -> list[Row]:
    """A step with torch.compile and without."""
    steps = {
        "as it is": training_step(paper_model(ADDED[SAFR]).cuda()),
        "torch.compile": training_step(torch.compile(paper_model(ADDED[SAFR]).cuda())),
    }
    return compare(f"with SAFR, training step of {texts} texts of {tokens} tokens", steps, batch(tokens, texts), turns)


def memory(tokens: int, texts: int) -> list[Row]:
    """Peak memory that a step takes beyond what stands before it."""
    inputs, small = on_gpu(batch(tokens, texts)), on_gpu(batch(16, texts))
    found = {}
    for name in (*ADDED, PUBLISHED):
        is_published = name == PUBLISHED
        step = published_step(tokens, device="cuda") if is_published else training_step(paper_model(ADDED[name]).cuda())
        step(small)  # the optimizer's state, and what torch sets up at first
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step(inputs)
        torch.cuda.synchronize()
        found[name] = [(torch.cuda.max_memory_allocated() - before) / 2**20]
    return rows(f"peak memory of a training step, {texts} texts of {tokens} tokens, 8 heads", found, "MB")


def epoch() -> list[Row]:
    """One epoch of sentences on the GPU and on the processor, with SAFR."""
    batches, vocabulary = sentence_batches(), encoded("sst2_paper", 6244, 128).vocabulary
    gpu, cpu = (paper_model(ADDED[SAFR], vocabulary).to(device) for device in ("cuda", "cpu"))
    gpu_step, cpu_step = training_step(gpu), training_step(cpu)
    runs = {
        f"the processor, {torch.get_num_threads()} threads": lambda: [cpu_step(inputs) for inputs in batches],
        "the GPU": finished(lambda: [gpu_step(on_gpu(inputs)) for inputs in batches]),
    }
    return rows(f"epoch of {len(batches)} batches of 32 sentences with SAFR", take_turns(runs, 3))


def explanations() -> list[Row]:
    """1,000 sentences explained as a list, beside the forward passes of the same batches alone."""
    sentences = list(load_data("rotten_tomatoes").train.texts)
    tokenizer = train_word_tokenizer(sentences)
    texts = sentences[:1000]
    read = encode(tokenizer, texts)
    found = []
    for name, model in (("the paper's transformer", paper_model(ADDED[SAFR])), ("BERT base", bert(ADDED[SAFR]))):
        model.cuda().eval()
        runs = {
            "forward passes": finished(lambda model=model: list(iter_logits(model, read))),
            "tokens and words alone": lambda: encode(tokenizer, texts),
            "`safr.explain`, from text to scores": finished(lambda model=model: safr.explain(model, tokenizer, texts)),
        }
        found += rows(f"{len(texts):,} sentences, {name}", take_turns(runs, 9))
    return found


def evaluation() -> list[Row]:
    """400 sentences scored after 40 deletions, on the processor and on the GPU."""
    texts = encoded("sst2_paper", 6244, 128).texts[:400]
    deletions = [(random_scores(texts, seed), percent) for seed in range(8) for percent in (10, 20, 30, 60, 90)]
    cpu, gpu = (paper_model(ADDED[SAFR]).to(device).eval() for device in ("cpu", "cuda"))
    runs = {
        f"the processor, {torch.get_num_threads()} threads": lambda: predict_after_deletion(cpu, texts, deletions),
        "the GPU": finished(lambda: predict_after_deletion(gpu, texts, deletions)),
    }
    return rows("400 sentences after 40 deletions", take_turns(runs, 3))


if __name__ == "__main__":
    main()
