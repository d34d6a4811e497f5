"""Members of archives: random access in every format, and every way in which an archive can be hostile or broken."""

import gzip
import io
import os
import random
import stat
import struct
import tarfile
import threading
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from bioclip_lib.files import archives, gzips, zips
from bioclip_lib.files.archives import open_archive, open_member, read_member, split_location
from bioclip_lib.files.images import ImageError, open_image, read_bytes
from bioclip_lib.files.members import ArchiveError
from bioclip_lib.run.workers import map_threads

NAMES = ("a.tar", "a.tar.gz", "a.tgz", "a.zip")
LIMIT = 2**20


def contents(n: int, size: int = 3000, seed: int = 0) -> dict[str, bytes]:
    rng = np.random.default_rng(seed)
    return {f"d/{i:04d}.jpg": rng.bytes(int(rng.integers(1, size))) for i in range(n)}


def write_archive(path: Path, files: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name, data in files.items():
                file.writestr(name, data)
    else:
        with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as file:
            for name, data in files.items():
                file.addfile(tar_info(name, len(data)), io.BytesIO(data))
    return path


def tar_info(name: str, size: int = 0, **fields) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def problems(path: Path) -> dict[str, str]:
    return {name: member.problem for name, member in open_archive(path).members.items()}


@pytest.mark.parametrize("name", NAMES)
def test_each_member_is_read_in_any_order_and_by_several_threads(tmp_path, name, monkeypatch):
    monkeypatch.setattr(gzips, "MIN_SPACING_BYTES", 2**16)
    monkeypatch.setattr(gzips, "MAX_CHECKPOINTS", 4)
    files = contents(300) | {"empty.jpg": b"", "täöü.jpg": b"x", "long/" + 30 * "name/" + "1.jpg": b"long"}
    path = write_archive(tmp_path / name, files)
    archive = open_archive(path)
    assert list(archive.members) == list(files) and archive.damage == ""
    assert set(problems(path).values()) == {""}
    order = list(files) + random.Random(0).sample(list(files), len(files))
    read = map_threads(lambda key: (key, read_member(path, key, LIMIT)), order, workers=4)
    assert all(data == files[key] for key, data in read)


@pytest.mark.parametrize("name", NAMES)
def test_a_member_is_read_as_a_stream(tmp_path, name):
    files = {"a.txt": b"".join(b"%d\n" % i for i in range(100_000)), "b.txt": b""}
    path = write_archive(tmp_path / name, files)
    with open_member(path, "a.txt") as file:
        assert file.readline() == b"0\n" and file.read(3) == b"1\n2" and file.read() == files["a.txt"][5:]
    with open_member(path, "b.txt") as file:
        assert file.read() == b""
    with pytest.raises(ArchiveError, match="not in the archive"):
        open_member(path, "c.txt")


def test_a_gzip_of_several_streams_and_trailing_zeros(tmp_path):
    files = contents(20)
    data = write_archive(tmp_path / "a.tar", files).read_bytes()
    parts = b"".join(gzip.compress(data[i : i + 5000]) for i in range(0, len(data), 5000))
    (tmp_path / "b.tar.gz").write_bytes(parts + bytes(1000))
    assert all(read_member(tmp_path / "b.tar.gz", name, LIMIT) == data for name, data in files.items())


def test_memory_of_checkpoints_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(gzips, "MIN_SPACING_BYTES", 2**15)
    monkeypatch.setattr(gzips, "MAX_CHECKPOINTS", 8)
    path = write_archive(tmp_path / "a.tar.gz", contents(400, 20_000))
    with gzips.GzipPass(path) as decoded:
        decoded.seek(10**9)
        assert decoded.read(1) == b""
    places = [place for place, _, _ in decoded.checkpoints]
    assert 4 <= len(places) <= 8 and places == sorted(set(places))


def test_an_index_is_built_once_for_all_threads_and_again_after_a_change(tmp_path, monkeypatch):
    built = []
    made = archives.Archive
    monkeypatch.setattr(archives, "Archive", lambda path: built.append(path) or made(path))
    path = write_archive(tmp_path / "a.tar", {"x": b"1"})
    threads = [threading.Thread(target=open_archive, args=(path,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1
    write_archive(path, {"x": b"2"})
    os.utime(path, ns=(1, 1))
    assert read_member(path, "x", LIMIT) == b"2" and len(built) == 2


def test_an_archive_is_read_while_another_is_indexed(tmp_path, monkeypatch):
    slow, path = (write_archive(tmp_path / name, {"x": b"1"}) for name in ("slow.tar", "a.tar"))
    made, begun, go_on = archives.Archive, threading.Event(), threading.Event()

    def waiting(path):
        if path == slow:
            begun.set()
            go_on.wait()
        return made(path)

    monkeypatch.setattr(archives, "Archive", waiting)
    indexing = threading.Thread(target=open_archive, args=(slow,), daemon=True)
    reading = threading.Thread(target=read_member, args=(path, "x", LIMIT), daemon=True)
    indexing.start()
    begun.wait()
    reading.start()
    reading.join(30)
    waits = reading.is_alive()
    go_on.set()
    indexing.join()
    assert not waits


@pytest.mark.parametrize("name", NAMES)
def test_names_that_leave_the_archive_are_members_with_a_problem(tmp_path, name):
    bad = ["../x.jpg", "/etc/passwd", "a/../../x.jpg", "..\\x.jpg", "C:/x.jpg"]
    path = write_archive(tmp_path / name, {key: b"x" for key in [*bad, "a..b/x.jpg"]})
    assert sorted(problems(path).values()) == ["", *["member name leaves the archive"] * 5]
    for key, problem in problems(path).items():
        if problem:
            with pytest.raises(ArchiveError, match="leaves the archive"):
                read_member(path, key, LIMIT)
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz"])
def test_links_and_devices_in_a_tar_are_not_followed(tmp_path, name):
    with tarfile.open(tmp_path / name, "w" if name == "a.tar" else "w:gz") as file:
        file.addfile(tar_info("soft.jpg", type=tarfile.SYMTYPE, linkname="/etc/passwd"))
        file.addfile(tar_info("hard.jpg", type=tarfile.LNKTYPE, linkname="ok.jpg"))
        file.addfile(tar_info("zero.jpg", type=tarfile.CHRTYPE, devmajor=1, devminor=5))
        file.addfile(tar_info("pipe.jpg", type=tarfile.FIFOTYPE))
        file.addfile(tar_info("folder", type=tarfile.DIRTYPE))
        file.addfile(tar_info("ok.jpg", 1), io.BytesIO(b"x"))
    link, odd = "link inside an archive, not followed", "not a regular file in the archive"
    assert problems(tmp_path / name) == {
        "soft.jpg": link, "hard.jpg": link, "zero.jpg": odd, "pipe.jpg": odd, "ok.jpg": ""
    }  # fmt: skip


def test_links_encryption_and_odd_methods_in_a_zip(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file:
        for name, mode in (("link.jpg", stat.S_IFLNK), ("pipe.jpg", stat.S_IFIFO), ("ok.jpg", stat.S_IFREG)):
            info = zipfile.ZipInfo(name)
            info.external_attr = (mode | 0o644) << 16
            file.writestr(info, b"x")
        file.writestr("lzma.jpg", b"lzma", zipfile.ZIP_LZMA)
        file.writestr("bzip2.jpg", b"bzip2", zipfile.ZIP_BZIP2)
        file.writestr("odd.jpg", b"x")
        file.writestr("secret.jpg", b"x")
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\1\2") + 8] |= 1  # the directory's flags of the last member
    data[data.rindex(b"PK\1\2", 0, data.rindex(b"PK\1\2")) + 10] = 99  # and the method of the last but one
    path.write_bytes(data)
    assert problems(path) == {
        "link.jpg": "link inside an archive, not followed",
        "pipe.jpg": "not a regular file in the archive",
        "ok.jpg": "",
        "lzma.jpg": "",
        "bzip2.jpg": "",
        "odd.jpg": "compression method 99 is not supported",
        "secret.jpg": "encrypted",
    }
    assert [read_member(path, f"{name}.jpg", LIMIT) for name in ("lzma", "bzip2")] == [b"lzma", b"bzip2"]


@pytest.mark.parametrize("name", NAMES)
def test_a_member_over_the_limit_is_not_read(tmp_path, name):
    path = write_archive(tmp_path / name, {"big.jpg": bytes(5000), "ok.jpg": b"x"})
    with pytest.raises(ArchiveError, match="member of"):
        read_member(path, "big.jpg", 4999)
    assert read_member(path, "ok.jpg", 4999) == b"x"


def test_bombs_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(zips, "_MIN_BOMB_BYTES", 10**5)
    monkeypatch.setattr(gzips, "MIN_BOMB_BYTES", 10**5)
    noise = np.random.default_rng(0).bytes(10**5)
    files = {"ok.jpg": b"x", "noise.jpg": noise, "bomb.jpg": bytes(10**8), "after.jpg": b"x"}
    path = write_archive(tmp_path / "a.zip", files)
    assert problems(path)["bomb.jpg"].startswith("expands more than 100 times") and problems(path)["after.jpg"] == ""
    path = write_archive(tmp_path / "a.tar.gz", files)
    assert "decompression bomb" in open_archive(path).damage
    assert problems(path)["ok.jpg"] == "" and "after.jpg" not in problems(path)


def test_a_zip_that_lies_about_a_size_gives_at_most_that_size(tmp_path):
    path = write_archive(tmp_path / "a.zip", {"x.jpg": bytes(10**6)})
    data = bytearray(path.read_bytes())
    struct.pack_into("<L", data, data.rindex(b"PK\1\2") + 24, 10)
    path.write_bytes(data)
    open_archive(path)
    tracemalloc.start()
    with pytest.raises(ArchiveError, match="checksum"):
        read_member(path, "x.jpg", LIMIT)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200_000


def test_a_changed_byte_in_a_zip_is_found(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file:  # stored
        file.writestr("x.jpg", b"some pixels")
    path.write_bytes(path.read_bytes().replace(b"some pixels", b"same pixels"))
    with pytest.raises(ArchiveError, match="checksum"):
        read_member(path, "x.jpg", LIMIT)


def test_an_index_is_small(tmp_path):
    path = write_archive(tmp_path / "a.tar", {f"{i}.jpg": b"" for i in range(5000)})
    tracemalloc.start()
    open_archive(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5000 * 400  # 200 bytes a member; the TarInfos would take another 350


def test_a_tar_header_of_gigabytes_is_not_read(tmp_path):
    info = tar_info("././@LongLink", 2**33, type=tarfile.GNUTYPE_LONGNAME)
    ok = tar_info("ok.jpg", 1).tobuf() + b"x".ljust(512, b"\0")
    (tmp_path / "a.tar").write_bytes(ok + info.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
    assert problems(tmp_path / "a.tar") == {"ok.jpg": ""}
    assert open_archive(tmp_path / "a.tar").damage.startswith(("tar header of", "tar is damaged"))  # Python 3.14 itself


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("name", NAMES)
def test_members_before_a_truncation_stay(tmp_path, name, share):
    files = contents(50, 30_000)
    data = write_archive(tmp_path / name, files).read_bytes()
    (tmp_path / name).write_bytes(data[: int(share * len(data))])
    archive = open_archive(tmp_path / name)
    assert archive.damage
    usable = [key for key, problem in problems(tmp_path / name).items() if not problem]
    assert usable == list(files)[: len(usable)]
    assert len(usable) >= int(50 * share * 0.9) - 3
    assert all(read_member(tmp_path / name, key, LIMIT) == files[key] for key in usable)
    with pytest.raises(ArchiveError, match=r"not in the archive; |truncated within"):
        read_member(tmp_path / name, "d/0049.jpg", LIMIT)


def test_a_zip_without_its_directory_is_read_from_the_front(tmp_path):
    files = contents(20)
    data = write_archive(tmp_path / "a.zip", files).read_bytes()
    (tmp_path / "a.zip").write_bytes(data[: data.index(b"PK\1\2") + 30])
    assert all(read_member(tmp_path / "a.zip", name, LIMIT) == data for name, data in files.items())
    assert open_archive(tmp_path / "a.zip").damage.startswith("zip is truncated")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(8))
def test_bytes_turned_over_never_crash_the_reader(tmp_path, name, seed):
    rng = np.random.default_rng(seed)
    files = contents(30, 600)
    data = np.frombuffer(write_archive(tmp_path / name, files).read_bytes(), np.uint8).copy()
    places = rng.integers(0, len(data), 20)
    data[places] = rng.integers(0, 256, 20)
    (tmp_path / name).write_bytes(data.tobytes())
    for key in [*open_archive(tmp_path / name).members, *files]:
        try:
            read_member(tmp_path / name, key, LIMIT)
        except ArchiveError as error:
            assert str(error)


def test_a_bad_header_is_not_taken_for_the_end(tmp_path):
    path = write_archive(tmp_path / "a.tar", {f"{i}.jpg": b"x" for i in range(4)})
    data = bytearray(path.read_bytes())
    data[2 * 1024 + 10] ^= 0xFF  # the third header
    path.write_bytes(data)
    assert list(problems(path)) == ["0.jpg", "1.jpg"]
    assert open_archive(path).damage == "tar is damaged (bad header)"


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_archive(tmp_path, name):
    (tmp_path / name).write_bytes(b"<html>404 not found</html>" * 50)
    assert open_archive(tmp_path / name).damage and not problems(tmp_path / name)
    with pytest.raises(ArchiveError, match="archive not found"):
        open_archive(tmp_path / "none.tar")
    (tmp_path / "folder.tar").mkdir()
    with pytest.raises(ArchiveError, match="not a regular file"):
        open_archive(tmp_path / "folder.tar")


def test_a_name_that_comes_twice_is_read_once(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        for data in (b"1", b"2", b"3"):
            file.addfile(tar_info("x.jpg", 1), io.BytesIO(data))
    assert problems(tmp_path / "a.tar") == {
        "x.jpg": "", "x.jpg#2": "second member of this name", "x.jpg#3": "second member of this name"
    }  # fmt: skip
    assert read_member(tmp_path / "a.tar", "x.jpg", LIMIT) == b"1"


def test_names_that_are_not_utf8(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w", encoding="latin-1", format=tarfile.GNU_FORMAT) as file:
        file.addfile(tar_info("café.jpg", 1), io.BytesIO(b"x"))
    assert problems(tmp_path / "a.tar") == {r"caf\xe9.jpg": "member name is not UTF-8"}


@pytest.mark.parametrize("name", NAMES)
def test_images_are_opened_where_they_are(tmp_path, name, write_image):
    image = write_image(tmp_path / "1.jpg")
    path = write_archive(tmp_path / name, {"a::b/1.jpg": image.read_bytes(), "empty.jpg": b"", "no.jpg": b"hello"})
    assert read_bytes(f"{path}::a::b/1.jpg") == image.read_bytes()
    assert open_image(f"{path}::a::b/1.jpg").size == (40, 30)
    for member, reason in (("empty.jpg", "zero bytes"), ("no.jpg", "not an image"), ("x.jpg", "not in the archive")):
        with pytest.raises(ImageError, match=f"^{reason}$"):
            open_image(f"{path}::{member}")
    with pytest.raises(ImageError, match="file not found"):
        read_bytes(tmp_path / "none.tar::x.jpg")


def test_locations_are_split_at_the_archive():
    assert split_location("/a::b/c.TAR::d::e") == ("/a::b/c.TAR", "d::e")
    assert split_location("/a/b.tar") is None and split_location("/a/x.jpg::y.jpg") is None
    assert split_location("a/b.tar.gz::c/d.jpg") == ("a/b.tar.gz", "c/d.jpg")
    assert archives.in_compressed_tar("a.tar.gz::1.jpg")
    assert not archives.in_compressed_tar("a.tar::1.jpg") and not archives.in_compressed_tar("a.zip::1.jpg")


def test_the_reading_order_follows_the_archives(tmp_path):
    files = contents(5)
    first, second = (write_archive(tmp_path / name, files) for name in ("a.tar.gz", "b.zip"))
    locations = [f"{second}::d/0001.jpg", f"{first}::d/0003.jpg", "plain.jpg", f"{first}::d/0000.jpg", f"{first}::x"]
    locations += [f"{second}::d/0000.jpg", "other.jpg", f"{tmp_path}/none.tar::x"]
    assert archives.reading_order(locations) == [2, 6, 4, 3, 1, 5, 0, 7]
