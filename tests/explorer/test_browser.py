"""The page in a real browser: Debian's Chromium, driven by Playwright."""

import csv
import io
import itertools
import json
import math
import re
import shutil
import struct
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from safr.attribution.explain import explain
from safr.explorer import export_page
from safr.explorer.app import create_app
from safr.explorer.middleware import AccessMiddleware
from safr.explorer.model_session import open_session
from safr.explorer.payload import list_texts
from safr.explorer.serve import live_payload
from safr.figures.notebook import FAINT, MINUS
from safr.runs import Run
from tests import tiny
from tests.conftest import CHROMIUM
from tests.explorer.conftest import LOCAL, contents_of, running

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; install Debian's package of that name"),
]

HOSTILE = [
    "<script>alert(1)</script>",
    "\"' onmouseover=alert(1) x='",
    "<img src=http://example.org/x.png onerror=alert(1)>",
    "</script></style></textarea><h1>big",
    "🙂👩‍👩‍👧 film",
    "مرحبا بالعالم film",
    "a\x00b\x1b[31mc \u202egnol",
    "word " * 10_000,
]


@pytest.fixture
def open_page(chromium):
    """Opens an address in a fresh browser; at the end nothing may have been logged or asked of anyone else."""
    contexts, complaints, asked = [], [], []

    def open_(
        address, *, width=1280, height=900, scheme="light", offline=False, unfold=True, tour=False, shade="capacity"
    ):
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, accept_downloads=True, offline=offline
        )
        contexts.append(context)
        if not tour:  # as for visitors who have closed it
            context.add_init_script("try { localStorage.setItem('safr-tour', 'yes'); } catch {}")
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(f"a dialog opened: {dialog.message}"))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        page.wait_for_selector("#graph svg.graph", state="attached")
        if unfold:  # what a visitor would open one by one
            page.evaluate(
                "document.querySelectorAll('#controls, .more > details').forEach(one => { one.open = true; })"
            )
        if shade and "measure=" not in address and page.locator(f'#shade input[value="{shade}"]:enabled').count():
            page.locator("#shade label", has_text=shade).click()
        page.home = address.split("#")[0]
        return page

    open_.expected = []
    yield open_
    homes = tuple(page.home.split("?")[0] for context in contexts for page in context.pages)
    for context in contexts:
        context.close()
    assert [each for each in complaints if not any(part in each for part in open_.expected)] == []
    assert [url for url in asked if not url.startswith((*homes, "data:", "blob:"))] == []


@pytest.fixture
def offline(open_page, exported):
    """The file opened from disk, without a network."""
    return open_page(exported.as_uri(), offline=True)


@pytest.fixture
def live(open_page, server):
    return open_page(f"{server}/")


@pytest.fixture(scope="module")
def told(exported):
    return contents_of(exported.read_text(encoding="utf-8"))


def panel_of(page, section, run=None):
    """The panel of one run, by its number in the file; by default the first one."""
    panels = page.locator(f"#{section} .panel")
    return panels.first if run is None else page.locator(f'#{section} .panel[data-run="{run}"]')


def effect_of(page, run):
    """What one run predicts without the deleted words, under the sentence."""
    return page.locator(f'#effects [data-run="{run}"]')


def rewrite(exported, told, folder):
    """The offline file with other contents."""
    data = json.dumps(told).replace("<", "\\u003c")
    text = exported.read_text(encoding="utf-8")
    whole = re.sub(r'(id="contents">).*?(</script>)', lambda found: found[1] + data + found[2], text, flags=re.DOTALL)
    (folder / "page.html").write_text(whole, encoding="utf-8")
    return folder / "page.html"


def shares_of(panel):
    """How strongly each word is shaded."""
    words = panel.locator(".word")
    return words.evaluate_all("found => found.map(word => Number(word.style.getPropertyValue('--share')))")


def width_of(bar):
    """Share of its track that a bar takes."""
    return float(bar.evaluate("node => node.style.width").removesuffix("%")) / 100


def percent(share):
    return f"{100 * share:.1f} %"


def bars(page, run=None):
    """Word and value of every bar of one run, as they are written."""
    if page.locator("#bars .dumbbells").count():  # one chart for two runs
        run = panel_of(page, "bars").get_attribute("data-run") if run is None else run
        rows, values = page.locator("#bars .word-row"), f'.value[data-run="{run}"]'
    else:
        rows, values = panel_of(page, "bars", run).locator("svg .word-row"), ".value"
    return [(row.locator("text").first.text_content(), row.locator(values).text_content()) for row in rows.all()]


def select(page, what, value):
    page.locator(f"#{what}").select_option(value)


def digits(value):
    """Numbers as the page writes them."""
    size = abs(value)
    if value == 0:
        return "0"
    if size < 1e-3 or size >= 1e5:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa}e{int(exponent):+d}".replace("-", "−")
    text = f"{value:.0f}" if size >= 100 else f"{value:#.3g}".rstrip(".")
    return text.replace("-", "−")


def column(values, beside=()):
    """Numbers as the page writes them in a column, where all have as many decimals."""
    largest = max(map(abs, [*values, *beside]))
    if not 1e-3 <= largest < 1e4:
        return [digits(value) for value in values]
    power = math.floor(math.log10(largest))
    texts = [f"{value:.{2 - power if power < 0 else 3 - power}f}" for value in values]
    return [text.replace("-", "−" if float(text) else "") for text in texts]


def test_the_offline_file_shows_both_runs_side_by_side(offline, told):
    for number, name in enumerate(("baseline", "safr")):
        first = told["readings"][name][str(told["rows"][0]["number"])]
        panel = offline.locator(f'#sentence .panel[data-run="{number}"]')
        expect(panel.locator("h3")).to_have_text(name)
        expect(panel.locator(".predicted b")).to_have_text(first["prediction"])
        found = [value for _, value in bars(offline, number)]
        assert found == column(first["sites"]["fc1.0"]["capacity"])
    assert [panel.get_attribute("data-run") for panel in offline.locator("#sentence .panel").all()] == ["1", "0"]
    select(offline, "beside", "")
    expect(offline.locator("#sentence .panel")).to_have_count(1)


def test_every_site_and_measure_shows_its_own_numbers(offline, told):
    reading = told["readings"]["safr"][str(told["rows"][0]["number"])]
    select(offline, "beside", "")
    for site, name in (("Embedding", "embedding"), ("VMASK", "vmask"), ("FC1", "fc1.0"), ("FC2", "fc2.0")):
        offline.locator("#site label", has_text=re.compile(f"^{site}$")).click()
        for measure in ("capacity", "polysemanticity"):
            select(offline, "measure", measure)
            expect(offline.locator("#bars-title")).to_have_text(measure.capitalize())
            assert [value for _, value in bars(offline)] == column(reading["sites"][name][measure])
    select(offline, "measure", "keep")
    assert [value for _, value in bars(offline)] == column(reading["keep"])


