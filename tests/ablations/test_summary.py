"""Cells side by side: hand-computed means, intervals, differences inside seeds, and what is claimed."""

import numpy as np
import pandas as pd
import pytest

from bioclip_lib.ablations import (
    backbones,
    claims,
    compared,
    data_shares,
    descriptions,
    objectives,
    over_seeds,
    recipes,
    text_matrix,
    text_types,
)
from bioclip_lib.ablations.cells import DEALT, LOOKS, MIXTURE, SCRATCH, STARTS, TOWERS
from bioclip_lib.ablations.data import HALF_IMAGES, HALF_SPECIES
from bioclip_lib.config import load_config
from bioclip_lib.run import Run


def scores(values, task="zero_shot/unseen", metric="macro_top1", chance=0.05):
    """Rows of recipe -> values by seed."""
    rows = [
        (recipe, seed, "synthetic", task, metric, value, chance, 100, 1.0)
        for recipe, of_seeds in values.items()
        for seed, value in enumerate(of_seeds)
    ]
    columns = ["recipe", "seed", "dataset", "task", "metric", "value", "chance", "n", "seconds"]
    return pd.DataFrame(rows, columns=columns)


def test_a_mean_over_seeds_has_students_interval_and_one_seed_has_none():
    found = over_seeds([0.1, 0.2, 0.3])  # sd 0.1, t(2) 4.3027: 4.3027 * 0.1 / sqrt(3)
    assert (found["value"], found["n_seeds"]) == (pytest.approx(0.2), 3)
    assert found["ci_high"] - found["value"] == pytest.approx(0.24841, abs=1e-5)
    assert over_seeds([0.5])["ci_low"] == -np.inf
    assert over_seeds([0.5, np.nan])["n_seeds"] == 1


def test_the_matrix_has_a_row_a_training_and_a_column_a_question():
    table = pd.concat(
        [
            scores({"taxon": [0.2, 0.4], MIXTURE: [0.3, 0.3]}, "zero_shot/unseen/taxon"),
            scores({"taxon": [0.1, 0.1], MIXTURE: [0.2, 0.4]}),  # as configured: taxon_com
            scores({"clip": [0.9, 0.9]}),  # an objective is no text type
        ]
    )
    found = text_matrix(table, "taxon_com").set_index(["part", "trained", "tested"])
    assert len(found) == 4
    assert found.loc[("unseen", "taxon", "taxon"), "value"] == pytest.approx(0.3)
    assert found.loc[("unseen", MIXTURE, "taxon_com"), "value"] == pytest.approx(0.3)
    assert found.loc[("unseen", "taxon", "taxon_com"), "ci_high"] == pytest.approx(0.1)


def test_differences_are_taken_inside_seeds():
    found = compared(scores({"clip": [0.1, 0.5, 0.9], "siglip": [0.2, 0.6, 1.0]}), "clip").set_index("recipe")
    assert found.loc["siglip", "difference"] == pytest.approx(0.1)
    assert found.loc["siglip", "difference_low"] == pytest.approx(0.1)  # though seeds differ by 0.4
    assert found.loc["siglip", "ci_low"] < 0
    assert np.isnan(found.loc["clip", "difference"])


def test_a_claim_holds_fails_or_stays_open_by_its_interval():
    taxon = {"taxon": [0.30, 0.31, 0.32], MIXTURE: [0.29, 0.30, 0.31], DEALT: [0.05, 0.06, 0.05]}
    found = claims(scores(taxon, "zero_shot/unseen/taxon"), "taxon_com")
    near, alone, chance, dealt = found.to_dict("records")
    assert (near["against"], near["verdict"]) == ("taxon", "holds")  # 1 point below, and not more
    assert near["difference"] == pytest.approx(-0.01)
    assert [row["verdict"] for row in (alone, chance, dealt)] == ["holds"] * 3
    assert dealt["difference"] == pytest.approx(0.30 - 0.16 / 3)
    far = scores({"taxon": [0.30, 0.31, 0.32], MIXTURE: [0.10, 0.11, 0.12]}, "zero_shot/unseen/taxon", chance=0.5)
    assert claims(far, "taxon_com")["verdict"].tolist() == ["fails"] * 3
    assert claims(far[far["seed"] == 0], "taxon_com")["verdict"].tolist() == ["open"] * 3


def test_descriptions_are_set_beside_names_inside_seeds():
    plain, described = "bag of words", "bag of words" + LOOKS
    names = scores({plain: [0.3, 0.4, 0.5], described: [0.3, 0.3, 0.3]})
    asked = ({described: [0.5, 0.6, 0.7], plain: [0.1, 0.1, 0.1]}, "zero_shot/unseen/description")
    looks = scores(*asked)
    found = claims(pd.concat([names, looks]), "taxon_com").set_index("claim")
    row = found.loc[f"descriptions carry unseen species further than names, {plain}"]
    assert (row["difference"], row["verdict"]) == (pytest.approx(0.2), "holds")
    few = claims(pd.concat([names, scores(*asked, chance=0.5)]), "taxon_com").set_index("claim")  # of two described
    assert few.loc[row.name, "difference"] == pytest.approx(0.2 - 0.45)
    assert not found.index.str.contains("by description").any()
    assert {"description", "taxon_com"} == set(text_matrix(pd.concat([names, looks]), "taxon_com")["tested"])


