import json
import shutil
from importlib.resources import files

import jsonschema
import numpy as np
import pyarrow.parquet
import pytest
import torch

import safr
from safr.attribution.registry import METHODS as ATTRIBUTIONS
from safr.attribution.registry import AttributionMethod
from safr.attribution.score_files import write_scores
from safr.data import Split
from safr.data.encoding import encode
from safr.errors import InputError
from safr.evaluation import benchmark_metrics
from safr.evaluation.benchmark import benchmark
from safr.evaluation.metrics import METRICS
from safr.evaluation.sanity_checks import shuffle_weights, shuffled_weights
from safr.runs import Run
from safr.storage import CHECKSUMS_FILE, read_json, write_json
from tests import tiny

SCHEMA = json.loads(files("safr.evaluation").joinpath("benchmark.schema.json").read_text())


@pytest.fixture
def copied(safr_run, tmp_path):
    """A run of one's own."""
    shutil.copytree(safr_run.folder, tmp_path / safr_run.name)
    return Run(tmp_path / safr_run.name)


def worded(run):
    """The test texts that have words, as the run reads them."""
    texts = encode(tiny.tokenizer(), tiny.dataset().test.texts, run.settings.max_tokens)
    return [text for text in texts if text.words]


def test_a_benchmark_says_all_of_every_method_as_its_schema_has_it(run, tmp_path):
    copied = Run(tmp_path / run.name)
    shutil.copytree(run.folder, copied.folder)
    found = benchmark(copied, tiny.dataset())
    jsonschema.validate(found, SCHEMA)
    assert read_json(copied.folder / "benchmark.json") == found
    masked = copied.settings.regularization.vmask
    methods = {"capacity", "attention", "attention_rollout", "random"} | ({"keep"} if masked else set())
    for name in ("gradient_x_input", "relevance", "integrated_gradients", "occlusion"):
        methods |= {name, f"absolute_{name}"}
    assert set(found["methods"]) == methods
    assert found["texts"] == len(worded(copied)) == 16  # one of 17 is empty
    for name, each in found["methods"].items():
        assert {"srs", "comprehensiveness", "sufficiency", "aopc", "leave_one_out"} <= each["values"]["delete"].keys()
        assert {"srs", "comprehensiveness", "sufficiency"} <= each["values"]["average"].keys(), name
    assert {"own", "capacity_patched"} <= found["methods"]["capacity"]["values"]["none"].keys()
    assert set(METRICS) >= {each["metric"] for each in found["comparisons"]}
    assert found["methods"]["integrated_gradients"]["cost"]["backward"] == 50
    assert found["conclusions"]
    assert safr.benchmark is benchmark


def test_a_sparse_autoencoder_is_judged_beside_the_methods_and_trained_once(copied, monkeypatch):
    options = {"methods": ["capacity"], "removals": ["delete"], "autoencoder": True}
    found = benchmark(copied, tiny.dataset(), **options)
    jsonschema.validate(found, SCHEMA)
    judged = found["methods"]["autoencoder"]
    assert "srs" in judged["values"]["delete"]
    assert judged["cost"]["forward"] == 1
    monkeypatch.setattr("safr.evaluation.benchmark_data.train_on_texts", None)
    assert benchmark(copied, tiny.dataset(), **options) == found
    with pytest.raises(InputError, match="an autoencoder is trained on training texts, but a split was given"):
        benchmark(copied.load_model()[0], tiny.dataset().test, tokenizer=tiny.tokenizer(), autoencoder=True)
    with pytest.raises(InputError, match="'autoencoder' is the name of a method"):
        benchmark(copied, tiny.dataset(), files={"autoencoder": copied.folder / "mine.parquet"})


def test_values_of_single_texts_have_the_means_that_are_told(copied):
    found = benchmark(copied, tiny.dataset(), methods=["capacity"], removals=["delete"])
    rows = pyarrow.parquet.read_table(copied.folder / "benchmark.parquet").to_pandas()
    assert set(rows["text"]) <= set(range(17))
    own = rows[(rows["method"] == "capacity") & (rows["metric"] == "srs")]
    assert len(own) == 16
    assert own["value"].mean() == pytest.approx(found["methods"]["capacity"]["values"]["delete"]["srs"]["value"])
    scores = copied.scores  # of 17 texts, one of which is empty and whose prediction stays
    assert own["value"].sum() / 17 == pytest.approx(scores["srs"]["30"]["value"])


