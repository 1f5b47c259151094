"""The command line: options in, one of the library's functions called, its result shown.

Heavy imports stand inside the commands, so that `safr --help` answers at once.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from safr.cli.parse import (
    Command,
    default_run_name,
    parse_command,
    parse_score_files,
    parse_seeds,
    parse_sweep_jobs,
    resolve_paths,
)
from safr.config import ModelData, ReportTo, Settings
from safr.errors import InputError, printable
from safr.launcher import count_processes, is_first_process

DEMO_TEXTS = 30
"""Test texts of the demonstration's explorer, which is written in ten seconds."""

INTERRUPTED_STATUS, BROKEN_PIPE_STATUS, TERMINATED_STATUS = 130, 141, 143
"""What a shell reports of a program that SIGINT, SIGPIPE or SIGTERM ends."""

SECONDS_FOR_FIRST = 5
"""How long another process that a launcher has started stays after an error, so that the first can say what it is: a
launcher ends all of them as soon as one has ended."""

_NO_DATA = ModelData()

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from safr.attribution.explanation import Explanation
    from safr.cli.console import CommandConsole
    from safr.data import TextDataset
    from safr.runs import Run


def demo_command(output: Path = Path("runs/demo"), seed: int = 0, workers: int | None = None) -> None:
    """Train a plain transformer, one with VMASK and one with SAFR on real sentences, and report on all three.

    Args:
        output: Folder for the three runs and the report; finished runs in it are not run again.
        seed: Seed of all three.
        workers: How many runs are trained at the same time; they share the cores. Default: one for each core.
    """
    from joblib import cpu_count

    from safr.cli.progress_bars import EpochLines, outcome_printer
    from safr.experiments.demo import demo_settings
    from safr.experiments.runner import run_jobs
    from safr.runs import open_trained_run

    console, settings = _console(), demo_settings(seed)
    _load(settings["baseline"], None, console)
    longest_first = dict(reversed(settings.items()))
    workers = min(cpu_count(), len(settings)) if workers is None else workers
    failed = {}
    with EpochLines(console, output):
        for outcome in run_jobs(longest_first, output, ("test",), workers=workers, progress=outcome_printer(console)):
            if outcome.error is None:
                _draw_figures(open_trained_run(output / outcome.name))  # while the other runs go on
            else:
                failed[outcome.name] = outcome.error
    if failed:
        raise InputError("; ".join(f"{output / name}: {error}" for name, error in failed.items()))
    runs = [open_trained_run(output / name) for name in settings]
    for run in runs:
        _draw_figures(run)
    _show_scores(runs, console)
    _write_report(runs, output / "report.html", console)
    _export_page(runs, output / "explorer.html", console, DEMO_TEXTS)


def train_command(
    settings: Settings,
    output: Path | None = None,
    resume: Path | None = None,
    preset: str | None = None,
    data_dir: Path | None = None,
    report_to: tuple[ReportTo, ...] = ("none",),
) -> None:
    """Train a model with SAFR on it and evaluate it on the test split.

    Args:
        settings: What to train and how.
        output: Folder of the run. Default: a name under `runs/` made from the settings.
        resume: Folder of a run that was stopped. It continues with its own settings, so give no others.
        preset: `best` takes settings found on the dev split of SST-2 instead of the paper's. Other options override it.
        data_dir: Folder that is searched first for archives of data.
        report_to: Trackers that show the training's curves, one or several; each needs the package of its name.
            TensorBoard's files are in the run's folder `logs`. No number changes, so it can be given with `--resume`.
    """
    from safr.training.arguments import check_training_arguments
    from safr.training.reporting import check_report_to

    console = _console()
    check_report_to(report_to)  # before its data are loaded, which may take a download
    if resume is not None:
        from safr.runs import open_run

        run = open_run(resume)
        run.check_divergence()  # as above
        settings = run.settings
    check_training_arguments(settings.recipe)  # as above
    folder = resume or output or Path("runs") / default_run_name(settings)
    settings = settings if resume else resolve_paths(settings)
    run = _train_and_evaluate(settings, folder, console, data_dir, resume=resume is not None, report_to=report_to)
    if is_first_process():
        _show_scores([run], console)


def evaluate_command(
    run: Annotated[Path, tyro.conf.Positional],
    model_data: ModelData = _NO_DATA,
    split: str = "test",
    output: Path | None = None,
    data_dir: Path | None = None,
    device: str | None = None,
) -> None:
    """Score a trained run or any model: accuracy, SRS at every k beside random deletion, capacity, an audit.

    Args:
        run: Folder of the run; or the folder or hub name of a model, which becomes a run.
        model_data: What a model is judged on.
        split: `test`, or `dev` for choosing settings; only the scores on test are saved in the run.
        output: Folder of the run that a model becomes. Default: a name under `runs/` made from model and data.
        data_dir: Folder that is searched first for archives of data.
        device: Where the model runs, such as `cpu` or `cuda:1`. Default: the GPU, if there is one.
    """
    if split not in ("test", "dev"):
        raise InputError(f"--split must be test or dev, got {split!r}")
    console = _console()
    opened = _open_run(run, model_data, console, data_dir, output)
    scores = _evaluate(opened, _load(opened.settings, data_dir, console), console, split, device)
    _show_scores([opened], console, {opened.name: scores}, split)
    if split == "test":
        console.print(f"All scores: {opened.scores_file}")


