"""The layout: each part imports only what stands to its left, and `import safr` stays light."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import jaxtyping
import pytest
import torch
from beartype.roar import BeartypeCallHintViolation

import safr
from safr.evaluation.srs import count_deleted
from safr.losses import importance_loss

SOURCE = Path(safr.__file__).parent
ORDER = [
    "errors",
    "launcher",
    "config",
    "progress",
    "rounding",
    "storage",
    "processes",
    "superposition",
    "losses",
    "figures",
    "data",
    "model",
    "inference",
    "runs",
    "attribution",
    "evaluation",
    "training",
    "experiments",
    "report",
    "explorer",
    "cli",
    "__main__",
]
FILES = sorted(SOURCE.rglob("*.py"))


def part(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """The parts of safr that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("safr."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {name.name.split(".")[1] for name in node.names if name.name.startswith("safr.")}
    return found


def test_every_part_has_its_place():
    assert {part(path) for path in FILES} - {"__init__"} == set(ORDER)


@pytest.mark.parametrize("path", [path for path in FILES if part(path) != "__init__"], ids=lambda path: path.name)
def test_each_part_imports_only_what_stands_to_its_left(path):
    mine = part(path)
    assert {each for each in imported(path) if ORDER.index(each) > ORDER.index(mine)} == set()


def test_the_metrics_import_nothing_of_ours():
    assert imported(SOURCE / "superposition.py") == set()


def test_every_public_name_is_there_and_documented():
    for name in safr.__all__:
        assert getattr(safr, name).__doc__, name
    assert all(f" as {name}" in (SOURCE / "__init__.pyi").read_text(encoding="utf-8") for name in safr.__all__)
    assert set(safr.__all__) <= set(dir(safr))
    with pytest.raises(AttributeError, match="No safr attribute nothing"):
        safr.nothing  # noqa: B018


def test_an_explanation_is_data_and_loads_what_shows_it_when_asked():
    shown = ("matplotlib", "safr.figures", "safr.attribution.views", "safr.explorer")
    check = f"import sys, safr; safr.explain; print([name for name in {shown} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_no_two_public_things_share_a_name():
    homes: dict[str, list[str]] = {}
    for path in FILES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [node.name] if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) else []
            if names and any(ast.unparse(decorator) == "overload" for decorator in node.decorator_list):
                continue
            if isinstance(node, ast.Assign):
                names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                names = [node.target.id]
            for name in names:
                if not name.startswith("_"):
                    homes.setdefault(name, []).append(path.name)
    assert {name: where for name, where in homes.items() if len(where) > 1} == {}


def test_models_are_run_in_one_place():
    """Outside training, a model is called by `trace` and by `batch_logits`; everything else asks `inference`."""
    callers = {
        path.relative_to(SOURCE).as_posix()
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "model" and node.keywords
    }
    assert callers == {"inference.py", "model/trace.py"}


def test_trace_is_the_function():
    import safr.model.trace

    assert callable(safr.trace)


@pytest.mark.parametrize("code", ["import safr", "from safr.cli import main; main(['--version'])"])
def test_nothing_heavy_is_imported_before_it_is_needed(code):
    check = f"import sys; {code}; print([name for name in ('torch', 'transformers', 'rich') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_no_torch_is_imported_for_help():
    check = "import sys; from safr.cli import main\ntry: main(['--help'])\nfinally: assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "subcommands" in done.stdout


def test_shapes_are_checked_while_the_tests_run():
    with pytest.raises(jaxtyping.TypeCheckError):
        importance_loss(torch.ones(3, 2), torch.ones(4, dtype=torch.bool))


def test_types_without_a_shape_are_checked_while_the_tests_run():
    with pytest.raises(BeartypeCallHintViolation):
        count_deleted("3", 30)


def test_every_choice_of_ours_is_listed_and_carries_its_comment_in_the_code():
    page = (SOURCE.parents[1] / "docs" / "equations.md").read_text(encoding="utf-8")
    listed = re.findall(r"^- \*\*([^*]+)\*\*:", page.split("## Choices that the paper leaves open")[1], re.MULTILINE)
    source = "\n".join(path.read_text(encoding="utf-8") for path in FILES)
    marked = re.findall(r"Differs from the paper: (.{40})", re.sub(r"\n\s*(?:# )?", " ", source))
    assert len(listed) >= 16
    assert len(marked) == source.count("Differs from the paper")
    for choice in listed:
        assert [comment for comment in marked if comment.lower().startswith(choice.lower())], choice
    for comment in marked:
        assert [choice for choice in listed if comment.lower().startswith(choice.lower())], comment


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_open_with_a_sentence_and_the_library_does_not_print(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert re.search(r"[.?]$", (ast.get_docstring(tree) or "").splitlines()[0])
    calls = [node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    assert "print" not in calls
