import base64
import gzip
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

import safr.explorer.page
from safr.explorer.page import MODULES, json_in_html, live_security_policy, page_script, page_style, render_page
from safr.explorer.payload import PagePayload, RunSummary, TextRow
from safr.figures import style
from tests.explorer.conftest import contents_of

BROWSER = Path(safr.explorer.page.__file__).parent / "browser"
HOSTILE = "</script><script>alert(1)</script> <!-- {{ script }} \u2028 \x00 \ud800 ' \" &amp; 👩‍👩‍👧 مرحبا"
CONTENTS = PagePayload(
    live=False,
    data=HOSTILE,
    labels=[HOSTILE],
    runs=[RunSummary(HOSTILE, "fc1.0", HOSTILE, {}, [])],
    rows=[TextRow(0, HOSTILE, HOSTILE, 3, {HOSTILE: HOSTILE}, {})],
    total=1,
)


class Elements(HTMLParser):
    """All tags of a page with their attributes."""

    def __init__(self, source):
        super().__init__()
        self.found = []
        self.feed(source)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


@pytest.fixture(scope="module")
def elements():
    return Elements(render_page(CONTENTS))


def test_hostile_texts_stay_inside_the_data():
    html = render_page(CONTENTS)
    assert HOSTILE not in html
    assert html.count("<script") == html.count("</script>") == 2
    assert contents_of(html)["rows"][0]["text"] == HOSTILE
    assert "<" not in json_in_html({"<": "<"})
    assert json.loads(json_in_html(HOSTILE)) == HOSTILE


def test_nothing_is_loaded_and_nothing_is_run_from_attributes(elements):
    for tag, attributes in elements.found:
        assert tag not in {"iframe", "object", "embed", "base", "img", "video"}
        assert not any(name.startswith("on") or name in {"style", "src", "srcset", "action"} for name in attributes)
        assert attributes.get("href", "#").startswith(("#", "data:"))
    for source in (page_script(), page_style()):
        assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", source)


def test_no_text_is_ever_read_as_html():
    script = page_script()
    for name in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "srcdoc"):
        assert name not in script, name


def test_the_policy_lets_only_the_pages_own_script_and_style_run(elements):
    policy = next(each["content"] for _, each in elements.found if each.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    for name, element in (("script-src", '<script type="module">'), ("style-src", "<style>")):
        text = render_page(CONTENTS).split(element)[1].split("</")[0]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[name] == f"'sha256-{digest}'"
    assert rules["default-src"] == rules["connect-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert "connect-src 'self'" in render_page(replace(CONTENTS, live=True))
    assert "frame-ancestors 'none'" in live_security_policy()


def test_every_script_is_in_the_page_after_those_it_imports():
    assert {f"{name}.js" for name in MODULES} == {path.name for path in BROWSER.glob("*.js")}
    for place, name in enumerate(MODULES):
        source = (BROWSER / f"{name}.js").read_text(encoding="utf-8")
        assert source.startswith("// "), f"{name}.js does not open with what it is for"
        imported = re.findall(r'^import \{[^}]*\} from "\./(\w+)\.js";$', source, re.MULTILINE)
        assert set(imported) <= set(MODULES[:place])
        assert len(imported) == source.count("import ")
    assert not re.search(r"^(import|export) ", page_script(), re.MULTILINE)


def test_the_colours_are_those_of_the_figures():
    css = page_style()
    for name, shades in (
        ("positive", style.POSITIVE),
        ("negative", style.NEGATIVE),
        ("against", style.AGAINST),
        ("run-1", style.RUN_SHADES[1]),
    ):
        assert f"--{name}: light-dark({shades.light}, {shades.dark});" in css
    assert len(style.RUN_SHADES) == len(re.findall(r"^\.run-\d", css, re.MULTILINE))


def test_much_data_is_compressed_in_a_file_and_never_in_a_live_page(monkeypatch):
    plain = contents_of(render_page(CONTENTS))
    monkeypatch.setattr(safr.explorer.page, "PLAIN_BYTES", 10)
    html = render_page(CONTENTS)
    assert html == render_page(CONTENTS)
    found = re.search(r'id="contents" data-encoding="gzip">([A-Za-z0-9+/=]+)</script>', html)
    assert json.loads(gzip.decompress(base64.b64decode(found[1]))) == plain
    assert contents_of(render_page(replace(CONTENTS, live=True))) == {**plain, "live": True}
