"""What a visitor of the explorer waits for: an explanation from the server, and the first picture of the offline file.

    python benchmarks/explorer.py runs/demo/baseline runs/demo/safr

Prints a Markdown table and writes `benchmarks/explorer.json` and `benchmarks/explorer.md`. The questions go over HTTP
to a server of its own, as a browser's do.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import httpx
from playwright.sync_api import sync_playwright
from speed import Row, rows, write_results

from safr.explorer import export_page
from safr.runs import open_trained_run

SENTENCE = "a moving and often very funny film about people who never quite say what they really mean to each other"
QUESTIONS = 200
OPENINGS = 15
FIRST_PICTURE = """
new MutationObserver((_, observer) => {
  if (!document.querySelector("#graph svg.graph")) return;
  observer.disconnect();
  requestAnimationFrame(() => requestAnimationFrame(() => { window.firstPicture = performance.now(); }));
}).observe(document, { childList: true, subtree: true });
"""

# Not by `wait_for_function`, which the page's policy lets look only once.
WAIT_FOR_PICTURE = """() => new Promise((resolve) => {
  const look = () => (window.firstPicture ? resolve(window.firstPicture) : requestAnimationFrame(look));
  look();
})"""


def main(folders: list[str]) -> None:
    """Measure everything, print the table and write it."""
    found = [*answers(folders), *offline_file(folders)]
    print(write_results("explorer", found))


def answers(folders: list[str]) -> list[Row]:
    """Milliseconds from a question to its answer."""
    run = Path(folders[-1]).resolve().name
    times: dict[str, list[float]] = {"explain": [], "what-if": []}
    with served(folders) as address, httpx.Client(base_url=address, timeout=60) as client:
        while client.get("/api/effects").json()["pending"]:
            time.sleep(0.5)
        for name, each in times.items():
            for number in range(QUESTIONS + 5):
                started = time.perf_counter()
                client.post(f"/api/{name}", json={"run": run, "text": SENTENCE}).raise_for_status()
                if number >= 5:
                    each.append(1000 * (time.perf_counter() - started))
    return rows(f"live answer, a sentence of {len(SENTENCE.split())} words", times)


@contextmanager
def served(folders: list[str]) -> Iterator[str]:
    """The address of `safr explore` for the length of a block."""
    command = [sys.executable, "-m", "safr", "explore", *folders, "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - ourselves
    assert process.stdout is not None
    try:
        yield next(line for line in process.stdout if line.startswith("explorer: ")).split()[1]
    finally:
        process.terminate()
        process.wait()


def offline_file(folders: list[str]) -> list[Row]:
    """Seconds to write a file of 200 sentences, its size, and how long a browser takes to show its first picture."""
    what = f"offline file, 200 sentences, {len(folders)} runs"
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        path = export_page([open_trained_run(each) for each in folders], Path(folder) / "explorer.html")
        found = rows(what, {"written in": [time.perf_counter() - started]}, "s")
        found += rows(what, {"size": [path.stat().st_size / 1e6]}, "MB")
        found += rows(what, {"first picture": first_pictures(path)}, "ms")
    return found


def first_pictures(path: Path) -> list[float]:
    """Milliseconds from opening the file in a fresh browser window to the first picture."""
    times = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for _ in range(OPENINGS):
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.add_init_script(FIRST_PICTURE)
            page.goto(path.as_uri())
            times.append(page.evaluate(WAIT_FOR_PICTURE))
            page.close()
        browser.close()
    return times


if __name__ == "__main__":
    main(sys.argv[1:])
