"""What lies on disk: tables, archives and images; a path goes in, rows, bytes or pixels come out.

`tables` reads tables (`dialect` finds out how one is written, `meta` what a Darwin Core Archive says of its own);
`archives` reads `members` where they lie, in tars, `zips` and `gzips`, `arrow` images in the files of `datasets`;
`images` decodes an image, or a box of it (`crops`), or says why not. `spreadsheets` writes CSV for people, reads .xlsx;
`markdown` writes tables into a page of text.
"""

from .spreadsheets import write_csv

__all__ = ["write_csv"]
