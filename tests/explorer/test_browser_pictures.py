"""The allocation graph, the matrix and the bars in a real browser."""

import base64
import itertools
import re

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from safr.attribution.explain import explain
from safr.figures.inputs import unknown_pairs
from tests import tiny
from tests.conftest import CHROMIUM
from tests.explorer.conftest import contents_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; install Debian's package of that name"),
]

LONG_WORDS = [
    f"{start}{'abcdefghijklm'[: 2 + 5 * place % 12]}{place}" for place, start in enumerate("wordsthatarelong" * 3)
]


@pytest.fixture
def open_graph(chromium, tmp_path):
    """Opens a page without motion, and fails on anything that a script complains about."""
    contexts, complaints = [], []

    def open_(address, *, width=1280, scheme="light"):
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        page.wait_for_selector("svg.graph")
        if "measure=" not in address:
            page.locator("#shade label", has_text="capacity").click()
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture(scope="module")
def page_of(tmp_path_factory):
    """The address of a page about a text of so many words, which makes them once."""
    folder, model = tmp_path_factory.mktemp("graphs"), tiny.model(num_hidden_layers=1)

    def make(count):
        path = folder / f"{count}.html"
        if not path.exists():
            known = ["a", "bright", "film", "and", "a", "dull", "plot"]
            text = " ".join(word for pair in zip(known * 30, LONG_WORDS * 5, strict=False) for word in pair)
            made = explain(model, tiny.tokenizer(), " ".join(text.split()[:count]))
            path.write_text(made.explore().html, encoding="utf-8")
        return path.as_uri()

    return make


@pytest.fixture(scope="module")
def told(exported):
    return contents_of(exported.read_text(encoding="utf-8"))


@pytest.fixture
def one_run(open_graph, exported):
    return open_graph(exported.as_uri() + "#run=safr&site=fc1")


@pytest.fixture
def reading(told):
    return told["readings"]["safr"][str(told["rows"][0]["number"])]


@pytest.fixture
def site(reading):
    return reading["sites"]["fc1.0"]


@pytest.fixture
def matrix(reading):
    return np.where(find_unknown_pairs(reading), 0.0, unpack(reading["sites"]["fc1.0"]))


def find_unknown_pairs(reading):
    """Pairs of words that are unknown to the tokenizer; the pictures leave them out."""
    return unknown_pairs(np.array(reading["unknown"]))


def unpack(site):
    """The matrix of one site."""
    values = np.frombuffer(base64.b64decode(site["interference"]["values"]), "<i2") * site["interference"]["unit"]
    matrix = np.diag(np.array(site["interference"]["diagonal"], dtype=float))
    rows, columns = np.triu_indices(len(matrix), k=1)
    matrix[rows, columns] = matrix[columns, rows] = values
    return matrix


def strongest(matrix, word, count):
    """Sizes of a word's strongest pairs. Words may be there twice, so the pairs themselves are not always clear."""
    return sorted(np.abs(np.delete(matrix[word], word)).tolist(), reverse=True)[:count]


def lines(page, where=".lines"):
    pairs = page.locator(f"svg.graph {where} [data-pair]").evaluate_all("all => all.map(one => one.dataset.pair)")
    return {tuple(map(int, pair.split(","))) for pair in pairs}


def boxes(page, what):
    return page.locator(f"svg.graph {what}").evaluate_all(
        "all => all.map(one => { const b = one.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]; })"
    )


def test_every_word_has_the_lines_of_its_two_strongest_pairs(one_run, matrix):
    drawn, second = lines(one_run), [strongest(matrix, word, 2)[-1] for word in range(len(matrix))]
    for word in range(len(matrix)):
        assert sorted(abs(matrix[pair]) for pair in drawn if word in pair)[-2:] == strongest(matrix, word, 2)[::-1]
    for pair in drawn:
        assert abs(matrix[pair]) >= min(second[word] for word in pair)
        kind = "negative" if matrix[pair] < 0 else "positive"
        shown = one_run.locator(f'svg.graph [data-pair="{pair[0]},{pair[1]}"]')
        assert kind in shown.get_attribute("class").split()
    expect(one_run.locator("#lines-from")).to_have_text("each word's two strongest pairs")


