"""A short part of `make faults`: a few of each fault, every time."""

import signal
import sys

import pytest

from .__main__ import Suite


@pytest.mark.skipif(sys.platform == "win32", reason="processes are forked")
@pytest.mark.filterwarnings("ignore")
def test_nothing_is_lost(tmp_path):
    suite = Suite(tmp_path, seed=1)
    suite.flips(36)
    suite.signals("SIGKILL", signal.SIGKILL, 3, each=3)
    suite.signals("SIGTERM", signal.SIGTERM, 1, each=1)
    suite.full_disk(1)
    suite.two_at_once(1)
    assert not suite.lost, suite.lost
