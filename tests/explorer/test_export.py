import dataclasses
import re
import shutil
from html import unescape

import numpy as np
import pytest

from safr.data.encoding import encode
from safr.errors import InputError
from safr.explorer import export, export_page
from safr.explorer.explanation_payload import pack_explanation
from safr.explorer.model_session import open_session
from safr.explorer.payload import list_texts
from safr.explorer.what_if import compute_what_if
from safr.runs import Run
from tests import tiny
from tests.explorer.conftest import contents_of


@pytest.fixture(scope="module")
def told(exported):
    return contents_of(exported.read_text(encoding="utf-8"))


def test_the_file_holds_what_the_models_say(told, readers):
    assert told["live"] is False
    assert [run["name"] for run in told["runs"]] == ["baseline", "safr"]
    for reader in readers:
        name = reader.run.name
        for row in told["rows"][:5]:
            made = reader.explain(row["text"])
            relevance = reader.compute_relevance(row["text"], made)
            neurons = reader.find_neurons(row["text"], made)
            expected = dataclasses.asdict(pack_explanation(made, relevance=relevance, neurons=neurons))
            found = told["readings"][name][str(row["number"])]
            assert found == expected
            text = reader.encode(row["text"])
            steps = compute_what_if(reader.model, reader.tokenizer, text, reader.scores(text, made))
            assert told["what_ifs"][name][str(row["number"])] == dataclasses.asdict(steps)


def test_the_file_holds_the_pages_of_the_neurons_in_its_strips(told, readers):
    for reader in readers:
        pages, readings = told["neuron_pages"][reader.run.name], told["readings"][reader.run.name].values()
        assert {int(number) for number in pages} == {n for each in readings for n in each["neurons"]["neurons"]}
        for number, page in pages.items():
            whole = dataclasses.asdict(reader.describe_neuron(int(number)))
            assert page == {**whole, "top": whole["top"][:5]}


def test_a_run_that_keeps_nothing_of_its_neurons_is_exported_without_their_pages(safr_run, tmp_path):
    run = Run(shutil.copytree(safr_run.folder, tmp_path / "run"))
    run.neurons_file.unlink()
    told = contents_of(export_page([run], tmp_path / "page.html", texts=2).read_text(encoding="utf-8"))
    assert told["neuron_pages"] == {"run": {}}
    assert all(each["neurons"]["neurons"] for each in told["readings"]["run"].values())
    run.neurons_file.write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"neurons\.parquet: .*run `safr evaluate"):
        export_page([run], tmp_path / "page.html", texts=2)


def test_many_long_texts_keep_only_the_neurons_that_fit(safr_run, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "MAX_NEURON_BYTES", 2000)
    told = contents_of(export_page([safr_run], tmp_path / "page.html").read_text(encoding="utf-8"))
    strips = [each["neurons"] for each in told["readings"]["safr"].values()]
    assert {len(each["neurons"]) for each in strips} == {len(strips[0]["neurons"])}
    assert 1 <= len(strips[0]["neurons"]) < 16
    # base64 rounds up to 4 letters for each of many small matrices
    assert sum(len(each[name]["values"]) for each in strips for name in ("activations", "relevance")) < 2000 * 1.5


def test_every_row_has_its_prediction_and_effect(told, baseline, safr_run, readers):
    everything = {row.number: row for row in list_texts([baseline, safr_run])}
    effects = {
        reader.run.name: [one for some in reader.effects([row["text"] for row in told["rows"]]) for one in some]
        for reader in readers
    }
    for place, row in enumerate(told["rows"]):
        assert set(row["predictions"]) == {"baseline", "safr"}
        if row["number"] >= 0 and "\ufffd" not in row["text"]:
            assert row["predictions"] == everything[row["number"]].predictions
        for name, found in effects.items():
            assert row["effects"][name] == pytest.approx(found[place], abs=2e-3)
    assert told["total"] == len(everything)


def test_the_file_says_which_words_of_its_texts_were_not_read(words_exported, safr_run):
    told = contents_of(words_exported.read_text(encoding="utf-8"))
    _, tokenizer = safr_run.load_model()
    for row in told["rows"]:
        reading, text = told["readings"]["safr"][str(row["number"])], encode(tokenizer, [row["text"]], 12)[0]
        assert reading["unknown"] == [word in text.unknown for word in range(len(text.words))]
        assert bool(reading["unknown_note"]) == bool(text.unknown)
    assert any(reading["unknown_note"] for reading in told["readings"]["safr"].values())


def test_deleting_nothing_has_no_effect_to_show(told, single_word_run, tmp_path):
    for row in told["rows"]:
        for name, effect in row["effects"].items():
            deleted = told["what_ifs"][name][str(row["number"])]["main"]
            assert (effect is None) == (deleted == 0) == (row["words"] == 1)
    page = export_page([single_word_run], tmp_path / "page.html").read_text(encoding="utf-8")
    (run,), rows = contents_of(page)["runs"], contents_of(page)["rows"]
    assert run["scores"]["srs"]["30"] is None
    assert run["scores"]["srs_reason"] == "each of the 12 texts holds one word, so nothing can be deleted"
    assert {row["effects"]["single words"] for row in rows} == {None}
    reader = open_session(single_word_run)
    assert {effect for chunk in reader.effects(["film", "", "dull"]) for effect in chunk} == {None}


def test_the_same_runs_give_the_same_file(exported, baseline, safr_run, tmp_path):
    again = export_page([baseline, safr_run], tmp_path / "again.html")
    assert again.read_bytes() == exported.read_bytes()


def test_progress_is_told(safr_run, tmp_path):
    seen = []
    export_page([safr_run], tmp_path / "few.html", texts=3, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert len(contents_of((tmp_path / "few.html").read_text())["rows"]) == 3


def test_many_long_texts_keep_only_the_pairs_that_fit(safr_run, tmp_path, monkeypatch):
    whole = export_page([safr_run], tmp_path / "whole.html").stat().st_size
    monkeypatch.setattr(export, "MAX_MATRIX_BYTES", 3000)
    path = export_page([safr_run], tmp_path / "small.html")
    assert path.stat().st_size < whole
    readings = contents_of(path.read_text())["readings"]["safr"].values()
    most = max(len(each["paired"] or each["words"]) for each in readings)
    assert 2 <= most < max(len(each["words"]) for each in readings)
    sizes = [len(pairs["interference"]["values"]) for each in readings for pairs in each["sites"].values()]
    sizes += [len(pairs["values"]) for each in readings for pairs in each["attention"].values()]
    assert np.sum(sizes) < 3000 * 1.5  # base64 rounds up to 4 letters for each of many small matrices


def test_an_explanation_opens_the_page_about_itself(readers):
    made = readers[1].explain("a bright film <b>&</b>")
    shown = made.explore(height=500)
    frame = shown._repr_html_()
    assert re.match(r'<iframe srcdoc="[^"]*" sandbox="allow-scripts allow-downloads" ', frame)
    assert "height:500px" in frame
    inside = unescape(re.search(r'srcdoc="([^"]*)"', frame)[1])
    assert inside == shown.html
    told = contents_of(inside)
    assert told["readings"]["model"]["0"]["words"] == ["a", "bright", "film", "<b>&</b>"]
    assert told["what_ifs"] == {}
    assert told["readings"]["model"]["0"]["neurons"] is None
    assert told["neuron_pages"] == {}
    assert told["live"] is False


def test_hostile_words_stay_inside_the_frame(readers):
    frame = readers[1].explain(tiny.HOSTILE[0]).explore()._repr_html_()
    assert "<script>alert" not in frame
    assert frame.count("<") == 2  # the frame's own tags
