"""A short part of `make faults`: a few of each fault, every time."""

import subprocess
import sys

import pytest

from bioclip_lib.run import REPOSITORY


@pytest.mark.skipif(sys.platform == "win32", reason="processes are forked")
def test_nothing_is_lost(tmp_path):
    few = "--kills 3 --terms 1 --disks 1 --flips 36 --others 1 --seed 1 --table".split()
    command = [sys.executable, "-m", "tests.faults", *few, str(tmp_path / "table.md")]  # forked from few threads
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (tmp_path / "table.md").read_text() + done.stderr[-2000:]
