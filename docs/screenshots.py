"""Makes the README's pictures of the explorer from two runs, with Debian's chromium and no window.

python docs/screenshots.py runs/demo/baseline runs/demo/safr
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from safr.explorer import export_page
from safr.runs import open_trained_run

IMAGES = Path(__file__).parent / "images"


def main(folders: list[str]) -> None:
    """Write an explorer's file, open it as a person would, and take its picture."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = export_page([open_trained_run(each) for each in folders], Path(folder) / "explorer.html", texts=40)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        overview(opened(browser, path, 1280, 1100, "light"))
        what_if(opened(browser, path, 1280, 900, "dark"))
        phone(opened(browser, path, 360, 740, "light"))
        browser.close()


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


def phone(page: Page) -> None:
    """One run on a phone."""
    page.locator("#beside").select_option("")
    page.screenshot(path=IMAGES / "explorer-phone.png")


if __name__ == "__main__":
    main(sys.argv[1:])
