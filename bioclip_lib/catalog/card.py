"""The data-set card: what a catalog holds, where it is from, under which licences, and what was dropped.

Takes a catalog; writes a card in the Hugging Face form (Markdown with a YAML head), an attribution table, one row a
usable image, and nothing else. Names and licences come from strangers: Markdown in them is escaped.
"""

from pathlib import Path

import pandas as pd

from .. import RANKS
from ..files.markdown import escape, markdown_table
from ..files.spreadsheets import write_csv
from ..run import atomic
from .licences import NOT_STATED, keys_of
from .splits import SPLITS, usable
from .table import drop_summary

TREEMAP = "figures/taxon_treemap.png"
ATTRIBUTION_COLUMNS = ("image_id", "source", "source_id", "license", "rights_holder", "source_url")
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))


def count_ranks(catalog: pd.DataFrame) -> pd.DataFrame:
    """Count the taxa of each rank, and the images labelled at that rank or deeper, and at no deeper rank.

    Returns
    -------
    pd.DataFrame
        ``rank, n_taxa, n_images, n_deepest``, from kingdom to species, then "none": images without any taxon. A taxon
        is told by its whole path, so that a genus name in two kingdoms counts twice.
    """
    kept = catalog[usable(catalog)]
    rows = []
    for depth, rank in enumerate(RANKS, 1):
        known = kept[kept[rank] != ""]
        n_taxa = len(known.drop_duplicates(list(RANKS[:depth])))
        rows.append((rank, n_taxa, len(known), int((kept["rank"] == rank).sum())))
    none = int((kept["rank"] == "").sum())
    return pd.DataFrame([*rows, ("none", 0, none, none)], columns=["rank", "n_taxa", "n_images", "n_deepest"])


def count_classes(catalog: pd.DataFrame) -> pd.DataFrame:
    """Count usable images by ``source, class_key, split`` and kingdom to family: ``n_images``."""
    keys = ["source", "class_key", "split", *RANKS[:5]]
    return catalog[usable(catalog)].groupby(keys, sort=True).size().rename("n_images").reset_index()


def count_sources(catalog: pd.DataFrame) -> pd.DataFrame:
    """Count the images and classes of each source: ``images, usable, classes`` and a column a split."""
    kept = usable(catalog)
    table = catalog.groupby("source").size().rename("images").to_frame()
    table["usable"] = catalog[kept].groupby("source").size()
    table["classes"] = catalog.loc[kept, "class_key"].groupby(catalog.loc[kept, "source"]).nunique()
    splits = pd.crosstab(catalog.loc[kept, "source"], catalog.loc[kept, "split"]).reindex(columns=list(SPLITS))
    return table.join(splits).fillna(0).astype("int64").rename_axis("source").reset_index()


def count_groups(catalog: pd.DataFrame) -> pd.DataFrame:
    """Count the groups of each source that has any, their images, and those that published splits tear.

    Returns
    -------
    pd.DataFrame
        ``source, n_groups, n_images, n_torn``: of usable images; torn is a group with images on two sides, which none
        is but by the splits that came with the photographs. A nearest neighbour then names the test by its sister.
    """
    kept = catalog[usable(catalog) & (catalog["group"] != "")]
    side = kept["split"].replace("heldout_species", "test")
    groups = side.groupby([kept["source"], kept["group"]]).agg(["size", "nunique"]).reset_index()
    table = groups.groupby("source").agg(
        n_groups=("size", "size"), n_images=("size", "sum"), n_torn=("nunique", lambda n: int((n > 1).sum()))
    )
    return table.reset_index()


def count_licenses(catalog: pd.DataFrame) -> pd.DataFrame:
    """Count the usable images of each licence, most first: ``license, n_images, n_holders, as_given``."""
    kept = catalog[usable(catalog)]
    said = kept["license"].str.strip()
    rows = kept.assign(license=keys_of(said), said=said.mask(said == "", NOT_STATED))
    table = rows.groupby("license").agg(
        n_images=("said", "size"),
        n_holders=("rights_holder", lambda holders: holders[holders != ""].nunique()),
        as_given=("said", _wordings),
    )
    return table.sort_values(["n_images", "license"], ascending=[False, True], kind="stable").reset_index()


def _wordings(said: pd.Series, n: int = 5) -> str:
    """List the n most frequent wordings with their counts, and count the others."""
    counts = said.value_counts().rename_axis("said").reset_index(name="n")
    counts = counts.sort_values(["n", "said"], ascending=[False, True])
    listed = [f"{text} ({count:,})" for text, count in counts.head(n).itertuples(index=False)]
    return "; ".join(listed + ([f"{len(counts) - n} more wordings"] if len(counts) > n else []))


