"""From raw rows to one row an image: what is known of it, which class it is, whether it is used, and for what.

Raw rows of `sources`, names of `taxonomy` and `inspect_images` (`duplicates`, `looks`) go into `build` (`assembly`;
`parts` beyond memory): names are joined (`names`), `licences`, `duplicates` and `leaks` excluded with their reason,
`bursts` found, images split (`splits`, `extend`), `descriptions` of the user's set beside names; `checks` refuses what
cannot be worked with. Out comes catalog.parquet, which keeps the contract of `table`, and its `card`. `rare_species`
chooses a benchmark.
"""

from .assembly import build
from .card import count_classes, count_groups, count_ranks, write_card
from .checks import check_classes
from .duplicates import inspect_images
from .splits import usable
from .table import check_catalog, read_catalog, write_catalog

__all__ = [
    "build",
    "check_catalog",
    "check_classes",
    "count_classes",
    "count_groups",
    "count_ranks",
    "inspect_images",
    "read_catalog",
    "usable",
    "write_card",
    "write_catalog",
]
