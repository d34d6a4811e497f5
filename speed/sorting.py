"""How well photographs without labels are sorted, and wrong labels found: ``python -m speed.sorting runs/birds100``.

Of runs what `11_sort_and_correct` found, wrong labels beside cleanlab's where that is installed; of folders of
photographs (``--photos``, a folder a species) groups by the features of the pretrained EfficientNet-Lite0.
"""

import argparse
import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd

from bioclip_lib import RANKS, structure
from bioclip_lib.catalog.splits import class_rows
from bioclip_lib.catalog.table import COLUMNS, read_catalog
from bioclip_lib.errors import InputError
from bioclip_lib.evaluation.tasks import with_interval
from bioclip_lib.model import load_model
from bioclip_lib.model.encode import encode_images
from bioclip_lib.model.features import FeatureTable
from bioclip_lib.run import Run
from bioclip_lib.structure.labels import centred, judged_images
from bioclip_lib.structure.planted import N_DRAWS, SHARE, moved_labels

from .measuring import print_table


def sorted_folder(folder):
    """Sort a folder of photographs, a folder a species, as if it had no labels; return the scores of its groups."""
    files = sorted(path for path in folder.glob("*/*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    table = pd.DataFrame({"image_id": list(map(str, files)), "class_key": [path.parent.name for path in files]})
    table = table.assign(source=folder.name, split="test").reindex(columns=COLUMNS, fill_value="")
    features = encode_images(load_model("efficientnet-lite0").model, files)
    return structure.score_clusters(
        table.assign(**dict.fromkeys(RANKS, "x")), {"frozen": FeatureTable(list(table["image_id"]), features)}
    )


def found_in(run, name):
    """Return a table that notebook 11 left in a run."""
    path = run.tables / name
    if not path.is_file():
        raise InputError(f"{path} is not there; run 11_sort_and_correct on this run first")
    return pd.read_csv(path)


def by_cleanlab(features, labels, classes):
    """Return the row of cleanlab's precision among as many as are wrong, over the labels that `score_planted` moves."""
    from cleanlab.rank import get_label_quality_scores
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict

    hits, of = [], []
    for seed in range(N_DRAWS):
        moved = moved_labels(labels, classes, SHARE, seed)
        codes = np.unique(moved, return_inverse=True)[1]
        shares = cross_val_predict(LogisticRegression(C=100), centred(features), codes, method="predict_proba")
        first = get_label_quality_scores(codes, shares).argsort()[: (moved != labels).sum()]
        hits.append((moved != labels)[first].astype(float))
        of.append(labels[first])
    question, (hits, of) = "of the first as many as are wrong: wrong, by cleanlab", map(np.concatenate, (hits, of))
    return pd.DataFrame([{"question": question, **with_interval(hits, of), "chance": SHARE, "n": len(hits)}])


def wrong_labels(run):
    """Return what notebook 11 found of moved labels, and what cleanlab finds where it is installed."""
    rows = [found_in(run, "planted_labels.csv")]
    if importlib.util.find_spec("cleanlab"):
        table = read_catalog(run.catalog)
        images, features = judged_images(run, table)
        labels = images["class_key"].to_numpy(str)
        rows.append(by_cleanlab(features, labels, class_rows(table).loc[np.unique(labels)]))
    rows = pd.concat(rows, ignore_index=True)
    rows = rows.assign(run=run.root.name, found=percent(rows), chance=(100 * rows["chance"]).round(1))
    return rows[["run", "question", "found", "chance", "n"]]


def percent(table):
    """Put values and intervals in percent."""
    return [f"{100 * r.value:.0f} [{100 * r.ci_low:.0f}, {100 * r.ci_high:.0f}]" for r in table.itertuples()]


def main(arguments=None):
    """Print what the groups of each set are worth, and what a list of doubted labels is, in percent."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--photos", nargs="*", type=Path, default=[])
    args = parser.parse_args(arguments)
    runs = [Run(folder) for folder in args.runs]
    scores = [found_in(run, "clusters.csv") for run in runs] + [sorted_folder(folder) for folder in args.photos]
    scores = pd.concat(scores, ignore_index=True).rename(columns={"n": "draws"})
    scores = scores.query("measure != 'groups' and (measure != 'in no group' or method == 'hdbscan')")
    keys = ["dataset", "model", "reduction", "method", "number given", "draws"]
    cells = scores.assign(cell=percent(scores)).pivot(index=keys, columns="measure", values="cell")
    print_table(cells.reset_index().fillna(""))
    if runs:
        print(f"\nWrong labels, {SHARE:.0%} moved to a sister species:\n")
        print_table(pd.concat(map(wrong_labels, runs), ignore_index=True))


if __name__ == "__main__":
    main()
