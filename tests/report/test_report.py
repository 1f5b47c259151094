import base64
import html
import re
import shutil
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser

import numpy as np
import pytest

import safr
from safr.attribution.explain import explain
from safr.errors import InputError
from safr.evaluation.audit import AUDIT_MEASURES
from safr.evaluation.srs import DELETION_PERCENTS
from safr.report import write_figures, write_report
from safr.report.report import MOST_CLASSES, draw_deletion_curves, load_curve, state_findings
from safr.runs import Run
from safr.storage import read_json, write_json
from tests import tiny

WITHOUT_END = {"meta", "img"}


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


def copied(run, folder, name):
    shutil.copytree(run.folder, folder / name)
    return Run(folder / name)


def estimate(value, low=None, high=None):
    return {"value": value, "low": value if low is None else low, "high": value if high is None else high}


def scores(*, accuracy=(0.7, 0.65, 0.75), srs=(0.2, 0.15, 0.25), above=(0.16, 0.1, 0.2), **audit):
    measures = {"norm": 10.0, "attention_entropy": 0.5, "shared_directions": 1.0, **audit}
    return {
        "accuracy": estimate(*accuracy),
        "srs": {"30": estimate(*srs), "above_random": {"30": estimate(*above)}},
        "audit": {name: estimate(value) for name, value in measures.items()},
    }


def only(sentences):
    (sentence,) = sentences
    return sentence


def test_the_tags_balance(page):
    assert page.open == []
    assert {"html", "head", "title", "body", "table", "section", "img"} <= {tag for tag, _ in page.elements}


def test_nothing_is_loaded_from_anywhere(page, source):
    for tag, attributes in page.elements:
        assert tag not in {"script", "link", "iframe", "object", "embed", "base", "form"}
        assert not any(name.startswith("on") for name in attributes)
        for name in LOADING:
            assert attributes.get(name, "data:").startswith("data:")
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
    titles = [attributes["title"] for tag, attributes in page.elements if tag == "span"]
    titles = [title for title in titles if not title.startswith("relevance")]
    words = [len(text.split()) for text in tiny.HOSTILE]
    assert len(titles) == 2 * sum(words)
    assert all(re.fullmatch(r"(unknown to the tokenizer, )?capacity (0\.\d\d|1\.00)", title) for title in titles)


def test_every_word_of_an_example_is_shown_for_its_class_or_against_it(page, source, safr_run):
    spans = [attributes for tag, attributes in page.elements if tag == "span"]
    signed = [attributes for attributes in spans if attributes["title"].startswith("relevance")]
    assert len(signed) == len(spans) / 2
    for attributes in signed:
        is_against = attributes["title"].startswith("relevance -")
        assert ("--against" in attributes["style"]) == is_against
    model, tokenizer = safr_run.load_model()
    explained = safr.explain(model, tokenizer, tiny.HOSTILE[0], method="relevance")
    assert f"By relevance, blue words speak for “{explained.prediction}”" in html.unescape(source)
    assert "".join(f"relevance {value:.2g}" for value in explained.scores) in "".join(
        attributes["title"] for attributes in signed
    )


def test_every_run_is_there_with_its_numbers(page, baseline, safr_run):
    for run in (baseline, safr_run):
        scores = run.scores
        row = (scores["accuracy"], scores["deletion"]["random"]["30"], scores["deletion"]["capacity"]["30"])
        row += (scores["srs"]["30"], scores["srs"]["random"]["30"])
        assert run.name + "".join(map(shown, row)) in page.text
        for by in ("capacity", "random"):
            values = [100 * scores["deletion"][by][str(percent)]["value"] for percent in DELETION_PERCENTS]
            assert f"{run.name}{by}" + "".join(f"{value:.1f}" for value in values) in page.text
        assert f"{run.name}: {run.settings.command}" in page.text
    keep = safr_run.scores["srs"]["keep"]["30"]
    assert f"safrkeep{shown(keep)}" in page.text
    assert "baselinekeep" not in page.text


def test_what_a_run_does_not_have_is_said(page):
    assert re.search(r"baseline\d\S* \[\S+ \S+\]no VMASKno VMASK", page.text)
    assert re.search(r"keepnone0\.\d+", page.text)


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
    assert "alone & <quiet>: deleting" in page.text