def test_a_word_without_lines_shows_its_five_strongest_pairs_while_it_is_marked(one_run, matrix):
    one_run.locator("#lines").fill("100")
    ((i, j),) = lines(one_run)
    word = next(word for word in range(len(matrix)) if word not in (i, j))
    one_run.locator(f'svg.graph .node[data-word="{word}"]').dispatch_event("pointerenter", {"pointerType": "mouse"})
    drawn = sorted((abs(matrix[pair]) for pair in lines(one_run, ".marked-lines")), reverse=True)
    assert drawn == strongest(matrix, word, 5)
    expect(one_run.locator("svg.graph .lines .aside")).to_have_count(1)
    other = np.abs(np.where(np.arange(len(matrix)) == word, 0, matrix[word])).argmax()
    cosine = matrix[word, other] / np.sqrt(matrix[word, word] * matrix[other, other])
    expect(one_run.locator("#tip")).to_contain_text(f"cosine {cosine:.3g}".replace("-", "−"))
    one_run.locator(f'svg.graph .node[data-word="{word}"]').dispatch_event("pointerleave")
    assert lines(one_run, ".marked-lines") == set()


@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_no_two_labels_overlap_and_none_is_cut(open_graph, page_of, width):
    for count in (1, 26, 40):
        page = open_graph(page_of(count), width=width)
        labels, (left, top, right, _) = boxes(page, ".label"), boxes(page, ".ground")[0]
        picture = page.locator("svg.graph").bounding_box()
        assert len(labels) == min(count, 30)
        for i, one in enumerate(labels):
            assert one[0] >= left - 1
            assert one[2] <= right + 1
            assert one[1] >= picture["y"] - 1
            assert one[3] <= top + 1
            for other in labels[:i]:
                across, down = (min(one[2 + k], other[2 + k]) - max(one[k], other[k]) for k in (0, 1))
                assert min(across, down) < 0.5, (count, one, other)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_graph_uses_the_width_of_its_panel(open_graph, page_of):
    page = open_graph(page_of(26), width=1920)
    drawn = boxes(page, ".nodes .circle") + boxes(page, ".label")
    panel = page.locator("#graph .panel").bounding_box()["width"]
    assert max(box[2] for box in drawn) - min(box[0] for box in drawn) > 0.85 * panel
    assert page.locator("svg.graph").bounding_box()["height"] < 800


def test_circles_stand_where_the_explanation_says(open_graph, page_of):
    page = open_graph(page_of(40))
    reading = next(iter(next(iter(contents_of(page.content())["readings"].values())).values()))
    packed = np.frombuffer(base64.b64decode(reading["layouts"]["fc1.0"]), np.uint8).reshape(-1, 2).astype(float)
    centres = np.array([[(box[0] + box[2]) / 2, (box[1] + box[3]) / 2] for box in boxes(page, ".nodes .circle")])
    shown = page.locator("svg.graph .node").evaluate_all("all => all.map(one => Number(one.dataset.word))")
    capacity = np.nan_to_num(np.array(reading["sites"]["fc1.0"]["capacity"], dtype=float))
    assert shown == sorted(np.argsort(-capacity, kind="stable")[:30].tolist())
    for axis in (0, 1):  # what pushing apart leaves of it
        assert np.corrcoef(packed[:, axis], centres[:, axis])[0, 1] > 0.9


def test_a_circle_is_larger_and_darker_where_capacity_is_higher_and_the_key_says_so(one_run, site, matrix):
    radii = one_run.locator("svg.graph .nodes .circle").evaluate_all(
        "all => all.map(one => Number(one.getAttribute('r')))"
    )
    shares = one_run.locator("svg.graph .nodes .circle").evaluate_all(
        "all => all.map(one => Number(one.style.getPropertyValue('--share')))"
    )
    assert shares == pytest.approx(site["capacity"], abs=1e-3)
    assert np.argsort(radii).tolist() == np.argsort(shares).tolist() or len(set(radii)) < len(radii)
    fills = one_run.locator("svg.graph .key-of-graph .circle").evaluate_all(
        "all => all.map(one => getComputedStyle(one).fill)"
    )
    assert len(set(fills)) == 3
    key = one_run.locator("svg.graph .key-text").all_text_contents()
    assert key[:4] == ["capacity", "0.1", "0.5", "1"]
    drawn = [matrix[pair] for pair in lines(one_run)]
    strong = [v for word, row in enumerate(matrix) for v in row if abs(v) in strongest(matrix, word, 5)]
    assert ("positive interference" in key) == (max(drawn + strong) > 0)
    assert ("negative interference" in key) == (min(drawn + strong) < 0)


def drag(page, word, dx, dy):
    circle = page.locator(f'svg.graph .node[data-word="{word}"] .circle')
    circle.scroll_into_view_if_needed()
    box = circle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + dx, y + dy, steps=3)
    page.mouse.up()


