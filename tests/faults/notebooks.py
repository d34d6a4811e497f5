"""Kills of the whole command: ``python -m tests.faults.notebooks`` (profile smoke, all notebooks; 15 minutes).

The command and its kernel are killed at random moments and started again until the run is made; its artefacts, numbers
and page are then those of a run to which nothing happened.
"""

import argparse
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from bioclip_lib.run import REPOSITORY

from .world import artefacts, leftovers


def started(root: Path) -> subprocess.Popen:
    """Start the command on a run, as the leader of a group of its own, so that its kernel dies with it."""
    command = [sys.executable, "-m", "bioclip_lib.reproduce", "--profile", "smoke", "--run", str(root)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=REPOSITORY, start_new_session=True, **pipes)


def killed(root: Path, seconds: float) -> tuple[int | None, str]:
    """Run the command for some seconds; return its exit status, None where it was killed, and what it said."""
    process = started(root)
    try:
        said, _ = process.communicate(timeout=seconds)
        return process.returncode, said
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        return None, process.communicate()[0]


def numbers(root: Path) -> pd.DataFrame:
    """Return the rows of metrics.csv without what differs from run to run: its name and the seconds."""
    return pd.read_csv(root / "metrics.csv").drop(columns=["run", "seconds", "git_commit"], errors="ignore")


def main(argv: list[str] | None = None) -> int:
    """Kill the command, make the run, compare; return 0 if nothing is lost."""
    parser = argparse.ArgumentParser("python -m tests.faults.notebooks", description="Kill the whole command.")
    for name, default in (("kills", 40), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args(argv)
    rng, struck = np.random.default_rng(args.seed), Counter()
    with tempfile.TemporaryDirectory() as folder:
        whole, run = Path(folder, "whole", "run"), Path(folder, "killed", "run")
        status, said = killed(whole, 3600)
        lost = [f"without a kill: {status}: {said[-500:]}"] if status else []
        for i in range(args.kills):
            status, said = killed(run, rng.uniform(2, 20))
            if status is not None:
                lost += [f"start {i}: {status}: {said[-500:]}"] if status else []
                break
            struck[(re.findall(r"^\[\d+/\d+\] (\w+)", said, re.M) or ["before a notebook"])[-1]] += 1
        status, said = killed(run, 3600)
        lost += [f"the last start: {status}: {said[-500:]}"] if status else []
        wanted, found = artefacts(whole), artefacts(run)
        lost += [f"another {name}" for name in wanted if found.get(name) != wanted[name] and name != "metrics.csv"]
        lost += [] if numbers(run).equals(numbers(whole)) else ["other numbers"]
        lost += [f"{left} is left" for left in leftovers(run)]
        lost += [] if (run / "index.html").is_file() else ["no page"]
    where = ", ".join(f"{n} after {stage}" for stage, n in sorted(struck.items()))
    sys.stdout.write(
        "\n".join([f"SIGKILL of the command ({where}): {struck.total()} tried, {len(lost)} lost", *lost, ""])
    )
    return int(bool(lost))


if __name__ == "__main__":
    sys.exit(main())
