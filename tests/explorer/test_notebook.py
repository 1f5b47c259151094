import re
from html import unescape

from tests import tiny
from tests.explorer.conftest import contents_of


def test_an_explanation_opens_the_page_about_itself(readers):
    made = readers[1].explain("a bright film <b>&</b>")
    shown = made.explore(height=500)
    frame = shown._repr_html_()
    assert re.match(r'<iframe srcdoc="[^"]*" sandbox="allow-scripts allow-downloads" ', frame)
    assert "height:500px" in frame
    inside = unescape(re.search(r'srcdoc="([^"]*)"', frame)[1])
    assert inside == shown.html
    told = contents_of(inside)
    assert told["readings"]["model"]["0"]["words"] == ["a", "bright", "film", "<b>&</b>"]
    assert told["what_ifs"] == {}
    assert told["live"] is False


def test_hostile_words_stay_inside_the_frame(readers):
    frame = readers[1].explain(tiny.HOSTILE[0]).explore()._repr_html_()
    assert "<script>alert" not in frame
    assert frame.count("<") == 2  # the frame's own tags