def count_long_tail(catalog: pd.DataFrame) -> pd.DataFrame:
    """Count the classes with at least 1, 2, 5, 10, ... images: ``images, n_classes``, while there are any."""
    sizes = catalog["class_key"][usable(catalog)].value_counts()
    steps = [m * 10**e for e in range(8) for m in (1, 2, 5)]
    rows = [(n, int((sizes >= n).sum())) for n in steps]
    return pd.DataFrame([row for row in rows if row[1]], columns=["images", "n_classes"])


def make_card(catalog: pd.DataFrame, title: str, figure: str = "") -> str:
    """Write the text of the card: Markdown, its head in YAML, with the picture of the taxa `figure` ('' for none)."""
    kept = usable(catalog)
    status = catalog["name_status"].value_counts().rename_axis("name_status").reset_index(name="n_images")
    backbones = catalog.loc[kept, "backbone"].replace("", "none").value_counts()
    parts = [
        _head(catalog, title),
        f"# {escape(title)}\n",
        f"{kept.sum():,} usable images of {len(catalog):,}, {catalog['class_key'][kept].nunique():,} classes, from "
        f"{catalog['source'].nunique():,} sources. One row of `catalog.parquet` is one image that came in; a row "
        "that was dropped keeps its reason in `excluded`.\n",
        f"![Taxa, an area in proportion to its images]({figure})\n" if figure else "",
        _section("Sources and splits", count_sources(catalog)),
        *_groups(catalog),
        _section("Ranks", count_ranks(catalog)),
        "`n_images` are labelled at the rank or deeper, `n_deepest` at no deeper rank.\n",
        _section("Names", status),
        "`unverified` is the genus of a name whose epithet no backbone knows; its captions stop at the family.\n"
        if "unverified" in set(status["name_status"])
        else "",
        _section("Backbones that decided", backbones.rename_axis("backbone").reset_index(name="n_images")),
        _section("Long tail", count_long_tail(catalog)),
        "Classes with at least so many images.\n",
        _section("Licences", count_licenses(catalog)),
        "Each image's licence, holder and address: `attribution.csv`. A licence that is not stated is no permission.\n",
        _section("Dropped", drop_summary(catalog)),
    ]
    return "\n".join(part for part in parts if part)


def _groups(catalog: pd.DataFrame) -> list[str]:
    """Return the section on groups, with a warning where splits tear some; nothing where there are none."""
    table = count_groups(catalog)
    if table.empty:
        return []
    note = "A group is an observation, specimen, sequence or burst: its images are on one side of a split.\n"
    if table["n_torn"].sum():
        note += (
            f"**{table['n_torn'].sum():,} groups are torn by the splits that came with the photographs**: their test "
            "images have sisters in training, and scores are too high. `data.published_splits=false` splits anew.\n"
        )
    return [_section("Groups", table), note]


def write_card(catalog: pd.DataFrame, folder: str | Path, title: str) -> list[Path]:
    """Write the data-set card of a catalog with splits and the attribution of its images; return both paths.

    They are ``dataset_card.md`` and ``attribution.csv``; the card shows ``figures/taxon_treemap.png``, if it is there.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    card, attribution = folder / "dataset_card.md", folder / "attribution.csv"
    figure = TREEMAP if (folder / TREEMAP).is_file() else ""
    with atomic(card) as tmp:
        Path(tmp).write_text(make_card(catalog, title, figure), encoding="utf-8")
    write_csv(catalog.loc[usable(catalog), list(ATTRIBUTION_COLUMNS)], attribution)
    return [card, attribution]


def _head(catalog: pd.DataFrame, title: str) -> str:
    """Return the YAML head."""
    from huggingface_hub import DatasetCardData

    n = int(usable(catalog).sum())
    size = next((label for limit, label in _SIZES if n < limit), "n>10M")
    head = DatasetCardData(
        pretty_name=" ".join(title.split()),
        license="other",
        license_name="per-image",
        license_link="attribution.csv",
        task_categories=["image-classification", "zero-shot-classification"],
        tags=["biology", "taxonomy", "webdataset"],
        size_categories=[size],
    )
    return f"---\n{head.to_yaml()}\n---\n"


def _section(title: str, table: pd.DataFrame) -> str:
    """Return a heading and a table; a line that says so where it is empty."""
    if table.empty:
        return f"## {title}\n\nNone.\n"
    return f"## {title}\n\n{markdown_table(table)}\n"
