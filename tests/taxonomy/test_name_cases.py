"""Names as they come, and what a taxonomist takes each for in its context: facts, by kind of trap."""

from pathlib import Path

import pandas as pd
import pytest

from bioclip_lib import RANKS
from bioclip_lib.taxonomy.authors import equal_authors, same_authors
from bioclip_lib.taxonomy.backbone import open_checklist
from bioclip_lib.taxonomy.canonical import KINGDOMS
from bioclip_lib.taxonomy.decision import COLUMNS
from bioclip_lib.taxonomy.names import parse_names, stems, variants
from bioclip_lib.taxonomy.ncbi import ncbi as open_ncbi

from .asking import resolve_names, resolve_records

ANIMAL, PLANT, FUNGUS, BACTERIUM, VIRUS = (
    {"kingdom": k} for k in ("Animalia", "Plantae", "Fungi", "Bacteria", "Viruses")
)
CHROMIST, PROTOZOAN, NONE = {"kingdom": "Chromista"}, {"kingdom": "Protozoa"}, {}
AMBIGUOUS = "ambiguous"

CASES = [  # verbatim name, context, rank, scientific name, a taxon it belongs to, why
    # one genus name under two codes
    ("Laelia", ANIMAL, "genus", "Laelia", "Erebidae", "tussock moths"),
    ("Laelia", PLANT, "genus", "Laelia", "Orchidaceae", "orchids"),
    ("Morus", ANIMAL, "genus", "Morus", "Sulidae", "gannets"),
    ("Morus", PLANT, "genus", "Morus", "Moraceae", "mulberries"),
    ("Morus", NONE, "", "", "", AMBIGUOUS),
    ("Morus", FUNGUS, "", "", "", "no fungus has this name"),
    ("Ficus", ANIMAL, "genus", "Ficus", "Ficidae", "fig shells"),
    ("Ficus", PLANT, "genus", "Ficus", "Moraceae", "figs"),
    ("Prunella", ANIMAL, "genus", "Prunella", "Prunellidae", "accentors"),
    ("Prunella", PLANT, "genus", "Prunella", "Lamiaceae", "self-heals"),
    ("Oenanthe", ANIMAL, "genus", "Oenanthe", "Muscicapidae", "wheatears"),
    ("Oenanthe", PLANT, "genus", "Oenanthe", "Apiaceae", "water dropworts"),
    ("Cecropia", PLANT, "genus", "Cecropia", "Urticaceae", "trees; the moth is Hyalophora cecropia"),
    ("Cecropia", ANIMAL, "", "", "", "no animal genus has this name"),
    ("Bacillus", ANIMAL, "genus", "Bacillus", "Bacillidae", "stick insects"),
    ("Bacillus", BACTERIUM, "genus", "Bacillus", "Bacillaceae", "bacteria"),
    ("Pieris", ANIMAL, "genus", "Pieris", "Pieridae", "whites"),
    ("Pieris", PLANT, "genus", "Pieris", "Ericaceae", "shrubs"),
    ("Iris", PLANT, "genus", "Iris", "Iridaceae", "irises"),
    ("Iris", ANIMAL, "genus", "Iris", "Mantodea", "mantises"),
    ("Drosophila", ANIMAL, "genus", "Drosophila", "Drosophilidae", "flies"),
    ("Drosophila", FUNGUS, "genus", "Drosophila", "Psathyrellaceae", "a mushroom, before the flies"),
    ("Crambe", PLANT, "genus", "Crambe", "Brassicaceae", "sea kales"),
    ("Crambe", ANIMAL, "genus", "Crambe", "Porifera", 'sponges, which NCBI calls "Crambe (in: sponges)"'),
    ("Crambe", NONE, "", "", "", AMBIGUOUS),
    ("Crambe crambe", ANIMAL, "species", "Crambe crambe", "Porifera", "the genus rank is a plain name, too"),
    ("Trichia", PROTOZOAN, "genus", "Trichia", "Trichiidae", "slime moulds"),
    ("Trichia", ANIMAL, "genus", "Trichia", "Xanthidae", "crabs"),
    ("Dianella", PLANT, "genus", "Dianella", "Asphodelaceae", "flax lilies"),
    ("Corydalis", PLANT, "genus", "Corydalis", "Papaveraceae", "fumeworts"),
    ("Corydalis", ANIMAL, "", "", "", "the dobsonflies are Corydalus; not a guess by spelling"),
    ("Arenaria", ANIMAL, "genus", "Arenaria", "Scolopacidae", "turnstones"),
    ("Arenaria", PLANT, "genus", "Arenaria", "Caryophyllaceae", "sandworts"),
    ("Arenaria interpres", NONE, "species", "Arenaria interpres", "Scolopacidae", "the epithet settles it"),
    ("Arenaria serpyllifolia", NONE, "species", "Arenaria serpyllifolia", "Caryophyllaceae", "the epithet settles it"),
    ("Liparis", ANIMAL, "genus", "Liparis", "Liparidae", "snailfishes"),
    ("Liparis", PLANT, "genus", "Liparis", "Orchidaceae", "orchids"),
    ("Anemone", PLANT, "genus", "Anemone", "Ranunculaceae", "no sea anemone"),
    ("Anemone", ANIMAL, "", "", "", "the sea anemones are Anemonia"),
    ("Alsophila", PLANT, "genus", "Alsophila", "Cyatheaceae", "tree ferns"),
    ("Alsophila", ANIMAL, "genus", "Alsophila", "Geometridae", "moths"),
    ("Proboscidea", ANIMAL, "order", "Proboscidea", "Mammalia", "elephants"),
    ("Proboscidea", PLANT, "genus", "Proboscidea", "Martyniaceae", "unicorn plants"),
    ("Eisenia", ANIMAL, "genus", "Eisenia", "Lumbricidae", "earthworms"),
    ("Eisenia", CHROMIST, "genus", "Eisenia", "Laminariales", "kelps"),
    ("Aotus", ANIMAL, "genus", "Aotus", "Primates", "night monkeys"),
    ("Aotus", PLANT, "genus", "Aotus", "Fabaceae", "peas"),
    ("Asterina", ANIMAL, "genus", "Asterina", "Asteroidea", "sea stars"),
    ("Asterina", FUNGUS, "genus", "Asterina", "Ascomycota", "sooty spots"),
    ("Agathis montana", PLANT, "genus", "Agathis", "Araucariaceae", "kauris; the backbone lacks the species"),
    ("Agathis montana", ANIMAL, "genus", "Agathis", "Braconidae", "wasps"),
    ("Prunella modularis", PLANT, "genus", "Prunella", "Lamiaceae", "the bird is no plant, whatever its epithet"),
    # one genus name within a kingdom
    ("Ctenophora", ANIMAL, "kingdom", "Animalia", "", AMBIGUOUS),
    ("Ctenophora", {**ANIMAL, "order": "Diptera"}, "genus", "Ctenophora", "Tipulidae", "crane flies"),
    ("Ctenophora", {**ANIMAL, "phylum": "Ctenophora"}, "phylum", "Ctenophora", "", "comb jellies"),
    # epithets alone, and epithets that repeat the genus
    ("rufipes", NONE, "", "", "", "an epithet is no name"),
    ("rufipes", ANIMAL, "", "", "", "an epithet is no name"),
    ("alba", PLANT, "", "", "", "an epithet is no name"),
    ("vulgaris", NONE, "", "", "", "an epithet is no name"),
    ("major", NONE, "", "", "", "an epithet, though Major is a genus of flies"),
    ("Major", ANIMAL, "genus", "Major", "Dolichopodidae", "the genus, where it is written as one"),
    ("Gorilla gorilla", NONE, "species", "Gorilla gorilla", "Hominidae", "a tautonym"),
    ("Bison bison bison", NONE, "species", "Bison bison", "Bovidae", "the nominate subspecies"),
    # endings and spellings
    ("Lasius nigra", ANIMAL, "species", "Lasius niger", "Formicidae", "niger, nigra, nigrum"),
    ("Morus niger", PLANT, "species", "Morus nigra", "Moraceae", "niger, nigra, nigrum"),
    ("Sambucus nigrum", NONE, "species", "Sambucus nigra", "Adoxaceae", "niger, nigra, nigrum"),
    ("Acer ruber", NONE, "species", "Acer rubrum", "Sapindaceae", "ruber, rubra, rubrum"),
    ("Ulmus glaber", NONE, "species", "Ulmus glabra", "Ulmaceae", "glaber, glabra, glabrum"),
    ("Tanacetum vulgaris", NONE, "species", "Tanacetum vulgare", "Asteraceae", "-is, -e"),
    ("Salix albus", NONE, "species", "Salix alba", "Salicaceae", "-us, -a"),
    ("Chelidonium major", NONE, "species", "Chelidonium majus", "Papaveraceae", "the comparative: major, majus"),
    ("Lepus europeus", NONE, "species", "Lepus europaeus", "Leporidae", "ae for e"),
    ("Vaccinium vitis-idea", NONE, "species", "Vaccinium vitis-idaea", "Ericaceae", "ae for e"),
    ("Isoëtes lacustris", NONE, "species", "Isoetes lacustris", "Isoetaceae", "a diaeresis"),
    ("Œnanthe crocata", PLANT, "species", "Oenanthe crocata", "Apiaceae", "a ligature"),
    ("Æshna cyanea", NONE, "species", "Aeshna cyanea", "Aeshnidae", "a ligature"),
    ("Capsella bursa pastoris", NONE, "species", "Capsella bursa-pastoris", "Brassicaceae", "without its hyphen"),
    ("Turdus merlua", NONE, "genus", "Turdus", "Turdidae", "a slip, but records are not corrected by likeness"),
    # synonyms that the encyclopaedia names
    ("Rana pipiens", NONE, "species", "Lithobates pipiens", "Ranidae", "in its article"),
    ("Rosmarinus officinalis", PLANT, "species", "Salvia rosmarinus", "Lamiaceae", "in its article"),
    ("Platanus × acerifolia", NONE, "species", "Platanus x hispanica", "Platanaceae", "in its article"),
    # hybrids
    ("Mentha × piperita", NONE, "species", "Mentha x piperita", "Lamiaceae", "a named hybrid"),
    ("Mentha piperita", NONE, "species", "Mentha x piperita", "Lamiaceae", "without its sign"),
    ("× Triticosecale", NONE, "genus", "x Triticosecale", "Poaceae", "a nothogenus"),
    ("Triticosecale", NONE, "genus", "x Triticosecale", "Poaceae", "without its sign"),
    ("×Hesperotropsis leylandii", NONE, "species", "x Hesperotropsis leylandii", "Cupressaceae", "a nothogenus"),
    ("Quercus robur × Q. petraea", NONE, "genus", "Quercus", "Fagaceae", "both parents are oaks"),
    ("Anas platyrhynchos x Cairina moschata", ANIMAL, "family", "Anatidae", "Aves", "parents of two genera"),
    ("Triticum × Secale", PLANT, "family", "Poaceae", "Poales", "parents of two genera: what both share"),
    # open nomenclature
    ("Quercus sp.", NONE, "genus", "Quercus", "Fagaceae", "species"),
    ("Lasius sp2", NONE, "genus", "Lasius", "Formicidae", "a numbered species"),
    ("Quercus cf. robur", NONE, "genus", "Quercus", "Fagaceae", "compare"),
    ("Quercus aff. robur", NONE, "genus", "Quercus", "Fagaceae", "related to"),
    ("Quercus ?robur", NONE, "genus", "Quercus", "Fagaceae", "the species is in doubt"),
    ("cf. Quercus robur", NONE, "genus", "Quercus", "Fagaceae", "before the genus: that is unverified, too"),
    ("?Parus major", NONE, "genus", "Parus", "Paridae", "before the genus: that is unverified, too"),
    ("Lasius niger agg.", NONE, "genus", "Lasius", "Formicidae", "an aggregate of species"),
    ("Quercus robur group", NONE, "genus", "Quercus", "Fagaceae", "a group of species"),
    ("Lasius niger/flavus", NONE, "genus", "Lasius", "Formicidae", "one of two species"),
    ("Lasius niger or flavus", NONE, "genus", "Lasius", "Formicidae", "one of two species"),
    ("Carabidae indet.", NONE, "family", "Carabidae", "Coleoptera", "not determined"),
    ("Hymenoptera gen. nov.", NONE, "order", "Hymenoptera", "Insecta", "a genus not named yet"),
    ("Gen. nov. sp. nov.", ANIMAL, "", "", "", "nothing is said"),
    # authors, years, brackets
    ("Parus major Linnaeus, 1758", NONE, "species", "Parus major", "Paridae", "author and year"),
    ("Cyanistes caeruleus (Linnaeus, 1758)", NONE, "species", "Cyanistes caeruleus", "Paridae", "moved since"),
    ("Turdus merula [Linnaeus, 1758]", NONE, "species", "Turdus merula", "Turdidae", "square brackets"),
    ("Sequoiadendron giganteum (Lindl.) J.Buchholz", NONE, "species", "Sequoiadendron giganteum", "Pinopsida", ""),
    # below species
    ("Brassica oleracea var. italica", NONE, "species", "Brassica oleracea", "Brassicaceae", "a variety"),
    ("Betula pendula f. purpurea", NONE, "species", "Betula pendula", "Betulaceae", "a form"),
    ("Panthera tigris ssp. altaica", NONE, "species", "Panthera tigris", "Felidae", "a subspecies"),
    ("Canis lupus familiaris", NONE, "species", "Canis lupus", "Canidae", "a subspecies in NCBI"),
    # abbreviated genera
    ("Q. robur", {"genus": "Quercus"}, "species", "Quercus robur", "Fagaceae", "the record writes the genus out"),
    ("P. major", {"genus": "Quercus"}, "", "", "", "not the genus of the record"),
    ("P. major", ANIMAL, "", "", "", "any genus in P"),
    # cultivars
    ("Rosa 'Peace'", NONE, "genus", "Rosa", "Rosaceae", "a cultivar of no species"),
    ("Rosa cv. Peace", PLANT, "genus", "Rosa", "Rosaceae", "a cultivar of no species"),
    ("Malus domestica 'Golden Delicious'", NONE, "species", "Malus domestica", "Rosaceae", "a cultivar"),
    # bacteria and viruses
    ("Candidatus Liberibacter asiaticus", NONE, "species", "Candidatus Liberibacter asiaticus", "Bacteria", "in full"),
    ("'Candidatus Liberibacter asiaticus'", BACTERIUM, "species", "Candidatus Liberibacter asiaticus", "", "quoted"),
    ("Ca. Liberibacter asiaticus", NONE, "species", "Candidatus Liberibacter asiaticus", "", "abbreviated"),
    ("Escherichia coli K-12", BACTERIUM, "species", "Escherichia coli", "Bacteria", "a strain"),
    ("Tobacco mosaic virus", VIRUS, "species", "Tobacco mosaic virus", "Virgaviridae", "its kingdom is Viruses"),
    ("Tobacco mosaic virus", PLANT, "", "", "", "not tobacco"),
    ("Influenza A virus", NONE, "species", "Alphainfluenzavirus influenzae", "Viruses", "its name of today"),
    # what names nothing
    *[(text, NONE, "", "", "", "a placeholder") for text in (
        "unknown", "NA", "none", "n/a", "?", "-", "Incertae sedis", "unclassified", "unidentified", "metagenome",
        "environmental sample", "uncultured bacterium", "synthetic construct", "Life", "root", "other", "sp.",
    )],
    ("Animalia", NONE, "kingdom", "Metazoa", "Animalia", "a kingdom is one"),
    ("Animalia", PLANT, "", "", "", "a kingdom contradicts another"),
    ("Mammalia", ANIMAL, "class", "Mammalia", "Chordata", "a class is one"),
]  # fmt: skip


