"""Questions with choices go from a table to the report by the command line, with right numbers."""

import re

import pytest
import torch
from pyarrow import parquet
from transformers import BertConfig, BertForMultipleChoice

from safr.cli.commands import main
from safr.data.choices import parse_question
from safr.runs import Run
from tests import tiny
from tests.explorer.conftest import contents_of
from tests.task_data import ANSWERS, write_choices

pytestmark = pytest.mark.slow

COLUMNS = ["--text-column", "question", "choices", "--label-column", "answer"]
SIZES = ["--width", "64", "--heads", "4", "--feed-forward", "128", "--vmask-width", "16", "--vmask-keep", "0.95"]
SIZES += ["--learning-rate", "3e-3", "--epochs", "8", "--batch-size", "16", "--importance", "0.01"]
SIZES += ["--interaction", "0.01"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("choices")
    data = write_choices(folder / "data.jsonl", rows=500)
    options = ["--data", str(data), "--task", "multiple_choice", *COLUMNS, *SIZES]
    assert main(["train", *options, "--output", str(folder / "run")]) == 0
    return Run(folder / "run")


def test_words_of_dev_texts_are_followed_through_training(run):
    assert [line["epoch"] for line in run.word_history] == list(range(len(run.history) + 1))


def test_choices_are_learned_and_accuracy_is_that_of_the_highest_logit(run):
    model, words = run.load_model()
    data, right = run.load_data(), 0
    for text, label in zip(data.test.texts, data.test.labels, strict=True):
        question = parse_question(text)
        inputs = words([question.text] * 3, list(question.choices), padding=True, return_tensors="pt")
        with torch.no_grad():
            logits = model(**{name: inputs[name][None] for name in ("input_ids", "attention_mask")}).logits
        right += int(logits.argmax()) == int(label)
    assert run.scores["accuracy"]["value"] == pytest.approx(right / len(data.test))
    assert run.scores["accuracy"]["value"] > 0.9
    assert run.scores["task"] == run.task == "multiple_choice"
    assert run.scores["choices"] == {"chance": pytest.approx(1 / 3)}


def test_the_table_holds_the_question_and_the_right_choice(run):
    table = parquet.read_table(run.words_file).to_pandas()
    first = table.groupby("text").first()
    assert run.scores["accuracy"]["value"] == pytest.approx((first["label"] == first["prediction"]).mean())
    answers = {word for listed in ANSWERS.values() for answer in listed for word in answer.lower().split()}
    assert set(table.loc[table["text_of_word"] == 1, "word"].str.lower()) <= answers


def test_a_choice_is_explained(run, capsys):
    question, choices = "film where plot was a story", "Ben | Cape Town | May"
    assert main(["explain", str(run.folder), question, choices]) == 0
    assert re.match(r"predicted Cape Town \(\d", capsys.readouterr().out)
    assert main(["explain", str(run.folder), question, choices.replace("May", "[[May]]")]) == 0
    said = capsys.readouterr().out
    assert said.startswith("predicted another answer (")
    assert said.partition("\n\n")[0].endswith("  May")
    assert main(["explain", str(run.folder), question, "Ben"]) == 2
    assert "expected two or more choices separated by ' | '" in capsys.readouterr().err


def test_the_benchmark_finds_the_words_that_decide(run):
    assert main(["benchmark", str(run.folder), "--texts", "30", "--methods", "occlusion", "gradient_x_input"]) == 0
    table = parquet.read_table(run.attributions_folder / "occlusion.parquet").to_pandas()
    best = table.loc[table.groupby("text")["score"].idxmax(), "word"].str.lower()
    answers = {word for listed in ANSWERS.values() for answer in listed for word in answer.lower().split()}
    assert best.isin([*ANSWERS, *answers]).mean() > 0.8


def test_report_and_page_show_the_choices(run, tmp_path):
    report, page = tmp_path / "report.html", tmp_path / "page.html"
    assert main(["report", str(run.folder), "--output", str(report)]) == 0
    text = report.read_text()
    assert "By chance" in text
    examples = text.partition('<section id="examples">')[2]  # the first one is on the first screen, too
    assert re.findall(r"label the answer, (right|wrong) in", text) == re.findall(r"%, (right|wrong)\)", examples)
    assert main(["explore", str(run.folder), "--export", str(page), "--texts", "3"]) == 0
    contents = contents_of(page.read_text())
    assert "[[" in contents["rows"][0]["text"]
    assert {row["label"] for row in contents["rows"]} == set(contents["labels"]) == {"the answer"}


def test_a_pretrained_encoder_gets_a_head_and_is_judged_as_it_is(tmp_path):
    words = tiny.tokenizer()
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertForMultipleChoice(BertConfig(vocab_size=len(words), **sizes)).save_pretrained(tmp_path / "bert")
    words.save_pretrained(tmp_path / "bert")
    options = ["--data", str(write_choices(tmp_path / "data.jsonl", rows=60)), *COLUMNS, "--task", "multiple_choice"]
    train = ["--model", str(tmp_path / "bert"), "--epochs", "1", "--output", str(tmp_path / "run")]
    assert main(["train", *options, *train]) == 0
    trained = Run(tmp_path / "run")
    assert main(["evaluate", str(trained.model_folder), *options, "--output", str(tmp_path / "other")]) == 0
    assert Run(tmp_path / "other").scores["accuracy"] == trained.scores["accuracy"]
    assert "pipeline_tag: multiple-choice" in (trained.model_folder / "README.md").read_text()
