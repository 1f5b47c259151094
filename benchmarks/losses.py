"""How many texts a second train with each loss alone, beside the same network without any.

Prints a Markdown table and writes `benchmarks/losses.json` and `benchmarks/losses.md`. The network is the paper's.
Times are the processor's for one thread, as in `benchmarks/growth.py`.
"""

from __future__ import annotations

import time
from dataclasses import replace

import torch
from speed import ADDED, Row, batch, bound, paper_model, take_turns, throughput, training_step, write_results

from safr.config import Regularization
from safr.losses import NEURON_LOSSES

NOTHING = Regularization(importance=0, interaction=0, vmask=False)
ALONE = {
    "importance alone": replace(NOTHING, importance=1),
    "interaction alone": replace(NOTHING, interaction=0.1),
    **{f"`{name}` alone": replace(NOTHING, neuron_losses=(f"{name}=0.1",)) for name in NEURON_LOSSES},
    "`top_k` alone": replace(NOTHING, top_k=64),
    "`neuron_dropout` alone": replace(NOTHING, neuron_dropout=0.1),
}
"""Losses without VMASK and without each other, and what is done to the neurons of FC1."""


def main() -> None:
    """Measure everything, print the table and write it."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # as in `benchmarks/growth.py`
    print(write_results("losses", [*steps(20, 32, 21), *steps(256, 8, 11)]))


def steps(tokens: int, texts: int, turns: int) -> list[Row]:
    """Texts of one length."""
    runs = {name: training_step(paper_model(added)) for name, added in (ADDED | ALONE).items()}
    times = take_turns(bound(runs, batch(tokens, texts)), turns, clock=time.process_time)
    return throughput(f"training steps of {texts} texts of {tokens} tokens", times, texts)


if __name__ == "__main__":
    main()
