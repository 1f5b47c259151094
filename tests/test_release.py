"""What people install is the project's own: no name of a package index that somebody else could take."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("src", "docs", "examples", "benchmarks", "experiments", "tests")
TEXTS = {".py", ".pyi", ".md", ".jinja", ".js", ".html", ".ipynb", ".cff", ".toml", ".yml", ".yaml"}
INDEX_INSTALL = re.compile(
    r"""(?:pip3? install|uv add|uv tool install|uvx) [^`\n]*?\bsafr(?=[\s'"`\[=<>~!]|$)""", re.MULTILINE
)


def test_nobody_is_told_to_install_a_name_that_is_not_the_projects_own():
    files = [path for path in ROOT.iterdir() if path.suffix in TEXTS]
    files += [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in TEXTS]
    assert len(files) > 200
    told = [path for path in files if path != Path(__file__) and INDEX_INSTALL.search(path.read_text(encoding="utf-8"))]
    assert told == []


def test_the_search_finds_what_it_is_for():
    for line in (
        "pip install safr",
        "pip install 'safr[app]'",
        "pip install -U safr==0.2.0",
        'pip install "safr[ray]"',
    ):
        assert INDEX_INSTALL.search(line), line
    for line in (
        "pip install .",
        "pip install dist/safr-0.2.0-py3-none-any.whl",
        "pip install git+URL",
        "pip install ray",
    ):
        assert not INDEX_INSTALL.search(line), line
