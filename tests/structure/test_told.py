"""What is said of a table: shown, not shown, not asked, by the corrected p-value, of one model."""

import numpy as np
import pandas as pd

from bioclip_lib.structure import tell


def row(rank, value, p_value, p_holm, why="", model="trained", low=-1.0):
    numbers = {"value": value, "ci_low": low, "ci_high": 1.0, "by_chance": 0.5, "p_value": p_value, "p_holm": p_holm}
    return {"dataset": "birds", "part": "seen", "model": model, "probe": "purity", "rank": rank, **numbers, "why": why}


def test_each_row_is_told_by_hand():
    table = pd.DataFrame(
        [
            row("class", 0.9, 0.0001, 0.0004, low=0.8),
            row("order", 0.7, 0.03, 0.12),
            row("genus", 0.2, 0.01, 0.04, low=0.0),
            row("family", np.nan, np.nan, np.nan, "all are of one group"),
            row("class", 0.1, 0.9, 0.9, model="pixels"),
        ]
    )
    assert tell(table) == (
        "- *birds, seen species*: Shown above chance: purity (class) 0.90 [0.80, 1.00] (chance 0.50, p < 0.001). "
        "Shown below chance: purity (genus) 0.20 (too few for an interval) (chance 0.50, p 0.04). "
        "Not shown: purity (order) 0.70 (too few for an interval) (chance 0.50, p 0.12). "
        "Not asked: purity (family) (all are of one group)."
    )


def test_many_are_counted_and_nothing_is_said_so():
    many = pd.DataFrame([row(f"rank {i}", 0.9, 0.01, 0.01) for i in range(11)])
    assert "(rank 7) 0.90" in tell(many) and "rank 8" not in tell(many) and " and 3 more" in tell(many)
    assert tell(many, "frozen") == "*Nothing is known of the model frozen.*"
    assert tell(many.iloc[:0]) == "*Nothing can be asked of these images.*"
