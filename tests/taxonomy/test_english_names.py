"""The English names that tables show of NCBI's taxa: what is English, and which of several."""

import numpy as np
import pytest

from bioclip_lib.taxonomy.backbone import open_checklist
from bioclip_lib.taxonomy.ncbi import ncbi
from bioclip_lib.taxonomy.resolution import resolve
from bioclip_lib.taxonomy.vernaculars import english_heads, english_qualifiers, of_other_families


def shown(*names: str) -> list[str]:
    return resolve(list(names))["common_name"].str.lower().tolist()


def test_names_of_other_languages_are_not_shown_as_english():
    # NCBI's are acibar, buntan, bajagua, sha li, kambalgi, granadilla de monte
    assert shown("Aloe vera", "Citrus maxima", "Senna alata") == ["", "pomelo", "emperor's candlesticks"]
    assert shown("Pyrus pyrifolia", "Osteobrama belangeri", "Cionosicys macranthus") == ["asian pear", "", ""]


def test_scientific_names_are_no_english_ones():
    # their titles are "Citrus × sinensis" and "Hibiscus × rosa-sinensis"
    assert shown("Citrus sinensis", "Hibiscus rosa-sinensis") == ["sweet orange", "chinese hibiscus"]
    assert shown("Oneirodes carlsbergi") == [""]  # NCBI's is "Oneirodes carlsbergi (Regan & Trewavas, 1932)"
    assert shown("Bacillariophyta", "Caryocar brasiliense") == ["diatoms", "souari nut"]  # a group; without its quotes


def test_title_comes_before_ncbis_name_and_bold_comes_last():
    assert shown("Parkesia motacilla", "Lamprotornis nitens") == ["louisiana waterthrush", "cape starling"]
    assert shown("Antidesma bunius") == ["bignay"]  # NCBI's, and in bold in its article
    assert shown("Papaver armeniacum") == ["armenian poppy"]  # in bold alone
    assert shown("Anilios ligatus") == ["robust blind snake"]  # NCBI's alone, as English names end


def test_a_word_of_english_articles_is_shown_and_one_that_is_built_as_english_names_are():
    assert shown("Ochroma pyramidale", "Citrus x microcarpa", "Dalbergia retusa") == ["balsa", "calamondin", "cocobolo"]
    assert shown("Euryapteryx gravis") == ["greater broad-billed moa"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("eastern wirrah", True), ("wirrah eastern", False), ("eastern wirrah de monte", False), ("rare wirrah", False)],
)
def test_a_word_that_qualifies_many_names_is_enough(name, expected):
    sure = [f"Eastern {letter}{letter}" for letter in "abcdefghijklmnopqrst"]
    assert english_qualifiers([*sure, "Rare snail"])(name) is expected
    assert not english_qualifiers(sure[1:])("eastern wirrah")


def test_taxon_is_found_by_each_of_its_names():
    found = resolve(["acibar", "buntan", "bajagua", "pomelo"])["scientific_name"].tolist()
    assert found == ["Aloe vera", "Citrus maxima", "Senna alata", "Citrus maxima"]


def test_a_word_that_ends_the_names_of_other_families_is_no_one_species():
    # NCBI calls Chilotilapia rhoadesii, Galaxias maculatus, Nemadactylus bergi so; breams are of nine families
    found = resolve(["bream", "cowfish", "hawkfish", "bream sp."])
    assert found["species"].tolist() == [""] * 4 and set(found["name_status"]) == {"ambiguous"}
    assert found["class"].tolist() == ["Actinopteri"] * 4
    own = ["apple", "plum", "lime", "banana", "sardine", "mango", "whiting", "dog", "horse"]  # of these it is the word
    assert resolve(own)["scientific_name"].tolist() == [
        *("Malus domestica", "Prunus domestica", "Citrus x aurantiifolia", "Musa x paradisiaca", "Sardina pilchardus"),
        *("Mangifera indica", "Merlangius merlangus", "Canis lupus", "Equus caballus"),
    ]