def sweep_command(
    settings: Settings,
    output: Path,
    vary: tuple[str, ...] = (),
    preset: str | None = None,
    seeds: int | None = None,
    plan: Path | None = None,
    baseline: bool = True,
    test: bool = False,
    margin: float = 2.0,
    engine: Literal["joblib", "ray"] = "joblib",
    workers: int | None = None,
    gpus: float = 0.0,
    data_dir: Path | None = None,
) -> int:
    """Train with every combination of some settings and seeds, and recommend a setting.

    Finished runs are never run again: if a sweep was stopped, the same command continues it.

    Args:
        settings: What all runs share.
        output: Folder of the runs and the table.
        vary: Settings and their values, as in `--vary importance=0,0.1,1 interaction=0,0.1`.
        preset: `best` takes settings found on the dev split of SST-2 instead of the paper's. Other options override it.
        seeds: How many seeds each setting is run with, counted from `--seed`. Default: 3.
        plan: A YAML file that lists the runs (see docs/sweeps.md), instead of settings as options.
        baseline: Also run the model without SAFR, with which the others are compared.
        test: Also score the test split. The recommendation depends on the dev split alone.
        margin: Points of accuracy that the recommended setting may lose against the baseline. If numbers are predicted:
            by how many per cent its error may be larger.
        engine: `joblib` uses processes of this machine, `ray` a Ray cluster.
        workers: How many runs are trained at the same time. Default: one for each core.
        gpus: GPUs of a Ray cluster that each run takes, or a share of one, such as 0.5.
        data_dir: Folder that is searched first for archives of data.
    """
    from safr.cli.progress_bars import EpochLines, outcome_printer
    from safr.cli.results import print_titled_table
    from safr.experiments.sweep import run_sweep

    jobs = parse_sweep_jobs(settings, vary, seeds, plan, baseline)
    console = _console()
    console.print(f"{len(jobs)} runs in {output}")
    with EpochLines(console, output):
        result = run_sweep(
            jobs,
            output,
            engine=engine,
            workers=workers,
            gpus=gpus,
            test=test,
            margin=margin / 100,
            data_dir=data_dir,
            progress=outcome_printer(console),
        )
    less_important = ("random deletion", "by capacity", "seeds")
    print_titled_table(console, result.table, output / "table.md", left_out_first=less_important)
    console.print(f"table, runs and picture: {output.resolve()}")
    return 1 if result.failed else 0


