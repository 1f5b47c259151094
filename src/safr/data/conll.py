"""Reads CoNLL files: a word a line with its tag in the last column, and a blank line between texts."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from safr.data.lines import iter_lines
from safr.data.messages import shorten_path
from safr.errors import InputError, shorten_text


def iter_conll(path: Path) -> Iterator[tuple[str, tuple[list[str], list[str]]]]:
    """The texts of a file with their places, each as its words and their tags.

    Raises:
        InputError: A line holds no word and tag, or other columns than the last line of its text.
    """
    shown = shorten_path(path)
    lines: list[tuple[int, list[str]]] = []
    for number, line in enumerate(chain(iter_lines(path, newline="\n"), [""]), start=1):
        fields = _split_conll(line)
        if fields and fields[0] != "-DOCSTART-":
            lines.append((number, fields))
        elif lines:
            if text := _read_conll(lines, shown):
                yield f"{shown}, line {lines[0][0]}", text
            lines = []


def _split_conll(line: str) -> list[str]:
    """The columns of a line, between tabs if there are some, else between spaces; a word may hold other white space."""
    line = line.strip(" \r\n")
    if not line.strip("\t "):
        return []
    if "\t" in line:
        return [field.strip(" ") for field in line.removesuffix("\t").split("\t")]
    return [field for field in line.split(" ") if field]


def _read_conll(lines: list[tuple[int, list[str]]], shown: str) -> tuple[list[str], list[str]] | None:
    """The words and tags of a text; None of comments alone, which have other columns than the text, or set a value."""
    columns = len(lines[-1][1])
    if columns != 2 and all(fields[0].startswith("#") for _, fields in lines):
        return None
    lines = [
        (number, fields)
        for number, fields in lines
        if not fields[0].startswith("#") or (len(fields) == columns and "=" not in fields[-1])
    ]
    for number, fields in lines:
        if len(fields) < 2 or not (fields[0] and fields[-1]):
            text = shorten_text(" ".join(fields))
            raise InputError(f"{shown}, line {number}: expected a word and its tag, got {text!r}")
    for number, fields in lines:
        if len(fields) != columns:
            raise InputError(
                f"{shown}, line {number}: expected {columns} columns as in the text's last line, got {len(fields)}"
            )
    return ([fields[0] for _, fields in lines], [fields[-1] for _, fields in lines]) if lines else None
