"""A table in, a figure out."""

from .data import (
    plot_contact_sheet,
    plot_distance_by_rank,
    plot_few_shot,
    plot_mantel,
    plot_map,
    plot_mistakes,
    plot_rank_accuracy,
    plot_results_overview,
    plot_shared_words,
    plot_taxon_counts,
    plot_taxon_treemap,
    plot_training,
    plot_zero_shot,
    save_figure,
)
from .live import live_figure

__all__ = [
    "live_figure",
    "plot_contact_sheet",
    "plot_distance_by_rank",
    "plot_few_shot",
    "plot_mantel",
    "plot_map",
    "plot_mistakes",
    "plot_rank_accuracy",
    "plot_results_overview",
    "plot_shared_words",
    "plot_taxon_counts",
    "plot_taxon_treemap",
    "plot_training",
    "plot_zero_shot",
    "save_figure",
]