def compare_command(
    settings: Settings,
    output: Path,
    preset: str | None = None,
    regularizers: tuple[str, ...] = (),
    seeds: int | None = None,
    texts: int = 400,
    costly_texts: int | None = None,
    autoencoders: int = 0,
    encoder: str | None = None,
    margin: float = 2.0,
    engine: Literal["joblib", "ray"] = "joblib",
    workers: int | None = None,
    gpus: float = 0.0,
    data_dir: Path | None = None,
) -> int:
    """Train with SAFR and with every other regularizer, and compare accuracy, explanations and neurons.

    Finished runs are never run again: if a comparison was stopped, the same command continues it.

    Args:
        settings: What all runs share. What the settings add to a model, such as `--importance 0.3` or both losses and
            `--top-k 64`, is compared too.
        output: Folder of the runs, the table and the pictures.
        preset: `best` takes settings found on the dev split of SST-2 instead of the paper's. Other options override it.
        regularizers: Some of plain, dropout, VMASK, SAFR, L1, L1/L2, decorrelation, `token entropy`, MonoLoss and TopK.
            Default: all.
        seeds: How many seeds each setting is run with, counted from `--seed`. Default: 3.
        texts: Largest number of test texts whose explanations are judged.
        costly_texts: Of these, how many are used for NAOPC, which takes most of the time of a deep model. Default: 100.
        autoencoders: How many sparse autoencoders count the features of each run's neurons. One takes minutes.
        encoder: Folder or hub name of an independent encoder of texts, such as a MiniLM. Whether the words of a
            neuron are alike is then also measured by its vectors.
        margin: Points of accuracy that the recommended setting may lose against plain.
        engine: `joblib` uses processes of this machine, `ray` a Ray cluster.
        workers: How many runs are trained at the same time. Default: one for each core.
        gpus: GPUs of a Ray cluster that each run takes, or a share of one, such as 0.5.
        data_dir: Folder that is searched first for archives of data.
    """
    from safr.cli.progress_bars import EpochLines, ProgressBar, outcome_printer
    from safr.cli.results import print_titled_table
    from safr.experiments.compare import check_has_accuracy, comparison_jobs, judge_runs
    from safr.experiments.comparison_table import ABOVE_CHANCE, MEASURES, write_comparison
    from safr.experiments.runner import run_jobs
    from safr.experiments.sweep import check_margin
    from safr.training.adopt import load_text_encoder

    seed_range = parse_seeds(settings, seeds)
    check_margin(margin / 100)
    if texts < 2:
        raise InputError(f"--texts must be at least 2, got {texts}")
    if costly_texts is not None and costly_texts < 2:
        raise InputError(f"--costly-texts must be at least 2, got {costly_texts}")
    if autoencoders < 0:
        raise InputError(f"--autoencoders must be at least 0, got {autoencoders}")
    loaded = None if encoder is None else load_text_encoder(encoder)
    console, settings = _console(), resolve_paths(settings)
    jobs = comparison_jobs(settings, seed_range, regularizers or None)
    check_has_accuracy(_load(settings, data_dir, console))
    console.print(f"{len(jobs)} runs in {output}")
    with EpochLines(console, output):
        outcomes = list(
            run_jobs(
                jobs,
                output,
                ("dev", "test"),
                engine=engine,
                workers=workers,
                gpus=gpus,
                data_dir=data_dir,
                progress=outcome_printer(console),
            )
        )
    failed = {outcome.name: outcome.error for outcome in outcomes if outcome.error is not None}
    with ProgressBar(console, "judging") as steps:
        judged, not_judged = judge_runs(
            output,
            [name for name in jobs if name not in failed],
            texts=texts,
            costly_texts=costly_texts,
            autoencoders=autoencoders,
            encoder=loaded,
            data_dir=data_dir,
            parts=steps.begin_part,
        )
    failed |= not_judged
    beside_above_chance = [MEASURES[name].heading for name in MEASURES if f"{name}{ABOVE_CHANCE}" in MEASURES]
    less_important = (*beside_above_chance, "seeds", "NAOPC by autoencoder, test", "Hoyer sparsity", "dead", "active")
    for table in write_comparison(output, judged, margin / 100, failed):
        console.print()
        print_titled_table(console, table, output / "comparison.md", left_out_first=less_important)
    console.print(f"table, runs and pictures: {output.resolve()}")
    return 1 if failed else 0


def reproduce_command(
    output: Path = Path("runs/paper"),
    dataset: Literal["sst2", "imdb", "both"] | None = None,
    seeds: int | None = None,
    quick: bool = False,
    engine: Literal["joblib", "ray"] = "joblib",
    workers: int | None = None,
    gpus: float = 0.0,
    data_dir: Path | None = None,
) -> int:
    """Make the paper's tables and figures, its numbers beside ours, as CSV, Markdown and one HTML page.

    Finished runs are never run again: if a reproduction was stopped, the same command continues it.

    Args:
        output: Folder for the runs, tables, figures and the page. With `--quick` it is the folder `quick` in this one.
        dataset: The paper's data. Default: sst2. All settings with 3 seeds take hours on 2 cores, on IMDB days. The
            page also shows finished runs on the other data set.
        seeds: How many seeds each setting is run with. Default: 3.
        quick: A small version that takes a few minutes, with one seed, on data that need no download. The page is the
            same, but its numbers are not a reproduction.
        engine: `joblib` uses processes of this machine, `ray` a Ray cluster.
        workers: How many runs are trained at the same time. Default: one for each core.
        gpus: GPUs of a Ray cluster that each run takes, or a share of one, such as 0.5.
        data_dir: Folder that is searched first for archives of data.
    """
    from safr.cli.progress_bars import EpochLines, outcome_printer
    from safr.experiments.grid import DEFAULT_SEEDS, check_seed_count
    from safr.report.reproduction import reproduce_paper as run_reproduction

    if quick and (dataset or seeds is not None):
        raise InputError("--quick uses its own data and one seed; leave --dataset and --seeds out")
    check_seed_count("--seeds", seeds)
    console, folder = _console(), output / "quick" if quick else output
    console.print(f"runs in {folder / 'runs'}; finished runs there are not run again")
    with EpochLines(console, folder / "runs"):
        result = run_reproduction(
            folder,
            ("sst2", "imdb") if dataset == "both" else (dataset or "sst2",),
            seeds=1 if quick else seeds or DEFAULT_SEEDS,
            quick=quick,
            engine=engine,
            workers=workers,
            gpus=gpus,
            data_dir=data_dir,
            progress=outcome_printer(console),
        )
    console.print(f"page: {result.page.resolve()}")
    return 1 if result.failed else 0


