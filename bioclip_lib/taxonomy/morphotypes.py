"""Read labels of morphotypes: groups, life stages and body parts, as plankton and camera projects name their classes.

Takes the words of a label ("copepod calanoid eggs"), returns the taxon that they name together (Calanoida). Never a
genus by a word alone: of a free text, too many words are the name of some genus.
"""

import re
from collections.abc import Sequence

from .backbone import Backbone, Usage
from .names import singular

INFORMAL = {
    **{"auricularia": "Holothuroidea", "bipinnaria": "Asteroidea", "brachiolaria": "Asteroidea"},
    **{"echinopluteus": "Echinoidea", "ophiopluteus": "Ophiuroidea", "tornaria": "Enteropneusta"},
    **{"ephyra": "Scyphozoa", "ephyrae": "Scyphozoa", "hydromedusa": "Hydrozoa", "hydromedusae": "Hydrozoa"},
    **{"acantharia": "Acantharea", "acantharian": "Acantharea", "diatom": "Bacillariophyta"},
    **{"heteropod": "Pterotracheoidea", "leptocephali": "Elopomorpha", "leptocephalus": "Elopomorpha"},
}
"""Larvae and life forms with a name of their own, and whose they are. Several are also, or nearly, the names of quite
other genera: Auricularia is a fungus, Ephydra a fly, Hydromedusa a turtle, Heteropoda a spider."""

LATIN_ENDINGS = (
    ("", "a"),  # copepod -> Copepoda
    ("", "ae"),  # physonect -> Physonectae
    ("", "ata"),  # echinoderm -> Echinodermata
    ("n", ""),  # caridean -> Caridea
    ("n", "e"),  # calycophoran -> Calycophorae
    ("e", "a"),  # ctenophore -> Ctenophora
    ("e", "ae"),  # siphonophore -> Siphonophorae
    ("id", "idae"),  # myctophid -> Myctophidae
)
"""How English makes a noun of a taxon's name: (ending of the noun, ending of the name)."""

NEGATIONS = {"non", "not", "no", "without"}
"""Words after which a name says what the image does not show."""

DENIALS = {"like", "or", "mix", "mixed", "parasite", "detritus", "mosaic"}
"""Words beside which a taxon's name does not say what the image shows, or not alone; so do all in -virus and -phage."""

_LIKE_A_GENUS = re.compile("(?<!^larv)(?<!^pup)(?<!^faun)(?<!^flor)(?:[aiou][sx]|um|on|a)$")
_LOW_RANKS = {"species", "genus", "subgenus", "species_group", "species_subgroup", "section", "series", "no_rank"}


def is_denied(words: Sequence[str]) -> bool:
    """Return whether a word says that the image does not show what the others name, or not that alone."""
    return _is_of_another(words) or bool(NEGATIONS.intersection(words))


def of_words(words: Sequence[str], backbone: Backbone) -> list[Usage]:
    """Return the taxon that the words of a label, in lower case, name together, if there is one."""
    if _is_of_another(words) or _is_epithet_of_genus(words, backbone):
        return []
    outer = taxon = None  # a genus or an English name counts only inside the group that the first word has named
    for before, word in zip(["", *words], words, strict=False):
        if before in NEGATIONS:
            continue
        found = _group_of_word(word, backbone)
        if outer is not None:
            found = [i for i in found or _inside(outer, word, backbone) if outer in backbone.ancestors(i)]
        if found:
            deeper = [i for i in found if taxon in backbone.ancestors(i)]
            taxon = backbone.common_ancestor(deeper or [*found, *([] if taxon is None else [taxon])])
            outer = taxon if outer is None else outer
    return [] if taxon is None else [backbone.at(taxon)]


def _is_of_another(words: Sequence[str]) -> bool:
    """Return whether a word tells that the label names a host, a likeness or a mixture."""
    return any(word in DENIALS or word.endswith(("virus", "phage")) for word in words)


def _is_epithet_of_genus(words: Sequence[str], backbone: Backbone) -> bool:
    """Return whether the second word is an epithet after a genus, though it is a group's name: Bellis capitata."""
    first, second = [*(word for word in words if word.isalpha()), "", ""][:2]
    if not backbone.is_epithet(second) or _group_of_word(first, backbone):
        return False
    genera = [row for row in backbone.rows(first.capitalize()) if backbone.rank(row) == "genus"]
    inside = {group for row in genera for group in backbone.ancestors(row)}
    groups = _group_of_word(second, backbone)
    return not inside.intersection(groups) if genera else bool(_LIKE_A_GENUS.search(first)) and bool(groups)


def _group_of_word(word: str, backbone: Backbone) -> list[int]:
    """Return the groups above genus that a word names: in Latin, or as a noun made of the Latin name."""
    if word in INFORMAL or singular(word) in INFORMAL:
        return backbone.rows(INFORMAL.get(word) or INFORMAL[singular(word)])
    names = [word]
    for stem in dict.fromkeys((singular(word), word)):
        names += [stem.removesuffix(old) + new for old, new in LATIN_ENDINGS if stem.endswith(old)]
    if len(word) < 5:
        return []
    found = [i for name in names for i in backbone.rows(name.capitalize()) if backbone.rank(i) not in _LOW_RANKS]
    return list(dict.fromkeys(found))


def _inside(outer: int, word: str, backbone: Backbone) -> list[int]:
    """Return the genera and English names that a word stands for, of those inside a group."""
    genera = [row for row in backbone.rows(word.capitalize()) if backbone.rank(row) == "genus"]
    return [row for row in (*genera, *backbone.english(word)) if outer in backbone.ancestors(row)]
