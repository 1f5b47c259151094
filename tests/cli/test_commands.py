import builtins
import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas
import pytest

from safr.cli.commands import main
from safr.config import Settings
from safr.errors import InputError
from safr.experiments import demo, paper
from safr.figures import fonts
from safr.figures.fonts import find_missing
from safr.runs import Run, create_run
from safr.storage import CHECKSUMS_FILE, write_json
from tests.test_training import small_data

SMALL = [
    "--width",
    "16",
    "--heads",
    "2",
    "--feed-forward",
    "32",
    "--vmask-width",
    "8",
    "--batch-size",
    "8",
    "--learning-rate",
    "3e-3",
]


@pytest.fixture(scope="module")
def reviews(tmp_path_factory) -> Path:
    """A user's own file."""
    path = tmp_path_factory.mktemp("data") / "reviews.csv"
    data = small_data(60)
    rows = zip(data.train.texts, data.train.labels, strict=True)
    path.write_text("text,label\n" + "".join(f"{text},{data.label_names[label]}\n" for text, label in rows))
    return path


@pytest.fixture(scope="module")
def run(reviews, tmp_path_factory) -> Path:
    """A run that the command line has trained and evaluated."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    assert main(["train", "--data", str(reviews), "--output", str(folder), "--epochs", "2", *SMALL]) == 0
    return folder


@pytest.fixture(scope="module")
def safr_run(tmp_path_factory) -> Path:
    """A run whose vocabulary holds the words of its training texts that occur twice; one word of every text doesn't."""
    folder, data = tmp_path_factory.mktemp("words"), small_data(60).train
    rows = [
        f"{text} once{number},{label}" for number, (text, label) in enumerate(zip(data.texts, data.labels, strict=True))
    ]
    (folder / "reviews.csv").write_text("\n".join(["text,label", *rows]))
    choices = ["--data", str(folder / "reviews.csv"), "--tokenizer", "words", "--epochs", "1", *SMALL]
    assert main(["train", *choices, "--output", str(folder / "words")]) == 0
    return folder / "words"


def failure(capsys, *arguments: str) -> str:
    """The one line that a command ends with, after checking that it is one line and the status is 2."""
    capsys.readouterr()
    assert main(list(arguments)) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("safr: ")
    assert captured.err.count("\n") == 1, captured.err
    return captured.err


def test_train_ends_with_the_table_and_leaves_a_whole_run(run, reviews, capsys):
    assert {path.name for path in run.iterdir() if not path.name.startswith(".")} == {
        CHECKSUMS_FILE,
        "config.json",
        "examples.json",
        "figures",
        "history.jsonl",
        "model",
        "neurons.parquet",
        "safr-checksums.json",
        "scores.json",
        "tokens.parquet",
        "word_history.jsonl",
    }
    assert main(["evaluate", str(run)]) == 0
    shown = capsys.readouterr().out
    assert "small" in shown
    assert "95 % interval" in shown
    assert f"{100 * Run(run).scores['accuracy']['value']:.1f} [" in shown.replace("\n", "")


def test_evaluate_on_dev_leaves_the_scores_alone(run, capsys):
    before = (run / "scores.json").read_bytes()
    assert main(["evaluate", str(run), "--split", "dev"]) == 0
    assert "Dev accuracy" in capsys.readouterr().out
    assert (run / "scores.json").read_bytes() == before


def test_explain_says_the_prediction_and_each_words_capacity(run, capsys):
    assert main(["explain", str(run), "word1 good film"]) == 0
    shown = capsys.readouterr().out
    first, meaning, *lines = shown.splitlines()
    assert first.startswith("predicted ")
    assert meaning.startswith("By capacity, ")
    assert [line.split()[1] for line in lines[:3]] == ["word1", "good", "film"]
    assert sorted(line.split()[0] for line in lines[-3:]) == ["film", "good", "word1"]
    assert [line.split()[2] for line in lines[-3:]] == sorted((line.split()[0] for line in lines[:3]), reverse=True)


