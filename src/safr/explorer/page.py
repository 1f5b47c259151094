"""The explorer's page, one HTML document with its styles, scripts and data inside, and the page about the interface."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from safr.explorer.payload import PagePayload
from safr.figures import allocation, layout, notebook, style

MODULES = (
    "elements",
    "update",
    "numbers",
    "state",
    "source",
    "explanations",
    "picture_file",
    "saving",
    "pictures",
    "glossary",
    "deletion",
    "headline",
    "key",
    "sentence",
    "curves",
    "dumbbells",
    "bars",
    "layout",
    "gestures",
    "graph_key",
    "graph",
    "stacks",
    "neuron_page",
    "neurons",
    "matrix_values",
    "matrix",
    "deletion_curve",
    "what_if",
    "texts",
    "scores",
    "scrubber",
    "words",
    "tour",
    "controls",
    "main",
)
"""The scripts of the page. A script stands after those that it imports."""

PLAIN_BYTES = 1_000_000
"""Bytes of data that a file holds as they are. More are compressed, to three fifths."""

_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./(\w+)\.js";$', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?function|const) (\w+)", re.MULTILINE)
_AWAITS = re.compile(r"^export const \w+ = await ", re.MULTILINE)
_METHODS = ("get", "post")


def render_page(payload: PagePayload) -> str:
    """The whole page. It loads nothing, and its policy lets it run no scripts but its own."""
    script, style = page_script(), page_style()
    encoding, data = _encode_contents(json_in_html({**asdict(payload), "look": graph_constants()}), payload.live)
    parts = {
        "{{ policy }}": content_security_policy(script, style, live=payload.live),
        "{{ style }}": style,
        "{{ encoding }}": encoding,
        "{{ data }}": data,
        "{{ script }}": script,
    }
    template = _read_asset("page.html")
    return re.sub("|".join(map(re.escape, parts)), lambda match: parts[match[0]], template)


def page_script() -> str:
    """All modules as one script, because a page that is opened from disk can't import files."""
    return "const modules = {};\n" + "".join(_wrap_module(name, _read_asset(f"{name}.js")) for name in MODULES)


def render_api_page(document: Mapping[str, Any]) -> tuple[str, str]:
    """The page about the interface, and its content security policy.

    Args:
        document: The OpenAPI document, as FastAPI gives it.
    """
    environment = Environment(
        loader=PackageLoader("safr.explorer", "browser"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["kind"] = describe_schema
    style = page_style()
    operations = [
        {"path": path, "method": method.upper(), **operation}
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method in _METHODS
    ]
    html = environment.get_template("interface.html.jinja").render(
        about=document["info"], operations=operations, schemas=document["components"]["schemas"], style=style
    )
    return html, f"default-src 'none'; style-src '{csp_hash(style)}'; img-src data:; frame-ancestors 'none'"


def describe_schema(schema: Mapping[str, Any]) -> str:
    """A schema in a few words.

    >>> describe_schema({"type": "array", "items": {"anyOf": [{"type": "number"}, {"type": "null"}]}})
    'list of number or null'
    >>> describe_schema({"$ref": "#/components/schemas/WhatIf"})
    'WhatIf'
    """
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(describe_schema(option) for option in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {describe_schema(schema.get('items', {}))}"
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"{describe_schema(schema['additionalProperties'])} by name"
    return str(schema.get("type", "anything"))


def page_style() -> str:
    """The styles, with the colours of the figures as variables."""
    colours = {"positive": style.POSITIVE, "negative": style.NEGATIVE, "bar": style.BAR, "against": style.AGAINST}
    colours |= {f"run-{number}": shades for number, shades in enumerate(style.RUN_SHADES)}
    variables = "".join(f"--{name}: light-dark({shades.light}, {shades.dark}); " for name, shades in colours.items())
    return f":root {{ {variables}}}\n" + _read_asset("style.css")


def graph_constants() -> dict[str, Any]:
    """Constants that the page shares with the figures: of the allocation graph, and of signed words."""
    return {
        "gap": layout.CIRCLE_GAP,
        "mostCircles": allocation.MOST_CIRCLES,
        "mostLines": allocation.MOST_LINES,
        "largestRadius": allocation.LARGEST_RADIUS,
        "smallestRadius": allocation.SMALLEST_RADIUS,
        "runColours": len(style.RUN_SHADES),
        "faint": notebook.FAINT,
    }


def content_security_policy(script: str, style: str, *, live: bool) -> str:
    """A content security policy: the page runs only its own script and, if it is live, asks only its own server."""
    server = "'self'" if live else "'none'"
    return (
        f"default-src 'none'; script-src '{csp_hash(script)}'; style-src '{csp_hash(style)}'; img-src data: blob:; "
        f"connect-src {server}; base-uri 'none'; form-action 'none'"
    )


def json_in_html(value: Any) -> str:
    """The value as JSON that is safe inside a script element, whatever texts it holds."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def live_security_policy() -> str:
    """The policy of a page that a server sends. It also forbids other pages to show this one in a frame."""
    return content_security_policy(page_script(), page_style(), live=True) + "; frame-ancestors 'none'"


def csp_hash(text: str) -> str:
    """The hash of a script or style, as a content security policy writes it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _wrap_module(name: str, source: str) -> str:
    """A module as a function that is called once and returns what the module exports."""
    body = _IMPORT.sub(lambda match: f"const {{{match[1].replace(' as ', ': ')}}} = modules.{match[2]};", source)
    exports = ", ".join(match[2] for match in _EXPORT.finditer(source))
    body = _EXPORT.sub(r"\1 \2", body)
    call = "await (async " if _AWAITS.search(source) else "("
    return f"modules.{name} = {call}() => {{\n{body}return {{ {exports} }};\n}})();\n"


def _encode_contents(data: str, live: bool) -> tuple[str, str]:
    """The attribute that says how the page's data are encoded, and the data."""
    if live or len(data) <= PLAIN_BYTES:
        return "", data
    compressed = gzip.compress(data.encode("ascii"), mtime=0)  # without a time, so that the same runs give one file
    return ' data-encoding="gzip"', base64.b64encode(compressed).decode("ascii")


def _read_asset(name: str) -> str:
    return (files("safr.explorer") / "browser" / name).read_text(encoding="utf-8")
