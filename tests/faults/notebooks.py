"""Strikes at the whole command: ``python -m tests.faults.notebooks`` (profile smoke, all notebooks; half an hour).

While each notebook is executed the command, its kernel or both are killed, or it is asked to stop, at a random moment,
and started again at once. The run is then what one is to which nothing happened.
"""

import argparse
import contextlib
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import psutil

from bioclip_lib.run import REPOSITORY

from .world import artefacts, leftovers

COMMAND = (sys.executable, "-u", "-m", "bioclip_lib.reproduce", "--profile", "smoke", "--run")
STRIKES = {
    **{"SIGKILL of the command": {-9}, "SIGKILL of the kernel": {1}, "SIGKILL of both, the kernel first": {-9, 1}},
    "SIGTERM": {130, -15},
}
PASSING = re.compile(r"seconds|_s$|^data_wait$|^run$|commit|location")  # columns of what differs from run to run


class Strikes:
    """A run that is struck; counts of the strikes, and what was lost."""

    def __init__(self, root: Path, seconds: dict[str, float], seed: int) -> None:
        self.root, self.seconds, self.names = root, seconds, list(seconds)
        self.rng, self.struck, self.lost = np.random.default_rng(seed), Counter(), []

    def strike(self, number: int, kind: str) -> None:
        """Start the command, strike while a notebook is executed, and take what it says."""
        log, what = self.root.with_suffix(".txt"), f"{self.names[number]}, {kind}"
        with open(log, "w") as file:
            process = psutil.Popen([*COMMAND, str(self.root)], cwd=REPOSITORY, stdout=file, stderr=file)
        while number and process.poll() is None and f"[{number}/{len(self.names)}]" not in log.read_text():
            time.sleep(0.05)
        with contextlib.suppress(psutil.TimeoutExpired):
            process.wait(self.rng.uniform(0, 1.2 * self.seconds[self.names[number]]))
        if process.poll() is None:
            self.struck[kind] += 1
            status = self._struck(process, kind, log)
            if status not in STRIKES[kind] | {0}:
                self.lost.append(f"{what}: ended with {status}: {log.read_text()[-500:]}")
        if "Traceback" in log.read_text():
            self.lost.append(f"{what}: {log.read_text()[-1500:]}")
        sys.stderr.write(f"{what}: {self.struck[kind]}, {len(self.lost)} lost\n")

    def _struck(self, process: psutil.Popen, kind: str, log: Path) -> int | None:
        """Send the signal, to a kernel as soon as there is one; return how the command ends, None if it does not."""
        kernels, n_done = [], log.read_text().count(" s\n")
        while "kernel" in kind and process.poll() is None and not kernels:
            with contextlib.suppress(psutil.Error):
                kernels = [one for one in process.children() if "ipykernel_launcher" in one.cmdline()]
        with contextlib.suppress(psutil.NoSuchProcess):
            for one in [*kernels, *[process] * (kind != "SIGKILL of the kernel")]:
                one.send_signal(signal.SIGTERM if kind == "SIGTERM" else signal.SIGKILL)
        with contextlib.suppress(psutil.TimeoutExpired):
            return process.wait(120)
        process.kill()
        process.wait()
        return 0 if log.read_text().count(" s\n") > n_done else None  # a kernel that had ended its work is not missed


def ended(root: Path, *options: str) -> tuple[int, str]:
    """Run the command to its end; return its exit status and what it said."""
    done = subprocess.run([*COMMAND, str(root), *options], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def numbers(root: Path) -> dict[str, pd.DataFrame]:
    """Return the tables of a run, without what differs from run to run."""
    tables = {path.name: pd.read_csv(path) for path in [root / "metrics.csv", *root.glob("tables/*.csv")]}
    return {name: table[[key for key in table if not PASSING.search(key)]] for name, table in tables.items()}


def compared(whole: Path, run: Path) -> list[str]:
    """Say in what a run differs from one to which nothing happened."""
    wanted, found = artefacts(whole), artefacts(run)
    lost = [f"another {name}" for name in wanted if found.get(name) != wanted[name] and name != "metrics.csv"]
    tables, others = numbers(whole), numbers(run)
    lost += [
        f"other numbers in {name}" for name in tables if name not in others or not tables[name].equals(others[name])
    ]
    lost += [f"{left} is left" for left in leftovers(run)]
    places = [{str(path.relative_to(root)) for path in root.rglob("*")} for root in (whole, run)]
    return lost + [f"{name} is in one of them alone" for name in sorted(places[0] ^ places[1]) if ".lock" not in name]


def main(argv: list[str] | None = None) -> int:
    """Strike, make the run, compare; return 0 if nothing is lost."""
    parser = argparse.ArgumentParser("python -m tests.faults.notebooks", description="Strike at the whole command.")
    parser.add_argument("--strikes", type=int, default=4, help="a notebook (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        whole, run = Path(folder, "whole", "run"), Path(folder, "struck", "run")
        run.parent.mkdir()
        status, said = ended(whole)
        seconds = {name: float(s) for name, s in re.findall(r"^\[\d+/\d+\] (\w+): (\d+) s$", said, re.M)}
        strikes = Strikes(run, seconds, args.seed)
        for number in range(len(seconds)):
            for i in range(args.strikes):
                strikes.strike(number, list(STRIKES)[(number + i) % len(STRIKES)])
        ends = [(status, said), ended(run), ended(run, "--check=all")]
        lost = strikes.lost + [f"ended with {status}: {said[-500:]}" for status, said in ends if status]
        lost += compared(whole, run)
    lines = [f"| {kind}, all notebooks | {n} | {len(lost)} |" for kind, n in strikes.struck.items()]
    sys.stdout.write("\n".join([*lines, *(f"- {line}" for line in lost), ""]))
    return int(bool(lost))


if __name__ == "__main__":
    sys.exit(main())
