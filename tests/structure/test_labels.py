"""Planted wrong labels are found and corrected; groups, lonely classes and empty tables are no evidence."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import cross_val_predict

from bioclip_lib import RANKS
from bioclip_lib.catalog.splits import class_rows
from bioclip_lib.catalog.table import COLUMNS
from bioclip_lib.config import load_config
from bioclip_lib.errors import InputError
from bioclip_lib.sources.read import read_source
from bioclip_lib.structure import planted
from bioclip_lib.structure.labels import (
    centred,
    corrected_table,
    deepest_shared,
    left_out_scores,
    suspicious_labels,
    units_of,
)


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
    assert found["clear"].all() and not found["odd"].any()


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
    monkeypatch.setattr("bioclip_lib.structure.labels._BLOCK", 7)
    parts = suspicious_labels(features, labels, groups)
    assert len(whole) and set(parts["row"]) == set(whole["row"])
    assert parts.set_index("row")["suggested"].equals(whole.set_index("row")["suggested"].reindex(parts["row"]))


def test_scores_without_a_unit_are_those_of_a_fit_without_it():
    features, labels, groups = clusters(n_classes=4, n_each=6, n_dimensions=12)
    groups[:3] = "burst"
    values, units, codes = centred(features), units_of(groups), np.unique(labels, return_inverse=True)[1]
    vouching = np.arange(len(labels)) != 20
    found = left_out_scores(values, codes, units, vouching)
    for row in (1, 7, 20):
        kept = (units != units[row]) & vouching
        fitted = Ridge(alpha=1, fit_intercept=False).fit(values[kept].astype(float), np.eye(4)[codes[kept]])
        assert found[row] == pytest.approx(fitted.predict(values[[row]].astype(float))[0], abs=1e-6)


def test_a_photograph_of_something_else_is_odd_though_no_class_claims_it():
    features, labels, groups = clusters()
    features[7] = np.random.default_rng(9).normal(size=features.shape[1])
    found = suspicious_labels(features, labels, groups)
    assert found.loc[found["odd"], "row"].tolist() == [7]


def test_the_first_ranked_are_at_least_those_of_cleanlab():
    filters = pytest.importorskip("cleanlab.filter", reason="cleanlab is not installed")
    features, labels, groups = clusters(n_each=25, seed=3)
    features += 1.6 * np.random.default_rng(4).normal(size=features.shape)  # hard enough that both err
    given, rng = labels.copy(), np.random.default_rng(5)
    wrong = rng.permutation(len(labels))[:20]
    given[wrong] = [f"class {(int(name[6:]) + 1) % 8}" for name in labels[wrong]]
    codes = np.unique(given, return_inverse=True)[1]
    shares = cross_val_predict(LogisticRegression(max_iter=300), centred(features), codes, method="predict_proba")
    theirs = filters.find_label_issues(codes, shares, return_indices_ranked_by="normalized_margin")[:20]
    mine = suspicious_labels(features, given, groups)["row"][:20]
    assert np.isin(mine, wrong).sum() >= np.isin(theirs, wrong).sum() > 5


# The table that the next run reads

LINEAGE = ("A", "C", "Aves", "P", "Paridae")


def small_catalog(folder, write_image):
    rows = []
    for i, (name, genus) in enumerate([("great tit", "Parus"), ("blue tit", "Cyanistes"), ("marsh tit", "Parus")]):
        for j in range(4):
            path = write_image(folder / name / f"{j}.jpg", seed=10 * i + j)
            rows.append({"image_id": f"{i}{j}", "source_id": f"{name}/{j}.jpg", "location": str(path)})
            species = ("major", "caeruleus", "lugubris")[i]
            rows[-1] |= {"class_key": f"{genus} {species}", "verbatim_name": name, "source": "tits"}
            rows[-1] |= dict(zip(RANKS, (*LINEAGE, genus, species), strict=True))
    return pd.DataFrame(rows).reindex(columns=COLUMNS, fill_value="")


def test_corrections_are_what_the_next_run_reads(tmp_path, write_image):
    table = small_catalog(tmp_path / "tits", write_image)
    table.loc[5, ["excluded", "class_key"]] = "unreadable", ""
    said = pd.DataFrame({"image_id": ["00", "01", "02"], "label": ["Cyanistes caeruleus", "", "willow tit"]})
    corrected = corrected_table(table, said)
    assert corrected["path"].tolist() == table["location"].tolist()  # rows in, rows out
    corrected.to_csv(tmp_path / "photographs.csv", index=False)
    raw = read_source(load_config("photos", {"data.photos": str(tmp_path / "photographs.csv")}).data)
    assert raw["location"].tolist() == table["location"].tolist() and (raw["problem"] == "").all()
    assert raw["verbatim_name"].tolist() == ["blue tit", "", "willow tit", *table["verbatim_name"][3:]]
    assert corrected["label_was"].tolist() == ["great tit"] * 3 + [""] * 9


def test_a_correction_keeps_what_told_a_name_and_a_blank_leaves_out(tmp_path, write_image):
    table = small_catalog(tmp_path / "tits", write_image)
    table = table.assign(scientific_name=table["class_key"], rank="species")
    said = pd.DataFrame({"image_id": ["00", "01"], "label": ["Cyanistes caeruleus", np.nan]})  # as read from a CSV
    corrected = corrected_table(table, said)
    assert corrected["class_name"].tolist()[:2] == ["blue tit", ""]
    assert corrected["scientific_name"].tolist()[:3] == ["Cyanistes caeruleus", "", "Parus major"]
    assert corrected["family"].tolist()[2:] == ["Paridae"] * 10
    with pytest.raises(InputError, match="give the columns image_id and label"):
        corrected_table(table, said.rename(columns={"label": "suggested"}))


def test_nothing_corrected_is_no_mistake_whatever_the_images_are():
    table = pd.DataFrame({"image_id": ["00"], "location": "p.zip::a.jpg"}).reindex(columns=COLUMNS, fill_value="")
    assert len(corrected_table(table, pd.DataFrame(columns=["image_id", "label"]))) == 1


def test_noise_has_no_clear_case():
    rng = np.random.default_rng(0)
    found = suspicious_labels(rng.normal(size=(400, 32)), np.repeat([f"c{i}" for i in range(20)], 20), np.arange(400))
    assert not found["clear"].any()


@pytest.mark.parametrize(
    ("said", "location", "message"),
    [
        (["99"], "a.jpg", "99 is not in the catalog"),
        (["00", "00"], "a.jpg", "00 has two labels"),
        (["00"], "birds.zip::a.jpg", "lies in an archive or is a box"),
        (["00"], "a.jpg#xywh=percent:0,0,50,50", "lies in an archive or is a box"),
    ],
)
def test_corrections_that_cannot_be_made_are_refused(said, location, message):
    table = pd.DataFrame({"image_id": ["00", "01"], "location": location}).reindex(columns=COLUMNS, fill_value="")
    with pytest.raises(InputError, match=message):
        corrected_table(table, pd.DataFrame({"image_id": said, "label": ["x", "y"][: len(said)]}))


def test_relatives_are_told_by_the_deepest_rank_that_they_share(tmp_path, write_image):
    classes = class_rows(small_catalog(tmp_path, write_image))
    other = ["Parus lugubris", "Cyanistes caeruleus", "Parus major"]
    assert deepest_shared(classes, np.full(3, "Parus major"), np.array(other)).tolist() == [
        "genus",
        "family",
        "species",
    ]


# Labels moved on purpose


def test_labels_are_moved_to_the_nearest_species_of_the_tree(tmp_path, write_image):
    classes = class_rows(small_catalog(tmp_path, write_image))
    labels = np.repeat(["Parus major", "Cyanistes caeruleus"], 10)
    moved = planted.moved_labels(labels, classes, share=0.5, seed=0)
    assert (moved != labels).sum() == 10
    assert set(moved[:10]) == {"Parus major", "Parus lugubris"} and not set(moved[10:]) - set(classes.index)


def test_planted_labels_are_scored_by_hand():
    features, labels, groups = clusters()
    moved = labels.copy()
    moved[[0, 20]] = ["class 5", "class 7"]
    answers = {question: found[0] for question, found in planted._draw(features, labels, groups, moved).items()}
    assert all(answers[question].mean() == 1 for question in answers if question.startswith("of the"))
    assert answers["of the wrong ones: clear"].tolist() == [1, 1]
    assert answers["named right, true labels"].mean() == answers["named right, clear ones taken over"].mean()
