"""Leaks into benchmarks: planted ones are found, removed, and nothing else."""

import numpy as np
import pandas as pd
import pytest

from bioclip_lib.catalog.leaks import LEAK_COLUMNS, find_leaks, remove_leaks
from bioclip_lib.catalog.looks import from_hex, to_hex
from bioclip_lib.catalog.splits import assign_splits
from bioclip_lib.catalog.table import check_catalog, name_classes
from bioclip_lib.config import SplitConfig
from bioclip_lib.errors import InputError


def flip(digits: str, n_bits: int) -> str:
    """Change the lowest bits of a perceptual hash."""
    return to_hex(from_hex([digits]) ^ np.uint64(2**n_bits - 1))[0]


@pytest.fixture(scope="module")
def benchmark(catalog) -> pd.DataFrame:
    """Two benchmarks of other pixels: rare_birds holds the species of its images out."""
    table = catalog.iloc[[0, 1, 10, 11]].copy()
    table["source"] = ["rare_birds", "rare_birds", "trees", "trees"]
    table["image_id"] = ["r0", "r1", "t0", "t1"]
    table["sha256"] = [f"of {name}" for name in table["image_id"]]
    table["phash"] = to_hex(np.random.default_rng(7).integers(1, 2**63, 4, dtype=np.uint64))
    table["split"] = ["heldout_species", "test", "test", "test"]
    table["verbatim_name"] = ["Parus major L.", "Parus ater", "Acer rubrum", "Acer rubrum"]
    table["scientific_name"] = ["Parus major", "Parus ater", "Acer rubrum", "Acer rubrum"]
    table["class_key"] = name_classes(table.assign(rank="species"))
    return table.reset_index(drop=True)


@pytest.fixture(scope="module")
def leaky(catalog, benchmark) -> pd.DataFrame:
    """A catalog with planted leaks: an exact one, near ones, and the ten images of a held-out species."""
    table = catalog.copy()
    maples = table.index[table["verbatim_name"] == "Acer rubrum"]
    table.loc[maples[0], "sha256"] = benchmark["sha256"][2]
    table.loc[maples[0], "phash"] = benchmark["phash"][2]
    table.loc[maples[1], "phash"] = flip(benchmark["phash"][3], 2)
    table.loc[maples[2], "phash"] = flip(benchmark["phash"][3], 3)  # not within 2 bits
    table.loc[maples[3], "phash"] = flip(benchmark["phash"][1], 1)
    table.loc[table.index[table["verbatim_name"] == "Parus major"][0], "phash"] = benchmark["phash"][0]
    return table


def planted(leaky: pd.DataFrame) -> list[tuple]:
    maples = leaky.loc[leaky["verbatim_name"] == "Acer rubrum", "image_id"].tolist()
    tits = leaky.loc[leaky["verbatim_name"] == "Parus major", "image_id"].tolist()
    return [
        (maples[0], "trees", "t0", "exact", 0),
        (maples[1], "trees", "t1", "perceptual", 2),
        (maples[3], "rare_birds", "r1", "perceptual", 1),
        (tits[0], "rare_birds", "r0", "perceptual", 0),
        *((tit, "rare_birds", "r0", "species hold-out", pd.NA) for tit in tits),
    ]


def test_planted_leaks_are_found_and_nothing_else(leaky, benchmark):
    leaks = find_leaks(leaky, benchmark)
    expected = pd.DataFrame(planted(leaky), columns=list(LEAK_COLUMNS)).astype({"distance": "Int64"})
    expected = expected.sort_values(["image_id", "benchmark", "kind"], ignore_index=True)
    pd.testing.assert_frame_equal(leaks, expected, check_dtype=False)  # pandas has two types of text


def test_the_leak_report_does_not_depend_on_the_order_of_rows(leaky, benchmark):
    twice = pd.concat([benchmark, benchmark.assign(image_id=benchmark["image_id"] + "b")])
    leaks = find_leaks(leaky, twice)
    pd.testing.assert_frame_equal(leaks, find_leaks(leaky, benchmark))  # of twins, the first is named
    for seed in range(3):
        shuffled = find_leaks(leaky.sample(frac=1, random_state=seed), twice.sample(frac=1, random_state=seed))
        pd.testing.assert_frame_equal(leaks, shuffled)


def test_only_usable_training_images_leak_and_only_into_usable_images(leaky, benchmark):
    assert find_leaks(leaky.assign(split="test"), benchmark).empty
    assert find_leaks(leaky.assign(excluded="no name"), benchmark).empty
    assert find_leaks(leaky, benchmark.assign(excluded="no name")).empty
    assert len(find_leaks(leaky.assign(split="train"), benchmark)) == len(planted(leaky))
    kinds = find_leaks(leaky, benchmark.assign(split="test"))["kind"]
    assert kinds.value_counts().to_dict() == {"perceptual": 3, "exact": 1}


def test_flat_images_leak_only_where_they_are_the_same_file(catalog, benchmark):
    flat = catalog.assign(phash="0" * 16)
    tested = benchmark.assign(phash="0" * 16, split="test")
    tested.loc[0, "sha256"] = flat["sha256"][7]
    leaks = find_leaks(flat, tested)
    assert leaks[["image_id", "kind"]].to_numpy().tolist() == [[flat["image_id"][7], "exact"]]


def test_leaks_are_removed_with_the_reason_and_then_there_are_none(leaky, benchmark):
    split = SplitConfig(val_fraction=0.1, test_fraction=0.2, heldout_fraction=0.0)
    unsplit = remove_leaks(leaky, find_leaks(leaky, benchmark))
    assert find_leaks(unsplit, benchmark).empty
    check_catalog(assign_splits(unsplit, split))
    reasons = unsplit["excluded"].value_counts().to_dict()
    assert reasons == {
        "": 27,
        "leak into rare_birds (species hold-out)": 9,
        "leak into rare_birds (perceptual)": 2,
        "leak into trees (perceptual)": 1,
        "leak into trees (exact)": 1,
    }
    for seed in range(3):
        shuffled = find_leaks(leaky, benchmark).sample(frac=1, random_state=seed)
        pd.testing.assert_frame_equal(remove_leaks(leaky, shuffled), unsplit)
    divided = assign_splits(leaky, split)
    leaks = find_leaks(divided, benchmark)
    cleaned = remove_leaks(divided, leaks)
    check_catalog(cleaned)
    untouched = ~divided["image_id"].isin(leaks["image_id"])
    assert 0 < untouched.sum() < len(divided) and (divided["split"][untouched] == "test").any()
    pd.testing.assert_frame_equal(cleaned[untouched], divided[untouched])


def test_removing_no_leaks_changes_nothing(catalog, benchmark):
    leaks = find_leaks(catalog, benchmark.assign(split="test"))
    assert leaks.empty and tuple(leaks.columns) == LEAK_COLUMNS
    pd.testing.assert_frame_equal(remove_leaks(catalog, leaks), catalog)


def test_an_excluded_image_keeps_its_first_reason(leaky, benchmark):
    leaks = find_leaks(leaky, benchmark)
    excluded = leaky.assign(excluded="no name")
    pd.testing.assert_frame_equal(remove_leaks(excluded, leaks), excluded)


def test_reports_of_another_catalog_and_tables_that_are_no_catalog_are_refused(leaky, benchmark):
    leaks = find_leaks(leaky, benchmark)
    with pytest.raises(InputError, match="find its leaks again"):
        remove_leaks(leaky.iloc[:5], leaks)
    with pytest.raises(InputError, match=r"no columns \['phash'\]"):
        find_leaks(leaky, benchmark.drop(columns="phash"))
