"""How the cost of a training step grows with the length of the texts, with the layers and with the batch.

Prints two Markdown tables and writes `benchmarks/growth.json` and `benchmarks/growth.md`. The network is half as
wide as the paper's, with more layers where they grow. Times are the processor's for one thread, which other work on
the machine changes least. A cost of slope 1 doubles where the size doubles.
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import torch
from speed import (
    ADDED,
    PLAIN,
    SAFR,
    batch,
    bound,
    describe,
    describe_machine,
    paper_model,
    take_turns,
    training_step,
    write_tables,
)
from torch.profiler import ProfilerActivity, profile

SIZES = {
    "tokens": [2**power for power in range(4, 14)],
    "layers": [1, 2, 4, 8, 16, 24],
    "texts": [2**power for power in range(9)],
}
FIXED = {
    "tokens": {"layers": 1, "texts": 2},
    "layers": {"tokens": 20, "texts": 32},
    "texts": {"tokens": 20, "layers": 1},
}
"""By what grows: all that does not."""
PROBED = [2048, 4096, 8192]
"""Tokens at which `auto` estimates the interaction loss by probes; shorter texts are read exactly, in fewer heads."""
EXTRA = "extra"
SECONDS, FEWEST_TURNS, MOST_TURNS = 1, 3, 25
"""How long the steps of one size take turns, and within which bounds."""
VOCABULARY = 4000
NETWORK = {"hidden_size": 128, "num_attention_heads": 4, "intermediate_size": 512}


def main() -> None:
    """Measure everything, print the tables and write them."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    # Attention weights too small for a normal float would make long texts several times as slow, and the plain network
    # more so than one with VMASK: they would hide what SAFR adds.
    torch.set_flush_denormal(True)
    points = [measure(axis, {**FIXED[axis], axis: size}) for axis, sizes in SIZES.items() for size in sizes]
    slopes = [fit_slopes(points, axis, sizes[len(sizes) // 2 :]) for axis, sizes in SIZES.items()]
    slopes.append(fit_slopes(points, "tokens", PROBED))
    machine = describe_machine()
    lines = [*size_table(points), "", *slope_table(slopes), "", describe(machine)]
    print(write_tables("growth", {"machine": machine, "points": points, "slopes": slopes}, lines))


def measure(axis: str, shape: dict[str, int]) -> dict[str, Any]:
    """Processor milliseconds of a step, plain and with SAFR, its peak memory, and what SAFR adds to both."""
    sizes = {**NETWORK, "num_hidden_layers": shape["layers"]}
    steps = {name: training_step(paper_model(ADDED[name], VOCABULARY, **sizes)) for name in (PLAIN, SAFR)}
    for step in steps.values():
        step(batch(16, 2, VOCABULARY))  # the optimizer's state
    runs = bound(steps, batch(shape["tokens"], shape["texts"], VOCABULARY))
    started = time.process_time()
    megabytes = {name: peak_allocation(run) for name, run in runs.items()}
    turns = round(SECONDS / (time.process_time() - started))
    turns, warm_up = min(max(turns, FEWEST_TURNS), MOST_TURNS), 1 if turns > FEWEST_TURNS else 0
    times = take_turns(runs, turns, warm_up, time.process_time)
    times[EXTRA] = [with_safr - plain for plain, with_safr in zip(times[PLAIN], times[SAFR], strict=True)]
    megabytes[EXTRA] = megabytes[SAFR] - megabytes[PLAIN]
    quartiles = {name: statistics.quantiles(values, n=4) for name, values in times.items()}
    print(f"{shape}: done", file=sys.stderr, flush=True)
    return {
        "axis": axis,
        **shape,
        "ms": {name: dict(zip(("low", "median", "high"), three, strict=True)) for name, three in quartiles.items()},
        "MB": megabytes,
    }


def peak_allocation(run: Callable[[], object]) -> float:
    """Megabytes that torch's allocator hands out during a run, at their most, beyond what stands before it."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    changes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return max(accumulate(changes)) / 2**20


def fit_slopes(points: list[dict[str, Any]], axis: str, sizes: Sequence[int]) -> dict[str, Any]:
    """Slopes of the logarithm of each cost over that of the size, by least squares."""
    chosen = [point for point in points if point["axis"] == axis and point[axis] in sizes]
    costs = {
        unit: {
            name: fit_slope(sizes, [cost_of(point, unit, name) for point in chosen]) for name in (PLAIN, SAFR, EXTRA)
        }
        for unit in ("ms", "MB")
    }
    return {"axis": axis, "from": sizes[0], "to": sizes[-1], **costs}


def fit_slope(sizes: Sequence[int], costs: Sequence[float]) -> float | None:
    """None where a cost is lost in what the machine varies by."""
    if min(costs) <= 0:
        return None
    return statistics.linear_regression([math.log(size) for size in sizes], [math.log(cost) for cost in costs]).slope


def cost_of(point: dict[str, Any], unit: str, name: str) -> float:
    """The median of the times, or the memory."""
    cost = point[unit][name]
    return cost["median"] if unit == "ms" else cost


def size_table(points: list[dict[str, Any]]) -> list[str]:
    """A row for each size."""
    lines = [
        "| texts × tokens | layers | plain | SAFR | extra (quartiles) | SAFR / plain | memory, plain | SAFR | extra |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for point in points:
        plain, with_safr, extra = (cost_of(point, "ms", name) for name in (PLAIN, SAFR, EXTRA))
        spread = "{low:.4g} to {high:.4g}".format(**point["ms"][EXTRA])
        cells = [
            f"{point['texts']} × {point['tokens']:,}",
            point["layers"],
            f"{plain:.4g} ms",
            f"{with_safr:.4g} ms",
            f"{extra:.4g} ms ({spread})",
            f"{with_safr / plain:.3g}",
            *(f"{point['MB'][name]:.4g} MB" for name in (PLAIN, SAFR, EXTRA)),
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def slope_table(slopes: list[dict[str, Any]]) -> list[str]:
    """A row for each range of sizes."""
    lines = [
        "| slope over | time, plain | time, SAFR | time, extra | memory, plain | memory, SAFR | memory, extra |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in slopes:
        found = [row[unit][name] for unit in ("ms", "MB") for name in (PLAIN, SAFR, EXTRA)]
        cells = ["below the noise" if slope is None else f"{slope:.2f}" for slope in found]
        lines.append(f"| {row['axis']}, {row['from']:,} to {row['to']:,} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    main()
