"""What the page shows in, the page out: one HTML document with its styles, its scripts and its data inside."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from safr.explorer.payload import PagePayload
from safr.figures import allocation, layout, style

MODULES = (
    "elements",
    "numbers",
    "state",
    "readings",
    "source",
    "saving",
    "pictures",
    "sentence",
    "bars",
    "layout",
    "graph",
    "matrix",
    "curves",
    "what_if",
    "texts",
    "scores",
    "controls",
    "main",
)
"""The scripts of the page, each after those that it imports."""


_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./(\w+)\.js";$', re.MULTILINE)


_EXPORT = re.compile(r"^export ((?:async )?function|const) (\w+)", re.MULTILINE)


_METHODS = ("get", "post")


def render_page(contents: PagePayload) -> str:
    """The whole page; it loads nothing, and its policy lets it run no script but its own."""
    script, style = page_script(), page_style()
    parts = {
        "{{ policy }}": content_security_policy(script, style, live=contents.live),
        "{{ style }}": style,
        "{{ data }}": json_in_html({**asdict(contents), "look": graph_constants()}),
        "{{ script }}": script,
    }
    template = _asset("page.html")
    return re.sub("|".join(map(re.escape, parts)), lambda found: parts[found[0]], template)


def page_script() -> str:
    """The modules as one script, each in a scope of its own, since a file on disk can't import another."""
    return "const modules = {};\n" + "".join(_scope(name, _asset(f"{name}.js")) for name in MODULES)


def render_api_page(document: Mapping[str, Any]) -> tuple[str, str]:
    """The page, and the policy that it needs.

    Args:
        document: What FastAPI tells of the interface.
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
    >>> describe_schema({"$ref": "#/components/schemas/Reading"})
    'Reading'
    """
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(describe_schema(each) for each in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {describe_schema(schema.get('items', {}))}"
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"{describe_schema(schema['additionalProperties'])} by name"
    return str(schema.get("type", "anything"))


def _scope(name: str, source: str) -> str:
    imported = _IMPORT.sub(lambda found: f"const {{{found[1].replace(' as ', ': ')}}} = modules.{found[2]};", source)
    exported = ", ".join(found[2] for found in _EXPORT.finditer(source))
    body = _EXPORT.sub(r"\1 \2", imported)
    return f"modules.{name} = (() => {{\n{body}return {{ {exported} }};\n}})();\n"


def page_style() -> str:
    """The styles, with the colours of the figures as variables."""
    named = {"positive": style.POSITIVE, "negative": style.NEGATIVE, "bar": style.BAR}
    named |= {"circle": style.CIRCLE, "circle-edge": style.CIRCLE_EDGE}
    named |= {f"run-{number}": shades for number, shades in enumerate(style.RUN_SHADES)}
    variables = "".join(f"--{name}: light-dark({each.light}, {each.dark}); " for name, each in named.items())
    return f":root {{ {variables}}}\n" + _asset("style.css")


def graph_constants() -> dict[str, Any]:
    """What the page's graph has in common with the figure's."""
    return {
        "shortest": layout.SHORTEST,
        "gap": layout.CIRCLE_GAP,
        "mostCircles": allocation.MOST_CIRCLES,
        "mostLines": allocation.MOST_LINES,
        "largestRadius": allocation.LARGEST_RADIUS,
        "smallestRadius": allocation.SMALLEST_RADIUS,
        "runColours": len(style.RUN_SHADES),
    }


def content_security_policy(script: str, style: str, *, live: bool) -> str:
    """A content security policy under which the page runs nothing but itself and asks at most its own server."""
    server = "'self'" if live else "'none'"
    return (
        f"default-src 'none'; script-src '{csp_hash(script)}'; style-src '{csp_hash(style)}'; img-src data: blob:; "
        f"connect-src {server}; base-uri 'none'; form-action 'none'"
    )


def json_in_html(value: Any) -> str:
    """JSON that can stand inside a script element, whatever its texts hold."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def live_security_policy() -> str:
    """The policy of a page that a server brings, which also keeps it out of other pages' frames."""
    return content_security_policy(page_script(), page_style(), live=True) + "; frame-ancestors 'none'"


def csp_hash(text: str) -> str:
    """A script or style as a policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _asset(name: str) -> str:
    return (files("safr.explorer") / "browser" / name).read_text(encoding="utf-8")
