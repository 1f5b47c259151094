"""Puts the source of the documentation's site together, for Sphinx to build.

python docs/assemble.py build/docs-source

The pages are plain Markdown that can be read where they are. This program makes a site of them:

- `docs/README.md` becomes the first page and the table of contents.
- Links lead to pages of the site, or to files that it carries.
- A comment `filled in: NAME` is replaced by what the code says: the public names, every setting, every command's help,
  every file of a run.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow

import safr
from safr.attribution.explanation import word_schema
from safr.attribution.neurons import neuron_schema
from safr.cli import COMMANDS
from safr.config import (
    Architecture,
    Recipe,
    Regularization,
    Settings,
    describe_fields,
    describe_range,
    describe_type,
    setting_type,
)
from safr.evaluation.per_text_results import RESULT_SCHEMA

ROOT = Path(__file__).parents[1]
PAGES_ELSEWHERE = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "experiments/README.md": "runs_behind_the_results.md",
    "experiments/trials.md": "trials.md",
    "examples": "examples.md",
}
"""Pages that do not stand in docs/, by their path, with their name in the site."""

TABLES_ELSEWHERE = {
    "experiments/results/paper/tables.md": ("table_of_the_paper.md", "The paper's tables beside ours"),
    "experiments/results/evidence/evidence.md": ("table_of_evidence.md", "Evidence, the whole table"),
    "experiments/results/evidence_minilm/evidence.md": (
        "table_of_evidence_minilm.md",
        "Evidence on a pretrained model, the whole table",
    ),
    "benchmarks/speed.md": ("table_of_speed.md", "Speed, the whole table"),
    "benchmarks/losses.md": ("table_of_losses.md", "Speed of each loss, the whole table"),
    "benchmarks/growth.md": ("table_of_growth.md", "How the cost grows, the whole table"),
    "benchmarks/gpu.md": ("table_of_gpu_speed.md", "Speed on a GPU, the whole table"),
    "benchmarks/explorer.md": ("table_of_explorer_speed.md", "Speed of the explorer, the whole table"),
}
"""Tables that programs wrote, with their name and title in the site."""

SHOWN_FILES = {"benchmarks/published.py": "the_method_on_one_page.md"}
"""Programs that are a page of the site."""

DOCUMENTED_MODULES = (
    "safr.figures",
    "safr.losses.interaction",
    "safr.attribution.internals",
    "safr.attribution.gradients",
    "safr.attribution.relevance",
    "safr.attribution.perturbation",
    "safr.evaluation.srs",
    "safr.evaluation.faithfulness",
    "safr.evaluation.causal",
    "safr.evaluation.significance",
)
"""Modules whose public functions have an entry beside the public names."""

HELP_WIDTH = 80


def main(arguments: list[str] | None = None) -> None:
    """Write all pages of the site into a folder, and remove what an earlier call left there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "folder", type=Path, help="where the pages are written: a new folder, or one that a call wrote before"
    )
    folder = parser.parse_args(arguments).folder.resolve()
    if folder.exists():
        if not (folder / "index.md").is_file():
            parser.error(f"{folder} holds no site of an earlier call, and would be deleted; name another folder")
        shutil.rmtree(folder)
    shutil.copytree(ROOT / "docs" / "images", folder / "images")
    shutil.copytree(ROOT / "docs" / "static", folder / "static")
    names = list_documented_names()
    for path, page in list_pages().items():
        text = (ROOT / path).read_text(encoding="utf-8") if path != "examples" else write_examples()
        if path in TABLES_ELSEWHERE:
            text = f"# {TABLES_ELSEWHERE[path][1]}\n\n" + re.sub("^###", "##", text, flags=re.MULTILINE)
        text = fill_in(text)
        text = link_names(change_links(text, path, folder / page, folder), names)
        if page == "index.md":
            text += write_contents(text)
        write(folder / page, text)
    for path, page in SHOWN_FILES.items():
        write(folder / page, write_program(path))