@pytest.mark.parametrize("name", ["texts.csv", "texts.txt"])
def test_explain_writes_the_words_of_a_files_texts(run, tmp_path, capsys, name):
    texts, file, output = ["word1 good film", "dull film"], tmp_path / name, tmp_path / "words.parquet"
    file.write_text("\n".join(["review"] * (name == "texts.csv") + texts))
    assert main(["explain", str(run), "--file", str(file), "--output", str(output), "--text-column", "review"]) == 0
    assert capsys.readouterr().out == f"words: {output.resolve()}\n"
    table = pandas.read_parquet(output)
    assert table.groupby("text")["word"].agg(" ".join).tolist() == texts
    assert main(["explain", str(run), texts[0], "--json"]) == 0
    alone = json.loads(capsys.readouterr().out)
    np.testing.assert_allclose(table["capacity"][:3], alone["capacity"], rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "`safr explain` needs RUN and TEXT, or RUN, --file and --output; see `safr explain --help`"),
        (["a film", "--output", "words.parquet"], "needs RUN and TEXT, or RUN, --file and --output"),
        (["--file", "a.txt"], "--file needs --output, the Parquet file to write; as in --output words.parquet"),
        (
            ["a film", "--file", "a.txt"],
            "--file explains the texts of a file; leave out TEXT, --json, --figures and --neurons",
        ),
        (
            ["--file", "a.txt", "--json"],
            "--file explains the texts of a file; leave out TEXT, --json, --figures and --neurons",
        ),
        (["--file", "gone.txt", "--output", "words.parquet"], "gone.txt: no such file"),
    ],
)
def test_explain_is_told_a_text_or_a_file(run, tmp_path, monkeypatch, capsys, options, said):
    monkeypatch.chdir(tmp_path)
    assert said in failure(capsys, "explain", str(run), *options)
    assert list(tmp_path.iterdir()) == []


def test_evaluate_says_how_many_words_were_not_read(safr_run, run, capsys):
    capsys.readouterr()
    assert main(["evaluate", str(safr_run)]) == 0
    counts, texts = Run(safr_run).scores["unknown_words"], Run(safr_run).scores["texts"]
    share = f"{100 * counts['words'] / counts['of']:.1f} %"
    note = (
        f"words: {counts['words']} of {counts['of']} words ({share}) are unknown to the tokenizer, "
        f"in {texts} of {texts} texts"
    )
    assert note in capsys.readouterr().out.splitlines()
    assert main(["evaluate", str(run)]) == 0
    assert "unknown" not in capsys.readouterr().out


def test_explain_says_which_words_were_not_read(safr_run, capsys):
    assert main(["explain", str(safr_run), "good Film [/x] \x1b[31m"]) == 0
    _, _, first, *others = capsys.readouterr().out.splitlines()
    others, note = others[:3], others[-1]
    assert first.split()[1:] == ["good"]
    assert [line.split()[1:] for line in others] == [["Film", "(?)"], ["[/x]", "(?)"], ["\\x1b[31m", "(?)"]]
    assert note == (
        "(?) 3 of 4 words are unknown to the tokenizer, so the model did not read them (“Film”, “[/x]”, “\\x1b[31m”)."
    )
    assert main(["explain", str(safr_run), "good good"]) == 0
    assert "unknown" not in capsys.readouterr().out


