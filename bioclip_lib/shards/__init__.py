"""From the catalog to tars, and back."""

from .captions import SHARD_TEXTS, caption, caption_table, sample_text_types, shared_words_by_rank
from .write import read_shards, write_shards

__all__ = [
    "SHARD_TEXTS",
    "caption",
    "caption_table",
    "read_shards",
    "sample_text_types",
    "shared_words_by_rank",
    "write_shards",
]
