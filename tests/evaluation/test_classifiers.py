"""Few-shot classifiers beside plain refits, by hand, and what must never reach them: the queries."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from bioclip_lib.errors import InputError
from bioclip_lib.evaluation import classifiers, few_shot, statistics

N_CLASSES = 8
TEXTS = np.random.default_rng(9).normal(size=(N_CLASSES, 16))


def text_anchored(features, labels, train, test):
    return classifiers.text_anchored(features, labels, train, test, TEXTS)


METHODS = [classifiers.simple_shot, classifiers.nearest_shot, classifiers.ridge_probe, text_anchored]


def world(noise=1.5, n_images=12, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat([f"s{i}" for i in range(N_CLASSES)], n_images))
    directions = dict(zip(np.unique(labels), rng.normal(size=(N_CLASSES, 16)), strict=True))
    features = np.stack([directions[name] for name in labels]) + noise * rng.normal(size=(len(labels), 16)) + 2
    return features, labels


def fold_of(labels, k, n=0):
    return few_shot.few_shot_folds(labels, [k], n + 1)[k][n]


def accuracy(method, features, labels, k, n_folds=5):
    folds = few_shot.few_shot_folds(labels, [k], n_folds)[k]
    return np.mean([(method(features, labels, *fold) == labels[fold[1]]).mean() for fold in folds])


# One shot of every class is left out at a time


def rounds(index):
    seen, groups = {}, {}
    for i, c in enumerate(index):
        groups.setdefault(seen.get(c, 0), []).append(i)
        seen[c] = seen.get(c, 0) + 1
    return [np.array(group) for group in groups.values()]


def test_rounds_by_hand():
    found = classifiers._one_of_every_class(np.array([1, 0, 1, 1, 0]))
    assert [group.tolist() for group in found] == [[0, 1], [2, 4], [3]]


@pytest.mark.parametrize(("n_images", "n_dims"), [(3, 16), (20, 16), (6, 5)])  # fewer dimensions than classes, and more
@pytest.mark.parametrize("penalty", [0.1, 3.0, 100.0])
def test_ridge_without_refits_is_ridge_with_refits(n_images, n_dims, penalty):
    features, labels = world(n_images=n_images)
    features = features[:, :n_dims]
    _, index, _, shots = classifiers.shots_of(features, labels, np.arange(len(labels)))
    targets, hits = np.eye(N_CLASSES)[index], 0
    for out in rounds(index):
        kept = np.setdiff1d(np.arange(len(index)), out)
        refit = Ridge(alpha=penalty, fit_intercept=False).fit(shots[kept], targets[kept])
        hits += (refit.predict(shots[out]).argmax(axis=1) == index[out]).sum()
    u, s, _ = np.linalg.svd(shots, full_matrices=False)
    assert classifiers._hits_of_ridge(u, s**2 / (s**2 + penalty), u.T @ targets, index) == hits
    assert 0 < hits < len(index)


@pytest.mark.parametrize("k", [1, 5])
def test_the_ridge_probe_is_scikit_learns_at_the_penalty_that_refits_choose(k):
    features, labels = world()
    train, test = fold_of(labels, k)
    classes, index, mean, shots = classifiers.shots_of(features, labels, train)
    targets, hits = np.eye(N_CLASSES)[index], []
    for penalty in classifiers.PENALTIES:
        right = 0
        for out in rounds(index) if k > 1 else []:
            kept = np.setdiff1d(np.arange(len(index)), out)
            refit = Ridge(alpha=penalty, fit_intercept=False).fit(shots[kept], targets[kept])
            right += (refit.predict(shots[out]).argmax(axis=1) == index[out]).sum()
        hits.append(right)
    penalty = classifiers.PENALTIES[int(np.argmax(hits))]  # the first of equal ones is the strongest
    assert k == 1 or len(set(hits)) > 1
    queries = features[test] - mean
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    expected = Ridge(alpha=penalty, fit_intercept=False).fit(shots, targets).predict(queries).argmax(axis=1)
    assert (classifiers.ridge_probe(features, labels, train, test) == classes[expected]).all()


# Nearest shot


def test_the_nearest_shot_is_the_one_with_the_largest_cosine():
    features, labels = world()
    train, test = fold_of(labels, 5)
    centred = features - features[train].mean(axis=0)
    cosine = [[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in centred[train]] for a in centred[test]]
    expected = labels[train][np.argmax(cosine, axis=1)]
    assert (classifiers.nearest_shot(features, labels, train, test) == expected).all()
    assert (classifiers.simple_shot(features, labels, train, test) != expected).any()


def test_with_one_shot_the_nearest_shot_is_simple_shot():
    features, labels = world()
    fold = fold_of(labels, 1)
    assert (classifiers.nearest_shot(features, labels, *fold) == classifiers.simple_shot(features, labels, *fold)).all()


# Texts


def test_half_of_the_text_by_hand():
    # Shots of a and b at 0 and 180 degrees; texts at 90 and 270. Prototypes are (0.5, 0.5) and (-0.5, -0.5), so that a
    # query at 120 degrees is nearer to a, while the nearest shot is b's.
    features = np.array([[1.0, 0], [-1, 0], [np.cos(np.radians(120)), np.sin(np.radians(120))]])
    labels, texts = np.array(list("ab?")), np.array([[0.0, 3.0], [0.0, 1.0]])  # the mean 2 taken off: one up, one down
    found = classifiers.text_anchored(features, labels, np.arange(2), np.array([2]), texts)
    assert found.tolist() == ["a"]
    assert classifiers.simple_shot(features, labels, np.arange(2), np.array([2])).tolist() == ["b"]


def test_the_blend_is_chosen_by_shots_that_the_prototypes_do_not_hold():
    features, labels = world(noise=2.0)
    _, index, _, shots = classifiers.shots_of(features, labels, fold_of(labels, 5)[0])
    for blend in (0.0, 0.3, 1.0):
        hits = 0
        for out in rounds(index):
            kept = np.setdiff1d(np.arange(len(index)), out)
            means = np.stack([shots[kept][index[kept] == c].mean(axis=0) for c in range(N_CLASSES)])
            prototypes = (1 - blend) * means + blend * TEXTS
            distance = ((shots[out][:, None] - prototypes[None]) ** 2).sum(axis=2)
            hits += (distance.argmin(axis=1) == index[out]).sum()
        assert classifiers._hits_of_prototypes(shots, index, TEXTS, blend) == hits


def test_good_texts_are_used_and_bad_ones_are_not():
    features, labels = world(noise=2.0)
    truth = np.stack([features[labels == name].mean(axis=0) for name in np.unique(labels)])
    fold = fold_of(labels, 3)
    plain = (classifiers.simple_shot(features, labels, *fold) == labels[fold[1]]).mean()
    good = (classifiers.text_anchored(features, labels, *fold, truth) == labels[fold[1]]).mean()
    assert good > plain + 0.05
    clear, labels = world(noise=0.5)
    assert (
        classifiers.text_anchored(clear, labels, *fold, TEXTS) == classifiers.simple_shot(clear, labels, *fold)
    ).all()


@pytest.mark.parametrize("texts", [TEXTS[1:], TEXTS[:, 1:], np.where(TEXTS > 1, np.nan, TEXTS)])
def test_texts_that_do_not_fit_are_refused(texts):
    features, labels = world()
    with pytest.raises(InputError, match="text features of shape"):
        classifiers.text_anchored(features, labels, *fold_of(labels, 1), texts)


def test_equal_texts_decide_nothing():
    features, labels = world()
    fold = fold_of(labels, 1)
    same = classifiers.text_anchored(features, labels, *fold, np.ones((N_CLASSES, 16)))
    assert (same == classifiers.simple_shot(features, labels, *fold)).all()


# All of them


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("method", METHODS)
def test_queries_decide_nothing(method, k):
    features, labels = world()
    train, test = fold_of(labels, k)
    expected = method(features, labels, train, test)
    half = method(features, labels, train, test[::2])
    assert (half == expected[::2]).all()
    others, unknown = features.copy(), labels.copy()
    others[test[1::2]], unknown[test] = 1e3, "?"
    assert (method(others, unknown, train, test[::2]) == half).all()


@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("method", METHODS)
def test_perfect_and_shuffled_and_scaled(method, k):
    features, labels = world(noise=1e-3)
    if method is not text_anchored or k > 1:  # with one shot the texts, random here, weigh half
        assert accuracy(method, features, labels, k) == 1
    features, labels = world()
    fold = fold_of(labels, k)
    expected = method(features, labels, *fold)
    assert (method(3 * features + 7, labels, *fold) == expected).all()
    assert (method(features.astype(np.float32), labels, *fold) == expected).all()


@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("method", METHODS)
def test_labels_that_mean_nothing_are_at_chance(method, k, monkeypatch):
    monkeypatch.setattr(statistics, "LEVEL", 0.99)  # eight cases: 0.95 misses one
    features, labels = world(n_images=60)
    labels = np.random.default_rng(5).permutation(labels)
    folds = few_shot.few_shot_folds(labels, [k], 5)[k]
    hits = np.concatenate([method(features, labels, *fold) == labels[fold[1]] for fold in folds])
    groups = np.concatenate([labels[fold[1]] for fold in folds])
    low, high = statistics.mean_interval(hits.astype(float), groups)
    assert low <= 1 / N_CLASSES <= high and high - low < 0.2


@pytest.mark.parametrize("method", METHODS)
def test_one_class_is_always_right(method):
    labels = np.array(["only"] * 5)
    features = np.random.default_rng(0).normal(size=(5, 16))
    for k in (1, 2):
        fold = fold_of(labels, k)
        texts = (TEXTS[:1],) if method is text_anchored else ()
        found = classifiers.text_anchored(features, labels, *fold, *texts) if texts else method(features, labels, *fold)
        assert set(found) == {"only"}


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("method", METHODS)
def test_features_that_are_not_finite_are_refused(method, index):
    features, labels = world()
    fold = fold_of(labels, 2)
    features[fold[index][0], 0] = np.inf
    with pytest.raises(InputError, match="NaN or infinity"):
        method(features, labels, *fold)