def benchmark_command(
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional],
    methods: tuple[str, ...] = (),
    scores: tuple[str, ...] = (),
    autoencoder: bool = False,
    removals: tuple[Literal["delete", "replace", "hide", "average"], ...] = (),
    texts: int = 2000,
    costly_texts: int | None = None,
    output: Path | None = None,
    data_dir: Path | None = None,
    model_data: ModelData = _NO_DATA,
    device: str | None = None,
) -> None:
    """Judge a run's explanations by the standard metrics, beside other attribution methods.

    It also tests differences for significance and measures the time that each method takes. Finished parts are not run
    again: if a benchmark was stopped, the same command continues it.

    Args:
        runs: Folders of trained runs; those that differ only in their seed are pooled. Or models, which become runs.
        methods: Attribution methods, such as `capacity@fc1_out.0 shapley`. Default: all that work on the model, except
            `smooth_grad`, `shapley`, `kernel_shap` and `lime`, which are slow.
        scores: Files with the scores of other tools, such as `mine=mine.parquet`, in the run's folder or anywhere.
        autoencoder: Also judge scores from a sparse autoencoder of FC1, which is trained on the training texts first.
            That takes minutes.
        removals: How words are removed; `delete` must be among them. Default: every way after which the model can't
            read them.
        texts: Largest number of test texts.
        costly_texts: Largest number of texts for NAOPC, shuffled weights and interventions, which take many passes;
            lower it for deep models. Default: 100, 50, and as many as have 4,000 words.
        output: Folder for the table over all runs. Default: beside the runs.
        data_dir: Folder that is searched first for archives of data.
        model_data: What models are judged on.
        device: Where the models run, such as `cpu` or `cuda:1`. Default: the GPU, if there is one.
    """
    from safr.cli.progress_bars import ProgressBar
    from safr.cli.results import print_benchmark
    from safr.evaluation.benchmark import benchmark as benchmark_run
    from safr.experiments.benchmark_table import check_comparable, write_benchmark_table

    if not runs:
        raise InputError("expected the folder of at least one run, got none; as in `safr benchmark runs/a runs/b`")
    if texts < 2:
        raise InputError(f"--texts must be at least 2, got {texts}")
    console = _console()
    opened = [_open_run(place, model_data, console, data_dir) for place in runs]
    check_comparable(opened)
    folder = output or (opened[0].folder if len(runs) == 1 else opened[0].folder.parent)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: expected a folder for the table, found a file")
    loaded = _load(opened[0].settings, data_dir, console)  # the others' data are the same
    for run in opened:
        with ProgressBar(console, run.name) as steps:
            benchmark_run(
                run,
                loaded,
                methods=methods or None,
                files=parse_score_files(scores, run),
                autoencoder=autoencoder,
                removals=removals or None,
                limit=texts,
                costly_texts=costly_texts,
                data_dir=data_dir,
                device=device,
                progress=steps.begin_part,
            )
    print_benchmark(console, write_benchmark_table(opened, folder), folder / "evidence.md")


def explain_command(
    run: Annotated[Path, tyro.conf.Positional],
    text: Annotated[str, tyro.conf.Positional] = "",
    text_pair: Annotated[str, tyro.conf.Positional] = "",
    json: bool = False,
    figures: Path | None = None,
    figure_width: Literal["column", "page"] | float = "page",
    file: Path | None = None,
    output: Path | None = None,
    text_column: str | tuple[str, ...] = "text",
    generate: int | None = None,
    method: str | None = None,
    target: str | None = None,
    neurons: int = 0,
    device: str | None = None,
) -> None:
    """Show a prediction with its words coloured by capacity or by another method, or explain the texts of a file.

    If explaining a file was stopped, the same command continues it. With `--generate`, a language model continues the
    text, and each token that it writes gets its own explanation.

    Args:
        run: Folder of a trained run, or of a model.
        text: The text; `-` reads it from standard input.
        text_pair: The second text, of a pair.
        json: Print every number as JSON instead.
        figures: Folder for the text's figures, as SVG, PNG and PDF.
        figure_width: Width of the figures: a paper's `column` or `page`, or a number of points (1/72 inch).
        file: File of texts instead of TEXT: a .csv, .tsv, .jsonl or .parquet, or a .txt with one text a line.
        output: Parquet file for the explanations of the file's texts, one row per word.
        text_column: Column of the file that holds the texts, or the two columns of a pair.
        generate: Largest number of tokens that a language model writes, each shown with the words that led to it.
        method: Attribution method to show instead of capacity, such as `relevance`, which says which words speak for
            the class and which against it. Default: capacity; with `--generate` it is `occlusion`.
        target: Class, by name or number, that the method's scores are about. Default: the predicted one.
        neurons: Also show this many of the neurons that the text uses most, with the words that share them.
        device: Where the model runs, such as `cpu` or `cuda:1`. Default: the GPU, if there is one.
    """
    if generate is not None:
        others = (figures, file, output, target, neurons or None)
        if not text or text_pair or any(value is not None for value in others):
            raise InputError(
                "`safr explain --generate N` needs RUN and one TEXT, and takes --method, --json and --device"
            )
        _explain_output(run, text, generate, method or "occlusion", device, as_json=json)
        return
    if file is not None:
        if text or json or figures is not None or neurons:
            raise InputError("--file explains the texts of a file; leave out TEXT, --json, --figures and --neurons")
        if output is None:
            raise InputError("--file needs --output, the Parquet file to write; as in --output words.parquet")
        _explain_file(run, file, output, text_column, device, method=method, target=target)
        return
    if not text or output is not None:
        raise InputError("`safr explain` needs RUN and TEXT, or RUN, --file and --output; see `safr explain --help`")
    from safr.cli.explanations import print_explanation

    explanation = _explain(run, text, text_pair, device, method=method, target=target, neurons=neurons)
    if json:
        sys.stdout.write(explanation.to_json() + "\n")
    else:
        print_explanation(_console(), explanation)
    if figures is not None:
        from safr.figures import save_figure

        for name, figure in explanation.figures(width=figure_width).items():
            for path in save_figure(figure, figures / name):
                sys.stderr.write(f"{path}\n")


