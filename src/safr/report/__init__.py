"""Runs in, one HTML file out that needs no network and can be mailed."""

from safr.report.report import write_report

__all__ = ["write_report"]
