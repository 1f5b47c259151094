"""Models on the Hugging Face hub: their names, and a folder with their files."""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import snapshot_download

from safr.errors import InputError

_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?", re.ASCII)
_FILES = (
    "*.safetensors",
    "*.json",
    "*.txt",
    "*.model",
    "*.jinja",
    "README.md",
)  # the model, its tokenizer and its card


def is_hub_name(name: str) -> bool:
    """Whether a name could be one of the hub's: "owner/name" or "name"; what exists on this machine is a path.

    >>> is_hub_name("google-bert/bert-base-uncased"), is_hub_name("/home/me/bert")
    (True, False)
    """
    return _NAME.fullmatch(name) is not None and not Path(name).exists()


def model_folder(name: str | Path) -> Path:
    """The folder itself, or what the hub holds under the name "owner/name"; an existing path always wins.

    Raises:
        InputError: Neither is there, or the hub can't be reached.
    """
    if isinstance(name, Path) or "/" not in name or not is_hub_name(name):
        return Path(name)
    try:
        return Path(snapshot_download(name, allow_patterns=list(_FILES), ignore_patterns=["*/*"]))
    except Exception as error:  # whatever the network or the hub brings: the user gets one line
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(
            f"{name}: no folder of this name here, and no model from the hub ({reason}); check the name and the network"
        ) from error
