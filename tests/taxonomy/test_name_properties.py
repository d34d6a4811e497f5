"""Laws that hold for any name: nothing raises, nothing is invented, rows stay, and resolving twice changes nothing."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bioclip_lib import RANKS
from bioclip_lib.taxonomy.canonical import KINGDOMS, kingdom_of
from bioclip_lib.taxonomy.decision import COLUMNS
from bioclip_lib.taxonomy.names import clean_label, folded
from bioclip_lib.taxonomy.ncbi import ncbi
from bioclip_lib.taxonomy.ranks import deepest_rank
from bioclip_lib.taxonomy.resolution import STATUSES

from .asking import resolve_names, resolve_records, taxon_of_id

GENERA = (
    "Parus Morus Ficus Crambe Oenanthe Quercus Lasius Rosa Acer Mentha Populus Candidatus Ctenophora Q. quercus PARUS "
    "Liberibacter Tobacco copepod Passeridae Fagaceae Insecta Animalia Plantae Triticosecale ×Triticosecale alba"
).split(" ")
EPITHETS = (
    "major niger nigra nigrum alba albus robur rubra ruber flavus crambe asiaticus piperita ×piperita ignota pilosa "
    "cf. sp. spp. aff. indet. larva nauplius (Parus) x × ?robur"
).split(" ")
TAILS = (
    "L. (L.) Linnaeus 1758 [1758] & ex subsp. var. f. excelsus robur sp. gen. agg. group 'Peace' ? / or and - _ tit "
    "\x00 é Œ ß"
).split(" ")
likely = st.tuples(
    st.sampled_from(GENERA),
    st.sampled_from(["", *EPITHETS]),
    st.lists(st.sampled_from(TAILS), max_size=3).map(" ".join),
)
names = st.one_of(st.text(max_size=40), likely.map(" ".join), likely.map(" ".join))
kingdoms = st.one_of(st.sampled_from(["", *KINGDOMS, "Metazoa", "PLANTAE", "incertae sedis"]), st.text(max_size=10))
others = st.one_of(st.sampled_from(["", "Moraceae", "Sulidae", "Rosales", "Passeriformes"]), st.text(max_size=10))
records = st.fixed_dictionaries(
    {"verbatim_name": names, "kingdom": kingdoms, "order": others, "family": others, "genus": others}
)
few = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="module")
def backbones():
    return [ncbi()]


def check_ranks(row: dict[str, str]) -> None:
    """Check that a row holds together, and that NCBI has each of its taxa."""
    ranks = {rank: row[rank] for rank in RANKS}
    assert row["rank"] == deepest_rank(ranks)
    assert row["name_status"] in STATUSES and row["kingdom"] in ("", *KINGDOMS)
    assert bool(row["rank"]) == bool(row["taxon_id"]) == bool(row["scientific_name"])
    assert row["rank"] or row["name_status"] in ("ambiguous", "unresolved")
    assert row["reason"] or row["rank"] == "species"
    if row["rank"]:
        taxon = dict(zip(RANKS, taxon_of_id(row["taxon_id"]).ranks, strict=True))
        assert all(taxon[rank] == name for rank, name in ranks.items() if name)


@given(st.lists(records, max_size=4))
@few
def test_any_record_gives_a_row_and_no_invented_taxon(backbones, given_records):
    table = pd.DataFrame(given_records, columns=["verbatim_name", "kingdom", "order", "family", "genus"])
    table.index = table.index[::-1] * 3
    rows = resolve_records(table, backbones)
    assert rows.index.equals(table.index) and list(rows.columns) == list(COLUMNS)
    assert rows["verbatim_name"].tolist() == table["verbatim_name"].tolist()
    for record, row in zip(given_records, rows.to_dict("records"), strict=True):
        check_ranks(row)
        said = kingdom_of(record["kingdom"])
        assert not row["rank"] or row["kingdom"] == (said or row["kingdom"])
        if row["rule"].endswith(" of the record"):
            said = record[row["rule"].removesuffix(" of the record")]
            assert clean_label(said).casefold() == row["scientific_name"].casefold() and record["verbatim_name"].strip()
        else:
            check_evidence(record["verbatim_name"], record["genus"], row)


def check_evidence(name: str, genus: str, row: dict[str, str]) -> None:
    """Check that the taxon shares a word with the name, unless the rule leads elsewhere."""
    named = row["name_status"] in ("accepted", "corrected") and row["rule"] != "common name"
    if named and row["rank"] and "synonym" not in row["reason"]:
        said = folded(f"{clean_label(name)} {genus}".casefold())
        if row["scientific_name"] not in ("Metazoa", "Viridiplantae"):  # Animalia and Plantae, in NCBI's words
            taxon = taxon_of_id(row["taxon_id"]).scientific_name.removeprefix("x ").removeprefix("Candidatus ")
            assert folded(taxon.casefold())[:3] in said, (name, row)
    if row["rank"] == "species" and "virus" not in row["scientific_name"]:
        assert len(clean_label(name).split(" ")) >= 2


@given(st.lists(names, max_size=4), st.sampled_from([{}, {"kingdom": "Plantae"}, {"kingdom": "Animalia"}]))
@few
def test_any_class_gives_a_row_and_no_invented_taxon(given_names, context):
    rows = resolve_names(given_names, context=context)
    assert rows["verbatim_name"].tolist() == given_names and list(rows.columns) == list(COLUMNS)
    for row in rows.to_dict("records"):
        check_ranks(row)
        assert row["kingdom"] in ("", context.get("kingdom", row["kingdom"]))


@given(st.lists(records, min_size=2, max_size=3), st.randoms(use_true_random=False))
@settings(few, max_examples=20)  # each is resolved five times
def test_order_of_the_records_changes_no_row(backbones, given_records, random):
    table = pd.DataFrame(given_records)
    order = random.sample(range(len(table)), len(table))
    rows = resolve_records(table, backbones)
    pd.testing.assert_frame_equal(resolve_records(table.iloc[order], backbones), rows.iloc[order])
    alone = pd.concat([resolve_records(table.iloc[[i]], backbones) for i in range(len(table))])
    pd.testing.assert_frame_equal(alone, rows)


@given(st.lists(records | likely.map(lambda words: {"verbatim_name": " ".join(words)}), min_size=4, max_size=8))
@few
def test_resolving_the_accepted_name_again_gives_the_same_taxon(backbones, given_records):
    rows = resolve_records(pd.DataFrame(given_records), backbones)
    rows = rows[(rows["rank"] != "") & (rows["name_status"] != "ambiguous")]
    again = rows[list(RANKS)].assign(verbatim_name=rows["scientific_name"])
    second = resolve_records(again, backbones)
    assert second["taxon_id"].tolist() == rows["taxon_id"].tolist()
    assert set(second["name_status"]) <= {"accepted"}


def test_every_kind_of_taxon_is_found_again_by_its_name(backbones):
    """A sample of NCBI's own species, genera and families, with the kingdom they have there."""
    backbone, rng = ncbi(), np.random.default_rng(0)
    found = [name for letter in "ABCDEFGHIJKLMNOPRSTUVXZ" for name in backbone.uninomials(letter, 8)]
    genera = [i for name in rng.choice(found, 400) for i in backbone.rows(name) if backbone.rank(i) == "genus"]
    species = [
        i
        for genus in genera[:150]
        for name in backbone.congeners(backbone.at(genus).name)[:1]
        for i in backbone.rows(name)
    ]
    lines = [
        (t.id, t.scientific_name, dict(zip(RANKS, t.ranks, strict=True)))
        for t in map(backbone.taxon, [*genera, *species])
    ]
    table = pd.DataFrame([{**line, "verbatim_name": name} for _, name, line in lines]).drop(columns="species")
    rows = resolve_records(table, backbones)
    assert rows["taxon_id"].tolist() == [i for i, *_ in lines]
    assert set(rows["name_status"]) == {"accepted"} and len(species) > 80
