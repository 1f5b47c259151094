"""Words with tags go from a CoNLL file to the report by the command line, with numbers that seqeval confirms."""

import json
import re

import pytest
import torch
from pyarrow import parquet
from seqeval.metrics import f1_score
from transformers import BertConfig, BertForTokenClassification, T5Config, T5ForTokenClassification

from safr.cli.commands import main
from safr.data.tags import tokenize_tags
from safr.data.targets import IGNORED
from safr.evaluation.evaluate import evaluate
from safr.runs import Run
from tests import tiny
from tests.explorer.conftest import contents_of
from tests.task_data import CUES, write_tags

pytestmark = pytest.mark.slow

SIZES = ["--width", "64", "--heads", "4", "--feed-forward", "128", "--vmask-width", "16", "--vmask-keep", "0.95"]
SIZES += ["--learning-rate", "1e-3", "--epochs", "30", "--importance", "0.01", "--interaction", "0.01"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tags")
    data = write_tags(folder / "data.conll", rows=900)
    assert main(["train", "--data", str(data), *SIZES, "--output", str(folder / "run")]) == 0
    return Run(folder / "run")


def test_words_of_dev_texts_are_followed_through_training(run):
    assert [line["epoch"] for line in run.word_history] == list(range(len(run.history) + 1))


def test_tags_are_learned_and_the_scores_are_those_of_seqeval(run):
    model, words = run.load_model()
    data = run.load_data()
    ids = {name: number for number, name in model.config.id2label.items()}
    names = dict(model.config.id2label)
    right, given = [], []
    for row in tokenize_tags(words, data.test, ids, 128):
        with torch.no_grad():
            logits = model(torch.tensor([row.ids])).logits[0]
        kept = [token for token, label in enumerate(row.labels) if label != IGNORED]
        right.append([names[row.labels[token]] for token in kept])
        given.append([names[int(logits[token].argmax())] for token in kept])
    scores = run.scores
    assert scores["task"] == run.task == "token_classification"
    assert scores["tags"]["entity_f1"]["value"] == pytest.approx(f1_score(right, given, zero_division=0))
    assert scores["tags"]["tokens"] == sum(map(len, right))
    assert scores["accuracy"]["value"] > 0.9


def test_accuracy_is_of_the_marked_words_in_the_table(run):
    table = parquet.read_table(run.words_file).to_pandas()
    first = table.groupby("text").first()
    assert run.scores["accuracy"]["value"] == pytest.approx((first["label"] == first["prediction"]).mean())
    marked = table[table["word"].str.startswith("[[")]
    assert len(marked) == len(first)
    assert set(marked["word"]) == {"[[bat]]"}  # the only word with a tag other than O


def test_the_history_holds_the_metric_of_the_best_epoch(run):
    best = max(line["dev_macro_f1"] for line in run.history)
    assert evaluate(run, split="dev")["tags"]["macro_f1"] == pytest.approx(best, abs=1e-6)


def test_one_words_tag_is_explained(run, capsys):
    assert main(["explain", str(run.folder), "the [[bat]] of a story has wings in it"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.match(r"predicted B-ANIMAL \(\d", lines[0])
    assert lines[3].endswith("  [[bat]]")
    assert main(["explain", str(run.folder), "the bat of a story has wings"]) == 2
    assert "expected a text with one mark at what is asked about, such as" in capsys.readouterr().err


def test_the_benchmark_finds_the_word_that_decides(run):
    assert main(["benchmark", str(run.folder), "--texts", "30", "--methods", "occlusion"]) == 0
    result = run.benchmark
    values = {name: result["methods"][name]["values"]["delete"] for name in ("occlusion", "random")}
    assert values["occlusion"]["srs"]["value"] > values["random"]["srs"]["value"]
    table = parquet.read_table(run.attributions_folder / "occlusion.parquet").to_pandas()
    best = table.loc[table.groupby("text")["score"].idxmax(), "word"]
    cues = {word for words in CUES.values() for word in words}
    assert best.isin(cues).mean() > 0.8


def test_report_and_page_show_the_marked_word(run, tmp_path):
    report, page = tmp_path / "report.html", tmp_path / "page.html"
    assert main(["report", str(run.folder), "--output", str(report)]) == 0
    assert "How well it tags" in report.read_text()
    assert main(["explore", str(run.folder), "--export", str(page), "--texts", "3"]) == 0
    contents = contents_of(page.read_text())
    row, (name,) = contents["rows"][0], contents["readings"]
    assert "[[bat]]" in row["text"]
    assert row["predictions"][name] == contents["readings"][name][str(row["number"])]["answer"]


def test_a_stopped_training_goes_on_by_resume(run):
    before = run.model_folder.joinpath("model.safetensors").read_bytes()
    assert main(["train", "--resume", str(run.folder)]) == 0
    assert run.model_folder.joinpath("model.safetensors").read_bytes() == before


def test_a_pretrained_encoder_gets_a_head_and_is_judged_as_it_is(run, tmp_path):
    words = tiny.tokenizer()
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=len(words), num_labels=3, **sizes)
    BertForTokenClassification(config).save_pretrained(tmp_path / "bert")
    words.save_pretrained(tmp_path / "bert")
    data = write_tags(tmp_path / "data.conll", rows=60)
    options = ["--data", str(data), "--model", str(tmp_path / "bert"), "--epochs", "1"]
    assert main(["train", *options, "--output", str(tmp_path / "run")]) == 0
    trained = Run(tmp_path / "run")
    assert main(["evaluate", str(trained.model_folder), "--data", str(data), "--output", str(tmp_path / "other")]) == 0
    assert Run(tmp_path / "other").scores["tags"] == trained.scores["tags"]


def test_texts_padded_to_one_length_and_many_tags_are_shown_by_name(tmp_path, capsys):
    kinds = ("AA", "BB", "CC", "DD", "EE", "FF", "GG")
    texts = [f"the O\n{kinds[n % 7].lower()}{n} B-{kinds[n % 7]}\nfilm O" for n in range(140)]
    (tmp_path / "data.conll").write_text("\n\n".join(texts) + "\n")
    options = ["--data", str(tmp_path / "data.conll"), "--width", "32", "--heads", "4", "--feed-forward", "64"]
    options += ["--padding", "count", "--max-tokens", "12"]
    assert main(["train", *options, "--epochs", "1", "--output", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    assert main(["explain", str(tmp_path / "run"), "the [[film]]", "--json"]) == 0
    explained = json.loads(capsys.readouterr().out)
    assert set(explained["labels"]) == {f"B-{kind}" for kind in kinds} | {"O"}


def test_a_model_whose_embeddings_can_not_be_seen_is_refused_before_training(tmp_path, capsys):
    words = tiny.tokenizer()
    config = T5Config(
        vocab_size=len(words),
        d_model=16,
        d_kv=8,
        d_ff=32,
        num_layers=1,
        num_heads=2,
        decoder_start_token_id=0,
        num_labels=3,
    )
    T5ForTokenClassification(config).save_pretrained(tmp_path / "t5")
    words.save_pretrained(tmp_path / "t5")
    data = write_tags(tmp_path / "data.conll", rows=60)
    options = ["--data", str(data), "--model", str(tmp_path / "t5"), "--no-vmask", "--importance-sites", "fc1.0"]
    assert main(["train", *options, "--epochs", "1", "--output", str(tmp_path / "run")]) == 2
    assert "SAFR can't find where T5ForTokenClassification looks up its tokens" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