@pytest.fixture(scope="module")
def ncbi():
    return open_ncbi()


@pytest.fixture(scope="module")
def rows(ncbi):
    records = pd.DataFrame([{"verbatim_name": name, **context} for name, context, *_ in CASES])
    return resolve_records(records, [ncbi])


@pytest.mark.parametrize("i", range(len(CASES)), ids=[f"{c[0]}-{'-'.join(c[1].values())}" for c in CASES])
def test_case(rows, i):
    _, context, rank, name, group, why = CASES[i]
    row = rows.loc[i]
    assert (row["rank"], row.scientific_name) == (rank, name), (why, row.reason)
    assert (row.name_status == "ambiguous") == (why == AMBIGUOUS) == bool(row.alternatives)
    assert group in {"", *row[list(RANKS)]}
    assert row.kingdom in ("", context.get("kingdom", row.kingdom)) and row.kingdom in ("", *KINGDOMS)
    assert row.reason or rank == "species"
    assert not any(char in row.genus for char in "()<>")


def test_epithet_below_species_is_kept_apart(rows):
    reasons = {case[0]: row.reason for case, row in zip(CASES, rows.itertuples(), strict=True)}
    assert reasons["Brassica oleracea var. italica"] == "Brassica oleracea var. italica: its species"
    assert reasons["Panthera tigris ssp. altaica"] == "Panthera tigris altaica: its species"
    assert reasons["Rosa 'Peace'"] == "a cultivar of it: Rosa 'Peace'"


