"""A table in, a Figure out: functions that never show, save or change matplotlib's settings.

`data` draws images, catalogs, captions and training, `treemap` the tree of taxa, `scores` what was measured, `maps` the
embedding; `style` has the look, one colour a meaning, and `save_figure`, which writes a figure with how it was made;
`live` draws while a model trains.
"""

from .data import plot_contact_sheet, plot_shared_words, plot_taxon_counts, plot_training
from .live import live_figure
from .maps import plot_distance_by_rank, plot_mantel, plot_map
from .scores import plot_few_shot, plot_mistakes, plot_rank_accuracy, plot_results_overview, plot_zero_shot
from .style import save_figure, saver
from .treemap import plot_taxon_treemap

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
    "saver",
]
