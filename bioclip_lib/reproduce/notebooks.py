"""The numbered notebooks, run headlessly and in order: each again where what it is made of has changed.

Takes a configuration and a run (see `run.Run`); leaves the executed notebooks, tables and figures there. A notebook is
executed again too where what it made is not there or damaged (`run.stages`); an interrupted run goes on where it
stopped. One command at a time writes a run. Settings and notebook parameters are refused before anything is written.
"""

import ast
import os
import re
import shlex
import shutil
import signal
import stat
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import TextIO

import psutil

from ..config import Config
from ..errors import InputError
from ..run import REPOSITORY, Run, full_disk_named, locked, open_run, remove, stages
from ..run.folder import check_run, run_at
from ..run.workers import BARS
from . import settings  # what reads tables or models is imported where it is needed: a check of a run has a second

FIRST_EVALUATION = "04_"  # from this notebook on, models are asked
NOTEBOOKS = REPOSITORY / "notebooks"
NOTHING_LOST = "stopped; nothing that was finished is lost"
KERNEL = {"kernel_name": "python3", "language": "python"}
QUIET = "--IPKernelApp.log_level=CRITICAL"  # it warns of its own loopback sockets, asyncio of its tasks as it ends
QUIET_END = "--IPKernelApp.exec_lines=import logging; logging.getLogger('asyncio').setLevel('CRITICAL')"
KERNEL |= {"extra_arguments": [QUIET, QUIET_END]}
_WARNED = re.compile(r"(?:bioclip_lib|ipykernel)\S*:\d+: UserWarning: (.+)")  # this library's, or of a cell's own line


def reproduce(config: Config, run_dir: str | Path = "") -> int:
    """Execute the notebooks that are not up to date in a run ('': ``runs/<profile>``); return 0, or 1 if one failed."""
    settings.check_settings(config)
    run = run_at(run_dir, config)
    made = stages_of(config)
    check_run(run, settings.as_written(config))
    with locked(run.root), full_disk_named(run.root):
        run = open_run(run.root, config)
        parameters = {"profile": config.profile, "run_dir": str(run.root), "overrides": settings.changed(config)}
        return execute_stale(run, made, parameters)


def stages_of(config: Config) -> list[stages.Stage]:
    """Return the stages of a configuration, in order: each notebook under what decides it."""
    data, asked = settings.digest_of_training(config), settings.digest_of_evaluation(config)
    written, found = settings.as_written(config), []
    for notebook in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")):
        check_parameters(notebook, {"profile": "", "run_dir": "", "overrides": {}})
        asks = notebook.stem >= FIRST_EVALUATION
        of_stage = written if asks else {**written, "evaluate": {}}
        found.append(stages.stage_of(notebook, of_stage, data + asked * asks))
    return found


def execute_stale(run: Run, made: list[stages.Stage], parameters: dict) -> int:
    """Execute the notebooks of the stages that are not up to date; return 0, or 1 if one failed."""
    from ..evaluation import metrics
    from .page import write_page

    t0, damaged, page = time.time(), stages.damage(run.root), run.root / "index.html"
    n_executed = 0
    kept = stages.give_up(run.root, damaged)
    for name, what in damaged.items():
        aside = f", and what is there now is kept as {kept[name]}" if name in kept else ""
        print(f"{name} is {what}: it is made again{aside}")
    for number, stage in enumerate(made, 1):
        label = f"[{number}/{len(made)}] {stage.name}"
        if not stages.stale(run.root, stage):
            print(f"{label}: up to date")
            continue
        begun = stages.begin(run.root)
        metrics.remove_rows_of(run.metrics_csv, stage.name)
        if not execute(NOTEBOOKS / f"{stage.name}.ipynb", run, parameters, label):
            return 1
        stages.finish(run.root, stage, begun)
        n_executed += 1
    print("\n" + "\n".join(write_page(run) if n_executed or not page.is_file() else [f"open {page}"]))
    print(f"{time.time() - t0:.0f} s")
    return 0


def check(config: Config, run_dir: str | Path = "", by_digest: bool = False) -> int:
    """Say what of a run is missing, damaged or stale, and the one command that mends it; return 0, or 1 if anything is.

    Sizes and times are compared and, where they differ, digests; of all files with `by_digest`.
    """
    run = run_at(run_dir, config)
    is_as_begun = check_run(run, settings.as_written(config))
    damaged = stages.damage(run.root, by_digest)
    found = {stage.name: stages.stale(run.root, stage, damaged) for stage in stages_of(config)}
    for name, why in found.items():
        print(f"{name}: {'; '.join(why) or 'up to date'}")
    if any(found.values()):
        again = f"RUN={shlex.quote(str(run.root))}" if is_as_begun else "with the same RUN=, PROFILE=, PHOTOS= and SET="
        print(f"\nmake reproduce {again}\nmakes these again, and nothing else")
    return int(any(found.values()))


