"""Builds a release in `dist/` and tries it as a user would: `make release`. It publishes nothing.

The version stands in `src/safr/__init__.py`, so that a clone without tags and the source archive know it too. Where the
commit has a tag, the tag must say the same; `--final` also asks for the tag and for a checkout without changes.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import venv
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
LARGEST_SOURCE = 4_000_000  # bytes; the pictures and results make most of 2 million
LARGEST_WHEEL = 1_500_000  # bytes
FIRST_MINUTE = [
    ["safr", "--version"],
    ["safr", "data"],
    ["safr", "train", "--width=16", "--heads=2", "--hidden-layers=1", "--epochs=1", "--output=run"],
    ["safr", "explain", "run", "a moving and often funny film"],
    ["safr", "report", "run", "--output=report.html"],
    ["safr", "explore", "run", "--export=explorer.html", "--texts=3"],
]


def main() -> None:
    """Check, build, install and run; the first thing that is wrong ends it with one line."""
    parser = argparse.ArgumentParser(description="Build a release in dist/ and try it. Publishes nothing.")
    parser.add_argument("--final", action="store_true", help="the commit must have the version's tag and no changes")
    final = parser.parse_args().final
    version = read_version(ROOT)
    check_tag(version, list_tags(ROOT), final=final)
    if final and git("status", "--porcelain"):
        raise SystemExit("the checkout has changes; commit them before a final release")
    notes = cut_notes((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), version)
    source, wheel = build(version)
    check_source(source, git("ls-files").splitlines())
    check_size(source, LARGEST_SOURCE)
    check_size(wheel, LARGEST_WHEEL)
    try_wheel(wheel, version)
    (DIST / "notes.md").write_text(notes, encoding="utf-8")
    print(f"version {version}: {source.name}, {wheel.name} and notes.md are in {DIST.name}/; nothing was published")


def read_version(root: Path) -> str:
    """The version of the package, which the citation must share."""
    package = (root / "src" / "safr" / "__init__.py").read_text(encoding="utf-8")
    citation = (root / "CITATION.cff").read_text(encoding="utf-8")
    version = re.findall(r'^__version__ = "(.+)"$', package, flags=re.MULTILINE)[0]
    cited = re.findall(r"^version: (.+)$", citation, flags=re.MULTILINE)[0]
    if cited != version:
        raise SystemExit(f"CITATION.cff says version {cited}, the package says {version}; make them agree")
    return version


def list_tags(root: Path) -> list[str]:
    """The version tags of the commit; none outside a git checkout."""
    return [tag for tag in git("tag", "--points-at", "HEAD", root=root).splitlines() if re.match(r"v\d", tag)]


def check_tag(version: str, tags: list[str], *, final: bool) -> None:
    """Refuse a tag that says another version, and a final release without one."""
    if tags and tags != [f"v{version}"]:
        raise SystemExit(f"the package says version {version}, the commit is tagged {', '.join(tags)}; make them agree")
    if final and not tags:
        raise SystemExit(f"a final release needs the tag: git tag v{version}")


def cut_notes(changelog: str, version: str) -> str:
    """What the changelog says of one version, without its heading."""
    sections = re.split(r"^## \[?([^\s\]]+).*$", changelog, flags=re.MULTILINE)[1:]
    named = dict(zip(sections[::2], sections[1::2], strict=True))
    if version not in named:
        raise SystemExit(f"CHANGELOG.md has no section for {version}; it has {', '.join(named)}")
    notes = named[version].strip()
    if not notes:
        raise SystemExit(f"CHANGELOG.md says nothing of {version}")
    return f"{notes}\n"


def build(version: str) -> tuple[Path, Path]:
    """The source archive and the wheel, which is built from it, in an emptied `dist/`."""
    source, wheel = DIST / f"safr-{version}.tar.gz", DIST / f"safr-{version}-py3-none-any.whl"
    for old in (*DIST.glob("safr-*"), *DIST.glob("notes.md")):
        old.unlink()
    run([sys.executable, "-m", "build", "--outdir", str(DIST), str(ROOT)])
    run([sys.executable, "-m", "twine", "check", "--strict", str(source), str(wheel)])
    return source, wheel


def check_source(source: Path, tracked: list[str]) -> None:
    """Refuse a source archive that holds anything but what git tracks, or less than that."""
    if not tracked:
        print("no git here: what the source archive holds is not compared")
        return
    with tarfile.open(source) as archive:
        held = {member.name.partition("/")[2] for member in archive if member.isfile()} - {"PKG-INFO"}
    if surplus := held - set(tracked):
        raise SystemExit(f"{source.name} holds what git does not track: {', '.join(sorted(surplus)[:5])}")
    if missing := set(tracked) - held:
        raise SystemExit(f"{source.name} lacks {', '.join(sorted(missing)[:5])}")


def check_size(file: Path, largest: int) -> None:
    """Refuse a file that is larger than a release has reason to be."""
    size = file.stat().st_size
    print(f"{file.name}: {size / 1e6:.1f} MB")
    if size > largest:
        raise SystemExit(f"{file.name}: expected at most {largest:,} bytes, it has {size:,}")


def try_wheel(wheel: Path, version: str) -> None:
    """Install the wheel in a fresh environment with the tested versions, and run the first minute far from the code."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(Path(folder) / "venv", with_pip=True)
        binaries = Path(folder) / "venv" / "bin"
        pip = [str(binaries / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
        run([*pip, "install", "--constraint", str(ROOT / "constraints.txt"), f"safr[demo] @ {wheel.as_uri()}"])
        outside = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
        outside |= {"XDG_CACHE_HOME": folder, "HF_HUB_OFFLINE": "1"}
        for command in FIRST_MINUTE:
            run([str(binaries / command[0]), *command[1:]], folder=Path(folder), environment=outside)
        told = run([str(binaries / "safr"), "--version"], folder=Path(folder), environment=outside, capture=True)
        if version not in told.split():
            raise SystemExit(f"the installed package says it is version {told.strip()}, expected {version}")
        for name in ("run/scores.json", "run/model/README.md", "report.html", "explorer.html"):
            if not (Path(folder) / name).is_file():
                raise SystemExit(f"the first minute should have written {name}")


def git(*words: str, root: Path = ROOT) -> str:
    """What git says; nothing outside a checkout of this project."""
    if not (root / ".git").exists():  # a folder above may be another project's checkout
        return ""
    return run(["git", *words], folder=root, capture=True)


def run(
    command: list[str], *, folder: Path = ROOT, environment: Mapping[str, str] | None = None, capture: bool = False
) -> str:
    """Run a command, and end with one line where it fails."""
    if not capture:
        print("+", *(Path(command[0]).name, *command[1:]), flush=True)
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE if capture else None, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: ended with status {done.returncode}")
    return done.stdout or ""


if __name__ == "__main__":
    main()
