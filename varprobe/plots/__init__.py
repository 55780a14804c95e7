"""Figures: the only part of the package that draws, and it never changes matplotlib's global settings."""

from varprobe.plots.caption import caption
from varprobe.plots.saving import save_figure
from varprobe.plots.variance import plot_variance, variance_figure

__all__ = ["caption", "plot_variance", "save_figure", "variance_figure"]
