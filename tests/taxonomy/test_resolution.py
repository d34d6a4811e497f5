"""Raw rows to taxa: contexts, the order of backbones, the user's table, and what the looser rules may add."""

import pandas as pd
import pytest

from bioclip_lib import RANKS
from bioclip_lib.catalog.assembly import join
from bioclip_lib.config import DataConfig, load_config
from bioclip_lib.errors import InputError
from bioclip_lib.reproduce.settings import digest_of_files, training_files
from bioclip_lib.taxonomy.ncbi import ncbi
from bioclip_lib.taxonomy.resolution import KEY, check_backbones, context_of, open_backbones, resolve

GULLS = """taxonID,parentNameUsageID,acceptedNameUsageID,scientificName,taxonRank,taxonomicStatus
k,,,Animalia,kingdom,accepted
f,k,,Laridae,family,accepted
g,f,,Ichthyaetus,genus,accepted
s,g,,Ichthyaetus audouinii,species,accepted
o,,s,Larus audouinii,species,synonym
n,g,,Ichthyaetus novus,species,accepted
"""


@pytest.fixture(scope="module")
def gulls(tmp_path_factory):
    """A checklist of one family, as a Darwin Core table."""
    path = tmp_path_factory.mktemp("backbones") / "gulls.csv"
    path.write_text(GULLS)
    return str(path)


def resolved(rows: list[tuple], backbones=None, overrides=None, columns=("verbatim_name", *RANKS[:5])) -> pd.DataFrame:
    """Resolve rows of one source; one row comes back for each, in order."""
    whole = [(*row, *[None] * (len(rows[0]) - len(row))) for row in rows]
    raw = pd.DataFrame(whole, columns=columns[: len(rows[0])]).assign(source="s")
    opened = open_backbones(DataConfig(backbones=tuple(backbones))) if backbones else None
    table = resolve(raw, opened, overrides)
    assert not table.duplicated(list(KEY)).any()
    keys = raw.assign(context=context_of(raw))[list(KEY)]
    return keys.merge(table, on=list(KEY), how="left", validate="m:1")


def test_a_name_means_what_its_row_says():
    moth, orchid, bare, again = (
        row for _, row in resolved([("Laelia", k) for k in ("Animalia", "Plantae", "", "Metazoa")]).iterrows()
    )
    assert (moth["class"], orchid["class"]) == ("Insecta", "Magnoliopsida")
    assert (bare["name_status"], bare["rank"]) == ("ambiguous", "") and "2 taxa" in bare["reason"]
    assert again["family"] == moth["family"] == "Erebidae"


def test_the_first_backbone_that_knows_a_name_decides(gulls):
    rows = [("Larus audouinii", ""), ("Ichthyaetus novus", "Animalia"), ("Parus major", "")]
    first = resolved(rows, [gulls, "ncbi"])
    assert first["scientific_name"].tolist() == ["Ichthyaetus audouinii", "Ichthyaetus novus", "Parus major"]
    assert first["backbone"].str[:4].tolist() == ["gull", "gull", "NCBI"]
    assert first.loc[0, "name_status"] == "synonym" and first.loc[0, "taxon_id"] == "s"
    alone = resolved(rows, [gulls])
    assert alone["rank"].tolist() == ["species", "species", ""]
    last = resolved([("Ichthyaetus audouinii", ""), *rows[1:]], ["ncbi", gulls])
    assert last["backbone"].str[:4].tolist() == ["NCBI", "gull", "NCBI"]


def test_looser_rules_help_within_what_the_row_says(gulls):
    rows = [("Anna_Hummingbird", "Animalia", "", "Aves"), ("Anna_Hummingbird", "Animalia", "", "Insecta")]
    bird, insect = (row for _, row in resolved(rows, [gulls, "ncbi"]).iterrows())
    assert (bird["scientific_name"], bird["rule"]) == ("Calypte anna", "common name")
    assert insect["rank"] in ("", "kingdom", "class") and insect["genus"] == ""
    misspelt = resolved([("Turdus merulla", "Animalia")]).iloc[0]
    assert (misspelt["scientific_name"], misspelt["name_status"]) == ("Turdus merula", "corrected")


def test_a_name_that_nobody_knows_keeps_the_ranks_of_its_row():
    rows = resolved(
        [("Xqz wvk", "Animalia", "Chordata", "Aves", "Passeriformes", "Paridae"), ("Xqz wvk", "", "", "Qx")]
    )
    assert rows["family"].tolist() == ["Paridae", ""] and rows["genus"].tolist() == ["", ""]
    assert rows.loc[0, "rule"] == "family of the record" and "is not known" in rows.loc[0, "reason"]
    assert rows.loc[1, "name_status"] == "unresolved"


def test_of_a_name_from_another_kingdom_than_its_row_the_deepest_rank_of_the_row_remains():
    rows = resolved([("Quercus robur", "Animalia", "Chordata"), ("Quercus robur", "Animalia", "")])
    assert rows.loc[0, ["rank", "scientific_name", "rule"]].tolist() == ["phylum", "Chordata", "phylum of the record"]
    assert "outside kingdom Animalia" in rows.loc[0, "reason"]
    assert rows.loc[1, "name_status"] == "unresolved" and (rows.loc[1, list(RANKS)] == "").all()
    assert "outside kingdom Animalia" in rows.loc[1, "reason"]


