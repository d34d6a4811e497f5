"""How files take their names: whole, for good, beside no leftovers; and who may write."""

import contextlib
import errno
import json
import os
import subprocess
import sys
import time

import pytest

from bioclip_lib.config import load_config
from bioclip_lib.errors import InputError
from bioclip_lib.run import (
    REPOSITORY,
    atomic,
    full_disk_named,
    is_whole,
    lock,
    locked,
    open_run,
    remove_left,
    stages,
    write_json,
    writing,
)

NOTEBOOK = REPOSITORY / "notebooks" / "03_training.ipynb"
HOLD = """
import sys
from bioclip_lib.run import locked
from pathlib import Path
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_atomic_leaves_the_old_file_when_writing_fails(tmp_path):
    write_json(tmp_path / "a.json", {"old": 1})
    with pytest.raises(OSError, match="disk"), atomic(tmp_path / "a.json") as tmp:
        tmp.write_text("half")
        raise OSError("disk full")
    assert json.loads((tmp_path / "a.json").read_text()) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("in_one_step", [True, False])
def test_atomic_replaces_a_directory(tmp_path, monkeypatch, in_one_step):
    if not in_one_step:
        monkeypatch.setattr(writing.ctypes, "CDLL", lambda _: None)
        monkeypatch.setattr(writing.sys, "platform", "other")
    for content in ("one", "two"):
        with atomic(tmp_path / "d") as tmp:
            tmp.mkdir()
            (tmp / content).write_text(content)
    assert [p.name for p in (tmp_path / "d").iterdir()] == ["two"] and len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(not sys.platform.startswith(("linux", "darwin")), reason="the system exchanges no folders")
def test_a_folder_is_replaced_without_a_moment_in_which_none_stands(tmp_path, monkeypatch):
    (tmp_path / "d").mkdir()
    monkeypatch.setattr(writing.os, "rename", lambda *_: pytest.fail("two steps"))
    with atomic(tmp_path / "d") as tmp:
        tmp.mkdir()
        (tmp / "new").touch()
    assert (tmp_path / "d" / "new").exists()


def test_what_has_its_name_was_brought_to_the_disk_before_and_after(tmp_path, monkeypatch):
    done, sync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(writing.os, "fsync", lambda n: (done.append(os.readlink(f"/proc/self/fd/{n}")), sync(n)))
    monkeypatch.setattr(writing.os, "replace", lambda a, b: (done.append("renamed"), replace(a, b)))
    with atomic(tmp_path / "a") as tmp:
        tmp.write_text("1")
    assert done == [str(tmp), "renamed", str(tmp_path)]


def test_leftovers_of_dead_processes_are_removed_and_those_of_living_ones_stay(tmp_path):
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    dead = int(gone.stdout)
    (tmp_path / f".a.json.{dead}-17.tmp").write_text("half")
    (tmp_path / f".model.{dead}-17.tmp").mkdir()
    (tmp_path / f".b.json.{os.getpid()}-17.tmp").write_text("half")  # of another process that had this number
    (tmp_path / f".shards.{dead}-17.old").mkdir()  # killed between the two steps of an exchange
    own = tmp_path / f".c.json.{writing.identity(os.getpid())}.tmp"
    own.write_text("being written")
    afar, long_ago = (tmp_path / f".{name}.json.{dead}-17-otherone.tmp" for name in "de")  # of another machine
    for path, mtime in ((afar, time.time() - 3_600), (long_ago, time.time() - 90_000)):
        path.write_text("being written?")
        os.utime(path, (mtime, mtime))
    (tmp_path / ".hidden.txt").touch()
    remove_left(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([".hidden.txt", own.name, afar.name, "shards"])


def test_a_run_has_one_writer_and_the_second_hears_of_the_first(tmp_path):
    run = open_run(tmp_path / "run", load_config("smoke"))
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=rf"is being written \(process {holder.pid} on .*RUN="), locked(run.root):
            pass
        with pytest.raises(InputError, match="is being written"):
            open_run(run.root, load_config("smoke"))
        holder.kill()
    with locked(run.root):
        open_run(run.root, load_config("smoke"))  # the own lock is no obstacle


def test_a_run_is_not_free_before_what_a_killed_command_had_started_has_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "_WAIT_S", 0)
    start = "import subprocess, sys; kernel = subprocess.Popen(['sleep', '60']); print(kernel.pid, flush=True)\n    "
    code, root = HOLD.replace('print("held", flush=True)', start), tmp_path / "a:b"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        kernel = int(holder.stdout.readline())
        holder.kill()
    try:
        with pytest.raises(InputError, match=f"a killed command had started; end process {kernel}$"), locked(root):
            pass
    finally:
        os.kill(kernel, 9)
    with locked(root):
        pass


def test_where_a_folder_has_no_locks_the_file_is_believed(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    root, me = tmp_path / "run", writing.identity(os.getpid())
    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    with locked(root):
        pass
    for process, machine, is_held in [(me, "here", True), (f"{os.getpid()}-1", "here", False), ("1-1", "afar", True)]:
        monkeypatch.setattr(lock.platform, "node", lambda: "here")
        (root / ".lock").write_text(json.dumps({"process": process, "machine": machine, "since": "noon"}))
        refused = pytest.raises(InputError, match=f"on {machine} since noon") if is_held else contextlib.nullcontext()
        with refused, locked(root):
            pass


def test_a_full_disk_is_named_whoever_writes(tmp_path):
    for error in (OSError(28, "No space left on device"), RuntimeError("I/O error: file too large (os error 27)")):
        with pytest.raises(InputError, match="disk full while writing"), full_disk_named(tmp_path / "a"):
            raise error
    with pytest.raises(OSError, match="denied"), full_disk_named(tmp_path / "a"):
        raise OSError(13, "denied")


def test_what_is_written_in_a_run_is_known_by_its_digest(tmp_path):
    run = open_run(tmp_path / "run", load_config("smoke"))
    for content in ("one", "two"):
        with atomic(run.metrics_csv) as tmp:
            tmp.write_text(content)
        assert is_whole(run.metrics_csv)
    run.metrics_csv.write_text("twO")
    assert not is_whole(run.metrics_csv)
    with atomic(run.model) as tmp:
        tmp.mkdir()
        (tmp / "weights").write_bytes(b"1")
    assert is_whole(run.model / "weights")
    (run.model / "weights").write_bytes(b"2")
    assert not is_whole(run.model / "weights")
    (tmp_path / "elsewhere").write_text("anything")
    assert is_whole(tmp_path / "elsewhere"), "no manifest speaks of it"


def test_a_file_that_a_killed_process_was_about_to_replace_is_whole(tmp_path, monkeypatch):
    run = open_run(tmp_path / "run", load_config("smoke"))
    write_json(run.root / "a.json", {"old": 1})

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(writing.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_json(run.root / "a.json", {"new": 1})
    assert is_whole(run.root / "a.json")


@pytest.mark.parametrize("content", ["", "{", '{"profile": "smoke"}'])
def test_a_damaged_configuration_is_written_again_where_it_is_the_same(tmp_path, content):
    run = open_run(tmp_path / "run", load_config("smoke"))
    whole = run.config_json.read_bytes()
    run.catalog.touch()
    run.config_json.write_text(content)
    with pytest.raises(InputError, match=r"config\.json is damaged; give the settings"):
        open_run(run.root, load_config("smoke", {"train.steps": 61}))
    open_run(run.root, load_config("smoke"))
    assert run.config_json.read_bytes() == whole


def test_another_configuration_is_refused_with_the_way_back(tmp_path):
    run = open_run(tmp_path / "run", load_config("smoke"))
    run.catalog.touch()
    with pytest.raises(InputError, match=r"train.steps: 60 there, 61 wanted\); give RUN= alone to go on with its own"):
        open_run(run.root, load_config("smoke", {"train.steps": 61}))
    stages.finish(
        run.root, stages.stage_of(NOTEBOOK, json.loads(run.config_json.read_text()), ""), stages.begin(run.root)
    )
    run.config_json.write_text(run.config_json.read_text().replace('"steps": 60', '"steps": 61'))
    with pytest.raises(InputError, match=r"60 there, 61 wanted.*; undo the change of config.json"):
        open_run(run.root, load_config("", run_dir=str(run.root)))