def test_runs_of_one_name_are_refused(safr_run, tmp_path):
    with pytest.raises(InputError, match=r"^the runs' folders need different names, got safr, safr$"):
        write_report([safr_run, copied(safr_run, tmp_path, "safr")], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_runs_of_different_data_are_refused(safr_run, tmp_path):
    other = copied(safr_run, tmp_path, "other")
    record = other.record
    record["data"]["fingerprint"] = "0" * 64
    write_json(other.config_file, record)
    with pytest.raises(InputError, match=r"^other was made from other data than safr, or from the same before they"):
        write_report([safr_run, other], tmp_path / "report.html")


def test_a_run_that_is_not_evaluated_is_refused(safr_run, tmp_path):
    run = copied(safr_run, tmp_path, "fresh")
    run.scores_file.unlink()
    with pytest.raises(InputError, match="fresh: not evaluated yet; run `safr evaluate"):
        write_report([run], tmp_path / "report.html")


def test_every_class_has_its_scores(source, baseline, safr_run):
    for run in (baseline, safr_run):
        for row in run.scores["classes"]["per_class"]:
            cells = [f"{100 * row[name]:.1f}" for name in ("precision", "recall", "f1")]
            row_of_class = "".join(f"<td>{cell}</td>" for cell in (*cells, row["support"]))
            assert f'{run.name}</th><td class="text">{html.escape(row["label"])}</td>{row_of_class}</tr>' in source
        accuracy, f1 = (shown(run.scores["classes"][name]) for name in ("balanced_accuracy", "macro_f1"))
        assert f'<td colspan="2">balanced accuracy {accuracy}</td><td>{f1}</td><td>17</td></tr>' in source


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


@pytest.mark.parametrize(("low", "is_said"), [(0.89, True), (0.9, True), (0.91, False)])
def test_an_accuracy_that_one_class_alone_would_reach_is_said(low, is_said):
    majority = {"classes": {"majority": {"label": "good", "share": 0.9}}}
    said = state_findings({"a": scores(accuracy=(0.92, low, 0.95)) | majority})
    assert is_said == any(
        sentence.startswith("a: accuracy is not clearly above 90.0 %, the share of the largest class (good)")
        for sentence in said
    )


def test_a_run_without_srs_has_dashes_and_says_why_once(single_word_run, tmp_path):
    run = copied(single_word_run, tmp_path, "words")
    source = write_report([run], tmp_path / "report.html").read_text(encoding="utf-8")
    page, reason = Page(source), "each of the 12 texts holds one word, so nothing can be deleted"
    assert page.open == []
    accuracy = shown(run.scores["accuracy"])
    assert f"<td>{accuracy}</td><td>–</td><td>–</td><td>–</td><td>–</td></tr>" in source
    assert page.text.count(reason) == 1
    assert f"words: {reason}; SRS could not be measured." in page.text
    assert "Deleting more and more" not in page.text
    assert re.findall(r"<td class=\"text\">(\w+)</td><td>(\D*?)</td>", source) == [
        ("capacity_fc1_out_0", "–"),
        ("keep", "–"),
        ("attention", "–"),
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


def test_a_run_without_srs_has_its_other_figures(single_word_run, tmp_path):
    run = copied(single_word_run, tmp_path, "words")
    assert {path.name for path in write_figures(run)} == {"history.svg", "history.png", "history.pdf"}
    run.history_file.unlink()
    shutil.rmtree(run.figures_folder)
    assert write_figures(run) == []


def test_a_curve_over_seeds_is_their_mean_with_the_interval_over_seeds(baseline, safr_run):
    one, other, both = load_curve(baseline), load_curve(safr_run), load_curve(baseline, safr_run)
    assert both.full == pytest.approx((one.full + other.full) / 2)
    for low, middle, high in (("low", "deleted", "high"), ("random_low", "random", "random_high")):
        first, second = (np.array(getattr(each, middle)) for each in (one, other))
        half = 12.706 * np.abs(first - second) / 2  # Student's t with one degree of freedom
        np.testing.assert_allclose(getattr(both, middle), (first + second) / 2)
        np.testing.assert_allclose(getattr(both, low), ((first + second) / 2 - half).clip(0), rtol=1e-4)
        np.testing.assert_allclose(getattr(both, high), ((first + second) / 2 + half).clip(max=1), rtol=1e-4)


def test_capacity_that_costs_more_than_chance_finds_words_that_matter():
    assert only(state_findings({"a": scores()})) == (
        "a: deleting the words of highest capacity costs 16.0 points more than deleting at random, "
        "so it finds words that matter."
    )


def test_capacity_that_costs_less_than_chance_misses_what_matters():
    said = only(state_findings({"a": scores(above=(-0.09, -0.1, -0.01))}))
    assert said == (
        "a: deleting the words of highest capacity costs 9.0 points less than deleting at random, "
        "so it misses what matters."
    )


@pytest.mark.parametrize("above", [(0.05, -0.01, 0.1), (0.05, 0.0, 0.1), (-0.05, -0.1, 0.0)])
def test_a_difference_whose_interval_holds_or_touches_zero_is_not_clear(above):
    assert only(state_findings({"a": scores(above=above)})) == (
        "a: deleting the words of highest capacity costs no clearly other number of points than deleting at random "
        f"({100 * above[0]:+.1f})."
    )


def test_the_others_are_compared_with_the_first():
    said = state_findings(
        {
            "base": scores(accuracy=(0.7, 0.68, 0.72), srs=(0.2, 0.18, 0.22)),
            "b": scores(accuracy=(0.8, 0.78, 0.82), srs=(0.1, 0.08, 0.12)),
            "c": scores(accuracy=(0.71, 0.69, 0.73), srs=(0.195, 0.175, 0.215)),
        }
    )
    assert [sentence for sentence in said if "against" in sentence] == [
        "b against base: accuracy is 10.0 points higher, SRS is 10.0 points lower.",
        "c against base: accuracy is not clearly different (+1.0 points, the intervals overlap), "
        "SRS is not clearly different (-0.5 points, the intervals overlap).",
    ]


@pytest.mark.parametrize("accuracy", [(0.8, 0.75, 0.85), (0.6, 0.55, 0.65)])
def test_touching_intervals_are_not_clearly_different(accuracy):
    said = state_findings({"a": scores(accuracy=(0.7, 0.65, 0.75)), "b": scores(accuracy=accuracy)})
    gap = 100 * (accuracy[0] - 0.7)
    assert f"accuracy is not clearly different ({gap:+.1f} points" in said[2]


@pytest.mark.parametrize(("keep", "closed"), [(0.049, True), (0.05, False), (0.9, False)])
def test_a_nearly_closed_mask_is_warned_about(keep, closed):
    said = state_findings({"a": scores(keep=keep)})
    assert ("a: the mask is nearly closed, which lowers the importance loss without any sharing." in said) is closed


@pytest.mark.parametrize(("norm", "short"), [(4.9, True), (5.0, False), (16.0, False)])
def test_vectors_under_half_as_long_as_the_first_runs_are_warned_about(norm, short):
    said = state_findings({"base": scores(), "a": scores(norm=norm)})
    warned = [sentence for sentence in said if "the vectors passed on" in sentence]
    assert len(warned) == short
    if short:
        assert warned[0] == (
            "a: the vectors passed on are 49% as long as the first run's, which lowers the importance loss; "
            "they share no fewer directions."
        )


def test_shorter_vectors_that_share_less_are_told_apart():
    said = state_findings({"base": scores(), "a": scores(norm=1.0, shared_directions=0.5)})
    assert any(sentence.endswith("by itself; they share fewer directions too.") for sentence in said)


@pytest.mark.parametrize(("entropy", "flat"), [(0.981, True), (0.98, False), (0.3, False)])
def test_even_attention_is_warned_about(entropy, flat):
    said = state_findings({"a": scores(attention_entropy=entropy)})
    assert any(sentence.startswith("a: attention is nearly even over all words") for sentence in said) is flat


def test_a_run_without_a_mask_is_not_warned_about_it():
    assert len(state_findings({"a": scores()})) == 1


def test_every_run_is_judged_and_warned_about():
    said = state_findings({"a": scores(), "b": scores(attention_entropy=1.0), "c": scores(keep=0.01)})
    assert [sentence.split(maxsplit=1)[0] for sentence in said] == ["a:", "b:", "c:", "b", "c", "b:", "c:"]


def test_test_texts_that_were_trained_on_are_told():
    shared = {"a": scores() | {"texts": 300, "duplicates": {"test_in_train": 20}}}
    assert state_findings(shared)[-1].startswith("20 of the 300 test texts are in the training texts too")


def test_figures_are_written_by_one_process_at_a_time(safr_run, tmp_path):
    run = Run(shutil.copytree(safr_run.folder, tmp_path / "run"))
    with run.lock(), ThreadPoolExecutor(1) as other:
        assert len(write_figures(run)) >= 4
        with pytest.raises(InputError, match=r"works on it since .*; wait until it has finished"):
            other.submit(write_figures, run).result()
    assert not list(run.folder.glob(".*"))


@pytest.fixture(scope="module")
def words_page(safr_run, tmp_path_factory):
    return Page(write_report([safr_run], tmp_path_factory.mktemp("words") / "report.html").read_text(encoding="utf-8"))


def test_unknown_words_of_the_examples_are_marked_and_counted(words_page, safr_run):
    model, tokenizer = safr_run.load_model()
    explanations = [explain(model, tokenizer, example["text"], max_tokens=12) for example in safr_run.examples]
    marked = [attributes for tag, attributes in words_page.elements if tag == "span" and "class" in attributes]
    assert len(marked) == sum(sum(explanation.unknown) for explanation in explanations) > 0
    for attributes in marked:
        assert attributes["class"] == "unknown"
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
    none = {"texts": 17, "unknown_words": {"words": 0, "of": 60, "texts": 0}}
    assert state_findings({"a": scores() | none}) == state_findings({"a": scores()})