def test_the_users_table_decides_where_it_speaks(gulls):
    overrides = pd.DataFrame({"class_name": ["big gull"], "scientific_name": ["Parus major"]})
    rows = resolved([("big gull", "Animalia"), ("Larus audouinii", "")], [gulls, "ncbi"], overrides)
    assert rows["scientific_name"].tolist() == ["Parus major", "Ichthyaetus audouinii"]


def test_ambiguous_names_follow_the_others_of_their_source(gulls):
    birds = [
        "Parus major",
        "Pica pica",
        "Turdus merula",
        "Corvus corax",
        "Strix aluco",
        "Anas acuta",
        "Passer domesticus",
    ]
    birds += ["Apus apus", "Upupa epops", "Merops apiaster", "Sitta europaea"]
    for backbones in (["ncbi"], [gulls, "ncbi"]):
        row = resolved([(name,) for name in ["Oenanthe", *birds]], backbones).iloc[0]
        assert row["family"] == "Muscicapidae" and row["rule"].endswith("; Animalia, as the other names")
    said = resolved([("Oenanthe", "Plantae"), *[(name, "Animalia") for name in birds]]).iloc[0]
    assert said["family"] == "Apiaceae"


def test_the_common_name_of_the_row_fills_a_gap(gulls):
    raw = pd.DataFrame({"source": "s", "verbatim_name": ["Ichthyaetus novus"] * 3, "common_name": ["", "new gull", ""]})
    table = resolve(raw, open_backbones(DataConfig(backbones=(gulls,))))
    assert len(table) == 1 and table.loc[0, "common_name"] == "new gull"


def test_sources_do_not_see_each_other():
    raw = pd.DataFrame({"source": ["a", "b"], "verbatim_name": "Parus major"})
    table = resolve(raw)
    assert table["source"].tolist() == ["a", "b"] and table["scientific_name"].nunique() == 1


@pytest.mark.parametrize("backbones", [(), ("",), ("ncbi", "ncbi"), ("nowhere.csv", "ncbi")])
def test_backbones_that_are_not_there_are_one_message(backbones):
    with pytest.raises(InputError, match=r"give (paths of checklists|the folder)"):
        open_backbones(DataConfig(backbones=backbones))


def test_backbones_are_opened_in_their_order(gulls):
    assert check_backbones(DataConfig(backbones=(gulls, "ncbi"))) == [gulls]
    assert open_backbones(DataConfig()) == [ncbi()]


def test_a_changed_checklist_is_another_input(tmp_path):
    path = tmp_path / "gulls.csv"
    path.write_text(GULLS)
    config = load_config("smoke", {"data.backbones": f"{path},ncbi"})
    before = digest_of_files(training_files(config))
    assert digest_of_files(training_files(config)) == before != digest_of_files(training_files(load_config("smoke")))
    path.write_text(GULLS + "x,g,,Ichthyaetus alter,species,accepted\n")
    assert digest_of_files(training_files(config)) != before


def test_names_with_any_separator_keep_to_their_rows():
    raw = pd.DataFrame(
        {
            "source": ["s", "s\0Parus", "s", "s", "s"],
            "verbatim_name": ["Parus\0major", "major", "Parus\nmajor", "Parus major", None],
            "family": ["", "", None, "Pari\0dae", "Paridae"],
        }
    )
    names = resolve(raw)
    found = {"sha256": "a" * 64, "phash": "0" * 16, "width": 1, "height": 1, "problem": ""}
    images = pd.DataFrame(found, index=raw.index)
    catalog = join(raw.assign(source_id=list("abcde"), location="x"), names, images)
    assert len(names) == len(catalog) == 5 and catalog["excluded"].tolist() == [""] * 4 + ["no name"]
    for i in range(5):
        alone = resolve(raw[i : i + 1])["scientific_name"].item()
        assert catalog["scientific_name"][i] == alone


def test_a_table_without_rows_has_no_names():
    raw = pd.DataFrame(columns=["source", "verbatim_name", "family"], dtype=object)
    assert list(resolve(raw).columns[:3]) == ["source", "verbatim_name", "context"]


def test_looser_rules_read_contexts_as_the_strict_ones_do():
    families = ["Paridae", "paridae", "Paridae Vigors, 1825", "<i>Paridae</i>"]
    found = resolve(pd.DataFrame({"source": "s", "verbatim_name": "Great_Tit", "family": families}))
    assert found["scientific_name"].tolist() == ["Parus major"] * 4


def test_what_is_no_text_or_too_long_is_a_row_with_its_reason():
    names = [1.5, True, b"x", None, "x" * 250_000]
    table = resolve(pd.DataFrame({"verbatim_name": names}))
    assert table["verbatim_name"].tolist() == ["1.5", "True", "b'x'", "", "x" * 250_000]
    assert set(table["name_status"]) == {"unresolved"} and (table["reason"] != "").all()
    assert "more than 300 characters" in table["reason"].iloc[-1]
