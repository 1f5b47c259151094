"""Every task goes from a user's file to the report by the command line, with numbers that scikit-learn confirms."""

import json
import re
import shlex
from functools import partial

import numpy as np
import pytest
import torch
from pyarrow import parquet
from scipy.stats import spearmanr
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error, root_mean_squared_error
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForMultipleChoice,
    BertForQuestionAnswering,
    BertForTokenClassification,
    GPT2Config,
    GPT2LMHeadModel,
    T5Config,
    T5ForConditionalGeneration,
)

from safr.cli.commands import main
from safr.config import Regularization
from safr.data import sources
from safr.data.planted_pairs import planted_pairs
from safr.model.attach import attach
from safr.runs import Run
from tests import tiny
from tests.explorer.conftest import contents_of
from tests.task_data import CLASSES, OPTIONS, write_task

pytestmark = pytest.mark.slow

SIZES = ["--width", "32", "--heads", "2", "--feed-forward", "64", "--vmask-width", "16"]
SIZES += ["--learning-rate", "3e-3", "--epochs", "8", "--batch-size", "16"]
TASKS = tuple(OPTIONS)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of each task, trained and evaluated by `safr train` on a CSV file of 500 rows."""
    folder = tmp_path_factory.mktemp("tasks")
    for task in TASKS:
        file = write_task(task, folder / f"{task}.csv")
        status = main(["train", "--data", str(file), *OPTIONS[task], *SIZES, "--output", str(folder / task)])
        assert status == 0
    return {task: Run(folder / task) for task in TASKS}


def read_texts(run):
    """One row per test text: its label and the model's prediction, from the table of words."""
    table = parquet.read_table(run.words_file).to_pandas().groupby("text").first()
    return table["label"], table["prediction"]


def as_bits(lists):
    return np.array([[name in names.split("; ") for name in sorted(CLASSES)] for names in lists], dtype=int)


@pytest.mark.parametrize("task", TASKS)
def test_words_of_dev_texts_are_followed_through_training(runs, task):
    run = runs[task]
    assert [line["epoch"] for line in run.word_history] == list(range(len(run.history) + 1))


def test_scores_of_pairs_are_those_of_scikit_learn(runs):
    labels, predictions = read_texts(runs["pairs"])
    scores = runs["pairs"].scores
    assert scores["accuracy"]["value"] == pytest.approx(accuracy_score(labels, predictions))
    assert scores["classes"]["macro_f1"]["value"] == pytest.approx(f1_score(labels, predictions, average="macro"))
    assert scores["accuracy"]["value"] > 0.8
    assert set(scores["within"]) == {"first", "second"}


def test_scores_of_lists_of_classes_are_those_of_scikit_learn(runs):
    labels, predictions = map(as_bits, read_texts(runs["multi_label"]))
    scores = runs["multi_label"].scores
    assert scores["accuracy"]["value"] == pytest.approx(accuracy_score(labels, predictions))
    for average in ("macro", "micro"):
        expected = f1_score(labels, predictions, average=average)
        assert scores["classes"][f"{average}_f1"]["value"] == pytest.approx(expected)
    assert [row["support"] for row in scores["classes"]["per_class"]] == labels.sum(axis=0).tolist()
    assert scores["classes"]["micro_f1"]["value"] > 0.5


def test_scores_of_numbers_are_those_of_scikit_learn(runs):
    labels, predictions = read_texts(runs["regression"])
    scores = runs["regression"].scores
    assert scores["mae"]["value"] == pytest.approx(mean_absolute_error(labels, predictions))
    assert scores["values"]["rmse"]["value"] == pytest.approx(root_mean_squared_error(labels, predictions))
    assert scores["values"]["spearman"]["value"] == pytest.approx(spearmanr(labels, predictions).statistic)
    assert scores["mae"]["value"] < scores["values"]["constant"]
    assert "accuracy" not in scores


def test_srs_of_numbers_is_the_growth_of_the_error(runs):
    scores = runs["regression"].scores
    grown = scores["deletion"]["capacity"]["30"]["value"] - scores["mae"]["value"]
    assert scores["srs"]["30"]["value"] == pytest.approx(grown)


def test_words_of_pairs_say_which_text_they_are_from(runs):
    table = parquet.read_table(runs["pairs"].words_file).to_pandas()
    first = table[table["text"] == 0]
    assert first["text_of_word"].is_monotonic_increasing
    assert set(first["text_of_word"]) == {0, 1}


@pytest.mark.parametrize("task", TASKS)
def test_the_history_names_the_metric_that_the_best_epoch_is_chosen_by(runs, task):
    metric = "dev_mae" if task == "regression" else "dev_accuracy"
    assert [metric in line for line in runs[task].history] == [True] * 8
    state = [line[metric] for line in runs[task].history]
    best = min(state) if task == "regression" else max(state)
    assert main(["evaluate", str(runs[task].folder), "--split", "dev"]) == 0
    assert best == pytest.approx(evaluate_dev(runs[task]), abs=1e-6)