def place(page, word=0):
    return page.locator(f'svg.graph .node[data-word="{word}"]').get_attribute("transform")


def choose_site(page, name):
    page.evaluate("document.getElementById('controls').open = true")
    page.locator("#site label", has_text=re.compile(f"^{name}$")).click()


def test_drags_stay_when_the_graph_is_drawn_again_until_it_is_reset(one_run):
    before = place(one_run)
    drag(one_run, 0, 60, 40)
    dragged = place(one_run)
    assert dragged != before
    one_run.locator("#lines").fill("20")
    assert place(one_run) == dragged
    choose_site(one_run, "FC2")
    assert place(one_run) != dragged
    choose_site(one_run, "FC1")
    assert place(one_run) == dragged
    one_run.get_by_role("button", name="Show all").click()
    assert place(one_run) == before


def test_the_graph_is_zoomed_by_buttons_keys_and_wheel_and_stays_so(one_run):
    view = one_run.locator("svg.graph .view")
    whole = view.get_attribute("transform")
    one_run.get_by_role("button", name="Zoom in").click()
    assert view.get_attribute("transform").startswith("scale(1.5")
    choose_site(one_run, "FC2")
    assert view.get_attribute("transform").startswith("scale(1.5")
    one_run.locator("svg.graph").focus()
    one_run.keyboard.press("+")
    zoomed = view.get_attribute("transform")
    assert zoomed.startswith("scale(2.25")
    one_run.keyboard.press("ArrowRight")
    assert view.get_attribute("transform") != zoomed
    expect(one_run.locator("svg.graph")).to_be_focused()
    one_run.keyboard.press("0")
    assert view.get_attribute("transform") == whole
    one_run.locator("svg.graph").hover()
    one_run.keyboard.down("Control")
    one_run.mouse.wheel(0, -100)
    one_run.keyboard.up("Control")
    expect(view).to_have_attribute("transform", re.compile(r"scale\(1\.6"))
    before = view.get_attribute("transform")
    box = one_run.locator("svg.graph").bounding_box()
    one_run.mouse.move(box["x"] + box["width"] - 4, box["y"] + 4)
    one_run.mouse.down()
    one_run.mouse.move(box["x"] + box["width"] - 80, box["y"] + 4, steps=3)
    one_run.mouse.up()
    assert view.get_attribute("transform") != before


def test_circles_are_the_same_nodes_after_another_site_is_chosen(one_run):
    one_run.locator("svg.graph .node").evaluate_all("all => all.forEach((one, place) => { one.seen = place; })")
    before = place(one_run)
    choose_site(one_run, "FC2")
    seen = one_run.locator("svg.graph .node").evaluate_all("all => all.map(one => one.seen)")
    assert seen == list(range(len(seen)))
    assert place(one_run) != before


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (3840, "dark")])
def test_axe_finds_nothing_in_a_crowded_graph(open_graph, page_of, width, scheme):
    page = open_graph(page_of(40), width=width, scheme=scheme)
    page.get_by_role("button", name="Zoom in").click()
    found = Axe().run(page).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"][:100]) for each in found] == []


def open_matrix(open_graph, address, **values):
    return open_graph("&".join([f"{address}#open=matrix", *(f"{name}={value}" for name, value in values.items())]))


def table_of(page, section):
    """The table of numbers of a section, without its head."""
    page.locator(f"#{section} summary", has_text="Table of numbers").first.click()
    rows = page.locator(f"#{section} .numbers").first.locator("tbody tr")
    expect(rows.first).to_be_visible()  # it is filled when it has unfolded
    return np.array([[float(cell) for cell in row.locator("td").all_text_contents()] for row in rows.all()])


def test_labels_of_the_matrix_do_not_overlap(open_graph, page_of):
    page = open_matrix(open_graph, page_of(40))
    labels = page.locator("svg.matrix > text").evaluate_all(
        "all => all.map(one => { const b = one.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]; })"
    )
    assert len(labels) == 80
    for i, one in enumerate(labels):
        for other in labels[:i]:
            across, down = (min(one[2 + k], other[2 + k]) - max(one[k], other[k]) for k in (0, 1))
            assert min(across, down) < 2.5  # a line of text is higher than its letters


def find_clipped(item):
    """Number of a text, the limit of its scale and its largest pair; None if no pair stands out."""
    number, reading = item
    counts = ~find_unknown_pairs(reading) & ~np.eye(len(reading["words"]), dtype=bool)
    sizes = np.sort(np.abs(unpack(reading["sites"]["fc1.0"])[counts]))[::-1]
    limit = sizes[int(0.02 * len(sizes))] if len(sizes) else 0
    return (number, limit, sizes[0]) if 0 < limit < sizes[0] else None


