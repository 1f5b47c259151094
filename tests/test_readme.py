"""Every snippet of the README and the documentation runs, and every number in their tables is in a committed result."""

import importlib
import json
import re
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

import safr
from safr.config import RENAMED_SETTINGS, setting_names
from safr.evaluation.statistics import format_percent, seed_mean
from safr.experiments.comparison_table import change_table, comparison_table, neuron_table, read_comparisons
from safr.experiments.paper import paper_numbers
from safr.experiments.text_table import TextTable
from safr.losses import NEURON_LOSSES
from tests.test_architecture import ORDER

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "experiments" / "results"
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "CHANGELOG.md",
        *sorted((ROOT / "docs").rglob("*.md")),
        *sorted((ROOT / "experiments").glob("*.md")),
    ]
}
README, RESULTS_PAGE, CONTRIBUTING = PAGES["README.md"], PAGES["docs/results.md"], PAGES["CONTRIBUTING.md"]
NOTEBOOK_FORMAT = re.compile(r"\A---\n.*?\n---\n+", flags=re.DOTALL)
OPENING_PAGES = sorted(name for name in PAGES if name.startswith(("docs/", "experiments/")))


def blocks(language: str, text: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def section(text: str, title: str) -> str:
    return text.split(f"## {title}\n")[1].split("\n## ")[0]


def table_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("|")]


def prose(text: str) -> str:
    """A page without its code, tables and pictures."""
    return re.sub(r"```.*?```|^(?:\||!\[| {4})[^\n]*$", "", text, flags=re.DOTALL | re.MULTILINE)


