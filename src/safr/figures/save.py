"""A figure in, its SVG and PNG out, the same bytes each time."""

import io
import os
import uuid
from pathlib import Path

from matplotlib.figure import Figure

from safr.figures.style import figure_style

PNG_DPI = 160
SVG_DPI = 72  # of the few parts that are pixels


def save_figure(figure: Figure, path_without_suffix: str | Path) -> list[Path]:
    """Writes the figure as .svg and .png and returns both paths; missing folders are made.

    Each is written to a temporary name and renamed, so a reader or a crash never sees half a file. The first saving
    fixes where the axes are, so that the next one gives the same bytes: resize a figure before.
    """
    path = Path(path_without_suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    contents = {".svg": _svg(figure, "safr"), ".png": _png(figure)}
    # Not with_suffix: a name such as "lambda0.1" would lose its end.
    return [_written(path.with_name(path.name + suffix), content) for suffix, content in contents.items()]


def figure_to_svg(figure: Figure, *, salt: str = "safr") -> str:
    """The figure as an <svg> element for embedding in a page.

    Args:
        figure: Any figure of this package.
        salt: Goes into the ids of clip paths and hatches. Figures on one page that may be hidden one by one need
            different ones, since a browser doesn't follow an id into a hidden element.
    """
    document = _svg(figure, salt).decode("utf-8")
    return document[document.index("<svg") :]


def _svg(figure: Figure, salt: str) -> bytes:
    buffer = io.BytesIO()
    with figure_style(salt):
        _settle(figure)
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(buffer, format="svg", dpi=SVG_DPI, metadata=nothing)
    return buffer.getvalue()


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    with figure_style():
        _settle(figure)
        figure.savefig(buffer, format="png", dpi=PNG_DPI, metadata={"Software": None})
    return buffer.getvalue()


def _settle(figure: Figure) -> None:
    """Arranges the axes now and for good: matplotlib would move them a little further with each drawing."""
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")


def _written(path: Path, content: bytes) -> Path:
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
