"""What every probe of an embedding does with input that it cannot use: a row that says why, or a refusal."""

import numpy as np
import pytest

from bioclip_lib import RANKS, structure
from bioclip_lib.config import EvaluateConfig
from bioclip_lib.errors import InputError
from bioclip_lib.model.features import FeatureTable
from bioclip_lib.structure import modalities, probes
from speed.probes import world

OF_IMAGES = ("score_probes", "score_hierarchy", "score_disparity", "score_convergence", "score_within")
OF_NAMES = ("score_consistency", "score_modalities")
N = 24  # species


@pytest.fixture(params=[*OF_IMAGES, *OF_NAMES])
def scored(request, monkeypatch):
    """A probe, as a function of catalog, features and encoders."""
    for module in (probes, modalities):
        monkeypatch.setattr(module, "N_PERMUTATIONS", 19)

    def score(table, tables, encoders):
        asked = (table, tables, encoders) if request.param in OF_NAMES else (table, tables)
        found = getattr(structure, request.param)(*asked, EvaluateConfig(n_permutations=19))
        return found[0] if request.param == "score_hierarchy" else found

    return score


@pytest.mark.parametrize("bad", ["one image a species", "one group", "missing ranks", "no tree", "no image"])
def test_what_cannot_be_asked_has_a_reason_and_no_number(scored, bad):
    table, tables, encoders = world(N if bad == "one image a species" else 2 * N, N, 8)
    if bad == "one group":
        table = table.assign(**dict.fromkeys(RANKS[:4], "one"))
    if bad == "missing ranks":
        table.loc[table["species"].isin([f"species{i}" for i in range(0, N, 2)]), ["order", "family"]] = ""
    if bad == "no tree":
        table = table.assign(**dict.fromkeys(RANKS[:5], ""), genus="g" + table["species"])
    found = scored(table.iloc[:0] if bad == "no image" else table, tables, encoders)
    if "why" in found:
        assert found.empty == (bad == "no image")
        assert (found["value"].isna() == (found["why"] != "")).all()
    assert not np.isinf(found["value"].astype(float)).any()


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_features_without_a_direction_are_refused(value):
    table, tables, encoders = world(4 * N, N, 8)
    table = table.assign(sex=np.where(np.arange(4 * N) < 2 * N, "female", "male"))
    table = table.assign(**{"class": "c" + (table["species"].str[7:].astype(int) // 4).astype(str)})
    table = table.assign(kingdom="one", phylum="one")  # six classes of four
    values = tables["made"].values.copy()
    values[3] = value
    bad = {"made": FeatureTable(tables["made"].image_ids, values)}
    for name in (*OF_IMAGES, *OF_NAMES):
        asked = (table, bad, encoders) if name in OF_NAMES else (table, bad)
        with pytest.raises(InputError, match="NaN, infinite or all zero"):
            getattr(structure, name)(*asked, EvaluateConfig(n_permutations=19))
