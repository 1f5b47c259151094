"""Runs in, a page to click through out: one offline file, or a live server."""

from safr.explorer.export import export_page
from safr.explorer.notebook import NotebookPage, make_notebook_page
from safr.explorer.serving import serve

__all__ = ["NotebookPage", "export_page", "make_notebook_page", "serve"]