def test_ranks_of_species_with_signs_and_titles(rows):
    found = {case[0]: tuple(row[["genus", "species"]]) for case, (_, row) in zip(CASES, rows.iterrows(), strict=True)}
    assert found["×Hesperotropsis leylandii"] == ("x Hesperotropsis", "leylandii")
    assert found["Candidatus Liberibacter asiaticus"] == ("Liberibacter", "asiaticus")
    assert found["Tobacco mosaic virus"][1] in ("Tobacco mosaic virus", "")
    assert found["Crambe crambe"] == ("Crambe", "crambe")


FOLDERS = [  # verbatim name, rank, scientific name, status: of classes, which have no context
    ("Quercus robur × Q. petraea", "genus", "Quercus", "accepted"),
    ("Triticum × Secale", "family", "Poaceae", "accepted"),
    ("Quercus ?robur", "genus", "Quercus", "accepted"),
    ("Quercus_robur_group", "genus", "Quercus", "accepted"),
    ("Lasius niger or flavus", "genus", "Lasius", "accepted"),
    ("Katodinium_or_Torodinium", "class", "Dinophyceae", "accepted"),
    ("major", "", "", "unresolved"),
    ("alba", "", "", "unresolved"),
    ("iris", "", "", "ambiguous"),  # the plants, and a mantis
    ("Populus niger", "species", "Populus nigra", "corrected"),
    ("Turdus merlua", "genus", "Turdus", "unverified"),  # too short to be sure of
    ("Crambe", "", "", "ambiguous"),
    ("×Triticosecale", "genus", "x Triticosecale", "accepted"),
    ("Candidatus Liberibacter asiaticus", "species", "Candidatus Liberibacter asiaticus", "accepted"),
    ("copepod nauplius", "class", "Copepoda", "accepted"),
    ("Polychaeta larvae", "class", "Polychaeta", "accepted"),
    ("unidentified insect", "class", "Insecta", "accepted"),
    ("barnacle cypris", "", "", "unresolved"),  # a larva; Cypris is an ostracod
    ("unidentified", "", "", "unresolved"),
    ("European robin", "species", "Erithacus rubecula", "accepted"),
    ("E. coli", "species", "Escherichia coli", "accepted"),  # its common name, too
]


