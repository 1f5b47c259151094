# ruff: noqa: F401, F811 - fixtures of the other tests in a browser
"""The table of words and the scrubber of the training, in a real browser."""

import csv

import pytest
from playwright.sync_api import expect

from safr.explorer import export_page
from tests.explorer.test_browser import live, offline, open_page, pytestmark, rewrite, told


@pytest.fixture
def table(offline):
    """The table of words with all words."""
    offline.locator("#word-texts").fill("1")
    return offline.locator("#word-table")


def scrub(page, epoch):
    page.locator("#epoch").evaluate(
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }", epoch
    )


def capacities(page, run):
    return page.locator(f'#parting .panel[data-run="{run}"] .riser .value').all_text_contents()


def words_shown(table):
    return table.locator("tbody th").all_text_contents()


def test_the_slider_shows_the_words_of_all_runs_at_one_epoch(offline, told):
    for epoch in (0, 2):
        scrub(offline, epoch)
        for number, name in enumerate(("baseline", "safr")):
            line = told["word_histories"][name]["epochs"][epoch]
            assert capacities(offline, number) == [f"{value:.2f}" for value in line["capacity"][0]]
            panel = offline.locator(f'#parting .panel[data-run="{number}"]')
            expect(panel.locator(".predicted b")).to_have_text(line["prediction"][0])
            accuracy = "" if epoch == 0 else f"accuracy on the dev split {100 * line['accuracy']:.1f} %"
            expect(panel).to_contain_text(accuracy)
    expect(offline.locator("#epoch-said")).to_have_text("after epoch 2 of 2")
    offline.locator("#followed").select_option("1")
    line = told["word_histories"]["safr"]["epochs"][2]
    assert capacities(offline, 1) == [f"{value:.2f}" for value in line["capacity"][1]]


def test_bars_are_as_high_as_capacity_on_a_scale_to_1(offline, told):
    values = told["word_histories"]["safr"]["epochs"][2]["capacity"][0]
    offline.wait_for_timeout(600)  # until they have moved
    heights = offline.locator('#parting .panel[data-run="1"] .riser').evaluate_all(
        "all => all.map(one => one.querySelector('.rise').clientHeight / one.querySelector('.shaft').clientHeight)"
    )
    assert heights == pytest.approx(values, abs=0.03)


def test_playing_begins_again_and_ends_with_the_last_epoch(offline):
    offline.locator("#play").click()
    expect(offline.locator("#epoch-said")).to_have_text("before training")
    expect(offline.locator("#play")).to_have_text("Pause")
    first = offline.locator("#parting .riser").first.element_handle()
    expect(offline.locator("#epoch-said")).to_have_text("after epoch 2 of 2")
    expect(offline.locator("#play")).to_have_text("Play")
    assert first.evaluate("node => node.isConnected"), "the words stay, so that their bars can move"


def test_a_run_without_a_history_says_so_and_none_at_all_hides_the_section(open_page, exported, told, tmp_path):
    one = {**told, "word_histories": {"safr": told["word_histories"]["safr"]}}
    page = open_page(rewrite(exported, one, tmp_path).as_uri())
    expect(page.locator('#parting .panel[data-run="0"]')).to_contain_text("baseline has no such history.")
    expect(page.locator('#parting .panel[data-run="1"] .riser').first).to_be_visible()
    page = open_page(rewrite(exported, {**told, "word_histories": {}, "words": {}}, tmp_path).as_uri())
    expect(page.locator("#parting")).to_be_hidden()
    expect(page.locator("#words")).to_be_hidden()


def test_words_are_sorted_by_each_column(offline, table, told):
    words = told["words"]["safr"]
    by_capacity = dict(zip(words["words"], words["capacity"], strict=True))
    shown = words_shown(table)
    assert [by_capacity[word] for word in shown] == sorted(by_capacity.values(), reverse=True)[: len(shown)]
    table.get_by_role("button", name="In texts").click()
    assert words["texts"][words["words"].index(words_shown(table)[0])] == max(words["texts"])
    for order in ("ascending", "descending"):
        table.locator("thead button").first.click()
        expect(table.locator(f'thead [aria-sort="{order}"]')).to_have_text("Word")
    plain = [word for word in words_shown(table) if word.isascii() and word.isalpha()]
    assert plain == sorted(plain, key=str.lower, reverse=True)


def test_words_can_be_searched_and_those_of_few_texts_left_out(offline, table, told):
    offline.locator("#word-search").fill("ST")
    assert words_shown(table)
    assert all("st" in word.lower() for word in words_shown(table))
    offline.locator("#word-search").fill("")
    offline.locator("#word-texts").fill("4")
    counts = [int(count) for count in table.locator("tbody td:nth-child(2)").all_text_contents()]
    assert len(counts) == min(20, sum(count >= 4 for count in told["words"]["safr"]["texts"]))
    assert min(counts) >= 4
    offline.locator("#word-texts").fill("100")
    expect(offline.locator("#word-found")).to_have_text("No word; search for another, or ask for fewer texts")


def test_pages_go_to_the_last_word(offline, table, told):
    total = len(told["words"]["safr"]["words"])
    seen = words_shown(table)
    while offline.locator("#word-on").is_enabled():
        offline.locator("#word-on").click()
        seen += words_shown(table)
    assert len(seen) == total
    expect(offline.locator("#word-back")).to_be_enabled()


def test_a_word_opens_the_texts_that_hold_it(offline, table, told):
    word = told["words"]["safr"]["words"][1]
    offline.locator("#word-search").fill(word)
    table.get_by_role("button", name=word, exact=True).click()
    expected = [row for row in told["rows"] if word in told["readings"]["safr"][str(row["number"])]["words"]]
    expect(offline.locator("#found")).to_have_text(f"{len(expected)} texts")
    offline.locator("#holding").click()
    expect(offline.locator("#found")).to_have_text(f"{len(told['rows'])} texts")
    expect(offline.locator("#holding")).to_be_hidden()


def test_the_live_page_asks_for_words_and_their_texts(live, readers):
    live.locator("#word-texts").fill("1")
    index = readers[1].word_index
    word = index.table.words[1]
    live.locator("#word-search").fill(word)
    live.locator("#word-table").get_by_role("button", name=word, exact=True).click()
    expect(live.locator("#found")).to_have_text(f"{len(index.find_texts(word))} texts")


def test_the_words_are_saved_as_csv(offline, table, told, tmp_path):
    with offline.expect_download() as download:
        offline.locator("#save-words").click()
    download.value.save_as(tmp_path / "words.csv")
    head, *rows = csv.reader((tmp_path / "words.csv").read_text(encoding="utf-8-sig").splitlines())
    assert head[:5] == ["Word", "In texts", "Times", "Capacity, safr", "Capacity, baseline"]
    assert len(rows) == len(told["words"]["safr"]["words"])


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (3840, "light")])
def test_words_and_scrubber_fit_small_and_large_screens(open_page, exported, width, scheme):
    page = open_page(exported.as_uri(), width=width, scheme=scheme)
    expect(page.locator("#parting .riser").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_file_with_compressed_data_opens_like_any_other(open_page, baseline, safr_run, told, tmp_path, monkeypatch):
    monkeypatch.setattr("safr.explorer.page.PLAIN_BYTES", 1000)
    page = open_page(export_page([baseline, safr_run], tmp_path / "small.html", texts=2).as_uri(), offline=True)
    expect(page.locator("#contents")).to_have_attribute("data-encoding", "gzip")
    line = told["word_histories"]["safr"]["epochs"][2]
    assert capacities(page, 1) == [f"{value:.2f}" for value in line["capacity"][0]]
