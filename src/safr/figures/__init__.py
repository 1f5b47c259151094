"""Arrays in, matplotlib figures out: the paper's figures for any text, and the curves of runs.

Nothing here knows about models. Figures are drawn without a display, with any words, and are the same each time.
"""

from safr.figures.bars import capacity_bars
from safr.figures.curves import Curve, deletion_curves
from safr.figures.graph import allocation_graph
from safr.figures.heatmap import interference_heatmap
from safr.figures.history import training_history
from safr.figures.pareto import pareto_front
from safr.figures.saving import save_figure, svg_text
from safr.figures.sites import SitePicture, sites_panel

__all__ = [
    "Curve",
    "SitePicture",
    "allocation_graph",
    "capacity_bars",
    "deletion_curves",
    "interference_heatmap",
    "pareto_front",
    "save_figure",
    "sites_panel",
    "svg_text",
    "training_history",
]
