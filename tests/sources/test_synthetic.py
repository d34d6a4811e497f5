"""The synthetic tree of life: its law, its control, its names, and images that depend on their seed alone."""

import dataclasses
import itertools
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.spatial.distance import pdist, squareform
from scipy.stats import spearmanr

from bioclip_lib import RANKS
from bioclip_lib.config import SyntheticConfig
from bioclip_lib.errors import InputError
from bioclip_lib.sources.classes import read_names_csv
from bioclip_lib.sources.folders import read_image_folder
from bioclip_lib.sources.synthetic.canvas import PLANS, TRAITS, Canvas, Traits, blade, ellipse, lines
from bioclip_lib.sources.synthetic.names import ENDINGS, colour_word, pattern_word
from bioclip_lib.sources.synthetic.render import hash_uniform, oklch_to_light, render
from bioclip_lib.sources.synthetic.tree import (
    RANK_VARIANCE,
    count_images,
    evolve_genomes,
    grow_ranks,
    grow_tree,
    image_seeds,
    image_states,
    render_images,
    write_images,
)

SMOKE = SyntheticConfig(n_species=24, n_images=720)
MINI = SyntheticConfig()


@pytest.fixture(scope="module")
def mini():
    return grow_tree(MINI)


@pytest.fixture(scope="module")
def smoke():
    return grow_tree(SMOKE)


def rank_distance(taxa):
    """Number of ranks below the deepest shared one, condensed."""
    depth = sum(
        pd.factorize(pd.MultiIndex.from_frame(taxa[list(RANKS[: k + 1])]))[0][:, None]
        == pd.factorize(pd.MultiIndex.from_frame(taxa[list(RANKS[: k + 1])]))[0]
        for k in range(len(RANKS))
    )
    return squareform(len(RANKS) - depth, checks=False)


# --- the tree -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [SMOKE, MINI])
def test_counts_are_long_tailed_and_balance(config):
    taxa = grow_tree(config).taxa
    assert len(taxa) == config.n_species
    assert taxa["n_images"].sum() == config.n_images
    assert taxa["n_images"].min() >= 12
    assert taxa["n_images"].max() > 3 * taxa["n_images"].median()


