import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, BertModel

from safr.cli.commands import main
from safr.config import Regularization, Settings
from safr.errors import InputError
from safr.evaluation.evaluate import evaluate
from safr.model.attach import attach
from safr.model.save import save
from safr.runs import Run
from safr.training.adopt import adopt_model, is_model, load_text_encoder, load_trained
from tests import tiny
from tests.task_data import write_task


@pytest.fixture(scope="module")
def reviews(tmp_path_factory):
    """A file of the tiny sentences, whose classes are called bad and good."""
    path = tmp_path_factory.mktemp("data") / "reviews.csv"
    lines = [f"{text},{('bad', 'good')[label]}\n" for text, label in tiny.sentences(120, 0, longest=9)]
    path.write_text("text,label\n" + "".join(lines))
    return path


def bert(**head):
    """A random BERT and the tokenizer of the tiny sentences."""
    words = tiny.tokenizer()
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(words), pad_token_id=words.pad_token_id, **sizes, **head)
    return BertForSequenceClassification(config).eval(), words


def write_model(folder, model, words):
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def test_a_model_of_transformers_becomes_a_run_with_its_own_predictions(tmp_path, reviews):
    model, words = bert(id2label={0: "good", 1: "bad"}, label2id={"good": 0, "bad": 1})
    folder = write_model(tmp_path / "bert", model, words)
    run, data = adopt_model(Settings(data=str(reviews), model=str(folder)), tmp_path / "run")
    scores = evaluate(run)
    right = []
    for text, label in zip(data.test.texts, data.test.labels, strict=True):
        with torch.no_grad():
            logits = model(**words([text], return_tensors="pt")).logits[0]
        right.append(model.config.id2label[int(logits.argmax())] == data.label_names[label])
    assert 0 < np.mean(right) < 1
    assert scores["accuracy"]["value"] == pytest.approx(np.mean(right))
    assert {row["label"] for row in scores["classes"]["per_class"]} <= {"good", "bad"}
    assert run.is_adopted
    assert run.command == f"safr evaluate {folder} --data {reviews} --task classification"


def test_an_encoder_is_loaded_without_the_head_it_was_saved_with(tmp_path):
    model, words = bert()
    encoder, tokenizer = load_text_encoder(str(write_model(tmp_path / "bert", model, words)))
    inputs = tokenizer(["a good film"], return_tensors="pt").to(encoder.device)
    expected = model.bert(**inputs.to("cpu")).last_hidden_state
    torch.testing.assert_close(encoder(**inputs.to(encoder.device)).last_hidden_state.cpu(), expected)
    with pytest.raises(InputError, match="model 'nowhere': expected"):
        load_text_encoder("nowhere")
    weights = {name: weight for name, weight in model.state_dict().items() if "layer.1" not in name}
    model.save_pretrained(tmp_path / "bert", state_dict=weights)
    with pytest.raises(InputError, match=r"expected the weights of a BertModel, found none for encoder\.layer\.1"):
        load_text_encoder(str(tmp_path / "bert"))


def test_classes_without_names_get_those_of_the_data(tmp_path, reviews):
    folder = write_model(tmp_path / "bert", *bert())
    run, _ = adopt_model(Settings(data=str(reviews), model=str(folder)), tmp_path / "run")
    assert run.load_model()[0].config.id2label == {0: "bad", 1: "good"}
    evaluate(run)
    assert {example["label"] for example in run.examples} <= {"bad", "good"}


def test_a_model_that_was_saved_with_safr_keeps_its_mask(tmp_path, reviews):
    model, words = bert()
    attach(model, Regularization(0.5, 0.25, vmask_width=8), tokenizer=words)
    torch.nn.init.normal_(next(model.safr.vmask.parameters()))
    save(model, tmp_path / "bert", tokenizer=words)
    run, _ = adopt_model(Settings(data=str(reviews), model=str(tmp_path / "bert")), tmp_path / "run")
    assert (run.settings.regularization.importance, run.settings.regularization.vmask) == (0.5, True)
    assert run.settings.regularization == model.safr.regularization
    inputs = words(["a dull film"], return_tensors="pt")
    torch.testing.assert_close(run.load_model()[0](**inputs).logits, model.eval()(**inputs).logits)