@pytest.mark.parametrize(("name", "rank", "scientific_name", "status"), FOLDERS)
def test_class_of_a_folder(name, rank, scientific_name, status):
    row = resolve_names([name]).iloc[0]
    assert (row["rank"], row.scientific_name, row.name_status) == (rank, scientific_name, status), row.reason


@pytest.mark.parametrize(
    ("name", "kingdom", "scientific_name"),
    [
        ("mulberry", "Plantae", "Morus"),
        ("mulberry", "Animalia", ""),
        ("Great tit", "Plantae", ""),
        ("Great tit", "Animalia", "Parus major"),
        ("sea anemone", "Animalia", "Actiniaria"),
        ("sea anemone", "Plantae", ""),
        ("oak", "Plantae", "Quercus"),
        ("blue tit", "Animalia", "Cyanistes caeruleus"),
    ],
)
def test_common_name_in_its_context(name, kingdom, scientific_name):
    row = resolve_names([name], context={"kingdom": kingdom}).iloc[0]
    assert (row.scientific_name, row.kingdom) == (scientific_name, kingdom if scientific_name else "")


CYCADS, IRMNG = "cycads_coldp", "irmng_genus_homonyms_A-L.tsv"
REAL = [  # list, verbatim name, context, rank, scientific name, family, why
    (CYCADS, "Aulacophyllum skinneri", NONE, "species", "Zamia skinneri", "Zamiaceae", "a synonym"),
    (CYCADS, "Macrozamia tridentata", PLANT, "species", "Zamia tridentata", "Zamiaceae", "a synonym"),
    (CYCADS, "Dioon strobilaceum", PLANT, "species", "Dioon edule", "Zamiaceae", "a synonym"),
    (CYCADS, "Epicycas elongata", PLANT, "species", "Cycas elongata", "Cycadaceae", "a synonym"),
    (CYCADS, "Encephalartos eximius I.Verd.", PLANT, "species", "Encephalartos cycadifolius", "Zamiaceae", "a synonym"),
    (CYCADS, "Zamia media var. tenuis", PLANT, "species", "Zamia integrifolia", "Zamiaceae", "of a variety"),
    (CYCADS, "Cycas revoluta var. revoluta", PLANT, "species", "Cycas revoluta", "Cycadaceae", "the autonym"),
    (CYCADS, "Cycas revolutus", PLANT, "species", "Cycas revoluta", "Cycadaceae", "gender"),
    (CYCADS, "Dioon edulis", PLANT, "species", "Dioon edule", "Zamiaceae", "-is, -e"),
    (CYCADS, "Cycas revoluta Thunb.", ANIMAL, "", "", "", "no animal"),
    (CYCADS, "Cycas circinalis subsp. riuminiana var. curranii", PLANT, "genus", "Cycas", "Cycadaceae", AMBIGUOUS),
    (IRMNG, "Corydalis Latreille", ANIMAL, "genus", "Corydalus", "Corydalidae", "dobsonflies"),
    (IRMNG, "Ammophila", PLANT, "genus", "Ammophila", "Poaceae", "beach grasses"),
    (IRMNG, "Ammophila", ANIMAL, "genus", "Ammophila", "Sphecidae", "wasps"),
    (IRMNG, "Anemone", ANIMAL, "genus", "Anemonia", "Actiniidae", "a synonym"),
    (IRMNG, "Drosophila", FUNGUS, "genus", "Psathyrella", "Psathyrellaceae", "a synonym"),
    (IRMNG, "Bartramia Hedw.", PLANT, "genus", "Bartramia", "Bartramiaceae", "mosses, by the author"),
    (IRMNG, "Bartramia", {**PLANT, "family": "Bartramiaceae"}, "genus", "Bartramia", "Bartramiaceae",
     "mosses, by the family"),
    (IRMNG, "Bartramia", PLANT, "kingdom", "Plantae", "", AMBIGUOUS),
    (IRMNG, "Bartramia", ANIMAL, "genus", "Bartramia", "Scolopacidae", "the upland sandpiper"),
    (IRMNG, "Dracaena", ANIMAL, "genus", "Dracaena", "Teiidae", "caiman lizards"),
]  # fmt: skip