def check_signs(page, values, target, run=None):
    """The words and bars of a panel show the values with their signs, with and without colour."""
    largest = max(map(abs, values))
    said = [
        "" if abs(value) <= FAINT * largest else f", speaks {'against' if value < 0 else 'for'} “{target}”"
        for value in values
    ]
    words = panel_of(page, "sentence", run).locator(".word")
    shown = words.all_text_contents()
    assert [re.search(r"(, speaks .*)?$", word)[0] for word in shown] == said
    assert [word.startswith(MINUS) for word in shown] == ["against" in each for each in said]
    assert ["against" in word.get_attribute("class").split() for word in words.all()] == [v < 0 for v in values]
    strengths = words.evaluate_all("found => found.map(word => Number(word.style.getPropertyValue('--share')))")
    assert strengths == pytest.approx([abs(value) / largest for value in values], abs=1e-3)
    assert [value for _, value in bars(page, run)] == column(values)
    panel = panel_of(page, "bars", run)
    zero = float(panel.locator("line.axis").get_attribute("x1"))
    for bar, value in zip(panel.locator("rect.bar").all(), values, strict=True):
        start, width = (float(bar.get_attribute(name)) for name in ("x", "width"))
        assert start + (width if value < 0 else 0) == pytest.approx(zero, abs=1e-6)
        assert ("below" in bar.get_attribute("class").split()) == (value < 0)


def test_words_that_speak_for_the_class_and_against_it_are_told_apart(open_page, exported, told):
    page = open_page(exported.as_uri() + "#run=safr&measure=relevance", offline=True)
    reading = told["readings"]["safr"][str(told["rows"][0]["number"])]
    expect(page.locator("#target option:checked")).to_have_text("the predicted one")
    check_signs(page, reading["relevance"][str(reading["predicted"])], reading["prediction"])
    expect(page.locator("#sentence-hint")).to_contain_text(
        f"By relevance, blue words speak for “{reading['prediction']}”, and −orange ones with a minus against it."
    )
    for label, name in enumerate(reading["labels"]):
        select(page, "target", str(label))
        check_signs(page, reading["relevance"][str(label)], name)
    assert "target=1" in page.url
    page.locator("#sentence .word.against").first.hover()
    expect(page.locator("#marked")).to_contain_text(f", speaks against “{reading['labels'][1]}”")
    rows = list(csv.DictReader(io.StringIO(saved(page, "sentence", 1, "CSV")[0].decode("utf-8-sig"))))
    for label, name in enumerate(reading["labels"]):
        assert [float(row[f"relevance for {name}"]) for row in rows] == reading["relevance"][str(label)]
    assert violations(page) == []
    select(page, "order", "relevance")
    page.locator("#count").fill("1")
    first = int(np.argmax(reading["relevance"][str(reading["predicted"])]))
    expect(page.locator('#sentence [aria-pressed="true"]')).to_have_attribute("data-word", str(first))
    select(page, "measure", "occlusion")
    expect(page.locator("#targets")).to_be_hidden()
    steps = told["what_ifs"]["safr"][str(told["rows"][0]["number"])]
    whole = steps["probability"]["capacity"][0]
    check_signs(page, [whole - share for share in steps["alone"]], reading["prediction"])


def test_other_scores_with_a_sign_are_drawn_with_it(open_page, tmp_path):
    model = tiny.model(id2label={0: "bad", 1: "good"})
    made = explain(
        model, tiny.tokenizer(), "a bright film and a dull plot", method="integrated_gradients", target="bad"
    )
    (tmp_path / "page.html").write_text(made.explore().html, encoding="utf-8")
    page = open_page((tmp_path / "page.html").as_uri() + "#measure=other:integrated_gradients", offline=True)
    check_signs(page, [float(f"{value:.4g}") for value in made.scores], "bad")
    assert page.locator("#measure option").all_inner_texts().count("Relevance") == 0


def test_attention_has_a_measure_of_its_own_that_leaves_the_chosen_one(offline):
    select(offline, "measure", "polysemanticity")
    offline.locator("#site label", has_text="Attention").click()
    expect(offline.locator("#measure option:checked")).to_have_text("Attention received")
    expect(offline.locator("#bars-title")).to_have_text("Attention received")
    expect(offline.locator("#matrix-title")).to_have_text("Attention")
    offline.locator("#site label", has_text=re.compile("^FC2$")).click()
    expect(offline.locator("#measure option:checked")).to_have_text("Polysemanticity")


def test_a_run_without_a_site_says_so(offline):
    offline.locator("#site label", has_text="VMASK").click()
    expect(panel_of(offline, "graph", 0)).to_contain_text("Nothing was recorded at VMASK in this run.")


def test_layers_can_be_switched(open_page, tmp_path):
    made = explain(tiny.model(num_hidden_layers=3), tiny.tokenizer(), "a bright film and a dull plot")
    (tmp_path / "page.html").write_text(made.explore().html, encoding="utf-8")
    page = open_page((tmp_path / "page.html").as_uri(), offline=True)
    for layer in range(3):
        select(page, "layer", str(layer))
        expect(page.locator("#matrix-hint")).to_contain_text(f"FC1 of layer {layer}")
        expected = [digits(float(f"{value:.4g}")) for value in made.sites[f"fc1.{layer}"].capacity]
        assert [value for _, value in bars(page)] == expected
    for section in ("neurons", "what-if", "texts", "scores"):  # there is no model behind a notebook's page, and no run
        expect(page.locator(f"#{section}")).to_be_hidden()
    for link in page.locator("nav a").all():
        expect(link).to_be_hidden()


def test_a_word_is_marked_in_all_views_while_pointed_at_and_after_a_click(offline):
    word = offline.locator('#sentence .panel[data-run="1"]').locator(".word").nth(2)
    word.hover()
    for view in ("#sentence .word", "#bars .word-row", "#graph .node", "#matrix text"):
        least = 1 if "bars" in view else 2  # the runs share one chart of bars
        assert offline.locator(f"{view}.marked").count() >= least, view
    expect(offline.locator("#matrix .cross.on").first).to_be_attached()
    expect(offline.locator("#marked")).to_contain_text(word.inner_text())
    offline.locator("h1").hover()
    assert offline.locator(".marked").count() == 0
    word.dblclick()
    offline.locator("h1").hover()
    assert offline.locator("#graph .node.marked").count() == 2
    assert "line-through" not in word.evaluate("node => getComputedStyle(node).textDecoration")
    assert "word=2" in offline.url
    assert "without" not in offline.url


def test_the_arrow_keys_go_from_word_to_word(offline):
    words = offline.locator("#sentence .panel").first.locator(".word")
    words.first.focus()
    offline.keyboard.press("ArrowRight")
    expect(words.nth(1)).to_be_focused()
    assert "marked" in words.nth(1).get_attribute("class")
    offline.keyboard.press("End")
    expect(words.last).to_be_focused()
    offline.keyboard.press("Home")
    expect(words.first).to_be_focused()
    offline.keyboard.press("Enter")
    assert "without=0" in offline.url
    offline.keyboard.press("m")
    assert "word=0" in offline.url


