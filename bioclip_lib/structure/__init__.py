"""What the embedding looks like inside: features of evaluated images in, maps and tests of hierarchy out.

`maps` places images in two dimensions and measures how far such a map can be trusted; `hierarchy` tests whether species
lie as in the tree, and at which rank, `probes` the same by other measures; `consistency` asks whether a model's answers
at the ranks are those of one taxon, `modalities` which of images and texts follows the tree more closely; `power` tells
what the species could show; `within` asks what sex and life stage have of the variation within species, `traits` what
the embedding tells of species beyond what their relatives do, `morphospace` which clades vary more, and which species
of distant clades look alike; `told` puts such tables in sentences; `control` asks the same where looks, or words, are
dealt out at random. `labels` finds photographs whose label the others doubt, and writes the corrected table; `planted`
measures how well, on labels that were moved to a sister species. `explorer` is a map in JupyterLab on which one points,
selects, searches and corrects. `clusters` sorts photographs without labels into groups that
look alike, and measures what these are worth.
"""

from .clusters import cluster, score_clusters
from .consistency import score_consistency
from .control import score_controls
from .explorer import explore
from .hierarchy import null_table, pair_table, score_hierarchy
from .labels import corrected_table, find_wrong_labels, suspicious_labels, write_corrected
from .maps import map_quality, place
from .modalities import score_modalities
from .morphospace import score_convergence, score_disparity
from .planted import score_planted
from .power import score_power
from .probes import score_probes
from .told import tell
from .traits import read_traits, score_traits
from .within import score_within

__all__ = [
    "cluster",
    "corrected_table",
    "explore",
    "find_wrong_labels",
    "map_quality",
    "null_table",
    "pair_table",
    "place",
    "read_traits",
    "score_clusters",
    "score_consistency",
    "score_controls",
    "score_convergence",
    "score_disparity",
    "score_hierarchy",
    "score_modalities",
    "score_planted",
    "score_power",
    "score_probes",
    "score_traits",
    "score_within",
    "suspicious_labels",
    "tell",
    "write_corrected",
]
