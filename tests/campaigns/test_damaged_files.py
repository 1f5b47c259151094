"""Damaged files of a run: every command says one line or does its work; never a traceback, a hang or another number."""

import json
import random
import shutil
import signal
import sys
from pathlib import Path

import pytest

import safr.data
from safr.cli import main
from safr.runs import Run
from safr.storage import CHECKSUMS_FILE
from tests import tiny

TEXT = "a lovely film with a dull plot"
VALUES = (None, [], {}, "x", -1, 1e308, float("nan"), 10**12, True)
SECONDS = 120


@pytest.fixture(autouse=True)
def _tiny_data(monkeypatch):
    monkeypatch.setattr(safr.data, "load_data", lambda *_, **__: tiny.dataset())
    monkeypatch.setattr("safr.runs.load_data", lambda *_, **__: tiny.dataset())


def places(value, place=()):
    """Every place of a JSON value, as keys."""
    if place:
        yield place
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(min(len(value), 3)):
            yield from places(value[key], (*place, key))


def change_json(content, draw):
    value = json.loads(content)
    if not (found := list(places(value))) or draw.random() < 0.1:
        return json.dumps(draw.choice(VALUES)).encode()
    *way, last = draw.choice(found)
    part = value
    for key in way:
        part = part[key]
    if draw.random() < 0.4:
        del part[last]
    else:
        part[last] = draw.choice(VALUES)
    return json.dumps(value).encode()


def damage(path, other, draw):
    """Change a file in one of many ways; returns which."""
    content = path.read_bytes()
    kinds = ["cut", "zeroed", "flipped", "empty", "swapped", "nested", "mark", "pipe", "folder", "loop"]
    kind = draw.choice([*kinds, *["shape"] * 15] if path.suffix == ".json" else kinds)
    if kind in ("pipe", "folder", "loop"):
        path.unlink()
        {"folder": path.mkdir, "loop": lambda: path.symlink_to(path), "pipe": lambda: __import__("os").mkfifo(path)}[
            kind
        ]()
        return kind
    start, bit = draw.randrange(max(len(content), 1)), 1 << draw.randrange(8)
    path.write_bytes(
        {
            "cut": lambda: content[:start],
            "zeroed": lambda: content[:start] + bytes(len(content[start : start + 64])) + content[start + 64 :],
            "flipped": lambda: content[:start] + bytes([content[start] ^ bit]) + content[start + 1 :],
            "empty": lambda: b"",
            "swapped": lambda: other.read_bytes() if other.is_file() else b"other",
            "nested": lambda: b"[" * 100_000,
            "mark": lambda: b"\xef\xbb\xbf" + content,
            "shape": lambda: change_json(content, draw),
        }[kind]()
    )
    return kind


@pytest.mark.slow
def test_a_damaged_run_is_one_line_or_changes_nothing(safr_run, baseline, tmp_path, capsys, pick_size):
    draw, tried, refused, failures = random.Random(0), pick_size(24, 600), 0, []

    def stop(*_):
        raise TimeoutError("a command hangs")

    def call(*words):
        capsys.readouterr()
        signal.alarm(SECONDS)
        try:
            status = main([str(word) for word in words])
        finally:
            signal.alarm(0)
        return status, *capsys.readouterr()

    def commands(run):
        yield "explain", ("explain", run, TEXT, "--json")
        yield "report", ("report", run, "--output", tmp_path / "report.html")
        yield "explore", ("explore", run, "--export", tmp_path / "page.html", "--texts", 1)
        yield "evaluate", ("evaluate", run)
        yield "resume", ("train", "--resume", run)

    signal.signal(signal.SIGALRM, stop)
    reference = call("explain", safr_run.folder, TEXT, "--json")[1]
    pages = {}
    for name, words in commands(safr_run.folder):
        if name in ("report", "explore") and call(*words)[0] == 0:
            pages[name] = Path(words[3]).read_bytes()
    names = sorted(
        path.relative_to(safr_run.folder)
        for path in safr_run.folder.rglob("*")
        if path.suffix in (".json", ".jsonl", ".parquet", ".safetensors")
    )
    for number in range(tried):
        run = Run(Path(shutil.copytree(safr_run.folder, tmp_path / "safr")))
        name = names[number % len(names)]
        is_checked = draw.random() < 0.5
        if not is_checked:
            (run.folder / CHECKSUMS_FILE).unlink()
        kind = "gone" if not (run.folder / name).exists() else damage(run.folder / name, baseline.folder / name, draw)
        label, words = draw.choices(
            list(commands(run.folder)), (8, 4, 2, 1, 1) if "model" in name.parts else (1, 8, 4, 1, 4)
        )[0]
        about = f"{name} {kind}, {label}, {'with' if is_checked else 'without'} checksums"
        try:
            status, out, err = call(*words)
        except BaseException as error:
            failures.append(f"{about}: {type(error).__name__}: {str(error)[:200]}")
        else:
            refused += status == 2
            if status not in (0, 2) or len(err.splitlines()) > 1 or (status == 2 and not err.startswith("safr: ")):
                failures.append(f"{about}: status {status}: {err[:200]}")
            elif status == 0 and is_checked:
                same = {"explain": out == reference}
                if label in pages:
                    same[label] = Path(words[3]).read_bytes() == pages[label]
                if not same.get(label, True):
                    failures.append(f"{about}: other numbers")
        shutil.rmtree(run.folder)
    with capsys.disabled():
        sys.stdout.write(f"damaged files: {tried} tried, {refused} refused in one line, {len(failures)} failed\n")
    assert not failures, "\n".join(failures)