def test_the_slider_deletes_the_most_important_words_and_shows_the_steps_prediction(offline, told):
    number = str(told["rows"][0]["number"])
    slider = offline.locator("#count")
    for step in (1, 3, 2):
        slider.fill(str(step))
        for place, run in enumerate(("baseline", "safr")):
            steps = told["what_ifs"][run][number]
            gone = panel_of(offline, "sentence", place).locator('.word[aria-pressed="true"]')
            found = sorted(int(each.get_attribute("data-word")) for each in gone.all())
            assert found == sorted(steps["orders"]["capacity"][: steps["counts"][step]])
            effect = effect_of(offline, place)
            expect(effect.locator(".predicted b")).to_have_text(steps["predictions"]["capacity"][step])
            expect(effect.locator(".predicted")).to_contain_text(percent(steps["probability"]["capacity"][step]))
            expect(effect.locator(".effect-value").first).to_have_text(percent(steps["probability"]["capacity"][step]))
            expect(effect.locator(".effect-value").last).to_contain_text(percent(steps["random"][step]))
            assert width_of(effect.locator(".fill").first) == pytest.approx(
                steps["probability"]["capacity"][step], abs=0.01
            )
        expect(offline.locator("#told")).to_have_text(
            " ".join(offline.locator("#effects .predicted").all_inner_texts())
        )
    offline.locator("#restore").click()
    assert offline.locator('.word[aria-pressed="true"]').count() == 0


def test_the_offline_file_knows_single_words_and_says_what_it_does_not_know(offline, told):
    steps = told["what_ifs"]["safr"][str(told["rows"][0]["number"])]
    words, effect = panel_of(offline, "sentence", 1), effect_of(offline, 1)
    words.locator('[data-word="4"]').click()
    expect(effect.locator(".predicted")).to_contain_text(percent(steps["alone"][4]))
    free = [n for n in range(len(steps["alone"])) if n != 4 and {n, 4} != set(steps["orders"]["capacity"][:2])]
    free = [n for n in free if all({n, 4} != set(order[:2]) for order in steps["orders"].values())]
    words.locator(f'[data-word="{free[0]}"]').click()
    odds = [np.log(share / (1 - share)) for share in (steps["alone"][4], steps["alone"][free[0]], steps["random"][0])]
    about = percent(1 / (1 + np.exp(-odds[0] - odds[1] + odds[2])))
    expect(effect.locator(".effect-value").first).to_have_text(f"≈ {about}")
    expect(offline.locator("#deletion-note")).to_contain_text("`safr explore` without --export answers any choice")


def test_the_headline_is_made_of_the_texts_numbers(offline, told):
    number = str(told["rows"][0]["number"])
    headlines = offline.locator(".headline").filter(has_text=" says ")
    assert [line.inner_text().split()[0] for line in headlines.all()] == ["safr", "baseline"]
    for line, run in zip(headlines.all(), ("safr", "baseline"), strict=True):
        reading, steps = told["readings"][run][number], told["what_ifs"][run][number]
        capacity = reading["sites"]["fc1.0"]["capacity"]
        expect(line).to_contain_text(
            f"{run} says {reading['prediction']}, {percent(steps['probability']['capacity'][0])}"
        )
        expect(line.locator("em").first).to_have_text(
            re.sub(r"[\x00-\x1f]", "\ufffd", reading["words"][np.argmax(capacity)])
        )
        expect(line).to_contain_text(f"{max(capacity):.2f} of 1)")
        expect(line).to_contain_text(
            "(right)" if reading["answer"] == told["rows"][0]["label"] else "(wrong, the label is"
        )
        step = steps["counts"].index(steps["main"])
        expect(line).to_contain_text(percent(steps["probability"]["capacity"][step]).removesuffix(" %"))
        at_random = f"without {steps['main']} random words? {percent(steps['random'][step])}".replace(" %", r"\s%")
        expect(line).to_contain_text(re.compile(at_random))
        by_relevance = percent(steps["probability"]["relevance"][step])
        expect(line).to_contain_text(f"of highest relevance {by_relevance}")


HEADLINE_CASES = [  # without 1, 3 and 4 words: the probability and what is said; what the headline says of it
    (
        [0.8, 0.7, 0.58],
        ["good", "good", "good"],
        [": without it good gets 80.0 %. ", "Without the 4 words of highest capacity good gets 58.0 %; "],
    ),
    (
        [0.4, 0.4, 0.31],
        ["bad", "bad", "bad"],
        [
            ": without it good gets 40.0 %, and the model says bad. ",
            "Without the 4 words of highest capacity good gets 31.0 %, and the model says bad; ",
        ],
    ),
    ([0.8, 0.4, None], ["good", "good", "good"], None),
]


@pytest.mark.parametrize(("left", "predictions", "expected"), HEADLINE_CASES)
def test_the_headline_says_what_deleting_does(open_page, exported, told, tmp_path, left, predictions, expected):
    number = str(told["rows"][0]["number"])
    steps = told["what_ifs"]["safr"][number]
    random = [0.9, 0.9, 0.9, 0.85]
    few = {"counts": [0, 1, 3, 4], "main": 4, "followed": "good", "random": random, "random_low": random}
    few |= {"random_high": random, "probability": {"capacity": [0.9, *left]}, "alone": None}
    few |= {"predictions": {"capacity": ["good", *predictions]}, "orders": {"capacity": steps["orders"]["capacity"]}}
    changed = {**told, "what_ifs": {**told["what_ifs"], "safr": {number: few}}}
    page = open_page(f"{rewrite(exported, changed, tmp_path).as_uri()}#run=safr&text={number}", offline=True)
    line = page.locator(".headline").inner_text().replace("\u00a0", " ")
    assert ("of highest capacity" in line) == (expected is not None)
    for part in expected or ():
        assert part in line
    assert expected is None or line.endswith("; without 4 random words 85.0 %.")


def test_the_headline_says_which_run_leans_on_fewer_words(open_page, exported, told, tmp_path):
    number = str(told["rows"][0]["number"])
    changed = json.loads(json.dumps(told))
    for run, halves in (("baseline", [3.0, 2.0, 2.0, -9.0]), ("safr", [5.0, 1.0, 1.0, 1.0])):
        reading = changed["readings"][run][number]
        values = halves + [0.0] * (len(reading["words"]) - len(halves))
        reading["relevance"][str(reading["predicted"])] = values
    page = open_page(
        f"{rewrite(exported, changed, tmp_path).as_uri()}#run=safr&beside=baseline&text={number}", offline=True
    )
    page.locator("#shade label", has_text="relevance").click()
    half = "half of what speaks for its answer lies in 1 word of safr and in 2 words of baseline"
    expected = f"safr relies on fewer words: {half}."
    expect(page.locator(".headline").last).to_have_text(expected)


def test_buttons_delete_one_word_more_or_less(offline):
    slider, fewer, more = (offline.locator(f"#{name}") for name in ("count", "fewer", "more"))
    expect(fewer).to_be_disabled()
    more.click()
    expect(slider).to_have_value("1")
    offline.locator("#sentence .panel").first.locator(".word[aria-pressed='false']").first.click()  # two are gone now
    more.click()
    expect(offline.locator("#count-said")).to_contain_text("3 of")
    for _ in range(3):
        fewer.click()
    expect(fewer).to_be_disabled()
    slider.evaluate("node => { node.value = node.max; node.dispatchEvent(new Event('input')); }")
    expect(more).to_be_disabled()


