"""Image and text towers, in open_clip's terms."""

from . import _torchvision_ops  # noqa: F401 (before open_clip)
from .encode import encode_texts
from .text import build_model, count_parameters, export_model, load_model, tokenize

__all__ = ["build_model", "count_parameters", "encode_texts", "export_model", "load_model", "tokenize"]