def evaluate_dev(run):
    from safr.evaluation.evaluate import evaluate

    scores = evaluate(run, split="dev")
    return scores["mae" if run.task == "regression" else "accuracy"]["value"]


@pytest.mark.parametrize("task", TASKS)
def test_the_report_of_a_task_shows_its_own_metric(runs, task, tmp_path):
    assert main(["report", str(runs[task].folder), "--output", str(tmp_path / "report.html")]) == 0
    page = (tmp_path / "report.html").read_text()
    assert ("mean absolute error" in page) == (task == "regression")
    assert ("First text or second" in page) == (task == "pairs")
    assert ("micro F1" in page) == (task == "multi_label")
    assert ("How far off" in page) == (task == "regression")


@pytest.mark.parametrize("task", TASKS)
def test_the_benchmark_of_a_task_judges_all_methods(runs, task):
    assert main(["benchmark", str(runs[task].folder), "--texts", "12", "--methods", "occlusion"]) == 0
    result = runs[task].benchmark
    values = result["methods"]["occlusion"]["values"]["delete"]
    assert (
        values["comprehensiveness"]["value"]
        > result["methods"]["random"]["values"]["delete"]["comprehensiveness"]["value"]
    )
    assert ("words_to_flip" in values) == (task != "regression")
    assert result["metrics"]["srs"]["unit"] == ("label" if task == "regression" else "share")


@pytest.mark.parametrize("task", TASKS)
def test_the_page_of_a_task_holds_its_texts(runs, task, tmp_path):
    page = tmp_path / "page.html"
    assert main(["explore", str(runs[task].folder), "--export", str(page), "--texts", "3"]) == 0
    assert ("\\u2016" in page.read_text()) == (task == "pairs")  # the double bar between the texts of a pair
    contents = contents_of(page.read_text())
    assert (contents["task"], contents["has_pairs"]) == (runs[task].task, task == "pairs")
    (row, *_), (name,) = contents["rows"], contents["readings"]
    reading = contents["readings"][name][str(row["number"])]
    assert row["predictions"][name] == reading["answer"]
    if task == "regression":
        assert float(reading["answer"]) == pytest.approx(reading["shares"][0], rel=1e-3)


@pytest.mark.parametrize("task", TASKS)
def test_a_stopped_task_goes_on_by_resume(runs, task, capsys):
    before = runs[task].model_folder.joinpath("model.safetensors").read_bytes()
    assert main(["train", "--resume", str(runs[task].folder)]) == 0
    assert runs[task].model_folder.joinpath("model.safetensors").read_bytes() == before


def test_a_metric_of_another_task_is_refused(runs, tmp_path, capsys):
    data = str(runs["regression"].settings.data)
    options = ["--label-column", "stars", "--metric", "macro_f1", "--output", str(tmp_path / "run")]
    assert main(["train", "--data", data, *options]) == 2
    assert "`metric` 'macro_f1' is none of regression, which the data are for; choose mae, rmse, spearman" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "run").exists()


def test_the_settings_say_how_a_task_was_read(runs):
    record = json.loads(runs["pairs"].config_file.read_text())
    assert record["settings"]["text_column"] == ["premise", "hypothesis"]
    assert runs["pairs"].settings.text_column == ("premise", "hypothesis")
    assert "--text-column premise hypothesis" in runs["pairs"].settings.command
    assert [runs[task].task for task in TASKS] == ["classification", "multi_label", "regression"]