def test_shading_has_one_scale_and_a_key_with_its_ends(offline, told):
    number = str(told["rows"][0]["number"])
    for run, name in enumerate(("baseline", "safr")):
        capacity = told["readings"][name][number]["sites"]["fc1.0"]["capacity"]
        assert shares_of(panel_of(offline, "sentence", run)) == pytest.approx(capacity, abs=1e-3)
    expect(offline.locator(".ends")).to_have_text("01")
    offline.locator("#shade label", has_text="relevance").click()
    values = [told["readings"][name][number]["relevance"] for name in ("baseline", "safr")]
    chosen = [
        each[str(told["readings"][name][number]["predicted"])]
        for each, name in zip(values, ("baseline", "safr"), strict=True)
    ]
    largest = max(abs(value) for each in chosen for value in each)
    for run in (0, 1):
        shares = [abs(value) / largest for value in chosen[run]]
        assert shares_of(panel_of(offline, "sentence", run)) == pytest.approx(shares, abs=1e-3)
    expect(offline.locator(".ends")).to_have_text(digits(-largest) + digits(largest))
    expect(offline.locator("#order")).to_have_value("relevance")
    expect(offline.locator(".headline").first).to_contain_text(re.compile("speaks most|No word speaks"))


def test_the_file_finds_words_that_flip_the_answer_and_says_how(open_page, exported, told, tmp_path):
    number = str(told["rows"][0]["number"])
    steps = told["what_ifs"]["safr"][number]
    followed, other = steps["followed"], next(name for name in tiny.LABELS if name != steps["followed"])
    changed = json.loads(json.dumps(told))
    changed["what_ifs"]["safr"][number]["alone"] = None
    count = len(steps["counts"])
    changed["what_ifs"]["safr"][number]["predictions"]["capacity"] = [followed] * 2 + [other] * (count - 2)
    page = open_page(f"{rewrite(exported, changed, tmp_path).as_uri()}#run=safr&text={number}", offline=True)
    page.locator("#flip").click()
    gone = page.locator('.word[aria-pressed="true"]')
    words = sorted(int(each.get_attribute("data-word")) for each in gone.all())
    assert words == sorted(steps["orders"]["capacity"][: steps["counts"][2]])
    expect(page.locator("#deletion-note")).to_contain_text("the fewest among this file's steps by capacity")
    expect(page.locator("#effects .predicted")).to_contain_text("(changed)")


def test_the_matrix_and_lines_tell_their_numbers(offline):
    offline.locator("#matrix svg").nth(1).hover(position={"x": 200, "y": 200})
    expect(offline.locator("#tip")).to_contain_text(re.compile("interference|squared norm"))
    line = offline.locator('#graph .panel[data-run="1"]').locator("[data-pair]").first
    line.dispatch_event("pointermove", {"clientX": 100, "clientY": 100})
    expect(offline.locator("#tip")).to_contain_text("% of the strongest")


def test_fewer_lines_are_drawn_from_a_higher_share(offline):
    counts = []
    for share in (0, 30, 100):
        offline.locator("#lines").fill(str(share))
        counts.append(offline.locator('#graph .panel[data-run="1"]').locator("[data-pair]").count())
    assert counts[0] > counts[1] >= counts[2] >= 1


def test_circles_can_be_dragged(offline):
    node = offline.locator('#graph .panel[data-run="1"]').locator(".node").first
    offline.locator("#graph").scroll_into_view_if_needed()
    before = node.locator("circle").bounding_box()
    offline.mouse.move(before["x"] + before["width"] / 2, before["y"] + before["height"] / 2)
    offline.mouse.down()
    offline.mouse.move(before["x"] + 60, before["y"] + 45, steps=4)
    offline.mouse.up()
    after = node.locator("circle").bounding_box()
    assert abs(after["x"] - before["x"]) + abs(after["y"] - before["y"]) > 30
    assert "word=" not in offline.url


def test_the_strongest_lines_come_back(offline):
    lines = offline.locator("#graph .lines [data-pair]")
    before, button = lines.count(), offline.locator("#strongest")
    expect(button).to_be_disabled()
    offline.locator("#lines").fill("100")
    assert lines.count() < before
    button.click()
    assert lines.count() == before
    assert "lines=" not in offline.url


def test_next_and_previous_keep_to_what_the_table_shows(offline, told):
    offline.locator("#search").fill("dull")
    matching = [row["number"] for row in told["rows"] if "dull" in row["text"].lower()]
    assert 1 < len(matching) < len(told["rows"])
    offline.locator("#table .rows .of-text button").first.click()
    for number in [*sorted(matching)[1:], min(matching)]:
        offline.locator("#next").click()
        assert f"text={number}&" in offline.url
    offline.locator("#previous").click()
    assert f"text={max(matching)}&" in offline.url


def test_newcomers_are_shown_around_until_they_close_it_for_good(open_page, exported):
    page = open_page(exported.as_uri(), offline=True, tour=True)
    tour = page.locator("#tour")
    expect(tour).to_contain_text("1 of 4")
    page.locator("#sentence .word").first.click()  # the tour is in nobody's way
    for step in (2, 3, 4):
        page.locator("#tour-next").click()
        expect(tour).to_contain_text(f"{step} of 4")
        expect(page.locator(".toured")).to_have_count(1)
        expect(page.locator("#tour-next")).to_be_focused()
    assert violations(page) == []
    page.keyboard.press("Escape")
    expect(tour).to_be_hidden()
    expect(page.locator("#tour-open")).to_be_focused()
    page.reload()
    page.wait_for_selector("svg.graph")
    expect(tour).to_be_hidden()
    page.keyboard.press("Tab")
    page.locator("#tour-open").click()
    expect(tour).to_contain_text("1 of 4")


def test_a_term_tells_its_meaning_to_mouse_and_keyboard(offline):
    term = offline.locator("#headlines .term").first
    tip = offline.locator("#tip")
    term.hover()
    expect(tip).to_contain_text("How much of its own direction")
    offline.locator("h1").hover()
    expect(tip).to_be_hidden()
    term.focus()
    expect(tip).to_contain_text("How much of its own direction")
    offline.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    for other in offline.locator("[data-term]").all():
        other.focus()
        expect(tip).not_to_have_text("")


def test_what_was_not_read_of_a_text_is_grey(live):
    live.locator("#typed").fill("film " * 200 + "dull plot")
    live.locator("#ask button").click()
    expect(panel_of(live, "sentence", 1).locator(".unread")).to_contain_text("film film dull plot")


def test_a_long_text_shows_its_strongest_words_first(open_page, tmp_path):
    made = explain(tiny.model(), tiny.tokenizer(), "a bright film and a dull plot " * 7)
    (tmp_path / "page.html").write_text(made.explore().html, encoding="utf-8")
    page = open_page((tmp_path / "page.html").as_uri(), offline=True)
    panel = page.locator("#sentence .panel")
    strongest = [int(word.get_attribute("data-word")) for word in panel.locator(".strongest .word").all()]
    assert (
        strongest
        == np.argsort(-np.array([float(f"{value:.4g}") for value in made.capacity]), kind="stable")[:10].tolist()
    )
    in_text = panel.locator(".words .word").all_text_contents()
    select(page, "word-order", "strength")
    strengths = shares_of(panel.locator(".words"))
    assert strengths == sorted(strengths, reverse=True)
    assert sorted(panel.locator(".words .word").all_text_contents()) == sorted(in_text)
    select(page, "word-order", "text")
    assert panel.locator(".words .word").all_text_contents() == in_text


