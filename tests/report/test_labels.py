"""Planted wrong labels are found; groups, lonely classes and empty tables are no evidence."""

import numpy as np
import pytest

from bioclip_lib.report.labels import suspicious_labels


def clusters(n_classes=8, n_each=12, n_dimensions=160, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(n_classes, n_dimensions))
    labels = np.repeat(np.arange(n_classes), n_each)
    features = centres[labels] + 0.7 * rng.normal(size=(len(labels), n_dimensions))
    return features, np.array([f"class {label}" for label in labels]), np.full(len(labels), "", dtype=object)


def test_planted_labels_are_found_with_their_true_class_and_nothing_else():
    features, labels, groups = clusters()
    given = labels.copy()
    given[[0, 13, 50]] = ["class 5", "class 2", "class 0"]
    found = suspicious_labels(features, given, groups)
    assert sorted(found["row"]) == [0, 13, 50]
    assert found.set_index("row")["suggested"].to_dict() == {row: labels[row] for row in (0, 13, 50)}
    assert all(given[found["neighbour"]] == found["suggested"]) and (found["other"] > found["own"]).all()
    assert found["clear"].tolist() == [True, True, False]


def test_clear_ones_come_before_those_that_are_far_from_every_class():
    features, labels, groups = clusters()
    features[0], labels[0] = features[1:12].mean(axis=0), "class 5"
    features[13] = 0.5 * features[13] + 0.51 * features[30]  # between two classes, typical of neither
    found = suspicious_labels(features, labels, groups)
    assert found[["row", "clear"]].values.tolist() == [[0, True], [13, False]]


def test_right_labels_are_not_suspicious():
    assert suspicious_labels(*clusters()).empty


def test_random_labels_are_nearly_all_suspicious():
    features, labels, groups = clusters()
    shuffled = np.random.default_rng(1).permutation(labels)
    assert len(suspicious_labels(features, shuffled, groups)) > 0.7 * len(labels)


def test_a_burst_does_not_vouch_for_itself():
    features, labels, groups = clusters()
    features[:3] = features[0] + 1e-3 * features[1:4]  # three frames of one sequence, all under a wrong name
    labels[:3] = "class 5"
    assert not set(suspicious_labels(features, labels, groups)["row"]) >= {0, 1, 2}
    groups[:3] = "seq 1"
    assert set(suspicious_labels(features, labels, groups)["row"]) == {0, 1, 2}


def test_a_label_that_nobody_shares_is_not_judged():
    features, labels, groups = clusters()
    labels[0] = "alone"
    assert 0 not in set(suspicious_labels(features, labels, groups)["row"])


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_images_are_no_error(n):
    features, labels, groups = clusters()
    assert suspicious_labels(features[:n], labels[:n], groups[:n]).empty


def test_more_images_than_a_block_give_the_same_rows(monkeypatch):
    features, labels, groups = clusters()
    labels[::9] = labels[::9][::-1].copy()
    whole = suspicious_labels(features, labels, groups)
    monkeypatch.setattr("bioclip_lib.report.labels._BLOCK", 7)
    parts = suspicious_labels(features, labels, groups)
    assert len(whole) and set(parts["row"]) == set(whole["row"])
    assert parts.set_index("row")["suggested"].equals(whole.set_index("row")["suggested"].reindex(parts["row"]))
