"""A GPT-2 and a T5 go from a user's file to the report by the command line, with numbers that their losses confirm."""

import csv
import json
import math

import numpy as np
import pytest
import torch
from pyarrow import parquet
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

import safr
from safr.cli.commands import main
from safr.data.targets import IGNORED, tokenize_targets
from safr.runs import Run
from tests.explorer.conftest import contents_of
from tests.task_data import COLOURS, write_question

pytestmark = pytest.mark.slow

COLUMNS = ["--text-column", "question", "--label-column", "answer", "--task", "generation"]
RECIPE = ["--learning-rate", "3e-3", "--max-tokens", "32"]
KINDS = ("gpt2", "t5")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The data, and a new GPT-2 and a new T5 with a tokenizer of the data."""
    folder = tmp_path_factory.mktemp("generation")
    rows = list(csv.reader(write_question(folder / "data.csv").read_text().splitlines()))[1:]
    texts = [f"{question} {answer}" for question, answer in rows]
    (folder / "lines.txt").write_text("\n".join(texts))
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(special_tokens=["<pad>", "</s>"], initial_alphabet=alphabet, vocab_size=400)
    backend.train_from_iterator(texts, trainer)
    words = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<pad>", eos_token="</s>")
    ids = {"vocab_size": len(words), "eos_token_id": 1, "pad_token_id": 0}
    torch.manual_seed(0)
    gpt2 = GPT2Config(n_embd=64, n_layer=2, n_head=4, n_positions=64, bos_token_id=1, **ids)
    t5 = T5Config(d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4, decoder_start_token_id=0, **ids)
    for name, model in (("gpt2", GPT2LMHeadModel(gpt2)), ("t5", T5ForConditionalGeneration(t5))):
        model.save_pretrained(folder / name)
        words.save_pretrained(folder / name)
    return folder


@pytest.fixture(scope="module")
def runs(folder):
    """Both, trained and evaluated by `safr train`."""
    for kind in KINDS:
        options = [
            "--data",
            str(folder / "data.csv"),
            *COLUMNS,
            "--model",
            str(folder / kind),
            *RECIPE,
            "--epochs",
            "12",
        ]
        assert main(["train", *options, "--output", str(folder / "runs" / kind)]) == 0
    return {kind: Run(folder / "runs" / kind) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_the_answer_is_learned_and_in_an_encoder_goes_with_capacity(runs, kind):
    scores = runs[kind].scores
    assert scores["task"] == "generation"
    assert scores["accuracy"]["value"] > 0.9
    # A causal model's last word asks the question, and its capacity knows nothing of what comes after a word.
    assert kind == "gpt2" or scores["srs"]["above_random"]["30"]["low"] > 0
    assert scores["generation"]["majority"]["share"] < 0.3


@pytest.mark.parametrize("kind", KINDS)
def test_words_of_dev_texts_are_followed_through_training(runs, kind):
    run = runs[kind]
    assert [line["epoch"] for line in run.word_history] == list(range(len(run.history) + 1))


@pytest.mark.parametrize("kind", KINDS)
def test_the_scores_are_those_of_the_models_own_loss(runs, kind):
    run, (model, words) = runs[kind], runs[kind].load_model()
    rows = tokenize_targets(words, run.load_data().test, 32, encoder_decoder=model.config.is_encoder_decoder)
    losses, right, counts = [], [], []
    for row in rows:
        labels = torch.tensor([row.labels])
        with torch.no_grad():
            outputs = model(torch.tensor([row.ids]), labels=labels)
        logits = outputs.logits[0] if kind == "t5" else outputs.logits[0, :-1]
        wanted = labels[0] if kind == "t5" else labels[0, 1:]
        counts.append(int((wanted != IGNORED).sum()))
        losses.append(float(torch.nn.functional.cross_entropy(logits, wanted, ignore_index=IGNORED)))
        right.append(int((logits.argmax(dim=-1) == wanted)[wanted != IGNORED].sum()))
    written = run.scores["generation"]
    assert written["tokens"] == sum(counts)
    assert written["perplexity"]["value"] == pytest.approx(math.exp(np.average(losses, weights=counts)), rel=1e-4)
    assert written["token_accuracy"]["value"] == pytest.approx(sum(right) / sum(counts))


@pytest.mark.parametrize("kind", KINDS)
def test_accuracy_is_of_the_words_table_and_greedy_decoding_agrees(runs, kind):
    run, (model, words) = runs[kind], runs[kind].load_model()
    table = parquet.read_table(run.words_file).to_pandas().groupby("text").first()
    assert run.scores["accuracy"]["value"] == pytest.approx((table["label"] == table["prediction"]).mean())
    test = run.load_data().test
    inputs = words(list(test.texts[:8]), return_tensors="pt", padding=True, padding_side="left")
    written = model.generate(**{name: inputs[name] for name in ("input_ids", "attention_mask")}, max_new_tokens=4)
    new = written[:, 1:] if kind == "t5" else written[:, inputs["input_ids"].shape[1] :]
    outputs = [text.strip() for text in words.batch_decode(new, skip_special_tokens=True)]
    whole = np.mean([output == target for output, target in zip(outputs, test.labels, strict=False)])
    assert whole == pytest.approx(run.scores["generation"]["exact_match"]["value"], abs=0.3)


@pytest.mark.parametrize("kind", KINDS)
def test_dev_perplexity_chooses_the_epoch_and_is_that_of_an_evaluation(runs, kind):
    perplexities = [line["dev_perplexity"] for line in runs[kind].history]
    assert len(perplexities) == 12
    scores = safr.evaluate(runs[kind], split="dev")
    assert scores["generation"]["perplexity"]["value"] == pytest.approx(min(perplexities), rel=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_generated_token_is_explained_by_the_colour(runs, kind, capsys):
    texts = [text for text in runs[kind].load_data().test.texts if sum(word in COLOURS for word in text.split()) == 1]
    found = 0
    for text in texts[:5]:
        assert main(["explain", str(runs[kind].folder), text, "--generate", "1", "--json"]) == 0
        explained = json.loads(capsys.readouterr().out)
        best = explained["words"][int(np.argmax(explained["scores"][0][: len(text.split())]))]
        found += best in COLOURS and explained["tokens"][0].strip() in best
    assert found >= 4


@pytest.mark.parametrize("kind", KINDS)
def test_the_benchmark_judges_the_explanations_of_the_next_token(runs, kind):
    assert main(["benchmark", str(runs[kind].folder), "--texts", "12", "--methods", "occlusion"]) == 0
    result = runs[kind].benchmark
    values = {name: result["methods"][name]["values"]["delete"] for name in ("occlusion", "random")}
    assert result["task"] == "generation"
    assert values["occlusion"]["comprehensiveness"]["value"] > values["random"]["comprehensiveness"]["value"]


@pytest.mark.parametrize("kind", KINDS)
def test_report_and_page_show_the_next_token(runs, kind, tmp_path):
    report, page = tmp_path / "report.html", tmp_path / "page.html"
    assert main(["report", str(runs[kind].folder), "--output", str(report)]) == 0
    assert "How well it writes" in report.read_text()
    assert main(["explore", str(runs[kind].folder), "--export", str(page), "--texts", "3"]) == 0
    contents = contents_of(page.read_text())
    assert contents["task"] == "generation"
    row, (name,) = contents["rows"][0], contents["readings"]
    assert row["predictions"][name] == contents["readings"][name][str(row["number"])]["answer"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_stopped_training_goes_on_by_resume(runs, kind):
    before = runs[kind].model_folder.joinpath("model.safetensors").read_bytes()
    assert main(["train", "--resume", str(runs[kind].folder)]) == 0
    assert runs[kind].model_folder.joinpath("model.safetensors").read_bytes() == before


def test_lines_of_text_are_learned_and_judged_at_a_token_of_each(folder, capsys):
    options = ["--data", str(folder / "lines.txt"), "--model", str(folder / "gpt2"), *RECIPE, "--epochs", "2"]
    assert main(["train", *options, "--output", str(folder / "runs" / "lines")]) == 0
    assert "texts to learn to write in train: 11.0 words on average" in capsys.readouterr().out
    run = Run(folder / "runs" / "lines")
    assert run.task == "generation"
    assert run.scores["generation"]["exact_match"]["value"] < 0.1
    assert run.scores["not_judged"] == 0
    lines = (folder / "lines.txt").read_text().splitlines()
    for example in run.examples:
        assert any(line.startswith(example["text"] + example["label"]) for line in lines)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_somebody_else_trained_is_judged_on_the_data(runs, folder, kind, tmp_path):
    model = runs[kind].model_folder
    options = ["--data", str(folder / "data.csv"), *COLUMNS[:4], "--max-tokens", "32"]
    assert main(["evaluate", str(model), *options, "--output", str(tmp_path / "adopted")]) == 0
    adopted = Run(tmp_path / "adopted")
    assert adopted.scores["generation"] == runs[kind].scores["generation"]
    assert adopted.scores["srs"]["30"] == runs[kind].scores["srs"]["30"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([*COLUMNS], "the paper's transformer writes no text; pass --model"),
        ([*COLUMNS, "--model", "gpt2", "--metric", "accuracy"], "`metric` 'accuracy' is none of generation"),
        ([*COLUMNS, "--model", "gpt2", "--class-weights", "balanced"], "`class_weights` is for one class a text"),
        (["--data", "lines.txt", "--model", "t5"], "an encoder-decoder writes one text after reading another"),
        (["--data", "lines.txt", "--task", "regression"], "a .txt file is for the task generation, got 'regression'"),
        ([*COLUMNS[:1], "question", "answer", *COLUMNS[2:], "--model", "gpt2"], "expected one column of texts and one"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(folder, options, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    output = tmp_path / "run"
    assert (
        main(["train", *(["--data", "data.csv"] if "--data" not in options else []), *options, "--output", str(output)])
        == 2
    )
    assert message in capsys.readouterr().err
    assert not output.exists()


def test_a_classifier_does_not_learn_to_write(folder, tmp_path, capsys):
    from tests import tiny

    tiny.model().save_pretrained(tmp_path / "classifier")
    tiny.tokenizer().save_pretrained(tmp_path / "classifier")
    options = ["--data", str(folder / "data.csv"), *COLUMNS, "--model", str(tmp_path / "classifier")]
    assert main(["train", *options, "--output", str(tmp_path / "run")]) == 2
    assert "safr: model '" in capsys.readouterr().err


def test_a_causal_run_keeps_reading_the_ends_of_long_texts(folder, tmp_path):
    rows = list(csv.reader((folder / "data.csv").read_text().splitlines()))
    with (tmp_path / "long.csv").open("w", newline="") as file:
        csv.writer(file).writerows([rows[0], *([f"{'the film ' * 12}{text}", answer] for text, answer in rows[1:101])])
    options = ["--data", str(tmp_path / "long.csv"), *COLUMNS, "--model", str(folder / "gpt2"), "--max-tokens", "16"]
    assert main(["train", *options, "--epochs", "1", "--output", str(tmp_path / "run")]) == 0
    run = Run(tmp_path / "run")
    assert run.load_model()[1].truncation_side == "left"
    assert (run.scores["not_judged"], run.scores["truncated"]) == (0, run.scores["texts"])
    words = parquet.read_table(run.words_file).to_pandas().groupby("text")["word"].last()
    test = run.load_data().test.texts
    assert list(words) == [text.split()[-1] for text in test]


def test_padding_at_the_left_changes_no_dev_metric(folder, tmp_path):
    words = PreTrainedTokenizerFast.from_pretrained(folder / "gpt2", padding_side="left")
    GPT2LMHeadModel.from_pretrained(folder / "gpt2").save_pretrained(tmp_path / "model")
    words.save_pretrained(tmp_path / "model")
    options = ["--data", str(folder / "lines.txt"), "--model", str(tmp_path / "model"), *RECIPE, "--epochs", "2"]
    assert main(["train", *options, "--output", str(tmp_path / "run")]) == 0
    run = Run(tmp_path / "run")
    best = min(line["dev_perplexity"] for line in run.history)
    assert safr.evaluate(run, split="dev")["generation"]["perplexity"]["value"] == pytest.approx(best, rel=1e-4)


def test_runs_of_two_tokenizers_are_not_shown_together(runs, folder, tmp_path, capsys):
    model = GPT2LMHeadModel.from_pretrained(folder / "gpt2")
    words = PreTrainedTokenizerFast.from_pretrained(folder / "gpt2")
    words.add_tokens(["neverseen"])
    model.resize_token_embeddings(len(words))
    model.save_pretrained(tmp_path / "other")
    words.save_pretrained(tmp_path / "other")
    options = ["--data", str(folder / "data.csv"), *COLUMNS[:4], "--max-tokens", "32"]
    assert main(["evaluate", str(tmp_path / "other"), *options, "--output", str(tmp_path / "run")]) == 0
    assert main(["report", str(runs["gpt2"].folder), str(tmp_path / "run"), "--output", str(tmp_path / "a.html")]) == 2
    assert "cut texts into tokens in different ways" in capsys.readouterr().err