def test_a_change_keeps_open_tables_and_the_focus(offline):
    panel = panel_of(offline, "bars", 1)
    panel.locator(".numbers summary").click()
    expect(panel.locator("tbody tr").first).to_be_visible()
    slider = offline.locator("#count")
    slider.focus()
    offline.keyboard.press("ArrowRight")
    word = panel_of(offline, "sentence", 1).locator(".word").nth(3)
    word.focus()
    node = word.element_handle()
    offline.keyboard.press("Enter")
    expect(word).to_be_focused()
    select(offline, "measure", "polysemanticity")
    assert node.evaluate("node => node.isConnected")
    expect(panel.locator("tbody tr").first).to_be_visible()
    expect(panel.locator("thead")).to_contain_text("Polysemanticity")


def test_the_page_prints_on_few_pages_with_its_shading(offline):
    offline.emulate_media(media="print")
    word = offline.locator("#sentence .word").first
    assert word.evaluate("node => getComputedStyle(node).printColorAdjust") == "exact"
    for hidden in ("#deletion", "#texts", ".save"):
        expect(offline.locator(hidden).first).to_be_hidden()
    printed = offline.pdf(format="A4")
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) <= 4
    expect(offline.locator("#score-table table")).to_be_visible()


@pytest.mark.parametrize("width", [360, 390])
def test_a_phone_shows_every_score(open_page, exported, width):
    page = open_page(exported.as_uri(), width=width, offline=True)
    cells = page.locator("#score-table td")
    assert cells.count() == 12
    for cell in cells.all():
        box = cell.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    assert page.locator("#score-table .scroll").evaluate("node => node.scrollWidth - node.clientWidth") <= 0


def test_the_first_line_says_how_often_every_run_is_right(offline, told):
    accuracies = [f"{run['name']} {percent(run['scores']['accuracy']['value'])}" for run in told["runs"]]
    assert len(accuracies) > 1
    expect(offline.locator("#about")).to_contain_text(f"accuracy on the test texts: {', '.join(accuracies)}")
    offline.locator("#beside").select_option(index=0)
    expect(offline.locator("#about")).to_contain_text(", ".join(accuracies))


def test_the_scores_say_how_many_words_hold_half_of_the_relevance(offline, told):
    cells = offline.locator('#score-table td[data-head="words with half of the relevance"]').all_inner_texts()
    estimates = [run["half_words"] for run in told["runs"]]
    assert cells == ["{value:.1f} [{low:.1f}, {high:.1f}]".format(**estimate) for estimate in estimates]


def test_the_table_searches_filters_sorts_and_opens(offline, told):
    rows = offline.locator("#table [data-row]")
    everything = told["rows"]
    expect(offline.locator("#found")).to_contain_text(f"{len(everything)} texts")
    offline.locator("#search").fill("DULL")
    matching = [row for row in everything if "dull" in row["text"].lower()]
    expect(offline.locator("#found")).to_contain_text(f"{len(matching)} text")
    offline.locator("#search").fill("")
    select(offline, "outcome", "wrong")
    wrong = [row for row in everything if set(row["predictions"].values()) != {row["label"]}]
    expect(offline.locator("#found")).to_contain_text(f"{len(wrong)} text")
    select(offline, "outcome", "")
    select(offline, "label", tiny.LABELS[1])
    expect(offline.locator("#found")).to_contain_text(f"{sum(r['label'] == tiny.LABELS[1] for r in everything)} text")
    select(offline, "label", "")
    offline.locator("#longest").fill("6")
    expect(offline.locator("#found")).to_contain_text(f"{sum(r['words'] >= 6 for r in everything)} text")
    offline.locator("#longest").fill("")
    offline.locator("#effect").fill("1")
    large = [row for row in everything if any((effect or 0) >= 0.01 for effect in row["effects"].values())]
    expect(offline.locator("#found")).to_contain_text(f"{len(large)} text")
    offline.locator("#effect").fill("")
    offline.get_by_role("button", name="Words", exact=True).click()
    assert [int(n) for n in rows.locator(".of-words").all_text_contents()][:3] == sorted(
        (row["words"] for row in everything), reverse=True
    )[:3]
    button = rows.locator(".of-text button").nth(3)
    text = button.inner_text()
    button.click()
    expect(offline.locator("#sentence .word").first).to_have_text(text.split()[0])


def test_a_run_without_srs_has_dashes_and_says_why_once(open_page, single_word_run, tmp_path):
    page = open_page(export_page([single_word_run], tmp_path / "page.html").as_uri())
    cells = page.locator("#score-table tbody td").all_text_contents()
    assert cells[0].startswith(f"{100 * single_word_run.scores['accuracy']['value']:.1f} [")
    assert cells[1:] == [*["–"] * 4, "1.0 [1.0, 1.0]"], "half of a single word is that word"
    reason = "single words: each of the 12 texts holds one word, so nothing can be deleted."
    assert page.locator("#scores .note").all_text_contents().count(reason) == 1
    assert "Accuracy as words are deleted" not in page.locator("#curves h3").all_text_contents()
    assert set(page.locator("#table [data-row] .of-effect").all_text_contents()) == {""}
    expect(page.locator("#count-said")).to_have_text("0 of 1 word")


def test_ten_thousand_rows_scroll_without_ten_thousand_elements(open_page, exported, told, tmp_path):
    many = [{**told["rows"][0], "number": number, "words": number} for number in range(10_000)]
    many[0]["number"] = told["rows"][0]["number"]
    page_text = exported.read_text(encoding="utf-8")
    data = json.dumps({**told, "rows": [told["rows"][0], *many[1:]]}).replace("<", "\\u003c")
    whole = re.sub(
        r'(id="contents">).*?(</script>)', lambda found: found[1] + data + found[2], page_text, flags=re.DOTALL
    )
    (tmp_path / "many.html").write_text(whole, encoding="utf-8")
    page = open_page((tmp_path / "many.html").as_uri(), offline=True)
    expect(page.locator("#found")).to_contain_text("10,000 texts")
    assert page.locator("#table [data-row]").count() < 60
    page.locator("#table .scroll").evaluate("each => { each.scrollTop = each.scrollHeight / 2; }")
    expect(page.locator('#table [data-row="5000"]')).to_be_attached()
    took = page.evaluate(
        """() => { const started = performance.now(); const field = document.getElementById("search");
        field.value = "film"; field.dispatchEvent(new Event("input")); return performance.now() - started; }"""
    )
    assert took < 2000  # a tenth of this on a machine that has nothing else to do


