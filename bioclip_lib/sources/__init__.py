"""Photographs as they come, to the raw table.

An address goes in: a folder, an archive, a table, a hub name. `read` recognises the layout and has the reader; the raw
table comes out, a row an image, with ``problem`` where it cannot be read. `summary` says it in a few lines before that.
`layout` and `folders` read class folders, `listings` tables of photographs by the names of `columns`, `addresses` finds
the file of a URL or id, `dwca` archives; a module each has the sets that TreeOfLife is made of, and `hub` the library
datasets.
"""

from .listings import read_names_csv
from .read import read_names, read_source
from .summary import look

__all__ = ["look", "read_names", "read_names_csv", "read_source"]