def test_what_is_done_is_not_done_again(copied, monkeypatch):
    options = {"methods": ["capacity", "occlusion"], "removals": ["delete"]}
    first = benchmark(copied, tiny.dataset(), **options)
    (copied.folder / "benchmark.json").unlink()
    for name in ("attribute", "faithfulness", "search_aopc_bounds", "causal_effects", "shuffled_weights"):
        for module in ("safr.evaluation.benchmark", "safr.evaluation.benchmark_metrics"):
            monkeypatch.setattr(f"{module}.{name}", None, raising=False)
    assert benchmark(copied, tiny.dataset(), **options) == first


def test_only_what_is_new_is_measured(copied, monkeypatch):
    benchmark(copied, tiny.dataset(), methods=["capacity"], removals=["delete"])
    for name in ("search_aopc_bounds", "causal_effects"):
        monkeypatch.setattr(f"safr.evaluation.benchmark_metrics.{name}", None)
    asked = []
    real = benchmark_metrics.faithfulness
    monkeypatch.setattr(
        benchmark_metrics, "faithfulness", lambda *each, **named: asked.extend(each[4]) or real(*each, **named)
    )
    found = benchmark(copied, tiny.dataset(), methods=["capacity", "occlusion"], removals=["delete"])
    assert {"capacity", "occlusion", "absolute_occlusion", "random"} == set(found["methods"])
    assert asked == ["occlusion", "absolute_occlusion"]
    assert all(
        "randomization" in found["methods"][name]["values"]["none"] for name in found["methods"] if name != "random"
    )
    monkeypatch.setattr("safr.evaluation.benchmark.compare_with_others", None)
    again = benchmark(copied, tiny.dataset(), methods=["capacity", "occlusion"], removals=["delete"])
    assert again == found


@pytest.mark.parametrize("what", ["a file that is damaged", "other rules", "fewer methods"])
def test_a_result_that_is_not_of_these_values_is_made_again(copied, what):
    asked = {"methods": ["capacity"], "removals": ["delete"]}
    first = benchmark(copied, tiny.dataset(), **asked)
    if what == "fewer methods":
        more = benchmark(copied, tiny.dataset(), methods=["capacity", "keep"], removals=["delete"])
        assert "keep" in more["methods"]
    else:
        kept = "{" if what == "a file that is damaged" else json.dumps(first | {"rules": "", "conclusions": ["none"]})
        copied.benchmark_file.write_text(kept)
    assert benchmark(copied, tiny.dataset(), **asked) == first
    assert json.loads(copied.benchmark_file.read_text()) == first


def test_other_weights_in_the_same_folder_are_judged_anew(copied, baseline):
    first = benchmark(copied, tiny.dataset(), methods=["capacity"], removals=["delete"])
    shutil.rmtree(copied.model_folder)
    shutil.copytree(baseline.model_folder, copied.model_folder)
    (copied.folder / CHECKSUMS_FILE).unlink()  # as one says who means to
    second = benchmark(copied, tiny.dataset(), methods=["capacity"], removals=["delete"])
    assert first["methods"]["capacity"]["values"] != second["methods"]["capacity"]["values"]


def test_a_part_that_a_kill_has_left_damaged_is_made_again(copied):
    first = benchmark(copied, tiny.dataset(), methods=["capacity"], removals=["delete"])
    for file in (copied.folder / "benchmark").rglob("*.parquet"):
        file.write_bytes(b"PAR1")
    assert (
        benchmark(copied, tiny.dataset(), methods=["capacity"], removals=["delete"])["methods"]["capacity"]["values"]
        == (first["methods"]["capacity"]["values"])
    )


def test_a_model_whose_site_is_not_fc1_and_texts_too_long_for_single_steps_are_judged(copied, monkeypatch):
    monkeypatch.setattr("safr.evaluation.benchmark_metrics.get_explaining_site", lambda _: "vmask")
    monkeypatch.setattr("safr.evaluation.benchmark_data.MAX_DELETION_STEPS", 0)
    found = benchmark(copied, tiny.dataset(), methods=["capacity", "occlusion"], removals=["delete"])
    values = found["methods"]["capacity"]["values"]
    assert "own" not in values["none"]
    assert "naopc" not in values["delete"]
    assert "aopc" in values["delete"]