def saved(page, section, run, kind):
    """The bytes of a file that a panel's button saves, and its name."""
    menu = panel_of(page, section, run).locator(".save")
    menu.locator("summary").click()
    button = menu.locator("button", has_text=re.compile(f"^{kind}$"))
    with page.expect_download() as download:
        button.click()
    return Path(download.value.path()).read_bytes(), download.value.suggested_filename


@pytest.mark.parametrize("section", ["graph", "bars", "neurons", "matrix", "what-if"])
def test_pictures_are_saved_as_svg_and_png_that_stand_alone(offline, section, chromium):
    content, name = saved(offline, section, 1, "SVG")
    assert re.fullmatch(r"safr-[a-z-]+-safr(-and-baseline)?-fc1(_out)?\.0\.svg", name)
    root = ElementTree.fromstring(content)
    assert root.tag.endswith("svg")
    key = offline.locator(f"#{section} [data-key]")
    written = " ".join(node.text or "" for node in root.iter("{http://www.w3.org/2000/svg}text"))
    assert re.search(", safr( and baseline)?, ", written)
    assert key.count() == 0 or " ".join(key.inner_text().split()) in " ".join(written.split())
    assert b"var(" not in content
    assert b"light-dark" not in content
    alone = chromium.new_page()
    alone.set_content(content.decode("utf-8"))
    assert alone.locator("text").count() > 3
    alone.close()
    picture, name = saved(offline, section, 1, "PNG")
    assert name.endswith(".png")
    assert picture.startswith(b"\x89PNG\r\n")
    width, height = struct.unpack(">II", picture[16:24])
    assert abs(width / 2 - float(root.get("width"))) <= 1
    assert abs(height / 2 - float(root.get("height"))) <= 1


def test_the_names_of_many_runs_stand_beside_their_own_lines(open_page, safr_run, tmp_path):
    names = [f"sst2_paper-0.1-0.1-seed{seed}" for seed in range(5)]
    runs = [Run(shutil.copytree(safr_run.folder, tmp_path / name)) for name in names]
    page = open_page(export_page(runs, tmp_path / "page.html", texts=1).as_uri())
    boxes = """found => found.map(key => [key.querySelector("line"), key.querySelector("text"), key.closest("svg")]
        .map(part => part.getBoundingClientRect()).map(box => [box.left, box.right, box.top, box.bottom]))"""
    found = page.locator("#scores svg g.key").evaluate_all(boxes)
    assert len(found) >= 5
    for line, text, picture in found:
        assert picture[0] <= line[0] < line[1] < text[0] < text[1] <= picture[1]
        assert text[0] - line[1] < 20
    for (_, one, chart), (other, _, same) in itertools.pairwise(found):
        assert chart != same or one[1] < other[0] or one[3] <= other[2] + 20
    marks = (
        page.locator("#scores svg")
        .first.locator("g.key path.mark")
        .evaluate_all("found => found.map(mark => mark.getAttribute('d').replace(/^M[^m]*/, ''))")
    )
    assert len(set(marks)) == 5, "each run has a mark of its own, for whoever can't tell the colours apart"


def test_the_numbers_of_a_view_are_saved_as_csv_and_json(offline, told):
    reading = told["readings"]["safr"][str(told["rows"][0]["number"])]
    content, name = saved(offline, "bars", 1, "CSV")
    assert name == "safr-capacity-safr-and-baseline-fc1.0.csv"
    rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))
    assert rows[0] == ["word", "Capacity, safr", "Capacity, baseline"]
    assert [float(value) for _, value, _ in rows[1:]] == reading["sites"]["fc1.0"]["capacity"]
    content, _ = saved(offline, "matrix", 1, "JSON")
    table = json.loads(content)
    assert len(table["rows"]) == len(reading["words"])
    for section in ("sentence", "graph", "what-if"):
        assert saved(offline, section, 1, "CSV")[0].startswith(b"\xef\xbb\xbf")


def test_the_numbers_can_be_read_in_a_table(offline):
    panel = offline.locator('#matrix .panel[data-run="1"]')
    panel.locator(".numbers summary").click()
    words = offline.locator('#sentence .panel[data-run="1"]').locator(".word").count()
    expect(panel.locator("tbody tr")).to_have_count(words)


def test_bars_that_stay_in_view_beside_the_graph_cover_nothing_below_it(open_page, exported):
    page = open_page(exported.as_uri(), offline=True, unfold=False)
    for section in ("what-if", "scores", "texts"):
        covered = page.evaluate(
            """section => {
                const summary = document.querySelector(`#${section} summary`);
                summary.scrollIntoView({ block: "start" });
                const { right, top, height } = summary.getBoundingClientRect();
                return !document.elementFromPoint(right - 40, top + height / 2)?.closest(`#${section}`);
            }""",
            section,
        )
        assert not covered, section


def test_a_link_opens_the_same_view(offline, told, open_page):
    offline.locator("#site label", has_text="FC2").click()
    select(offline, "measure", "polysemanticity")
    offline.locator("#count").fill("2")
    offline.locator("#lines").fill("40")
    offline.locator("#sentence .word").first.click()
    offline.locator("#next").click()
    offline.locator("#count").fill("2")
    same = open_page(offline.url, offline=True)
    for section in ("sentence", "bars", "matrix", "what-if"):
        assert same.locator(f"#{section} .panels").inner_text() == offline.locator(f"#{section} .panels").inner_text()
    assert same.locator("#lines").input_value() == "40"
    assert same.locator("#measure").input_value() == "polysemanticity"


@pytest.mark.parametrize(
    "hash_", ["#run=nothing&beside=none&text=99999&site=x&layer=77&measure=y&k=z&count=9999", "#%00%ff"]
)
def test_a_link_that_means_nothing_opens_the_first_text(open_page, exported, hash_):
    page = open_page(exported.as_uri() + hash_, offline=True)
    assert page.locator("#graph .node").count() > 1


def test_the_colours_can_be_switched_and_follow_the_system(open_page, exported):
    # With the tour: closing it writes to the store as the page is loaded, and Chromium then loses other writes.
    page = open_page(exported.as_uri(), scheme="dark", offline=True, tour=True)
    colour = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(colour)
    page.locator("#theme").click()
    light = page.evaluate(colour)
    assert light != dark
    page.locator("#theme").click()
    assert page.evaluate(colour) == dark
    page.reload()
    page.wait_for_selector("svg.graph")
    assert page.locator("html").get_attribute("data-theme") == "dark"