@pytest.fixture(scope="module")
def lists():
    folder = Path(__file__).resolve().parents[3] / "shared" / "backbones"
    if not folder.is_dir():
        pytest.skip(f"real checklists are looked for in {folder}; not there")
    return {name: open_checklist(folder / name) for name in dict.fromkeys(case[0] for case in REAL)}


@pytest.mark.parametrize(("source", "name", "context", "rank", "scientific_name", "family", "why"), REAL)
def test_case_of_a_real_checklist(lists, ncbi, source, name, context, rank, scientific_name, family, why):
    records = pd.DataFrame([{"verbatim_name": name, **context}])
    row = resolve_records(records, [lists[source], ncbi]).iloc[0]
    assert (row["rank"], row.scientific_name, row.family) == (rank, scientific_name, family), (why, row.reason)
    assert (row.name_status == "ambiguous") == (why == AMBIGUOUS)
    assert row.kingdom in ("", context.get("kingdom", "Plantae"))


HOMONYMS = [  # taxonID, accepted id, name, author, status, nomenclatural status
    ("1", "", "Plantae", "", "accepted", ""),
    ("2", "1", "Fabaceae", "", "accepted", ""),
    ("3", "2", "Aus", "L.", "accepted", ""),
    ("4", "3", "Aus bonus", "L.", "accepted", "valid"),
    ("5", "3", "Aus malus", "DC.", "accepted", ""),
    ("6", "5", "Aus bonus", "Mill.", "synonym", "nom. illeg."),
    ("7", "4", "Aus duplex", "Bory", "synonym", "ILLEGITIMUM"),
    ("8", "5", "Aus duplex", "Rchb.", "synonym", "later homonym"),
    ("9", "5", "Aus triplex", "L.", "synonym", ""),
    ("10", "3", "Aus triplex", "Mill.", "accepted", ""),
]


