"""What the embedding looks like inside: features of evaluated images in, maps and tests of hierarchy out.

`maps` places images in two dimensions and measures how far such a map can be trusted; `hierarchy` tests whether species
lie as in the tree, and at which rank; `details` keeps what its figures are drawn from; `control` asks the same where
looks, or words, are dealt out at random.
"""

from .control import score_controls
from .details import null_table, pair_table
from .hierarchy import score_hierarchy
from .maps import map_quality, place

__all__ = ["map_quality", "null_table", "pair_table", "place", "score_controls", "score_hierarchy"]
