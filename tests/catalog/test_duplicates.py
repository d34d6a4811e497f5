"""Inspection of real files, exact and near duplicates."""

import shutil
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bioclip_lib.catalog.assembly import build, join
from bioclip_lib.catalog.duplicates import (
    describe_images,
    find_near_conflicts,
    find_near_images,
    inspect_images,
    mark_exact_duplicates,
    mark_near_duplicates,
)
from bioclip_lib.catalog.looks import from_hex, perceptual_hashes, to_hex
from bioclip_lib.catalog.table import drop_summary, name_classes
from bioclip_lib.config import load_config
from bioclip_lib.errors import InputError
from bioclip_lib.files.gzips import GzipReader
from bioclip_lib.run.workers import map_threads
from bioclip_lib.sources.folders import read_image_folder
from tests.conftest import LINEAGES


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
    assert (found["phash"] != "").tolist() == [True, False, False, False, False, False, False]


def test_the_number_of_threads_changes_nothing(image_folder):
    raw = read_image_folder(image_folder)
    pd.testing.assert_frame_equal(
        inspect_images(raw, mapper=partial(map_threads, workers=1)),
        inspect_images(raw, mapper=partial(map_threads, workers=4)),
    )


def test_archives_are_inspected_from_front_to_end_and_rows_stay_aligned(tmp_path, jpeg, write_archive, monkeypatch):
    files = {f"{i}.jpg": jpeg(i) for i in range(12)}
    paths = [str(write_archive(tmp_path / f"{i}.tar.gz", files)) for i in range(2)]
    order = np.random.default_rng(0).permutation(24)
    raw = pd.DataFrame({"location": [f"{paths[i % 2]}::{i // 2}.jpg" for i in order], "problem": ""}, index=order)
    (tmp_path / "plain.jpg").write_bytes(files["5.jpg"])
    raw.loc[99] = [str(tmp_path / "plain.jpg"), ""]
    raw.loc[100] = [f"{paths[0]}::7.jpg", "no name"]
    reads, read = [], GzipReader.read
    monkeypatch.setattr(
        GzipReader, "read", lambda self, place, size: reads.append((str(self._path), place)) or read(self, place, size)
    )
    found = inspect_images(raw, mapper=partial(map_threads, workers=1))
    assert len(reads) == 24 and reads == sorted(reads) and found.index.equals(raw.index)
    expected = [sha256(files[f"{i // 2}.jpg"]).hexdigest() for i in order]
    assert found["sha256"].tolist() == [*expected, expected[list(order).index(10)], ""]
    assert found.loc[100, "problem"] == "no name" and found["width"].tolist() == [16] * 25 + [0]


def test_an_empty_table_is_inspected():
    raw = pd.DataFrame(columns=["source", "source_id", "location", "verbatim_name", "problem"], dtype=object)
    assert inspect_images(raw).empty


def test_of_equal_files_of_one_class_the_first_is_kept(tmp_path, write_image, resolve):
    first = write_image(tmp_path / "s" / "Parus major" / "1.jpg")
    write_image(tmp_path / "s" / "Acer rubrum" / "1.jpg", seed=1)
    shutil.copy(first, first.with_name("2.jpg"))
    shutil.copy(first, first.with_name("3.jpg"))
    raw = read_image_folder(tmp_path / "s")
    catalog = mark_exact_duplicates(join(raw, resolve(raw), inspect_images(raw)))
    birds = catalog[catalog["verbatim_name"] == "Parus major"].sort_values("image_id")
    kept = birds["image_id"].iloc[0]
    assert birds["excluded"].tolist() == ["", f"duplicate of {kept}", f"duplicate of {kept}"]
    assert catalog.loc[catalog["verbatim_name"] == "Acer rubrum", "excluded"].tolist() == [""]


