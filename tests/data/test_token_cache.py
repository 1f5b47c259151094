import os
import shutil
import subprocess
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers.pre_tokenizers import PreTokenizer, WhitespaceSplit
from transformers import ByT5Tokenizer

from safr.data import token_cache
from safr.data.encoding import encode
from safr.data.token_cache import tokenize_dataset
from safr.data.tokenizer import train_word_tokenizer
from safr.errors import InputError
from tests.tiny_tokenizers import FAMILIES, tokenizer

TEXTS = ["a good film", "a Good day , a day", "film"]


ODD_TEXTS = ("a good film", "", "the story moves and moves and moves on", "a\ud800b café\x00 [SEP] </s> 漢字")


LABELS = (1, 0, 1, 0)


any_texts = st.lists(st.text(st.characters(exclude_categories=())), max_size=4)


@pytest.fixture
def words():
    return train_word_tokenizer(["a good film", "a good day", "a film"])


@pytest.fixture
def tokenized(monkeypatch):
    """How many times texts were tokenized."""
    calls = []
    tokenize = token_cache.tokenize
    monkeypatch.setattr(token_cache, "tokenize", lambda *given: calls.append(given) or tokenize(*given))
    return calls


def folders(cache):
    return sorted((cache / "tokens").iterdir())


def damage_nothing(folder):
    """The folder is gone, as after a person has cleaned up."""
    shutil.rmtree(folder)


def damage_half(folder):
    """The last bytes are missing."""
    (file,) = folder.glob("*.arrow")
    file.write_bytes(file.read_bytes()[:-200])


def damage_state(folder):
    (folder / "state.json").write_text("{")


def damage_one_byte(folder):
    """An id is another, which Arrow could not notice."""
    (file,) = folder.glob("*.arrow")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def damage_empty(folder):
    for file in folder.iterdir():
        file.unlink()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("max_tokens", [None, 2, 5])
def test_ids_are_those_that_encode_gives(family, max_tokens):
    expected = [list(text.ids) for text in encode(tokenizer(family), ODD_TEXTS, max_tokens)]
    for _ in ("made", "found"):
        rows = tokenize_dataset(tokenizer(family), ODD_TEXTS, LABELS, max_tokens)
        assert list(rows["input_ids"]) == expected
        assert list(rows["length"]) == [len(ids) for ids in expected]
        assert list(rows["labels"]) == list(LABELS)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(any_texts)
def test_ids_of_any_texts_are_those_that_encode_gives(words, texts):
    rows = tokenize_dataset(words, texts, [0] * len(texts), 3)
    assert list(rows["input_ids"]) == [list(text.ids) for text in encode(words, texts, 3)]


def test_texts_keep_their_order_over_several_parts(words, monkeypatch):
    monkeypatch.setattr(token_cache, "_TEXTS_AT_ONCE", 3)
    texts = [" ".join(["film"] * number) for number in range(8)]
    rows = tokenize_dataset(words, texts, list(range(8)))
    assert list(rows["length"]) == list(rows["labels"]) == list(range(8))


def test_texts_are_tokenized_once_and_then_mapped_from_disk(words, cache, tokenized):
    first = tokenize_dataset(words, ODD_TEXTS, LABELS)
    again = tokenize_dataset(words, ODD_TEXTS, LABELS)
    assert len(tokenized) == 1
    for rows in (first, again):
        (file,) = rows.cache_files
        assert file["filename"].startswith(str(folders(cache)[0]))
    assert len(folders(cache)) == 1


def test_calls_in_between_do_not_hide_what_is_there(words, tokenized):
    tokenize_dataset(words, ODD_TEXTS, LABELS)
    words(["a film", "a"], truncation=True, max_length=2, padding=True)
    tokenize_dataset(words, ODD_TEXTS, LABELS)
    assert len(tokenized) == 1