def test_explain_lists_the_most_used_neurons(run, capsys):
    assert main(["explain", str(run), "word1 good film", "--neurons", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (start,) = [number for number, line in enumerate(lines) if line.startswith("Neurons at fc1_out.0")]
    assert re.search(r"what each adds to “(negative|positive)”", lines[start])
    assert len(lines) == start + 4
    for line in lines[start + 1 :]:
        assert re.fullmatch(r" *\d+  [+-]\d\.\d{3}  (“\w+” -?\d+\.\d\d(, )?){1,3}", line)
    assert main(["explain", str(run), "word1 good film", "--neurons", "-3"]) == 2
    assert "`neurons` must be at least 0, got -3" in capsys.readouterr().err


def test_explain_gives_json(run, capsys):
    assert main(["explain", str(run), "word1 good film", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["words"] == ["word1", "good", "film"]
    assert len(found["capacity"]) == 3
    assert sum(found["probabilities"].values()) == pytest.approx(1)


@pytest.mark.parametrize("options", [[], ["--method", "relevance"]], ids=["capacity", "relevance"])
def test_explain_draws_figures(run, tmp_path, capsys, options):
    assert main(["explain", str(run), "word1 good film", "--figures", str(tmp_path / "figures"), *options]) == 0
    files = {path.name for path in (tmp_path / "figures").iterdir()}
    names = ["allocation", "capacity", "interference", "sites", *(["scores"] if options else [])]
    assert files == {f"{name}.{kind}" for name in names for kind in ("svg", "png", "pdf")}


def test_explain_draws_figures_as_wide_as_a_column_of_a_paper(run, tmp_path, capsys):
    options = ["--figures", str(tmp_path), "--figure-width"]
    assert main(["explain", str(run), "word1 good film", *options, "column"]) == 0
    assert 'width="218pt"' in (tmp_path / "capacity.svg").read_text()
    assert "`width` must be" in failure(capsys, "explain", str(run), "word1 good film", *options, "3.3")


@pytest.mark.filterwarnings("default:no installed font holds")
@pytest.mark.skipif(not find_missing("漢"), reason="this machine has a font for it")
def test_one_line_says_which_characters_no_font_holds(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(fonts, "_told_characters", set())
    assert main(["explain", str(run), "漢 word1 film", "--figures", str(tmp_path)]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "no installed font holds 漢" in line]
    assert len(lines) == 1


@pytest.mark.parametrize(
    "text", ["\ud800 \x00 \x1b[31m", "<script>alert(1)</script>", "🙂 مرحبا 好", "word " * 1000, "$x_1$", "None"]
)
def test_explain_takes_any_text(run, text, capsys):
    assert main(["explain", str(run), text]) == 0
    assert "\x1b[31m" not in capsys.readouterr().out
    assert main(["explain", str(run), text, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["words"]


def test_explain_reads_standard_input(run, capsys, monkeypatch):
    class Input:
        buffer = (Path(run) / "history.jsonl").open("rb")

    with Input.buffer:
        monkeypatch.setattr(sys, "stdin", Input)
        assert main(["explain", str(run), "-"]) == 0
    assert "predicted" in capsys.readouterr().out


def test_report_writes_one_file(run, capsys):
    assert main(["report", str(run)]) == 0
    assert str((run / "report.html").resolve()) in capsys.readouterr().out.replace("\n", "")
    assert "small" in (run / "report.html").read_text()
    (run / "report.html").unlink()


def test_explore_writes_one_file_and_names_it(run, tmp_path, capsys):
    path = tmp_path / "new" / "explorer.html"
    assert main(["explore", str(run), "--export", str(path), "--texts", "3"]) == 0
    shown = capsys.readouterr().out.replace("\n", "")
    assert re.search(rf"explorer: {re.escape(str(path.resolve()))} \(\d\.\d MB\)", shown)
    assert "SAFR explorer" in path.read_text()


def test_data_lists_what_is_ready(capsys):
    assert main(["data"]) == 0
    shown = capsys.readouterr().out
    for name in ("rotten_tomatoes", "sst2_paper", "imdb", "hub:NAME"):
        assert name in shown


def test_the_version_is_told(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("safr 0.")


def test_a_wrong_path_is_one_line(capsys, tmp_path):
    assert "found none there" in failure(capsys, "evaluate", str(tmp_path / "nothing"))
    assert "found none there" in failure(capsys, "explain", str(tmp_path / "nothing"), "text")
    assert "found none there" in failure(capsys, "train", "--resume", str(tmp_path / "nothing"))
    assert "holds no config.json" in failure(capsys, "report", str(tmp_path))
    assert "at least one run" in failure(capsys, "report")
    assert "at least one run" in failure(capsys, "explore")
    assert "found none there" in failure(capsys, "explore", str(tmp_path / "nothing"))
    assert "rotten_tomatos" in failure(capsys, "train", "--data", "rotten_tomatos")


def test_a_run_that_diverged_is_told_by_resume_before_its_data_are_loaded(tmp_path, capsys):
    run = create_run(
        tmp_path / "run", Settings(data=str(tmp_path / "gone.csv")), {"fingerprint": "", "origin": "", "labels": []}
    )
    write_json(run.divergence_file, {"reason": "training diverged: from step 3 on"})
    assert "run: training diverged: from step 3 on" in failure(capsys, "train", "--resume", str(run.folder))
    assert "run: training diverged: from step 3 on" in failure(capsys, "evaluate", str(run.folder))


def test_an_empty_file_is_one_line(capsys, tmp_path):
    (tmp_path / "empty.csv").write_text("")
    assert "empty.csv" in failure(capsys, "train", "--data", str(tmp_path / "empty.csv"))


def test_a_missing_column_is_one_line(capsys, reviews):
    said = failure(capsys, "train", "--data", str(reviews), "--label-column", "stars")
    assert "stars" in said
    assert "label" in said
    assert "reviews.csv" in said


def test_a_mistake_in_the_data_leaves_no_run_behind(capsys, reviews, tmp_path):
    failure(capsys, "train", "--data", str(reviews), "--label-column", "stars", "--output", str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--importance", "-1"], "`importance` must be at least 0, got -1.0"),
        (["--heads", "3", "--width", "16"], "`heads` must divide `width`, got 3 and 16; try 2"),
        (["--epochs", "0"], "`epochs` must be at least 1, got 0"),
        (["--layers", "7"], "`layers` must be 'all' or numbers from -1 to 0"),
    ],
)
def test_a_setting_that_cannot_be_is_one_line(capsys, reviews, tmp_path, options, said):
    arguments = ["train", "--data", str(reviews), "--output", str(tmp_path / "run"), *options]
    assert said in failure(capsys, *arguments)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--texts", "0", "--export", "page.html"], "--texts must be at least 1, got 0"),
        (["--port", "99999"], "--port must be from 0 to 65535, got 99999"),
        (["--host", "0.0.0.0", "--token", "short"], "--token must be at least 16 letters"),
    ],
)
def test_what_explore_can_not_do_is_one_line(capsys, run, options, said):
    assert said in failure(capsys, "explore", str(run), "--no-browser", *options)
    assert "different names" in failure(capsys, "explore", str(run), str(run), "--no-browser", "--export", "page.html")


def test_a_run_is_not_overwritten(capsys, run, reviews):
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    assert "already holds a run" in failure(capsys, "train", "--data", str(reviews), "--output", str(run), *SMALL)
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_a_file_in_the_way_is_one_line(capsys, reviews, tmp_path):
    (tmp_path / "file").write_text("")
    said = failure(capsys, "train", "--data", str(reviews), "--output", str(tmp_path / "file"), *SMALL)
    assert "expected a new or empty folder" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ("data >&- 2>&- <&-", 0, r"$"),
        ("--help >&-", 0, r"$"),
        ("--version >&-", 0, r"$"),
        ("trian 2>&-", 2, r"$"),
        ("trian 2>/dev/full", 2, r"$"),
        ("--version >/dev/full", 2, r"safr: No space left on device, while `safr --version` was reading or writing\n$"),
        ("data >/dev/full", 2, r"safr: No space left on device, while `safr data` was reading or writing\n$"),
        ("evaluate $'n\\xff' ", 2, r"safr: n\\udcff: expected the folder of a run, found none there\n$"),
    ],
)
def test_streams_that_are_closed_or_full_end_in_one_line_at_most(arguments, status, said):
    """As in a shell, which closes the streams before the command starts."""
    script = f"exec {sys.executable} -m safr {arguments}"
    tried = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert tried.returncode == status, tried.stderr
    assert re.match(said, tried.stderr), tried.stderr


def test_a_file_never_takes_the_place_of_a_stream_that_is_closed(tmp_path):
    """What libraries write to standard error would else land in the next file that is opened."""
    program = (
        "import os, sys; from safr.cli.commands import main; main(['data']);"
        "file = open(sys.argv[1], 'w'); os.write(2, b'noise'); assert file.fileno() > 2"
    )
    script = f'exec {sys.executable} -c "{program}" {tmp_path / "file"} >&- 2>&- <&-'
    assert subprocess.run(["bash", "-c", script]).returncode == 0
    assert (tmp_path / "file").read_text() == ""


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (RecursionError("deep"), 2, "safr: `safr data` was given something that is nested too deeply to be read\n"),
        (MemoryError(), 2, "safr: out of memory; give `safr data` smaller batches, fewer texts or a smaller model\n"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory"),
            2,
            "safr: out of memory; give `safr data` smaller batches, fewer texts or a smaller model\n",
        ),
        (InputError("two\nlines \x1b[31m"), 2, "safr: two\\nlines \\x1b[31m\n"),
        (
            KeyboardInterrupt(),
            130,
            "safr: stopped; if the work can be continued, the same command continues it\n",
        ),
        (BrokenPipeError(), 141, ""),
    ],
)
def test_what_ends_a_command_is_one_line(monkeypatch, capsys, error, status, said):
    def fail(**options):
        raise error

    monkeypatch.setattr("safr.data.list_data", lambda *arguments: fail())
    assert main(["data"]) == status
    assert capsys.readouterr().err == said


def test_a_defect_of_ours_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr("safr.data.list_data", lambda *arguments: [][1])
    with pytest.raises(IndexError):
        main(["data"])


def test_termination_ends_a_command_as_ctrl_c_does(monkeypatch, capsys):
    monkeypatch.setattr("safr.data.list_data", lambda *arguments: os.kill(os.getpid(), signal.SIGTERM) or [])
    assert main(["data"]) == 143
    assert capsys.readouterr().err.startswith("safr: stopped; ")
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.slow
def test_ctrl_c_leaves_a_run_that_resume_finishes(reviews, tmp_path):
    """As a person does it: a process of its own, a signal in the middle of training, the command that it names."""
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "safr", "train", "--data", str(reviews), "--output", str(folder)]
    command += ["--epochs", "400", "--patience", "400", *SMALL]
    environment = {**os.environ, "PYTHONWARNINGS": "default"}
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        # A suite that runs in the background has Ctrl-C switched off, and its children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while len(Run(folder).history) < 3 and process.poll() is None:
        assert time.monotonic() < deadline, "no epoch was finished in two minutes"
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert f"safr train --resume {folder}" in said.replace("\n", "")
    finished = len(Run(folder).history)
    config = json.loads((folder / "config.json").read_text())
    config["settings"]["recipe"]["epochs"] = finished + 2  # so that the test need not wait for 400
    write_json(folder / "config.json", config)
    assert main(["train", "--resume", str(folder)]) == 0
    assert [line["epoch"] for line in Run(folder).history] == list(range(1, finished + 3))
    assert Run(folder).scores["accuracy"]["value"] >= 0


