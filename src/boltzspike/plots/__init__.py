"""Draws what it is given and computes nothing: matplotlib, one function a picture, on the axes it is given.

``responses``: single neurons' curves, bursts and intervals; ``membranes``: potentials and spikes in time;
``couplings``: PSPs, weights, and where a bias comes from; ``distributions``: what was sampled beside what should
have been; ``patterns``: states as images, and as a cloud of points. ``pictures`` computes what most of them show.
"""

from boltzspike.plots.couplings import plot_budget, plot_psp, plot_weights
from boltzspike.plots.distributions import plot_agreement, plot_divergence, plot_probabilities
from boltzspike.plots.membranes import plot_autocorrelation, plot_potentials, plot_raster, plot_trace
from boltzspike.plots.patterns import plot_images, plot_modes
from boltzspike.plots.responses import plot_bursts, plot_intervals, plot_response
from boltzspike.plots.style import EXACT, FAINT, METHOD_COLOURS, OTHER_COLOURS, SAMPLED, new_figure

__all__ = [
    "EXACT",
    "FAINT",
    "METHOD_COLOURS",
    "OTHER_COLOURS",
    "SAMPLED",
    "new_figure",
    "plot_agreement",
    "plot_autocorrelation",
    "plot_budget",
    "plot_bursts",
    "plot_divergence",
    "plot_images",
    "plot_intervals",
    "plot_modes",
    "plot_potentials",
    "plot_probabilities",
    "plot_psp",
    "plot_raster",
    "plot_response",
    "plot_trace",
    "plot_weights",
]
