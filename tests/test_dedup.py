"""Inspection of real files, and exact duplicates."""

import shutil
from hashlib import sha256

import pandas as pd
import pytest

from bioclip_lib.catalog import build_catalog
from bioclip_lib.dedup import inspect_images, mark_exact_duplicates
from bioclip_lib.sources import read_image_folder


def test_inspection_of_good_files(image_folder):
    raw = read_image_folder(image_folder)
    found = inspect_images(raw)
    assert len(found) == len(raw) and found.index.equals(raw.index)
    assert set(found["problem"]) == {""} and found["phash"].str.fullmatch("[0-9a-f]{16}").all()
    assert found["width"].tolist() == [40 + 5 * int(name[-5]) for name in raw["source_id"]]
    assert set(found["height"]) == {30}
    with open(raw["location"][3], "rb") as file:
        assert found["sha256"][3] == sha256(file.read()).hexdigest()


def test_bad_files_keep_their_row_and_get_a_reason(tmp_path, write_image):
    folder = tmp_path / "s" / "a"
    good = write_image(folder / "1.jpg", size=(300, 200)).read_bytes()
    (folder / "2.jpg").write_bytes(good[: len(good) // 2])
    (folder / "3.jpg").write_bytes(b"")
    (folder / "4.jpg").write_bytes(b"not a picture")
    (folder / "5.txt").write_text("notes")
    (folder / "6.jpg").symlink_to("/etc/hostname")
    raw = read_image_folder(tmp_path / "s")
    raw.loc[len(raw)] = ["s", "a/7.jpg", str(folder / "7.jpg"), "a", ""]
    found = inspect_images(raw)
    assert found["problem"].tolist() == [
        *("", "truncated", "zero bytes", "not an image", "not an image"),
        *("link that leaves the folder, not followed", "file not found"),
    ]
    assert found["width"].tolist() == [300, 0, 0, 0, 0, 0, 0]
    assert (found["sha256"] != "").tolist() == [True, True, False, True, True, False, False]


def test_the_number_of_threads_changes_nothing_and_progress_sees_every_row(image_folder):
    raw = read_image_folder(image_folder)
    seen = []

    def progress(rows, total, **_):
        assert total == len(raw)
        for row in rows:
            seen.append(row)
            yield row

    pd.testing.assert_frame_equal(inspect_images(raw, workers=1), inspect_images(raw, workers=4, progress=progress))
    assert len(seen) == len(raw)


def test_an_empty_table_is_inspected():
    raw = pd.DataFrame(columns=["source", "source_id", "location", "verbatim_name", "problem"], dtype=object)
    assert inspect_images(raw).empty


def test_of_equal_files_of_one_class_the_first_is_kept(tmp_path, write_image, resolve):
    first = write_image(tmp_path / "s" / "Parus major" / "1.jpg")
    write_image(tmp_path / "s" / "Acer rubrum" / "1.jpg", seed=1)
    shutil.copy(first, first.with_name("2.jpg"))
    shutil.copy(first, first.with_name("3.jpg"))
    raw = read_image_folder(tmp_path / "s")
    catalog = mark_exact_duplicates(build_catalog(raw, resolve(raw), inspect_images(raw)))
    birds = catalog[catalog["verbatim_name"] == "Parus major"].sort_values("image_id")
    kept = birds["image_id"].iloc[0]
    assert birds["excluded"].tolist() == ["", f"duplicate of {kept}", f"duplicate of {kept}"]
    assert catalog.loc[catalog["verbatim_name"] == "Acer rubrum", "excluded"].tolist() == [""]


def test_a_file_under_two_names_is_excluded_everywhere(catalog):
    twins = catalog.copy()
    twins.loc[[0, 25], "sha256"] = "same"
    assert twins.loc[0, "verbatim_name"] != twins.loc[25, "verbatim_name"]
    marked = mark_exact_duplicates(twins)
    assert marked.index[marked["excluded"] == "duplicate with conflicting names"].tolist() == [0, 25]
    assert (marked["excluded"] != "").sum() == 2


def test_two_names_of_one_species_do_not_conflict(catalog):
    twins = catalog.copy()
    twins.loc[[0, 1], "sha256"] = "same"
    twins.loc[1, "verbatim_name"] = "Acer rubrum L."
    assert mark_exact_duplicates(twins)["excluded"].str.match("duplicate of").sum() == 1


def test_excluded_images_are_not_what_others_duplicate(catalog):
    twins = catalog.copy()
    twins.loc[[0, 1], "sha256"] = "same"
    twins.loc[0, "excluded"] = "no name"
    marked = mark_exact_duplicates(twins)
    assert marked["excluded"][:2].tolist() == ["no name", ""]


def test_marking_does_not_depend_on_the_order_of_rows_and_twice_is_once(catalog):
    twins = catalog.assign(sha256=[f"{i % 7}" for i in range(len(catalog))])
    marked = mark_exact_duplicates(twins)
    shuffled = mark_exact_duplicates(twins.sample(frac=1, random_state=1)).sort_index()
    pd.testing.assert_frame_equal(marked, shuffled)
    pd.testing.assert_frame_equal(marked, mark_exact_duplicates(marked))


@pytest.mark.parametrize("name", ["birds100", "leaves40"])
def test_real_photographs_are_all_readable(photos, name):
    raw = read_image_folder(photos / name).iloc[::10]
    assert set(inspect_images(raw)["problem"]) == {""}
