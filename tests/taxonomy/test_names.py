"""Parsing names: real labels, any label, and what a long list costs."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_lib.taxonomy.names import clean_label, parse_names, vernacular_key

LABELS = [  # label, canonical, authorship, year, open nomenclature
    ("Aloe barbadensis Miller", "Aloe barbadensis", "Miller", "", ""),
    ("Amanita muscaria (L.) Lam., 1783", "Amanita muscaria", "(L.) Lam. 1783", "1783", ""),
    ("hyptis_sp", "Hyptis", "", "", "sp."),
    ("Aster spp.", "Aster", "", "", "sp."),
    ("Quercus cf. robur", "Quercus robur", "", "", "cf."),
    ("Quercus aff. robur", "Quercus", "", "", "aff."),
    ("PARUS MAJOR", "Parus major", "", "", ""),
    ("<i>Parus&nbsp;major</i>", "Parus major", "", "", ""),
    ("Homo (Homo) sapiens", "Homo sapiens", "", "", ""),
    ("Abies alba ssp. acutifolia", "Abies alba acutifolia", "", "", ""),
    ("x Citrofortunella microcarpa", "Citrofortunella microcarpa", "", "", ""),
    ("×Fatshedera lizei", "Fatshedera lizei", "", "", ""),
    ("×, Aus", "", "", "", ""),  # gnparser ends the process on these two
    ("Parus sect. Candidatus X incertae", "", "", "", ""),
    ("", "", "", "", ""),
    ("\x00\n", "", "", "", ""),
    ("a" * 5000, "", "", "", ""),
]


@pytest.mark.parametrize(("label", "canonical", "authorship", "year", "marker"), LABELS)
def test_parts_of_a_name(label, canonical, authorship, year, marker):
    (parsed,) = parse_names([label])
    assert (parsed.verbatim, parsed.canonical) == (label, canonical)
    assert (parsed.authorship, parsed.year, parsed.open_nomenclature) == (authorship, year, marker)


def test_hybrids():
    named, formula = parse_names(["Citrus x microcarpa", "Mentha aquatica x Mentha spicata"])
    assert (named.is_hybrid, named.genus, named.epithet, named.rank_hint) == (True, "Citrus", "microcarpa", "species")
    assert (formula.is_hybrid, formula.genus, formula.epithet, formula.rank_hint) == (True, "Mentha", "", "")


def test_infraspecific_epithet():
    (parsed,) = parse_names(["Abies alba ssp. acutifolia"])
    assert (parsed.genus, parsed.epithet, parsed.infraspecific) == ("Abies", "alba", "acutifolia")


def test_latin_gender_leaves_the_stem():
    feminine, neuter = parse_names(["Trema micrantha", "Trema micranthum"])
    assert feminine.stemmed == neuter.stemmed != feminine.canonical


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("Chuck_will_Widow", "Chuck-will's-widow"),
        ("Anna_Hummingbird", "Anna’s hummingbird"),
        ("Le_Conte_Sparrow", "LeConte's sparrow"),
        ("Gray_Catbird", "grey catbird"),
        ("Black_and_white_Warbler", "black-and-white warblers"),
        ("Ruppell Warbler", "Rüppell's warbler"),
    ],
)
def test_spellings_of_a_common_name_share_a_key(label, name):
    assert vernacular_key(label) == vernacular_key(name)


def test_different_common_names_have_different_keys():
    names = ["Blue jay", "Green jay", "Gray jay", "Blue-winged warbler", "Golden-winged warbler"]
    assert len({vernacular_key(name) for name in names}) == len(names)


@given(st.lists(st.text(max_size=60), max_size=8))
@settings(max_examples=200, deadline=None)
def test_any_strings_parse_in_order(names):
    parsed = parse_names(names)
    assert [entry.verbatim for entry in parsed] == names
    assert all(bool(entry.canonical) == (entry.quality > 0) == bool(entry.genus) for entry in parsed)


@given(st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_cleaning_twice_is_cleaning_once(text):
    clean = clean_label(text.replace("&", "").replace("<", ""))  # markup may hold markup
    assert clean_label(clean) == clean == " ".join(clean.split())


def test_memory_does_not_grow_with_the_number_of_names():
    psutil = pytest.importorskip("psutil")
    process = psutil.Process()
    parse_names([f"Aus bus{n} Miller 1768" for n in range(5_000)])
    before = process.memory_info().rss
    for start in range(0, 60_000, 5_000):
        parse_names([f"Aus bus{start + n} Miller 1768" for n in range(5_000)])
    # 60,000 results of 340 bytes each would be 20 MB if they were not freed; the list returned is 3 MB
    assert process.memory_info().rss - before < 12e6