def test_a_pair_that_stands_out_does_not_take_the_colours_of_the_others(open_graph, exported, told):
    number, limit, largest = next(found for found in map(find_clipped, told["readings"]["safr"].items()) if found)
    page = open_matrix(open_graph, exported.as_uri(), run="safr", text=number, site="fc1")
    scale = page.locator("svg.matrix .scale text").all_text_contents()
    assert scale[-1] == f"≥ {limit:#.3g}"
    expect(page.locator("#matrix .note")).to_contain_text(f"The strongest 2 % of the pairs, up to {largest:#.3g}")


def test_clusters_put_the_same_words_beside_each_other(open_graph, exported, reading, matrix):
    page = open_matrix(open_graph, exported.as_uri(), run="safr", arrangement="clusters")
    words = reading["words"]
    order = page.locator("svg.matrix > text").evaluate_all("all => all.map(one => Number(one.dataset.word))")[::2]
    assert sorted(order) == list(range(len(words)))
    assert order != sorted(order)
    nearness = lambda rows: np.mean([matrix[i, j] for i, j in itertools.pairwise(rows)])  # noqa: E731
    assert nearness(order) > nearness(range(len(words)))
    page.locator("#arrangement").select_option("text")
    order = page.locator("svg.matrix > text").evaluate_all("all => all.map(one => Number(one.dataset.word))")[::2]
    assert order == sorted(order)


def test_the_matrix_shows_cosines_and_the_difference_of_two_runs(open_graph, exported, told):
    number = str(told["rows"][0]["number"])
    cosines = []
    for run in ("safr", "baseline"):
        matrix = unpack(told["readings"][run][number]["sites"]["fc1.0"])
        norms = np.sqrt(matrix.diagonal())
        cosines.append(matrix / np.outer(norms, norms))
    address = exported.as_uri()
    page = open_matrix(open_graph, address, run="safr", beside="baseline", site="fc1", cells="cosines")
    expect(page.locator("#matrix .panel")).to_have_count(2)
    np.testing.assert_allclose(table_of(page, "matrix"), cosines[0], atol=2e-3)
    assert page.locator("svg.matrix").first.locator(".scale text").all_text_contents()[-1] == "1.00"
    page.locator("#cells").select_option("difference")
    expect(page.locator("#matrix .panel")).to_have_count(1)
    expect(page.locator("#matrix .note")).to_contain_text("safr minus baseline.")
    np.testing.assert_allclose(table_of(page, "matrix"), cosines[0] - cosines[1], atol=4e-3)
    page.locator("#beside").select_option("")
    expect(page.locator("#matrix")).to_contain_text("Choose a second run to see the difference.")


def test_two_runs_share_one_chart_with_a_mark_for_each(open_graph, exported, told):
    page = open_graph(exported.as_uri() + "#run=safr&beside=baseline&site=fc1")
    number = str(told["rows"][0]["number"])
    values = np.array([told["readings"][run][number]["sites"]["fc1.0"]["capacity"] for run in ("safr", "baseline")])
    expect(page.locator("#bars .panel")).to_have_count(1)
    marks = page.locator("#bars .word-row .dumbbell-mark").evaluate_all(
        "all => all.map(one => { const b = one.getBoundingClientRect(); return (b.left + b.right) / 2; })"
    )
    assert np.corrcoef(np.reshape(marks, (-1, 2)).T.ravel(), values.ravel())[0, 1] > 0.999
    shapes = page.locator("#bars .word-row").first.locator(".dumbbell-mark")
    assert len({shape.get_attribute("d") for shape in shapes.all()}) == 2
    assert page.locator("#bars .legend text").all_text_contents() == ["safr", "baseline"]
    page.locator("#row-order").select_option("size")
    order = page.locator("#bars .word-row").evaluate_all("all => all.map(one => Number(one.dataset.word))")
    gaps = np.abs(values[0] - values[1])[order]
    assert (np.diff(gaps) <= 1e-12).all()
    found = Axe().run(page).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"][:100]) for each in found] == []


def test_bars_of_one_run_can_be_sorted_by_size(one_run, site):
    one_run.locator("#row-order").select_option("size")
    order = one_run.locator("#bars .word-row").evaluate_all("all => all.map(one => Number(one.dataset.word))")
    assert (np.diff(np.abs(np.array(site["capacity"]))[order]) <= 0).all()
