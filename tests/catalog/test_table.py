"""The image table: conservation of rows, splits, and each way to break the contract."""

import re
import subprocess
import sys
from hashlib import sha256

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bioclip_lib import RANKS
from bioclip_lib.catalog import table
from bioclip_lib.catalog.assembly import join
from bioclip_lib.catalog.checks import check_classes, check_input, find_synonym_classes
from bioclip_lib.catalog.duplicates import mark_exact_duplicates
from bioclip_lib.catalog.licences import exclude_licenses
from bioclip_lib.catalog.splits import assign_splits, published_splits
from bioclip_lib.catalog.table import COLUMNS, check_catalog, drop_summary, image_ids, read_catalog, write_catalog
from bioclip_lib.config import Config, DataConfig, SplitConfig
from bioclip_lib.errors import InputError

SPECIES = ["Aus bus", "Aus cus", "Dus eus", "Fus gus"]
RESOLVED = COLUMNS[COLUMNS.index(RANKS[0]) : COLUMNS.index("license")]
NAMES = [*SPECIES, "Aus bus L.", "eggs type A", "eggs_type_B", ""]


def hex_digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def one_pixel_images(texts: str) -> pd.DataFrame:
    digests = [hex_digest(text) for text in texts]
    return pd.DataFrame({"sha256": digests, "phash": "0" * 16, "width": 1, "height": 1, "problem": ""})


def make_catalog(rows: list[tuple[str, str, str, str]]) -> pd.DataFrame:
    """Build a catalog of (source, name, digest, problem) rows; names of `SPECIES` (without author) resolve."""
    raw = pd.DataFrame(
        [(source, f"{name}/{i}.jpg", f"/x/{i}.jpg", name) for i, (source, name, _, _) in enumerate(rows)],
        columns=["source", "source_id", "location", "verbatim_name"],
    )
    images = pd.DataFrame({"sha256": [hex_digest(r[2]) for r in rows], "problem": [r[3] for r in rows]})
    images[["width", "height"]] = np.where(images[["problem"]] == "", [[40, 30]], 0)
    images["phash"] = np.where(images["problem"] == "", "0" * 16, "")
    resolved = raw[["source", "verbatim_name"]].drop_duplicates(ignore_index=True).astype(object)
    for column in ("context", *RESOLVED):
        resolved[column] = ""
    resolved["name_status"] = "unresolved"
    for i, name in resolved["verbatim_name"].items():
        species = name.removesuffix(" L.")
        if species in SPECIES:
            genus, epithet = species.split()
            wanted = {"genus": genus, "species": epithet, "scientific_name": species, "rank": "species"}
            resolved.loc[i, list(wanted)] = list(wanted.values())
            resolved.loc[i, "name_status"] = "accepted"
    return join(raw, resolved, images)


def simple_catalog(sizes: dict[str, int], source: str = "s") -> pd.DataFrame:
    """Build a catalog of unique, usable images, n per class name."""
    rows = [(source, name, f"{source}{name}{i}", "") for name, n in sizes.items() for i in range(n)]
    return make_catalog(rows)


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["s1", "s2", "s3"]),
        st.sampled_from(NAMES),
        st.sampled_from([f"digest{i}" for i in range(40)]),
        st.sampled_from(["", "", "", "", "truncated"]),
    ),
    max_size=60,
)
FRACTIONS = st.builds(
    SplitConfig,
    val_fraction=st.floats(0, 0.4),
    test_fraction=st.floats(0, 0.5),
    heldout_fraction=st.floats(0, 0.9),
    seed=st.integers(0, 5),
)