def list_pages() -> dict[str, str]:
    """The path of every page of the site in the project, with its path in the site."""
    pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")}
    here = {path: path.removeprefix("docs/") for path in sorted(pages)}
    tables = {path: page for path, (page, _) in TABLES_ELSEWHERE.items()}
    return here | {"docs/README.md": "index.md"} | PAGES_ELSEWHERE | tables


def write(path: Path, text: str) -> None:
    """Write a page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def change_text_outside_code(change: Callable[[str], str], text: str) -> str:
    """The text with all that is no block of code changed."""
    parts = re.split(r"(^```.*?^```$)", text, flags=re.DOTALL | re.MULTILINE)
    return "".join(part if part.startswith("```") else change(part) for part in parts)


def change_links(text: str, path: str, page: Path, folder: Path) -> str:
    """The text with its links leading to the site's pages, or to files of the project that the site will carry.

    Args:
        text: Of a page.
        path: Where it stands in the project.
        page: Where it stands among the site's pages.
        folder: Of the site's pages.
    """
    known = list_pages() | SHOWN_FILES

    def change(link: re.Match[str]) -> str:
        label, target = link[1], link[2]
        place, _, anchor = target.partition("#")
        if not place or target.startswith(("http://", "https://")):
            return link[0]
        base = ROOT / path
        wanted = (base if base.is_dir() else base.parent) / place
        name = os.path.relpath(wanted, ROOT)
        if name in known:
            destination = os.path.relpath(folder / known[name], page.parent)
        elif name.startswith("docs/images/"):
            destination = os.path.relpath(folder / name.removeprefix("docs/"), page.parent)
        elif wanted.is_dir():
            return f"`{name}`" if name in label else f"{label.removeprefix('!')[1:-1]} (`{name}` in the repository)"
        else:
            destination = os.path.relpath(wanted, page.parent)  # Sphinx copies the file beside the pages
        return f"{label}({destination}{'#' * bool(anchor)}{anchor})"

    return change_text_outside_code(lambda part: re.sub(r"(!?\[[^\]]*\])\(([^)\s]+)\)", change, part), text)


def link_names(text: str, names: set[str]) -> str:
    """The text with every documented name in backticks leading to its entry in the reference."""

    def change(name: re.Match[str]) -> str:
        return f"{{py:obj}}`{name[1]}`" if name[1] in names else name[0]

    return change_text_outside_code(lambda part: re.sub(r"(?<![\[`}])`(safr\.[\w.]+)`(?!\])", change, part), text)


def write_contents(index: str) -> str:
    """The table of contents: one part for each section of the index, with the pages that it links to."""
    tables = []
    for section in index.split("\n## ")[1:]:
        pages = re.findall(r"^- \[[^\]]*\]\(([^)#]+\.md)\)", section, flags=re.MULTILINE)
        title = section.partition("\n")[0]
        tables.append("\n".join(["```{toctree}", ":hidden:", f":caption: {title}", "", *dict.fromkeys(pages), "```"]))
    return "\n" + "\n\n".join(tables) + "\n"


def write_examples() -> str:
    """The programs of the folder `examples` as one page."""
    lines = ["# Examples", "", "Each of these programs runs as it is, in seconds, and so it does in the tests."]
    for path in sorted((ROOT / "examples").glob("*.py")):
        lines += ["", f"## {path.stem[2:].replace('_', ' ').capitalize()}", "", f"`examples/{path.name}`", ""]
        lines += ["```python", path.read_text(encoding="utf-8").rstrip(), "```"]
    return "\n".join(lines) + "\n"


def write_program(path: str) -> str:
    """A program as a page."""
    program = (ROOT / path).read_text(encoding="utf-8").rstrip()
    title = Path(SHOWN_FILES[path]).stem.replace("_", " ").capitalize()
    return f"# {title}\n\nThis is `{path}`.\n\n```python\n{program}\n```\n"


def fill_in(text: str) -> str:
    """The text with what the code says in the place of its comments `filled in: WHAT`."""

    def make(comment: re.Match[str]) -> str:
        what, _, argument = comment[1].partition(" ")
        return FILLERS[what](argument)

    return re.sub(r"^<!-- filled in: (.*) -->$", make, text, flags=re.MULTILINE)


def read_sections() -> dict[str, list[str]]:
    """The public names by the section of the package's stub file that they stand in."""
    stub = (ROOT / "src" / "safr" / "__init__.pyi").read_text(encoding="utf-8")
    sections = re.split(r"^# (\w+)$", stub, flags=re.MULTILINE)[1:]
    titles, bodies = sections[::2], sections[1::2]
    return {title: re.findall(r" as (\w+)", body) for title, body in zip(titles, bodies, strict=True)}


