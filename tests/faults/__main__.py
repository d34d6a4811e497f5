"""What a run survives: ``python -m tests.faults`` tries it and writes tests/faults/README.md (`make faults`).

Each fault strikes a process of its own, forked from one that has imported everything, at a random moment; then the run
is made to its end, and its artefacts are compared with those of a run to which nothing happened.
"""

import argparse
import contextlib
import ctypes
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from bioclip_lib import catalog, evaluation
from bioclip_lib.errors import InputError
from bioclip_lib.model import features, load_model
from bioclip_lib.run import Run, open_run, stages
from bioclip_lib.run.manifest import read_manifest
from bioclip_lib.shards.read import load_images
from bioclip_lib.training.checkpoints import list_checkpoints, read_checkpoint

from .world import CONFIG, STAGES, artefacts, leftovers, make, small_parts

README = Path(__file__).with_name("README.md")
MISTAKE = 2  # exit status of an `InputError`


def forked(work: Callable[[], None], log: Path) -> int:
    """Start a function in a process of its own; return its number. It exits with 0, `MISTAKE`, or 1 and a traceback."""
    number = os.fork()
    if number:
        return number
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(out, 1)
    os.dup2(out, 2)
    status = 1
    try:
        work()
        status = 0
    except InputError as error:
        sys.stderr.write(f"error: {error}\n")
        status = MISTAKE
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        sys.stderr.flush()
        os._exit(status)