@pytest.mark.parametrize("task", ["pairs", "multi_label", "regression"])
def test_a_text_of_a_task_is_explained_in_its_own_words(runs, task, capsys):
    texts = ["a dog waits by the river", "there is an animal by the river"] if task == "pairs" else ["why a dull film"]
    assert main(["explain", str(runs[task].folder), *texts]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("predicted ")
    assert ("%" in lines[0]) == (task != "regression")
    assert lines.index("") == 2 + sum(len(text.split()) for text in texts)
    wrong = texts[:1] if task == "pairs" else [*texts, "one more"]
    assert main(["explain", str(runs[task].folder), *wrong]) == 2
    assert "was trained on" in capsys.readouterr().err


def test_a_file_of_pairs_is_explained_by_two_columns(runs, tmp_path):
    file = write_task("pairs", tmp_path / "new.csv", rows=12, seed=1)
    output = tmp_path / "words.parquet"
    options = ["--file", str(file), "--text-column", "premise", "hypothesis", "--output", str(output)]
    assert main(["explain", str(runs["pairs"].folder), *options]) == 0
    table = parquet.read_table(output).to_pandas()
    assert table["text"].nunique() == 12
    assert set(table["text_of_word"]) == {0, 1}


def test_a_sweep_over_numbers_to_predict_compares_their_errors(runs, tmp_path, capsys):
    folder = tmp_path / "sweep"
    options = ["--data", str(runs["regression"].settings.data), *OPTIONS["regression"], *SIZES]
    options += ["--output", str(folder), "--vary", "importance=0.1", "--seeds", "2", "--workers", "1", "--test"]
    assert main(["sweep", *options]) == 0
    text = (folder / "table.md").read_text()
    assert text.startswith("### Dev split, in the labels' unit: mean over seeds")
    assert "| setting | seeds | mean absolute error | random deletion | by capacity | SRS |" in text
    assert "the settings whose mean absolute error is at most 2 % above that of the baseline (" in text
    assert "accuracy" not in text
    table = parquet.read_table(folder / "runs.parquet").to_pandas()
    assert "accuracy" not in table
    assert (table["mae_low"] < table["mae"]).all()
    dev = table[table["split"] == "dev"].set_index("run")
    for name in ("baseline,seed=0", "importance=0.1,seed=1"):
        scores = json.loads((folder / name / "scores_dev.json").read_text())
        assert dev.loc[name, "mae"] == scores["mae"]["value"]
        assert dev.loc[name, "srs"] == scores["srs"]["30"]["value"]
    picture = (folder / "pareto.svg").read_text()
    assert "mean absolute error" in picture
    assert "SRS: growth of the mean absolute error" in picture
    assert "%" not in re.sub(r"<style.*?</style>|<[^>]*>", "", picture, flags=re.DOTALL)
    capsys.readouterr()


LANGUAGE = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}


def write_head(kind, folder):
    """A tiny model with a head that says nothing about a text as a whole."""
    words = tiny.tokenizer()
    small = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 32}
    bert = BertConfig(vocab_size=len(words), **small)
    model = {
        "gpt2": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=len(words), n_embd=16, n_layer=1, n_head=2, **LANGUAGE)),
        "t5": lambda: T5ForConditionalGeneration(
            T5Config(
                vocab_size=len(words), d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, decoder_start_token_id=0
            )
        ),
        "tags": lambda: BertForTokenClassification(bert),
        "answers": lambda: BertForQuestionAnswering(bert),
        "choice": lambda: BertForMultipleChoice(bert),
        "masked": lambda: BertForMaskedLM(bert),
    }[kind]()
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("command", ["evaluate", "benchmark", "report", "explore"])
def test_heads_of_another_kind_are_refused_in_one_line(command, tmp_path, capsys):
    folder = write_head("masked", tmp_path / "model")
    data = write_task("multi_label", tmp_path / "data.csv", rows=40)
    assert main([command, str(folder), "--data", str(data)]) == 2
    assert (
        "expected a model that classifies texts or their words, predicts a number, writes text, finds answers or picks "
        "choices, got BertForMaskedLM" in capsys.readouterr().err
    )


@pytest.mark.parametrize(("kind", "is_explained"), [("gpt2", True), ("t5", True), ("masked", False)])
def test_what_writes_text_is_explained_by_its_next_token(kind, is_explained, tmp_path, capsys):
    folder = write_head(kind, tmp_path / "model")
    assert main(["explain", str(folder), "a dull film"]) == (0 if is_explained else 2)
    said = capsys.readouterr()
    assert ("predicted " in said.out) == is_explained
    assert (
        is_explained
        or "expected a model that classifies texts or their words, predicts a number, writes text, finds" in said.err
    )


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_each_token_that_a_model_writes_is_explained(kind, tmp_path, capsys):
    folder = write_head(kind, tmp_path / "model")
    assert main(["explain", str(folder), "a dull film", "--generate", "3", "--json"]) == 0
    explained = json.loads(capsys.readouterr().out)
    assert len(explained["scores"]) == len(explained["tokens"]) == 3
    assert explained["words"][:3] == ["a", "dull", "film"]
    assert main(["explain", str(folder), "a dull film", "--generate", "3", "--method", "capacity"]) == 0
    wrote, heading, *lines = capsys.readouterr().out.splitlines()
    assert wrote.startswith("wrote ")
    assert heading == "token, probability, words with the highest capacity"
    assert len(lines) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--generate", "0"], "max_new_tokens must be a whole number of at least 1, got 0"),
        (["--generate", "2", "--method", "magic"], "no attribution method is called 'magic'"),
        (
            ["--generate", "2", "--target", "film"],
            "`safr explain --generate N` needs RUN and one TEXT, and takes --method",
        ),
        (["the scene", "--generate", "2"], "`safr explain --generate N` needs RUN and one TEXT"),
    ],
)
def test_what_is_wrong_with_generating_is_one_line(options, message, tmp_path, capsys):
    folder = write_head("gpt2", tmp_path / "model")
    assert main(["explain", str(folder), "a dull film", *options]) == 2
    assert message in capsys.readouterr().err


