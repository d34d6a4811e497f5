"""From the catalog to tars, and back.

A catalog with splits goes in (`write`), and comes out as batches of training images (`stream`), as arrays or samples
(`read`), as small pictures (`thumbnails`), and as the texts that a model reads (`captions`). `samples` has the form of
one sample; `replay` reads pairs of another collection beside them.
"""

from .captions import SHARD_TEXTS, caption, caption_table, shared_words_by_rank
from .read import read_shards
from .write import write_shards

__all__ = [
    "SHARD_TEXTS",
    "caption",
    "caption_table",
    "read_shards",
    "shared_words_by_rank",
    "write_shards",
]
