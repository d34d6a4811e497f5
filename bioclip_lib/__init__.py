"""Shared library of the BioCLIP notebooks: one module a stage, from raw photographs to figures."""

__version__ = "0.1.0"

RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species")
"""The seven Linnaean ranks, from the root down. ``species`` holds the epithet."""

TEXT_TYPES = ("com", "sci", "taxon", "sci_com", "taxon_com")
"""The caption types that training draws from (common, scientific, taxonomic name and their mixes)."""