def list_documented_names() -> set[str]:
    """Every name that has an entry in the reference."""
    public = {f"safr.{name}" for names in read_sections().values() for name in names}
    return public | {f"{module}.{name}" for module in DOCUMENTED_MODULES for name in list_functions(module)}


def list_functions(module: str) -> list[str]:
    """The public functions of a module, in its order; those it only imports belong to another module."""
    found = importlib.import_module(module)
    public = {getattr(safr, name) for name in safr.__all__ if callable(getattr(safr, name))}
    names = getattr(found, "__all__", None) or [
        name for name, value in vars(found).items() if getattr(value, "__module__", None) == module
    ]
    return [
        name
        for name in names
        if not name.startswith("_") and callable(getattr(found, name)) and getattr(found, name) not in public
    ]


def write_entries(title: str) -> str:
    """The entries of the public names of one section of the stub file."""
    return "\n\n".join(write_entry(f"safr.{name}", getattr(safr, name)) for name in read_sections()[title])


def write_modules(_: str) -> str:
    """The entries of the functions behind the public names, module by module."""
    parts = []
    for module in DOCUMENTED_MODULES:
        summary = (importlib.import_module(module).__doc__ or "").partition("\n\n")[0].replace("\n", " ")
        parts += [f"## {module}", summary]
        parts += [
            write_entry(f"{module}.{name}", getattr(sys.modules[module], name)) for name in list_functions(module)
        ]
    return "\n\n".join(parts)


def write_entry(name: str, value: object) -> str:
    """What makes Sphinx write the entry of a name."""
    if not isinstance(value, type):
        return f"```{{eval-rst}}\n.. autofunction:: {name}\n```"
    described = bool(describe_fields(value)) if value in (Settings, Regularization, Architecture, Recipe) else False
    members = "" if described or issubclass(value, Exception) else "\n   :members:"
    return f"```{{eval-rst}}\n.. autoclass:: {name}{members}\n```"


def write_settings(_: str) -> str:
    """Every setting with its option, its values, its default and its description."""
    parts = []
    for title, kind in (
        ("The losses and the mask", Regularization),
        ("Training", Recipe),
        ("The paper's transformer", Architecture),
        ("Data and model", Settings),
    ):
        parts += [f"## {title}", f"Fields of `safr.{kind.__name__}`."]
        for setting in dataclasses.fields(kind):
            if setting.default is dataclasses.MISSING:
                continue  # a part of the settings, which has a section of its own
            option = setting.name.replace("_", "-")
            both = f"`--{option}`" if setting.type != "bool" else f"`--{option}`, `--no-{option}`"
            values = ", ".join(filter(None, [describe_type(setting_type(setting.name)), describe_range(setting.name)]))
            parts += [
                f"### {setting.name}",
                describe_fields(kind)[setting.name],
                f"Option: {both}. Values: {values}. Default: `{setting.default!r}`.",
            ]
    return "\n\n".join(parts)


def write_commands(_: str) -> str:
    """The help of every command, as the terminal shows it."""
    parts = []
    for command in COMMANDS:
        parts += [f"## safr {command}", f"```text\n{read_help(command)}\n```"]
    return "\n\n".join(parts)


