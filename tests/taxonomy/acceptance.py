"""What the acceptance tests of the resolver share: the call, the backbones they ask, and the sources they trust.

An expected taxon is checked against its source by other means than the library's: NCBI by taxoniq's own API, lists by
reading their rows.
"""

import csv
import functools
from pathlib import Path

import pandas as pd
import pytest

from bioclip_lib import RANKS, taxonomy
from bioclip_lib.config import DataConfig
from bioclip_lib.taxonomy import open_backbones

CASES = Path(__file__).parent / "cases"
SHARED = Path(__file__).resolve().parents[3] / "shared"
REAL = {"cycads": "cycads_coldp", "irmng": "irmng_genus_homonyms_A-L.tsv"}
KINGDOM_OF = {"Metazoa": "Animalia", "Viridiplantae": "Plantae"}


def read_cases() -> list[dict[str, str]]:
    """Return all cases, the file they stand in among their columns."""
    return [
        {"file": path.stem, **row}
        for path in sorted(CASES.glob("*.csv"))
        for row in csv.DictReader(path.open(encoding="utf-8", newline=""))
    ]


def context_of(case: dict[str, str]) -> dict[str, str]:
    """Return the ranks that stand beside the name of a case."""
    return dict(part.strip().split(" ", 1) for part in case["context"].split(";") if part.strip())


def open_named(names: str, folder: Path) -> list:
    """Open the backbones of a case: "avilist+ncbi", or a list of `write_checklists`."""
    paths = []
    for name in names.split("+"):
        if name in REAL and not (SHARED / "backbones").is_dir():
            pytest.skip(f"real checklists are looked for in {SHARED / 'backbones'}; not there")
        if name == "avilist":
            pytest.importorskip("birdnames")
        known = name in ("ncbi", "avilist")
        paths.append(name if known else str(SHARED / "backbones" / REAL[name] if name in REAL else folder / name))
    return open_backbones(DataConfig(backbones=tuple(paths)))


def resolved(rows: pd.DataFrame, backbones=None, said: pd.DataFrame | None = None) -> pd.DataFrame:
    """Resolve raw rows; one row comes back for each, in order."""
    raw = rows if "source" in rows else rows.assign(source="s")
    raw = raw.reset_index(drop=True)
    backbones = open_backbones(DataConfig()) if backbones is None else backbones
    table = taxonomy.resolve(raw, backbones, said)
    if "context" not in table:
        assert len(table) == len(raw)
        return table.set_axis(raw.index)
    keys = list(taxonomy.resolution.KEY)
    mine = raw.assign(verbatim_name=raw["verbatim_name"].fillna(""), context=taxonomy.resolution.context_of(raw))
    return mine[keys].merge(table, on=keys, how="left", validate="m:1")


def one(name: str, backbones=None, said: pd.DataFrame | None = None, **ranks: str) -> pd.Series:
    """Resolve one name beside the given ranks."""
    return resolved(pd.DataFrame([{"verbatim_name": name, **ranks}]), backbones, said).iloc[0]


@functools.cache
def ncbi_line(name: str, rank: str) -> dict[str, str] | None:
    """Return NCBI's seven ranks of a name as taxoniq gives them, None where it knows no such taxon."""
    import taxoniq

    try:
        taxon = taxoniq.Taxon(scientific_name=name)
    except KeyError:
        return None
    line: dict[str, str] = {}
    for above in taxon.lineage:
        line.setdefault(above.rank.name, above.scientific_name)
    domain = line.get("superkingdom", "")  # bacteria, archaea and viruses have no kingdom there
    line["kingdom"] = KINGDOM_OF.get(line.get("kingdom", ""), line.get("kingdom", domain.replace("Eukaryota", "")))
    if line.get(rank) != name:  # a homonym, or another rank
        return None
    return {r: line.get(r, "").partition(" ")[2] if r == "species" else line.get(r, "") for r in RANKS}