@settings(max_examples=40, deadline=None)
@given(ROWS, FRACTIONS, st.integers(0, 2**32 - 1))
def test_laws_of_the_pipeline(rows, split, seed):
    catalog = assign_splits(mark_exact_duplicates(make_catalog(rows)), split)
    check_catalog(catalog)
    assert len(catalog) == len(rows) and tuple(catalog.columns) == COLUMNS
    assert catalog["verbatim_name"].tolist() == [name for _, name, _, _ in rows]
    # the order of the rows decides nothing
    order = np.random.default_rng(seed).permutation(len(rows))
    shuffled = assign_splits(mark_exact_duplicates(make_catalog(rows).iloc[order]), split).sort_index()
    pd.testing.assert_frame_equal(catalog, shuffled)
    # a held-out class is nowhere else, and each source and class that is not held out is trained on
    kept = catalog[catalog["excluded"] == ""]
    splits = kept.groupby("class_key")["split"].agg(set)
    assert all(found == {"heldout_species"} for found in splits if "heldout_species" in found)
    seen = kept[kept["split"] != "heldout_species"]
    for _, images in seen.groupby(["source", "class_key"])["split"]:
        n, counts = len(images), images.value_counts()
        assert counts["train"] >= 1
        n_test = min(max(round(split.test_fraction * n), int(n >= 3 and split.test_fraction > 0)), n - 1)
        assert counts.get("test", 0) == n_test
        assert counts.get("val", 0) == min(round(split.val_fraction * n), n - 1 - n_test)


def test_the_catalog_holds_what_it_was_given(catalog, image_folder):
    assert tuple(catalog.columns) == COLUMNS and len(catalog) == 40
    row = catalog[catalog["source_id"] == "Parus major/3.jpg"].iloc[0]
    assert [row[rank] for rank in RANKS] == "Animalia Chordata Aves Passeriformes Paridae Parus major".split()
    assert (row["common_name"], row["rank"], row["width"], row["height"]) == ("great tit", "species", 55, 30)
    assert row["location"] == str(image_folder / "Parus major" / "3.jpg")
    assert re.fullmatch("[0-9a-f]{16}", row["image_id"])
    assert set(catalog["split"]) == set(catalog["excluded"]) == {""}


def test_image_ids_are_stable_and_tell_sources_apart():
    assert image_ids(["birds100"], ["Blue_Jay/0001.jpg"]).tolist() == [0xB7C2076156848191]
    keys = [(f"s{i}", f"a/{j}.jpg") for i in range(10) for j in range(1000)]
    assert len(set(image_ids(*zip(*keys, strict=True)).tolist())) == 10_000


def test_licences_of_the_source_are_carried():
    raw = pd.DataFrame({"source": ["s"], "source_id": ["a"], "location": ["/a"], "verbatim_name": ["x"]})
    images = one_pixel_images("d")
    resolved = make_catalog([("s", "x", "d", "")])[["source", "verbatim_name", *RESOLVED]]
    resolved["context"] = "kingdom Animalia"
    built = join(raw.assign(license="CC0", kingdom="Animalia"), resolved, images).iloc[0]
    assert (built["license"], built["rights_holder"], built["kingdom"]) == ("CC0", "", "")


def test_one_name_in_two_contexts_is_two_taxa():
    raw = pd.DataFrame({"source": "s", "source_id": ["a", "b", "c"], "location": ["/a", "/b", "/c"]})
    raw = raw.assign(verbatim_name="Aus", kingdom=["Plantae", "Animalia", "Plantae"])
    images = one_pixel_images("abc")
    resolved = pd.DataFrame({"source": "s", "verbatim_name": "Aus", "context": ["kingdom Animalia", "kingdom Plantae"]})
    blank = dict.fromkeys(RESOLVED, "")
    resolved = resolved.assign(**{**blank, "name_status": "accepted", "rank": "genus", "genus": "Aus"})
    resolved["kingdom"] = ["Animalia", "Plantae"]
    built = join(raw, resolved, images)
    assert built["kingdom"].tolist() == ["Plantae", "Animalia", "Plantae"]
    assert built["class_key"].tolist() == ["Aus (Plantae)", "Aus (Animalia)", "Aus (Plantae)"]


def test_tables_that_do_not_match_are_refused(catalog):
    raw = catalog[["source", "source_id", "location", "verbatim_name"]]
    images = catalog.assign(problem="")
    catalog = catalog.assign(context="")
    with pytest.raises(ValueError, match="40 raw rows, 39 inspected"):
        join(raw, catalog.drop_duplicates("verbatim_name"), images.iloc[1:])
    with pytest.raises(ValueError, match=r"resolved once; missing: .*'Parus ater'.*'copepod eggs'"):
        join(raw, catalog.drop_duplicates("verbatim_name").iloc[:1], images)
    with pytest.raises(ValueError, match="resolved once"):
        join(raw, catalog, images)


