"""Names as they stand on real folders and tables, and the taxon that a taxonomist reads: what decides the resolver.

The cases stand in ``cases/*.csv``, each under the rule it belongs to. An empty rank means that no taxon may come out;
an empty status leaves the status open.
"""

import pandas as pd
import pytest

from bioclip_lib import RANKS

from .acceptance import (
    avilist_lines,
    context_of,
    ncbi_line,
    one,
    open_named,
    read_cases,
    resolved,
    write_checklists,
)

ROWS = read_cases()


def label(case: dict[str, str]) -> str:
    return f"{case['rule']}-{case['name']}-{case['context']}-{case['backbones']}"


@pytest.fixture(scope="module")
def checklists(tmp_path_factory):
    return write_checklists(tmp_path_factory.mktemp("checklists"))


@pytest.fixture(scope="module")
def answers(checklists):
    """Resolve the cases of one set of backbones at once, each as a source of its own."""
    done: dict[str, dict[str, pd.Series]] = {}

    def answer(case: dict[str, str]) -> pd.Series:
        names = case["backbones"]
        if names not in done:
            cases = [c for c in ROWS if c["backbones"] == names]
            rows = [{"source": str(i), "verbatim_name": c["name"], **context_of(c)} for i, c in enumerate(cases)]
            table = resolved(pd.DataFrame(rows).fillna(""), open_named(names, checklists))
            done[names] = {label(c): row for c, (_, row) in zip(cases, table.iterrows(), strict=True)}
        return done[names][label(case)]

    return answer


def test_every_rule_has_its_cases():
    assert pd.Series([case["rule"] for case in ROWS]).value_counts().drop("one taxon after all").min() >= 6
    assert not pd.Series(list(map(label, ROWS))).duplicated().any()


@pytest.mark.parametrize("case", [c for c in ROWS if c["backbones"] == "ncbi" and c["rank"]], ids=label)
def test_expected_taxa_of_ncbi_are_known_to_taxoniq(case):
    """Its kingdom is the one that the case says, unless the case is about a contradiction."""
    line = expected_line(case)
    assert line is not None
    said = context_of(case).get("kingdom", "")
    assert case["rule"] == "contradiction" or said in ("", "Metazoa", line["kingdom"])


def expected_line(case: dict[str, str]) -> dict[str, str] | None:
    """Return the seven ranks of the expected taxon, from its source."""
    if case["backbones"] == "avilist":
        pytest.importorskip("birdnames")
        return avilist_lines()[case["scientific_name"]]
    if case["within"]:  # taxoniq finds one taxon a name: of homonyms we ask for the family
        return {**ncbi_line(case["within"], "family"), case["rank"]: case["scientific_name"]}
    return ncbi_line(case["scientific_name"], case["rank"])


@pytest.mark.parametrize("case", ROWS, ids=label)
def test_case(answers, case):
    row = answers(case)
    assert (row["rank"], row["scientific_name"]) == (case["rank"], case["scientific_name"]), row["reason"]
    assert row["name_status"] == (case["status"] or row["name_status"])
    assert (row["name_status"] == "unresolved") <= (case["rank"] == "")
    assert row["reason"] or (case["rank"] == "species" and row["name_status"] in ("accepted", "synonym", "corrected"))
    assert row["verbatim_name"] == case["name"]
    assert case["within"] in ("", *row[list(RANKS)])


IN_SOURCE = [c for c in ROWS if c["rank"] and c["backbones"] in ("ncbi", "avilist")]


@pytest.mark.parametrize("case", IN_SOURCE, ids=label)
def test_all_seven_ranks_are_those_of_the_source(answers, case):
    row = answers(case)
    assert {rank: row[rank] for rank in RANKS} == expected_line(case)


@pytest.mark.parametrize("case", [c for c in ROWS if c["rule"] == "older rank"], ids=label)
def test_a_row_says_that_its_older_rank_was_passed_over(answers, case):
    row = answers(case)
    assert row["scientific_name"] == case["scientific_name"]
    assert any(name in row["reason"] for rank, name in context_of(case).items() if rank in ("order", "family"))


@pytest.mark.parametrize("case", [c for c in ROWS if c["status"] == "ambiguous"], ids=label)
def test_an_ambiguous_row_lists_what_it_may_mean(answers, case):
    row = answers(case)
    assert row["name_status"] == "ambiguous"
    assert len(row["alternatives"].split("; ")) >= 2


