"""Checks the package's annotations while the tests run: jaxtyping those that name a shape, beartype the others."""

import builtins
import functools
import inspect
import re

import jaxtyping

_check_shapes = jaxtyping.jaxtyped


def install():
    """Check whatever is imported from the package from now on."""
    jaxtyping.jaxtyped = _check  # the decorator that the hook writes above every function and class
    # An int is a float to a type checker, as PEP 484 has it.
    jaxtyping.install_import_hook("safr", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")


def _check(*, typechecker):
    """A decorator that checks as much as jaxtyping's, in half the time.

    Jaxtyping's own binds the arguments of every call a second time, and writes the checks of a function within a
    function anew whenever the outer one is called.
    """

    def decorate(checked):
        if not inspect.isfunction(checked) or not _is_without_shape(checked):
            return _check_shapes(checked, typechecker=typechecker)
        if "<locals>" in checked.__qualname__:
            return checked  # who calls it is seen at a glance, and by mypy
        with_checks = typechecker(checked)

        @functools.wraps(checked)
        def call(*args, **options):
            return (checked if jaxtyping.config.jaxtyping_disable else with_checks)(*args, **options)

        return call

    return decorate


def _is_without_shape(function):
    """Whether beartype can check the function alone, since it knows all that the annotations name.

    What is imported for mypy only is unknown; jaxtyping sets it aside.
    """
    annotations = " ".join(map(str, function.__annotations__.values()))
    names = set(re.findall(r"(?<![\w.])[A-Za-z_]\w*", annotations)).difference(function.__qualname__.split("."))
    known = {**vars(builtins), **function.__globals__}
    return all(name in known and "jaxtyping." not in repr(known[name]) for name in names)
