"""Photographs as they come, to the raw table.

An address goes in: a folder, an archive, a table, a hub name. `read` recognises the layout and has the reader; the raw
table comes out, a row an image, with ``problem`` where it cannot be read. `summary` says it in a few lines before that.
`layout` and `folders` read class folders (`walk` finds files), `listings` tables of photographs by the names of
`columns`, `classes` what is said of class names; `addresses` finds the file of a URL or id, `match` those of a data
set's table; `boxes` cuts animals out, `marks` tells images of no taxon and frames of one sequence. Read are Darwin Core
Archives (`dwca`), camera traps (`cameras`), `annotations` in JSON, sets as `published`, EOL's media (`eol`),
`treeoflife`, and the library datasets (`hub`). `download` fetches what an archive or a table only names (`transfer`
file by file). `synthetic` invents a tree of life and draws its photographs.
"""

from .classes import read_names, read_names_csv
from .read import read_source
from .summary import first_images, look

__all__ = ["first_images", "look", "read_names", "read_names_csv", "read_source"]
