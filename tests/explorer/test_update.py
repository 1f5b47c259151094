"""How the page updates what it shows in place, in a real browser."""

import pytest

from safr.explorer.page import _read_asset, _wrap_module
from tests.conftest import CHROMIUM

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; install Debian's package of that name"),
]

MODULES = "window.modules = {}; const modules = window.modules;" + "".join(
    _wrap_module(name, _read_asset(f"{name}.js")) for name in ("elements", "update")
)
START = """
    const { element, listen } = modules.elements;
    const { update } = modules.update;
    const box = document.getElementById("box");
    const texts = () => [...box.children].map(child => child.textContent);
"""


@pytest.fixture(scope="module")
def browser_page(chromium):
    page = chromium.new_page()
    policy = "<meta http-equiv='Content-Security-Policy' content=\"style-src 'none'\">"
    page.set_content(f"<html><head>{policy}</head><body><div id='box'></div></body></html>")
    page.complaints = []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.evaluate(f"() => {{ {MODULES} }}")
    yield page
    page.close()


@pytest.fixture
def run(browser_page):
    """Runs a script with `element`, `listen`, `update` and an empty `box`, and gives what it returns."""

    def run_(script):
        return browser_page.evaluate(f"() => {{ {START} box.replaceChildren(); {script} }}")

    yield run_
    assert browser_page.complaints == []


def test_a_node_with_a_key_stays_the_same_node_when_it_moves(run):
    found = run(
        """const word = key => element("p", { key }, key);
        update(box, word("a"), word("b"), word("c"));
        const [a, b, c] = box.children;
        update(box, word("c"), word("d"), word("a"));
        return [texts(), box.children[0] === c, box.children[2] === a, b.isConnected];"""
    )
    assert found == [["c", "d", "a"], True, True, False]


def test_nodes_without_a_key_become_the_next_of_their_tag(run):
    found = run(
        """update(box, element("h3", {}, "one"), element("p", {}, "two"));
        const paragraph = box.children[1];
        update(box, element("p", { class: "new" }, "three"), "text");
        return [box.innerHTML, box.firstChild === paragraph];"""
    )
    assert found == ['<p class="new">three</p>text', True]


def test_focus_and_scroll_and_what_was_typed_survive(run):
    found = run(
        """const draw = text => [
            element("input", { key: "field" }),
            element("div", { key: "area" }, element("p", {}, text)),
        ];
        update(box, draw("one"));
        const [field, area] = box.children;
        area.style.height = "20px"; area.style.overflow = "auto"; area.firstChild.style.height = "200px";
        const tall = () => { const p = element("p", {}, "two"); p.style.height = "200px"; return p; };
        field.focus(); field.value = "typed"; area.scrollTop = 50;
        const next = element("div", { key: "area" }, tall());
        next.style.height = "20px"; next.style.overflow = "auto";
        update(box, element("p", {}, "before"), element("input", { key: "field" }), next);
        return [document.activeElement === field, field.value, area.scrollTop, texts()];"""
    )
    assert found == [True, "typed", 50, ["before", "", "two"]]


def test_the_listeners_of_the_last_drawing_are_the_only_ones(run):
    found = run(
        """const heard = [];
        const draw = (name, more) => update(box, element("button", { click: () => heard.push(name), ...more }));
        draw("first", { keydown: () => heard.push("key") });
        const button = box.firstChild;
        draw("second");
        button.click();
        button.dispatchEvent(new Event("keydown"));
        return [heard, box.firstChild === button];"""
    )
    assert found == [["second"], True]


def test_attributes_and_styles_are_those_of_the_last_drawing(run):
    """Styles too, although the page's policy forbids to set the attribute."""
    found = run(
        """const bar = (width, attributes) => {
            const node = element("div", attributes);
            node.style.width = width;
            return node;
        };
        update(box, bar("10px", { title: "old", hidden: true }));
        const [node] = box.children;
        update(box, bar("20px", { class: "new" }));
        return [node.style.width, node.className, node.title, node.hidden, box.firstChild === node];"""
    )
    assert found == ["20px", "new", "", False, True]