@pytest.mark.parametrize(
    ("families", "vouched", "is_species", "added"),
    [
        ([0, 1, 1, 1], [], True, [1, 2, 3]),
        ([0, 1, 1, 2], [], True, []),  # two in each other family at most
        ([0, 0, 1, 1], [], True, []),
        ([0, -1, -1, -1], [], True, []),
        ([0, 1, 1, 1], [(0, "Bream")], True, []),  # its article calls it so
        ([0, 1, 1, 1], [], False, []),
    ],
)
def test_who_else_bears_a_word_by_hand(families, vouched, is_species, added):
    names = [(0, "bream"), (1, "sea bream"), (2, "Silver Bream"), (3, "white bream"), (3, "bream fly"), (2, "snapper")]
    others = of_other_families(names, vouched, np.array([is_species, True, True, True]), np.array(families))
    assert others == [(row, "bream") for row in added]


@pytest.mark.parametrize("name", ["tree snail", "woodlandsnail", "Robust Snails", "sea-snail", "Isla de Pinos snail"])
def test_last_word_decides(name):
    is_english = english_heads(["Garden snail", "Roman snail"], ["apple snail", "pond snail", "lung snail"])
    assert is_english(name)


@pytest.mark.parametrize("name", ["snail bua", "mudlail", "caracol de snail", "ail", ""])
def test_what_ends_as_no_english_name_is_none(name):
    assert not english_heads(["Garden snail", "Roman snail"], ["apple snail", "pond snail", "lung snail"])(name)


def test_one_name_in_doubt_does_not_vouch_for_another():
    assert not english_heads(["duo hua qin"], ["hong qin"])("yan qin")
    assert english_heads([], ["pond snail"] * 5)("sea snail") and not english_heads([], ["pond snail"] * 4)("sea snail")


TAXA = "id\tparentID\tscientificName\trank\n1\t\tAnimalia\tkingdom\n2\t1\tParus major\tspecies\n"
DMP = {
    "nodes.dmp": "1\t|\t1\t|\tkingdom\t|\n2\t|\t1\t|\tspecies\t|\n",
    "names.dmp": "1\t|\tMetazoa\t|\t\t|\tscientific name\t|\n2\t|\tParus major\t|\t\t|\tscientific name\t|\n"
    "2\t|\tkjottmeis\t|\t\t|\tgenbank common name\t|\n",
}


def write_lists(folder):
    """Write a checklist without names, one with an English name, and a dump whose name is of no stated language."""
    for name, vernacular in (("bare", ""), ("named", "taxonID\tname\tlanguage\n2\tSaw-sharpener\ten\n")):
        (folder / name).mkdir()
        (folder / name / "NameUsage.tsv").write_text(TAXA)
        if vernacular:
            (folder / name / "VernacularName.tsv").write_text(vernacular)
    (folder / "dump").mkdir()
    for name, text in DMP.items():
        (folder / "dump" / name).write_text(text)
    return {name: open_checklist(folder / name) for name in ("bare", "named", "dump")}


@pytest.mark.parametrize(
    ("order", "english"),
    [
        (["bare"], "great tit"),  # NCBI Taxonomy's
        (["bare", "named"], "saw-sharpener"),  # the next list states that its names are English
        (["ncbi", "named"], "saw-sharpener"),  # before NCBI Taxonomy, though that decides
        (["dump"], "great tit"),  # before that of a dump, which may be of any language
        (["dump", "named"], "saw-sharpener"),
    ],
)
def test_names_of_a_stated_language_come_first(tmp_path, order, english):
    lists = write_lists(tmp_path) | {"ncbi": ncbi()}
    row = resolve(["Parus major"], [lists[name] for name in order]).iloc[0]
    assert row["common_name"].lower() == english and row["backbone"] == lists[order[0]].name
