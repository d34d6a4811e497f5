"""How the scripts here measure: ways in turn, a process of its own where memory counts, Markdown tables."""

import argparse
import numbers
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np


def in_turn(ways, n_items, repeats=3, warm_up=False, clock=time.perf_counter):
    """Return the items a second of each way, run by run. Ratios of runs hold on a busy machine too."""
    rates = {name: [] for name in ways}
    for repeat in range(-1 if warm_up else 0, repeats):
        for name, way in ways.items():
            start = clock()
            way()
            if repeat >= 0:
                rates[name].append(n_items / (clock() - start))
    return rates


def rate(way, n_items, repeats=3):
    """Return the median of the items a second of processor time of one way, after a call to warm up."""
    return statistics.median(in_turn({"": way}, n_items, repeats, True, time.process_time)[""])


def in_a_process(module, *arguments):
    """Run a script of this folder in a process of its own; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", f"speed.{module}", *map(str, arguments)], capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"speed.{module} {arguments} failed:\n{done.stderr[-2_000:]}")
    return done.stdout


def peak_mib():
    """Return the highest resident memory of this process so far, in MiB (getrusage would count its parent's)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def print_row(*cells):
    """Print a line of a Markdown table; numbers are rounded to what can be told."""
    print("| " + " | ".join(map(shown, cells)) + " |", flush=True)


def print_head(*columns):
    """Print the head of a Markdown table."""
    print_row(*columns)
    print("| --- " * len(columns) + "|", flush=True)


def print_table(frame):
    """Print a DataFrame as a Markdown table."""
    print_head(*frame.columns)
    for row in frame.itertuples(index=False):
        print_row(*row)


def print_simulations(simulations, about, arguments=None):
    """Print the table of each simulation, a function of a generator and a number of draws: by default its own."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--draws", type=int, help="of each simulation; by default as many as its table needs")
    args = parser.parse_args(arguments)
    for simulation, n_draws in simulations.items():
        n_draws, start = args.draws or n_draws, time.process_time()
        table = simulation(np.random.default_rng(0), n_draws)
        print(f"\n{simulation.__doc__} {n_draws} draws, {time.process_time() - start:.0f} s of processor time.\n")
        print_table(table.round(3))


def shown(cell):
    """Return a cell as text.

    >>> [shown(cell) for cell in ("ours", 12_345, 1234.5, 9.87, 0.0123, True)]
    ['ours', '12,345', '1,234', '9.9', '0.012', 'True']
    """
    if not isinstance(cell, float):
        return f"{cell:,}" if isinstance(cell, numbers.Integral) and not isinstance(cell, bool) else str(cell)
    return f"{cell:,.0f}" if abs(cell) >= 100 else f"{cell:.1f}" if abs(cell) >= 1 else f"{cell:.2g}"