SAID = pd.DataFrame(
    [
        {"class_name": "a", "scientific_name": "Cyanocitta cristata", "family": "Corvidae"},
        {"class_name": "b", "scientific_name": "Oenanthe", "kingdom": "Plantae"},
        {"class_name": "Great_Tit", "common_name": "my tit"},
        {"class_name": "d", "family": "Paridae"},
        {"class_name": "e", "scientific_name": "Parus major Linnaeus, 1758"},
        {"class_name": "f", "scientific_name": "Campylorhynchus brunneicapillus", "family": "Troglodytidae"},
        {
            "class_name": "g", "kingdom": "Animalia", "phylum": "Chordata", "class": "Aves", "order": "Passeriformes",
            "family": "Paridae", "genus": "Parus", "species": "novus",
        },
        {"class_name": "h", "scientific_name": "Caperea marginata", "order": "Cetacea"},
        {"class_name": "Parus ater", "scientific_name": "Periparus ater"},
    ]
).fillna("")  # fmt: skip
SAID_CASES = [  # class, rank, scientific name, seven ranks that must be there, common name
    (
        "a",
        "species",
        "Cyanocitta cristata",
        {"kingdom": "Animalia", "order": "Passeriformes", "family": "Corvidae"},
        "",
    ),
    ("b", "genus", "Oenanthe", {"kingdom": "Plantae", "family": "Apiaceae"}, None),
    ("Great_Tit", "species", "Parus major", {"family": "Paridae"}, "my tit"),
    ("d", "family", "Paridae", {"kingdom": "Animalia", "class": "Aves", "order": "Passeriformes"}, None),
    ("e", "species", "Parus major", {"genus": "Parus", "species": "major"}, None),
    ("f", "species", "Campylorhynchus brunneicapillus", {"order": "Passeriformes"}, None),
    ("g", "species", "Parus novus", {"family": "Paridae", "genus": "Parus", "species": "novus"}, None),
    ("h", "species", "Caperea marginata", {"class": "Mammalia"}, None),
    ("Parus ater", "species", "Periparus ater", {"genus": "Periparus"}, None),
    ("Turdus merula", "species", "Turdus merula", {"family": "Turdidae"}, None),
]


CONTRADICTIONS = [  # what the user's table states, rank, scientific name, genus, family
    ({"species": "Parus major Linnaeus, 1758"}, "species", "Parus major", "Parus", "Paridae"),
    ({"species": "major"}, "", "", "", ""),
    ({"scientific_name": "Parus major", "kingdom": "Plantae"}, "kingdom", "Plantae", "", ""),
    ({"scientific_name": "Parus major", "genus": "Cyanistes"}, "species", "Parus major", "Parus", "Paridae"),
    ({"scientific_name": "Parus", "family": "Corvidae"}, "genus", "Parus", "Parus", "Paridae"),
    ({"scientific_name": "Campylorhynchus brunneicapillus", "family": "Troglodytidae"}, "species",
     "Campylorhynchus brunneicapillus", "Campylorhynchus", "Certhiidae"),
]  # fmt: skip


@pytest.mark.parametrize("case", CONTRADICTIONS, ids=lambda case: ", ".join(case[0].values()))
def test_a_users_table_makes_no_row_that_contradicts_itself(case):
    """Ranks beside a name are its context, as they are in a table of photographs."""
    stated, *expected = case
    row = one("my class", said=pd.DataFrame([{"class_name": "my class", **stated}]))
    assert row[["rank", "scientific_name", "genus", "family"]].tolist() == expected


@pytest.mark.parametrize("case", SAID_CASES, ids=lambda case: case[0])
@pytest.mark.parametrize("context", [{}, {"kingdom": "", "class": ""}], ids=["alone", "empty-columns"])
def test_a_users_table_overrides_only_what_it_states(case, context):
    name, rank, scientific_name, ranks, common_name = case
    row = one(name, said=SAID, **context)
    assert (row["rank"], row["scientific_name"]) == (rank, scientific_name), row["reason"]
    assert {r: row[r] for r in ranks} == ranks
    assert common_name in (None, "", row["common_name"])


def test_a_users_table_speaks_of_the_other_class_names_not():
    row, other = (one("Pica pica", said=said) for said in (SAID, None))
    assert row.equals(other)


def test_only_what_was_looked_up_is_said_to_be_missing(checklists):
    """A reason that names a backbone is about a backbone that was asked, and about a name that is not in it."""
    names = [
        "Xqz wvk",
        "Parus xqzensis",
        "Unknown",
        "?",
        "Animalia x",
        "bird sp.",
        "12345",
        "Homo sapiens x Pan paniscus",
    ]
    for backbones in ("names", "ncbi", "names+ncbi"):
        opened = open_named(backbones, checklists)
        table = resolved(pd.DataFrame({"verbatim_name": names}), opened)
        for row in table.itertuples():
            if "ncbi" not in backbones:
                assert "NCBI" not in row.reason
            if row.verbatim_name in ("Unknown", "?", "12345"):
                assert "no taxon of" not in row.reason and "is not in" not in row.reason


@pytest.mark.parametrize("layout", ["coldp", "coldp_parts", "dwc"])
def test_layouts_of_one_checklist_agree(checklists, layout):
    names = pd.DataFrame({"verbatim_name": ["Aus", "Aus albus", "Aus unicus", "Aus duplex", "Aus xqzensis", "Aaceae"]})
    columns = [*RANKS, "scientific_name", "rank", "name_status"]
    mine, first = (resolved(names, open_named(name, checklists))[columns] for name in (layout, "coldp"))
    pd.testing.assert_frame_equal(mine, first)