@pytest.mark.parametrize("width", [360, 768, 1280, 3840])
def test_nothing_is_cut_off_at_any_width(open_page, exported, width):
    page = open_page(exported.as_uri(), width=width, offline=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for picture in page.locator(".panels svg").all():
        box = picture.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width + 1


def test_hostile_test_texts_are_shown_as_text(open_page, exported, told):
    for row in told["rows"][:2]:  # the examples of the report
        page = open_page(f"{exported.as_uri()}#text={row['number']}&run=safr&beside=baseline", offline=True)
        words = told["readings"]["safr"][str(row["number"])]["words"]
        found = page.locator('#sentence .panel[data-run="1"]').locator(".word bdi").all_text_contents()
        assert [each.replace("\ufffd", "") for each in found] == [
            re.sub(r"[\x00-\x1f\ufffd]", "", word) for word in words
        ]


def test_a_typed_sentence_is_explained_while_typing(live, readers):
    live.locator("#typed").fill("a bright film and a dull plot")
    made = readers[1].explain("a bright film and a dull plot")
    panel = live.locator('#sentence .panel[data-run="1"]')
    expect(panel.locator(".word")).to_have_text(list(made.words))
    expect(panel.locator(".predicted b")).to_have_text(made.prediction)
    expect(panel.locator(".predicted")).to_contain_text(f"{100 * made.probabilities[made.prediction]:.1f} %")
    found = [value for _, value in bars(live, 1)]
    assert found == [digits(float(f"{value:.4g}")) for value in made.capacity]
    assert "typed=a+bright" in live.url
    live.reload()
    expect(live.locator('#sentence .panel[data-run="1"]').locator(".word")).to_have_text(list(made.words))


def test_words_that_were_not_read_are_marked_in_the_text_and_in_every_picture(open_page, words_exported):
    page, told = open_page(words_exported.as_uri(), offline=True), contents_of(words_exported.read_text("utf-8"))
    reading = told["readings"]["safr"][str(told["rows"][0]["number"])]
    count = sum(reading["unknown"])
    assert count > 1
    shown = [" ".join(word.split()) for word in page.locator("#sentence .word").all_text_contents()]
    assert [word.endswith("†, unknown to the tokenizer") for word in shown] == reading["unknown"]
    expect(page.locator("#sentence .note")).to_contain_text(f"† {count} of {len(reading['words'])} words are unknown")
    assert [name.endswith("†") for name, _ in bars(page)] == reading["unknown"]
    expect(page.locator("#bars .bar.hollow")).to_have_count(count)
    expect(page.locator("#graph .circle.unknown")).to_have_count(count)
    assert sum(name.endswith("†") for name in page.locator("#matrix svg text").all_text_contents()) == 2 * count
    assert page.locator("#matrix .crosses").get_attribute("d").count("M") == count * (count - 1)
    for section in ("graph", "bars", "matrix"):
        expect(page.locator(f"#{section} .note")).to_contain_text("† unknown to the tokenizer")
    unknown = {number for number, is_unknown in enumerate(reading["unknown"]) if is_unknown}
    pairs = [line.get_attribute("data-pair") for line in page.locator("#graph [data-pair]").all()]
    assert pairs
    assert not any({int(word) for word in pair.split(",")} <= unknown for pair in pairs)
    page.locator("#sentence .word.unknown").first.hover()
    expect(page.locator("#marked")).to_contain_text(", unknown to the tokenizer: capacity ")
    assert violations(page) == []


def test_attention_between_words_that_were_not_read_is_drawn(open_page, words_exported):
    page = open_page(words_exported.as_uri(), offline=True)
    page.locator("#site label", has_text=re.compile("^Attention$")).click()
    assert page.locator("#matrix .crosses").get_attribute("d") == ""
    expect(page.locator("#matrix .note")).not_to_contain_text("crossed")


def test_words_that_were_not_read_are_marked_while_typing(open_page, safr_run):
    session = open_session(safr_run)
    application = create_app([session], live_payload([session], list_texts([safr_run])))
    with running(AccessMiddleware(application, hosts=LOCAL, token=None)) as address:
        page = open_page(f"{address}/")
        page.locator("#typed").fill("a Masterpiece film")
        expect(page.locator("#sentence .word.unknown bdi")).to_have_text(["Masterpiece"])
        expect(page.locator("#sentence .note")).to_contain_text("1 of 3 words is unknown to the tokenizer")
        page.locator("#typed").fill("a film")
        expect(page.locator("#sentence .word")).to_have_count(2)
        expect(page.locator(".unknown, .hollow")).to_have_count(0)
        expect(page.locator("main")).to_have_attribute("aria-busy", "false")  # nothing is asked of the server any more


def test_a_text_that_is_opened_is_not_replaced_by_what_was_being_typed(live):
    live.locator("#typed").fill("a bright film")
    live.locator("#next").click()
    live.wait_for_timeout(700)  # longer than the page waits for more letters
    assert "typed=" not in live.url


def test_any_words_can_be_deleted_live(live, readers):
    text = "a bright film and a dull plot"
    live.locator("#typed").fill(text)
    live.locator("#ask button").click()
    panel = panel_of(live, "sentence", 1)
    expect(panel.locator(".word")).to_have_count(7)
    for number in (5, 1, 3):
        panel.locator(f'[data-word="{number}"]').click()
    expected = readers[1].predict_without(text, {1, 3, 5})
    expect(effect_of(live, 1).locator(".predicted b")).to_have_text(expected.prediction)
    expect(effect_of(live, 1).locator(".predicted")).to_contain_text(percent(expected.followed))
    live.locator("#restore").click()
    expect(panel.locator('[aria-pressed="true"]')).to_have_count(0)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_sentences_are_shown_as_text(live, text):
    live.locator("#typed").fill(text)
    live.locator("#ask button").click()
    first = re.sub(r"[\x00-\x1f]", "\ufffd", text).split()[0]
    expect(live.locator("#sentence .word bdi").first).to_have_text(first)
    assert live.locator("main h1, main img, main script").count() == 0


def test_nothing_typed_is_said_and_not_asked(live):
    live.locator("#typed").fill("   ")
    live.locator("#ask button").click()
    expect(live.locator("#problem")).to_have_text("Type a sentence to see how its words share the neurons.")


def test_a_server_that_is_gone_is_one_line(live, open_page):
    open_page.expected.append("ERR_INTERNET_DISCONNECTED")
    live.context.set_offline(True)
    live.locator("#typed").fill("a film")
    expect(live.locator("#problem")).to_contain_text("is `safr explore` still running?")


def violations(page):
    found = Axe().run(page)
    return [(each["id"], [node["html"][:120] for node in each["nodes"][:3]]) for each in found.response["violations"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_nothing_to_complain_about(open_page, exported, scheme, width):
    page = open_page(exported.as_uri(), scheme=scheme, width=width, offline=True)
    page.locator("#count").fill("2")
    page.locator("#bars summary").first.click()
    assert violations(page) == []


def test_axe_finds_nothing_live_either(live, chromium, server):
    assert violations(live) == []
    page = chromium.new_page()
    page.goto(f"{server}/docs")
    assert violations(page) == []
    page.close()


def test_the_page_works_inside_a_notebooks_frame(chromium):
    made = explain(tiny.model(), tiny.tokenizer(), "a bright <b>film</b>")
    page = chromium.new_page()
    complaints = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.set_content(f"<!DOCTYPE html><body>{made.explore()._repr_html_()}</body>")
    frame = page.frame_locator("iframe")
    expect(frame.locator("#sentence .word bdi")).to_have_text(["a", "bright", "<b>film</b>"])
    frame.locator("#controls summary").click()
    frame.locator("#site label", has_text="FC2").click()
    frame.locator("#matrix summary").first.click()
    expect(frame.locator("#matrix-hint")).to_contain_text("FC2")
    assert complaints == []
    page.close()


def stacks(page, run=None):
    return panel_of(page, "neurons", run).locator(".stack")


def effect_bars(page, place):
    """What stands beside the bars about neurons that are switched off."""
    return page.locator(f"{place} .effect svg .value").all_text_contents()


def test_every_neuron_of_the_text_is_a_stack_of_its_words(offline, told):
    number = str(told["rows"][0]["number"])
    for place, run in enumerate(("baseline", "safr")):
        strip = told["readings"][run][number]["neurons"]
        columns = stacks(offline, place)
        assert columns.locator(".number").all_text_contents() == [str(neuron) for neuron in strip["neurons"]]
        totals = columns.locator(".value").all_text_contents()
        assert totals == [("" if total < 0 else "+") + digits(total) for total in strip["total"]]
        content, name = saved(offline, "neurons", place, "CSV")
        assert name == f"safr-neurons-{run}-{strip['site']}.csv"
        rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
        assert {int(row["neuron"]) for row in rows} <= set(strip["neurons"])
        largest = max(abs(float(row["activation"])) for row in rows)
        for column, neuron in enumerate(strip["neurons"][:4]):
            blocks = columns.nth(column).locator(".block[data-word] .fill")
            heights = blocks.evaluate_all("found => found.map(block => Number(block.getAttribute('height')) + 0.8)")
            values = sorted(
                (abs(float(row["activation"])) for row in rows if int(row["neuron"]) == neuron), reverse=True
            )
            shares = [value / largest for value in values]
            assert [height / max(heights) for height in heights] == pytest.approx(
                [share / shares[0] for share in shares[: len(heights)]], abs=0.02
            )
    select(offline, "rank", "relevance")
    ranked = sorted(zip(strip["neurons"], strip["total"], strict=True), key=lambda pair: -abs(pair[1]))
    assert stacks(offline, 1).locator(".number").all_text_contents() == [str(neuron) for neuron, _ in ranked]


def test_words_and_neurons_light_each_other(offline):
    block = stacks(offline, 1).first.locator(".block[data-word]").first
    word = int(block.get_attribute("data-word"))
    offline.locator('#sentence .panel[data-run="1"]').locator(".word").nth(word).hover()
    expect(block).to_have_class(re.compile("marked"))
    block.hover()
    expect(offline.locator('#sentence .panel[data-run="1"]').locator(".word.marked")).to_have_count(1)
    stacks(offline, 1).first.locator(".number").hover()
    active = stacks(offline, 1).first.locator(".block[data-word]").count()
    assert offline.locator('#sentence .panel[data-run="1"]').locator(".word.marked").count() >= active


def test_a_neuron_opens_its_page_and_a_word_of_it_its_text(offline, told):
    strip = told["readings"]["safr"][str(told["rows"][0]["number"])]["neurons"]
    neuron = strip["neurons"][1]
    page = told["neuron_pages"]["safr"][str(neuron)]
    stacks(offline, 1).first.focus()
    offline.keyboard.press("ArrowRight")
    offline.keyboard.press("Enter")
    dialog = offline.locator("#neuron")
    expect(dialog.locator("h2")).to_have_text(f"Neuron {neuron}")
    expect(dialog).to_contain_text(f"{page['distinct']} different word")
    words = [re.sub(r"[\x00-\x1f]", "\ufffd", top["word"]) for top in page["top"]]
    expect(dialog.locator("li b")).to_have_text(words)
    assert dialog.locator(".about svg .value").all_text_contents() == [
        ("+" if value > 0 else "") + digits(value) for value in page["relevance"].values() if value is not None
    ]
    assert violations(offline) == []
    offline.keyboard.press("Escape")
    expect(stacks(offline, 1).nth(1)).to_be_focused()
    offline.keyboard.press("Enter")
    rows = {row["number"] for row in told["rows"]}
    place, top = next((place, top) for place, top in enumerate(page["top"]) if top["text"] in rows)
    dialog.locator("li").nth(place).locator("button").click()
    expect(dialog).to_be_hidden()
    assert f"text={top['text']}" in offline.url
    expect(offline.locator("#sentence")).to_be_focused()
    marked = offline.locator('#sentence .panel[data-run="1"]').locator(".word.marked bdi")
    expect(marked).to_have_text(words[place])


def test_the_offline_file_knows_single_neurons_and_says_what_it_does_not_know(offline, told):
    strip = told["readings"]["safr"][str(told["rows"][0]["number"])]["neurons"]
    panel = offline.locator('#neurons .panel[data-run="1"]')
    panel.locator(".switch").nth(2).click()
    expect(panel.locator(".effect .predicted")).to_contain_text(f"{100 * strip['alone'][2]:.1f} %")
    low, high = min(strip["random"]), max(strip["random"])
    expect(panel.locator(".effect svg")).to_contain_text(f"({100 * low:.1f} % to {100 * high:.1f} %)")
    expect(offline.locator("#off-told")).to_contain_text(f"Without neuron {strip['neurons'][2]}")
    panel.locator(".switch").nth(0).click()
    expect(panel.locator(".effect")).to_contain_text("`safr explore` without --export switches off several together")
    offline.locator("#switch-on").click()
    expect(offline.locator('#neurons .switch[aria-pressed="true"]')).to_have_count(0)
    expect(offline.locator("#switch-on")).to_be_disabled()


def test_any_neurons_are_switched_off_live_and_the_prediction_follows(live, readers):
    text = "a bright film and a dull plot"
    live.locator("#typed").fill(text)
    live.locator("#ask button").click()
    expect(live.locator('#sentence .panel[data-run="1"]').locator(".word")).to_have_count(7)
    expect(live.locator("main")).to_have_attribute("aria-busy", "false")  # neurons come after the words
    chosen = readers[1].read(text).neurons.neurons
    panel = live.locator('#neurons .panel[data-run="1"]')
    for place in (0, 1, 3):
        panel.locator(".switch").nth(place).click()
    expected = readers[1].switch_off(text, [chosen[place] for place in (0, 1, 3)])
    expect(panel.locator(".effect .predicted b")).to_have_text(expected.prediction)
    expect(panel.locator(".effect .predicted")).to_contain_text(f"{100 * expected.followed:.1f} %")
    stacks(live, 1).nth(4).locator(".number").click()
    dialog = live.locator("#neuron")
    expect(dialog.locator("h2")).to_have_text(f"Neuron {chosen[4]}")
    dialog.get_by_role("button", name="Switch off").click()
    expected = readers[1].switch_off(text, [chosen[place] for place in (0, 1, 3, 4)])
    expect(dialog.locator(".effect .predicted")).to_contain_text(f"{100 * expected.followed:.1f} %")
    assert f"{100 * expected.followed:.1f} %" in effect_bars(live, "#neuron")
    assert violations(live) == []


def test_a_run_that_keeps_nothing_of_its_neurons_says_so_on_their_page(open_page, safr_run, tmp_path):
    run = Run(shutil.copytree(safr_run.folder, tmp_path / "run"))
    run.neurons_file.unlink()
    page = open_page(export_page([run], tmp_path / "page.html", texts=1).as_uri(), offline=True)
    stacks(page).first.locator(".number").click()
    expect(page.locator("#neuron")).to_contain_text("This run has no table of its neurons; run `safr evaluate`")
