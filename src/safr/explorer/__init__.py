"""Explorer: a page to click through about runs, as one offline file or from a live server."""

from safr.explorer.export import NotebookPage, export_page, make_notebook_page
from safr.explorer.serve import serve

__all__ = ["NotebookPage", "export_page", "make_notebook_page", "serve"]
