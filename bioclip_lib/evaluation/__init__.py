"""How well a model names: a catalog, features and class names in; scores with n, interval, chance and tests out.

`tasks` says which images and classes are asked, `contestants` who is asked (and computes features once), `zero_shot`
names images, `mistakes` measures wrong names in the tree, `marks` what a reader of names has to pass, `few_shot` draws
folds that `classifiers` answer, `sets` asks the published sets as their numbers were, `metrics` writes metrics.csv,
`leaderboard` lays results side by side; `statistics` has every interval and test.
"""

from . import leaderboard, statistics
from .contestants import load_few_shot, load_zero_shot
from .few_shot import compare_few_shot, draw_folds, eligible_classes, fold_scores, score_few_shot
from .leaderboard import score_table
from .marks import beside_chance, word_kinds
from .metrics import append_metrics, read_metrics
from .mistakes import mean_distances, mistake_distances, rank_accuracy
from .sets import score_sets
from .tasks import unasked
from .zero_shot import calibration, score_zero_shot, string_reports

__all__ = [
    "append_metrics",
    "beside_chance",
    "calibration",
    "compare_few_shot",
    "draw_folds",
    "eligible_classes",
    "fold_scores",
    "leaderboard",
    "load_few_shot",
    "load_zero_shot",
    "mean_distances",
    "mistake_distances",
    "rank_accuracy",
    "read_metrics",
    "score_few_shot",
    "score_sets",
    "score_table",
    "score_zero_shot",
    "statistics",
    "string_reports",
    "unasked",
    "word_kinds",
]