@pytest.mark.parametrize(("others", "lost"), [(["to sort"], ["to sort"]), (["to sort", "Acer rubrum"], "all")])
def test_a_copy_in_a_folder_that_names_no_taxon_loses(tmp_path, write_image, resolve, others, lost):
    first = write_image(tmp_path / "s" / "Parus major" / "1.jpg")
    for i, name in enumerate([*LINEAGES, "to sort", "misc"]):
        for j in range(2):  # and others
            write_image(tmp_path / "s" / name / f"{j}_other.jpg", seed=10 * i + j + 1)
    for name in others:
        shutil.copy(first, tmp_path / "s" / name / "copy.jpg")
    raw = read_image_folder(tmp_path / "s")
    config = load_config("photos", {"data.photos": str(tmp_path / "s"), "split.min_images": 1})
    table = build(raw, resolve(raw).assign(reason=""), inspect_images(raw), config).table.set_index("source_id")
    dropped = table.loc[table["excluded"] != "", "excluded"]
    if lost == "all":  # two taxa: one of the names is wrong
        assert len(dropped) == 3 and set(dropped) == {"duplicate with conflicting names"}
    else:
        assert dropped.to_dict() == {"to sort/copy.jpg": f"duplicate of {table.loc['Parus major/1.jpg', 'image_id']}"}


def test_a_folder_that_names_no_taxon_may_hold_nothing_but_copies(tmp_path, write_image, resolve):
    for i, name in enumerate(LINEAGES):
        for j in range(4):
            write_image(tmp_path / "s" / name / f"{j}.jpg", seed=10 * i + j)
    (tmp_path / "s" / "misc").mkdir()
    for j in range(2):
        shutil.copy(tmp_path / "s" / "Parus major" / f"{j}.jpg", tmp_path / "s" / "misc" / f"{j}.jpg")
    raw, config = read_image_folder(tmp_path / "s"), load_config("photos", {"data.photos": str(tmp_path / "s")})
    table = build(raw, resolve(raw).assign(reason=""), inspect_images(raw), config).table
    assert config.split.min_images == 2 and set(table.loc[table["excluded"] != "", "verbatim_name"]) == {"misc"}
    shutil.copy(tmp_path / "s" / "Parus major" / "0.jpg", tmp_path / "s" / "Parus major" / "again.jpg")
    for j in range(4):  # a named class that loses all its images is still refused
        shutil.copy(tmp_path / "s" / "Parus major" / f"{j}.jpg", tmp_path / "s" / "Acer rubrum" / f"{j}.jpg")
    raw = read_image_folder(tmp_path / "s")
    with pytest.raises(InputError, match=r"fewer than 2 usable images: 'Acer rubrum' \(0\), 'Parus major' \(0\)"):
        build(raw, resolve(raw).assign(reason=""), inspect_images(raw), config)


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
    assert name_classes(twins)[:2].tolist() == ["Acer rubrum"] * 2
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


def test_the_perceptual_hash_is_that_of_the_upright_grey_pixels(tmp_path, write_image):
    path = write_image(tmp_path / "s" / "a" / "1.png", size=(300, 200))
    with Image.open(path) as image:
        expected = to_hex(perceptual_hashes(np.asarray(image.convert("L"))[None]))
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned by 90 degrees clockwise
        image.transpose(Image.Transpose.ROTATE_90).save(path.with_name("2.png"), exif=exif)
    found = inspect_images(read_image_folder(tmp_path / "s"))
    assert found["phash"].tolist() == 2 * expected and found["sha256"].nunique() == 2


def flip(digits: str, n_bits: int) -> str:
    """Change the lowest bits of a perceptual hash."""
    return to_hex(from_hex([digits]) ^ np.uint64(2**n_bits - 1))[0]


