"""Photographs as they come, to the raw table."""

from .read import read_names, read_names_csv, read_source

__all__ = ["read_names", "read_names_csv", "read_source"]
