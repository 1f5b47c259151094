"""One explanation in, the page inside a notebook out."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from safr.attribution.explanation import Explanation
from safr.explorer.contents import PagePayload, RunSummary, TextRow
from safr.explorer.page import render_page
from safr.explorer.readings import pack_explanation

NOTEBOOK_RUN = "model"


@dataclass(frozen=True)
class NotebookPage:
    """The page about one explanation; a notebook shows it where it is the value of a cell."""

    html: str
    """The whole page, which can also be written to a file."""

    height: int = 900
    """Pixels."""

    def _repr_html_(self) -> str:
        # A frame of its own: the page's styles and scripts can't touch the notebook, nor the notebook's the page.
        return (
            f'<iframe srcdoc="{escape(self.html, quote=True)}" sandbox="allow-scripts allow-downloads" '
            f'title="SAFR explorer" style="width:100%;height:{self.height}px;border:0"></iframe>'
        )


def make_notebook_page(explanation: Explanation, *, height: int = 900) -> NotebookPage:
    """The explorer's page about one explanation, without a model behind it.

    Args:
        explanation: Of one text.
        height: Of the frame, in pixels.
    """
    told = pack_explanation(explanation)
    row = TextRow(
        0, " ".join(explanation.words), None, len(explanation.words), {NOTEBOOK_RUN: explanation.prediction}, {}
    )
    contents = PagePayload(
        live=False,
        data="",
        labels=[],
        runs=[RunSummary(NOTEBOOK_RUN, explanation.explaining_site, "", {}, [])],
        rows=[row],
        total=1,
        readings={NOTEBOOK_RUN: {0: told}},
    )
    return NotebookPage(render_page(contents), height)
