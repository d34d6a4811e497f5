"""The command line: ``python -m bioclip_lib.reproduce --profile mini``; unknown profiles and settings are refused."""

import argparse
import os
import shlex
import subprocess
import sys

from ..config import PROFILES, RUN_VARIABLE, Config, load_config
from ..errors import InputError, as_command
from ..run import REPOSITORY, Run, open_run
from . import settings
from .notebooks import check, own_code_first, reproduce


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
    from .. import taxonomy
    from ..sources import look, read, read_names
    from ..taxonomy.unsettled import say_names

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


if __name__ == "__main__":
    sys.exit(main())
