"""Make the blocks of README.md anew: ``python -m speed.readme streaming`` runs its command and keeps what it prints.

A block begins with the line ``<!-- python -m speed.streaming -->`` and ends with ``<!-- end -->``; above what the
command prints stand the commit, the day and the machine. Without names all blocks are made anew, one after the other.
"""

import argparse
import datetime
import os
import platform
import re
import shlex
import subprocess
import sys
from pathlib import Path

from bioclip_lib.run import git_commit

README = Path(__file__).with_name("README.md")
BLOCK = re.compile(r"<!-- python -m (?P<command>\S[^\n]*) -->\n(?P<body>.*?)<!-- end -->", re.DOTALL)


def machine():
    """Return one line that says where and when: the commit, the day, the processor and its instructions."""
    import torch

    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    name = next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.processor())
    flags = next((line for line in lines if line.startswith("flags")), "")
    bf16 = "with bf16" if "avx512_bf16" in flags or "amx_bf16" in flags else "no bf16"
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    day = datetime.date.today().isoformat()
    kind = f"{name} ({torch.backends.cpu.get_cpu_capability()}, {bf16}){gpu}, {os.cpu_count()} processors"
    return f"`{git_commit()}`, {day}, {kind}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def printed_by(command):
    """Run ``python -m command``; return what it prints."""
    done = subprocess.run([sys.executable, "-m", *shlex.split(command)], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def renew(text, names):
    """Return the text with the blocks of these scripts made anew; no names: all blocks."""

    def made(block):
        script = block["command"].split()[0].removeprefix("speed.")
        if names and script not in names:
            return block[0]
        print(block["command"], file=sys.stderr, flush=True)
        body = f"{machine()}\n\n{printed_by(block['command']).strip()}"
        return f"<!-- python -m {block['command']} -->\n{body}\n<!-- end -->"

    return BLOCK.sub(made, text)


def main(argv=None):
    """Write README.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="of scripts, as streaming; speed stands for `make bench`")
    README.write_text(renew(README.read_text(encoding="utf-8"), parser.parse_args(argv).names), encoding="utf-8")


if __name__ == "__main__":
    main()
