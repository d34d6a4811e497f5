"""Run the numbered notebooks headlessly, in order: ``python -m bioclip_lib.reproduce --profile mini``.

Takes a profile and settings; leaves a run directory (see `run.Run`) with the executed notebooks, tables and figures.
A notebook is executed again where what it is made of has changed, or what it made is not there or damaged
(`run.stages`); an interrupted run goes on where it stopped. One command at a time writes a run. Unknown profiles,
settings and notebook parameters are refused before anything is written.
"""

import argparse
import ast
import hashlib
import json
import os
import shlex
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType

import psutil

from . import settings  # what reads photographs, names or models is imported where it is needed: --check has a second
from .config import PROFILES, RUN_VARIABLE, Config, flat, load_config
from .errors import InputError, as_command
from .run import REPOSITORY, Run, full_disk_named, locked, open_run, remove, stages
from .run.folder import check_run, run_at
from .workers import BARS, Line

FIRST_EVALUATION = "04_"  # from this notebook on, models are asked
NOTEBOOKS = REPOSITORY / "notebooks"
NOTHING_LOST = "stopped; nothing that was finished is lost"
KERNEL = {"kernel_name": "python3", "language": "python"}
QUIET = "--IPKernelApp.log_level=CRITICAL"  # it warns of its own loopback sockets, asyncio of its tasks as it ends
QUIET_END = "--IPKernelApp.exec_lines=import logging; logging.getLogger('asyncio').setLevel('CRITICAL')"
KERNEL |= {"extra_arguments": [QUIET, QUIET_END]}


@as_command
def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit status (0 done, 1 a notebook failed, 2 a mistake in the input)."""
    args = _parser().parse_args(argv)
    begun = args.run and Run(args.run).config_json.is_file()
    profile = args.profile or ("photos" if args.photos and not begun else "")
    given = settings_from(args)
    if args.run and not begun and (args.check or ((args.lab or args.list_settings) and not (profile or given))):
        begin = "" if args.check else ", or PROFILE= or PHOTOS= beside it, to begin one there"
        raise InputError(f"{args.run} holds no run (no config.json); pass RUN=path/to/run{begin}")
    config = load_config(profile, given, args.run)
    if args.list_settings:
        print(settings.listed(config))
        return 0
    if args.look:
        look_at_data(config)
        print("\nto train on them and measure it: make reproduce, with the same PHOTOS=, NAMES= and SET=")
        return 0
    if args.lab:
        return lab(config, args.run)
    if args.check:
        return check(config, args.run, by_digest=args.check == "all")
    return reproduce(config, args.run)


def _parser() -> argparse.ArgumentParser:
    """Return what the command line takes."""
    parser = argparse.ArgumentParser("python -m bioclip_lib.reproduce", description="Run every notebook, in order.")
    choices = f"one of {', '.join(PROFILES)} (default: that of a run that was begun, photos with --photos, else mini)"
    parser.add_argument("--profile", default="", help=choices)
    parser.add_argument("--run", default="", help="run directory (default: runs/<profile>)")
    parser.add_argument("--photos", default="", help="folder, CSV or Parquet of photographs, for --profile photos")
    parser.add_argument("--names", default="", help="CSV that says what the class names mean")
    parser.add_argument("--unfreeze", action="store_true", help="train the image tower too")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="any setting, as in train.steps=100")
    parser.add_argument("--settings", default="", help="settings in one text, as of make's SET=")
    parser.add_argument("--list-settings", action="store_true", help="print every setting: value, meaning, limits")
    parser.add_argument("--lab", action="store_true", help="open JupyterLab, its notebooks on this run")
    parser.add_argument("--look", action="store_true", help="say how the photographs would be read, and stop")
    said = "say what of the run is missing, damaged or out of date, and stop; --check=all reads every file"
    parser.add_argument("--check", nargs="?", const="quick", choices=("quick", "all"), help=said)
    return parser


def settings_from(args: argparse.Namespace) -> dict:
    """Turn the command line's options into dotted settings; paths become absolute."""
    overrides = {}
    try:
        items = [*args.set, *shlex.split(args.settings)]
    except ValueError as error:
        raise InputError(f"SET={args.settings} cannot be read ({error}); close its quotes") from None
    for item in items:
        key, equals, value = item.partition("=")
        if not equals:
            raise InputError(f"SET takes KEY=VALUE, as in train.steps=100, not {item!r}")
        overrides[key] = settings.absolute(key, value)
    if args.photos:
        overrides["data.photos"] = os.path.abspath(os.path.expanduser(args.photos))
    if args.names:
        overrides["data.names"] = settings.absolute("data.names", args.names)
    return overrides | ({"train.freeze_image_tower": False} if args.unfreeze else {})


def look_at_data(config: Config) -> None:
    """Say how photographs are read, and how their names; nothing is written."""
    from . import taxonomy
    from .sources import look, read, read_names
    from .taxonomy.unsettled import say_names

    reading = read.reading_of(config.data)
    raw = read.read_as(reading, config.data)
    print(look(config.data, raw, reading).partition("\nstops: ")[0])  # the names are read here, and say it
    names = taxonomy.resolve(raw, taxonomy.open_backbones(config.data), read_names(config.data, raw))
    print("\n".join(say_names(names, raw)))


