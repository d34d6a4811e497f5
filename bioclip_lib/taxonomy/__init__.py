"""Names to seven ranks."""

from .labels import resolve_names, summarise_resolution
from .resolution import open_backbones, resolve_raw_names

__all__ = ["open_backbones", "resolve_names", "resolve_raw_names", "summarise_resolution"]
