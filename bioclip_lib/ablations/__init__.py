"""What a choice of the recipe contributes: the same small world trained again with one thing changed, several seeds.

`cells` lists what is trained, and `data` on what; `sweep` trains and scores each cell once and keeps it, `summary` sets
cells side by side with intervals over seeds and tests what is claimed of them.
"""

from .cells import MIXTURE, Cell, data_shares, descriptions, objectives, text_types
from .data import HALF_IMAGES, HALF_SPECIES, PARTS
from .summary import claims, compared, over_seeds, text_matrix
from .sweep import run_grid

__all__ = [
    "HALF_IMAGES",
    "HALF_SPECIES",
    "MIXTURE",
    "PARTS",
    "Cell",
    "claims",
    "compared",
    "data_shares",
    "descriptions",
    "objectives",
    "over_seeds",
    "run_grid",
    "text_matrix",
    "text_types",
]
