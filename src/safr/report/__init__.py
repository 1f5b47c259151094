"""Reports about runs: HTML files that need no network and can be mailed."""

from safr.report.report import write_report
from safr.report.run_figures import write_figures

__all__ = ["write_figures", "write_report"]
