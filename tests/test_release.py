"""What people install: the version, archive and notes of a release, and no name that isn't the project's own."""

import importlib.util
import io
import json
import re
import statistics
import subprocess
import tarfile
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import safr

ROOT = Path(__file__).parents[1]
FOLDERS = ("src", "docs", "examples", "benchmarks", "experiments", "tests")
TEXTS = {".py", ".pyi", ".md", ".jinja", ".js", ".html", ".ipynb", ".cff", ".toml", ".yml", ".yaml"}
INDEX_INSTALL = re.compile(
    r"""(?:pip3? install|uv add|uv tool install|uvx) [^`\n]*?\bsafr(?=[\s'"`\[=<>~!]|$)""", re.MULTILINE
)
CHANGELOG = (
    "# Changelog\n\nThe form.\n\n## 0.2.0\n\nThe second.\n\n### Added\n\n- New.\n\n## [0.1.0] - 2026-01-02\n\n- Old.\n"
)


@pytest.fixture(scope="module")
def release():
    specification = importlib.util.spec_from_file_location("release", ROOT / ".ci" / "release.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("version", "notes"), [("0.2.0", "The second.\n\n### Added\n\n- New.\n"), ("0.1.0", "- Old.\n")]
)
def test_the_notes_of_a_release_are_what_the_changelog_says_of_its_version(release, version, notes):
    assert release.cut_notes(CHANGELOG, version) == notes


def test_a_version_of_which_the_changelog_says_nothing_is_not_released(release):
    with pytest.raises(SystemExit, match=r"CHANGELOG\.md has no section for 0\.3\.0; it has 0\.2\.0, 0\.1\.0"):
        release.cut_notes(CHANGELOG, "0.3.0")
    with pytest.raises(SystemExit, match=r"CHANGELOG\.md says nothing of 0\.3\.0"):
        release.cut_notes("## 0.3.0\n\n## 0.2.0\n\n- New.\n", "0.3.0")


def test_the_changelog_has_notes_for_the_version_that_the_package_and_the_citation_say(release):
    assert release.read_version(ROOT) == safr.__version__
    notes = release.cut_notes((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), safr.__version__)
    assert "### Added" in notes
    assert "\n## " not in notes


def test_a_citation_of_another_version_is_refused(release, tmp_path):
    (tmp_path / "src" / "safr").mkdir(parents=True)
    (tmp_path / "src" / "safr" / "__init__.py").write_text('__version__ = "0.2.0"\n')
    (tmp_path / "CITATION.cff").write_text("cff-version: 1.2.0\nversion: 0.1.0\n")
    with pytest.raises(SystemExit, match=r"CITATION\.cff says version 0\.1\.0, the package says 0\.2\.0"):
        release.read_version(tmp_path)


def test_the_tags_of_a_release_are_those_of_its_commit(release, tmp_path):
    def git(*words):
        who = ("-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "core.hooksPath=", "-c", "tag.gpgSign=false")
        subprocess.run(["git", *who, "-c", "commit.gpgSign=false", *words], cwd=tmp_path, check=True)

    assert release.list_tags(tmp_path) == []  # no checkout
    git("init", "--quiet")
    git("commit", "--quiet", "--allow-empty", "--message=First")
    git("tag", "v0.1.0")
    git("commit", "--quiet", "--allow-empty", "--message=Second")
    assert release.list_tags(tmp_path) == []
    git("tag", "best")
    git("tag", "v0.2.0")
    assert release.list_tags(tmp_path) == ["v0.2.0"]


def test_the_tag_and_the_version_agree(release):
    release.check_tag("0.2.0", [], final=False)
    release.check_tag("0.2.0", ["v0.2.0"], final=True)
    with pytest.raises(SystemExit, match=r"the package says version 0\.2\.0, the commit is tagged v0\.1\.0"):
        release.check_tag("0.2.0", ["v0.1.0"], final=False)
    with pytest.raises(SystemExit, match=r"a final release needs the tag: git tag v0\.2\.0"):
        release.check_tag("0.2.0", [], final=True)


def test_a_source_archive_holds_what_git_tracks_and_nothing_else(release, tmp_path):
    source = tmp_path / "safr-0.2.0.tar.gz"
    with tarfile.open(source, "w:gz") as archive:
        for name in ("PKG-INFO", "README.md", "src/safr/config.py"):
            archive.addfile(tarfile.TarInfo(f"safr-0.2.0/{name}"), io.BytesIO())
    release.check_source(source, ["README.md", "src/safr/config.py"])
    with pytest.raises(SystemExit, match=r"holds what git does not track: src/safr/config\.py"):
        release.check_source(source, ["README.md"])
    with pytest.raises(SystemExit, match=r"safr-0\.2\.0\.tar\.gz lacks LICENSE"):
        release.check_source(source, ["README.md", "src/safr/config.py", "LICENSE"])


def test_a_file_that_is_too_large_is_not_released(release, tmp_path):
    (tmp_path / "wheel").write_bytes(b"12345")
    release.check_size(tmp_path / "wheel", 5)
    with pytest.raises(SystemExit, match="wheel: expected at most 4 bytes, it has 5"):
        release.check_size(tmp_path / "wheel", 4)


def test_the_lowest_versions_that_are_tried_are_those_that_the_package_asks_for():
    """Of what it needs and of what runs its page and its sweeps; tools are the newest."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    needed = [*project["dependencies"], *extras["app"], *extras["ray"]]
    lowest = (ROOT / "constraints-lowest.txt").read_text(encoding="utf-8").splitlines()
    assert lowest == sorted(line.partition(",")[0].replace(">=", "==") for line in needed)


def test_every_direct_dependency_has_a_tested_version_that_is_allowed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = (project["optional-dependencies"][name] for name in ("app", "demo", "ray", "release", "docs", "dev"))
    asked = [Requirement(line) for lines in (project["dependencies"], *extras) for line in lines]
    pins = [Requirement(line) for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()]
    tested = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins}
    for one in asked:
        if one.name != "safr":
            assert tested[canonicalize_name(one.name)] in one.specifier, one


def test_the_sizes_and_import_times_in_the_documentation_are_the_measured_ones():
    measured = json.loads((ROOT / "benchmarks" / "install.json").read_text(encoding="utf-8"))
    rows = [
        f"| {name} | {package['installed_mb'] - measured['torch_mb']} MB | "
        + (f"{statistics.median(package['import_s']):.2g} s |" if package["import_s"] else "does not import |")
        for name, package in measured["packages"].items()
    ]
    page = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    assert "\n".join(rows) in page
    for name, size in measured["largest_mb"].items():
        assert f"| {name} | {size} MB |" in page


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