@pytest.fixture(scope="module")
def illegitimate(tmp_path_factory):
    columns = [
        "taxonID",
        "parent",
        "scientificName",
        "scientificNameAuthorship",
        "taxonomicStatus",
        "nomenclaturalStatus",
    ]
    table = pd.DataFrame(HOMONYMS, columns=columns)
    is_synonym = table.taxonomicStatus == "synonym"
    table["parentNameUsageID"] = table.parent.mask(is_synonym, "")
    table["acceptedNameUsageID"] = table.parent.where(is_synonym, "")
    table["taxonRank"] = ["kingdom", "family", "genus", *["species"] * 7]
    path = tmp_path_factory.mktemp("list") / "taxa.tsv"
    table.drop(columns="parent").to_csv(path, sep="\t", index=False)
    return open_checklist(path)


@pytest.mark.parametrize(
    ("name", "scientific_name", "status", "n_alternatives"),
    [
        ("Aus bonus", "Aus bonus", "accepted", 1),  # the other bears it against the codes
        ("Aus bonus L.", "Aus bonus", "accepted", 0),
        ("Aus bonus Mill.", "Aus malus", "synonym", 0),  # whose name it is, the author says
        ("Aus bonus Lam.", "Aus", "ambiguous", 2),  # by somebody else: neither is meant for sure
        ("Aus duplex", "Aus", "ambiguous", 2),  # both against the codes
        ("Aus triplex", "Aus", "ambiguous", 2),  # nothing tells
    ],
)
def test_accepted_name_is_meant_rather_than_its_later_homonym(
    illegitimate, name, scientific_name, status, n_alternatives
):
    row = resolve_records(pd.DataFrame({"verbatim_name": [name]}), [illegitimate]).iloc[0]
    assert (row.scientific_name, row.name_status) == (scientific_name, status), row.reason
    assert len([a for a in row.alternatives.split("; ") if a]) == n_alternatives
    assert row.rule.endswith("legitimacy") == (name == "Aus bonus")
    assert list(row.index) == list(COLUMNS)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("LeConte", "Le Conte, 1859", True),
        ("Leconte", "LeConte", True),
        ("L.", "Linnaeus, 1758", True),
        ("Linné", "L.", True),
        ("von Linné", "Linnaeus", True),
        ("DC.", "De Candolle", True),
        ("A. P. de Candolle", "DC.", True),
        ("A.DC.", "DC.", False),  # Alphonse, the son
        ("L.f.", "L.", False),
        ("Hook. f.", "Hook.f.", True),
        ("Rchb.f.", "Reichenbach", False),
        ("Rchb.", "Reichenbach", True),
        ("J.E.Gray", "J. E. Gray", True),
        ("G.R. Gray", "J.E. Gray", False),
        ("Gray", "J.E. Gray", True),
        ("d'Orbigny", "Orbigny", True),
        ("McGregor", "MacGregor", True),
        ("Müller", "Mueller", True),
        ("Müll.Arg.", "Müller Argoviensis", True),
        ("Hu", "H.H. Hu", True),
        ("Hu", "Li", False),
        ("Mart.", "Marquart", False),
        ("(Regel ex André) Regel", "Regel", True),
        ("Bory", "L.", False),
        ("Mill., 1768", "Miller, 1754", False),
        ("", "L.", False),
        ("1758", "1758", False),
    ],
)
def test_authors_in_their_spellings(one, other, same):
    assert same_authors(one, other) is same_authors(other, one) is same
    assert not equal_authors(one, other) or same