def test_another_process_finds_the_same_folder(words, cache, tmp_path):
    tokenize_dataset(words, ODD_TEXTS, LABELS, 5)
    words.save_pretrained(tmp_path / "words")
    code = (
        "import sys; from transformers import AutoTokenizer; from safr.data.token_cache import _compute_key\n"
        "words = AutoTokenizer.from_pretrained(sys.argv[1])\n"
        f"print(_compute_key(words, {ODD_TEXTS!a}, {LABELS}, 5))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "words")]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert said.split() == [folder.name for folder in folders(cache)]


def test_whatever_decides_the_rows_gives_a_folder_of_its_own(words, cache, tokenized):
    other = train_word_tokenizer(["a good film", "a film"])
    tokenize_dataset(words, ODD_TEXTS, LABELS, 5)
    tokenize_dataset(other, ODD_TEXTS, LABELS, 5)
    tokenize_dataset(words, ODD_TEXTS, LABELS, 4)
    tokenize_dataset(words, ODD_TEXTS[::-1], LABELS, 5)
    assert list(tokenize_dataset(words, ODD_TEXTS, LABELS[::-1], 5)["labels"]) == list(LABELS[::-1])
    words.truncation_side = "left"
    tokenize_dataset(words, ODD_TEXTS, LABELS, 5)
    assert len(tokenized) == len(folders(cache)) == 6


@pytest.mark.parametrize("damage", [damage_nothing, damage_half, damage_one_byte, damage_state, damage_empty])
def test_a_folder_that_cannot_be_read_is_made_anew(words, cache, tokenized, damage):
    expected = list(tokenize_dataset(words, ODD_TEXTS, LABELS)["input_ids"])
    damage(folders(cache)[0])
    for _ in ("made anew", "found"):
        assert list(tokenize_dataset(words, ODD_TEXTS, LABELS)["input_ids"]) == expected
    assert len(tokenized) == 2


def test_a_crash_while_writing_leaves_nothing(words, cache, monkeypatch):
    def crash(self, folder):
        with open(os.path.join(folder, "data.arrow"), "w") as file:
            file.write("half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("datasets.Dataset.save_to_disk", crash)
        with pytest.raises(KeyboardInterrupt):
            tokenize_dataset(words, ODD_TEXTS, LABELS)
    assert folders(cache) == []


def test_the_first_of_two_processes_wins(words, cache, monkeypatch):
    write = token_cache._write

    def write_after_another(made, folder):
        write(made, folder)
        write(made, folder)

    monkeypatch.setattr(token_cache, "_write", write_after_another)
    rows = tokenize_dataset(words, ODD_TEXTS, LABELS)
    assert len(rows) == len(ODD_TEXTS)
    assert len(folders(cache)) == 1


def test_without_a_cache_that_can_be_written_the_rows_stay_in_memory(words, cache):
    cache.write_text("a file where the folder should be")
    rows = tokenize_dataset(words, ODD_TEXTS, LABELS)
    assert list(rows["labels"]) == list(LABELS)
    assert rows.cache_files == []


def test_where_the_cache_may_not_be_entered_the_rows_stay_in_memory(words, monkeypatch):
    def refused(self, *given, **named):
        raise PermissionError(13, "Permission denied")

    for name in ("is_dir", "mkdir", "stat"):
        monkeypatch.setattr(f"pathlib.Path.{name}", refused)
    assert tokenize_dataset(words, ODD_TEXTS, LABELS).cache_files == []


def test_it_can_be_switched_off(words, cache, monkeypatch):
    monkeypatch.setenv("SAFR_TOKEN_CACHE", "0")
    assert list(tokenize_dataset(words, ODD_TEXTS, LABELS)["labels"]) == list(LABELS)
    assert not cache.exists()


def test_a_tokenizer_with_python_code_in_it_is_not_kept(words, cache):
    words.backend_tokenizer.pre_tokenizer = PreTokenizer.custom(object())
    assert token_cache._compute_key(words, ODD_TEXTS, LABELS, None) is None
    words.backend_tokenizer.pre_tokenizer = WhitespaceSplit()
    assert token_cache._compute_key(words, ODD_TEXTS, LABELS, None) is not None


def test_what_killed_processes_left_is_cleared_after_a_day_and_takes_no_place(words, cache, monkeypatch):
    monkeypatch.setattr(token_cache, "MAX_CACHED", 1)
    for name, age in (("part-old", 2), ("part-new", 0)):
        (cache / "tokens" / name).mkdir(parents=True)
        os.utime(cache / "tokens" / name, (time.time() - age * 24 * 60 * 60,) * 2)
    tokenize_dataset(words, ODD_TEXTS, LABELS)
    assert [folder.name == "part-new" for folder in folders(cache)] == [False, True]


def test_the_folders_that_were_not_used_for_longest_are_dropped(words, cache, monkeypatch):
    monkeypatch.setattr(token_cache, "MAX_CACHED", 3)
    for number in range(3):
        tokenize_dataset(words, [f"a {number}"], [0])
        for folder in folders(cache):  # as if each were made a while after the one before
            os.utime(folder, (folder.stat().st_mtime - 100,) * 2)
    before = {folder.name for folder in folders(cache)}
    first, second = (token_cache._compute_key(words, [f"a {number}"], [0], None) for number in (0, 1))
    tokenize_dataset(words, ["a 0"], [0])  # used again
    rows = tokenize_dataset(words, ["a 3"], [0])
    after = {folder.name for folder in folders(cache)}
    assert before - after == {second}
    assert first in after
    assert len(after) == 3
    assert len(rows) == 1


def test_no_progress_bar_is_shown(words, capfd):
    tokenize_dataset(words, ODD_TEXTS, LABELS)
    assert capfd.readouterr() == ("", "")


def test_tokenizers_that_encode_refuses_are_refused(words):
    with pytest.raises(InputError, match="expected a fast tokenizer, got ByT5Tokenizer"):
        tokenize_dataset(ByT5Tokenizer(), ODD_TEXTS, LABELS)
    with pytest.raises(InputError, match="`max_tokens` must be at least 2, the special tokens around a text, got 1"):
        tokenize_dataset(tokenizer("wordpiece"), ODD_TEXTS, LABELS, 1)


def test_models_that_read_other_inputs_share_no_rows():
    pairs, labels, words = [("a b", "b a"), ("b", "a")], [0, 1], tokenizer("wordpiece")
    words.model_input_names = ["input_ids", "attention_mask"]
    without = tokenize_dataset(words, pairs, labels, 8)
    words.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    assert "token_type_ids" not in without.column_names
    assert "token_type_ids" in tokenize_dataset(words, pairs, labels, 8).column_names