def report_command(
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional],
    output: Path | None = None,
    model_data: ModelData = _NO_DATA,
) -> None:
    """Write one HTML file that shows evaluated runs side by side and can be mailed.

    Args:
        runs: Folders of evaluated runs; or models, which become runs and are evaluated first.
        output: The file. Default: `report.html` in the run's folder, or beside the runs if there are several.
        model_data: What models are judged on.
    """
    if not runs:
        raise InputError("expected the folder of at least one run, got none; as in `safr report runs/a runs/b`")
    console = _console()
    opened = [_evaluate_adopted(_open_run(place, model_data, console), console) for place in runs]
    beside = opened[0].folder if len(runs) == 1 else opened[0].folder.parent
    _write_report(opened, output or beside / "report.html", console)


def explore_command(
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional],
    export: Path | None = None,
    texts: int | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
    browser: bool = True,
    model_data: ModelData = _NO_DATA,
    device: str | None = None,
) -> None:
    """Open an interactive page that shows how the words of any sentence share the neurons of some runs.

    Args:
        runs: Folders of evaluated runs of the same data; or models, which become runs and are evaluated first.
        export: Instead of opening the page, write it as one HTML file that works from disk.
        texts: How many test texts the page offers. Default: 200 in a file, 5,000 on a server.
        host: Address to listen on; any other than this machine's own asks visitors for a token.
        port: Port to listen on; 0 takes a free one.
        token: Token that visitors need. It is printed once, and generated if it is needed and none is given.
        browser: Open the page in a browser. Never done if a token is needed, since other users of this machine would
            see it.
        model_data: What models are judged on.
        device: Where the models run, such as `cpu` or `cuda:1`. Default: the GPU, if there is one.
    """
    from safr.explorer.export import EXPORTED_TEXTS
    from safr.explorer.serve import SERVED_TEXTS as TEXTS_SERVED
    from safr.explorer.serve import serve

    if not runs:
        raise InputError("expected the folder of at least one run, got none; as in `safr explore runs/a runs/b`")
    console = _console()
    opened = [_evaluate_adopted(_open_run(place, model_data, console), console, device) for place in runs]
    if export is not None:
        _export_page(opened, export, console, EXPORTED_TEXTS if texts is None else texts, device)
        return
    count = TEXTS_SERVED if texts is None else texts
    serve(opened, host=host, port=port, token=token, texts=count, browser=browser, device=device, tell=console.print)


def data_command(data_dir: Path | None = None) -> None:
    """List the data sets, whether they are ready, and how to get the rest.

    Args:
        data_dir: Folder that is searched first for archives of data.
    """
    from rich.padding import Padding

    from safr.cli.console import CommandConsole
    from safr.data import list_data

    lines = [
        (status.name, "ready" if status.ready else "not here yet", status.description, status.where)
        for status in list_data(data_dir)
    ]
    yours = "--text-column and --label-column name the columns"
    lines.append(("PATH", "", "your own CSV, TSV, JSONL or Parquet: one file, or a folder of splits", yours))
    lines.append(("hub:NAME", "", "any Hugging Face data set; hub:NAME:CONFIGURATION if it has several", yours))
    console = CommandConsole()
    for name, ready, description, where in lines:
        console.print(f"{name:16} {ready}".rstrip())
        for line in (description, where):
            console.print_wrapped(Padding(line, (0, 0, 0, 4)))


