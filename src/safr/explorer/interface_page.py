"""An OpenAPI document in, a page that people can read out, without any script."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from safr.explorer.page import csp_hash, page_style

_METHODS = ("get", "post")


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
