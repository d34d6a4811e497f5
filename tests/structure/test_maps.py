"""Maps that repeat, keep clusters, take few points; quality by hand, by chance and at its best."""

import numpy as np
import pandas as pd
import pytest

from bioclip_lib import RANKS
from bioclip_lib.errors import InputError
from bioclip_lib.model.features import FeatureTable
from bioclip_lib.structure import maps


def trustworthiness(features, xy, k=10, seed=0):
    return maps.faithful(features, xy, k, seed)[0]


def groups(n_groups, n_each, n_dimensions=16, noise=0.05, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(n_groups), n_each)
    centres = rng.normal(size=(n_groups, n_dimensions))
    return centres[labels] + noise * rng.normal(size=(len(labels), n_dimensions)), labels


def ranks_of(labels, epithets=None):
    rows = [("A", "", "", "", "", f"g{label}", "") for label in labels]
    table = pd.DataFrame(rows, columns=list(RANKS))
    return table if epithets is None else table.assign(species=epithets)


@pytest.mark.parametrize("method", maps.METHODS)
def test_a_map_repeats_and_keeps_groups_together(method):
    features, labels = groups(4, 30, n_dimensions=64)
    xy = maps.project(features.astype(np.float32), method)
    assert xy.shape == (120, 2) and xy.dtype == np.float32
    assert (maps.project(features.astype(np.float32), method) == xy).all()
    within = np.mean([xy[labels == i].std(axis=0).mean() for i in range(4)])
    assert xy.std(axis=0).mean() > 2 * within
    assert trustworthiness(features, xy) > 0.9


def test_the_seed_changes_a_umap():
    features, _ = groups(3, 40)
    first = maps.project(features)
    assert (maps.project(features, seed=1) != first).any()


@pytest.mark.parametrize("n", [4, 5, 7, 99, 100])
@pytest.mark.filterwarnings("error")
def test_few_points_are_mapped_without_a_warning(n):
    xy = maps.project(np.random.default_rng(0).normal(size=(n, 80)))
    assert xy.shape == (n, 2) and np.isfinite(xy).all()


def test_lengths_of_features_do_not_matter():
    features, _ = groups(3, 10)
    scale = np.random.default_rng(1).uniform(0.5, 9, size=(30, 1))
    xy = maps.project(features, "pca")
    assert maps.project(features * scale, "pca") == pytest.approx(xy, abs=1e-5)
    assert trustworthiness(features * scale, xy) == pytest.approx(trustworthiness(features, xy))


@pytest.mark.parametrize(
    ("features", "method", "message"),
    [
        (np.eye(3), "umap", "at least 4 points"),
        (np.ones((9, 1)), "umap", "at least 4 points"),
        (np.full((9, 3), np.nan), "pca", "NaN"),
        (np.eye(5), "tsne", "unknown method 'tsne'; choose umap or pca"),
    ],
)
def test_what_cannot_be_mapped_is_refused(features, method, message):
    with pytest.raises(InputError, match=message):
        maps.project(features, method)


def test_trustworthiness_of_a_faithful_and_of_a_random_map(monkeypatch):
    rng = np.random.default_rng(2)
    angle = rng.uniform(0, 2 * np.pi, size=300)
    features = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    assert trustworthiness(features, features) == 1.0
    shuffled = features[rng.permutation(300)]
    assert trustworthiness(features, shuffled) == pytest.approx(0.5, abs=0.04)  # seeded
    assert trustworthiness(features, shuffled, k=100) != trustworthiness(features, shuffled)
    monkeypatch.setattr(maps, "_MAX_POINTS", 100)
    assert trustworthiness(features, features) == 1.0
    sampled = {trustworthiness(features, shuffled, seed=seed) for seed in range(3)}
    assert len(sampled) == 3 and all(abs(value - 0.5) < 0.08 for value in sampled)


def test_trustworthiness_by_hand():
    # Points on a quarter circle in the order 0 1 2 3 4; the map swaps 1 and 4, and k is 1 (of at most 2).
    angle = np.array([0, 10, 21, 33, 46]) * np.pi / 180
    features = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    xy = np.array([[0, 0], [46, 0], [21, 0], [33, 0], [10, 0.0]])
    # Neighbours on the map: 0-4 (rank 4 in the embedding), 1-3 (3), 2-4 (4), 3-2 (1), 4-0 (4); penalty = rank - k.
    penalty = 3 + 2 + 3 + 0 + 3
    n, k = 5, 1
    expected = 1 - 2 / (n * k * (2 * n - 3 * k - 1)) * penalty
    assert trustworthiness(features, xy, k=1) == pytest.approx(expected)


def test_a_map_of_other_points_is_refused():
    for xy in (np.zeros((9, 2)), np.full((10, 2), np.nan)):
        with pytest.raises(InputError, match="project these features again"):
            trustworthiness(np.eye(10), xy)


def quality(features, xy, ranks, **options):
    tables = {name: FeatureTable(list(ranks.index), values) for name, values in features.items()}
    placed = ranks.assign(**{f"{name}_{axis}": xy[name][:, i] for name in xy for i, axis in enumerate("xy")})
    return maps.map_quality(tables, placed, **options)


