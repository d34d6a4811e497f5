"""What a choice of the recipe contributes: the same small world trained again with one thing changed, several seeds.

`cells` lists what is trained, and `data` on what; `sweep` trains and scores each cell once and keeps it, and `confused`
asks again where names leave a few classes in question. `summary` sets cells side by side with intervals over seeds and
tests what is claimed of them.
"""

from .cells import Cell, backbones, data_shares, descriptions, objectives, text_types
from .summary import claims, compared, over_seeds, recipes, text_matrix
from .sweep import run_grid

__all__ = [
    "Cell",
    "backbones",
    "claims",
    "compared",
    "data_shares",
    "descriptions",
    "objectives",
    "over_seeds",
    "recipes",
    "run_grid",
    "text_matrix",
    "text_types",
]
