"""Resolution against NCBI: real names as facts, laws for any name, and the real sets of photographs."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_lib import RANKS
from bioclip_lib.errors import InputError
from bioclip_lib.sources.classes import read_names_csv
from bioclip_lib.taxonomy.decision import COLUMNS
from bioclip_lib.taxonomy.ncbi import ncbi
from bioclip_lib.taxonomy.ranks import deepest_rank
from bioclip_lib.taxonomy.resolution import STATUSES, explain, summary

from .asking import resolve_names, taxon_of_id

FACTS = [  # verbatim name, scientific name, rank, status
    # scientific names in every dress
    ("Parus major", "Parus major", "species", "accepted"),
    ("PARUS_MAJOR", "Parus major", "species", "accepted"),
    ("<i>Parus major</i> Linnaeus, 1758", "Parus major", "species", "accepted"),
    ("Amanita excelsa Gonn. & Rabenh.", "Amanita excelsa", "species", "accepted"),
    ("Piper Betle (Betel)", "Piper betle", "species", "accepted"),
    ("tradescantia_Pallida", "Tradescantia pallida", "species", "accepted"),
    ("Hibiscus rosa-sinensis", "Hibiscus rosa-sinensis", "species", "accepted"),
    ("Citrus aurantiifolia", "Citrus x aurantiifolia", "species", "accepted"),  # a named hybrid without its sign
    ("La Milésie frelon (Milesia crabroniformis)", "Milesia crabroniformis", "species", "accepted"),
    # common names, as folders write them
    ("Anna_Hummingbird", "Calypte anna", "species", "accepted"),
    ("Clark_Nutcracker", "Nucifraga columbiana", "species", "accepted"),
    ("Chuck_will_Widow", "Antrostomus carolinensis", "species", "accepted"),
    ("Black_and_white_Warbler", "Mniotilta varia", "species", "accepted"),
    ("Red_winged_Blackbird", "Agelaius phoeniceus", "species", "accepted"),
    ("Eared_Grebe", "Podiceps nigricollis", "species", "accepted"),  # only as another name in its article
    ("White_breasted_Kingfisher", "Halcyon smyrnensis", "species", "accepted"),
    # misspellings and Latin endings
    ("trema_micrantha", "Trema micranthum", "species", "corrected"),
    ("caryocar_brasiliensis", "Caryocar brasiliense", "species", "corrected"),
    ("Pepromia pellucida", "Peperomia pellucida", "species", "corrected"),
    ("Averrhoea bilimbi", "Averrhoa bilimbi", "species", "corrected"),
    ("tabebuia_rosealba", "Tabebuia roseoalba", "species", "corrected"),
    ("Carmona retusa", "Ehretia microphylla", "species", "synonym"),
    # partial ranks
    ("poaceae_sp", "Poaceae", "family", "accepted"),
    ("hyptis_sp", "Hyptis", "genus", "accepted"),
    ("Quercus cf. robur", "Quercus", "genus", "accepted"),
    ("Mentha aquatica x Mentha spicata", "Mentha", "genus", "accepted"),
    ("mimosa_ditans", "Mimosa", "genus", "unverified"),  # not a slip for Mimosa distans
    ("Animalia", "Metazoa", "kingdom", "accepted"),
    # an epithet that is also the name of a group: no buttercup is a reptile
    ("Ranunculus squamata", "Ranunculus", "genus", "unverified"),
    ("bellis_capitata", "Bellis", "genus", "unverified"),  # Capitata are hydrozoans
    ("Plectranthus scutellarioides", "Plectranthus", "genus", "unverified"),  # not a noun made of Scutellarioideae
    ("Coryza squamata", "", "", "unresolved"),
    ("Rhizosolenia_Proboscia", "Rhizosoleniaceae", "family", "accepted"),  # two genera, not one and its author
    ("Quercus Apis", "", "", "unresolved"),
    ("Unknown bird", "Aves", "class", "accepted"),
    ("ÀÀ", "", "", "unresolved"),  # without its accents it is an orchid, Aa
    ("::ÀÀ", "", "", "unresolved"),
    ("Aß", "", "", "unresolved"),  # folded it is the English name of a donkey
    ("rodent unidentified", "Rodentia", "order", "accepted"),
    ("unid. deer", "Cervidae", "family", "accepted"),
    # morphotypes
    ("unknown polyphaga", "Polyphaga", "order", "accepted"),
    ("larva_polyphaga", "Polyphaga", "order", "accepted"),
    ("Oithona copepoda", "Copepoda", "class", "accepted"),
    ("copepod_calanoid_eggs", "Calanoida", "order", "accepted"),
    ("hydromedusae_typeD_bell_and_tentacles", "Hydrozoa", "class", "accepted"),  # Hydromedusa is a turtle
    ("hydromedusae_liriope", "Liriope", "genus", "accepted"),  # the medusa, not the lilyturf
    ("chaetognath_non_sagitta", "Chaetognatha", "phylum", "accepted"),
    ("echinoderm_larva_pluteus_early", "Echinodermata", "phylum", "accepted"),  # Pluteus is a mushroom
    ("heteropod", "Pterotracheoidea", "order", "accepted"),  # Heteropoda is a spider
    ("ephyra", "Scyphozoa", "class", "accepted"),  # Ephydra is a fly
    ("shrimp_caridean", "Caridea", "order", "accepted"),
    ("copepod_cyclopoid_copilia", "Podoplea", "class", "accepted"),  # NCBI: not a Cyclopoida; what both share
    # more than one taxon
    ("White_Pelican", "Pelecanus", "genus", "ambiguous"),
    ("Whip_poor_Will", "Antrostomus", "genus", "ambiguous"),
    ("Morus", "", "", "ambiguous"),  # a gannet, a mulberry
    ("Ctenophora", "", "", "ambiguous"),  # a phylum, a crane fly, a diatom
    # no taxon
    ("rufipes", "", "", "unresolved"),
    ("fish_larvae_medium_body", "", "", "unresolved"),
    ("protist_fuzzy_olive", "", "", "unresolved"),
    ("Mango flat beak leafhopper", "", "", "unresolved"),
    ("Tomato___Late_blight", "Solanum lycopersicum", "species", "accepted"),
    ("Katodinium_or_Torodinium", "Dinophyceae", "class", "accepted"),
    ("Feline mamastrovirus 9", "", "", "unresolved"),  # of a cat, not a cat
    ("Ditylum_parasite", "", "", "unresolved"),
    ("", "", "", "unresolved"),
]


@pytest.fixture(scope="module")
def backbone():
    return ncbi()


@pytest.fixture(scope="module")
def facts(backbone):
    return resolve_names([name for name, *_ in FACTS]).set_index("verbatim_name")


@pytest.mark.parametrize(("name", "scientific_name", "rank", "status"), FACTS)
def test_facts(facts, name, scientific_name, rank, status):
    row = facts.loc[name]
    assert (row.scientific_name, row["rank"], row.name_status) == (scientific_name, rank, status)
    assert row.reason or rank == "species"


def test_lineage_in_the_kingdoms_of_the_original_project(facts):
    assert facts.loc["Parus major", list(RANKS)].tolist() == [
        *("Animalia", "Chordata", "Aves", "Passeriformes", "Paridae", "Parus", "major")
    ]
    assert facts.loc["hyptis_sp", ["kingdom", "family", "species"]].tolist() == ["Plantae", "Lamiaceae", ""]


def test_kingdoms_of_protists_follow_ruggiero_2015(backbone):
    names = ["Noctiluca", "Euglena", "Phaeocystis", "Trichodesmium", "Porphyra", "Amanita muscaria"]
    kingdoms = resolve_names(names)["kingdom"].tolist()
    assert kingdoms == ["Chromista", "Protozoa", "Chromista", "Bacteria", "Plantae", "Fungi"]


def test_common_names_of_taxa(facts):
    assert facts.loc["Chuck_will_Widow", "common_name"].lower() == "chuck-will's-widow"
    assert facts.loc["Averrhoea bilimbi", "common_name"] == "tree sorrel"  # in bold in its article


def test_context_settles_homonyms_and_refuses_others(backbone):
    plant, bird = (resolve_names(["Morus"], context={"kingdom": k}) for k in ("Plantae", "Animalia"))
    assert (plant.loc[0, "family"], bird.loc[0, "family"]) == ("Moraceae", "Sulidae")
    refused = resolve_names(["Parus major"], context={"kingdom": "Plantae"}).loc[0]
    assert (refused.name_status, refused["rank"]) == ("unresolved", "")
    assert "Plantae" in refused.reason
    with pytest.raises(InputError, match="tribe"):
        explain("a", context={"tribe": "x"})


def test_homonym_follows_the_other_names_only_if_they_agree(backbone):
    plants = ["Annona muricata", "Senna alata", "Zea mays", "Piper aduncum", "Mentha spicata", "Ocimum basilicum"]
    plants += ["Mangifera indica", "Psidium guajava", "Vitex negundo", "Nerium oleander"]
    row = resolve_names(["Morus", *plants]).loc[0]
    assert (row.family, row.name_status) == ("Moraceae", "accepted")
    assert "as the other names" in row.rule
    birds = ["Parus major", "Corvus corax", "Anas crecca"]
    assert resolve_names(["Morus", *plants, *birds]).loc[0, "name_status"] == "ambiguous"


def test_user_table_comes_first(backbone):
    table = pd.DataFrame(
        {
            "class_name": ["blob_A", "White_Pelican", "finch one", "Hyptis_sp"],
            "scientific_name": ["", "Pelecanus erythrorhynchos", "Coccothraustes vespertinus", ""],
            "common_name": ["the blob", "my pelican", "Evening Grosbeak", ""],
            "kingdom": ["Animalia", "", "", ""],
            "genus": ["Blobus", "", "", ""],
            "species": ["Blobus primus", "", "", ""],
        }
    )
    rows = resolve_names(["blob_A", "White_Pelican", "finch_one", "Hyptis_sp", "Zea mays"], table)
    assert rows["backbone"].tolist()[0] == "user"
    assert rows["scientific_name"].tolist() == [
        *("Blobus primus", "Pelecanus erythrorhynchos", "Hesperiphona vespertina", "Hyptis", "Zea mays")
    ]
    assert rows["common_name"].tolist()[:3] == ["the blob", "my pelican", "Evening Grosbeak"]
    assert rows.loc[0, ["kingdom", "species", "rank"]].tolist() == ["Animalia", "primus", "species"]
    assert rows.loc[2, "name_status"] == "synonym"  # NCBI has another genus; common name and epithet agree
    assert rows["verbatim_name"].tolist()[1:3] == ["White_Pelican", "finch_one"]


@pytest.mark.parametrize(
    ("table", "message"),
    [({"name": ["a"]}, "no column class_name"), ({"class_name": ["a", "a"]}, "'a' twice")],
)
def test_unusable_user_table_is_refused(backbone, table, message):
    with pytest.raises(InputError, match=message):
        resolve_names(["a"], pd.DataFrame(table))


WORDS = "Parus Morus Quercus anna rufipes major cf. sp. x non copepod larva star olive pluteus blue jay's leaf _ (Pica)"
words = st.sampled_from(WORDS.split())
labels = st.one_of(
    st.text(max_size=40), st.lists(words, max_size=5).map(" ".join), st.lists(words, max_size=5).map("_".join)
)


@given(st.lists(labels, max_size=6))
@settings(max_examples=150, deadline=None)
def test_any_names_give_a_row_each_and_no_invented_rank(backbone, names):
    table = resolve_names(names)
    assert table["verbatim_name"].tolist() == names
    assert list(table.columns) == list(COLUMNS)
    assert set(table["name_status"]) <= set(STATUSES)
    for row in table.to_dict("records"):
        ranks = {rank: row[rank] for rank in RANKS}
        assert row["rank"] == deepest_rank(ranks)
        assert bool(row["rank"]) == bool(row["taxon_id"]) == bool(row["scientific_name"])
        if row["taxon_id"]:
            taxon = taxon_of_id(row["taxon_id"])
            assert tuple(ranks.values()) == taxon.ranks or row["name_status"] == "ambiguous"
            own_name = row["scientific_name"] in (taxon.scientific_name, ranks["kingdom"])  # NCBI writes Metazoa
            assert own_name or row["name_status"] == "ambiguous"
        assert row["name_status"] not in ("unresolved",) or not row["rank"]
        assert row["reason"] or row["rank"] == "species"


def test_resolving_the_resolved_name_changes_nothing(facts):
    clear = facts[(facts.name_status != "ambiguous") & (facts["rank"] != "")]
    clear = clear[[len(ncbi().usages(name)) == 1 for name in clear.scientific_name]]  # Liriope has homonyms
    again = resolve_names(clear.scientific_name.tolist())
    assert len(clear) >= 30
    assert again["taxon_id"].tolist() == clear.taxon_id.tolist()


def test_equal_names_and_their_order_do_not_matter(backbone):
    names = ["Zea mays", "White_Pelican", "Zea mays", "bad"]
    table = resolve_names(names)
    backwards = resolve_names(names[::-1])[::-1].reset_index(drop=True)
    pd.testing.assert_frame_equal(table, backwards)


def test_counts_add_up(facts):
    counts = summary(facts)
    assert counts.to_numpy().sum() == len(FACTS)
    assert counts.loc["ambiguous", ["genus", "none"]].tolist() == [2, 2]


def resolve_set(photos, name, overrides=None):
    folder = photos / name
    return resolve_names(sorted(p.name for p in folder.iterdir() if p.is_dir()), overrides)


def test_birds_by_folder_names_agree_with_their_scientific_names(photos):
    by_folder = resolve_set(photos, "birds100")
    by_table = resolve_set(photos, "birds100", read_names_csv(photos / "birds100" / "classes.csv"))
    assert (by_table["rank"] == "species").sum() == 99  # Geococcyx is a genus in the table, too
    named = by_folder["rank"] == "species"
    assert named.sum() == 96
    assert by_folder.loc[named, "taxon_id"].tolist() == by_table.loc[named, "taxon_id"].tolist()


def test_leaves_and_pollen(photos):
    leaves, pollen = resolve_set(photos, "leaves40"), resolve_set(photos, "pollen73")
    assert set(leaves.loc[leaves["rank"] != "species", "verbatim_name"]) == {
        "Aloe barbadensis Miller",
        "Mentha cordifolia Opiz",
    }
    assert set(leaves["kingdom"]) == {"Plantae"}
    assert pollen.loc[~pollen["rank"].isin(["species", "genus"]), "verbatim_name"].tolist() == [
        *("myracroduon_urundeuva", "poaceae_sp")
    ]
    assert set(pollen["kingdom"]) == {"Plantae", ""}


def test_no_plankton_morphotype_becomes_a_taxon_outside_the_sea(photos):
    table = resolve_set(photos, "plankton111")
    assert (table["rank"] == "species").sum() == 0
    assert set(table["kingdom"]) == {"Animalia", "Chromista", "Bacteria", ""}
    assert not set(table["class"]) & {"Insecta", "Arachnida", "Aves", "Lepidosauria", "Testudines", "Mammalia"}
    genera = set(table["genus"]) - {""}
    assert genera == {
        *("Sagitta", "Eucalanus", "Oithona", "Aglaura", "Haliscera", "Liriope", "Solmaris", "Solmundella"),
        *("Sphaeronectes", "Trichodesmium"),
    }