def test_of_copies_the_largest_is_kept_within_and_across_sources(tmp_path, write_image, resolve):
    original = write_image(tmp_path / "a" / "Parus major" / "1.png", size=(400, 300))
    write_image(tmp_path / "a" / "Acer rubrum" / "1.jpg", seed=1)
    (tmp_path / "b" / "Parus major").mkdir(parents=True)
    with Image.open(original) as image:
        image.resize((200, 150)).save(tmp_path / "a" / "Parus major" / "small.jpg", quality=60)
        image.resize((320, 240)).save(tmp_path / "b" / "Parus major" / "medium.webp", quality=60)
    raw = pd.concat([read_image_folder(tmp_path / name) for name in ("a", "b")], ignore_index=True)
    catalog = join(raw, resolve(raw), inspect_images(raw))
    assert set(mark_exact_duplicates(catalog)["excluded"]) == {""}
    marked = mark_near_duplicates(catalog).set_index("source_id", drop=False)
    kept = marked.loc["Parus major/1.png", "image_id"]
    assert marked["excluded"].to_dict() == {
        "Acer rubrum/1.jpg": "",
        "Parus major/1.png": "",
        "Parus major/small.jpg": f"near duplicate of {kept}",
        "Parus major/medium.webp": f"near duplicate of {kept}",
    }
    assert drop_summary(marked)["reason"].tolist() == ["near duplicate of a kept image"]


def test_images_of_equal_size_are_kept_by_their_id_and_chains_are_followed(catalog):
    chain = catalog.copy()
    chain[["width", "height"]] = 50
    kept = chain["image_id"][:3].min()
    for n_bits, n_excluded in ((2, 2), (3, 0)):
        chain.loc[[1, 2], "phash"] = [flip(chain["phash"][0], n) for n in (n_bits, 2 * n_bits)]
        marked = mark_near_duplicates(chain)
        assert (marked["excluded"] == f"near duplicate of {kept}").sum() == n_excluded
        assert (marked["excluded"] != "").sum() == n_excluded


def test_near_images_under_two_names_are_kept_once_a_class_and_listed(catalog):
    twins = catalog.copy()
    twins.loc[[1, 25], "phash"] = flip(twins["phash"][0], 2)
    twins[["width", "height"]] = 50
    marked = mark_near_duplicates(twins)
    first = twins["image_id"][:2].min()
    assert marked.loc[marked["excluded"] != "", "excluded"].tolist() == [f"near duplicate of {first}"]
    conflicts = find_near_conflicts(twins)
    assert conflicts["class_key"].tolist() == ["Acer rubrum", "Acer rubrum", "Parus major"]
    assert conflicts["source_id"].tolist() == twins.loc[[0, 1, 25], "source_id"].tolist()
    assert conflicts["group"].tolist() == [0, 0, 0] and find_near_conflicts(catalog).empty


def test_near_duplicates_of_excluded_images_and_flat_images_are_kept(catalog):
    table = catalog.copy()
    table.loc[[0, 1], "phash"] = table["phash"][0]
    table.loc[0, ["excluded", "phash"]] = ["truncated", ""]
    table.loc[5:8, "phash"] = "0" * 16
    pd.testing.assert_frame_equal(mark_near_duplicates(table), table)