def ended(number: int) -> int:
    """Wait for a process; return its exit status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


@contextlib.contextmanager
def not_to_be_written(root: Path) -> Iterator[None]:
    """Take the right to write from a folder and all below it, and give it back."""
    paths = [root, *root.rglob("*")]
    modes = [path.stat().st_mode for path in paths]
    for path, mode in zip(paths, modes, strict=True):
        path.chmod(mode & ~0o222)
    try:
        yield
    finally:
        for path, mode in zip(paths, modes, strict=True):
            path.chmod(mode)


def without_rights(work: Callable[[], None]) -> None:
    """Do work as one whom the rights of files bind: root is one who may read all, and write nothing of its own."""
    if os.geteuid() == 0:  # capabilities are given up: CAP_DAC_OVERRIDE would write anywhere
        header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        none[0] = none[1] = 1 << 2  # CAP_DAC_READ_SEARCH stays
        if ctypes.CDLL(None, use_errno=True).capset(header, none):
            raise OSError(ctypes.get_errno(), "capset")
    work()


class Suite:
    """The faults, each a method that returns how many were tried; what is lost is collected in ``lost``."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.rng, self.lost, self.rows = folder, np.random.default_rng(seed), [], []
        self.log = folder / "log.txt"
        small_parts()
        t0 = time.perf_counter()
        self.whole = self.made("whole")
        self.seconds = time.perf_counter() - t0
        self.wanted = self.artefacts(self.whole)

    def made(self, name: str) -> Path:
        """Make a run to its end; what does not end is lost."""
        root = self.folder / name / "run"
        status = ended(forked(lambda: make(root), self.log))
        if status:
            self.lost.append(f"{name}: ended with {status}: {self.log.read_text()[-300:]}")
        return root

    def artefacts(self, root: Path) -> dict[str, str]:
        """Return the digests of a run, read in a process of its own: a fork takes no threads of Arrow's with it."""
        digests = self.folder / "digests.json"
        status = ended(forked(lambda: digests.write_text(json.dumps(artefacts(root))), self.log))
        return json.loads(digests.read_text()) if status == 0 else {}

    def judge(self, name: str) -> None:
        """Make a run to its end and compare it."""
        root = self.made(name)
        found = self.artefacts(root)
        self.lost += [f"{name}: another {key}" for key in self.wanted if found.get(key) != self.wanted[key]]
        self.lost += [f"{name}: {left} is left" for left in leftovers(root)]
        shutil.rmtree(root.parent, ignore_errors=True)

    def report(self, what: str, n: int, before: int) -> None:
        self.rows.append((what, n, len(self.lost) - before))
        sys.stdout.write("\n".join([f"{what}: {n} tried, {len(self.lost) - before} lost", *self.lost[before:], ""]))
        sys.stdout.flush()

    def signals(self, what: str, number: int, n: int, each: int = 5) -> None:
        """Send a signal at random moments, up to `each` times a run."""
        before, struck, runs = len(self.lost), dict.fromkeys(STAGES, 0), 0
        while sum(struck.values()) < n:
            name, runs = f"signal{number}-{runs}", runs + 1
            for _ in range(each):
                child = forked(lambda name=name: make(self.folder / name / "run"), self.log)
                time.sleep(self.rng.uniform(0, self.seconds))
                os.kill(child, number)
                status = ended(child)
                if status == 0:  # it was faster
                    break
                struck[[*STAGES, STAGES[-1]][len(read_manifest(self.folder / name / "run").stages)]] += 1
                if status not in (-number, MISTAKE):
                    self.lost.append(f"{name}: status {status}: {self.log.read_text()[-300:]}")
            self.judge(name)
        where = ", ".join(f"{times} in {stage}" for stage, times in struck.items())
        self.report(f"{what} ({where})", sum(struck.values()), before)

    def full_disk(self, n: int) -> None:
        """Let a process write files up to a random size only: each ends with the message, and is then made."""
        before = len(self.lost)
        for i in range(n):
            limit = int(10 ** self.rng.uniform(3, 6.2))

            def limited(limit: int = limit, i: int = i) -> None:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
                make(self.folder / f"disk{i}" / "run")

            said = self.log.stat().st_size
            status, text = ended(forked(limited, self.folder / f"disk{i}.txt")), said
            text = (self.folder / f"disk{i}.txt").read_text() if status else "disk full"
            if status not in (0, MISTAKE) or "disk full" not in text:
                self.lost.append(f"disk{i} ({limit} bytes): status {status}: {text[-300:]}")
            self.judge(f"disk{i}")
        self.report("disk full (a limit of file size)", n, before)

    def two_at_once(self, n: int) -> None:
        """Start two commands on one run: one makes it, the other hears of it."""
        before = len(self.lost)
        for i in range(n):
            root = self.folder / f"two{i}" / "run"
            children = [forked(lambda root=root: make(root), self.folder / f"two{i}.txt") for _ in range(2)]
            found = sorted(map(ended, children))
            if found not in ([0, 0], [0, MISTAKE]):
                self.lost.append(f"two{i}: {found}")
            self.judge(f"two{i}")
        self.report("two commands at once on one run", n, before)

    def clock(self, n: int) -> None:
        """Set the clock back: what has another time is compared by its bytes, and nothing is made again."""
        before = len(self.lost)
        for i in range(n):
            root = Path(shutil.copytree(self.whole, self.folder / f"clock{i}" / "run"))
            shift_ns = int(self.rng.uniform(1, 1e6)) * 10**9
            for path in root.rglob("*"):
                os.utime(path, ns=(0, path.stat().st_mtime_ns - shift_ns))
            weights = (root / "model" / "open_clip_model.safetensors").stat().st_mtime_ns
            self.made(f"clock{i}")
            if (root / "model" / "open_clip_model.safetensors").stat().st_mtime_ns != weights:
                self.lost.append(f"clock{i}: made again")
            self.judge(f"clock{i}")
        self.report("clock set back", n, before)

    def changed_inputs(self, n: int) -> None:
        """Change, cut or delete an image of the run after the catalog: the shards refuse it by name."""
        before = len(self.lost)
        for i in range(n):
            root = Path(shutil.copytree(self.whole, self.folder / f"input{i}" / "run"))
            images = sorted((root / "raw").rglob("*.jpg"))
            image = images[self.rng.integers(len(images))]
            data = image.read_bytes()
            image.write_bytes([b"", data[: len(data) // 2], images[0].read_bytes() + b"x"][i % 3])
            shutil.rmtree(root / "shards")
            self.judge(f"input{i}")
        self.report("input changed under the run", n, before)

    def read_only(self, n: int) -> None:
        """Take the right to write from the folder of a run, new or half made: one message, and nothing is changed."""
        before = len(self.lost)
        for i in range(n):
            name, log = f"read{i}", self.folder / f"read{i}.txt"
            root = self.folder / name / "run"
            root.mkdir(parents=True)
            if i % 2:
                child = forked(lambda root=root: make(root), self.log)
                time.sleep(self.rng.uniform(0, self.seconds))
                os.kill(child, signal.SIGKILL)
                ended(child)
            with not_to_be_written(root):
                found = {path.name: path.stat().st_mtime_ns for path in root.rglob("*")}
                status, said = ended(forked(lambda root=root: without_rights(lambda: make(root)), log)), log.read_text()
                if status != MISTAKE or "cannot be written" not in said:
                    self.lost.append(f"{name}: status {status}: {said[-300:]}")
                if found != {path.name: path.stat().st_mtime_ns for path in root.rglob("*")}:
                    self.lost.append(f"{name}: changed")
            self.judge(name)
        self.report("read-only folder", n, before)

    def flips(self, n: int) -> None:
        """Flip single bits of all artefacts: each is noticed at reading, or changes nothing that is read."""
        before, log = len(self.lost), self.folder / "flips.json"
        status = ended(forked(lambda: log.write_text(json.dumps(flipped(self.whole, n, self.rng))), self.log))
        found = json.loads(log.read_text()) if status == 0 else {"silent": [f"flips: status {status}"], "counts": {}}
        self.lost += found["silent"]
        for what, (tried, noticed) in found["counts"].items():
            self.rows.append((f"a bit flipped in {what} ({noticed} noticed, the others change nothing)", tried, 0))
        self.report("bits flipped, all artefacts", n, before)


def flipped(root: Path, n: int, rng: np.random.Generator) -> dict:
    """Flip `n` bits, one at a time, spread over the kinds of artefacts; return counts, and what went unseen."""
    run = Run(root)
    readers = readers_of(run)
    counts, silent = {what: [0, 0] for what in readers}, []
    for i in range(n):
        what = list(readers)[i % len(readers)]
        paths, read = readers[what]
        path = paths[rng.integers(len(paths))]
        whole, stat, wanted = path.read_bytes(), path.stat(), read()
        place = int(rng.integers(len(whole)))
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << int(rng.integers(8)))]) + whole[place + 1 :])
        counts[what][0] += 1
        try:
            found = read()
            if found is not None and not same(found, wanted):
                silent.append(f"{path.relative_to(root)}: byte {place}")
            counts[what][1] += found is None
        except InputError:
            counts[what][1] += 1
        except Exception as error:
            silent.append(f"{path.relative_to(root)}: byte {place}: {error!r}")
        path.write_bytes(whole)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    return {"counts": counts, "silent": silent}


