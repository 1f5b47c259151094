"""Matplotlib figures: the paper's figures for any text, and the curves of runs.

Figures are drawn from arrays and know nothing about models. They need no display, take any words, and are the same
every time.
"""

from safr.figures.allocation import allocation_graph
from safr.figures.bars import capacity_bars, score_bars
from safr.figures.deletion_curve import DeletionCurve, deletion_curves
from safr.figures.heatmap import interference_heatmap
from safr.figures.history import training_history
from safr.figures.pareto import ParetoPanel, pareto_front, pareto_fronts
from safr.figures.save import delete_figure, figure_to_svg, save_figure
from safr.figures.sites import SitePicture, sites_panel

__all__ = [
    "DeletionCurve",
    "ParetoPanel",
    "SitePicture",
    "allocation_graph",
    "capacity_bars",
    "delete_figure",
    "deletion_curves",
    "figure_to_svg",
    "interference_heatmap",
    "pareto_front",
    "pareto_fronts",
    "save_figure",
    "score_bars",
    "sites_panel",
    "training_history",
]
