"""Checks the package's annotations, the axes of its arrays among them, while the tests run.

It does what jaxtyping's import hook does for a third of the seconds. That hook compiles every library anew that the
package imports, and for each call it binds the arguments and runs beartype twice, whether or not there is an array.
"""

import ast
import dataclasses
import functools
import inspect
import sys
import types
from collections.abc import Callable
from importlib import _bootstrap_external
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import cache_from_source
from typing import Any, get_args, get_type_hints
from unittest.mock import patch

import jaxtyping
from beartype import BeartypeConf, beartype
from jaxtyping import AbstractArray, TypeCheckError

# An int is a float to a type checker, as PEP 484 has it.
_beartype = beartype(conf=BeartypeConf(is_pep484_tower=True, violation_type=TypeCheckError))


def install(package: str) -> None:
    """Check every function and dataclass of a package that is imported from now on."""
    sys.meta_path.insert(0, _Finder(package))


class _Finder(PathFinder):
    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name.split(".")[0] != self.package:
            return None
        spec = super().find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(name, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    """Writes `@__check_types__` above each function and class."""

    def exec_module(self, module: types.ModuleType) -> None:
        module.__check_types__ = check_types
        super().exec_module(module)

    def get_code(self, name: str) -> types.CodeType | None:
        # A cache of its own, for this code is none that users run.
        cache = functools.partial(cache_from_source, optimization="typechecks")
        with patch.object(_bootstrap_external, "cache_from_source", cache):
            return super().get_code(name)

    def source_to_code(self, data: Any, path: Any, *, _optimize: int = -1) -> types.CodeType:
        tree = ast.parse(data, path)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                decorator = ast.copy_location(ast.Name("__check_types__", ast.Load()), node)
                # Under a function's own decorators, which may hide its annotations; above those that make a dataclass.
                node.decorator_list.insert(0 if isinstance(node, ast.ClassDef) else len(node.decorator_list), decorator)
        return compile(tree, path, "exec", dont_inherit=True, optimize=_optimize)


def check_types(fn: Any) -> Any:
    """The function, or the dataclass with a constructor, that raises `TypeCheckError` for what annotations exclude."""
    if inspect.isclass(fn):
        if dataclasses.is_dataclass(fn) and "__init__" in vars(fn):
            fn.__init__ = check_types(fn.__init__)
        return fn
    hints = {name: _resolve(hint, fn) for name, hint in fn.__annotations__.items()}
    if all(hint is Any for hint in hints.values()):
        return fn
    if inspect.isgeneratorfunction(fn):
        return jaxtyping.jaxtyped(fn, typechecker=_beartype)  # beartype alone checks nothing before the first item
    checked = _beartype(_copy(fn, hints))
    has_arrays = any(map(_holds_array, hints.values()))

    @functools.wraps(fn)
    def check(*args: Any, **kwargs: Any) -> Any:
        if jaxtyping.config.jaxtyping_disable:
            return fn(*args, **kwargs)
        if not has_arrays:
            return checked(*args, **kwargs)
        with jaxtyping.jaxtyped("context"):  # in which an axis of one name has one size
            return checked(*args, **kwargs)

    return check


def _resolve(hint: Any, fn: Callable) -> Any:
    """An annotation that may be a string; Any where a name of it does not exist yet, or for type checkers only."""

    def hold(value: hint): ...

    try:
        return get_type_hints(hold, fn.__globals__, include_extras=True)["value"]
    except Exception:
        return Any


def _copy(fn: Callable, hints: dict[str, Any]) -> Callable:
    copy = types.FunctionType(fn.__code__, fn.__globals__, fn.__name__, fn.__defaults__, fn.__closure__)
    functools.update_wrapper(copy, fn)
    copy.__kwdefaults__, copy.__annotations__ = fn.__kwdefaults__, hints
    return copy


def _holds_array(hint: Any) -> bool:
    return (inspect.isclass(hint) and issubclass(hint, AbstractArray)) or any(map(_holds_array, get_args(hint)))
