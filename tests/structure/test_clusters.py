"""Groups of photographs: found where they are plain, counted by hand, none where there is nothing."""

import numpy as np
import pandas as pd
import pytest

from bioclip_lib import RANKS
from bioclip_lib.catalog.table import COLUMNS
from bioclip_lib.errors import InputError
from bioclip_lib.model.features import FeatureTable
from bioclip_lib.structure import cluster, score_clusters
from bioclip_lib.structure.clusters import clicks


def species(n_species=4, n_each=12, seed=0):
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(n_species), n_each)
    return rng.normal(size=(n_species, 60))[truth] + 0.2 * rng.normal(size=(len(truth), 60)), truth


@pytest.mark.parametrize(("method", "n"), [("hdbscan", 0), ("agglomerative", 4), ("kmeans", 4)])
def test_plain_species_are_groups_the_largest_first(method, n):
    features, truth = species()
    found = cluster(features[6:], "pca", method, n)
    assert pd.crosstab(truth[6:], found).gt(0).sum(axis=1).tolist() == [1] * 4
    assert np.bincount(found).tolist() == [12, 12, 12, 6]


def test_photographs_that_are_like_no_other_are_in_no_group():
    features, _ = species()
    odd = np.random.default_rng(5).normal(size=(12, 60))
    found = cluster(np.concatenate([features, odd]), "pca")
    assert (found[-12:] == -1).sum() >= 8 and (found[:-12] == -1).sum() <= 2


def test_the_number_of_groups_changes_them_and_umap_is_another_way():
    features, truth = species(n_each=15)
    assert len(set(cluster(features, "pca", "kmeans", 2))) == 2
    found = cluster(features, "umap", "agglomerative", 4)
    assert pd.crosstab(truth, found).gt(0).sum(axis=1).tolist() == [1] * 4


def test_clicks_by_hand():
    truth = np.array(list("aaabbbbc"))
    assert clicks(np.array([0, 0, 0, 0, 1, 1, 1, -1]), truth) == 2 + 1 + 1
    assert clicks(np.arange(8), truth) == 8 and clicks(np.full(8, -1), truth) == 8
    assert clicks(np.zeros(8, int), truth) == 1 + 4


@pytest.mark.parametrize(
    ("way", "message"),
    [(("tsne", "hdbscan"), "choose umap or pca"), (("pca", "kmeans"), "needs the number"), (("pca", "x"), "unknown")],
)
def test_ways_that_do_not_exist_are_refused(way, message):
    with pytest.raises(InputError, match=message):
        cluster(species()[0], *way)
    with pytest.raises(InputError, match="at least 4 points"):
        cluster(np.ones((3, 2)))


def test_scores_are_over_draws_that_share_no_species(monkeypatch):
    monkeypatch.setattr("bioclip_lib.structure.clusters.REDUCTIONS", ("pca",))
    features, truth = species(n_species=9)
    ids = [f"{i:016x}" for i in range(len(truth))]
    table = pd.DataFrame({"image_id": ids, "class_key": [f"G s{i}" for i in truth], "source": "set", "split": "test"})
    table = table.reindex(columns=COLUMNS, fill_value="").assign(**dict.fromkeys(RANKS, "x"))
    found = score_clusters(table, {"m": FeatureTable(ids, features)}, n_species=3)
    plain = found[found["method"] == "kmeans"].set_index("measure")
    assert plain["n"].tolist() == [3] * 4 and plain["value"].tolist() == pytest.approx([1, 0, 1, 3 / 36])
    noise = np.random.default_rng(1).normal(size=features.shape)
    by_chance = score_clusters(table, {"m": FeatureTable(ids, noise)}, n_species=3).set_index(["method", "measure"])
    assert by_chance.loc[("kmeans", "v_measure"), "value"] < 0.4
    assert score_clusters(table[:12], {"m": FeatureTable(ids, features)}).empty
    assert (by_chance["ci_low"] <= by_chance["value"]).all() and (by_chance["ci_low"] >= 0).all()
    shares = by_chance.drop(index="groups", level="measure")
    assert (shares["ci_high"] <= 1).all() and (by_chance["value"] <= by_chance["ci_high"]).all()
