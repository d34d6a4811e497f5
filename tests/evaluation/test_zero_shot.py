"""Class weights and rankings by hand and by law; how wrong a mistake is in the tree."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bioclip_lib import RANKS
from bioclip_lib.errors import InputError
from bioclip_lib.evaluation import zero_shot
from bioclip_lib.model.text import read_templates
from bioclip_lib.taxonomy.ranks import correct_by_rank, rank_codes, tree_distance

LIONS = pd.DataFrame(
    [
        ("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Panthera", "leo"),
        ("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Panthera", "onca"),
        ("Animalia", "Chordata", "Mammalia", "Carnivora", "Felidae", "Puma", "concolor"),
        ("Animalia", "Chordata", "Aves", "Passeriformes", "Paridae", "Parus", "major"),
        ("Plantae", "Tracheophyta", "Magnoliopsida", "Ericales", "Ericaceae", "Parus", "major"),
        ("Animalia", "Arthropoda", "Copepoda", "", "", "", ""),
        ("", "", "", "", "Felidae", "Panthera", "leo"),
    ],
    columns=list(RANKS),
)


# Weights


def encode(texts):
    """A text of n letters points in direction n of the plane's four."""
    return np.array([[1, 0], [0, 1], [-1, 0], [0, -1]], dtype=float)[[len(t) % 4 for t in texts]]


def test_weights_are_the_normalised_mean_over_templates():
    weights = zero_shot.zero_shot_weights(encode, ["abcd", "abc"], ["{}", "{}!"])
    half = np.sqrt(0.5)
    assert weights == pytest.approx(np.array([[half, half], [half, -half]]))
    assert weights.dtype == np.float32


@pytest.mark.parametrize(
    ("classnames", "templates"),
    [([], ["{}"]), (["a", " "], ["{}"]), (["a"], ["photo"]), (["a"], ["{} {}"]), (["a"], [])],
)
def test_names_and_templates_are_checked(classnames, templates):
    with pytest.raises(InputError):
        zero_shot.zero_shot_weights(encode, classnames, templates)


def test_features_that_cancel_or_are_nan_are_refused():
    with pytest.raises(InputError, match="cancel"):
        zero_shot.zero_shot_weights(encode, ["abcd"], ["{}", "{}!!"])
    with pytest.raises(InputError, match="NaN"):
        zero_shot.zero_shot_weights(lambda texts: np.full((len(texts), 2), np.nan), ["a"])


def test_the_originals_prompts_by_hand():
    """Each prompt's features have unit length; their mean over prompts is normalised again (81 of them)."""
    templates = read_templates("original")
    assert len(templates) == len(set(templates)) == 81 and templates[0] == "a photo of {}."
    assert templates[1:4] == ("a bad photo of a {}.", "a photo of many {}.", "a sculpture of a {}.")
    prompts = [template.replace("{}", "abc") for template in templates]
    mean = sum(encode([prompt])[0] for prompt in prompts) / 81
    weights = zero_shot.zero_shot_weights(encode, ["abc"], templates)
    assert weights[0] == pytest.approx(mean / np.sqrt((mean**2).sum()), abs=1e-6)


