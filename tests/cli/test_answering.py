"""Questions about texts go from a SQuAD file to the report by the command line, with right numbers."""

import re

import pytest
from pyarrow import parquet
from torchmetrics.functional.text import squad
from transformers import BertConfig, BertForQuestionAnswering

from safr.cli.commands import main
from safr.data.answers import list_answer_texts
from safr.evaluation.evaluate import evaluate
from safr.runs import Run
from tests import tiny
from tests.explorer.conftest import contents_of
from tests.task_data import ANSWERS, write_answers

pytestmark = pytest.mark.slow

SIZES = ["--width", "64", "--heads", "4", "--feed-forward", "128", "--vmask-width", "16", "--vmask-keep", "0.95"]
SIZES += ["--learning-rate", "5e-3", "--epochs", "20", "--batch-size", "16", "--patience", "20"]
SIZES += ["--importance", "0.01", "--interaction", "0.01"]
QUESTION, TEXT = "where was it , please ?", "film Ben plot New York scene May story"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("answers")
    data = write_answers(folder / "data.json", rows=1500)  # of fewer it learns too little on some processors
    assert main(["train", "--data", str(data), *SIZES, "--output", str(folder / "run")]) == 0
    return Run(folder / "run")


def test_words_of_dev_texts_are_followed_through_training(run):
    assert [line["epoch"] for line in run.word_history] == list(range(len(run.history) + 1))


def test_answers_are_learned_and_the_scores_are_those_of_torchmetrics(run):
    model, words = run.load_model()
    data, scores = run.load_data(), run.scores
    assert scores["task"] == run.task == "question_answering"
    assert run.has_pairs
    assert scores["accuracy"]["value"] > 0.85
    predictions, targets = [], []
    for number, ((question, text), right) in enumerate(zip(data.test.texts, list_answer_texts(data.test), strict=True)):
        given = main_answer(model, words, question, text)
        predictions.append({"prediction_text": given, "id": str(number)})
        targets.append({"answers": {"text": right, "answer_start": [0]}, "id": str(number)})
    expected = squad(predictions, targets)
    assert scores["answers"]["exact_match"]["value"] == pytest.approx(float(expected["exact_match"]) / 100)
    assert scores["answers"]["f1"]["value"] == pytest.approx(float(expected["f1"]) / 100)
    assert scores["answers"]["questions"] == scores["texts"] == len(data.test)


def main_answer(model, words, question, text):
    """The answer by a slow loop over the spans of the text."""
    inputs = words(question, text, return_tensors="pt", return_offsets_mapping=True)
    offsets = inputs.pop("offset_mapping")[0].tolist()
    outputs = model(**inputs)
    start, end = outputs.start_logits[0].tolist(), outputs.end_logits[0].tolist()
    possible = [n for n, part in enumerate(inputs.sequence_ids(0)) if part == 1]
    spans = [(a, b) for a in possible for b in possible if a <= b]
    first, last = max(spans, key=lambda span: start[span[0]] + end[span[1]])
    return text[offsets[first][0] : offsets[last][1]]


def test_accuracy_is_of_the_marked_answers_in_the_table(run):
    table = parquet.read_table(run.words_file).to_pandas()
    first = table.groupby("text").first()
    assert run.scores["accuracy"]["value"] == pytest.approx((first["label"] == first["prediction"]).mean())
    assert set(first["label"]) == {"the answer"}
    marked = table[table["word"].str.startswith("[[")]
    assert len(marked) == len(first)
    assert set(marked["text_of_word"]) == {1}


def test_the_history_holds_the_metric_of_the_best_epoch(run):
    best = max(line["dev_exact_match"] for line in run.history)
    assert evaluate(run, split="dev")["accuracy"]["value"] == pytest.approx(best, abs=1e-6)


def test_an_answer_is_explained(run, capsys):
    assert main(["explain", str(run.folder), QUESTION, TEXT]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.match(r"predicted New York \(\d", lines[0])
    words = [line.split("  ")[1] for line in lines[2 : lines.index("")]]
    assert [word for word in words if "[[" in word or "]]" in word] == ["[[New", "York]]"]
    assert main(["explain", str(run.folder), QUESTION, TEXT.replace("May", "[[May]]")]) == 0
    assert capsys.readouterr().out.startswith("predicted another answer (")
    assert main(["explain", str(run.folder), QUESTION]) == 2
    assert "was trained on pairs; give two texts" in capsys.readouterr().err


def test_questions_of_a_file_are_explained(run, tmp_path, capsys):
    file = write_answers(tmp_path / "questions.json", rows=20, seed=1)
    options = ["--text-column", "question", "context", "--output", str(tmp_path / "words.parquet")]
    assert main(["explain", str(run.folder), "--file", str(file), *options]) == 0
    table = parquet.read_table(tmp_path / "words.parquet").to_pandas()
    answers = {answer for listed in ANSWERS.values() for answer in listed}
    assert table["text"].nunique() == 20
    assert table["prediction"].isin(answers).mean() > 0.8


def test_the_benchmark_finds_the_word_that_decides(run):
    assert main(["benchmark", str(run.folder), "--texts", "30", "--methods", "occlusion", "gradient_x_input"]) == 0
    table = parquet.read_table(run.attributions_folder / "occlusion.parquet").to_pandas()
    best = table.loc[table.groupby("text")["score"].idxmax(), "word"]
    assert best.isin(list(ANSWERS)).mean() > 0.8  # the question's who, where or when


def test_report_and_page_show_the_answer(run, tmp_path):
    report, page = tmp_path / "report.html", tmp_path / "page.html"
    assert main(["report", str(run.folder), "--output", str(report)]) == 0
    assert "How well it answers" in report.read_text()
    verdicts = re.findall(r"label the answer, (\w+) in .*?says <b class=.(\w+)", report.read_text(), re.DOTALL)
    assert verdicts
    assert all(origin == verdict for origin, verdict in verdicts)
    assert main(["explore", str(run.folder), "--export", str(page), "--texts", "3"]) == 0
    contents = contents_of(page.read_text())
    assert "[[" in contents["rows"][0]["text"]
    predicted = parquet.read_table(run.words_file).to_pandas().groupby("text")["prediction"].first()
    assert {row["label"] for row in contents["rows"]} == {"the answer"}
    assert all(row["predictions"][run.name] == predicted[row["number"]] for row in contents["rows"])


def test_a_stopped_training_goes_on_by_resume(run):
    before = run.model_folder.joinpath("model.safetensors").read_bytes()
    assert main(["train", "--resume", str(run.folder)]) == 0
    assert run.model_folder.joinpath("model.safetensors").read_bytes() == before


def test_a_pretrained_encoder_gets_a_head_and_is_judged_as_it_is(run, tmp_path):
    words = tiny.tokenizer()
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertForQuestionAnswering(BertConfig(vocab_size=len(words), **sizes)).save_pretrained(tmp_path / "bert")
    words.save_pretrained(tmp_path / "bert")
    data = write_answers(tmp_path / "data.json", rows=60)
    options = ["--data", str(data), "--model", str(tmp_path / "bert"), "--epochs", "1", "--max-tokens", "32"]
    assert main(["train", *options, "--output", str(tmp_path / "run")]) == 0
    trained = Run(tmp_path / "run")
    judge = ["--data", str(data), "--output", str(tmp_path / "other"), "--max-tokens", "32"]
    assert main(["evaluate", str(trained.model_folder), *judge]) == 0
    assert Run(tmp_path / "other").scores["answers"] == trained.scores["answers"]
    card = (trained.model_folder / "README.md").read_text()
    assert "pipeline_tag: question-answering" in card
    assert "| exact match |" in card
