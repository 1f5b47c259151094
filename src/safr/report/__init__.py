"""Reports about runs: HTML files that need no network and can be mailed."""

from safr.report.report import write_figures, write_report

__all__ = ["write_figures", "write_report"]