def test_classes_are_species_or_cleaned_labels():
    catalog = make_catalog([("s", name, "d", "") for name in NAMES])
    assert catalog["class_key"].tolist() == [*SPECIES, "Aus bus", "eggs type A", "eggs type B", ""]


def test_split_sizes_by_hand():
    catalog = assign_splits(
        simple_catalog({"Aus bus": 20, "Aus cus": 3, "Dus eus": 2, "x": 1}),
        SplitConfig(val_fraction=0.1, test_fraction=0.2, heldout_fraction=0),
    )
    counts = catalog.groupby(["verbatim_name", "split"]).size().unstack(fill_value=0)
    assert counts[["train", "val", "test"]].to_dict("index") == {
        "Aus bus": {"train": 14, "val": 2, "test": 4},
        "Aus cus": {"train": 2, "val": 0, "test": 1},
        "Dus eus": {"train": 2, "val": 0, "test": 0},
        "x": {"train": 1, "val": 0, "test": 0},
    }


def test_a_share_of_the_classes_of_each_source_is_held_out():
    tables = [simple_catalog({f"{source} {i}": 2 for i in range(n)}, source) for source, n in (("a", 10), ("b", 25))]
    catalog = assign_splits(pd.concat(tables, ignore_index=True), SplitConfig(heldout_fraction=0.2))
    heldout = catalog[catalog["split"] == "heldout_species"]
    assert heldout.groupby("source")["verbatim_name"].nunique().to_dict() == {"a": 2, "b": 5}


def test_every_setting_of_the_split_matters():
    catalog = simple_catalog({f"c{i}": 20 for i in range(10)})
    base = assign_splits(catalog, SplitConfig())["split"]
    for change in ({"val_fraction": 0.3}, {"test_fraction": 0.4}, {"heldout_fraction": 0.5}, {"seed": 1}):
        assert not base.equals(assign_splits(catalog, SplitConfig(**change))["split"]), change


def test_a_new_image_moves_no_held_out_class_and_no_other_class():
    before = simple_catalog({f"c{i}": 9 for i in range(10)})
    after = simple_catalog({f"c{i}": 9 + (i == 9) for i in range(10)})
    old, new = (assign_splits(c, SplitConfig()).set_index("image_id")["split"] for c in (before, after))
    others = before.loc[before["verbatim_name"] != "c9", "image_id"]
    assert old[others].equals(new[others])


def test_classes_of_one_image_are_trained_on_never_held_out():
    catalog = assign_splits(simple_catalog({f"c{i}": 1 for i in range(20)}), SplitConfig(heldout_fraction=0.5))
    assert set(catalog["split"]) == {"train"}


def test_the_split_does_not_depend_on_the_hash_seed_of_python():
    code = (
        "import pandas as pd; from bioclip_lib.catalog.splits import *; "
        "t = pd.DataFrame({'source': 's', 'image_id': [f'{i}' for i in range(60)], 'class_key': list('abcdef') * 10}); "
        "print(''.join(name[0] for name in split_images(t, SplitConfig())))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1 and outputs != {b""}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test_fraction": 1.0}, "split.test_fraction is 1; give a number from 0 up, below 1"),
        ({"heldout_fraction": -0.1}, "split.heldout_fraction is -0.1; give a number from 0"),
        ({"val_fraction": 0.5, "test_fraction": 0.5}, "leave nothing to train on"),
    ],
)
def test_impossible_fractions_are_refused(catalog, change, message):
    with pytest.raises(InputError, match=message):
        assign_splits(catalog, SplitConfig(**change))


def test_a_good_catalog_passes(catalog):
    check_input(catalog, DataConfig(), SplitConfig())


def test_too_many_unreadable_files_stop_the_run():
    rows = [("s", SPECIES[i % 2], f"d{i}", "truncated" if i < 3 else "") for i in range(10)]
    catalog = make_catalog(rows)
    with pytest.raises(
        InputError, match=r"3 of 10 files cannot be read: s/Aus bus/0.jpg \(truncated\).*max_unreadable=0.3"
    ):
        check_input(catalog, DataConfig(), SplitConfig())
    check_input(catalog, DataConfig(max_unreadable=0.3), SplitConfig())