def test_scores_of_another_tool_are_judged_beside_ours(copied, tmp_path):
    path = tmp_path / "theirs.parquet"
    numbers = [number for number, text in enumerate(tiny.dataset().test.texts) if text]
    write_scores(path, worded(copied), numbers, [-np.arange(len(text.words), dtype=float) for text in worded(copied)])
    found = benchmark(
        copied, tiny.dataset(), methods=["capacity"], files={"theirs": path}, removals=["delete"], limit=17
    )
    assert found["methods"]["theirs"]["values"]["none"]["position"]["value"] == pytest.approx(-1)
    assert any(each.startswith("theirs follows the words' place in the text") for each in found["conclusions"])
    assert "randomization" not in found["methods"]["theirs"]["values"]["none"]
    assert found["methods"]["theirs"]["cost"] is None
    assert found["methods"]["theirs"]["signed"]  # some are below 0
    for taken in ("capacity", "random", "random.forest", "absolute_theirs"):
        with pytest.raises(InputError, match="is the name of a method; give the scores of the file another name"):
            benchmark(copied, tiny.dataset(), files={taken: path})


def test_fewer_texts_are_those_whose_hash_comes_first(copied):
    options = {"methods": ["capacity"], "removals": ["delete"]}
    assert benchmark(copied, tiny.dataset(), **options)["texts"] == 16
    found = benchmark(copied, tiny.dataset(), **options, limit=6)  # whatever was judged before
    assert found["texts"] in (5, 6)
    own = pyarrow.parquet.read_table(copied.folder / "benchmark.parquet")["text"].unique()
    assert len(own) == found["texts"]


def test_what_is_costly_is_measured_on_as_few_texts_as_are_asked_for(copied):
    options = {"methods": ["capacity", "relevance"], "removals": ["delete"]}
    whole = benchmark(copied, tiny.dataset(), **options)
    few = benchmark(copied, tiny.dataset(), **options, costly_texts=3)  # whatever was judged before
    assert few["texts"] == whole["texts"] == 16
    assert set(few["fewer_texts"].values()) == {3}
    assert all(count > 3 for count in whole["fewer_texts"].values())
    texts = pyarrow.parquet.read_table(copied.folder / "benchmark.parquet").to_pandas()
    for metric, count in (("naopc", 3), ("randomization", 3), ("comprehensiveness", 13)):  # three are of one word
        rows = texts[(texts["metric"] == metric) & (texts["method"] == "relevance")]
        assert rows["value"].notna().sum() == count
    assert benchmark(copied, tiny.dataset(), **options)["fewer_texts"] == whole["fewer_texts"]
    with pytest.raises(InputError, match="`costly_texts` must be at least 2, got 1"):
        benchmark(copied, tiny.dataset(), **options, costly_texts=1)


def test_a_method_that_does_not_read_the_model_is_noticed(copied, monkeypatch):
    blind = AttributionMethod(lambda _, texts: [np.arange(len(text.words), dtype=float) for text in texts])
    monkeypatch.setitem(ATTRIBUTIONS, "attention", blind)
    found = benchmark(copied, tiny.dataset(), methods=["capacity", "attention"], removals=["delete"])
    values = {name: each["values"]["none"]["randomization"]["value"] for name, each in found["methods"].items()}
    assert values["attention"] == pytest.approx(1)
    assert 0.1 < values["random"] < 0.6  # texts of few words
    assert any(said.startswith("attention follows the text more than the weights") for said in found["conclusions"])
    assert not any(said.startswith("random follows the text") for said in found["conclusions"])


def test_chance_is_drawn_anew_for_every_seed(copied):
    options = {"methods": ["capacity"], "removals": ["delete"]}
    first = benchmark(copied, tiny.dataset(), **options)["methods"]["random"]["values"]["delete"]["aopc"]
    record = copied.record
    record["settings"]["recipe"]["seed"] += 1
    write_json(copied.config_file, record)
    assert benchmark(copied, tiny.dataset(), **options)["methods"]["random"]["values"]["delete"]["aopc"] != first


