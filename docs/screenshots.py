"""Makes the pictures of the README and the documentation from trained runs, with Chromium where a page is shown.

safr demo
python docs/screenshots.py runs/demo/baseline runs/demo/safr --pictures shaded

safr train --data sst2_paper --preset best --no-vmask --importance 0 --interaction 0 --output runs/baseline
safr train --data sst2_paper --preset best --output runs/safr
python docs/screenshots.py runs/baseline runs/safr --pictures allocation explorer
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

import safr
from safr.explorer import export_page
from safr.figures import save_figure
from safr.runs import Run, open_trained_run
from safr.storage import read_json

IMAGES = Path(__file__).parent / "images"
PICTURES = ("shaded", "allocation", "explorer")
README_WIDTH = 800
"""Width of the README's picture in CSS pixels; the file has twice as many, so that it is sharp on every screen."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw the pictures that are asked for, by default all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("baseline", type=Path, help="folder of a run without SAFR")
    parser.add_argument("safr", type=Path, help="folder of a run with SAFR, on the same data")
    parser.add_argument("--pictures", nargs="+", choices=PICTURES, default=PICTURES)
    options = parser.parse_args(arguments)
    baseline, regularized = open_trained_run(options.baseline), open_trained_run(options.safr)
    if "shaded" in options.pictures:
        draw_shaded_words(baseline, regularized)
    if "allocation" in options.pictures:
        draw_allocation(regularized)
    if "explorer" in options.pictures:
        draw_explorer(baseline, regularized)


def draw_shaded_words(baseline: Run, regularized: Run) -> None:
    """The paper's sentence in both runs as a notebook shows it: each word shaded by its capacity."""
    panels = "".join(
        f"<section><h2>{label}</h2>{explain_paper_sentence(run)._repr_html_()}</section>"
        for label, run in (("baseline", baseline), ("SAFR", regularized))
    )
    style = (
        "body{margin:0;background:#fff;color:#1a1a1a;font:16px/1.5 'DejaVu Sans',Arial,sans-serif}"
        "main{padding:8px 12px}section+section{margin-top:14px;padding-top:12px;border-top:1px solid #d0d0d0}"
        "h2{margin:0 0 2px;font-size:18px}"
    )
    page_html = f"<!doctype html><meta charset='utf-8'><style>{style}</style><main>{panels}</main>"
    with launch_browser() as browser:
        page = browser.new_page(viewport={"width": README_WIDTH, "height": 600}, device_scale_factor=2)
        page.set_content(page_html)
        page.locator("main").screenshot(path=IMAGES / "shaded.png")


def draw_allocation(run: Run) -> None:
    """The paper's sentence: which words have neurons to themselves, and which share them."""
    for path in save_figure(explain_paper_sentence(run).figures()["allocation"], IMAGES / "allocation"):
        if path.suffix != ".png":  # the documentation shows this one
            path.unlink()


def draw_explorer(*runs: Run) -> None:
    """Write an explorer's file, open it as a person would, and take its pictures."""
    with tempfile.TemporaryDirectory() as folder, launch_browser() as browser:
        path = export_page(runs, Path(folder) / "explorer.html", texts=40)
        open_explorer(browser, path, 1280, 1100, "light").screenshot(path=IMAGES / "explorer.png")
        draw_what_if(open_explorer(browser, path, 1280, 900, "dark"))


def explain_paper_sentence(run: Run) -> safr.Explanation:
    """What a run's model says about the paper's sentence."""
    model, tokenizer = run.load_model()
    sentence = read_json(run.examples_file)[0]["text"]  # the paper's, spelled as in the data the model was trained on
    return safr.explain(model, tokenizer, sentence, max_tokens=run.settings.max_tokens)


@contextmanager
def launch_browser() -> Iterator[Browser]:
    """The system's Chromium, without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


def open_explorer(browser: Browser, path: Path, width: int, height: int, scheme: str) -> Page:
    """The explorer's page with its first example, in a window of some size."""
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    page.add_init_script("localStorage.setItem('safr-tour', 'yes')")  # the tour is closed
    page.goto(path.as_uri())
    page.wait_for_selector("#graph svg.graph")
    page.wait_for_timeout(500)  # the bars move
    return page


def draw_what_if(page: Page) -> None:
    """Deleting as many words as SRS does."""
    page.locator("#count").fill("8")
    page.locator("#count").blur()
    page.wait_for_timeout(500)  # the bars move
    page.locator("#sentence").screenshot(path=IMAGES / "explorer-what-if.png")


if __name__ == "__main__":
    main()