def execute(notebook: Path, run: Run, parameters: dict, label: str) -> bool:
    """Execute one notebook into the run; return whether it succeeded. The copy of a failed one stays for a look."""
    import papermill
    from nbclient.exceptions import DeadKernelError

    t0 = time.time()
    executed, failed = run.notebooks / notebook.name, run.notebooks / f"{notebook.stem}.failed.ipynb"
    run.notebooks.mkdir(exist_ok=True)
    remove(executed)
    line = Line(sys.stderr)
    titles = section_titles(notebook)

    def show(cell: dict, cell_index: int) -> None:
        if stop.asked:  # before there was a kernel to be told
            raise Stopped(NOTHING_LOST)
        line.title = f"{label}: {titles[max(0, cell_index - 1)]}"  # papermill has put in one cell
        line.show(line.title)

    options = {"progress_bar": False, "stderr_file": line, "on_cell_start": show, "coalesce_streams": True}
    os.environ |= {BARS: "1", "PYTHONPATH": own_code_first()}
    try:
        with full_disk_named(failed), Stop() as stop:
            papermill.execute_notebook(notebook, failed, parameters, cwd=NOTEBOOKS, **options, **KERNEL)
    except BaseException as error:
        is_told = isinstance(error, papermill.PapermillExecutionError | DeadKernelError)
        if not is_told and type(error) is not RuntimeError:  # such one is of a kernel that died as it began
            remove(failed)
            raise
        _explain(error, failed, label, stop.asked)
        return False
    os.replace(failed, executed)
    line.show("")
    print(f"{label}: {time.time() - t0:.0f} s", flush=True)
    if stop.asked:
        raise Stopped(f"stopped; {notebook.stem} is finished")
    return True


def own_code_first() -> str:
    """Return PYTHONPATH for kernels that import the library of this command, whichever other one is installed."""
    others = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join([str(REPOSITORY), *(path for path in others if path not in ("", str(REPOSITORY)))])


def _explain(error: Exception, failed: Path, label: str, asked: bool) -> None:
    """Say why a notebook did not end; raise what was asked for, and a mistake in the input."""
    if asked or getattr(error, "ename", "") == "InputError":
        remove(failed)
        print(f"{label}: stopped")
        said = getattr(error, "evalue", "") or NOTHING_LOST
        raise (Stopped if asked else InputError)(said) from None
    if not hasattr(error, "ename"):
        print(f"{label}: its kernel died, maybe for lack of memory ({error}); run again to go on from here")
        return
    print(f"{label}: failed in cell {error.exec_count}: {error.ename}: {error.evalue}\nopen {failed} to see it")


def section_titles(notebook: Path) -> list[str]:
    """Return the heading under which each cell of a notebook stands."""
    title, titles = "", []
    for kind, source, _ in stages.cells_of(notebook):
        lines = source.splitlines() if kind == "markdown" else []
        title = next((text.lstrip("# ") for text in lines[::-1] if text.startswith("#")), title)
        titles.append(title)
    return titles


class Stopped(KeyboardInterrupt):
    """A signal asked the command to stop, and it has; says what was saved."""


class Stop:
    """A context in which a request to stop goes to the kernel, which ends at a safe place: SIGTERM, an interrupt, and
    that the terminal was closed (but under ``nohup``).

    In training that is after the step, with a checkpoint; elsewhere at once. A second request is taken as before.
    """

    asked = False
    _NAMES = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name))

    def __enter__(self) -> "Stop":
        in_main = threading.current_thread() is threading.main_thread()
        heard = [n for n in self._NAMES if in_main and signal.getsignal(n) != signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._forward) for number in heard}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _forward(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        if number not in (signal.SIGTERM, signal.SIGINT):
            _leave_terminal()
        for kernel in psutil.Process().children():
            kernel.terminate()


def _leave_terminal() -> None:
    """Write to a terminal that is gone no more: that would end the command before what it waits for."""
    for number in (1, 2):
        if stat.S_ISCHR(os.fstat(number).st_mode):
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)


def check_parameters(notebook: Path, parameters: dict) -> None:
    """Refuse parameters that the notebook does not declare: papermill would only log and ignore them."""
    declared = declared_parameters(notebook)
    if unknown := sorted(set(parameters) - declared):
        has = ", ".join(sorted(declared))
        raise InputError(f"{notebook.name} declares no parameter {', '.join(unknown)}; it has {has}")


def declared_parameters(notebook: Path) -> set[str]:
    """Return the names that the notebook's cell tagged ``parameters`` assigns."""
    for kind, source, tags in stages.cells_of(notebook):
        if kind == "code" and "parameters" in tags:
            return {t.id for node in ast.parse(source).body if isinstance(node, ast.Assign) for t in node.targets}
    return set()


class Line:
    """One line of a terminal, written over again: what is under way. Elsewhere than in a terminal it says notes alone.

    `write` takes the standard error of a kernel, shows the newest state of its bars after a title, and its warnings.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream, self.title, self._shown = stream, "", stream.isatty()

    def write(self, text: str) -> None:
        """Show the warnings and the newest bar in a text; what is neither stays in the executed notebook."""
        for note in _WARNED.findall(text):
            self.show("")
            self._stream.write(f"note: {note}\n")
        bars = [part for part in re.split(r"[\r\n]", text) if "%|" in part or "it/s" in part]
        if bars:
            self.show(f"{self.title}, {bars[-1].strip()}")

    def show(self, text: str) -> None:
        """Write a text over the line."""
        if self._shown:
            width = shutil.get_terminal_size().columns - 1
            self._stream.write("\r" + text[:width].ljust(width) + "\r")
            self._stream.flush()

    def flush(self) -> None:
        """Do nothing: each line is written at once."""
