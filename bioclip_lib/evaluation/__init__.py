"""How well a model names."""

from .contestants import (
    can_name,
    class_encoder,
    few_shot_contestants,
    load_features,
    text_encoder,
    zero_shot_contestants,
)
from .few_shot import compare_few_shot, draw_folds, eligible_classes, fold_scores, score_few_shot
from .leaderboard import (
    build_leaderboard,
    compare_zero_shot,
    percent_table,
    ranks_over_sets,
    read_published,
    read_results,
    write_leaderboard,
)
from .metrics import append_metrics, read_metrics
from .sets import score_sets
from .statistics import mean_interval
from .zero_shot import calibration, mean_distances, mistake_distances, rank_accuracy, score_zero_shot, string_reports

__all__ = [
    "append_metrics",
    "build_leaderboard",
    "calibration",
    "can_name",
    "class_encoder",
    "compare_few_shot",
    "compare_zero_shot",
    "draw_folds",
    "eligible_classes",
    "few_shot_contestants",
    "fold_scores",
    "load_features",
    "mean_distances",
    "mean_interval",
    "mistake_distances",
    "percent_table",
    "rank_accuracy",
    "ranks_over_sets",
    "read_metrics",
    "read_published",
    "read_results",
    "score_few_shot",
    "score_sets",
    "score_zero_shot",
    "string_reports",
    "text_encoder",
    "write_leaderboard",
    "zero_shot_contestants",
]