COMMANDS: dict[str, Command] = {
    "demo": demo_command,
    "train": train_command,
    "evaluate": evaluate_command,
    "benchmark": benchmark_command,
    "sweep": sweep_command,
    "compare": compare_command,
    "reproduce": reproduce_command,
    "explain": explain_command,
    "explore": explore_command,
    "report": report_command,
    "data": data_command,
}
"""The commands by name."""

SHARED_COMMANDS = ("evaluate", "benchmark")
"""Commands that the first process of a launcher runs while the others take shares of the texts."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, 2 for input that can't be used, 130 or 143 when stopped."""
    # Torch's threads wait for each other by spinning. On two cores with other work on them that made a training step 3
    # to 12 times slower than waiting asleep does. Read when torch is loaded, so a user's own choice stands.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if count_processes() > 1:  # else torch writes its hints on each process's training to standard error
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    words = list(sys.argv[1:] if arguments is None else arguments)
    _replace_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may not know every letter of a text
            stream.reconfigure(errors="backslashreplace")
    try:
        with warnings.catch_warnings(), _stop_on_termination():
            warnings.showwarning = _show_warning
            status = _run_command(words)
            sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:
        status, message = _describe_end(error, f"safr {words[0]}" if words else "safr")
        if isinstance(error, OSError):
            _discard_output()
        if not is_first_process() and isinstance(error, InputError | KeyboardInterrupt):
            _leave_it_to_first(error)
        elif message is not None:
            _complain(message)
    _end_if_connected(status)
    return status


def _run_command(words: Sequence[str]) -> int:
    if list(words) == ["--version"]:
        from safr import __version__

        sys.stdout.write(f"safr {__version__}\n")
        return 0
    try:
        command = parse_command(words, COMMANDS)
    except SystemExit:  # of the parser, when it has shown its help
        return 0
    if count_processes() > 1 and words[0] in SHARED_COMMANDS:
        from safr.processes import check_launcher, run_together

        _console()  # also of the others nothing is heard
        check_launcher()
        return run_together(command) or 0
    if count_processes() > 1 and words[0] != "train":
        raise InputError(
            f"`safr {words[0]}` runs in one process, but a launcher has started {count_processes()} (WORLD_SIZE); "
            "call it without the launcher"
        )
    return command() or 0


def _describe_end(error: BaseException, command: str) -> tuple[int, str | None]:
    """The exit status and the line for an error that ends a command; raises what is a defect of ours."""
    if isinstance(error, InputError):
        return 2, str(error)
    if isinstance(error, BrokenPipeError):  # as of `safr data | head -1`: who was reading has read enough
        return BROKEN_PIPE_STATUS, None
    if isinstance(error, OSError):
        place = f": {error.filename}" if error.filename else f", while `{command}` was reading or writing"
        return 2, f"{error.strerror or error}{place}"
    if isinstance(error, KeyboardInterrupt):
        status = TERMINATED_STATUS if isinstance(error, _Terminated) else INTERRUPTED_STATUS
        return status, "stopped; if the work can be continued, the same command continues it"
    if isinstance(error, RecursionError):
        return 2, f"`{command}` was given something that is nested too deeply to be read"
    if _is_out_of_memory(error):
        return 2, f"out of memory; give `{command}` smaller batches, fewer texts or a smaller model"
    raise error


def _leave_it_to_first(error: BaseException) -> None:
    """Say nothing of an error that all processes of a launcher have, and give the first the time to say it."""
    if isinstance(error, InputError):
        with suppress(KeyboardInterrupt):  # the launcher ends this process too
            time.sleep(SECONDS_FOR_FIRST)


def _end_if_connected(status: int) -> None:
    """End this process here if it is still connected with others of its launcher.

    Python would wait while it ends for what torch has sent and nobody takes, for half an hour.
    """
    torch = sys.modules.get("torch")
    if count_processes() > 1 and torch is not None and torch.distributed.is_initialized():
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(status)


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, which torch says of a processor's by a RuntimeError."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
    )


class _Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does."""


@contextmanager
def _stop_on_termination() -> Iterator[None]:
    """A block that SIGTERM, as from `timeout` or a cluster, ends as Ctrl-C does. Signals reach the main thread only."""
    is_main_thread = threading.current_thread() is threading.main_thread()
    if not is_main_thread or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def stop(*signal_and_frame: object) -> None:
        raise _Terminated

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _replace_closed_streams() -> None:
    """Open the null device for each standard stream that is closed, as by `>&-` or of a daemon.

    Python has None in its place. Its number would be given to the next file that is opened, a run's, and what a library
    writes to standard error would land there.
    """
    for name, descriptor, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != descriptor:
                os.dup2(null, descriptor)
                os.close(null)
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8", closefd=False))


def _discard_output() -> None:
    """Let what standard output has not taken go nowhere, since Python would try again when it ends."""
    with suppress(OSError, ValueError, AttributeError):  # in a test it is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(message: object) -> None:
    """Write one line to standard error; where that can't be written to, the exit status has to do."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"safr: {printable(str(message))}\n")
        sys.stderr.flush()