def test_duplicates_do_not_count_as_unreadable():
    rows = [("s", SPECIES[i % 2], f"d{i % 4}", "") for i in range(20)]
    check_input(mark_exact_duplicates(make_catalog(rows)), DataConfig(), SplitConfig())


def test_two_names_of_one_species_stop_the_run_unless_merged():
    catalog = simple_catalog({"Aus bus": 3, "Aus bus L.": 3, "Dus eus": 3})
    found = find_synonym_classes(catalog)
    assert found.to_numpy().tolist() == [["s", "Aus bus", ["Aus bus", "Aus bus L."]]]
    message = r"'Aus bus' and 'Aus bus L\.' are both Aus bus \(in s\); merge.*NAMES=.*data.merge_synonyms=true"
    with pytest.raises(InputError, match=message):
        check_input(catalog, DataConfig(), SplitConfig())
    check_input(catalog, DataConfig(merge_synonyms=True), SplitConfig())


def test_one_species_under_two_names_in_two_sources_is_no_conflict():
    catalog = pd.concat([simple_catalog({"Aus bus": 3}, "s"), simple_catalog({"Aus bus L.": 3}, "t")])
    assert find_synonym_classes(catalog).empty


def test_classes_with_too_few_images_stop_the_run():
    catalog = simple_catalog({"Aus bus": 3, "Dus eus": 1, "eggs": 1})
    message = r"2 classes have fewer than 2 usable images: 'Dus eus' \(1\), 'eggs' \(1\); add.*split.min_images=1"
    with pytest.raises(InputError, match=message):
        check_input(catalog, DataConfig(), SplitConfig())
    check_input(catalog, DataConfig(), SplitConfig(min_images=1))


def test_classes_without_a_usable_image_are_named():
    rows = [("s", name, f"{name}{i}", "") for name in ("Aus bus", "Aus cus") for i in range(4)]
    rows += [("s", "Dus eus", "d1", "truncated"), ("s", "Fus gus", "", "class folder without an image")]
    rows += [("s", "Aus bus", "twin", ""), ("s", "eggs", "twin", "")]  # a file under two names
    rows += [("s", "jar", "", "image not in the published archives: get it"), ("s", "", "nameless", "")]
    catalog = mark_exact_duplicates(make_catalog(rows))
    message = r"3 classes have fewer than 2 usable images: 'Dus eus' \(0\), 'Fus gus' \(0\), 'eggs' \(0\); add"
    with pytest.raises(InputError, match=message):
        check_input(catalog, DataConfig(), SplitConfig())
    check_input(catalog, DataConfig(), SplitConfig(min_images=1))
    free = exclude_licenses(make_catalog(rows[:8]).assign(license=["cc0"] * 4 + ["C"] * 4), ["cc0"])
    with pytest.raises(InputError, match=r"1 class with usable images \(left out: .*licence"):  # as asked: not small
        check_input(free, DataConfig(), SplitConfig())


def test_long_lists_are_cut():
    with pytest.raises(InputError, match=r"30 classes.*'c17' \(1\) and 20 more; add"):
        check_input(simple_catalog({f"c{i}": 1 for i in range(30)} | {"x": 9}), DataConfig(), SplitConfig())


def test_one_class_is_not_enough():
    with pytest.raises(InputError, match="1 class with usable images; at least two"):
        check_input(simple_catalog({"Aus bus": 5}), DataConfig(), SplitConfig())


def test_the_summary_counts_every_reason():
    rows = [("s", "Aus bus", f"d{i}", "truncated" if i < 2 else "") for i in range(6)]
    rows += [("s", "Dus eus", "d5", ""), ("s", "Aus bus", "d4", ""), ("s", "Aus cus", "e", "truncated")]
    summary = drop_summary(mark_exact_duplicates(make_catalog(rows))).set_index("reason")
    assert summary["n_images"].to_dict() == {
        "truncated": 3, "duplicate with conflicting names": 2, "duplicate of a kept image": 1
    }  # fmt: skip
    assert summary.loc["truncated", ["n_classes", "example"]].tolist() == [2, "Aus bus/0.jpg"]
    assert drop_summary(simple_catalog({"Aus bus": 2})).empty


