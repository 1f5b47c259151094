import shutil
from pathlib import Path

import pytest
from huggingface_hub.utils import filter_repo_objects

import safr
from safr.data.tokenizer import train_word_tokenizer
from safr.errors import InputError
from safr.model import hub
from tests.model.families import tiny

SETTINGS = safr.Regularization(vmask_width=8)


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A model that the hub has as "owner/name", with files beside it that nobody needs; and what was downloaded."""
    folder = safr.save(
        safr.attach(tiny("bert"), SETTINGS), tmp_path / "there", tokenizer=train_word_tokenizer(["a b", "a b"])
    )
    for name in ("pytorch_model.bin", "mine.py", "checkpoint-1/model.safetensors", "onnx/config.json"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("not to be downloaded")
    downloaded = []

    def download(name, allow_patterns, ignore_patterns):
        assert name == "owner/name"
        files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        downloaded[:] = filter_repo_objects(files, allow_patterns=allow_patterns, ignore_patterns=ignore_patterns)
        here = tmp_path / "cache"
        here.mkdir()
        for path in downloaded:
            shutil.copy(folder / path, here / path)
        return str(here)

    monkeypatch.setattr(hub, "snapshot_download", download)
    return downloaded


def test_a_model_is_loaded_by_its_hub_name_and_only_what_it_needs(published):
    loaded = safr.load("owner/name")
    assert loaded.safr.regularization.vmask_width == SETTINGS.vmask_width
    assert loaded.config.name_or_path == "owner/name"
    files = {"README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert set(published) == files


def test_a_folder_that_is_there_wins_over_the_hub(published, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    safr.save(safr.attach(tiny("gpt2"), SETTINGS), Path("owner/name"))
    assert type(safr.load("owner/name")) is type(tiny("gpt2"))
    assert not published


@pytest.mark.parametrize(
    "name", ["", "name", "a/b/c", "../name", "owner/..", "owner/", "own er/name", Path("owner/name")]
)
def test_what_can_be_no_name_of_a_model_on_the_hub_is_a_folder(name, published):
    with pytest.raises(InputError, match=r"expected a folder written by safr.save, found no config.json"):
        safr.load(name)
    assert not published


@pytest.mark.parametrize("name", ["nobody/nothing", "owner/a--b"])
def test_a_name_that_the_hub_does_not_give_is_one_line(name):
    with pytest.raises(InputError, match=rf"{name}: no folder of this name here, and no model from the hub") as error:
        safr.load(name)
    assert "\n" not in str(error.value)