def _show_warning(message: Warning | str, category: type[Warning], *place: object, **options: object) -> None:
    """Show a warning of ours as a line; those of the libraries are for who writes code with them."""
    is_ours = category is UserWarning and f"{os.sep}safr{os.sep}" in str(place[0] if place else "")
    if is_ours and is_first_process():
        _complain(message)


def _console() -> CommandConsole:
    """Where people are told how it goes; also silences what the libraries below would say there."""
    from safr.cli.console import CommandConsole
    from safr.data.quiet import silence_libraries

    silence_libraries()
    return CommandConsole(quiet=not is_first_process())  # of a launcher's processes the first alone tells


def _load(settings: Settings, data_dir: Path | None, console: CommandConsole) -> TextDataset:
    from safr.cli.progress_bars import ProgressBar
    from safr.data import load_data

    with ProgressBar(console, f"data {settings.data}") as steps:
        loaded = load_data(settings, data_dir=data_dir, progress=steps)
    sizes = " / ".join(f"{len(split.texts):,}" for split in (loaded.train, loaded.dev, loaded.test))
    console.print(f"data {loaded.name}: {sizes} texts to train / choose / test, from {loaded.origin}")
    for line in loaded.describe():
        console.print_wrapped(f"  {line}")
    return loaded


def _open_run(
    place: Path,
    model_data: ModelData,
    console: CommandConsole,
    data_dir: Path | None = None,
    output: Path | None = None,
) -> Run:
    """The run in a folder, or the one that a model becomes, which is not made again where it is there."""
    from safr.cli.progress_bars import ProgressBar
    from safr.runs import Run, open_trained_run
    from safr.training.adopt import adopt_model, identify_model, is_model

    if not is_model(place) or (model_data.data is None and not place.exists()):
        run = open_trained_run(place)
        if output is not None or model_data.data is not None:
            option = "--data" if output is None else "--output"
            raise InputError(f"{place}: is a run, which knows its data; {option} is for models only, leave it out")
        return run
    settings = resolve_paths(model_data.get_settings(str(place)))
    folder = output or Path("runs") / f"{Path(settings.model).name}-{Path(settings.data).stem}".replace(":", "-")
    if Run(folder).is_trained:
        adopted = open_trained_run(folder)
        adopted.check_adopted(settings, identify_model(settings.model))
        return adopted
    with ProgressBar(console, f"data {settings.data}") as steps:
        run, _ = adopt_model(settings, folder, data_dir=data_dir, progress=steps)
    console.print(f"{place} is now the run {folder}")
    return run


def _evaluate_adopted(run: Run, console: CommandConsole, device: str | None = None) -> Run:
    """The run, evaluated where it is a model's that was not yet."""
    if run.is_adopted and not run.scores_file.exists():
        _evaluate(run, _load(run.settings, None, console), console, device=device)
    return run


def _train_and_evaluate(
    settings: Settings,
    folder: Path,
    console: CommandConsole,
    data_dir: Path | None,
    *,
    resume: bool,
    report_to: Sequence[ReportTo],
) -> Run:
    """Train and evaluate what of it is not done yet; only the first of several processes writes."""
    from safr.cli.progress_bars import TrainingProgress
    from safr.processes import leave_processes, run_together
    from safr.training import train as train_run
    from safr.training.distributed import join_processes, take_turns

    _name_unused_gpus(console)
    join_processes(settings.recipe)
    loaded = take_turns(lambda: _load(settings, data_dir, console))
    with TrainingProgress(console, folder.name) as progress:
        try:
            run = train_run(settings, loaded, folder, resume=resume, report_to=report_to, callbacks=[progress])
        except KeyboardInterrupt:
            progress.progress.stop()
            reported = "" if set(report_to) <= {"none"} else f" --report-to {' '.join(report_to)}"
            console.print(f"stopped; continue with: safr train --resume {folder}{reported}")
            raise
    with run.lock() if is_first_process() else nullcontext():
        run_together(lambda: run.scores_file.exists() or _evaluate(run, loaded, console))
        leave_processes()  # the others end now
        if is_first_process():
            _draw_figures(run)
    return run


def _name_unused_gpus(console: CommandConsole) -> None:
    """Say how to train on all GPUs, where one process takes the first of several."""
    import torch

    gpus = torch.cuda.device_count()
    if gpus > 1 and count_processes() == 1:
        console.print(
            f"training on the first of {gpus} GPUs; to use all: torchrun --nproc-per-node {gpus} -m safr train ...",
        )