def lab(config: Config, run_dir: str) -> int:
    """Open JupyterLab at the repository's root, with the notebooks on a run where one, or photographs, are given."""
    environment = dict(os.environ)
    if run_dir or config != load_config("mini"):
        if config.data.source == "photos":
            look_at_data(config)
        environment[RUN_VARIABLE] = str(open_run(run_dir, config).root)
    first = "--LabApp.default_url=/lab/tree/notebooks/00_quickstart.ipynb"
    environment["PYTHONPATH"] = own_code_first()
    own = str(REPOSITORY / ".jupyter")  # no question about news, and no network
    environment["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, [own, environment.get("JUPYTER_CONFIG_PATH")]))
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={REPOSITORY}", first]
    return subprocess.call(command, cwd=REPOSITORY, env=environment)


def reproduce(config: Config, run_dir: str | Path = "") -> int:
    """Execute the notebooks that are not up to date in a run; return 0, or 1 if one failed.

    Parameters
    ----------
    config : Config
    run_dir : str or Path
        ``""`` stands for ``runs/<profile>``.

    Raises
    ------
    InputError
        For photographs, settings or a run directory that cannot be used, found here or in a notebook.
    """
    settings.check_settings(config)
    run = run_at(run_dir, config)
    made = stages_of(config)
    check_run(run, as_written(config))
    with locked(run.root), full_disk_named(run.root):
        run = open_run(run.root, config)
        parameters = {"profile": config.profile, "run_dir": str(run.root), "overrides": changed_settings(config)}
        return execute_stale(run, made, parameters)


def stages_of(config: Config) -> list[stages.Stage]:
    """Return the stages of a configuration, in order: each notebook under what decides it."""
    data, asked = digest_of_training(config), digest_of_files(settings.evaluation_files(config))
    written, found = as_written(config), []
    for notebook in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")):
        check_parameters(notebook, {"profile": "", "run_dir": "", "overrides": {}})
        asks = notebook.stem >= FIRST_EVALUATION
        of_stage = written if asks else {**written, "evaluate": {}}
        found.append(stages.stage_of(notebook, of_stage, data + asked * asks))
    return found


def execute_stale(run: Run, made: list[stages.Stage], parameters: dict) -> int:
    """Execute the notebooks of the stages that are not up to date; return 0, or 1 if one failed."""
    from . import report
    from .evaluation import metrics

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
    print("\n" + "\n".join(report.write_page(run) if n_executed or not page.is_file() else [f"open {page}"]))
    print(f"{time.time() - t0:.0f} s")
    return 0


def check(config: Config, run_dir: str | Path = "", by_digest: bool = False) -> int:
    """Say what of a run is missing, damaged or stale, and the one command that mends it; return 0, or 1 if anything is.

    Sizes and times are compared and, where they differ, digests; of all files with `by_digest`.
    """
    run = run_at(run_dir, config)
    is_as_begun = check_run(run, as_written(config))
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


def changed_settings(config: Config) -> dict:
    """Return the settings in which a configuration differs from its profile, as dotted keys."""
    asked, profile = (flat(each.to_dict()) for each in (config, load_config(config.profile)))
    changed = {key: value for key, value in asked.items() if value != profile[key]}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in changed.items()}


def digest_of_photos(config: Config) -> str:
    """Return a digest of what is said of the photographs (raw table, names) and of their files' sizes and times."""
    if config.data.source != "photos":
        if config.data.photos or config.data.names:
            raise InputError("photographs go with the profile photos: pass PROFILE=photos PHOTOS=path/to/folder")
        return ""
    from .files import archives
    from .files.crops import split_crop
    from .files.tables import digest_of_table
    from .sources import read_names, read_source

    raw = read_source(config.data)
    said = read_names(config.data, raw)
    files = sorted({str((archives.split_location(name) or split_crop(name))[0]) for name in raw["location"]})
    return digest_of_table(raw) + ("" if said is None else digest_of_table(said)) + digest_of_files(files)


def digest_of_training(config: Config) -> str:
    """Return a digest of all that decides the catalog and the model: settings, and the content that they name."""
    catalogs = str([(path, _digest_of_catalog(path)) for path in (config.data.extends, config.data.benchmark) if path])
    content = digest_of_photos(config) + catalogs + digest_of_files(settings.training_files(config))
    return hashlib.sha256(content.encode()).hexdigest()


def _digest_of_catalog(path: str) -> str:
    """Return a digest of what a catalog holds."""
    from .catalog import table
    from .files.tables import digest_of_table

    return digest_of_table(table.read_catalog(path))


def as_written(config: Config) -> dict:
    """Return a configuration as config.json holds it."""
    return json.loads(json.dumps(config.to_dict()))


def digest_of_files(files: list[str | Path]) -> str:
    """Return a digest of the names, sizes and times of files; one that is not there counts as nothing."""
    sha = hashlib.sha256()
    for file in map(Path, files):
        if file.exists():
            sha.update(f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}\n".encode())
    return sha.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