def read_help(command: str) -> str:
    """What `safr COMMAND --help` writes to a pipe."""
    environment = os.environ | {"COLUMNS": str(HELP_WIDTH), "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"}
    call = [sys.executable, "-m", "safr", command, "--help"]
    return subprocess.run(call, env=environment, capture_output=True, text=True, check=True).stdout.rstrip()


def write_run_files(_: str) -> str:
    """What the JSON files of a run hold, from the schema that they are checked by."""
    schema = json.loads((ROOT / "src" / "safr" / "run_files.schema.json").read_text(encoding="utf-8"))
    definitions, parts = schema["$defs"], []
    names = {"record": "config.json", "history": "history.jsonl", "word_history": "word_history.jsonl"}
    for name, definition in definitions.items():
        if definition.get("description"):
            parts += [f"### {names.get(name, f'{name}.json')}", write_schema(definition, definitions)]
    return "\n\n".join(parts)


def write_benchmark_file(_: str) -> str:
    """What `benchmark.json` holds, from its schema."""
    path = ROOT / "src" / "safr" / "evaluation" / "benchmark.schema.json"
    schema = json.loads(path.read_text(encoding="utf-8"))
    return write_schema(schema, schema.get("$defs", {}))


def write_schema(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """A JSON schema as nested lists: the key, its type, whether it may be missing, its description."""
    lines: list[str] = []

    def describe(value: Mapping[str, Any]) -> str:
        if "$ref" in value:
            return describe(definitions[value["$ref"].rpartition("/")[2]])
        if "enum" in value:
            return "one of " + ", ".join(f"`{json.dumps(option)}`" for option in value["enum"])
        if "const" in value:
            return f"`{json.dumps(value['const'])}`"
        if "anyOf" in value or "oneOf" in value:
            return " or ".join(describe(option) for option in value.get("anyOf", value.get("oneOf")))
        kinds = value.get("type", "anything")
        kind = " or ".join(kinds) if isinstance(kinds, list) else kinds
        if "items" in value and isinstance(value["items"], dict) and "properties" not in value["items"]:
            return f"{kind} of {describe(value['items'])}"
        extra = value.get("additionalProperties")
        if "properties" not in value and isinstance(extra, dict):
            return f"{kind} of {describe(extra)} by name"
        return kind

    def add(value: Mapping[str, Any], depth: int) -> None:
        value = definitions[value["$ref"].rpartition("/")[2]] if "$ref" in value else value
        required = value.get("required", [])
        for key, inner in value.get("properties", {}).items():
            missing = "" if key in required else ", may be missing"
            sentence = f": {inner['description']}" if inner.get("description") else ""
            lines.append(f"{'  ' * depth}- `{key}` ({describe(inner)}{missing}){sentence}")
            add(inner, depth + 1)
        for inner in (value.get("items"), value.get("additionalProperties")):
            if isinstance(inner, dict):
                add(inner, depth)

    add(schema, 0)
    opening = schema.get("description", "")
    body = "\n".join(lines) if lines else describe(schema).capitalize() + "."
    return f"{opening}\n\n{body}" if opening and not opening.endswith((".json", ".jsonl")) else body


def write_columns(name: str) -> str:
    """The columns of a Parquet table, from the schema that it is written by."""
    schema: pyarrow.Schema = SCHEMAS[name]
    return "\n".join(["| column | type |", "| --- | --- |", *(f"| `{c.name}` | {c.type} |" for c in schema)])


SCHEMAS = {"words": word_schema(), "neurons": neuron_schema(), "benchmark": RESULT_SCHEMA}

FILLERS: dict[str, Callable[[str], str]] = {
    "names": write_entries,
    "modules": write_modules,
    "settings": write_settings,
    "commands": write_commands,
    "run-files": write_run_files,
    "benchmark-file": write_benchmark_file,
    "columns": write_columns,
}

if __name__ == "__main__":
    main()
