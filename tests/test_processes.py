import csv
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from safr.cli.commands import main
from safr.errors import InputError
from safr.processes import _process_group, _ProcessGroup, load_on_all, run_together, share_texts
from safr.runs import Run
from tests import tiny
from tests.training.test_distributed import SIZES, TORCHRUN, launch

COMMANDS = [*TORCHRUN, "tests.commands_together"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run that one process has trained and evaluated, on data that are files."""
    folder = tmp_path_factory.mktemp("processes")
    with (folder / "data.csv").open("w", newline="") as file:
        rows = [(text, tiny.LABELS[label]) for text, label in tiny.sentences(240, 0, longest=9)]
        csv.writer(file).writerows([("text", "label"), *rows])
    assert main(["train", "--data", str(folder / "data.csv"), "--output", str(folder / "run"), *SIZES]) == 0
    return folder / "run"


@pytest.fixture
def copied(trained, tmp_path):
    """A copy that is not evaluated, under the same name."""
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run" / "scores.json").unlink()
    return Run(tmp_path / "run")


def read_numbers(path):
    """All that a JSON file holds but seconds, by its place."""
    numbers = {}

    def walk(value, place):
        if isinstance(value, dict | list):
            for name, part in value.items() if isinstance(value, dict) else enumerate(value):
                walk(part, f"{place}/{name}")
        elif not place.endswith("/seconds") and "a text; others take" not in str(value):
            numbers[place] = value

    walk(json.loads(path.read_text()), "")
    return numbers


def assert_one_line(done, line):
    assert done.returncode != 0
    assert done.stderr.count("safr: ") == done.stderr.count(f"safr: {line}") == 1, done.stderr


@pytest.mark.slow
def test_two_processes_evaluate_as_one_does_and_the_first_alone_writes_and_speaks(trained, copied):
    done = launch(COMMANDS, "nothing", "evaluate", copied.folder)
    assert done.returncode == 0, done.stderr
    assert "safr: " not in done.stderr
    assert done.stdout.count("All scores: ") == done.stdout.count("run: macro F1") == 1
    found, expected = (read_numbers(folder / "scores.json") for folder in (copied.folder, trained))
    assert found == pytest.approx(expected, abs=1e-6)
    exact = [place for place in expected if place.startswith(("/accuracy", "/deletion", "/srs", "/classes"))]
    assert len(exact) > 100
    assert [found[place] for place in exact] == [expected[place] for place in exact]


@pytest.mark.slow
def test_two_processes_benchmark_as_one_does_also_when_they_were_stopped(trained, copied, tmp_path):
    one = shutil.copytree(trained, tmp_path / "one" / "run")
    assert main(["benchmark", str(one)]) == 0
    assert_one_line(launch(COMMANDS, "stop", "benchmark", copied.folder), "stopped; if the work can be continued")
    kept = {path: path.stat().st_mtime_ns for path in (copied.folder / "benchmark").rglob("*.parquet")}
    assert len(kept) > 20
    done = launch(COMMANDS, "nothing", "benchmark", copied.folder)
    assert done.returncode == 0, done.stderr
    assert kept == {path: path.stat().st_mtime_ns for path in kept}
    found, expected = (read_numbers(folder / "benchmark.json") for folder in (copied.folder, one))
    # Ranks of interactions that are 0 but for rounding.
    loose = {place for place in expected if "interference_interaction" in place}
    assert {place: found[place] for place in found.keys() - loose} == pytest.approx(
        {place: expected[place] for place in expected.keys() - loose}, abs=1e-6
    )
    passes = [place for place in expected if place.endswith(("/forward", "/backward"))]
    assert len(passes) > 10
    assert [found[place] for place in passes] == [expected[place] for place in passes]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("problem", "line"),
    [
        ("fail", "the second process has found something"),
        ("die", "another process has ended early; call it again; if the work can be continued"),
    ],
)
def test_what_goes_wrong_in_one_process_ends_both_in_one_line(copied, problem, line):
    assert_one_line(launch(COMMANDS, problem, "evaluate", copied.folder), line)


@pytest.mark.slow
def test_a_defect_in_another_process_is_shown_with_its_place(copied):
    done = launch(COMMANDS, "fail_unpicklably", "evaluate", copied.folder)
    assert done.returncode == 1
    assert "LocalError: the second process has a defect" in done.stderr
    assert "in fail_unpicklably" in done.stderr


class LocalGroup(_ProcessGroup):
    """Three processes in one."""

    def __init__(self):
        super().__init__(None, leads=True, model="the model")
        self.calls = []

    def call(self, function, arguments, *, is_model=False):
        self.calls += arguments
        token = _process_group.set(None)
        try:
            return [None if options is None else function(**options) for options in arguments]
        finally:
            _process_group.reset(token)


@pytest.fixture
def group(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    group = LocalGroup()
    token = _process_group.set(group)
    yield group
    _process_group.reset(token)


@share_texts("texts", "numbers")
def double(texts, numbers, *, name="double", progress=None):
    """A list, an array and a nested dict of them, one entry per text."""
    doubled = [2 * number for number in numbers]
    lengths = np.array([[len(text.ids), 0] for text in texts])
    return {name: doubled, "lengths": lengths, "inner": {"ids": [text.ids for text in texts]}}


def make_texts(*lengths):
    return [SimpleNamespace(ids=tuple(range(length))) for length in lengths]


def test_texts_are_shared_by_length_and_results_come_in_their_order(group):
    texts = make_texts(3, 9, 1, 7, 5)
    found = double(texts, [30, 90, 10, 70, 50], progress=print)
    assert found["double"] == [60, 180, 20, 140, 100]
    assert found["lengths"].tolist() == [[3, 0], [9, 0], [1, 0], [7, 0], [5, 0]]
    assert found["inner"]["ids"] == [text.ids for text in texts]
    assert [call["numbers"] for call in group.calls] == [[90, 30], [70, 10], [50]]
    assert [call["progress"] for call in group.calls] == [print, None, None]


def test_arrays_and_dicts_of_columns_are_shared_too(group):
    @share_texts("texts", "columns")
    def add(texts, columns):
        return columns["list"] + columns["array"]

    columns = {"list": [1, 2, 3, 4], "array": np.array([10, 20, 30, 40])}
    assert add(make_texts(4, 3, 2, 1), columns).tolist() == [11, 22, 33, 44]


def test_fewer_texts_than_processes_leave_some_idle(group):
    assert double(make_texts(2, 4), [1, 2])["double"] == [2, 4]
    assert group.calls[2] is None
    assert double([], [])["double"] == []
    assert len(group.calls) == 3


def test_what_a_shared_function_calls_is_not_shared_again(group):
    @share_texts("texts")
    def outer(texts):
        return double(texts, [len(text.ids) for text in texts])["double"]

    assert outer(make_texts(1, 2, 3, 4)) == [2, 4, 6, 8]
    assert len(group.calls) == 3


def test_one_process_calls_functions_as_they_are():
    assert double(make_texts(1), [4])["double"] == [8]
    assert run_together(lambda: load_on_all(lambda device: (device, "tokenizer"), "cpu")) == ("cpu", "tokenizer")


def test_one_gpu_for_several_processes_is_refused(group):
    with pytest.raises(InputError, match=r"`device` 'cuda:1' is one device for 3 processes; leave it out, "):
        load_on_all(lambda device: (None, None), "cuda:1")
