import base64
import html
import re
import shutil
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest

import safr
from safr.attribution.explain import explain
from safr.errors import InputError
from safr.evaluation.audit import AUDIT_MEASURES
from safr.evaluation.srs import DELETION_PERCENTS
from safr.report import write_report
from safr.report.report import MOST_CLASSES
from safr.report.run_figures import draw_deletion_curves, load_curve
from safr.runs import Run
from safr.storage import read_json, write_json
from tests import tiny

WITHOUT_END = {"meta", "img", "source"}


LOADING = ("src", "href", "srcset", "data", "action", "poster", "background")


class Page(HTMLParser):
    """Walks a page: its tags must balance; keeps the elements and the text."""

    def __init__(self, source):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.texts = [], [], []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in WITHOUT_END:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.texts.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", "".join(self.texts))

    def images(self):
        return [attributes for tag, attributes in self.elements if tag == "img"]


@pytest.fixture(scope="module")
def source(baseline, safr_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "new folder" / "report.html"
    assert write_report([baseline, safr_run], path) == path
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(source):
    return Page(source)


def shown(estimate):
    return "{:.1f} [{:.1f}, {:.1f}]".format(*(100 * estimate[name] for name in ("value", "low", "high")))


def in_one_line(source):
    """The source with plain spaces in place of those at which no line may break."""
    return source.replace("\xa0", " ")


def copied(run, folder, name):
    shutil.copytree(run.folder, folder / name)
    return Run(folder / name)


def test_the_tags_balance(page):
    assert page.open == []
    assert {"html", "head", "title", "body", "table", "section", "img"} <= {tag for tag, _ in page.elements}


def test_nothing_is_loaded_from_anywhere(page, source):
    for tag, attributes in page.elements:
        assert tag not in {"script", "link", "iframe", "object", "embed", "base", "form"}
        assert not any(name.startswith("on") for name in attributes)
        for name in LOADING:
            assert attributes.get(name, "data:").startswith(("data:", "#"))
        assert "url(" not in attributes.get("style", "")
    assert "url(" not in source.split("</style>")[0]
    assert "@import" not in source


def test_the_page_forbids_itself_scripts_and_the_network(page):
    policies = [each["content"] for tag, each in page.elements if each.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_images_are_pictures_inside_the_page_and_have_words_for_those_who_do_not_see_them(page):
    pictures = page.images()
    # Curves, history, and for each of 2 examples and 2 runs three pictures, with one more for the first example.
    assert len(pictures) == 2 + 2 * 2 * 3 + 2
    for each in pictures:
        kind, content = each["src"].split(",")
        assert kind == "data:image/svg+xml;base64"
        assert ElementTree.fromstring(base64.b64decode(content, validate=True)).tag.endswith("svg")
        assert each["alt"].strip()


def test_texts_and_names_are_shown_as_they_are_and_run_nothing(page, source):
    first, second = tiny.HOSTILE[0], tiny.HOSTILE[1].replace("\ud800", "\\ud800")
    for text in (first, second):
        assert re.sub(r"\s+", " ", text) in page.text
        assert text not in source  # every one holds something to escape
    for name in ("tiny & <mine>", "<good>", "made <here>", "duplicate <texts> left out"):
        assert name in page.text
        assert name not in source
        assert html.escape(name) in source


def test_every_word_of_an_example_is_shown_with_its_capacity(page):
    titles = [attributes["title"] for tag, attributes in page.elements if tag == "span" and "title" in attributes]
    titles = [title for title in titles if not title.startswith("relevance")]
    words = [len(text.split()) for text in tiny.HOSTILE]
    assert len(titles) == 2 * (words[0] + sum(words))  # the first is on the first screen, too
    assert all(re.fullmatch(r"(unknown to the tokenizer, )?capacity (0\.\d\d|1\.00)", title) for title in titles)


def test_every_word_of_an_example_is_shown_for_its_class_or_against_it(page, source, safr_run):
    spans = [attributes for tag, attributes in page.elements if tag == "span" and "title" in attributes]
    signed = [attributes for attributes in spans if attributes["title"].startswith("relevance")]
    assert len(signed) == 2 * sum(len(text.split()) for text in tiny.HOSTILE)
    for attributes in signed:
        is_against = attributes["title"].startswith("relevance -")
        assert ("--against" in attributes["style"]) == is_against
    model, tokenizer = safr_run.load_model()
    explained = safr.explain(model, tokenizer, tiny.HOSTILE[0], method="relevance")
    largest = abs(explained.scores).max()
    assert f"−{largest:.2g}, against “{explained.prediction}”" in html.unescape(source)
    assert f"{largest:.2g}, for it (relevance)" in source
    assert "".join(f"relevance {value:.2g}" for value in explained.scores) in "".join(
        attributes["title"] for attributes in signed
    )


def test_every_run_is_there_with_its_numbers(page, baseline, safr_run):
    for run in (baseline, safr_run):
        scores = run.scores
        row = (scores["srs"]["30"], scores["srs"]["random"]["30"], scores["accuracy"])
        row += (scores["deletion"]["random"]["30"], scores["deletion"]["capacity"]["30"])
        assert run.name + "".join(map(shown, row)) in page.text
        for by in ("capacity", "random"):
            values = [100 * scores["deletion"][by][str(percent)]["value"] for percent in DELETION_PERCENTS]
            assert f"{run.name}{by}" + "".join(f"{value:.1f}" for value in values) in page.text
        assert f"{run.name}: {run.settings.command}" in page.text
    keep = safr_run.scores["srs"]["keep"]["30"]
    by_the_mask = "probability that the mask keeps a word (VMASK)"
    assert f"safr{shown(keep)}{by_the_mask}" in page.text
    assert f"baseline{shown(keep)}" not in page.text
    for name in ("capacity_fc1_out_0", "shared_directions", "attention_entropy"):
        assert name not in page.text


def test_what_a_run_does_not_have_is_said(page):
    assert re.search(r"baseline\d\S* \[\S+ \S+\]no VMASKno VMASK", page.text)
    assert re.search(r"nothing can interfere\.none0\.\d+", page.text)


def test_the_page_says_what_the_numbers_mean_and_how_to_repeat_them(page, baseline):
    assert all(meaning in page.text for meaning in AUDIT_MEASURES.values())
    assert f"SAFR {safr.__version__}" in page.text
    assert "60 / 12 / 17 texts to train, choose and test" in page.text
    assert "safr reads at most 12 tokens of a text; of 1 test texts something was left out." in page.text
    assert re.search(r"safr reads texts as \d+ tokens \(WordLevel\), and all other words are unknown\.", page.text)
    assert baseline.record["data"]["fingerprint"][:16] in page.text
    for name, version in baseline.record["versions"].items():
        assert f"{name}{version}{version}" in page.text
    for name, value in {"importance": ("0.0", "0.1"), "vmask": ("False", "True"), "max_tokens": ("12", "12")}.items():
        assert name + "".join(value) in page.text


def test_a_report_fits_into_a_mail(source):
    assert len(source.encode("utf-8")) < 3_000_000


def test_the_same_runs_give_the_same_report(safr_run, tmp_path):
    run = copied(safr_run, tmp_path, "a run")
    write_json(run.examples_file, read_json(run.examples_file)[:1])
    first, second = (write_report([run], tmp_path / name).read_bytes() for name in ("a.html", "b.html"))
    assert first == second


def test_one_run_alone_and_without_history_makes_a_report(safr_run, tmp_path):
    run = copied(safr_run, tmp_path, "alone & <quiet>")
    run.history_file.unlink()
    write_json(run.examples_file, [])
    page = Page(write_report([run], tmp_path / "report.html").read_text(encoding="utf-8"))
    assert page.open == []
    assert len(page.images()) == 1
    assert "1 run ·" in page.text
    assert "alone & <quiet> is right on" in page.text


def test_runs_of_one_name_are_refused(safr_run, tmp_path):
    with pytest.raises(InputError, match=r"^the runs' folders need different names, got safr, safr$"):
        write_report([safr_run, copied(safr_run, tmp_path, "safr")], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_runs_of_different_data_are_refused(safr_run, tmp_path):
    other = copied(safr_run, tmp_path, "other")
    record = other.record
    record["data"]["fingerprint"] = "0" * 64
    write_json(other.config_file, record)
    with pytest.raises(InputError, match=r"^other was made from other data than safr, or the data were changed in"):
        write_report([safr_run, other], tmp_path / "report.html")


def test_a_run_that_is_not_evaluated_is_refused(safr_run, tmp_path):
    run = copied(safr_run, tmp_path, "fresh")
    run.scores_file.unlink()
    with pytest.raises(InputError, match="fresh: not evaluated yet; run `safr evaluate"):
        write_report([run], tmp_path / "report.html")


def test_every_class_has_its_scores(source, baseline, safr_run):
    for run in (baseline, safr_run):
        for row in run.scores["classes"]["per_class"]:
            cells = [f"{100 * row[name]:.1f}" for name in ("f1", "precision", "recall")]
            row_of_class = "".join(f"<td>{cell}</td>" for cell in (*cells, row["support"]))
            assert f'{run.name}</th><td class="text">{html.escape(row["label"])}</td>{row_of_class}</tr>' in source
        accuracy, f1 = (shown(run.scores["classes"][name]) for name in ("balanced_accuracy", "macro_f1"))
        assert f'<td>{f1}</td><td colspan="2">balanced accuracy {accuracy}</td><td>17</td></tr>' in in_one_line(source)


def test_of_many_classes_the_first_are_shown(safr_run, tmp_path):
    run = copied(safr_run, tmp_path, "many")
    scores = run.scores
    row = scores["classes"]["per_class"][0]
    scores["classes"]["per_class"] = [row | {"label": f"class {number}"} for number in range(MOST_CLASSES + 7)]
    write_json(run.scores_file, scores)
    text = Page(write_report([run], tmp_path / "report.html").read_text(encoding="utf-8")).text
    assert f"class {MOST_CLASSES - 1}" in text
    assert f"class {MOST_CLASSES}" not in text
    assert "and 7 more, in scores.json" in text


def test_a_run_without_srs_has_dashes_and_says_why_once(single_word_run, tmp_path):
    run = copied(single_word_run, tmp_path, "words")
    source = write_report([run], tmp_path / "report.html").read_text(encoding="utf-8")
    page, reason = Page(source), "each of the 12 texts holds one word, so nothing can be deleted"
    assert page.open == []
    accuracy = shown(run.scores["accuracy"])
    assert f"<td>–</td><td>–</td><td>{accuracy}</td><td>–</td><td>–</td></tr>" in in_one_line(source)
    assert page.text.count(reason) == 1
    assert f"What its capacity points at could not be measured: {reason}." in page.text
    assert "Deleting more and more" not in page.text
    assert re.findall(r"<td>(\D*?)</td><td class=\"text\">([^<]+)</td>", source) == [
        ("–", "capacity at FC1 after the activation, layer 0"),
        ("–", "probability that the mask keeps a word (VMASK)"),
        ("–", "attention that a word receives"),
    ]
    assert "0.0 [0.0, 0.0]" not in page.text


def test_a_run_without_srs_stands_beside_one_with_it(safr_run, tmp_path):
    def remove(scores):
        return {name: None if "value" in score else remove(score) for name, score in scores.items()}

    run, scores = copied(safr_run, tmp_path, "other"), safr_run.scores
    reason = "each of the 17 texts holds one word, so nothing can be deleted"
    write_json(
        run.scores_file,
        scores | {"srs_reason": reason, "deletion": remove(scores["deletion"]), "srs": remove(scores["srs"])},
    )
    source = write_report([safr_run, run], tmp_path / "report.html").read_text(encoding="utf-8")
    text = Page(source).text
    assert "Deleting more and more" in text
    assert f"other{'capacity'}{'–' * 9}" in text
    assert text.count(reason) == 1
    compared = "other against safr: accuracy is not clearly different (+0.0 points, the intervals overlap)."
    assert f"<li>{compared}</li>" in source, "nothing is said of its SRS"
    assert load_curve(run) is None
    figure = draw_deletion_curves({"safr": [safr_run], "other": [run]})
    assert [entry.get_text() for entry in figure.legends[0].get_texts()] == ["safr"]


def test_some_texts_of_one_word_are_told(page, baseline):
    count = baseline.scores["undeletable"]
    assert (
        f"baseline: {count} of 17 texts hold one word, so nothing can be deleted from them; they count as 0"
        in page.text
    )


@pytest.fixture(scope="module")
def words_page(safr_run, tmp_path_factory):
    return Page(write_report([safr_run], tmp_path_factory.mktemp("words") / "report.html").read_text(encoding="utf-8"))


def test_unknown_words_of_the_examples_are_marked_and_counted(words_page, safr_run):
    model, tokenizer = safr_run.load_model()
    explanations = [explain(model, tokenizer, example["text"], max_tokens=12) for example in safr_run.examples]
    marked = [
        attributes for tag, attributes in words_page.elements if tag == "span" and attributes.get("class") == "unknown"
    ]
    marks = [sum(explanation.unknown) for explanation in explanations]
    assert len(marked) == marks[0] + sum(marks) > 0  # the first is on the first screen, too
    for attributes in marked:
        assert attributes["title"].startswith("unknown to the tokenizer, capacity ")
    for explanation in explanations:
        assert f"† {sum(explanation.unknown)} of {len(explanation.words)} words are unknown" in words_page.text


def test_the_share_of_unknown_words_stands_beside_the_scores(words_page, safr_run):
    counts = safr_run.scores["unknown_words"]
    share = f"{100 * counts['words'] / counts['of']:.1f} %"
    assert (
        f"safr: {counts['words']} of {counts['of']} words ({share}) are unknown to the tokenizer, "
        f"in {counts['texts']} of 17 texts of the test split."
    ) in words_page.text