def test_templates_are_named_or_a_file_of_lines(tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("a drawing of {}, a species\n\n  {}\n", encoding="utf-8")
    assert read_templates(str(file)) == ("a drawing of {}, a species", "{}")
    file.write_bytes("\ufeffa photo of {}.\r\n".encode())
    assert read_templates(str(file)) == ("a photo of {}.",)
    file.write_bytes("Art \xe4 {}".encode("latin-1"))
    with pytest.raises(InputError, match="is not UTF-8 text"):
        read_templates(str(file))
    assert read_templates("none") == ("{}",)
    with pytest.raises(InputError, match="no templates 'two': choose none, one, original"):
        read_templates("two")
    for content in ("a photo", "{} and {}", "{name}", ""):
        file.write_text(content)
        with pytest.raises(InputError, match="give a template a line"):
            read_templates(str(file))


def test_confidence_is_the_softmax_of_scaled_cosines(monkeypatch):
    rng = np.random.default_rng(0)
    features, weights = rng.normal(size=(11, 4)), rng.normal(size=(6, 4))
    logits = np.exp(3.0 * features @ weights.T)
    expected = logits.max(axis=1) / logits.sum(axis=1)
    monkeypatch.setattr(zero_shot, "_IMAGES", 3)
    monkeypatch.setattr(zero_shot, "_SCORES", 12)  # three images and four classes at a time
    assert zero_shot.zero_shot_confidence(features, weights, 3.0) == pytest.approx(expected)
    assert zero_shot.zero_shot_confidence(features, weights, 1e4).max() <= 1  # nothing overflows


# Predictions

integers = st.integers(-3, 3)


@given(arrays(float, (7, 3), elements=integers), arrays(float, (6, 3), elements=integers), st.integers(1, 8))
def test_ranking_is_a_stable_sort_by_score(features, weights, k):
    expected = np.argsort(-(features @ weights.T), axis=1, kind="stable")[:, :k]  # integers: ties abound
    assert (zero_shot.zero_shot_predict(features, weights, k) == expected).all()


@given(st.permutations(range(9)))
def test_renaming_classes_renames_predictions(order):
    rng = np.random.default_rng(0)
    features, weights = rng.normal(size=(20, 5)), rng.normal(size=(9, 5))
    ranked = zero_shot.zero_shot_predict(features, weights)
    assert (np.array(order)[zero_shot.zero_shot_predict(features, weights[order])] == ranked).all()


@pytest.mark.parametrize(("images", "scores"), [(1, 1), (1, 90), (3, 90), (7, 84), (50, 100)])
def test_blocks_do_not_matter(monkeypatch, images, scores):
    rng = np.random.default_rng(1)
    features, weights = rng.integers(-2, 3, size=(50, 4)), rng.integers(-2, 3, size=(30, 4))  # ties abound
    expected = np.argsort(-(features @ weights.T), axis=1, kind="stable")[:, :5]
    monkeypatch.setattr(zero_shot, "_IMAGES", images)
    monkeypatch.setattr(zero_shot, "_SCORES", scores)
    assert (zero_shot.zero_shot_predict(features.astype(float), weights.astype(float)) == expected).all()


@pytest.mark.parametrize("scores", [4_000_000, 300_000])
def test_of_classes_with_one_name_the_first_wins_every_image(monkeypatch, scores):
    """A plain product rounds equal columns differently: class 24 of 25 won 400 of 2,000 images from its twin."""
    rng = np.random.default_rng(0)
    monkeypatch.setattr(zero_shot, "_SCORES", scores)
    for n_classes, twin in ((25, 24), (400, 399), (3_000, 1_700)):
        weights = rng.normal(size=(n_classes, 64)).astype(np.float32)
        weights[twin] = weights[0]
        features = (0.1 * rng.normal(size=(500, 64)) + weights[0]).astype(np.float32)
        assert (zero_shot.zero_shot_predict(features, weights, 2) == [0, twin]).all()


def test_equal_classes_are_found_by_their_hashes_in_little_memory_and_told_from_those_of_one_hash(monkeypatch):
    weights = np.random.default_rng(0).normal(size=(20_000, 256)).astype(np.float32)
    weights[[7, 300, 19_999]], weights[500] = weights[3], weights[2]
    tracemalloc.start()
    classes, place, shared = zero_shot._equal_classes(weights)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < weights.nbytes / 4
    assert classes.tolist() == [2, 3, 7, 300, 500, 19_999] and place.tolist() == [0, 1, 1, 1, 0, 1]
    assert (shared == weights[[2, 3]]).all()
    monkeypatch.setattr(zero_shot, "hash", lambda _: 0, raising=False)
    for one, other in zip(zero_shot._equal_classes(weights), (classes, place, shared), strict=True):
        assert (one == other).all()


def test_blocks_hold_many_images_however_many_the_classes_are():
    """With few images at a time, reading the weights takes longer than the products (6 times, of 450,000 classes)."""
    features, weights = np.zeros((300, 2), dtype=np.float32), np.zeros((450_000, 2), dtype=np.float32)
    sizes = [scores.shape for *_, scores in zero_shot._score_blocks(features, weights)]
    assert {images for images, _ in sizes} == {256, 44}
    assert max(images * classes for images, classes in sizes) <= zero_shot._SCORES


def test_perfect_and_chance():
    rng = np.random.default_rng(2)
    true = rng.integers(10, size=5_000)
    assert (zero_shot.zero_shot_predict(np.eye(10)[true], np.eye(10), 1)[:, 0] == true).all()
    noise = zero_shot.zero_shot_predict(rng.normal(size=(5_000, 10)), np.eye(10))
    assert abs((noise[:, 0] == true).mean() - 0.1) < 0.02  # 4 standard errors
    assert abs((noise == true[:, None]).any(axis=1).mean() - 0.5) < 0.03
    assert zero_shot.zero_shot_predict(np.zeros((0, 10)), np.eye(10)).shape == (0, 5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(bad):
    features = np.eye(3)
    features[1, 2] = bad
    with pytest.raises(InputError, match="NaN or infinity"):
        zero_shot.zero_shot_predict(features, np.eye(3))
    with pytest.raises(InputError, match="NaN or infinity"):
        zero_shot.zero_shot_predict(np.eye(3), features)


@pytest.mark.parametrize(("weights", "k"), [(np.eye(4), 1), (np.zeros((0, 3)), 1), (np.eye(3), 0)])
def test_shapes_are_checked(weights, k):
    with pytest.raises(InputError, match="do not fit"):
        zero_shot.zero_shot_predict(np.eye(3), weights, k)


# Mistakes in the tree


def right(true, predicted):
    return correct_by_rank(LIONS, np.array([true]), np.array([predicted]))[0].tolist()


def test_correct_ranks_by_hand():
    assert right(0, 0) == [1] * 7
    assert right(0, 1) == [1, 1, 1, 1, 1, 1, 0]
    assert right(0, 2) == [1, 1, 1, 1, 1, 0, 0]
    assert right(0, 3) == [1, 1, 0, 0, 0, 0, 0]
    assert right(3, 4) == [0] * 7  # a homonymous genus and epithet join nothing


def test_unknown_ranks_are_no_truth_and_no_hit():
    assert np.isnan(right(5, 0)[3:]).all() and right(5, 0)[:3] == [1, 0, 0]
    assert right(0, 5) == [1, 0, 0, 0, 0, 0, 0]
    assert right(0, 6) == [0, 0, 0, 0, 1, 1, 1]  # the gap decides nothing below it


full = st.lists(st.tuples(*[st.sampled_from("AB")] * 7), min_size=2, max_size=8)


@given(full)
def test_right_ranks_and_tree_distance_are_one_account(lineages):
    ranks = pd.DataFrame(lineages, columns=list(RANKS))
    true, predicted = (a.ravel() for a in np.indices((len(ranks), len(ranks))))
    right = correct_by_rank(ranks, true, predicted).sum(axis=1)
    assert (right == len(RANKS) - tree_distance(ranks)[true, predicted]).all()


def test_codes_need_all_ranks_and_take_missing_values():
    with pytest.raises(InputError, match="lacks genus"):
        rank_codes(LIONS.drop(columns="genus"))
    missing = LIONS.mask(LIONS == "", None)
    assert (rank_codes(missing) == rank_codes(LIONS)).all()
    assert (rank_codes(LIONS.astype("category")) == rank_codes(LIONS)).all()
