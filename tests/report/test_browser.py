"""The report in a real browser: Debian's Chromium, driven by Playwright."""

import re
import shutil

import pytest
from axe_playwright_python.sync_playwright import Axe

from safr.report import write_report
from safr.report.run_figures import LETTER_HEIGHT
from safr.runs import Run
from safr.storage import read_json, write_json
from tests import tiny
from tests.conftest import CHROMIUM

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; install Debian's package of that name"),
]

SMALLEST_LETTERS = """img => fetch(img.currentSrc).then(answer => answer.text()).then(source => {
  const picture = new DOMParser().parseFromString(source, "image/svg+xml").documentElement;
  const scale = img.getBoundingClientRect().width / picture.viewBox.baseVal.width;
  const sizes = [...source.matchAll(/font-size: ([0-9.]+)px|font: (?:[a-z]+ )*([0-9.]+)px/g)];
  return scale * Math.min(...sizes.map(size => Number(size[1] ?? size[2])));
})"""


@pytest.fixture(scope="module")
def address(baseline, safr_run, tmp_path_factory):
    """A report of three runs, as the demo writes one, with a sentence of usual length first."""
    folder = tmp_path_factory.mktemp("browser")
    runs = []
    for run, name in ((baseline, "baseline"), (baseline, "vmask"), (safr_run, "safr")):
        runs.append(Run(shutil.copytree(run.folder, folder / name)))
        sentence = {"text": f"{tiny.GOOD} the film was {tiny.BAD} and", "label": "bad", "origin": "right"}
        write_json(runs[-1].examples_file, [sentence, read_json(run.examples_file)[0]])
    return write_report(runs, folder / "report.html").as_uri()


@pytest.fixture
def open_report(chromium, address):
    """Opens the report in a window of some size."""
    contexts = []

    def open_(width, height=800, scheme="light", **options):
        contexts.append(
            chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, **options)
        )
        page = contexts[-1].new_page()
        page.goto(address)
        return page

    yield open_
    for context in contexts:
        context.close()


def bottom(page, selector):
    box = page.locator(selector).first.bounding_box()
    return box["y"] + box["height"]


def test_the_first_screen_shows_the_headline_the_curve_and_shaded_words(open_report):
    page = open_report(1280)
    assert bottom(page, ".headline") < 300
    assert bottom(page, ".curve") < 800
    assert bottom(page, ".words span") < 800
    assert page.locator(".key .scale").first.is_visible()


def test_a_phone_shows_the_headline_and_a_shaded_word_first(open_report):
    page = open_report(390, 844)
    assert bottom(page, ".headline") < 500
    assert bottom(page, ".words span") < 844


@pytest.mark.parametrize("width", [360, 390, 1280])
def test_the_page_never_scrolls_sideways(open_report, width):
    page = open_report(width)
    page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_phone_shows_the_srs_without_scrolling_the_table(open_report):
    page = open_report(360)
    box = page.locator("#result td").first.bounding_box()
    assert box["x"] + box["width"] <= 360


@pytest.mark.parametrize("width", [390, 1280])
def test_letters_of_all_figures_are_large_enough_to_read(chromium, address, width):
    # The page's own policy forbids it to ask for anything, pictures inside it as well.
    context = chromium.new_context(viewport={"width": width, "height": 800}, bypass_csp=True)
    page = context.new_page()
    page.goto(address)
    page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    sizes = [picture.evaluate(SMALLEST_LETTERS) for picture in page.locator("img:visible").all()]
    context.close()
    assert len(sizes) > 10
    assert min(sizes) >= LETTER_HEIGHT


def test_it_prints_on_few_pages_with_the_words_shaded(open_report, tmp_path):
    page = open_report(1280)
    page.pdf(path=tmp_path / "report.pdf", prefer_css_page_size=True)
    assert len(re.findall(rb"/Type\s*/Page\b", (tmp_path / "report.pdf").read_bytes())) <= 8
    page.emulate_media(media="print")
    assert page.locator(".words").first.evaluate("words => getComputedStyle(words).printColorAdjust") == "exact"
    page.set_viewport_size({"width": 700, "height": 1000})  # the width of A4 inside its margins
    too_wide = (
        "[...document.querySelectorAll('table, img')].filter(box => box.getBoundingClientRect().right > innerWidth)"
    )
    assert page.evaluate(f"{too_wide}.length") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing(chromium, address, scheme, width):
    context = chromium.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    page.goto(address)
    violations = Axe().run(page).response["violations"]
    context.close()
    assert [(found["id"], found["nodes"][0]["html"]) for found in violations] == []


def test_the_darkest_shade_is_readable_in_both_schemes(open_report):
    for scheme in ("light", "dark"):
        page = open_report(1280, scheme=scheme)
        shade, ink, paper = page.evaluate(
            """() => { const style = getComputedStyle(document.body);
            return [style.getPropertyValue("--mark"), style.color, style.backgroundColor]; }"""
        )
        mark, ink, paper = ([float(number) for number in re.findall(r"[0-9.]+", text)] for text in (shade, ink, paper))
        mixed = [0.75 * over + 0.25 * under for over, under in zip(mark, paper, strict=True)]
        assert contrast(ink, mixed) >= 4.5


def contrast(one, other):
    """Ratio of contrast of two colours in [0, 255], as WCAG 2 defines it."""

    def luminance(colour):
        parts = [value / 255 for value in colour]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_links_of_the_contents_lead_somewhere(open_report):
    page = open_report(1280)
    for target in page.locator("nav a").evaluate_all("links => links.map(link => link.getAttribute('href'))"):
        assert page.locator(target).count() == 1
