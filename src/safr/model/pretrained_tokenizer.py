"""Loads a tokenizer from a folder or the hub without running code from there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.models.auto.tokenization_auto import tokenizer_class_from_name

from safr.errors import InputError, first_line
from safr.storage import check_file, hash_file, read_json

_SETTING_FILES = ("config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
_OBJECT = {"type": "object"}


def load_tokenizer(name: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder or of a model on the hub; its class is one of transformers', never one of the folder.

    Args:
        name: The folder, or a name of the hub. Files whose checksums `safr.save` wrote are checked.

    Raises:
        InputError: It is not there, is damaged, or needs a class that transformers does not have.
    """
    folder = Path(name)
    if folder.is_dir():
        _check_files(folder)
    try:
        # Without `trust_remote_code=False`, transformers would ask on standard input whether to run code of the folder.
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        tokenizer("a")  # some damage shows only when it is used
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # whatever damaged files bring, also what tokenizers' own code calls a panic
        raise InputError(f"{name}: its tokenizer can't be loaded ({first_line(error)[:200]}); save it again") from error
    if tokenizer is None or not hasattr(tokenizer, "get_vocab"):
        raise InputError(f"{name}: expected the files of a tokenizer, found none that can be used; save it again")
    return tokenizer


def check_saved_file(path: Path, settings: dict[str, Any]) -> None:
    """Raise an InputError where a file is not the one that `safr.save` wrote.

    Args:
        path: The file.
        settings: SAFR's part of the `config.json` beside it. Older ones have no checksums.
    """
    check_file(path)
    checksums = settings.get("sha256")
    known = checksums.get(path.name) if isinstance(checksums, dict) else None
    if known is not None and known != hash_file(path).hex():
        raise InputError(
            f"{path}: was changed since it was written, or is damaged (its SHA-256 differs); copy the folder again "
            "or, if you changed it on purpose, take its line out of `sha256` in config.json"
        )


def _check_files(folder: Path) -> None:
    """Raise an InputError for damaged files, before transformers reads them, and for a class that it does not have."""
    contents = {}
    for name in _SETTING_FILES:
        if (folder / name).exists() or (folder / name).is_symlink():
            contents[name] = read_json(folder / name, _OBJECT)
    settings = contents.get("config.json", {}).get("safr")
    for path in sorted(folder.glob("*token*.json")):
        check_saved_file(path, settings if isinstance(settings, dict) else {})
    if (folder / "tokenizer.json").exists():
        read_json(folder / "tokenizer.json", _OBJECT)
    class_name = contents.get("tokenizer_config.json", {}).get("tokenizer_class")
    if class_name is not None and not _is_known_class(class_name):
        raise InputError(
            f"{folder}: its tokenizer_class {str(class_name)[:60]!r} is none of transformers', and code from a "
            "folder is never run; save the tokenizer as one of transformers' classes"
        )


def _is_known_class(name: Any) -> bool:
    return isinstance(name, str) and any(
        tokenizer_class_from_name(each) is not None for each in (name, name.removesuffix("Fast"), f"{name}Fast")
    )