def test_near_marking_does_not_depend_on_the_order_of_rows_and_twice_is_once(catalog):
    rng = np.random.default_rng(0)
    table = catalog.copy()
    table["phash"] = [flip(table["phash"][10 * (i // 10) + i % 3], rng.integers(3)) for i in range(len(table))]
    marked = mark_near_duplicates(table)
    assert (marked["excluded"] != "").sum() == 4 * 7  # three chains in each of four classes
    for seed in range(3):
        shuffled = mark_near_duplicates(table.sample(frac=1, random_state=seed)).sort_index()
        pd.testing.assert_frame_equal(marked, shuffled)
    pd.testing.assert_frame_equal(marked, mark_near_duplicates(marked))


@pytest.fixture
def look_alikes(tmp_path, resolve) -> pd.DataFrame:
    """Two specimens of one outline and other markings, a copy of each, and a copy under another name."""
    y, x = np.mgrid[:120, :160]
    outline = 220 - 150 * np.exp(-((((x - 70) / 40) ** 2 + ((y - 55) / 25) ** 2) ** 2))
    outline += 0.3 * x - 0.2 * y - 60 * np.exp(-(((x - 120) / 25) ** 2 + ((y - 90) / 18) ** 2))
    (tmp_path / "s" / "Parus major").mkdir(parents=True)
    (tmp_path / "s" / "Acer rubrum").mkdir()
    for seed in (1, 2):
        spots = np.random.default_rng(seed).integers(-1, 2, (15, 20)) * (outline[::8, ::8] < 150)
        pixels = outline + 12 * np.kron(spots, np.ones((8, 8)))
        image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).convert("RGB")
        image.save(tmp_path / "s" / "Parus major" / f"{seed}.png")
        image.resize((120, 90)).save(tmp_path / "s" / "Parus major" / f"{seed}_small.jpg", quality=60)
    image.resize((100, 75)).save(tmp_path / "s" / "Acer rubrum" / "2_copy.jpg", quality=75)
    raw = read_image_folder(tmp_path / "s")
    catalog = join(raw, resolve(raw), inspect_images(raw))
    assert np.bitwise_count(np.bitwise_xor.outer(*2 * [from_hex(catalog["phash"].tolist())])).max() <= 2
    return catalog


def read_details(catalog):
    return describe_images(catalog.loc[find_near_images(catalog).index])


def test_specimens_of_one_outline_are_told_apart_by_their_details(look_alikes):
    ids = look_alikes.set_index("source_id")["image_id"]
    by_hash = mark_near_duplicates(look_alikes)
    assert (by_hash["excluded"] != "").sum() == 3
    details = read_details(look_alikes)
    assert details.shape == (5, 513) and np.allclose(np.linalg.norm(details, axis=1), 1, atol=1e-6)
    marked = mark_near_duplicates(look_alikes, details=details)
    assert marked.set_index("source_id")["excluded"].to_dict() == {
        "Acer rubrum/2_copy.jpg": "",
        "Parus major/1.png": "",
        "Parus major/1_small.jpg": f"near duplicate of {ids['Parus major/1.png']}",
        "Parus major/2.png": "",
        "Parus major/2_small.jpg": f"near duplicate of {ids['Parus major/2.png']}",
    }
    conflicts = find_near_conflicts(marked, details=details)
    assert conflicts["source_id"].tolist() == ["Acer rubrum/2_copy.jpg", "Parus major/2.png"]
    assert len(find_near_conflicts(by_hash)) == 2  # the one kept, whichever it is, and the leaf
    shuffled = mark_near_duplicates(look_alikes.sample(frac=1, random_state=1), details=details).sort_index()
    pd.testing.assert_frame_equal(shuffled, marked)


def test_details_of_other_images_and_images_that_are_gone_are_refused(look_alikes):
    details = read_details(look_alikes)
    with pytest.raises(InputError, match="read them again"):
        mark_near_duplicates(look_alikes, details=details.iloc[1:])
    location = look_alikes["location"][2]
    Path(location).unlink()
    with pytest.raises(InputError, match=rf"{location}: file not found; inspect the images again"):
        read_details(look_alikes)


def test_most_real_plankton_of_near_hashes_is_freed(photos, resolve):
    raw = read_image_folder(photos / "plankton111")
    raw = raw[raw["verbatim_name"].isin(sorted(raw["verbatim_name"].unique())[:40])].reset_index(drop=True)
    catalog = mark_exact_duplicates(join(raw, resolve(raw), inspect_images(raw)))
    counts = []
    for details in (None, read_details(catalog)):
        marked = mark_near_duplicates(catalog, details=details)
        n_marked = marked["excluded"].str.startswith("near").sum()
        counts.append(n_marked + len(find_near_conflicts(catalog, details=details)))
    assert counts[0] > 25 and counts[1] <= 3


def test_images_that_were_not_hashed_are_refused(catalog):
    with pytest.raises(InputError, match="inspect the images again"):
        mark_near_duplicates(catalog.assign(phash=""))
