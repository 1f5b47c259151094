"""One explanation in, the page inside a notebook out."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from safr.attribution.explanation import Explanation
from safr.explorer.contents import Contents, Row, RunSummary
from safr.explorer.page import page
from safr.explorer.readings import reading

NAME = "model"


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


def notebook_page(explanation: Explanation, *, height: int = 900) -> NotebookPage:
    """The explorer's page about one explanation, without a model behind it.

    Args:
        explanation: Of one text.
        height: Of the frame, in pixels.
    """
    told = reading(explanation)
    row = Row(0, " ".join(explanation.words), None, len(explanation.words), {NAME: explanation.prediction}, {})
    contents = Contents(
        live=False,
        data="",
        labels=[],
        runs=[RunSummary(NAME, explanation.explaining_site, "", {}, [])],
        rows=[row],
        total=1,
        readings={NAME: {0: told}},
    )
    return NotebookPage(page(contents), height)