@pytest.fixture
def finished(catalog) -> pd.DataFrame:
    return assign_splits(catalog, SplitConfig())


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("image_id", "same", "image_id is not unique"),
        ("width", 0, "no size or digest"),
        ("sha256", "", "no size or digest"),
        ("split", "", "a usable image has no split"),
        ("split", "training", "unknown split"),
        ("excluded", "why", "an excluded image has a split"),
        ("rank", "tribe", "unknown rank"),
        ("name_status", "good", "unknown name_status"),
        ("genus", None, "something else than text"),
        ("taxon_id", 7, "something else than text"),
        ("width", 3.5, "sizes are not integers"),
    ],
)
def test_each_breach_of_the_contract_is_found(finished, column, value, message):
    finished[column] = value
    with pytest.raises(InputError, match=message):
        check_catalog(finished)


def test_leaks_are_found(finished):
    held = finished.index[finished["split"] == "heldout_species"]
    leak = finished.copy()
    leak.loc[held[0], "split"] = "test"
    with pytest.raises(InputError, match="a held-out class has images in another split"):
        check_catalog(leak)
    leak = finished.copy()
    leak.loc[held[:2], "sha256"] = "same"
    with pytest.raises(InputError, match="an image is kept twice"):
        check_catalog(leak)


def test_columns_are_checked(finished):
    with pytest.raises(InputError, match=r"columns \['genus'\]"):
        check_catalog(finished.drop(columns="genus"))
    with pytest.raises(InputError, match="out of order"):
        check_catalog(finished[list(COLUMNS[::-1])])


def test_round_trip(finished, tmp_path):
    finished.loc[0, "verbatim_name"] = "Añil × ‘naïve’ 🐦\n"
    write_catalog(finished, tmp_path / "catalog.parquet")
    pd.testing.assert_frame_equal(read_catalog(tmp_path / "catalog.parquet"), finished)


