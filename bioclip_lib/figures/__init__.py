"""A table in, a Figure out: `plot_...` never shows, saves or changes matplotlib's settings.

`draw` draws a figure of a run from the tables that the run keeps, and writes it; `draw_all` all of them (``make
figures``): `gallery` knows which table each is of. `data` draws images, catalogs, captions and training, `treemap` the
tree of taxa, `scores` what was measured, `ablations` what choices contribute, `answers` what answers cost and what
speaks for them, `maps` the embedding, `probes` what is measured in it; `style` has the look, one colour a meaning,
`words` what codes are called, `captions` what is told beside a figure; `tables` writes results as a paper takes them;
`live` draws while a model trains.
"""

from .ablations import plot_recipes, plot_text_matrix
from .answers import plot_risk, plot_saliency
from .data import contact_sheet_table, plot_contact_sheet, plot_shared_words, plot_taxon_counts, plot_training
from .gallery import draw, draw_all, makers
from .live import live_figure
from .maps import plot_distance_by_rank, plot_mantel, plot_map
from .probes import plot_consistency, plot_image_text, plot_power, plot_probes
from .scores import (
    plot_few_shot,
    plot_mistakes,
    plot_rank_accuracy,
    plot_results_overview,
    plot_zero_shot,
)
from .style import with_style
from .tables import figure_index, or_say, results_table, write_table
from .treemap import plot_taxon_treemap

__all__ = [
    "contact_sheet_table",
    "draw",
    "draw_all",
    "figure_index",
    "live_figure",
    "makers",
    "or_say",
    "plot_consistency",
    "plot_contact_sheet",
    "plot_distance_by_rank",
    "plot_few_shot",
    "plot_image_text",
    "plot_mantel",
    "plot_map",
    "plot_mistakes",
    "plot_power",
    "plot_probes",
    "plot_rank_accuracy",
    "plot_recipes",
    "plot_results_overview",
    "plot_risk",
    "plot_saliency",
    "plot_shared_words",
    "plot_taxon_counts",
    "plot_taxon_treemap",
    "plot_text_matrix",
    "plot_training",
    "plot_zero_shot",
    "results_table",
    "with_style",
    "write_table",
]
