"""Reads YAML files of settings: plans of sweeps and training arguments."""

from __future__ import annotations

import itertools
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from safr.errors import InputError, first_line

_MOST_BYTES = 100_000  # of a file; 10,000 runs of a plan fit, by name, and YAML of this size is read in a second
_MOST_VALUES = 200_000  # of a file, letters counted; by aliases a short one can hold billions
_MOST_KEYS = 10_000  # of a mapping, with those that it takes over
_DEEPEST = 20  # levels of lists and mappings

_MERGE_TAG = "tag:yaml.org,2002:merge"
"""The tag of `<<`, by which a mapping takes over another's values."""


def read_yaml(path: Path) -> Any:
    """What a YAML file holds, as plain values; nothing of it is ever run.

    Raises:
        InputError: The file can't be read, is no YAML, or holds more than a file of settings needs.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise InputError(f"{path}: expected at most {_MOST_BYTES:,} bytes of settings, got more; split it")
        values = yaml.load(content.decode("utf-8"), Loader=_Loader)  # noqa: S506 - a safe loader
    except InputError:
        raise
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(f"{path}{line}: expected YAML ({error.problem})") from error
    except Exception as error:  # a value that is not of the type that its tag names brings any error
        raise InputError(f"{path}: expected a YAML file of settings ({first_line(error)})") from error
    _check_size(path, values)
    return values


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, which also refuses a key that is given twice, of which it would silently take the last.

    What is nested deeply or takes over many keys is refused too: a few lines of it can ask for hours.
    """

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """The next node; an error if it is too deep."""
        self.depth += 1
        if self.depth > _DEEPEST:
            mark = self.peek_event().start_mark
            raise yaml.constructor.ConstructorError(None, None, f"more than {_DEEPEST} levels", mark)
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping of a node; an error if two keys are the same."""
        keys: set[Hashable] = set()
        for key_node, _ in node.value:
            key = None if key_node.tag == _MERGE_TAG else self.construct_object(key_node, deep=True)
            if key_node.tag != _MERGE_TAG and isinstance(key, Hashable):  # others are refused below
                if key in keys:
                    raise yaml.constructor.ConstructorError(None, None, f"{key!r} is given twice", node.start_mark)
                keys.add(key)
        return super().construct_mapping(node, deep)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Take over what `<<` names; an error if that is too much."""
        super().flatten_mapping(node)
        if len(node.value) > _MOST_KEYS:
            problem = f"more than {_MOST_KEYS:,} keys"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


# The loader speaks YAML 1.1, to which 1e-6 is a text, since it lacks a point.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _check_size(path: Path, values: Any) -> None:
    """Refuse a file that holds more than it seems to, since aliases repeat parts of it."""
    size, parts = 0, [values]
    while parts:
        part = parts.pop()
        size += len(part) if isinstance(part, str | bytes) else 1
        if size > _MOST_VALUES:
            raise InputError(f"{path}: its aliases repeat more than {_MOST_VALUES:,} values; write them out")
        if isinstance(part, dict):
            parts.extend(itertools.chain.from_iterable(part.items()))
        elif isinstance(part, list | tuple | set):
            parts.extend(part)