def test_a_classifier_writes_nothing(runs, capsys):
    assert main(["explain", str(runs["multi_label"].folder), "a dull film", "--generate", "2"]) == 2
    assert "expected a model that writes text, got " in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["gpt2", "t5", "tags", "answers", "choice"])
def test_every_head_is_trained_by_attach(kind, tmp_path):
    classes = {"gpt2": GPT2LMHeadModel, "t5": T5ForConditionalGeneration, "tags": BertForTokenClassification}
    classes |= {"answers": BertForQuestionAnswering, "choice": BertForMultipleChoice}
    model = classes[kind].from_pretrained(write_head(kind, tmp_path / "model"))
    words = tiny.tokenizer()
    attach(model, Regularization(0.1, 0.1, vmask_width=8, warmup_steps=0), tokenizer=words).train()
    inputs = dict(words(["a dull film was", "the fresh scene is"], return_tensors="pt"))
    if kind == "choice":
        inputs = {name: value[None] for name, value in inputs.items()}
    labels = {"gpt2": inputs["input_ids"], "t5": inputs["input_ids"], "tags": torch.zeros(2, 4, dtype=torch.long)}
    labels["choice"] = torch.tensor([1])
    targets = {"start_positions": torch.tensor([0, 1]), "end_positions": torch.tensor([1, 2])}
    model(**inputs, **(targets if kind == "answers" else {"labels": labels[kind]})).loss.backward()
    assert {"task", "importance", "interaction"} <= set(model.safr.terms)
    assert all(weight.grad is not None for weight in model.safr.parameters() if weight.requires_grad)


def test_planted_pairs_are_trained_explained_and_benchmarked_against_the_known_words(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sources, "planted_pairs", partial(planted_pairs, train=300, dev=40, test=40))
    run = Run(tmp_path / "run")
    assert main(["train", "--data", "planted_pairs", *SIZES, "--output", str(run.folder)]) == 0
    assert run.has_pairs
    assert set(run.scores["within"]) == {"first", "second"}
    assert main(["evaluate", str(run.folder)]) == 0
    assert main(["explain", str(run.folder), "the red box", "her box is red"]) == 0
    assert main(["benchmark", str(run.folder), "--methods", "capacity", "occlusion", "--texts", "20"]) == 0
    values = parquet.read_table(run.benchmark_values_file).to_pandas()
    auprc = values[values["metric"] == "auprc"].dropna()
    assert auprc.groupby("method")["text"].count().to_dict() == dict.fromkeys(
        ["absolute_occlusion", "capacity", "occlusion", "random"], 20
    )
    capsys.readouterr()
    assert main(["data"]) == 0
    assert "planted_pairs" in capsys.readouterr().out


def test_a_run_with_training_arguments_of_a_file_is_trained_reported_and_repeated_without_it(tmp_path, capsys):
    data = str(write_task("multi_label", tmp_path / "data.csv", rows=200))
    arguments = tmp_path / "args.yaml"
    arguments.write_text("optim: adafactor\nadam_epsilon: 1e-6\nneftune_noise_alpha: 5\n")
    run = Run(tmp_path / "run")
    options = ["--data", data, *SIZES, "--training-arguments", str(arguments)]
    assert main(["train", *options, "--output", str(run.folder)]) == 0
    words = ("adam_epsilon=1e-06", "neftune_noise_alpha=5", "optim=adafactor")
    assert run.settings.recipe.training_arguments == words
    assert main(["report", str(run.folder)]) == 0
    arguments.unlink()
    again = Run(tmp_path / "again")
    assert main([*shlex.split(run.settings.command)[1:], "--output", str(again.folder)]) == 0
    one, other = (run.load_model(device="cpu")[0].state_dict() for run in (run, again))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert main(["train", "--resume", str(run.folder)]) == 0
    arguments.write_text("label_smoothing_factor: 0.1")
    capsys.readouterr()
    assert main(["train", *options, "--output", str(tmp_path / "smooth")]) == 2
    assert "label_smoothing_factor is for one class a text" in capsys.readouterr().err
    assert not (tmp_path / "smooth").exists()


def test_the_report_of_a_run_with_smoothed_labels_shows_the_terms_that_there_are(tmp_path):
    data = str(write_task("pairs", tmp_path / "data.csv", rows=200))
    run = Run(tmp_path / "run")
    options = ["--data", data, *OPTIONS["pairs"], *SIZES, "--training-arguments", "label_smoothing_factor=0.1"]
    assert main(["train", *options, "--output", str(run.folder)]) == 0
    assert "task" not in run.history[0]
    assert run.history[0]["importance"] > 0
    assert main(["report", str(run.folder)]) == 0