@pytest.mark.parametrize(
    "renamed",
    [
        {"NameUsage.tsv": "name-usage.tsv", "VernacularName.tsv": "vernacular-name.tsv"},
        {"NameUsage.tsv": "name_usage.tsv", "VernacularName.tsv": "vernacular_name.tsv"},
        {"NameUsage.tsv": "NAMEUSAGE.tsv", "VernacularName.tsv": "VERNACULARNAME.tsv"},
        {"NameUsage.tsv": "NameUsage.txt", "VernacularName.tsv": "Vernacular_Name.txt"},
    ],
    ids=["hyphens", "underscores", "capitals", "txt"],
)
def test_file_names_of_a_checklist_ignore_hyphens_underscores_and_case(checklists, tmp_path, renamed):
    for old, new in renamed.items():
        (tmp_path / new).write_bytes((checklists / "names" / old).read_bytes())
    (tmp_path / "reference.tsv").write_text("ID\tcitation\n1\tA book\n")
    rows = pd.DataFrame({"verbatim_name": ["Parus major", "Great Tit", "Parus xqzensis"]})
    mine = resolved(rows, open_named(str(tmp_path), tmp_path)).drop(columns="backbone")
    pd.testing.assert_frame_equal(mine, resolved(rows, open_named("names", checklists)).drop(columns="backbone"))


META = """<archive xmlns="http://rs.tdwg.org/dwc/text/">
<core encoding="UTF-8" fieldsTerminatedBy="," linesTerminatedBy="\\n" ignoreHeaderLines="1"
 rowType="http://rs.tdwg.org/dwc/terms/Taxon">
<files><location>taxa-1.csv</location><location>taxa-2.csv</location></files><id index="0"/>
<field index="0" term="http://rs.tdwg.org/dwc/terms/taxonID"/>
<field index="1" term="http://rs.tdwg.org/dwc/terms/parentNameUsageID"/>
<field index="2" term="http://rs.tdwg.org/dwc/terms/acceptedNameUsageID"/>
<field index="3" term="http://rs.tdwg.org/dwc/terms/scientificName"/>
<field index="4" term="http://rs.tdwg.org/dwc/terms/taxonRank"/>
<field index="5" term="http://rs.tdwg.org/dwc/terms/taxonomicStatus"/>
</core></archive>"""


def test_a_checklist_in_several_files_is_read_whole(checklists, tmp_path):
    header, *lines = (checklists / "dwc" / "Taxon.csv").read_text().splitlines()
    for i, part in enumerate((lines[:4], lines[4:]), 1):
        (tmp_path / f"taxa-{i}.csv").write_text("\n".join([header, *part, ""]))
    (tmp_path / "meta.xml").write_text(META)
    rows = pd.DataFrame({"verbatim_name": ["Aus albus", "Aus niveus", "Aus unicus", "Aus duplex", "Aus xqzensis"]})
    mine = resolved(rows, open_named(str(tmp_path), tmp_path)).drop(columns="backbone")
    pd.testing.assert_frame_equal(mine, resolved(rows, open_named("dwc", checklists)).drop(columns="backbone"))


def test_two_terms_on_one_column_are_both_read(tmp_path):
    """An archive may map one column to taxonID and to acceptedNameUsageID's twin, scientificNameID."""
    meta = META.replace("<location>taxa-2.csv</location>", "").replace(
        "</core>",
        '<field index="3" term="http://rs.tdwg.org/dwc/terms/acceptedNameUsage"/>'
        '<field index="0" term="http://rs.tdwg.org/dwc/terms/scientificNameID"/></core>',
    )
    (tmp_path / "meta.xml").write_text(meta)
    (tmp_path / "taxa-1.csv").write_text(
        "a,b,c,d,e,f\n1,,,Animalia,kingdom,accepted\n2,1,,Aus,genus,accepted\n3,2,,Aus bus,species,accepted\n"
    )
    row = one("Aus bus", open_named(str(tmp_path), tmp_path))
    assert (row["scientific_name"], row["name_status"], row["kingdom"]) == ("Aus bus", "accepted", "Animalia")


def test_summary_counts_unverified_genera():
    from bioclip_lib.taxonomy import summary

    table = resolved(pd.DataFrame({"verbatim_name": ["Parus xqzensis", "Parus major", "Quercus wxqensis"]}))
    assert int(summary(table).loc["unverified", "genus"]) == 2


def test_a_reader_may_see_how_a_name_was_decided(checklists):
    from bioclip_lib.taxonomy import explain

    opened = open_named("names+ncbi", checklists)
    steps = explain("Great Tit", opened, {"class": "Aves"})
    assert "Parus major" in set(steps["scientific_name"])
    assert steps["verdict"].iloc[-1].startswith("accepted")
