"""Every snippet of the README runs, and every number in it is in a committed result."""

import json
import re
import runpy
from pathlib import Path

import pytest

from safr.evaluation.statistics import format_percent, seed_mean
from safr.experiments.paper import paper_numbers

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = ROOT / "experiments" / "results"


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


@pytest.mark.parametrize("page", ["README.md", "docs/any_model.md", "docs/data.md"])
def test_the_python_snippets_run_one_after_the_other(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    exec(compile("\n".join(blocks("python", text)), page, "exec"), {})


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
@pytest.mark.filterwarnings("ignore")  # other packages have things to say of a machine without a GPU
def test_the_examples_run(example, capsys):
    runpy.run_path(str(example), run_name="__main__")
    assert capsys.readouterr().out


def test_every_command_is_one_that_exists():
    from safr.cli import COMMANDS

    for line in "\n".join(blocks("sh")).splitlines():
        if line.startswith("safr "):
            assert line.split()[1] in COMMANDS, line
        elif line.startswith("make "):
            target = line.split()[1]
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE), line


def cells(pattern: str) -> list[str]:
    """Accuracy, also after random deletion and by capacity, and SRS, as the results of one run or several give them."""
    scores = [json.loads(path.read_text()) for path in sorted(RESULTS.glob(pattern))]
    columns = (
        [each["accuracy"] for each in scores],
        [each["deletion"]["random"]["30"] for each in scores],
        [each["deletion"]["capacity"]["30"] for each in scores],
        [each["srs"]["30"] for each in scores],
    )
    if len(scores) == 1:
        return [format_percent(only) for (only,) in columns]
    return [format_percent(seed_mean([each["value"] for each in column], least=-1).to_dict()) for column in columns]


def row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def rows(folder: str) -> list[str]:
    """The table's rows as the results of some runs give them."""
    return [row(path.stem, *cells(f"{folder}/{path.name}")) for path in sorted((RESULTS / folder).glob("*.json"))]


@pytest.mark.parametrize("folder", ["demo", "minilm"])
def test_the_tables_are_the_committed_results(folder):
    assert rows(folder)
    for row in rows(folder):
        assert row in README, row


@pytest.mark.parametrize(
    ("setting", "weights", "seeds", "files"),
    [
        ("baseline", (None, None), 3, "paper/sst2,mask,baseline,seed=*.json"),
        ("0 / 0, VMASK alone", (0.0, 0.0), 3, "paper/sst2,mask,importance=0,interaction=0,seed=*.json"),
        ("0.1 / 0.1", (0.1, 0.1), 3, "paper/sst2,mask,importance=0.1,interaction=0.1,seed=*.json"),
        ("1 / 0.1", (1.0, 0.1), 3, "paper/sst2,mask,importance=1,interaction=0.1,seed=*.json"),
        ("baseline, as published", (None, None), 3, "paper/sst2,count,baseline,seed=*.json"),
        ("0 / 0, as published", (0.0, 0.0), 3, "paper/sst2,count,importance=0,interaction=0,seed=*.json"),
        ("0.1 / 0.1, as published", (0.1, 0.1), 3, "paper/sst2,count,importance=0.1,interaction=0.1,seed=*.json"),
        ("`--preset best`", None, 5, "best/best,seed=*.json"),
        ("the preset's VMASK alone", None, 3, "best/mask,seed=*.json"),
        ("the preset's baseline", None, 3, "best/baseline,seed=*.json"),
        ("IMDB, baseline", (None, None), 1, "paper/imdb,mask,baseline,seed=*.json"),
        ("IMDB, 0 / 0", (0.0, 0.0), 1, "paper/imdb,mask,importance=0,interaction=0,seed=*.json"),
        ("IMDB, 0.1 / 1", (0.1, 1.0), 1, "paper/imdb,mask,importance=0.1,interaction=1,seed=*.json"),
        ("IMDB, `--preset best`", None, 1, "best/imdb,seed=*.json"),
    ],
)
def test_the_papers_table_is_the_committed_results_and_the_papers_numbers(setting, weights, seeds, files):
    assert len(list(RESULTS.glob(files))) == seeds
    data = "imdb" if "imdb" in files else "sst2"
    printed = [
        f"{line['accuracy']:.2f} / {line['srs']:.2f}"
        for line in paper_numbers()["versions"]["naacl"]["ablation"][data]
        if (line["importance"], line["interaction"]) == weights
    ]
    assert row(setting, seeds, *cells(files), *(printed or [""])).replace("|  |", "| |") in README


def test_the_costs_are_the_committed_benchmark():
    measured = (ROOT / "benchmarks" / "speed.md").read_text().splitlines()
    section = README.split("## What it costs")[1].split("##")[0]
    quoted = [line for line in section.splitlines() if line.startswith("|")]
    assert len(quoted) > 8
    assert set(quoted) <= set(measured)


def test_the_folder_tree_is_the_one_that_is_there():
    tree = blocks("text")[0]
    for name in re.findall(r"^ {2}([\w./]+)", tree, flags=re.MULTILINE):
        assert (ROOT / "src" / "safr" / name).exists(), name


def test_the_readme_is_short_enough_to_read():
    assert len(re.sub(r"```.*?```|^\|[^\n]*$", "", README, flags=re.DOTALL | re.MULTILINE).split()) < 800
