"""Captions against the strings of the protocol, written by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_lib import RANKS, TEXT_TYPES
from bioclip_lib.config import CAPTIONS
from bioclip_lib.shards.captions import (
    SHARD_TEXTS,
    caption,
    caption_table,
    higher_caption_table,
    name_string,
)

WOODPECKER = dict(
    zip(RANKS, ("Animalia", "Chordata", "Aves", "Piciformes", "Picidae", "Picoides", "dorsalis"), strict=True),
    scientific_name="Picoides dorsalis",
    common_name="American Three-toed Woodpecker",
    rank="species",
    verbatim_name="American_Three_toed_Woodpecker",
)
COPEPOD = dict.fromkeys(RANKS, "") | {
    "kingdom": "Animalia",
    "class": "Copepoda",
    "rank": "class",
    "scientific_name": "Copepoda",
    "common_name": "copepods",
    "verbatim_name": "copepod_calanoid_eggs",
}
UNKNOWN = dict.fromkeys(RANKS, "") | {
    "rank": "", "scientific_name": "", "common_name": "", "verbatim_name": "trichodesmium_puff"
}  # fmt: skip
NO_COMMON = WOODPECKER | {"common_name": ""}
TAXON = "Animalia Chordata Aves Piciformes Picidae Picoides dorsalis"
TAGGED = "kingdom Animalia phylum Chordata class Aves order Piciformes family Picidae genus Picoides species dorsalis"


@pytest.mark.parametrize(
    ("row", "text_type", "expected"),
    [
        (WOODPECKER, "com", "a photo of American Three-toed Woodpecker."),
        (WOODPECKER, "sci", "a photo of Picoides dorsalis."),
        (WOODPECKER, "taxon", f"a photo of {TAXON}."),
        (WOODPECKER, "taxonTag", f"a photo of {TAGGED}."),
        (WOODPECKER, "sci_com", "a photo of Picoides dorsalis with common name American Three-toed Woodpecker."),
        (WOODPECKER, "taxon_com", f"a photo of {TAXON} with common name American Three-toed Woodpecker."),
        (WOODPECKER, "taxonTag_com", f"a photo of {TAGGED} with common name American Three-toed Woodpecker."),
        (WOODPECKER, "scientific_name", "Picoides dorsalis"),
        (WOODPECKER, "taxonomic_name", TAXON),
        (WOODPECKER, "common_name", "American Three-toed Woodpecker"),
        (NO_COMMON, "com", "a photo of Picoides dorsalis."),
        (NO_COMMON, "taxon_com", f"a photo of {TAXON} with common name Picoides dorsalis."),
        (COPEPOD, "com", "a photo of copepod calanoid eggs."),
        (COPEPOD, "sci", "a photo of Copepoda."),
        (COPEPOD, "taxon", "a photo of Animalia Copepoda."),
        (COPEPOD, "taxonTag_com", "a photo of kingdom Animalia class Copepoda with common name copepod calanoid eggs."),
        (UNKNOWN, "sci", "a photo of trichodesmium puff."),
        (UNKNOWN, "taxon", "a photo of trichodesmium puff."),
        (WOODPECKER | {"genus": "picoides"}, "sci", "a photo of Picoides dorsalis."),
    ],
)
def test_training_captions(row, text_type, expected):
    assert caption(row, text_type) == expected


@pytest.mark.parametrize(
    ("row", "text_type", "expected"),
    [
        (WOODPECKER, "com", "American Three-toed Woodpecker"),
        (WOODPECKER, "sci", "Picoides dorsalis"),
        (WOODPECKER, "taxon_com", f"{TAXON} with common name American Three-toed Woodpecker"),
        (NO_COMMON, "com", ""),
        (NO_COMMON, "sci_com", "Picoides dorsalis"),
        (WOODPECKER | {"phylum": "", "order": ""}, "taxon", "Animalia  Aves  Picidae Picoides dorsalis"),
        (WOODPECKER | {"kingdom": ""}, "taxon", "Picoides dorsalis"),
        (
            WOODPECKER | {"kingdom": ""},
            "taxon_com",
            "Picoides dorsalis with common name American Three-toed Woodpecker",
        ),
        (COPEPOD, "taxon_com", "Animalia  Copepoda     with common name copepod calanoid eggs"),
        (UNKNOWN, "taxon", "trichodesmium puff"),
    ],
)
def test_evaluation_strings(row, text_type, expected):
    assert name_string(row, text_type) == expected


@pytest.mark.parametrize("function", [caption, name_string])
def test_unknown_text_types_are_refused(function):
    with pytest.raises(ValueError, match="unknown text type 'latin'; choose one of com, sci"):
        function(WOODPECKER, "latin")


WORD = st.text(alphabet="abcé ×'-_.", max_size=8)


def test_a_blank_name_counts_as_missing():
    blank = dict.fromkeys(WOODPECKER, " ") | {"rank": "species", "verbatim_name": "x"}
    assert caption(blank, "sci") == "a photo of x." and name_string(blank, "taxon") == "x"


@settings(max_examples=50, deadline=None)
@given(
    st.fixed_dictionaries({key: WORD for key in WOODPECKER if key != "rank"}), st.sampled_from(["species", "genus", ""])
)
def test_laws_of_captions(row, rank):
    row |= {"rank": rank, "verbatim_name": "x" + row["verbatim_name"]}
    for text_type in SHARD_TEXTS:
        text = caption(row, text_type)
        assert "  " not in text and text == text.strip()
        if text_type in CAPTIONS:
            assert text.startswith("a photo of ") and text.endswith(".")
            assert (" with common name " in text) == text_type.endswith("_com")


def test_the_suffixes_are_those_of_the_original():
    wanted = "sci com taxon taxonTag sci_com taxon_com taxonTag_com scientific_name taxonomic_name common_name".split()
    assert set(SHARD_TEXTS.values()) == {f"{suffix}.txt" for suffix in wanted}
    assert set(TEXT_TYPES) < set(CAPTIONS)


UNVERIFIED = WOODPECKER | {
    "species": "", "rank": "genus", "scientific_name": "Picoides", "common_name": "", "name_status": "unverified",
    "verbatim_name": "Picoides_novus",
}  # fmt: skip


@pytest.mark.parametrize(
    ("text_type", "expected", "with_genus"),
    [
        ("sci", "Picidae", "Picoides"),
        ("taxon", "Animalia Chordata Aves Piciformes Picidae", "Animalia Chordata Aves Piciformes Picidae Picoides"),
        ("com", "Picoides novus", "Picoides novus"),  # as the label says
        ("sci_com", "Picidae with common name Picoides novus", "Picoides with common name Picoides novus"),
    ],
)
def test_captions_stop_at_the_family_where_the_genus_is_not_sure(text_type, expected, with_genus):
    assert caption(UNVERIFIED, text_type) == f"a photo of {expected}."
    assert caption(UNVERIFIED, text_type, unverified_genus=True) == f"a photo of {with_genus}."
    sure = UNVERIFIED | {"name_status": "accepted"}
    assert caption(sure, text_type) == f"a photo of {with_genus}."


def test_tables_of_captions_stop_there_too(catalog):
    table = catalog.assign(name_status=np.where(catalog["verbatim_name"] == "Parus ater", "unverified", "accepted"))
    table.loc[table["verbatim_name"] == "Parus ater", ["species", "rank", "scientific_name"]] = ["", "genus", "Parus"]
    found, sure = (caption_table(table, flag).set_index("class_key")["sci"] for flag in (False, True))
    assert set(found) - set(sure) == {"a photo of Paridae."} and set(sure) - set(found) == {"a photo of Parus."}
    found, sure = (higher_caption_table(table, flag)["genus"] for flag in (False, True))
    above = "a photo of Animalia Chordata Aves Passeriformes Paridae"
    assert (found[found != sure].item(), sure[found != sure].item()) == (f"{above}.", f"{above} Parus.")


def test_one_row_of_captions_per_class(catalog):
    table = caption_table(catalog)
    assert table["class_key"].tolist() == ["Acer rubrum", "Parus ater", "Parus major", "copepod eggs"]
    assert table.columns.tolist() == ["class_key", *CAPTIONS]
    assert table["com"].tolist() == [
        f"a photo of {name}." for name in ("red maple", "Parus ater", "great tit", "copepod eggs")
    ]
    assert table.equals(caption_table(catalog.sample(frac=1, random_state=0)))


def test_a_description_is_a_caption_of_its_own_and_nothing_stands_in_for_it_when_asked(catalog):
    row = WOODPECKER | {"description": "black,  yellow\ncrown"}
    assert caption(row, "description") == "a photo of black, yellow crown."
    assert name_string(row, "description") == "black, yellow crown"
    assert caption(WOODPECKER, "description") == "a photo of Picoides dorsalis."
    assert not name_string(WOODPECKER, "description")
    looks = catalog["verbatim_name"].map({"Acer rubrum": "a red tree"}).fillna("")
    table = caption_table(catalog.assign(description=looks)).set_index("class_key")
    assert table.columns.tolist() == [*CAPTIONS, "description"]
    assert table.loc["Acer rubrum", "description"] == "a photo of a red tree."
    assert table.loc["Parus ater", "description"] == "a photo of Parus ater."


def test_classes_without_usable_images_have_no_captions(catalog):
    dropped = catalog.assign(excluded=np.where(catalog["verbatim_name"] == "Acer rubrum", "truncated", ""))
    assert "Acer rubrum" not in set(caption_table(dropped)["class_key"])
