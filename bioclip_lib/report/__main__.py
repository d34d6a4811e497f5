"""The command line: ``python -m bioclip_lib.report RUN`` writes its answer page; ``--readme`` shows it in README.md."""

import argparse
import sys

from ..errors import as_command
from ..run import REPOSITORY, Run
from .page import write_page
from .readme import export_run


@as_command
def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = argparse.ArgumentParser("python -m bioclip_lib.report", description="Write a run's answer page.")
    parser.add_argument("run", nargs="*", default=[str(REPOSITORY / "runs" / "mini")], help="default: runs/mini")
    parser.add_argument(
        "--readme",
        action="store_true",
        help="show the runs' numbers, and the first's figures, in README.md instead",
    )
    args = parser.parse_args(argv)
    if args.readme:
        export_run(*map(Run, args.run))
        print(f"figures/, data/results.csv and README.md now show {', '.join(args.run)}")
    else:
        print("\n".join(line for run in args.run for line in write_page(Run(run))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
