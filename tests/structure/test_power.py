"""Power on a made catalog: the size of the tests where there is nothing, all found where there is much."""

import numpy as np
import pandas as pd
import pytest

from bioclip_lib import RANKS
from bioclip_lib.config import EvaluateConfig
from bioclip_lib.structure import power


def catalog_of(n_species):
    rows = [("A", "P", "C", f"o{i // 8}", f"f{i // 4}", f"g{i // 2}", f"s{i}") for i in range(n_species)]
    table = pd.DataFrame(rows, columns=list(RANKS)).assign(
        source="made", split="heldout_species", excluded="", group=""
    )
    table = table.assign(image_id=[f"i{i}" for i in range(n_species)], rank="species")
    return table.assign(class_key=table["genus"] + " " + table["species"])


def test_much_kinship_is_found_and_none_seldom():
    found = power.score_power(catalog_of(24), EvaluateConfig())
    assert set(found["test"]) == set(power.TESTS.values()) and set(found["n_species"]) == {24}
    rows = found.set_index(["test", "signal"])["value"]
    assert rows["any structure", 0.8] == 1 and rows["any structure", 0.0] < 0.2  # 0.05 of 30 worlds
    assert rows["inside orders", 0.8] > rows["inside orders", 0.0]
    assert (found["ci_low"] <= found["value"]).all() and (found["value"] <= found["ci_high"]).all()
    pd.testing.assert_frame_equal(found, power.score_power(catalog_of(24), EvaluateConfig()))


def test_the_signal_is_the_share_of_kinship():
    rng, codes = np.random.default_rng(0), np.stack([np.arange(4_000)] * 7, axis=1)
    points = power._centroids(rng, codes, 0.3)
    assert points.var() == pytest.approx(1, rel=0.05)
    alike = np.zeros((4_000, 7), int)  # all kinship is common to all, and taken off
    assert power._centroids(rng, alike, 0.3).var() == pytest.approx(0.7, rel=0.05)


def test_a_set_too_small_has_no_row():
    assert power.score_power(catalog_of(3), EvaluateConfig()).empty
