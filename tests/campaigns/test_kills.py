"""Kills, losses of power and full disks at any operation on files: nothing is lost, and the same command goes on."""

import csv
import json
import shutil
import time

import pyarrow.parquet
import pytest

from safr.runs import Run
from safr.storage import CHECKSUMS_FILE
from tests import tiny
from tests.campaigns.faults import lose_power, run_command

OPTIONS = [
    *("--epochs", "2", "--batch-size", "16", "--learning-rate", "0.01", "--max-tokens", str(tiny.MAX_TOKENS)),
    *("--width", "16", "--heads", "2", "--feed-forward", "32", "--vmask-width", "8"),
]
BENCHMARK = ["--texts", "4", "--methods", "capacity", "attention", "occlusion"]
COMMANDS = ("train", "evaluate", "benchmark", "sweep")
VOLATILE = ("seconds", "training_seconds", "seconds_per_text", "created", "time")
"""Keys of JSON files that hold how long something took."""

LOG_BYTES = 4096
"""Room that what a command says needs, which is a file too."""


class Workplace:
    """A folder in which a command runs again and again from the same start, and what it leaves if nothing happens."""

    def __init__(self, command, folder):
        self.folder, self.start, self.log = folder / "work", folder / "start", folder / "log"
        self.run = Run(self.folder / "run")
        data = folder / "texts.csv"
        with data.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["text", "label"])
            rows.writerows((text, tiny.LABELS[label]) for text, label in tiny.sentences(90, 0, longest=9))
        run, training = str(self.run.folder), ["--data", str(data), *OPTIONS]
        self.words = {
            "train": ["train", *training, "--output", run],
            "evaluate": ["evaluate", run],
            "benchmark": ["benchmark", run, *BENCHMARK],
            "sweep": [
                "sweep",
                *training,
                "--output",
                run,
                "--vary",
                "importance=0.1",
                "--seeds",
                "1",
                "--workers",
                "1",
            ],
        }[command]
        self.folder.mkdir()
        if command in ("evaluate", "benchmark"):
            assert run_command(["train", *training, "--output", run], self.folder, log=self.log).status == 0
        shutil.copytree(self.folder, self.start)
        ending = run_command(self.words, self.folder, log=self.log)
        assert ending.status == 0, ending.output
        self.operations, self.result = ending.operations, read_files(self.run.folder)
        self.largest = max(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def begin(self):
        shutil.rmtree(self.folder)
        shutil.copytree(self.start, self.folder)

    def go_on(self):
        """Run the command again, as a user would after it was stopped."""
        words = self.words
        if words[0] == "train" and self.run.config_file.exists():
            words = ["train", "--resume", str(self.run.folder)]
        return run_command(words, self.folder, log=self.log)

    def find_losses(self):
        """What is wrong right after the fault: results that were there and are not, or that can't be read."""
        if self.words[0] not in ("evaluate", "benchmark"):
            return []
        start = Run(self.start / "run")
        return [
            f"{name} was lost"
            for name in ("scores", "examples", "history", "settings")
            if getattr(self.run, name) != getattr(start, name)
        ]

    def find_differences(self):
        """What is not as in a run that nothing happened to."""
        found = read_files(self.run.folder)
        return [name for name in sorted(found.keys() | self.result.keys()) if found.get(name) != self.result.get(name)]


def read_files(folder):
    """What all files of a folder hold, by their names; without times."""
    return {
        path.relative_to(folder).as_posix(): read_file(path)
        for path in folder.rglob("*")
        if path.is_file() and "failed" not in path.name
    }


def read_file(path):
    if path.name == CHECKSUMS_FILE:  # those of what holds times differ
        return sorted(json.loads(path.read_text()))
    if path.suffix == ".json":
        return without_times(json.loads(path.read_text()))
    if path.suffix == ".jsonl":
        return [without_times(json.loads(line)) for line in path.read_text().splitlines()]
    if path.suffix == ".parquet":
        return without_times(pyarrow.parquet.read_table(path).to_pydict())
    if path.suffix == ".md":  # the last cell of a row is a time
        return [without_times(line.rsplit("|", 2)[0]) for line in path.read_text().splitlines()]
    return path.read_bytes()


def without_times(value):
    if isinstance(value, str) and " ms a text" in value:
        return ""
    if isinstance(value, dict):
        return {key: without_times(part) for key, part in value.items() if key not in VOLATILE}
    return [without_times(part) for part in value] if isinstance(value, list) else value


@pytest.fixture(scope="module", params=COMMANDS)
def workplace(request, tmp_path_factory):
    return Workplace(request.param, tmp_path_factory.mktemp(request.param))


FAULTS = {"kill": 1, "loss of power": 4, "full disk": 4, "no room in a file": 16}
"""What happens, and how many operations lie between two tries of a long campaign."""


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_stops_a_command_nothing_is_lost(workplace, fault, pick_size, capsys):
    command, failures = workplace.words[0], []
    tried = spread(workplace.operations, pick_size(2, -(-workplace.operations // FAULTS[fault])))
    for at in tried:
        workplace.begin()
        since, options = time.time_ns(), {"at": at, "is_disk_full": fault == "full disk"}
        if fault == "no room in a file":
            share = at / workplace.operations
            options = {"most_bytes": round(LOG_BYTES * (workplace.largest / LOG_BYTES) ** share)}
        ending = run_command(workplace.words, workplace.folder, log=workplace.log, **options)
        about = f"{command}, {fault}, {options}"
        if fault == "loss of power":
            lose_power(workplace.folder, ending, since)
        if ending.status is not None and ("Traceback" in ending.output or ending.status not in (0, 1, 2)):
            failures.append(f"{about}: {ending.status}: {ending.output[-2000:]}")
        failures += [f"{about}: {problem}" for problem in workplace.find_losses()]
        again = workplace.go_on()
        if again.status != 0 or "Traceback" in again.output:
            failures.append(f"{about}: then {again.status}: {again.output[-2000:]}")
        failures += [f"{about}: then {name} differs" for name in workplace.find_differences()]
    with capsys.disabled():
        print(f"\n{command}, {fault}: {len(tried)} tried, {len(failures)} failed")  # noqa: T201
    assert not failures, "\n".join(failures)


def spread(operations, count):
    """`count` of the numbers from 1 to `operations`, evenly over them."""
    return [1 + (2 * number + 1) * operations // (2 * count) for number in range(count)]