def test_data_of_single_words_are_scored_from_training_to_sweep_without_a_number_for_srs(tmp_path, capsys):
    data, folder, reason = tmp_path / "data", tmp_path / "run", "each of the 8 texts holds one word"
    data.mkdir()
    words = "dull,0\nbright,1\nweak,0\nclever,1\n"
    (data / "train.csv").write_text("text,label\n" + "the film was dull,0\nthe film was bright,1\n" * 12)
    for split in ("dev", "test"):
        (data / f"{split}.csv").write_text("text,label\n" + words * 2)
    asked = ["--data", str(data), "--tokenizer", "words", "--epochs", "1", *SMALL]
    assert main(["train", "--output", str(folder), *asked]) == 0
    run, shown = Run(folder), capsys.readouterr().out
    assert re.search(r"^run +\d+\.\d \[.*\] +– +– +–$", shown, re.MULTILINE)
    assert shown.count(f"run: {reason}, so nothing can be deleted\n") == shown.count(reason) == 1
    assert (run.scores["srs"]["30"], run.scores["srs_reason"]) == (None, f"{reason}, so nothing can be deleted")
    assert main(["evaluate", str(folder), "--split", "dev"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("data ")
    assert "Dev accuracy in %" in shown
    assert re.search(r"^run +\d+\.\d \[.*\] +– +– +–$", shown, re.MULTILINE)
    assert shown.count(f"run: {reason}, so nothing can be deleted\n") == 1
    assert main(["report", str(folder)]) == 0
    page = (folder / "report.html").read_text()
    assert page.count("<td>–</td>") >= 4
    assert page.count(reason) == 1
    assert main(["explore", str(folder), "--export", str(tmp_path / "page.html")]) == 0
    assert "nothing can be deleted and SRS measures nothing" in failure(capsys, "benchmark", str(folder))
    swept = ["--output", str(tmp_path / "sweep"), "--vary", "importance=1", "--seeds", "1", "--workers", "1"]
    assert main(["sweep", *swept, *asked]) == 0
    shown = capsys.readouterr().out
    assert len(re.findall(r"\] +– +– +–$", shown, re.MULTILINE)) == 2
    assert shown.count(f"Note: {reason}, so nothing can be deleted.") == shown.count(reason) == 1


def test_a_sweep_varies_settings_and_recommends_one(reviews, tmp_path, capsys):
    folder = tmp_path / "sweep"
    varied = ["--vary", "importance=0.1,1", "--seeds", "1", "--epochs", "1", "--workers", "1", *SMALL]
    assert main(["sweep", "--data", str(reviews), "--output", str(folder), *varied]) == 0
    shown = capsys.readouterr().out
    assert "[3 of 3, about 0 min left]" in shown
    assert re.search(r"^importance 0\.1 +1 +\d+\.\d \[", shown, re.MULTILINE)
    assert "Recommended: " in shown
    assert {"table.md", "runs.parquet", "pareto.svg", "baseline,seed=0"} <= {path.name for path in folder.iterdir()}


@pytest.mark.slow
def test_the_demo_trains_its_runs_side_by_side_and_shows_them(reviews, tmp_path, capsys, monkeypatch):
    folder, tiny = tmp_path / "demo", {"epochs": 2, "width": 8, "heads": 1, "feed_forward": 8}
    settings = {name: each.changed(data=str(reviews), **tiny) for name, each in demo.demo_settings(0).items()}
    monkeypatch.setattr(demo, "demo_settings", lambda seed: settings)
    assert main(["demo", "--output", str(folder), "--workers", "1"]) == 0
    shown = capsys.readouterr().out
    assert "classes in train: " in shown
    for name in settings:
        assert f"  {name}, epoch 2: dev accuracy " in shown
        assert f"  {name}, epoch 3: " not in shown
        assert (folder / name / "figures").is_dir()
    assert (folder / "report.html").is_file()
    assert (folder / "explorer.html").is_file()
    assert main(["demo", "--output", str(folder)]) == 0
    again = capsys.readouterr().out
    assert "epoch" not in again
    assert again.splitlines()[-3:] == shown.splitlines()[-3:]


@pytest.mark.slow
def test_a_demo_that_fails_says_why_and_where(reviews, tmp_path, capsys, monkeypatch):
    settings = {name: each.changed(data=str(reviews)) for name, each in demo.demo_settings(0).items()}
    monkeypatch.setattr(demo, "demo_settings", lambda seed: settings)
    folder = tmp_path / "demo"
    (folder / "safr").mkdir(parents=True)
    (folder / "safr" / "config.json").write_text("{")
    assert f"{folder / 'safr'}: " in failure(capsys, "demo", "--output", str(folder), "--workers", "1")
    assert "--workers must be at least 1, got 0" in failure(capsys, "demo", "--output", str(folder), "--workers", "0")


def test_a_sweep_that_asks_for_two_things_at_once_gets_one_line(tmp_path, capsys):
    plan = tmp_path / "plan.yaml"
    plan.write_text("seeds: 1")
    beside = failure(capsys, "sweep", "--output", str(tmp_path), "--plan", str(plan), "--epochs", "3")
    assert "--plan lists the runs by itself" in beside
    assert "--seeds must be at least 1, got 0" in failure(capsys, "sweep", "--output", str(tmp_path), "--seeds", "0")
    workers = failure(capsys, "sweep", "--output", str(tmp_path), "--seeds", "1", "--workers", "0")
    assert "--workers must be at least 1, got 0" in workers


@pytest.mark.slow
def test_a_benchmark_judges_runs_and_writes_the_evidence(reviews, tmp_path, capsys):
    folder = tmp_path / "run"
    assert main(["train", "--data", str(reviews), "--output", str(folder), *SMALL]) == 0
    lengths = tmp_path / "lengths.jsonl"
    capsys.readouterr()
    asked = ["benchmark", str(folder), "--methods", "capacity", "occlusion", "--removals", "delete", "hide"]
    assert main(asked) == 0
    said = capsys.readouterr().out
    assert "run: removing words: hide" in said
    assert "Capacity takes" in said
    assert "| absolute_occlusion |" in (folder / "evidence.md").read_text()
    lengths.write_text('{"words": ["no"], "scores": [1]}')
    assert f"{lengths}: expected the words" in failure(capsys, *asked, "--scores", f"length={lengths}")
    assert "expected scores as NAME=FILE, got 'lengths'" in failure(capsys, *asked, "--scores", "lengths")
    assert "--texts must be at least 2" in failure(capsys, *asked, "--texts", "1")
    assert "at least one run" in failure(capsys, "benchmark")


@pytest.mark.slow
def test_a_small_reproduction_ends_with_its_page_and_runs_nothing_twice(reviews, tmp_path, capsys, monkeypatch):
    small = {"epochs": 1, "width": 8, "heads": 1, "feed_forward": 8, "vmask_width": 4}
    monkeypatch.setattr(paper, "QUICK_SETTINGS", {"data": str(reviews), **small})
    monkeypatch.setattr(paper, "QUICK_WEIGHTS", (None, (0.1, 0.1)))
    asked = ["reproduce", "--quick", "--output", str(tmp_path), "--workers", "1"]
    assert main(asked) == 0
    assert "[2 of 2, about 0 min left]" in capsys.readouterr().out
    tables = (tmp_path / "quick" / "tables.md").read_text()
    assert tables.startswith("This is a small version: ")
    rows = [line for line in tables.splitlines() if line.startswith(("| baseline |", "| importance="))]
    assert len(rows) == 2
    assert not any(f"| {verdict} |" in row for row in rows for verdict in paper.VERDICTS)
    assert main(asked) == 0
    assert "0 runs to do" not in capsys.readouterr().out
    assert "beside 2 of 2 runs" in (tmp_path / "quick" / "reproduction.html").read_text()
    assert "--quick uses its own data and one seed" in failure(capsys, *asked, "--dataset", "sst2")
    assert "--seeds must be at least 1, got 0" in failure(capsys, "reproduce", "--seeds", "0")


@pytest.fixture
def make_read_only(monkeypatch):
    """A function after which nothing can be written into a folder, as on a file system that is read-only."""

    def make(folder):
        def check(*paths):
            for path in paths:
                if not isinstance(path, int) and Path(os.path.abspath(os.fspath(path))).is_relative_to(folder):
                    raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

        def guard(module, name, is_write):
            original = getattr(module, name)

            def guarded(*arguments, **options):
                if is_write(*arguments[1:], **options):
                    check(*arguments[: 2 if name in ("rename", "replace") else 1])
                return original(*arguments, **options)

            monkeypatch.setattr(module, name, guarded)

        for module in (builtins, io):
            guard(module, "open", lambda mode="r", *_, **__: set("wax+") & set(mode))
        guard(os, "open", lambda flags, *_, **__: flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        for name in ("mkdir", "rmdir", "unlink", "rename", "replace", "utime"):
            guard(os, name, lambda *_, **__: True)

    return make


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["explain", "RUN", "good film"], 0),
        (["explain", "RUN", "good film", "--figures", "OUT"], 0),
        (["evaluate", "RUN", "--split", "dev"], 0),
        (["report", "RUN", "--output", "OUT/report.html"], 0),
        (["explore", "RUN", "--export", "OUT/page.html", "--texts", "2"], 0),
        (["report", "RUN"], 2),
        (["evaluate", "RUN"], 2),
        (["benchmark", "RUN", "--texts", "20", "--output", "OUT"], 2),
        (["train", "--resume", "RUN"], 2),
        (["train", "--output", "RUN/inner", *SMALL], 2),
    ],
    ids=lambda value: " ".join(value[:4]) if isinstance(value, list) else str(value),
)
def test_a_run_that_can_not_be_written_to_is_read_and_refused_in_one_line_where_it_must_be(
    run, reviews, tmp_path, capsys, make_read_only, words, status
):
    words = [word.replace("RUN", str(run)).replace("OUT", str(tmp_path)) for word in words]
    words += ["--data", str(reviews)] if "--output" in words and words[0] == "train" else []
    before = sorted(run.rglob("*"))
    make_read_only(run)
    if status:
        assert "Read-only file system" in failure(capsys, *words)
    else:
        assert main(words) == 0
        assert capsys.readouterr().err.startswith(str(tmp_path)) == ("--figures" in words)
    assert sorted(run.rglob("*")) == before
