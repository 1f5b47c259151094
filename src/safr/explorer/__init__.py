"""Runs in, a page to click through out: one offline file, or a live server."""

from safr.explorer.export import export_page

__all__ = ["export_page"]