@given(st.integers(1, 60), st.integers(0, 900), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_count_images_conserves(n_species, extra, seed):
    n_images = 2 * n_species + extra
    counts = count_images(n_species, n_images, np.random.default_rng(seed))
    assert counts.sum() == n_images
    assert counts.min() >= min(12, n_images // n_species)


@given(st.integers(4, 80), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_ranks_are_nested(n_species, seed):
    nodes = grow_ranks(n_species, np.random.default_rng(seed))
    assert nodes["kingdom"].nunique() == len(PLANS)
    for upper, lower in itertools.pairwise(RANKS):
        assert (nodes.groupby(lower)[upper].nunique() == 1).all()
    assert sorted(nodes["species"]) == list(range(n_species))


def test_branching_is_uneven_and_relatives_exist(mini):
    genera = mini.taxa["genus"].value_counts()
    assert genera.max() >= 4 and genera.min() == 1
    assert (genera[genera >= 2].sum()) >= 0.6 * len(mini.taxa)  # held-out species have known relatives
    n_taxa = [mini.taxa[rank].nunique() for rank in RANKS[:6]]
    assert n_taxa == sorted(n_taxa) and n_taxa[1] > n_taxa[0]


def test_a_trait_gains_unit_variance_from_root_to_tip():
    assert sum(RANK_VARIANCE.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    "change", [{"n_species": 3}, {"n_images": 239}, {"convergence": -0.1}, {"convergence": 1.5}], ids=str
)
def test_impossible_settings_are_refused(change):
    with pytest.raises(InputError, match=f"data.synthetic.{next(iter(change))}"):
        grow_tree(dataclasses.replace(MINI, **change))


# --- genomes ------------------------------------------------------------------------------------------------------


def test_brownian_motion_gives_the_expected_covariance():
    """Two species of one genus share 0.9 of the variance, of one kingdom alone 0.12, times lambda."""
    nodes = pd.DataFrame([[0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 1], [0, 1, 1, 1, 1, 1, 2]], columns=list(RANKS))
    for convergence in (0.0, 0.5):
        rng = np.random.default_rng(0)
        traits = np.concatenate([evolve_genomes(nodes, convergence, rng)[:, len(PLANS) :] for _ in range(400)], axis=1)
        expected = np.eye(3) + (1 - convergence) * np.array([[0, 0.9, 0.12], [0.9, 0, 0.12], [0.12, 0.12, 0]])
        # 400 x 38 draws: standard error of a covariance at most sqrt(2 / 15200) = 0.011; four of them
        np.testing.assert_allclose(np.cov(traits), expected, atol=0.046)


def test_relatives_have_alike_genomes_unless_converged(mini):
    distance = rank_distance(mini.taxa)

    def rho(**change):
        genomes = grow_tree(dataclasses.replace(MINI, **change)).genomes[:, len(PLANS) :]
        return spearmanr(distance, pdist(genomes)).statistic

    assert rho() > 0.4
    assert rho(convergence=0.0) > rho() > rho(convergence=0.6)
    assert abs(rho(convergence=1.0)) < 0.06


def test_kingdom_decides_the_body_plan(mini):
    plans = [PLANS[k] for k in mini.genomes[:, : len(PLANS)].argmax(1)]
    assert [ENDINGS[plan]["kingdom"] for plan in plans] == list(mini.taxa["kingdom"])
    assert mini.genomes.shape[1] == len((*PLANS, *TRAITS))


def test_seed_decides_everything(smoke):
    again, other = grow_tree(SMOKE), grow_tree(SMOKE, seed=1)
    pd.testing.assert_frame_equal(again.taxa, smoke.taxa)
    assert (again.genomes == smoke.genomes).all()
    assert (other.genomes != smoke.genomes).any() and set(other.taxa["genus"]).isdisjoint(smoke.taxa["genus"])


# --- names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_names_end_as_their_rank_does_and_are_unique(seed):
    taxa = grow_tree(MINI, seed).taxa
    endings = {ENDINGS[plan]["kingdom"]: ENDINGS[plan] for plan in PLANS}
    for row in taxa.to_dict("records"):
        assert all(row[rank].endswith(endings[row["kingdom"]][rank]) for rank in RANKS[1:5])
        assert re.fullmatch("[A-Z][a-z]{4,}", row["genus"]) and re.fullmatch("[a-z]{4,}", row["species"])
    assert taxa["scientific_name"].is_unique and taxa["common_name"].is_unique
    for k, rank in enumerate(RANKS[1:6], start=1):  # a name belongs to one parent
        assert taxa.groupby(rank)[RANKS[k - 1]].nunique().max() == 1
    higher = [name for rank in RANKS[:6] for name in taxa[rank].unique()]
    assert len(set(higher)) == len(higher)


def test_genera_are_invented():
    taxoniq = pytest.importorskip("taxoniq")
    for seed in range(3):
        for genus in grow_tree(MINI, seed).taxa["genus"].unique():
            with pytest.raises(KeyError):
                taxoniq.Taxon(scientific_name=genus)


def test_congeners_share_the_noun_that_other_genera_lack(mini):
    nouns = mini.taxa["common_name"].str.split().str[-1]
    assert (nouns.groupby(mini.taxa["genus"]).nunique() == 1).all()
    assert nouns.nunique() >= 0.95 * mini.taxa["genus"].nunique()  # "silk clovercap" and "clovercap" end alike


def test_words_follow_the_traits():
    genome = np.zeros((1, len(PLANS) + len(TRAITS)), np.float32)
    genome[0, 0] = 1
    assert pattern_word(Traits(genome)) == "plain"
    genome[0, len(PLANS) + TRAITS.index("spots")] = 2
    assert pattern_word(Traits(genome)) == "spotted"
    genome[0, len(PLANS) + TRAITS.index("chroma")] = 2
    genome[0, len(PLANS) + TRAITS.index("hue")] = (265 - 60) / 115  # OKLCH 265 degrees is a blue
    assert colour_word(Traits(genome), "animal").split()[-1] == "azure"
    genome[0, len(PLANS) + TRAITS.index("chroma")] = -3
    assert colour_word(Traits(genome), "animal") in ("ebony", "grey", "ivory")


# --- images -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size_px", [16, 48, 64, 129])
def test_sizes(smoke, size_px):
    images = render_images(smoke, np.array([0, 23]), 0, size_px=size_px)
    assert images.shape == (2, size_px, size_px, 3) and images.dtype == np.uint8
    assert images.std(axis=(1, 2, 3)).min() > 5
    assert render_images(smoke, np.array([], int), 0).shape == (0, 64, 64, 3)


def test_an_image_depends_on_its_seed_and_not_on_the_batch(smoke):
    index = np.tile(np.arange(24), 2)
    seeds = image_seeds(5, index, np.arange(48))
    images = render_images(smoke, index, seeds)
    assert (render_images(smoke, index, 5) == images).all()
    order = np.random.default_rng(0).permutation(48)
    assert (render_images(smoke, index[order], seeds[order]) == images[order]).all()
    assert all((render_images(smoke, index[[k]], seeds[[k]]) == images[[k]]).all() for k in range(0, 48, 7))
    other = render_images(smoke, index, 6)
    assert (other != images).any(axis=(1, 2, 3)).all()


def test_noise_scales_the_variation_within_a_species(smoke):
    index = np.repeat(np.arange(24), 6)

    def spread(noise):
        images = render_images(smoke, index, 0, noise=noise).astype(np.float32).reshape(24, 6, -1)
        return images.std(axis=1).mean()

    assert spread(0) == 0
    assert 2 < spread(0.3) < spread(1.0)


def test_background_is_no_clue_and_bodies_are(smoke):
    """Corners show no body: over images of a species they average to the same colour in all species."""
    index = np.repeat(np.arange(24), 40)
    images = render_images(smoke, index, 0).astype(np.float32).reshape(24, 40, 64, 64, 3)
    corner, centre = images[:, :, :5, :5].mean((2, 3)), images[:, :, 24:40, 24:40].mean((2, 3))  # (24, 40, 3)

    def f_ratio(x):
        return (40 * x.mean(1).var(0, ddof=1) / x.var(1, ddof=1).mean(0)).max()

    assert f_ratio(corner) < 2.6  # the 0.9999 quantile of F(23, 936) is 2.6
    assert f_ratio(centre) > 10


def test_relatives_look_alike_unless_shuffled(mini):
    distance = rank_distance(mini.taxa)
    control = dataclasses.replace(mini, genomes=mini.genomes[np.random.default_rng(0).permutation(120)])

    def rho(tree):
        images = render_images(tree, np.arange(120), 0, size_px=32, noise=0)
        return spearmanr(distance, pdist(images.reshape(120, -1).astype(np.float32))).statistic

    assert rho(mini) > 0.25
    assert abs(rho(control)) < 0.06


def test_raw_pixels_are_a_weak_classifier(mini):
    """Nearest centroid of 5 images among 120 species: above chance (0.8 %), below 15 %."""
    index = np.repeat(np.arange(120), 10)
    x = render_images(mini, index, 1).reshape(120, 10, -1).astype(np.float32) / 255
    centroids, queries = x[:, :5].mean(1), x[:, 5:].reshape(600, -1)
    scores = queries @ centroids.T - 0.5 * (centroids**2).sum(1)  # (600, P) @ (P, 120) -> (600, 120)
    accuracy = (scores.argmax(1) == np.repeat(np.arange(120), 5)).mean()
    assert 0.02 < accuracy < 0.15


@pytest.mark.parametrize("plan", PLANS)
def test_traits_are_visible(plan):
    """From low to high, most traits change the picture in each body plan, and every one in the animal's."""
    base = np.zeros((1, len(PLANS) + len(TRAITS)), np.float32)
    base[0, PLANS.index(plan)] = 1
    genomes = np.repeat(base, 2 * len(TRAITS), axis=0)
    for k in range(len(TRAITS)):
        genomes[2 * k : 2 * k + 2, len(PLANS) + k] = (-1.5, 1.5)
    images = render(genomes, np.zeros(len(genomes), np.uint64), 64, 0.0).astype(int).reshape(len(TRAITS), 2, -1)
    changed = {name for name, (low, high) in zip(TRAITS, images, strict=True) if (low != high).any()}
    assert {"hue", "chroma", "bands", "spots", "gloss", "appendage_count", "wing_size", "eye_size"} <= changed
    assert len(changed) >= 28
    if plan == "animal":
        assert changed == set(TRAITS)


def test_individuals_keep_the_organs_of_their_species():
    genomes = np.zeros((50, len(PLANS) + len(TRAITS)), np.float32)
    individual = np.random.default_rng(0).normal(0, 0.12, (50, len(TRAITS)))
    traits = Traits(genomes, individual)
    assert np.ptp(traits["wing_size"]) > 0.1
    assert np.ptp(traits.count("appendage_count", 1, 8)) == 0
    assert (traits.beyond("wing_size", 0.49) > 0).all() and (traits.beyond("wing_size", 0.51) == 0).all()


@pytest.mark.parametrize(("size_px", "noise"), [(15, 1.0), (64, -0.5)])
def test_what_shows_nothing_is_refused(smoke, size_px, noise):
    with pytest.raises(InputError, match="size of at least 16"):
        render_images(smoke, np.array([0]), 0, size_px=size_px, noise=noise)


# --- shapes, hash and colour --------------------------------------------------------------------------------------


def test_shapes_by_hand():
    one = np.ones((1, 1), np.float32)
    assert ellipse(2 * one, 0 * one, one, one)[0] == 1 and ellipse(0 * one, 0 * one, one, 0.5 * one)[0] == -0.5
    distance, along, half = blade(0.5 * one, 0 * one, one, (0.2, 0.0, 0.0))
    assert (along, half, distance) == (0.5, pytest.approx(0.2), pytest.approx(-0.2))
    assert blade(1.5 * one, 0 * one, one, (0.2, 0.0, 0.0))[0] == 0.5  # beyond the tip: the distance to it
    np.testing.assert_allclose(lines(np.pi * np.arange(3)), 1, atol=1e-5)
    assert lines(np.float32(np.pi / 2)) == 0


def test_canvas_conserves_light():
    """Layers, front to back, take what is clear: all weights and the clear rest sum to 1."""
    rng = np.random.default_rng(0)
    fields = [rng.uniform(-1, 1, (2, 9)).astype(np.float32) for _ in range(4)]
    canvas = Canvas(fields[0], fields[1], np.full((2, 1), 0.1, np.float32), fields[2], fields[3])
    for material in range(3):
        alpha, share = rng.random((2, 2, 9)).astype(np.float32)
        canvas.put(alpha, material, 0.0, ((share, 5),), (fields[0], fields[1], 6) if material else None)
    canvas.finish(Traits(np.zeros((2, len(PLANS) + len(TRAITS)), np.float32)))
    np.testing.assert_allclose(sum(canvas.weights.values()) + canvas.clear, 1, atol=1e-6)
    opaque = Canvas(*fields[:2], np.full((2, 1), 0.1, np.float32), *fields[2:])
    opaque.put(np.ones((2, 9), np.float32), 0)
    opaque.put(np.ones((2, 9), np.float32), 1)
    assert (opaque.weights[0] == 1).all() and (opaque.weights[1] == 0).all()


def test_hash_is_uniform_and_streams_are_independent():
    seeds = np.arange(4000, dtype=np.uint64)
    a, b = hash_uniform(seeds, 0, 5), hash_uniform(seeds, 1, 5)
    assert (a >= 0).all() and (a < 1).all()
    np.testing.assert_allclose(np.sort(a.ravel()), (np.arange(20000) + 0.5) / 20000, atol=0.014)  # KS at p = 0.001
    # 100 correlations of 4000 pairs: standard error 0.016; four of them
    assert np.abs(np.corrcoef(np.concatenate([a, b], 1).T) - np.eye(10)).max() < 0.064


def test_image_seeds_are_distinct():
    species, number = np.divmod(np.arange(12_000), 100)
    seeds = np.concatenate([image_seeds(seed, species, number) for seed in (0, 1, -1)])
    assert len(np.unique(seeds)) == 36_000


def test_oklch_of_white_black_and_red():
    np.testing.assert_allclose(
        oklch_to_light(np.array([1.0, 0.0]), np.zeros(2), np.zeros(2)), [[1] * 3, [0] * 3], atol=1e-3
    )
    red = oklch_to_light(np.array(0.62796), np.array(0.25768), np.array(29.234))  # sRGB red in CSS Color 4
    np.testing.assert_allclose(red, [1, 0, 0], atol=2e-3)


# --- files --------------------------------------------------------------------------------------------------------


def test_write_images_is_what_the_readers_read(tmp_path):
    tree = grow_tree(SyntheticConfig(n_species=5, n_images=60, image_size_px=24))
    raw = write_images(tree, tmp_path / "synthetic", seed=3)
    assert len(raw) == 60 and raw["location"].is_unique
    assert (raw["verbatim_name"].value_counts()[tree.taxa["scientific_name"]] == tree.taxa["n_images"].to_numpy()).all()
    read = read_image_folder(tmp_path / "synthetic")
    by_path = raw.sort_values("location", ignore_index=True)
    pd.testing.assert_frame_equal(read.sort_values("location", ignore_index=True), by_path[list(read.columns)])
    names = read_names_csv(tmp_path / "synthetic" / "classes.csv").set_index("class_name")
    expected = tree.taxa.set_index("scientific_name", drop=False)[["common_name", *RANKS]]
    names = names[list(expected.columns)]  # the reader leaves out a scientific name that repeats the class name
    found, wanted = (t.reset_index(drop=True).astype(object) for t in (names.loc[expected.index], expected))
    pd.testing.assert_frame_equal(found, wanted, check_names=False)
    first = raw.iloc[0]
    drawn = render_images(tree, [0], image_seeds(3, np.array([0]), np.array([0])))[0].astype(float)
    with Image.open(first["location"]) as image:
        assert image.size == (24, 24) and np.abs(np.asarray(image) - drawn).mean() < 6  # JPEG's loss


def test_write_images_twice_gives_the_same_bytes(tmp_path):
    tree = grow_tree(SyntheticConfig(n_species=4, n_images=16, image_size_px=16))
    files = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        raw = write_images(tree, tmp_path / name, seed)
        files.append([(tmp_path / name / source_id).read_bytes() for source_id in raw["source_id"]])
    assert files[0] == files[1]
    assert all(x != y for x, y in zip(files[0], files[2], strict=True))


def test_without_states_nothing_is_added_and_with_them_sex_and_stage_are_seen_and_told(tmp_path):
    plain = grow_tree(SyntheticConfig(n_species=4, n_images=48, image_size_px=16))
    seeds = image_seeds(0, np.repeat([0, 1], 20), np.tile(np.arange(20), 2))
    species = np.repeat([0, 1], 20)
    images = render_images(plain, species, seeds)
    assert (images == render(plain.genomes[species], seeds, 16)).all()  # what no states were before is drawn
    stated = dataclasses.replace(plain, config=dataclasses.replace(plain.config, states=True))
    said, added = image_states(seeds)
    assert set(said["sex"]) == {"female", "male"} and set(said["life_stage"]) == {"juvenile", "adult"}
    chroma = added[:, len(PLANS) + TRAITS.index("chroma")]
    assert ((chroma == 0.5) == (said["sex"] == "male")).all() and set(np.unique(chroma)) == {-0.5, 0.5}
    assert (added[:, : len(PLANS)] == 0).all()
    assert (render_images(stated, species, seeds) == render(plain.genomes[species] + added, seeds, 16)).all()
    raw = write_images(stated, tmp_path / "stated")
    number = raw.groupby("verbatim_name").cumcount()
    by_seed = image_states(image_seeds(0, np.repeat(range(4), plain.taxa["n_images"]), number))
    pd.testing.assert_frame_equal(raw[["sex", "life_stage"]], by_seed[0])
    assert "sex" not in write_images(plain, tmp_path / "plain")


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    tree = grow_tree(SyntheticConfig(n_species=4, n_images=16, image_size_px=16))

    def full_disk(self, path, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full_disk)
    with pytest.raises(InputError, match="disk full while writing"):
        write_images(tree, tmp_path / "synthetic")
    assert list(tmp_path.iterdir()) == []
