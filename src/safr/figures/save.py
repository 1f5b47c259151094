"""Saves figures as SVG, PNG and PDF, with the same bytes every time."""

import io
from pathlib import Path

from matplotlib.figure import Figure

from safr.figures.style import StyledFigure, figure_style
from safr.storage import write_bytes

PNG_DPI = 200
SVG_DPI = 72  # for the few parts that are pixels
PDF_DPI = 300  # for those in print


def save_figure(figure: Figure, path_without_suffix: str | Path) -> list[Path]:
    """Writes the figure as .svg, .png and .pdf and returns the paths; missing folders are created.

    The PDF embeds its fonts as TrueType, which publishers ask for, and has no date. Where no installed font holds a
    character, the PNG and the PDF show a box and a warning says so; the SVG leaves it to the reader's.

    A file is written under a temporary name and then renamed, so a reader or a crash never leaves half a file. The
    first call fixes the positions of the axes, so that the next call gives the same bytes: resize a figure before it.
    """
    files = _list_files(path_without_suffix)
    contents = (_render_svg(figure, "safr"), _render_png(figure), _render_pdf(figure))
    for file, content in zip(files, contents, strict=True):
        write_bytes(file, content)
    return files


def delete_figure(path_without_suffix: str | Path) -> None:
    """Delete the files that `save_figure` wrote under this name, where there are any."""
    for file in _list_files(path_without_suffix):
        file.unlink(missing_ok=True)


def figure_to_svg(figure: Figure, *, salt: str = "safr") -> str:
    """The figure as an <svg> element that can be embedded in a page.

    Args:
        figure: Any figure of this package.
        salt: Part of the ids of clip paths and hatches. Figures on one page that can be hidden separately need
            different salts, because a browser doesn't follow an id into a hidden element.
    """
    document = _render_svg(figure, salt).decode("utf-8")
    return document[document.index("<svg") :]


def _list_files(path_without_suffix: str | Path) -> list[Path]:
    path = Path(path_without_suffix)
    # Not with_suffix, which would cut the end off a name such as "lambda0.1".
    return [path.with_name(path.name + suffix) for suffix in (".svg", ".png", ".pdf")]


def _render_svg(figure: Figure, salt: str) -> bytes:
    buffer = io.BytesIO()
    with figure_style(salt):
        _fix_layout(figure)
        no_metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(buffer, format="svg", dpi=SVG_DPI, metadata=no_metadata)
    return buffer.getvalue()


def _render_png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    with figure_style():
        _fix_layout(figure)
        figure.savefig(buffer, format="png", dpi=PNG_DPI, metadata={"Software": None})
    return buffer.getvalue()


def _render_pdf(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    with figure_style():
        _fix_layout(figure)
        no_metadata = {"CreationDate": None, "Creator": None, "Producer": None}
        figure.savefig(buffer, format="pdf", dpi=PDF_DPI, metadata=no_metadata)
    return buffer.getvalue()


def _fix_layout(figure: Figure) -> None:
    """Arranges the axes once: matplotlib would move them a little with every drawing."""
    if isinstance(figure, StyledFigure):
        figure.choose_fonts()  # now, because the axes are arranged around words of their final size
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine(None)  # not "none", whose placeholder has matplotlib draw all of it once more