def test_an_unfinished_catalog_is_not_written(catalog, tmp_path):
    with pytest.raises(InputError, match="no split"):
        write_catalog(catalog, tmp_path / "catalog.parquet")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_catalog_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"does not exist; run make reproduce RUN=.*01_dataset_construction"):
        read_catalog(tmp_path / "catalog.parquet")
    (tmp_path / "catalog.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="is no whole catalog"):
        read_catalog(tmp_path / "catalog.parquet")


# Published splits


def raw_splits(*rows: tuple[str, str]) -> list[str]:
    return published_splits(pd.DataFrame(rows, columns=["source", "source_split"])).tolist()


def test_a_damaged_catalog_says_which_rows_are_lost(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(table, "_GROUP_ROWS", 5)
    path = tmp_path / "catalog.parquet"
    write_catalog(finished, path)
    column = pq.read_metadata(path).row_group(1).column(0)
    data = bytearray(path.read_bytes())
    data[column.data_page_offset + column.total_compressed_size // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=rf"\(rows 5 to 9 of {len(finished)} are lost\); rebuild it"):
        read_catalog(path)


def test_published_splits_in_the_words_of_their_makers():
    assert raw_splits(("eol", "train"), ("eol", "train_small"), ("eol", "val")) == ["train", "train", "val"]
    assert raw_splits(("i", "train_mini"), ("i", "Val"), ("i", ""), ("i", "odd")) == ["train", "val", "", ""]
    assert raw_splits(("b", "pretrain"), ("b", "test_unseen"), ("b", "test")) == ["train", "heldout_species", "test"]
    assert published_splits(pd.DataFrame({"source": ["s"]})).tolist() == [""]


def test_a_source_that_was_never_split_has_no_published_split():
    assert raw_splits(("hub", "train"), ("hub", "train"), ("eol", "train"), ("eol", "val")) == ["", "", "train", "val"]


def test_published_splits_stay_and_the_others_are_decided():
    catalog = pd.concat([simple_catalog({"a": 4, "b": 4}), simple_catalog({"a": 10, "c": 10, "d": 10}, "t")])
    catalog["split"] = ["train", "train", "val", "test", *["val"] * 4, *[""] * 30]
    found = assign_splits(catalog, SplitConfig(heldout_fraction=0.5, val_fraction=0.1, test_fraction=0.2))
    assert found["split"].tolist()[:8] == catalog["split"].tolist()[:8]
    rest = found.iloc[8:].groupby("verbatim_name")["split"].agg(lambda splits: sorted(splits))
    assert rest["a"] == ["test"] * 2 + ["train"] * 7 + ["val"]
    assert sorted([set(rest["c"]) == {"heldout_species"}, set(rest["d"]) == {"heldout_species"}]) == [False, True]


@settings(max_examples=25, deadline=None)
@given(ROWS, FRACTIONS, st.data())
def test_laws_of_published_splits(rows, split, data):
    catalog = make_catalog(rows)
    names = st.sampled_from(["", "", "train", "val", "test", "heldout_species"])
    catalog["split"] = data.draw(st.lists(names, min_size=len(rows), max_size=len(rows)))
    found = assign_splits(mark_exact_duplicates(catalog), split)
    check_catalog(found)
    kept = found["excluded"] == ""
    given_split, key = catalog["split"], catalog["class_key"]
    stays = kept & given_split.isin(["train", "val", "test"])
    assert found["split"][stays].tolist() == given_split[stays].tolist()
    held = kept & (given_split == "heldout_species")
    seen = key.isin(key[stays])
    assert set(found["split"][held & ~seen]) <= {"heldout_species"} and set(found["split"][held & seen]) <= {"test"}


def test_held_out_images_of_a_seen_class_are_tested():
    catalog = simple_catalog({"a": 2, "b": 2}).assign(split=["heldout_species", "train", "heldout_species", ""])
    found = assign_splits(catalog, SplitConfig())
    assert found["split"].tolist() == ["test", "train", "heldout_species", "heldout_species"]


# Files that are missing by design


def test_rows_without_a_file_by_design_do_not_count_as_unreadable():
    absent = ["image not in the published archives: get inat21 from its makers", "listed again, as train_small is"]
    rows = [("s", SPECIES[i % 2], f"d{i}", absent[i % 2] if i < 6 else "") for i in range(10)]
    check_input(make_catalog(rows), DataConfig(max_unreadable=0), SplitConfig())
    rows[9] = (*rows[9][:3], "truncated")
    with pytest.raises(InputError, match=r"1 of 4 files cannot be read: s/Aus cus/9.jpg \(truncated\).*=0.2[56]"):
        check_input(make_catalog(rows), DataConfig(), SplitConfig())


def test_small_classes_are_told_before_an_image_is_read(resolve):
    counts = {"Turdus merula": 1, "Parus major": 3}
    rows = [(f"{name} {i}", name) for name, n in counts.items() for i in range(n)]
    raw = pd.DataFrame(rows, columns=["source_id", "verbatim_name"]).assign(source="s", location="not/there")
    names = resolve(raw)
    with pytest.raises(InputError, match=r"1 classes have fewer than 2 usable images: 'Turdus merula' \(1\)"):
        check_classes(raw, names, Config("photos"))
    check_classes(raw, names, Config("photos", split=SplitConfig(min_images=1)))
    check_classes(raw, names, Config("photos", DataConfig(benchmark="a.parquet")))  # it may take the whole class
    free = raw.assign(license=["all rights reserved", *["CC0-1.0"] * 3])
    check_classes(free, names, Config("photos", DataConfig(licenses=("cc0-1.0",))))  # which nobody asked for
    check_classes(raw.assign(problem=["listed again", "", "", ""]), names, Config("photos"))
    damaged, three = raw.assign(problem=["listed again", "", "", "cut"]), SplitConfig(min_images=3)
    with pytest.raises(InputError, match=r"1 of 3 files cannot be read: s/Parus major 2 \(cut\); .*=0.34"):
        check_classes(damaged, names, Config("photos", split=three))
    with pytest.raises(InputError, match=r"'Parus major' \(2\)"):
        check_classes(damaged, names, Config("photos", DataConfig(max_unreadable=0.34), three))
