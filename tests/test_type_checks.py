import importlib
import sys

import jaxtyping
import pytest
import torch

from tests import type_checks

CODE = """
from collections.abc import Iterator
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


def add(one: Float[Tensor, "token width"], other: Float[Tensor, "token width"]) -> Float[Tensor, "token width"]:
    return one + other


def first_row(rows: Float[Tensor, "token width"]) -> Float[Tensor, " token"]:
    return rows[0]


def lists(rows: list[Float[Tensor, "token width"]]) -> None:
    pass


def double(number: float) -> int:
    return 2 * number


def later(number: "int", unknown: "Missing" = None) -> None:
    pass


def count(last: int) -> Iterator[int]:
    yield from range(last)


def outer(number):
    def inner(number: int) -> None:
        pass

    inner(number)


@dataclass(frozen=True)
class Row:
    values: Float[Tensor, " width"]
    others: Float[Tensor, " width"]

    @classmethod
    def make(cls, size: int) -> "Row":
        return cls(torch.ones(size), torch.ones(size))

    @property
    def size(self) -> int:
        return "not an int"
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A module of functions and a dataclass that the hook has imported."""
    folder = tmp_path_factory.mktemp("package")
    (folder / "checked_package.py").write_text(CODE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setattr(sys, "meta_path", list(sys.meta_path))
        type_checks.install("checked_package")
        yield importlib.import_module("checked_package")
    del sys.modules["checked_package"]


WRONG = {
    "axes that differ between arguments": lambda package: package.add(torch.ones(2, 3), torch.ones(2, 4)),
    "an axis that differs in what is returned": lambda package: package.first_row(torch.ones(2, 3)),
    "a data type": lambda package: package.add(torch.ones(2, 3), torch.ones(2, 3, dtype=torch.long)),
    "an array in a list": lambda package: package.lists([torch.ones(3)]),
    "an argument": lambda package: package.double("1"),
    "what is returned": lambda package: package.double(0.5),
    "an annotation that is a string": lambda package: package.later("1"),
    "an argument of a generator that nobody reads": lambda package: package.count("1"),
    "a function in a function": lambda package: package.outer("1"),
    "fields of a dataclass": lambda package: package.Row(torch.ones(2), torch.ones(3)),
    "a method of a class": lambda package: package.Row.make("1"),
    "a property": lambda package: package.Row(torch.ones(2), torch.ones(2)).size,
}


@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG.keys())
def test_what_annotations_exclude_is_refused(package, call):
    with pytest.raises(jaxtyping.TypeCheckError):
        call(package)


def test_what_annotations_allow_passes(package):
    rows = torch.ones(2, 3)
    assert package.add(rows, rows).shape == (2, 3)
    assert package.add(rows.mT, rows.mT).shape == (3, 2)  # axes are those of one call
    package.lists([rows, rows])
    assert package.double(1) == 2
    package.later(1, "anything")
    assert list(package.count(2)) == [0, 1]
    package.Row(torch.ones(2), torch.ones(2))


def test_checks_can_be_switched_off(package, without_type_checks):
    assert package.double("1") == "11"
    assert package.first_row(torch.ones(2, 3)).shape == (3,)
