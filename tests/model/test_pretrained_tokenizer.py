import json
import sys

import pytest

from safr.data.tokenizer import train_word_tokenizer
from safr.errors import InputError
from safr.model.pretrained_tokenizer import load_tokenizer

CODE = "from pathlib import Path\nPath({proof!r}).touch()\n"


@pytest.fixture
def folder(tmp_path):
    train_word_tokenizer(["a good film", "a good day"]).save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text(json.dumps({"model_type": "bert"}))
    return tmp_path / "model"


def change(path, **values):
    content = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(content | values))


class NoInput:
    """A standard input that fails when it is read."""

    def __getattr__(self, name):
        raise AssertionError(f"standard input was asked for {name}")


@pytest.mark.parametrize("file", ["tokenizer_config.json", "config.json"])
@pytest.mark.parametrize(
    "values",
    [
        {"auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"], "AutoConfig": "evil.Evil"}, "model_type": "evil"},
        {"tokenizer_class": "Evil"},
        {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}},
        {"auto_map": ["evil.Evil", "evil.Evil"]},
        {"chat_template": "{{ ''.__class__.__mro__[1].__subclasses__() }}"},
    ],
    ids=str,
)
def test_code_beside_a_tokenizer_is_never_run_and_nobody_is_asked(folder, values, file, tmp_path, monkeypatch):
    proof = tmp_path / "proof"
    for name in ("evil.py", "transformers.py", "tokenizers.py", "custom_generate/generate.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(CODE.format(proof=str(proof)) + "class Evil: pass\n")
    change(folder / file, **values)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "stdin", NoInput())
    problem = "one line"
    try:
        load_tokenizer(folder)("a good film")
    except InputError as error:
        problem = str(error)
    assert len(problem.splitlines()) == 1
    assert not proof.exists()


def test_a_class_that_transformers_does_not_have_is_named(folder):
    change(folder / "tokenizer_config.json", tokenizer_class="Evil")
    with pytest.raises(
        InputError, match=r"its tokenizer_class 'Evil' is none of transformers', and code from a folder"
    ):
        load_tokenizer(folder)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b"\xef\xbb\xbf{}"], ids=repr)
def test_a_damaged_tokenizer_is_one_line(name, content, folder):
    (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=r"^[^\n]*$"):
        load_tokenizer(folder)


def test_a_folder_without_a_tokenizer_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"^[^\n]*its tokenizer can't be loaded[^\n]*$"):
        load_tokenizer(tmp_path)
