"""What the embedding looks like inside."""

from .control import score_shuffled_world
from .hierarchy import score_hierarchy
from .maps import map_quality, project

__all__ = ["map_quality", "project", "score_hierarchy", "score_shuffled_world"]
