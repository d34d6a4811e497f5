"""Names as people write them -> the seven ranks of the taxa they mean.

A raw name goes in with whatever ranks stand beside it; out comes one row a name: seven ranks, accepted and common
name, status, backbone, rule and reason. `labels` finds the names in a label, `names` parses them, `evidence` says
what to look for, strongest first (`morphotypes` of words alone); `backbone` holds what exists (`ncbi`, `avilist`, and
`checklists` linked by `lineages`, their names made `canonical` and English by `vernaculars`), kept in a
`cache`; `homonyms` and `authors` tell the usages of one name apart; `decision` decides a label, `resolution` all names
of a table, and `user`'s own table comes before all. `unsettled` says which names stop short; `ranks` compares lineages.
"""

from .resolution import explain, open_backbones, resolve, summary

__all__ = ["explain", "open_backbones", "resolve", "summary"]