def _draw_figures(run: Run) -> None:
    """Draw the run's figures unless they are there."""
    from safr.report import write_figures

    if not run.figures_folder.exists():
        write_figures(run)


def _evaluate(
    run: Run, loaded: TextDataset, console: CommandConsole, split: str = "test", device: str | None = None
) -> dict:
    from safr.cli.progress_bars import ProgressBar
    from safr.evaluation.evaluate import evaluate as evaluate_run

    with ProgressBar(console, f"{run.name}: deleting words") as steps:
        return evaluate_run(run, loaded, split=split, device=device, progress=steps)


def _explain(place: Path, text: str, text_pair: str, device: str | None, **options: Any) -> Explanation:
    from safr.attribution.explain import explain as explain_text

    _console()
    model, tokenizer, max_tokens = _load_model(place, device, is_pair=bool(text_pair))
    return explain_text(model, tokenizer, _read_text(text), text_pair or None, max_tokens=max_tokens, **options)


def _explain_output(
    place: Path, text: str, max_new_tokens: int, method: str, device: str | None, *, as_json: bool
) -> None:
    from safr.attribution.generation import explain_output
    from safr.cli.explanations import list_output

    console = _console()
    model, tokenizer, max_tokens = _load_model(place, device, is_pair=False)
    explained = explain_output(
        model, tokenizer, _read_text(text), method=method, max_new_tokens=max_new_tokens, max_tokens=max_tokens
    )
    if as_json:
        sys.stdout.write(explained.to_json() + "\n")
        return
    sys.stdout.write(f"{list_output(explained)}\n")
    if explained.left_out_note:
        console.print(explained.left_out_note)


def _read_text(text: str) -> str:
    """The text of an argument, or of standard input for `-`."""
    return sys.stdin.buffer.read().decode("utf-8", "replace") if text == "-" else text


def _load_model(
    place: Path, device: str | None, *, is_pair: bool
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, int | None]:
    """The model of a run, or one that is no run, its tokenizer, and how many tokens it reads of a text.

    Raises:
        InputError: The run was trained on pairs and is asked about a single text, or the other way round.
    """
    from safr.inference import count_positions
    from safr.runs import open_trained_run
    from safr.training.adopt import is_model, load_trained

    if place.exists() and is_model(place):
        model, tokenizer = load_trained(str(place), device=device)
        return model, tokenizer, count_positions(model)
    run = open_trained_run(place)
    if run.has_pairs != is_pair:
        advice = "pairs; give two texts" if run.has_pairs else "single texts; give one, in quotes if it has spaces"
        raise InputError(f"{place}: was trained on {advice}")
    return *run.load_model(device=device), run.settings.max_tokens


def _explain_file(
    place: Path,
    file: Path,
    output: Path,
    text_column: str | tuple[str, ...],
    device: str | None,
    *,
    method: str | None,
    target: str | None,
) -> None:
    from safr.attribution.explanation_files import explain_to_parquet as explain_texts_of
    from safr.cli.progress_bars import ProgressBar
    from safr.data.text_files import iter_texts

    console = _console()
    columns = (text_column,) if isinstance(text_column, str) else text_column
    model, tokenizer, max_tokens = _load_model(place, device, is_pair=len(columns) == 2)
    texts = iter_texts(file, columns)
    with ProgressBar(console, f"explaining {file.name}") as steps:
        explain_texts_of(
            model,
            tokenizer,
            texts,
            output,
            max_tokens=max_tokens,
            method=method,
            target=target,
            progress=steps,
        )
    console.print(f"words: {output.resolve()}")


def _show_scores(
    runs: Sequence[Run], console: CommandConsole, scores: Mapping[str, Any] | None = None, split: str = "test"
) -> None:
    from safr.cli.results import list_score_notes, print_titled_table, scores_table

    scores_by_run = scores or {run.name: run.scores for run in runs}
    file = "scores.json in the folder of the run" if split == "test" else "what `safr.evaluate` returns"
    print_titled_table(console, scores_table(scores_by_run, split=split), file, left_out_first=("random", "capacity"))
    for run in runs:
        for line in list_score_notes(run.name, scores_by_run[run.name], run.settings.max_tokens):
            console.print_wrapped(printable(line))


def _write_report(runs: Sequence[Run], output: Path, console: CommandConsole) -> None:
    from safr.report import write_report

    path = write_report(runs, output)
    console.print(f"report: {path.resolve()}")


def _export_page(
    runs: Sequence[Run], output: Path, console: CommandConsole, texts: int, device: str | None = None
) -> None:
    from safr.cli.progress_bars import ProgressBar
    from safr.explorer.export import export_page

    with ProgressBar(console, "reading texts for the explorer") as steps:
        path = export_page(runs, output, texts=texts, device=device, progress=steps)
    console.print(f"explorer: {path.resolve()} ({path.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    sys.exit(main())