def test_asking_again_is_set_beside_the_same_model():
    described = "bag of words" + LOOKS
    asked = {
        "": [0.3, 0.4, 0.5],
        "/description": [0.4, 0.4, 0.4],
        "/described": [0.5, 0.6, 0.7],
        "/told apart": [0.5] * 3,
    }
    found = claims(pd.concat(scores({described: v}, f"zero_shot/unseen{k}") for k, v in asked.items()), "taxon_com")
    found = found[found["claim"].str.contains("first five")].set_index(["claim", "against"])
    whole, apart = (f"the first five by name, {way}, are told apart better, unseen species, {described}" for way in
                    ("described", "told apart"))  # fmt: skip
    assert found.loc[(whole, "asked by taxon_com"), "difference"] == pytest.approx(0.2)
    assert found.loc[(whole, "asked by description"), "difference"] == pytest.approx(0.2)
    assert found.loc[(apart, "asked by described"), "difference"] == pytest.approx(-0.1)
    assert len(found) == 5


def test_each_choice_has_its_own_baseline():
    table = pd.concat(
        [
            scores({"multi_positive": [0.1, 0.3], "clip": [0.2, 0.4]}),
            scores({MIXTURE: [0.5, 0.5], "Lite2, frozen": [0.6, 0.7]}),
            scores({HALF_IMAGES: [0.2, 0.2], HALF_SPECIES: [0.1, 0.3], MIXTURE: [0.9, 0.9]}, "zero_shot/seen"),
            scores({HALF_IMAGES: [0.2, 0.2], HALF_SPECIES: [0.1, 0.3]}),
        ]
    )
    found = recipes(table).set_index(["question", "recipe", "measured"])
    asked = "zero-shot, unseen species"
    assert found.loc[("objective", "clip", asked), "difference"] == pytest.approx(0.1)
    assert found.loc[("image tower", "Lite2, frozen", asked), "difference"] == pytest.approx(0.15)
    assert found.loc[("data", HALF_IMAGES, asked), "difference"] == pytest.approx(-0.3)
    assert found.loc[("species or images", HALF_SPECIES, asked), "difference"] == pytest.approx(0)
    assert ("data", HALF_IMAGES, "zero-shot, seen species") not in found.index  # half of them were not trained on
    assert "start" not in found.index.get_level_values(0)
    assert recipes(table.iloc[:0]).empty


def test_image_towers_start_in_the_ways_that_the_data_allow(tmp_path):
    invented, photographs = load_config("mini"), load_config("photos", {"data.photos": str(tmp_path)})
    of_trees = backbones("all", Run(tmp_path), invented)
    assert [cell.recipe for cell in of_trees[:4]] == [SCRATCH, *STARTS] and len(of_trees) == 20
    assert {cell.seed for cell in of_trees} == {1, 2, 3, 4, 5}  # the run's own tree, 0, is none of them
    assert [cell.recipe for cell in backbones("all", Run(tmp_path), photographs)[:4]] == [*TOWERS]
    assert not backbones("few", Run(tmp_path), invented)
    settings = of_trees[1].settings
    assert settings["model.name"] == f"local-dir:{tmp_path / 'model'}" and settings["train.freeze_image_tower"]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"model.image_tower": "efficientnet-lite2", "train.freeze_image_tower": False},
        {"model.name": "ViT-B-32", "model.pretrained": "openai", "model.normalisation": "imagenet"},
    ],
)
def test_towers_are_what_they_are_called_whatever_the_run_has(tmp_path, settings):
    config = load_config("photos", {"data.photos": str(tmp_path), **settings})
    for cell in backbones("all", Run(tmp_path), config)[:4]:
        found = cell.config(config)
        called = {"vit": "ViT", "efficientnet-lite0": "Lite0", "efficientnet-lite2": "Lite2"}[found.model.image_tower]
        assert cell.recipe.startswith(called) and not (found.model.name or found.model.pretrained)
        assert cell.recipe.endswith("frozen") == found.train.freeze_image_tower


def test_two_data_sets_of_a_seed_are_one_observation():
    one = scores({"taxon": [0.5, 0.6, 0.7], MIXTURE: [0.5, 0.6, 0.7]}, "zero_shot/unseen/taxon")
    both = pd.concat([one, one.assign(dataset="other", value=one["value"] + 0.02)])
    found = text_matrix(both, "taxon_com").iloc[0]
    assert (found["n_seeds"], found["value"]) == (3, pytest.approx(0.61))
    assert claims(both, "taxon_com")["verdict"].tolist() == ["holds"] * len(claims(one, "taxon_com"))


def test_nothing_trained_is_an_empty_table():
    nothing = scores({})
    assert text_matrix(nothing, "taxon_com").empty and compared(nothing, "clip").empty
    assert claims(nothing, "taxon_com").empty


def test_a_grid_goes_seed_by_seed():
    cells = text_types("all")
    assert len(cells) == 35 and [cell.seed for cell in cells[:7]] == [0] * 7
    assert [cell.recipe for cell in text_types("two")] == ["taxon", MIXTURE]
    assert len(descriptions("all", "looks.csv")) == 20 and not descriptions("all", "") and not descriptions("few", "x")
    assert len(text_types("few")) == 6 and not objectives("few")
    assert {cell.seed for cell in objectives("all")} == set(range(5))
    every = [*cells, *objectives("all"), *data_shares("all")]
    assert len({(cell.recipe, cell.seed) for cell in every}) == len(every) and not data_shares("few")
