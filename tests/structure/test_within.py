"""Variation within species: sums by hand, directions by construction, p-values uniform, the invented world's truth."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bioclip_lib import RANKS
from bioclip_lib.config import EvaluateConfig
from bioclip_lib.model.features import FeatureTable
from bioclip_lib.sources.synthetic.canvas import TRAITS
from bioclip_lib.sources.synthetic.render import INDIVIDUAL_SD
from bioclip_lib.sources.synthetic.tree import image_seeds, image_states
from bioclip_lib.structure import tell, within


def world(n_species=8, n_each=6, width=12, axis=None, size=0.0, seed=0):
    """Observations of species that differ in the first four of the directions; states differ along an axis."""
    rng = np.random.default_rng(seed)
    species, states = np.repeat(np.arange(n_species), 2 * n_each), np.tile([0, 1], n_species * n_each)
    means = np.zeros((n_species, width))
    means[:, :4] = 5 * rng.normal(size=(n_species, 4))
    points = means[species] + rng.normal(size=(len(species), width))
    if axis is not None:
        points[:, axis] += size * (states - 0.5)
    return points, species, states


def centred(points, species):
    return points - pd.DataFrame(points).groupby(species).transform("mean").to_numpy()


def test_sums_by_hand():
    # one species: a 0, 2 and b 6, 8; another: a -1, 1 and b -1, 1; means 4 and 0
    points = np.array([[0.0], [2], [6], [8], [-1], [1], [-1], [1]])
    species, states = np.repeat([0, 1], 4), np.tile([0, 0, 1, 1], 2)
    sums = within.state_sums(centred(points, species), species, states)
    assert sums.between.tolist() == [36, 0] and sums.within.tolist() == [4, 4] and sums.k.tolist() == [2, 2]
    assert sums.freed().tolist() == [36 - 4 / 2, 0 - 4 / 2]  # a pair of random groups would have 2
    assert within.share_of_states(sums) == pytest.approx((34 - 2) / (40 + 4))


def test_states_that_are_all_there_is_have_all():
    points, species, states = np.zeros((8, 2)), np.repeat([0, 1], 4), np.tile([0, 0, 1, 1], 2)
    points[states == 1, 1] = 3
    assert within.share_of_states(within.state_sums(centred(points, species), species, states)) == 1


@pytest.mark.parametrize(("axis", "expected"), [(0, 1.0), (9, 0.0)])
def test_what_states_change_lies_where_it_was_put(axis, expected):
    points, species, states = world(n_species=10, n_each=20, axis=axis, size=4.0)
    directions = within.between_species(points, species, states)
    assert directions @ directions.T == pytest.approx(np.eye(len(directions))) and len(directions) in (3, 4)
    whole, inside = (
        within.state_sums(of, species, states)
        for of in (centred(points, species), centred(points, species) @ directions.T)
    )
    along, rest = within.share_inside(whole, inside)
    held = np.linalg.norm(directions[:, axis]) ** 2
    assert along == pytest.approx(held, abs=0.03) and held == pytest.approx(expected, abs=0.2)
    assert rest == pytest.approx(len(directions) / 12, abs=0.03)  # noise is alike in all directions


def test_more_males_of_one_species_do_not_tell_it():
    points, species, states = world(n_species=6, n_each=20, axis=9, size=8.0)
    kept = (species % 2 == states) | (np.random.default_rng(1).random(len(species)) < 0.2)  # one state is rare
    directions = within.between_species(points[kept], species[kept], states[kept])
    assert np.linalg.norm(directions[:, 9]) < 0.25


def test_p_is_uniform_and_the_share_0_by_chance(monkeypatch):
    monkeypatch.setattr(within, "N_PERMUTATIONS", 39)
    found = []
    for seed in range(200):
        points, species, states = world(n_species=4, n_each=3, width=4, seed=seed)
        names = pd.DataFrame({"class_key": species, "state": states, "group": np.arange(len(species))})
        found.append(within._of_model(points, names, seed)[0])
    p_values = np.array([row["p_value"] for row in found])
    # 40 values in steps of 1/40: spread evenly over each step they are uniform
    spread = p_values - np.random.default_rng(0).random(200) / 40
    assert stats.kstest(spread, "uniform").pvalue > 0.01  # seeded
    values = np.array([row["value"] for row in found])
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(200) and values.min() < 0


def test_the_share_of_the_invented_world_is_what_its_genome_says():
    species = np.repeat(np.arange(6), 400)
    said, added = image_states(image_seeds(3, species, np.tile(np.arange(400), 6)))
    rng = np.random.default_rng(0)
    points = added[:, -len(TRAITS) :] + INDIVIDUAL_SD * rng.normal(size=(len(species), len(TRAITS)))
    total = 4 * 0.5**2 + 3 * 0.6**2 + len(TRAITS) * INDIVIDUAL_SD**2
    for state, own in (("sex", 4 * 0.5**2), ("life_stage", 3 * 0.6**2)):
        sums = within.state_sums(centred(points, species), species, pd.factorize(said[state])[0])
        assert within.share_of_states(sums) == pytest.approx(own / total, abs=0.01)


def catalog(n_species=6, n_each=4, **states):
    points, species, which = world(n_species, n_each, axis=9, size=6.0)
    ids = [f"i{i:03d}" for i in range(len(points))]
    rows = pd.DataFrame({rank: "A" for rank in RANKS}, index=range(len(points)))
    rows = rows.assign(species=[f"s{s}" for s in species], image_id=ids, source="made", split="test", excluded="")
    rows = rows.assign(rank="species", class_key=rows["species"], group="", verbatim_name="", phash="")
    for name, words in states.items():
        rows[name] = np.where(which == 1, words[0], words[1])
    return rows, {"trained": FeatureTable(ids, points.astype(np.float32))}


def test_a_catalog_is_asked_by_state_and_says_what_cannot_be():
    table, tables = catalog(sex=("Male", "f."))
    found = within.score_within(table, tables, EvaluateConfig()).set_index(["state", "question"])
    assert found.loc[("life_stage", ""), "why"] == "the catalog states no life stage"
    share, inside = found.loc[("sex", within.SHARE)], found.loc[("sex", within.INSIDE)]
    assert share["n"] == 6 and share["n_observations"] == 48 and share["p_value"] == 1 / 200
    assert share["ci_low"] <= share["value"] <= share["ci_high"] and share["value"] > 0.1
    assert inside["value"] < inside["by_chance"] and inside["p_value"] < 0.05
    told = tell(found.reset_index())
    assert "Not asked: life stage (the catalog states no life stage)" in told
    assert "Shown above chance: sex (share of the variance within species) 0." in told


def test_observations_count_not_their_images():
    table, tables = catalog(sex=("male", "female"))
    table["group"] = table["class_key"] + table["sex"]  # all males of a species are one animal
    why = within.score_within(table, tables, EvaluateConfig()).iloc[0]["why"]
    assert why == "no species has 2 observations each of two states (sex)"


def test_states_without_a_difference_have_no_direction():
    table, tables = catalog(life_stage=("adult", "juv"))
    table["life_stage"] = np.random.default_rng(4).permutation(table["life_stage"])
    found = within.score_within(table, tables, EvaluateConfig())
    assert found.iloc[-1]["why"] == "no difference between the states is shown"
    assert "(no difference between the states is shown)" in tell(found)


def test_observations_that_are_one_point_are_no_error():
    table, tables = catalog(sex=("male", "female"))
    tables = {"trained": FeatureTable(tables["trained"].image_ids, np.ones((48, 3), np.float32))}
    assert within.score_within(table, tables, EvaluateConfig()).iloc[0]["why"].endswith("are one point")


def test_words_for_states():
    said = pd.Series(["M", "♀", "males", "Unknown", "", "Juv.", "ADULT", "worker", "undetermined"])
    assert within.states_of(said).tolist() == ["male", "female", "male", "", "", "juvenile", "adult", "worker", ""]
