"""Every snippet of the README runs, and every number in it is in a committed result."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from safr.evaluation.statistics import percent

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
def test_the_examples_run(example):
    done = subprocess.run([sys.executable, str(example)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_every_command_is_one_that_exists():
    from safr import cli

    for line in "\n".join(blocks("sh")).splitlines():
        if line.startswith("safr "):
            assert callable(getattr(cli, line.split()[1])), line
        elif line.startswith("make "):
            target = line.split()[1]
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE), line


def rows(folder: str) -> list[str]:
    """The table's rows as the results of some runs give them."""
    found = []
    for path in sorted((RESULTS / folder).glob("*.json")):
        scores = json.loads(path.read_text())
        cells = (
            scores["accuracy"],
            scores["deletion"]["random"]["30"],
            scores["deletion"]["capacity"]["30"],
            scores["srs"]["30"],
        )
        found.append(f"| {path.stem} | " + " | ".join(percent(cell) for cell in cells) + " |")
    return found


@pytest.mark.parametrize("folder", ["demo", "sst2_paper", "minilm"])
def test_the_tables_are_the_committed_results(folder):
    assert rows(folder)
    for row in rows(folder):
        assert row in README, row


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
