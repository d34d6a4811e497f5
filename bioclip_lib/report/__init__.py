"""The way out: what a run found, on one page, and its result tables.

A finished run goes in. `answer` reads its tables and says what they show, `page` writes ``index.html`` of that and of
the labels that look wrong; `tables` has the result tables, `readme` what the README shows of a named run. Computes no
score. ``python -m bioclip_lib.report RUN`` writes the page.
"""

from .page import show_answer, write_page
from .readme import write_text
from .tables import figure_index, results_table

__all__ = ["figure_index", "results_table", "show_answer", "write_page", "write_text"]
