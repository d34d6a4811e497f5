"""A catalog that extends another moves none of its images, and no class across the held-out line."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bioclip_lib.catalog.duplicates import mark_exact_duplicates, mark_near_duplicates
from bioclip_lib.catalog.extend import keep_exclusions, match_earlier
from bioclip_lib.catalog.looks import to_hex
from bioclip_lib.catalog.splits import assign_splits
from bioclip_lib.catalog.table import check_catalog
from bioclip_lib.config import SplitConfig
from bioclip_lib.errors import InputError
from tests.catalog.test_table import FRACTIONS, SPECIES, make_catalog, simple_catalog

LOOKS = np.random.default_rng(0).integers(0, 2**63, 40).astype(np.uint64)


def rows(sources: list[str], names: list[str], digests: range):
    row = st.tuples(
        st.sampled_from(sources),
        st.sampled_from(names),
        st.sampled_from(digests).map("d{:02d}".format),
        st.sampled_from(["", "", "", "", "truncated"]),
    )
    return st.lists(row, max_size=25)


def build(table: list[tuple[str, str, str, str]]) -> pd.DataFrame:
    """Build a catalog whose digests come in threes that look alike: 2 bits differ."""
    catalog = make_catalog(table)
    number = np.array([int(digest[1:]) for _, _, digest, _ in table], int)
    flips = np.array([0, 0b11, 0b1100], dtype=np.uint64)
    catalog["phash"] = to_hex(LOOKS[number // 3] ^ flips[number % 3])
    # the larger of two copies is kept, unless an earlier catalog decided
    return catalog.assign(width=catalog["width"] * (1 + np.arange(len(catalog)) % 5))


def curate(catalog: pd.DataFrame, split: SplitConfig, earlier: pd.DataFrame | None = None) -> pd.DataFrame:
    if earlier is not None:
        catalog = keep_exclusions(catalog.assign(earlier_row=match_earlier(catalog, earlier)), earlier)
    catalog = mark_near_duplicates(mark_exact_duplicates(catalog))
    return assign_splits(catalog, split, earlier)


def decisions(catalog: pd.DataFrame, of: pd.DataFrame) -> pd.DataFrame:
    return catalog.set_index("image_id").loc[of["image_id"], ["split", "excluded"]]


NAMES = [*SPECIES, "Aus bus L.", "eggs type A", "eggs_type_B", ""]


@settings(max_examples=25, deadline=None)
@given(
    rows(["s", "t"], NAMES, range(24)),
    rows(["t", "u", "v"], [*NAMES, "new one", "new two", "new three"], range(36)),
    FRACTIONS,
    FRACTIONS,
    st.integers(0, 2**32 - 1),
)
def test_extending_moves_no_earlier_image_and_leaks_no_class(old, new, split, other_split, seed):
    earlier = curate(build(old), split)
    assume((earlier["width"] > 0).any())
    both = build([*old, *new])
    both = both.iloc[np.random.default_rng(seed).permutation(len(both))]
    extended = curate(both, other_split, earlier)
    pd.testing.assert_frame_equal(decisions(extended, earlier), decisions(earlier, earlier))
    check_catalog(extended)  # nothing is kept twice, no held-out class is elsewhere, every usable image has a split
    kept = earlier["excluded"] == ""
    held = earlier["split"] == "heldout_species"
    key, splits = extended["class_key"], extended["split"].where(extended["excluded"] == "")
    assert set(splits[key.isin(earlier["class_key"][kept & held])].dropna()) <= {"heldout_species"}
    assert "heldout_species" not in set(splits[key.isin(earlier["class_key"][kept & ~held])])
    # twice is once
    pd.testing.assert_frame_equal(curate(both, split, extended), extended)


@settings(max_examples=15, deadline=None)
@given(
    rows(["s", "t"], NAMES, range(18)),
    rows(["u", "v"], ["new one", "new two", "new three", "new four"], range(18, 36)),
    FRACTIONS,
)
def test_a_source_of_other_classes_moves_nothing_anyway(old, new, split):
    alone = curate(build(old), split)
    both = curate(build([*old, *new]), split)  # of text as pandas has it, which is another where there are no rows
    pd.testing.assert_frame_equal(decisions(both, alone), decisions(alone, alone), check_dtype=False)


def test_shared_classes_move_images_unless_the_catalog_extends():
    split = SplitConfig(heldout_fraction=0.3)
    old = simple_catalog({f"c{i}": 5 for i in range(10)}, "s")
    both = pd.concat([old, simple_catalog({f"c{i}": 5 for i in range(5, 20)}, "t")], ignore_index=True)
    earlier = assign_splits(old, split)
    assert not decisions(assign_splits(both, split), old).equals(decisions(earlier, old))
    extended = assign_splits(both, split, earlier)
    assert decisions(extended, old).equals(decisions(earlier, old))
    held = extended[extended["split"] == "heldout_species"]
    new = [f"c{i}" for i in range(10, 20)]
    assert held.loc[held["verbatim_name"].isin(new), "verbatim_name"].nunique() == 3  # of the new classes alone


def test_the_earlier_copy_is_kept_though_the_new_one_is_larger_or_comes_first():
    old = build([("z", "Aus bus", f"d{i:02d}", "") for i in (0, 3, 6)])
    for digest, reason in (("d00", "duplicate of"), ("d01", "near duplicate of")):
        both = build([*[("z", "Aus bus", f"d{i:02d}", "") for i in (0, 3, 6)], ("a", "Aus bus", digest, "")])
        both.loc[3, "width"] = 4_000
        found = curate(both, SplitConfig(), curate(old, SplitConfig()))
        assert found["excluded"].tolist() == ["", "", "", f"{reason} {old['image_id'][0]}"]


def test_a_new_copy_under_another_name_is_excluded_alone():
    table = [("s", "Aus bus", "d00", ""), ("s", "Aus cus", "d03", "")]
    earlier = curate(build(table), SplitConfig())
    found = curate(build([*table, ("t", "Aus cus", "d00", "")]), SplitConfig(), earlier)
    assert found["excluded"].tolist() == ["", "", "duplicate with conflicting names"]


def test_a_new_copy_of_an_image_with_conflicting_names_is_excluded():
    table = [("s", "Aus bus", "d00", ""), ("s", "Aus cus", "d00", ""), ("s", "Aus bus", "d03", "")]
    earlier = curate(build(table), SplitConfig())
    found = curate(build([*table, ("t", "Aus bus", "d00", "")]), SplitConfig(), earlier)
    assert found["excluded"].tolist() == [*["duplicate with conflicting names"] * 2, "", earlier["excluded"][0]]


def test_an_image_that_could_not_be_read_then_is_new_and_one_that_cannot_now_is_excluded():
    then = [("s", "Aus bus", "d00", "truncated"), ("s", "Aus bus", "d03", ""), ("s", "Aus cus", "d06", "")]
    now = [("s", "Aus bus", "d00", ""), ("s", "Aus bus", "d03", "truncated"), ("s", "Aus cus", "d06", "")]
    found = curate(build(now), SplitConfig(), curate(build(then), SplitConfig()))
    assert found["excluded"].tolist() == ["", "truncated", ""]
    assert found["split"].tolist() == ["train", "", "train"]


def test_a_class_stays_held_out_though_its_earlier_images_are_gone():
    split = SplitConfig(heldout_fraction=0.5)
    earlier = assign_splits(simple_catalog({f"c{i}": 4 for i in range(6)}), split)
    held = set(earlier.loc[earlier["split"] == "heldout_species", "verbatim_name"])
    rest = earlier[~earlier["verbatim_name"].isin(held)].assign(split="")
    new = simple_catalog({name: 4 for name in [*held, "x", "y"]}, "t")
    found = assign_splits(pd.concat([rest, new], ignore_index=True), split, earlier)
    kept_out = set(found.loc[found["split"] == "heldout_species", "verbatim_name"])
    assert len(held) == 3 and kept_out > held and len(kept_out - held) == 1


def test_other_photographs_and_classes_that_now_join_are_refused():
    split = SplitConfig(heldout_fraction=0.5)
    catalog = simple_catalog({f"c{i}": 4 for i in range(4)})
    earlier = assign_splits(catalog, split)
    with pytest.raises(InputError, match="none of them is here; give the earlier photographs and the new"):
        match_earlier(simple_catalog({"e0": 4}, "elsewhere"), earlier)
    with pytest.raises(InputError, match=r"1 classes join names .* held out and trained on: one"):
        assign_splits(catalog.assign(class_key="one"), split, earlier)


def test_the_earlier_catalog_goes_before_published_splits():
    earlier = simple_catalog({"a": 2, "b": 2}).assign(split=["heldout_species"] * 2 + ["train", "test"])
    new = simple_catalog({"a": 1, "b": 1, "c": 1}, "t").assign(split=["train", "heldout_species", "val"])
    found = assign_splits(pd.concat([earlier.assign(split=""), new], ignore_index=True), SplitConfig(), earlier)
    assert found["split"].tolist() == [*earlier["split"], "heldout_species", "test", "val"]