@functools.cache
def avilist_lines() -> dict[str, dict[str, str]]:
    """Return the ranks of each name of AviList, read from the package's own table."""
    import birdnames

    table = pd.read_csv(Path(birdnames.__file__).parent / "data/processed/avilist_2025_taxonomy.csv", dtype=str)
    fixed = {"kingdom": "Animalia", "phylum": "Chordata", "class": "Aves"}
    return {
        row.scientific_name: {
            **fixed, "order": row.avilist_order, "family": row.avilist_family, "genus": row.genus,
            "species": row.scientific_name.partition(" ")[2],
        }
        for row in table.fillna("").itertuples()
    }  # fmt: skip


COLDP = """ID\tparentID\tstatus\trank\tscientificName\tauthorship
k\t\taccepted\tkingdom\tPlantae\t
f\tk\taccepted\tfamily\tAaceae\t
g\tf\taccepted\tgenus\tAus\tL.
s1\tg\taccepted\tspecies\tAus albus\tL.
s2\tg\taccepted\tspecies\tAus niveus\tMill.
y1\ts1\tsynonym\tspecies\tAus unicus\tLam.
y2\ts1\tambiguous synonym\tspecies\tAus duplex\tLam.
y3\ts2\tambiguous synonym\tspecies\tAus duplex\tLam.
b1\t\tbare name\tspecies\tAus nudus\tLam.
b2\t\tbare name\tspecies\tBus nudus\tLam.
"""
NAMES = """ID\tscientificName\trank\tauthorship
n0\tPlantae\tkingdom\t
n1\tAaceae\tfamily\t
n2\tAus\tgenus\tL.
n3\tAus albus\tspecies\tL.
n4\tAus niveus\tspecies\tMill.
n5\tAus unicus\tspecies\tLam.
n6\tAus duplex\tspecies\tLam.
n7\tAus nudus\tspecies\tLam.
n8\tBus nudus\tspecies\tLam.
"""
TAXA = "ID\tparentID\tnameID\nk\t\tn0\nf\tk\tn1\ng\tf\tn2\ns1\tg\tn3\ns2\tg\tn4\n"
SYNONYMS = "taxonID\tnameID\tstatus\ns1\tn5\tsynonym\ns1\tn6\tambiguous synonym\ns2\tn6\tambiguous synonym\n"
DWC = """taxonID,parentNameUsageID,acceptedNameUsageID,scientificName,taxonRank,taxonomicStatus
k,,,Plantae,kingdom,accepted
f,k,,Aaceae,family,accepted
g,f,,Aus,genus,accepted
s1,g,,Aus albus,species,accepted
s2,g,,Aus niveus,species,accepted
y1,,s1,Aus unicus,species,synonym
y2,,s1,Aus duplex,species,synonym
y2,,s2,Aus duplex,species,synonym
"""
BIRDS = """ID\tparentID\tstatus\trank\tscientificName
k\t\taccepted\tkingdom\tAnimalia
p\tk\taccepted\tphylum\tChordata
c\tp\taccepted\tclass\tAves
o\tc\taccepted\torder\tPasseriformes
f1\to\taccepted\tfamily\tParidae
f2\to\taccepted\tfamily\tCorvidae
g1\tf1\taccepted\tgenus\tParus
g2\tf1\taccepted\tgenus\tPeriparus
g3\tf2\taccepted\tgenus\tCyanocitta
s1\tg1\taccepted\tspecies\tParus major
s2\tg2\taccepted\tspecies\tPeriparus ater
s3\tg3\taccepted\tspecies\tCyanocitta cristata
"""
ENGLISH = """taxonID\tname\tlanguage
s1\tGreat Tit\teng
s2\tCoal Tit\teng
s3\tBlue Jay\teng
f1\tTits\teng
s1\tKohlmeise\tdeu
"""


def write_checklists(folder: Path) -> Path:
    """Write the small checklists that the cases name."""
    files = {
        "coldp/NameUsage.tsv": COLDP,
        "coldp_parts/Name.tsv": NAMES,
        "coldp_parts/Taxon.tsv": TAXA,
        "coldp_parts/Synonym.tsv": SYNONYMS,
        "dwc/Taxon.csv": DWC,
        "names/NameUsage.tsv": BIRDS,
        "names/VernacularName.tsv": ENGLISH,
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder
