"""Makes the README's pictures from two runs, those of the explorer with Debian's chromium and no window.

safr train --data sst2_paper --preset best --no-vmask --importance 0 --interaction 0 --output runs/baseline
safr train --data sst2_paper --preset best --output runs/safr
python docs/screenshots.py runs/baseline runs/safr
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright
from transformers import AutoTokenizer

import safr
from safr.evaluation.evaluate import PAPER_SENTENCE
from safr.explorer import export_page
from safr.figures import save_figure
from safr.runs import Run, open_trained_run

IMAGES = Path(__file__).parent / "images"


def main(folders: list[str]) -> None:
    """Draw the last run's allocation; write an explorer's file, open it as a person would, and take its picture."""
    allocation(open_trained_run(folders[-1]))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = export_page([open_trained_run(each) for each in folders], Path(folder) / "explorer.html", texts=40)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        overview(opened(browser, path, 1280, 1100, "light"))
        what_if(opened(browser, path, 1280, 900, "dark"))
        browser.close()


def allocation(run: Run) -> None:
    """The paper's sentence: who has neurons to itself, and who shares."""
    model, tokenizer = safr.load(run.model_folder), AutoTokenizer.from_pretrained(run.model_folder)
    explanation = safr.explain(model, tokenizer, PAPER_SENTENCE, max_tokens=run.settings.max_tokens)
    _, png = save_figure(explanation.figures()["allocation"], IMAGES / "allocation")
    png.with_suffix(".svg").unlink()  # the README shows the other


def opened(browser: Browser, path: Path, width: int, height: int, scheme: str) -> Page:
    """The first example, in a window of some size."""
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    page.goto(path.as_uri())
    page.wait_for_selector("#graph svg.graph")
    return page


def overview(page: Page) -> None:
    """Both runs on one sentence, with a word marked in all pictures."""
    page.locator("#sentence .panel").last.locator(".word", has_text="unintentional").click()
    page.locator("h1").hover()
    page.screenshot(path=IMAGES / "explorer.png")


def what_if(page: Page) -> None:
    """Deleting as many words as SRS does."""
    page.locator("#count").fill("8")
    page.locator("#count").blur()
    page.locator("#what-if").screenshot(path=IMAGES / "explorer-what-if.png")


if __name__ == "__main__":
    main(sys.argv[1:])
