"""From the raw table to one row an image."""

from .card import count_ranks, write_card
from .duplicates import find_near_conflicts, inspect_images, mark_exact_duplicates, mark_near_duplicates, read_details
from .extend import keep_exclusions
from .leaks import find_leaks, remove_leaks
from .licences import exclude_licenses
from .table import (
    assign_splits,
    build_catalog,
    check_catalog,
    check_input,
    class_key,
    drop_summary,
    read_catalog,
    usable,
    write_catalog,
)

__all__ = [
    "assign_splits",
    "build_catalog",
    "check_catalog",
    "check_input",
    "class_key",
    "count_ranks",
    "drop_summary",
    "exclude_licenses",
    "find_leaks",
    "find_near_conflicts",
    "inspect_images",
    "keep_exclusions",
    "mark_exact_duplicates",
    "mark_near_duplicates",
    "read_catalog",
    "read_details",
    "remove_leaks",
    "usable",
    "write_card",
    "write_catalog",
]