def test_a_model_without_a_trained_head_is_refused(tmp_path, reviews):
    model, words = bert()
    BertModel.save_pretrained(model.bert, tmp_path / "bert")
    words.save_pretrained(tmp_path / "bert")
    with pytest.raises(
        InputError,
        match=r"expected a model that classifies texts or their words, .*, got BertModel; fine-tune it first",
    ):
        adopt_model(Settings(data=str(reviews), model=str(tmp_path / "bert")), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_regression_model_takes_whole_numbers_as_values(tmp_path):
    data = tmp_path / "stars.csv"
    data.write_text("text,label\n" + "".join(f"the film {n},{n % 5}\n" for n in range(40)))
    folder = write_model(tmp_path / "bert", *bert(num_labels=1, problem_type="regression"))
    run, loaded = adopt_model(Settings(data=str(data), model=str(folder)), tmp_path / "run")
    assert loaded.task == run.task == "regression"
    assert "mae" in evaluate(run)
    unsaid = write_model(tmp_path / "other", *bert(num_labels=1))
    with pytest.raises(InputError, match="got one with a single answer; if it is a number, set"):
        adopt_model(Settings(data=str(data), model=str(unsaid)), tmp_path / "refused")
    run, _ = adopt_model(Settings(data=str(data), model=str(unsaid), task="regression"), tmp_path / "told")
    assert run.task == "regression"


def test_classes_that_the_model_does_not_have_are_refused(tmp_path, reviews):
    folder = write_model(tmp_path / "bert", *bert(id2label={0: "good", 1: "worse"}))
    with pytest.raises(InputError, match="the data's classes are bad, good, the model's good, worse"):
        adopt_model(Settings(data=str(reviews), model=str(folder)), tmp_path / "run")


@pytest.mark.slow
def test_every_command_takes_a_model_with_data(tmp_path, reviews, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = write_model(tmp_path / "bert", *bert())
    given = [str(folder), "--data", str(reviews)]
    assert main(["report", *given]) == 0
    run = Run(tmp_path / "runs" / "bert-reviews")
    assert (run.folder / "report.html").exists()
    first = run.scores_file.read_bytes()
    assert main(["evaluate", *given]) == 0
    assert run.scores_file.read_bytes() == first
    assert main(["benchmark", *given, "--texts", "4", "--methods", "occlusion"]) == 0
    assert run.benchmark_file.exists()
    assert main(["explore", *given, "--export", "page.html", "--texts", "2"]) == 0
    assert main(["explain", str(folder), "a dull film"]) == 0
    assert main(["explain", str(run.folder), "a dull film"]) == 0
    model, became = (part.split(maxsplit=1) for part in capsys.readouterr().out.split("predicted ")[1:])
    assert model[1] == became[1]  # the model and the run that it became say the same of the words
    assert (model[0], became[0]) in (("LABEL_0", "bad"), ("LABEL_1", "good"))


def test_a_model_that_has_changed_is_not_taken_for_the_one_before(tmp_path, reviews, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model, words = bert()
    given = [str(write_model(tmp_path / "bert", model, words)), "--data", str(reviews)]
    assert main(["evaluate", *given]) == 0
    assert main(["evaluate", *given, "--max-tokens", "3"]) == 2
    torch.nn.init.normal_(model.classifier.weight)
    write_model(tmp_path / "bert", model, words)
    assert main(["evaluate", *given]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert all("holds another model, or the same one before it was changed" in line for line in said)
    assert main(["evaluate", *given, "--output", "again"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "MODEL"], "is a model, not a run; name the data to judge it on by --data FILE"),
        (
            ["evaluate", "RUN", "--data", "x.csv"],
            "is a run, which knows its data; --data is for models only, leave it out",
        ),
        (["report", "RUN", "--label-column", "stars"], "these options describe the data of a model that is not a run"),
    ],
)
def test_what_does_not_go_together_is_one_line(arguments, message, tmp_path, capsys, tmp_path_factory):
    places = {
        "MODEL": str(write_model(tmp_path / "bert", *bert())),
        "RUN": str(tiny.evaluated_run("safr", tmp_path_factory).folder),
    }
    assert main([places.get(word, word) for word in arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_of_a_model_and_one_of_a_run_are_told_apart(tmp_path, tmp_path_factory):
    assert is_model(write_model(tmp_path / "bert", *bert()))
    assert not is_model(tiny.evaluated_run("safr", tmp_path_factory).folder)
    assert load_trained(str(tmp_path / "bert"))[0].config.num_labels == 2


def test_pairs_are_judged_by_a_model_too(tmp_path):
    data = write_task("pairs", tmp_path / "pairs.csv", rows=60)
    folder = write_model(tmp_path / "bert", *bert(num_labels=3))
    settings = Settings(data=str(data), text_column=("premise", "hypothesis"), model=str(folder))
    run, _ = adopt_model(settings, tmp_path / "run")
    assert set(evaluate(run)["within"]) == {"first", "second"}


def test_a_device_that_is_not_there_is_one_line(tmp_path, capsys, tmp_path_factory):
    run = str(tiny.evaluated_run("safr", tmp_path_factory).folder)
    folder = str(write_model(tmp_path / "bert", *bert()))
    for arguments in (
        ["explain", run, "a film"],
        ["explain", folder, "a film"],
        ["explore", run, "--export", "x.html"],
    ):
        assert main([*arguments, "--device", "cuda:7"]) == 2
        assert "`device` must be one that this machine has (cpu" in capsys.readouterr().err
    assert main(["explain", folder, "a film", "--device", "cpu"]) == 0


def test_a_copy_of_a_model_that_was_stopped_is_made_again(tmp_path, reviews, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    given = [str(write_model(tmp_path / "bert", *bert())), "--data", str(reviews)]
    with monkeypatch.context() as patch:
        patch.setattr("safr.training.adopt.save", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        assert main(["evaluate", *given]) == 130
    run = Run(tmp_path / "runs" / "bert-reviews")
    assert run.config_file.is_file()
    assert main(["train", "--resume", str(run.folder)]) == 2, "it would train what is to be judged"
    assert f"its model was not copied to the end; call `safr evaluate {given[0]} " in capsys.readouterr().err
    assert main(["evaluate", *given]) == 0
    assert run.scores_file.is_file()