def readers_of(run: Run) -> dict[str, tuple[list[Path], Callable]]:
    """Return the files of each kind of artefact, and how the library reads them (None: noticed, and made again)."""
    newest = list_checkpoints(run.checkpoints)[-1]
    settings = torch.load(newest, weights_only=True)["settings"]

    def checkpoint() -> object:
        found = read_checkpoint(run.checkpoints, settings)
        return found if found and found[0] == CONFIG.train.steps else None

    def feature_table() -> object:
        try:
            return features.read_features(run.embeddings / "trained.parquet")[1]
        except InputError:
            return None

    def images() -> object:
        return load_images(run.shards, ["train", "test"], 32)

    def weights() -> object:
        return load_model(f"local-dir:{run.model}").digest

    return {
        "checkpoints": ([newest], checkpoint),
        "features": ([run.embeddings / "trained.parquet"], feature_table),
        "exported weights": (sorted(run.model.glob("open_clip*")), weights),
        "metrics.csv": ([run.metrics_csv], lambda: evaluation.read_metrics(run.metrics_csv)),
        "catalog.parquet": ([run.catalog], lambda: catalog.read_catalog(run.catalog)),
        "tars": (sorted(run.shards.glob("t*/*.tar")), images),
        "index of shards": ([run.shards / "index.json", run.shards / "index.parquet"], images),
        "config.json": ([run.config_json], lambda: open_run(run.root, CONFIG).config_json.read_text()),
        "manifest": ([run.root / "manifest.jsonl"], lambda: bool(stages.damage(run.root)) and None),
    }


def same(one: object, other: object) -> bool:
    """Tell whether two things that were read are equal."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    return one.equals(other) if hasattr(one, "equals") else bool(np.all(one == other))


def main(argv: list[str] | None = None) -> int:
    """Try the faults, write the table; return 0 if nothing is lost."""
    parser = argparse.ArgumentParser("python -m tests.faults", description="Try what a run survives.")
    for name, default in (("kills", 200), ("terms", 20), ("disks", 20), ("flips", 1000), ("others", 9), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--table", default=str(README), help="where the table is written (default: %(default)s)")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        suite = Suite(Path(folder), args.seed)
        suite.flips(args.flips)
        suite.signals("SIGKILL", signal.SIGKILL, args.kills)
        suite.signals("SIGTERM", signal.SIGTERM, args.terms)
        suite.full_disk(args.disks)
        suite.two_at_once(args.others)
        suite.read_only(args.others)
        suite.clock(args.others)
        suite.changed_inputs(args.others)
    lines = [f"| {what} | {n} | {lost} |" for what, n, lost in suite.rows]
    table = "\n".join(["| fault, in a toy run's three stages | tried | lost |", "| --- | ---: | ---: |", *lines])
    text = f"# What a run survives\n\nMade by `make faults` (`python -m tests.faults {' '.join(sys.argv[1:])}`).\n\n"
    text += f"{table}\n" + "".join(f"\n- {line}" for line in suite.lost)
    _, by_line, rest = README.read_text(encoding="utf-8").partition("\n## Line by line")
    Path(args.table).write_text(text + by_line + rest, encoding="utf-8")
    return int(bool(suite.lost))


if __name__ == "__main__":
    sys.exit(main())