def in_backticks(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


@pytest.mark.parametrize("page", ["README.md", "docs/any_model.md", "docs/compare.md", "docs/data.md"])
def test_the_python_snippets_run_one_after_the_other(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # some write files
    assert blocks("python", PAGES[page])
    with patch.dict(NEURON_LOSSES):  # one adds its own
        exec(compile("\n".join(blocks("python", PAGES[page])), page, "exec"), {})


@pytest.mark.slow
@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
@pytest.mark.filterwarnings("ignore")  # other packages have things to say of a machine without a GPU
def test_the_examples_run(example, capsys):
    runpy.run_path(str(example), run_name="__main__")
    assert capsys.readouterr().out


@pytest.mark.parametrize("page", [name for name in PAGES if blocks("sh", PAGES[name])])
def test_every_command_is_one_that_exists(page):
    from safr.cli import COMMANDS

    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for line in "\n".join(blocks("sh", PAGES[page])).splitlines():
        if line.startswith("safr "):
            assert line.split()[1] in COMMANDS, line
        elif line.startswith("make "):
            assert re.search(rf"^{line.split()[1]}:", makefile, flags=re.MULTILINE), line
        elif line.startswith("pip "):
            wanted = re.fullmatch(r'pip install (?:\.|"\.\[([\w,]+)\]")', line.partition("#")[0].strip())
            assert wanted, line
            assert set((wanted[1] or "app").split(",")) <= set(extras), line


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
    return f"| {' | '.join(map(str, cells))} |".replace("|  |", "| |")


def run_rows(folder: str) -> list[str]:
    """The table's rows as the results of some runs give them."""
    return [row(path.stem, *cells(f"{folder}/{path.name}")) for path in sorted((RESULTS / folder).glob("*.json"))]


def paper_cell(files: str, weights: tuple | None) -> str:
    """The paper's accuracy and SRS with the same weights on the same data; nothing where it has no such model."""
    data = "imdb" if "imdb" in files else "sst2"
    printed = [
        f"{line['accuracy']:.2f} / {line['srs']:.2f}"
        for line in paper_numbers()["versions"]["naacl"]["ablation"][data]
        if (line["importance"], line["interaction"]) == weights
    ]
    return printed[0] if printed else ""


RUN_FOLDERS = ["demo", "minilm"]


@pytest.mark.parametrize("folder", RUN_FOLDERS)
def test_the_tables_of_runs_are_the_committed_results(folder):
    assert run_rows(folder)
    for expected in run_rows(folder):
        assert expected in table_lines(RESULTS_PAGE)


PAPER_ROWS = [
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
    ("IMDB, baseline", (None, None), 3, "paper/imdb,mask,baseline,seed=*.json"),
    ("IMDB, 0 / 0", (0.0, 0.0), 3, "paper/imdb,mask,importance=0,interaction=0,seed=*.json"),
    ("IMDB, 0.1 / 1", (0.1, 1.0), 3, "paper/imdb,mask,importance=0.1,interaction=1,seed=*.json"),
    ("IMDB, `--preset best`", None, 1, "best/imdb,seed=*.json"),
]


@pytest.mark.parametrize(("setting", "weights", "seeds", "files"), PAPER_ROWS)
def test_the_papers_table_is_the_committed_results_and_the_papers_numbers(setting, weights, seeds, files):
    assert len(list(RESULTS.glob(files))) == seeds
    assert row(setting, seeds, *cells(files), paper_cell(files, weights)) in table_lines(RESULTS_PAGE)


def test_the_results_page_has_no_row_that_is_no_committed_result():
    known = {expected for folder in RUN_FOLDERS for expected in run_rows(folder)}
    known |= {row(name, seeds, *cells(files), paper_cell(files, weights)) for name, weights, seeds, files in PAPER_ROWS}
    with_numbers = {line for line in table_lines(RESULTS_PAGE) if re.search(r"\d\.\d", line)}
    assert with_numbers == known


README_ROWS = [
    ("SST-2, baseline", (None, None), 3, "paper/sst2,count,baseline,seed=*.json"),
    ("SST-2, VMASK alone", (0.0, 0.0), 3, "paper/sst2,count,importance=0,interaction=0,seed=*.json"),
    ("SST-2, SAFR", (0.1, 0.1), 3, "paper/sst2,count,importance=0.1,interaction=0.1,seed=*.json"),
    ("IMDB, SAFR", (0.1, 1.0), 3, "paper/imdb,mask,importance=0.1,interaction=1,seed=*.json"),
]


def test_the_readmes_table_has_four_rows_that_are_committed_results():
    assert [len(list(RESULTS.glob(files))) for *_, files in README_ROWS] == [seeds for _, _, seeds, _ in README_ROWS]
    expected = [row(name, *cells(files), paper_cell(files, weights)) for name, weights, _, files in README_ROWS]
    assert table_lines(README)[2:] == expected


EVIDENCE_METRICS = {"SRS": (100, 1), "comprehensiveness": (1, 2), "sufficiency": (1, 2), "NAOPC": (1, 2)}
"""By their names on the page: what a value is multiplied by, and how many decimals it has."""


def evidence_cell(folder: str, run: str, method: str, metric: str) -> str:
    """The mean over seeds with its interval, of the runs among which `run` is; nothing without the method."""
    settings = json.loads((RESULTS / folder / "evidence.json").read_text())["settings"].values()
    (methods,) = (setting["methods"] for setting in settings if run in setting["runs"])
    if method not in methods:
        return ""
    (factor, decimals), estimate = EVIDENCE_METRICS[metric], methods[method]["values"]["delete"][metric.lower()]
    value, low, high = (f"{factor * estimate[name]:.{decimals}f}" for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]".replace("-0.00", "0.00")


def test_the_table_of_methods_on_minilm_is_the_committed_evidence():
    names = {"gradient × input": "gradient_x_input", "mask's keep probability": "keep"}
    runs = [(metric, run) for metric in EVIDENCE_METRICS for run in ("plain_minilm-0", "safr_minilm-0")]
    table = table_lines(section(PAGES["docs/evidence.md"], "On a deep pretrained model"))[2:10]
    methods = [line.split(" | ")[0].removeprefix("| ") for line in table]
    assert len(methods) == 8
    for line, name in zip(table, methods, strict=True):
        method = names.get(name, name.replace(" ", "_"))
        assert line == row(name, *(evidence_cell("evidence_minilm", run, method, metric) for metric, run in runs))


COMPARED_EXPLANATIONS = (
    "accuracy",
    "SRS at random, test",
    "SRS, test",
    "SRS by attention, test",
    "SRS by relevance, test",
    "NAOPC, test",
)
COMPARED_NEURONS = (
    "MonoScore above chance",
    "MonoScore by vectors above chance",
    "token entropy above chance",
    "class separability above chance",
    "class selectivity above chance",
    "Hoyer sparsity",
    "active",
    "features per neuron",
)
CHANGED_BY_SAFR = (
    "MonoScore",
    "MonoScore by vectors",
    "token entropy",
    "class separability",
    "class selectivity",
    "Hoyer sparsity",
    "active",
    "features per neuron",
)


def comparison_rows(name: str) -> list[str]:
    """The rows of both tables of regularizers, from a committed comparison."""
    settings = read_comparisons([RESULTS / "compare" / f"{name}.json"])
    names = {
        setting.label: setting.label
        if setting.label == setting.regularizer
        else f"{setting.regularizer}, `{setting.label}`"
        for setting in settings
    }
    explanations = comparison_table(settings, None, {}, {}, margin=0.02)
    headings = [heading for heading in COMPARED_EXPLANATIONS if heading in explanations.columns]
    rows = [row(names[line[1]], *pick(explanations, line, headings)) for line in explanations.rows]
    read_out = dict(zip(explanations.columns, explanations.rows[0], strict=True))
    read_out |= {
        "SRS, test": read_out["SRS by autoencoder, test"],
        "SRS by attention, test": "–",
        "SRS by relevance, test": "–",
        "NAOPC, test": read_out.get("NAOPC by autoencoder, test", "–"),
    }
    rows.insert(1, row("plain, read by an autoencoder", *(read_out[heading] for heading in headings)))
    neurons = neuron_table(settings)
    headings = [heading for heading in COMPARED_NEURONS if heading in neurons.columns]
    return rows + [row(names[line[0]], *pick(neurons, line, headings)) for line in neurons.rows]


def rows_of_safr(name: str, label: str) -> list[str]:
    """A row for every measure of neurons that SAFR changes: in plain, with SAFR, and by how many per cent."""
    settings = read_comparisons([RESULTS / "compare" / f"{name}.json"])
    neurons, changes = neuron_table(settings), change_table(settings)
    columns = [
        pick(table, next(line for line in table.rows if line[0] == setting), CHANGED_BY_SAFR)
        for table, setting in ((neurons, "plain"), (neurons, label), (changes, label))
    ]
    return [row(heading, *cells) for heading, *cells in zip(CHANGED_BY_SAFR, *columns, strict=True)]


def pick(table: TextTable, line: tuple[str, ...], headings: Sequence[str]) -> list[str]:
    return [line[table.columns.index(heading)] for heading in headings]


@pytest.mark.parametrize(
    ("title", "name", "label"),
    [
        ("What we found", "sst2_paper", "importance=1,interaction=0.1"),
        ("With the preset", "sst2_paper_preset", None),
        ("On a pretrained model", "sst2_paper_minilm", None),
    ],
)
def test_the_tables_of_regularizers_are_the_committed_comparisons(title, name, label):
    found = section(PAGES["docs/compare.md"], title)
    lines = [line for line in table_lines(found) if not line.startswith(("| setting ", "| measure ", "| --- "))]
    assert lines == comparison_rows(name) + (rows_of_safr(name, label) if label else [])


def test_what_was_found_of_regularizers_is_what_was_measured():
    text = " ".join(section(PAGES["docs/compare.md"], "What we found").split())
    settings = read_comparisons([RESULTS / "compare" / "sst2_paper.json"])
    values = settings[0].values
    chance = values["monosemanticity"][0] - values["monosemanticity_above_chance"][0]
    assert f"what any neuron has by chance, {chance:.4f}" in text
    behind = json.loads((RESULTS / "compare" / "sst2_paper_behind_activation.json").read_text())["test_srs"]
    names = {setting.label: setting.regularizer for setting in settings}
    for label, values in behind.items():
        assert f"{format_percent(seed_mean(values, least=-1).to_dict())} for {names[label]}" in text
    words = json.loads((RESULTS / "compare" / "sst2_paper_frequent_words.json").read_text())
    shares = {label: f"{100 * np.mean(values):.0f} %" for label, values in words["share_of_activation"].items()}
    assert f"{shares['token_entropy=1']} of the activation is at the {words['words']} most frequent words" in text
    assert f"which are {100 * words['share_of_tokens']:.0f} % of all words" in text
    assert f"the same {words['words']} words have {shares['l1=1']} of the activation" in text
    assert f"With L1/L2 they have {shares['l1_l2=1']}" in text


def test_the_costs_are_the_committed_benchmark():
    measured = (ROOT / "benchmarks" / "speed.md").read_text().splitlines()
    quoted = table_lines(section(PAGES["docs/speed.md"], "The main costs"))
    assert len(quoted) > 8
    assert set(quoted) <= set(measured)


def benchmark_rows(name: str) -> dict[tuple[str, str], dict]:
    """Rows of a committed benchmark, by what was measured and in which run."""
    found = json.loads((ROOT / "benchmarks" / f"{name}.json").read_text())["rows"]
    return {(measured["what"], measured["run"]): measured for measured in found}


def test_the_texts_in_a_second_are_the_committed_benchmarks():
    table = table_lines(section(PAGES["docs/speed.md"], "Texts in a second"))
    measured, trained = benchmark_rows("losses"), [line.split(" | ")[0].removeprefix("| ") for line in table[2:14]]
    short, long = dict.fromkeys(what for what, _ in measured)
    assert set(trained) == {run for _, run in measured}
    for line, run in zip(table[2:14], trained, strict=True):
        rates = [(measured[what, run]["median"], measured[what, run]["ratio"]) for what in (short, long)]
        assert line == row(run, *(cell for rate, ratio in rates for cell in (f"{rate:.3g}", f"{ratio:.2f}")))
    times = {(what, run.partition(",")[0]): found for (what, run), found in benchmark_rows("speed").items()}
    assert len(table[16:]) == 6
    for line in table[16:]:
        run, what = line.split(" | ")[0].removeprefix("| ").split(": ")
        texts = int(what.split()[0].replace(",", ""))
        found = times[what, run]
        assert line == row(f"{run}: {what}", f"{1000 * texts / found['median']:,.0f}", f"{1 / found['ratio']:.2f}")


def test_the_costs_that_grow_are_the_committed_benchmark():
    measured = (ROOT / "benchmarks" / "growth.md").read_text().splitlines()
    quoted = table_lines(section(PAGES["docs/speed.md"], "How the cost grows"))
    assert len(quoted) > 12
    assert set(quoted) <= set(measured)


def test_the_slopes_are_those_of_the_measured_points():
    """Found again by another program, and memory with SAFR grows at most as the tokens do."""
    benchmark = json.loads((ROOT / "benchmarks" / "growth.json").read_text())
    table = table_lines(section(PAGES["docs/speed.md"], "How the cost grows"))[-4:]
    for line, slope in zip(table, benchmark["slopes"], strict=True):
        axis, low, high = slope["axis"], slope["from"], slope["to"]
        points = [point for point in benchmark["points"] if point["axis"] == axis and low <= point[axis] <= high]
        costs = [[point["ms"][name]["median"] for point in points] for name in ("plain", "SAFR", "extra")]
        costs += [[point["MB"][name] for point in points] for name in ("plain", "SAFR", "extra")]
        fitted = [np.polyfit(np.log([point[axis] for point in points]), np.log(cost), 1)[0] for cost in costs]
        assert line == row(f"{axis}, {low:,} to {high:,}", *(f"{each:.2f}" for each in fitted))
        if axis == "tokens":
            assert fitted[4] <= 1


README_RATIOS = [
    ("training step of MiniLM, 32 texts of 20 tokens", "SAFR", "1.27"),
    ("MiniLM, a sentence of 18 words", "`safr.explain`", "1.21"),
    ("epoch of 187 batches of 32 sentences", "SAFR", "0.174"),
    ("epoch of 187 batches of 32 sentences", "plain", "0.137"),
    ("peak memory of a training step, 4 texts of 2,048 tokens, 8 heads", "SAFR", "1.3"),
]


def test_the_readmes_ratios_are_the_committed_benchmark():
    measured = (ROOT / "benchmarks" / "speed.md").read_text().splitlines()
    for what, run, ratio in README_RATIOS:
        (line,) = [line for line in measured if line.startswith(f"| {what} | {run} |")]
        assert line.endswith(f"| {ratio} |")
    quoted = re.findall(r"(\d+\.\d+)\s+times", section(README, "What it costs"))
    assert quoted == [ratio for *_, ratio in README_RATIOS]


def test_the_folder_tree_is_the_one_that_is_there():
    (tree,) = blocks("text", CONTRIBUTING)
    names = re.findall(r"^ {2}([\w./]+)", tree, flags=re.MULTILINE)
    for name in names:
        assert (ROOT / "src" / "safr" / name).exists(), name
    assert [name.rstrip("/").removesuffix(".py") for name in names] == [part for part in ORDER if part != "__main__"]


def test_the_order_of_the_parts_is_the_one_that_is_tested():
    listed = re.search(r"^errors,[^\n]*\n[^\n]+", CONTRIBUTING, flags=re.MULTILINE)
    assert listed
    assert re.split(r",\s+", listed[0].strip()) == [part for part in ORDER if part != "__main__"]


def test_the_readme_is_short_enough_to_read():
    assert len(README.split()) <= 750


def test_the_readmes_sections_stand_in_the_order_of_a_first_reading():
    titles = [title.lower() for title in re.findall(r"^## (.*)", README, flags=re.MULTILINE)]
    assert titles == [
        "install",
        "ten lines",
        "what capacity and srs mean",
        "results",
        "what it costs",
        "what it can't do",
        "read on",
        "cite",
    ]
    assert README.index("![") < README.index("## ")


@pytest.mark.parametrize("page", PAGES)
def test_every_relative_link_points_to_something_that_is_there(page):
    links = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", PAGES[page], flags=re.DOTALL))
    for link in links:
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)", target.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert anchor in [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings], link


def test_every_public_name_has_one_entry_in_the_reference():
    """A page of the reference holds a section of the stub file, whose names it lists."""
    stub = (ROOT / "src" / "safr" / "__init__.pyi").read_text(encoding="utf-8")
    sections = re.split(r"^# (\w+)$", stub, flags=re.MULTILINE)[1:]
    held = re.findall(r"^<!-- filled in: names (\w+) -->$", "\n".join(PAGES.values()), flags=re.MULTILINE)
    assert sorted(held) == sorted(sections[::2])
    names = [name for body in sections[1::2] for name in re.findall(r" as (\w+)", body)]
    assert sorted(names) == sorted(safr.__all__)


@pytest.mark.slow
def test_the_site_fills_in_what_its_pages_ask_for(tmp_path):
    """And links to nothing that it lacks; `make docs` reads the pages that come out, and runs their cells."""
    folder = tmp_path / "site"
    subprocess.run([sys.executable, ROOT / "docs" / "assemble.py", folder], check=True)
    pages = {path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8") for path in folder.rglob("*.md")}
    assert "filled in:" not in "".join(pages.values())
    settings = pages["reference/settings.md"]
    assert [f"### {name}" for name in setting_names() if f"### {name}\n" not in settings] == []
    for name, page in pages.items():
        for link in re.findall(r"\]\(([^)#\s]+\.md)", re.sub(r"```.*?```", "", page, flags=re.DOTALL)):
            assert link.startswith("http") or (folder / name).parent.joinpath(link).exists(), (name, link)


def test_every_page_of_the_documentation_is_in_its_index():
    for page in PAGES:
        if page.startswith("docs/") and page != "docs/README.md":
            assert f"({page.removeprefix('docs/')})" in PAGES["docs/README.md"], page


@pytest.mark.parametrize("page", OPENING_PAGES)
def test_every_page_opens_with_at_most_three_sentences(page):
    title, opening = NOTEBOOK_FORMAT.sub("", PAGES[page]).split("\n\n")[:2]
    assert title.startswith("# ")
    assert re.match(r"[A-Z]", opening)
    assert 1 <= len(re.findall(r"[.?](?=\s|$)", opening.replace("...", ""))) <= 3


@pytest.mark.parametrize("page", PAGES)
def test_lines_of_prose_fit_into_an_editor(page):
    assert [line for line in prose(PAGES[page]).splitlines() if len(line) > 120] == []


@pytest.mark.parametrize("page", [name for name in PAGES if name != "CHANGELOG.md"])
def test_every_name_in_a_page_exists(page):
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    for words in in_backticks(PAGES[page]):
        if re.fullmatch(r"(src|tests|docs|benchmarks|experiments|examples|\.ci|\.github)/[\w./]*", words):
            assert (ROOT / words).exists(), words
        elif re.fullmatch(r"test_\w+", words):
            assert f"def {words}(" in tests, words
        elif name := re.match(r"safr((?:\.\w+)+)", words):
            found = safr
            for part in name[1].split(".")[1:]:
                found = getattr(found, part, None) or importlib.import_module(f"{found.__name__}.{part}")
        assert words not in RENAMED_SETTINGS, words


def test_the_goals_of_speed_are_told_as_the_last_run_reached_them():
    rows = json.loads((ROOT / "benchmarks" / "another_processor" / "speed.json").read_text())["rows"]
    lines = table_lines(section(PAGES["docs/speed.md"], "Goals and what was reached"))[2:]

    def ratios(what, run):
        return [row["ratio"] for row in rows if re.search(what, row["what"]) and re.search(run, row["run"])]

    (epoch,), (step,), (exact,) = ratios("^epoch.*paper$", "^SAFR$"), ratios("reviews", "^SAFR$"), ratios("", "exact$")
    steps = [ratios(f"texts of {tokens} tokens$", "^SAFR$") for tokens in (20, 256, 1024)]
    relevance = ratios("tokens, [^:]*$", "relevance")
    expected = [
        f"{1 / epoch:.1f}",
        f"{1 / step:.1f}; read in all heads {1 / exact:.1f}",
        ", ".join(f"{step[0]:.2f}" for step in steps),
        None,
        f"{ratios('peak memory', '^SAFR$')[0]:.2f}",
        f"{ratios('MiniLM, a sentence', 'explain')[0]:.2f}",
        ", ".join(f"{ratio:.2f}" for ratio in ratios("^one text", "capacity")),
        ", ".join(f"{ratios(f'{name}, one thread$', 'explain')[0]:.2f}" for name in ("MiniLM", "the demo's model")),
        f"{min(relevance):.1f} to {max(relevance):.1f}",
        None,
    ]
    for line, cell in zip(lines, expected, strict=True):
        assert cell is None or line.endswith(f" | {cell} |"), line
