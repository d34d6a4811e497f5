"""Images of one observation, specimen or individual stay together, whoever decides."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_lib.catalog.leaks import find_leaks, remove_leaks
from bioclip_lib.catalog.splits import assign_splits, group_keys, split_images
from bioclip_lib.catalog.table import check_catalog
from bioclip_lib.config import SplitConfig
from tests.catalog.test_extend import curate
from tests.catalog.test_table import FRACTIONS, make_catalog, simple_catalog


def grouped(sizes: dict[str, int], n_each: int = 3, source: str = "s") -> pd.DataFrame:
    """Build a catalog of unique images, of which every `n_each` of a class are one observation."""
    catalog = simple_catalog(sizes, source)
    number = catalog.groupby("class_key").cumcount() // n_each
    return catalog.assign(group=catalog["class_key"] + " " + number.astype(str))


def torn(catalog: pd.DataFrame) -> list[str]:
    """List the groups with images on two sides."""
    n_sides = catalog[catalog["excluded"] == ""].groupby(["source", "group"])["split"].nunique()
    return [name for (_, name), n in n_sides.items() if name and n > 1]


@pytest.mark.parametrize("dtype", [object, "str", "string[pyarrow]"])
def test_groups_of_two_sources_are_two_whatever_holds_the_text(dtype):
    rows = {"image_id": ["1", "2", "3"], "source": ["a", "ab", "a"], "group": ["bc", "c", ""]}
    assert group_keys(pd.DataFrame(rows, dtype=dtype)).tolist() == ["a\x1fbc", "ab\x1fc", "3"]


def test_a_share_of_the_groups_is_drawn():
    catalog = grouped({"Aus bus": 30, "Aus cus": 9, "Dus eus": 3})
    found = assign_splits(catalog, SplitConfig(val_fraction=0.1, test_fraction=0.2, heldout_fraction=0))
    counts = found.groupby(["verbatim_name", "split"]).size().unstack(fill_value=0)[["train", "val", "test"]]
    assert counts.to_dict("index") == {
        "Aus bus": {"train": 21, "val": 3, "test": 6},  # of ten groups one and two
        "Aus cus": {"train": 6, "val": 0, "test": 3},
        "Dus eus": {"train": 3, "val": 0, "test": 0},  # one group
    }
    assert not torn(found)


def test_one_key_in_two_sources_is_two_groups():
    tables = [simple_catalog({"Aus bus": 40}, source).assign(group="1") for source in "ab"]
    catalog = pd.concat([*tables, grouped({"Aus cus": 9})], ignore_index=True)
    found = assign_splits(catalog, SplitConfig(heldout_fraction=0))
    assert set(found.loc[found["group"] == "1", "split"]) == {"train"}  # the only group of its source


ROWS = st.lists(
    st.tuples(st.sampled_from("st"), st.sampled_from("abcdef"), st.sampled_from(["", "", "1", "2", "3", "4"])),
    min_size=1,
    max_size=50,
)


@settings(max_examples=60, deadline=None)
@given(ROWS, FRACTIONS, st.integers(0, 2**32 - 1))
def test_laws_of_groups(rows, split, seed):
    catalog = make_catalog([(source, name, f"d{i}", "") for i, (source, name, _) in enumerate(rows)])
    catalog["group"] = [group for *_, group in rows]
    found = assign_splits(catalog, split)
    check_catalog(found)
    # nobody's sister is trained on, or validated on, while it is tested
    sides = found["split"].replace("heldout_species", "test")
    n_sides = sides.groupby([found["source"], found["group"].where(found["group"] != "", found["image_id"])]).nunique()
    assert (n_sides == 1).all()
    order = np.random.default_rng(seed).permutation(len(catalog))
    pd.testing.assert_frame_equal(assign_splits(catalog.iloc[order], split).sort_index(), found)
    alone = catalog.assign(group="")
    pd.testing.assert_series_equal(
        assign_splits(alone, split)["split"], assign_splits(alone.drop(columns="group"), split)["split"]
    )


def test_a_group_of_two_classes_goes_with_most_of_its_images_and_no_class_is_left_untrained():
    table = pd.DataFrame({"source": "s", "class_key": ["a"] * 12 + ["b"] * 2, "image_id": [f"{i}" for i in range(14)]})
    table["group"] = [*np.repeat(list("pqrs"), 3), "p", "q"]
    for seed in range(20):
        found = split_images(table, SplitConfig(test_fraction=0.5, val_fraction=0, heldout_fraction=0, seed=seed))
        assert found.groupby(table["group"]).nunique().max() == 1
        assert "train" in set(found[12:]) and "train" in set(found[:12])


def test_sisters_follow_published_splits_and_held_out_classes():
    catalog = grouped({"Aus bus": 6, "Aus cus": 6})
    catalog.loc[0, "split"] = "test"
    found = assign_splits(catalog, SplitConfig(heldout_fraction=0))
    assert found["split"][:3].tolist() == ["test"] * 3
    catalog = grouped({"Aus bus": 6, "Aus cus": 6}).assign(split=["heldout_species"] + [""] * 11)
    catalog.loc[6, "group"] = catalog.loc[0, "group"]  # on the photograph of the held-out species
    found = assign_splits(catalog, SplitConfig(heldout_fraction=0))
    assert set(found["split"][:6]) == {"heldout_species"} and found["split"][6] == "test"


def test_a_sister_of_a_benchmark_image_leaks():
    catalog = grouped({"Aus bus": 6, "Aus cus": 6})
    benchmark = catalog.iloc[[0]].assign(split="test")
    leaks = find_leaks(catalog.iloc[1:], benchmark)
    assert leaks[["image_id", "kind"]].to_numpy().tolist() == [[i, "group"] for i in sorted(catalog["image_id"][1:3])]
    left = remove_leaks(catalog.iloc[1:], leaks)
    assert left["excluded"].value_counts().to_dict() == {"": 9, "leak into s (group)": 2}
    assert find_leaks(catalog.iloc[1:].assign(source="t"), benchmark).empty  # another source's number


def moved(catalog: pd.DataFrame, earlier: pd.DataFrame) -> int:
    """Count the contents that changed sides."""
    now, then = (t[t["excluded"] == ""].set_index("sha256")["split"] for t in (catalog, earlier))
    return int((now[then.index] != then).sum())


@pytest.mark.parametrize("at", [0, 7, 30])
def test_a_table_that_grows_in_the_middle_moves_no_image(at):
    old = [("s", f"c{i % 5}", f"d{i}", "") for i in range(30)]
    split = SplitConfig(heldout_fraction=0.2)
    earlier = curate(make_catalog(old), split)
    # ids are row numbers here: all behind the new rows get another one
    grown = make_catalog([*old[:at], ("s", "c1", "new1", ""), ("s", "c2", "new2", ""), *old[at:]])
    for _ in range(2):
        found = curate(grown, split, earlier)
        check_catalog(found)
        assert moved(found, earlier) == 0
        grown = grown.iloc[::-1]
    assert at == 30 or moved(curate(grown, split), earlier) > 0


def test_an_edited_image_keeps_its_split_and_a_new_one_under_an_old_id_does_not_take_it():
    old = [("s", f"c{i % 3}", f"d{i}", "") for i in range(12)]
    earlier = curate(make_catalog(old), SplitConfig(heldout_fraction=0))
    edited = curate(make_catalog([("s", "c0", "retouched", ""), *old[1:]]), SplitConfig(heldout_fraction=0), earlier)
    assert edited["split"].tolist() == earlier["split"].tolist()


def test_reasons_name_the_ids_that_images_have_now():
    old = [("s", "c0", "d0", ""), ("s", "c0", "d0", ""), *(("s", f"c{i % 2}", f"e{i}", "") for i in range(6))]
    earlier = curate(make_catalog(old), SplitConfig(heldout_fraction=0))
    found = curate(make_catalog([("s", "c1", "new", ""), *old]), SplitConfig(heldout_fraction=0), earlier)
    (reason,) = found.loc[found["excluded"] != "", "excluded"]
    twins = found["sha256"] == earlier["sha256"][0]
    assert reason == "duplicate of " + found.loc[twins & (found["excluded"] == ""), "image_id"].item()


def test_a_new_photograph_of_an_earlier_group_joins_its_side():
    earlier = curate(grouped({"Aus bus": 9, "Aus cus": 9}), SplitConfig(heldout_fraction=0))
    test = earlier.loc[earlier["split"] == "test", "group"].iloc[0]
    new = make_catalog([("s", "Aus bus", f"new{i}", "") for i in range(6)]).assign(group=test)
    new["image_id"] = [f"n{i}" for i in range(6)]
    both = pd.concat([earlier.assign(split=""), new], ignore_index=True)
    found = curate(both, SplitConfig(heldout_fraction=0), earlier)
    assert set(found["split"][len(earlier) :]) == {"test"} and moved(found, earlier) == 0
