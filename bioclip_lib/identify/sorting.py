"""Sort a folder without labels: ``python -m bioclip_lib.identify.sorting new/ --run runs/photos --out sorted.csv``.

Photographs, candidates and a model go in; a table comes out, a photograph a row, group by group, a name suggested
for each. Write the names into ``class_name`` and give the table as the photographs of a run: a taxon
that is no candidate gets the name of one that looks like it, so that nothing is named there before a person has looked.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ..errors import InputError, as_command
from ..files import write_csv
from ..files.archives import split_location
from ..model.load import LoadedModel
from ..structure.clusters import MIN_IMAGES, cluster
from .asking import Trust, check_model, named
from .labels import LabelSet
from .naming import combine
from .photos import Photo, Source, features_of, list_photos
from .trained import load_run

_COLUMNS = ["path", "class_name", "cluster", "suggested", "rank_of_suggested", "score", "unlike", "problem"]


def sort_photographs(
    photos: Source | Photo | Sequence,
    labels: LabelSet,
    model: LoadedModel,
    trust: Trust,
    n_groups: int = 0,
) -> pd.DataFrame:
    """Sort photographs without labels into groups that look alike, and suggest a name for each.

    Of `n_groups` groups (Ward's method on a UMAP); 0: HDBSCAN on a UMAP finds them, and leaves out what is like none.
    Returns a row a photograph, the largest group first, in it the most typical first; then those in no group, then
    those that cannot be read: ``path``; ``class_name``, to be written over: "group 0" and so on, '' in no group;
    ``cluster`` (-1: none; a column ``group`` would be read as observations); ``suggested, rank_of_suggested, score``:
    the deepest taxon along one lineage that the mean of the cluster clears the floor for; ``unlike``, 0 to 2: the
    cosine distance to that mean; ``problem``.
    """
    check_model(labels, model)
    found = list_photos(photos)
    parts = list(features_of(found, model))
    problems = np.array([problem for part, _ in parts for problem in part], dtype=object)
    read = problems == ""
    if read.sum() < 4:
        raise InputError(f"{read.sum()} of {len(found)} photographs can be read; give at least 4 to sort")
    features = np.concatenate([values for _, values in parts if len(values)])
    groups = cluster(features, "umap", "agglomerative" if n_groups else "hdbscan", n_groups, seed=0)
    table = pd.DataFrame({"path": [str(photo.source) for photo in found], "cluster": -1, "problem": problems})
    table.loc[read, "cluster"] = groups
    table["unlike"] = np.nan
    names = pd.DataFrame(columns=["taxon", "rank", "score"])
    if (groups >= 0).any():
        inside = groups >= 0
        _, means = combine(features[inside], groups[inside])
        names = named(means.astype(np.float32), labels, model, ("species", 1, trust, 0))[["taxon", "rank", "score"]]
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        table.loc[np.flatnonzero(read)[inside], "unlike"] = 1 - (features[inside] * means[groups[inside]]).sum(axis=1)
    of_group = names.reindex(table["cluster"]).reset_index(drop=True)
    table["suggested"], table["rank_of_suggested"] = of_group["taxon"].fillna(""), of_group["rank"].fillna("")
    table["score"] = of_group["score"].astype(float)
    table["class_name"] = ("group " + table["cluster"].astype(str)).where(table["cluster"] >= 0, "")
    last = table["cluster"].where(table["cluster"] >= 0, len(table)) + (table["problem"] != "")
    return table.iloc[np.lexsort((table["unlike"], last))][_COLUMNS].reset_index(drop=True)


@as_command
def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser("python -m bioclip_lib.identify.sorting", description="Sort photographs.")
    parser.add_argument("photos", nargs="+", help="files, folders or patterns, without labels")
    parser.add_argument("--run", required=True, help="folder of a run: its model, and its classes to name groups by")
    parser.add_argument("--groups", type=int, default=0, help="how many groups, as of species (default: found out)")
    parser.add_argument("--out", default="sorted.csv", help="a CSV (default: sorted.csv)")
    args = parser.parse_args(argv)
    run = load_run(args.run)
    labels = run.candidates()
    table = sort_photographs(args.photos, labels, run.model, run.trust(labels=labels), args.groups)
    if inside := [path for path in table["path"] if split_location(path)]:
        raise InputError(f"{inside[0]} lies in an archive, which a table of paths cannot name; unpack it")
    write_csv(table.assign(path=[str(Path(path).absolute()) for path in table["path"]]), args.out, digits=6)
    print(_summary(table, args.out))
    return 0


def _summary(table: pd.DataFrame, out: str) -> str:
    """Say how many groups there are, how they are named, and what to do next."""
    read = table[table["problem"] == ""]
    inside = read[read["cluster"] >= 0]
    named = inside.loc[inside["suggested"] != "", "cluster"].nunique()
    n_groups, n_read = inside["cluster"].nunique(), len(read)
    lines = [f"{n_read} of {len(table)} photographs sorted into {n_groups} groups, a name suggested for {named}"]
    lines.append(f"{len(read) - len(inside)} are in no group, {len(table) - len(read)} cannot be read")
    if not n_groups:
        lines.append(
            f"a group is {MIN_IMAGES} photographs or more that lie closer to each other than to the rest: sort more of "
            f"them, or say how many groups there are (GROUPS=8, --groups 8); as it is, {out} has names for none"
        )
        return "\n".join(lines)
    return "\n".join([*lines, f"write the names into class_name of {out}, then: make reproduce PHOTOS={out}"])


if __name__ == "__main__":
    sys.exit(main())