def test_what_can_not_be_judged_gets_one_clear_line(copied, tmp_path):
    with pytest.raises(InputError, match="expected delete among the removals, since most metrics need it, got hide"):
        benchmark(copied, tiny.dataset(), removals=["hide"])
    with pytest.raises(InputError, match="no attribution method is called 'capasity'"):
        benchmark(copied, tiny.dataset(), methods=["capasity"])
    with pytest.raises(InputError, match="no capacity at site 'fc1'; expected embedding, vmask, or a layer's"):
        benchmark(copied, tiny.dataset(), methods=["capacity@fc1"])
    with pytest.raises(InputError, match="expected a file of scores"):
        benchmark(copied, tiny.dataset(), methods=["capacity"], files={"theirs": tmp_path / "none.parquet"})
    with pytest.raises(InputError, match="was trained on other data"):
        benchmark(copied, tiny.dataset(seed=9))


@pytest.mark.parametrize("wrong", [["delete", "mask"], "mask"])
def test_a_way_of_removing_words_that_there_is_not_gets_one_line(without_type_checks, copied, wrong):
    with pytest.raises(InputError, match="expected removals from delete, replace, hide, average, as a list, got mask"):
        benchmark(copied, tiny.dataset(), removals=wrong)


def test_a_model_with_a_tokenizer_and_data_is_judged_as_its_run_is(copied, tmp_path):
    options = {"methods": ["capacity", "occlusion"], "removals": ["delete", "hide"]}
    of_run = benchmark(copied, tiny.dataset(), **options)
    model, tokenizer = copied.load_model()
    options |= {"tokenizer": tokenizer, "max_tokens": tiny.MAX_TOKENS}
    of_model = benchmark(model, tiny.dataset(), **options, output=tmp_path / "judged")
    same = ("texts", "site", "removals", "comparisons", "fewer_texts", "metrics")
    assert {name: of_model[name] for name in same} == {name: of_run[name] for name in same}
    for name, values in of_run["methods"].items():
        assert of_model["methods"][name]["values"] == values["values"], name
    assert (of_model["run"], of_model["command"]) == ("model", "")
    assert (tmp_path / "judged" / "benchmark.json").is_file()
    # What is not to be kept leaves nothing, and says the same.
    unkept = benchmark(model, tiny.dataset().test, **options)
    assert unkept["comparisons"] == of_run["comparisons"]
    with pytest.raises(InputError, match="judging a model needs a tokenizer and data; pass both"):
        benchmark(model, tiny.dataset())


def test_another_models_results_are_not_taken_for_those_of_the_run_in_the_folder(copied):
    options = {"methods": ["capacity"], "removals": ["delete"]}
    of_run = benchmark(copied, tiny.dataset(), **options)
    model, tokenizer = copied.load_model()
    shuffle_weights(model)
    options |= {"tokenizer": tokenizer, "max_tokens": tiny.MAX_TOKENS}
    of_other = benchmark(model, tiny.dataset(), **options, output=copied.folder)
    assert of_other["methods"]["capacity"]["values"] != of_run["methods"]["capacity"]["values"]


def test_other_labels_of_the_same_texts_are_judged_anew(copied, tmp_path):
    model, tokenizer = copied.load_model()
    test = tiny.dataset().test
    turned = Split(test.texts, tuple(1 - label for label in test.labels))
    options = {"methods": ["capacity"], "removals": ["delete"], "tokenizer": tokenizer, "max_tokens": tiny.MAX_TOKENS}
    benchmark(model, test, **options, output=tmp_path / "judged")
    again = benchmark(model, turned, **options, output=tmp_path / "judged")
    unkept = benchmark(model, turned, **options)
    assert {name: entry["values"] for name, entry in again["methods"].items()} == {
        name: entry["values"] for name, entry in unkept["methods"].items()
    }


def test_shuffled_weights_are_put_back(copied):
    model, _ = copied.load_model()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    with shuffled_weights(model, seed=1):
        assert any(not torch.equal(before[name], weight) for name, weight in model.state_dict().items())
    assert all(torch.equal(before[name], weight) for name, weight in model.state_dict().items())