@pytest.mark.parametrize(
    ("words", "is_stem", "is_variant"),
    [
        ("niger nigra nigrum", True, True),
        ("ruber rubra rubrum", True, True),
        ("glaber glabra", True, True),
        ("asper aspera asperum", True, True),
        ("pulcher pulchra pulchrum", True, True),
        ("integer integra integrum", True, True),
        ("tener tenera", True, True),
        ("campester campestris campestre", True, True),
        ("vulgaris vulgare", True, True),
        ("major majus", True, True),
        ("minor minus", True, True),
        ("lucifer lucifera", True, True),
        ("sylvestris silvestris", False, True),
        ("europeus europaea", False, True),
        ("smithi smithii", True, True),
        ("caeruleus coerulea", False, True),
        ("asper aspra", True, True),
        ("alba alpina", False, False),
        ("macrocarpa microcarpa", False, False),
        ("niger nigricans", False, False),
        ("ruber rubens", False, False),
        ("major maura", False, False),
    ],
)
def test_endings_and_spellings_of_one_epithet(words, is_stem, is_variant):
    first, *others = parse_names([f"Aus {word}" for word in words.split()])
    for other in others:
        assert bool(stems(first) & stems(other)) == is_stem
        assert bool(variants(first) & variants(other)) == is_variant