def test_images_are_placed_by_model_and_few_have_no_map():
    features, labels = groups(3, 8)
    table = ranks_of(labels).assign(image_id=[f"i{n}" for n in range(24)], split="test").iloc[::-1]
    tables = dict.fromkeys(["a", "b"], FeatureTable([f"i{n}" for n in range(24)], features))
    placed = maps.place(table, tables, ["a"])
    assert list(placed.index) == tables["a"].image_ids and {"a_x", "a_y"} == set(placed) - {*RANKS, "split"}
    assert (placed[["a_x", "a_y"]].to_numpy() == maps.project(features)).all()
    assert set(maps.map_quality(tables, placed)["model"]) == {"a"}
    few = {"a": FeatureTable(["i0", "i1", "i2"], features[:3])}
    assert maps.place(table, few, ["a"]).empty and maps.place(table, {}, ["a"]).empty
    assert maps.map_quality(few, maps.place(table, few, ["a"])).empty


def test_maps_of_further_models_are_turned_to_lie_as_the_first_and_nothing_else():
    features, _ = groups(4, 10)
    ids = [f"i{n}" for n in range(40)]
    table = ranks_of(np.repeat(np.arange(4), 10)).assign(image_id=ids, split="test")
    mirrored = features * np.r_[-1, np.ones(15)]  # the same distances: the same map, wherever it lies
    tables = {"a": FeatureTable(ids, features), "b": FeatureTable(ids, mirrored + 0.01)}
    placed = maps.place(table, tables, ["a", "b"])
    first, second = (placed[[f"{name}_x", f"{name}_y"]].to_numpy(float) for name in "ab")
    alone = maps.project(tables["b"].values).astype(float)
    distance = [np.linalg.norm(xy[:, None] - xy[None], axis=2) for xy in (second, alone)]
    assert distance[0] == pytest.approx(distance[1], rel=1e-4, abs=1e-4)

    def apart(xy):
        return np.linalg.norm((xy - xy.mean(axis=0)) - (first - first.mean(axis=0)))

    angles = np.linspace(0, 2 * np.pi, 60)
    turns = [np.array([[np.cos(a), np.sin(a)], [-s * np.sin(a), s * np.cos(a)]]) for a in angles for s in (1, -1)]
    assert apart(second) <= min(apart(alone @ turn) for turn in turns) + 1e-3


def test_trustworthiness_and_continuity_by_hand():
    # A quarter circle folded on the map, k = 1. Neighbours on the map 0-4, 1-3, 2-3, 3-1, 4-0 have the ranks 4, 3, 2,
    # 3, 4 in the embedding; those in the embedding, 0-1, 1-0, 2-1, 3-2, 4-3, have 2, 3, 2, 3, 3 on the map.
    angle = np.array([0, 10, 21, 33, 46]) * np.pi / 180
    features = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    xy = np.array([[0, 0], [10, 0], [21, 0], [10.6, 0], [1, 0.0]])
    found = quality({"m": features}, {"m": xy}, ranks_of([0] * 5), n_neighbors=1).iloc[0]
    scale = 2 / (5 * (2 * 5 - 3 - 1))
    assert found["trustworthiness"] == pytest.approx(1 - scale * (3 + 2 + 1 + 2 + 3))
    assert found["continuity"] == pytest.approx(1 - scale * (1 + 2 + 1 + 2 + 2))


def test_quality_tells_embedding_from_map():
    features, labels = groups(5, 12)
    rng = np.random.default_rng(3)
    xy = {"good": maps.project(features, "pca"), "random": rng.normal(size=(60, 2))}
    found = quality(dict.fromkeys(xy, features), xy, ranks_of(labels)).set_index(["model", "rank"])
    assert set(found.index.get_level_values("rank")) == {"kingdom", "genus"}  # the others are unknown everywhere
    assert (found.xs("kingdom", level="rank")[["embedding", "map", "chance"]] == 1).all(axis=None)
    genus = found.xs("genus", level="rank")
    assert (genus["embedding"] == 1).all() and genus["chance"].tolist() == pytest.approx([11 / 59] * 2)
    assert genus.loc["random", "map"] == pytest.approx(11 / 59, abs=0.08)
    assert genus.loc["good", "map"] > 0.6
    assert genus.loc["good", "trustworthiness"] > genus.loc["random", "trustworthiness"] + 0.2


def test_quality_by_hand_leaves_unknown_taxa_out():
    angle = np.array([0, 1, 2.5, 90, 91, 92.5]) * np.pi / 180
    features = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    ranks = ranks_of([0, 0, 1, 1, 2, 2], ["x", "x", "x", "x", "", ""])
    found = quality({"m": features}, {"m": features}, ranks, n_neighbors=1).set_index("rank")
    # nearest: 0-1, 1-0, 2-1, 3-4, 4-3, 5-4; an epithet alone is no species: g0 x and g1 x differ
    assert found.loc["species", "n"] == 4 and found.loc["species", "chance"] == pytest.approx(1 / 5)
    assert found.loc["species", "embedding"] == found.loc["species", "map"] == 2 / 4
    assert found.loc["genus", "n"] == 6 and found.loc["genus", "chance"] == pytest.approx(1 / 5)
