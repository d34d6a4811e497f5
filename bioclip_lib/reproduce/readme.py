"""What README.md and docs/results.md show of named runs: ``python -m bioclip_lib.reproduce.readme RUN [RUN ...]``."""

import argparse
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from ..errors import InputError, as_command
from ..evaluation import metrics
from ..figures.tables import headline_table, results_table
from ..run import REPOSITORY, Run, atomic, write_text

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
RESULTS_CSV = REPOSITORY / "data" / "results.csv"
README_FIGURES = ("contact_sheet", "overview", "umap_trained")  # tracked: only these
MAX_TRACKED_BYTES = 300_000


def update_readme(readme: str | Path, table: str) -> None:
    """Put the table between the markers of a page; InputError if they are missing."""
    try:
        text = Path(readme).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{readme} cannot be read ({error.strerror}); the results go into an existing page") from None
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise InputError(f"{readme} needs the lines {BEGIN} and {END}, once each, in this order")
    before, _, rest = text.partition(BEGIN)
    write_text(readme, f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}")


def export_run(run: Run, *others: Run) -> None:
    """Copy a run's figures, and its and others' numbers, to where the README shows them; all of it or nothing."""
    results = pd.concat([metrics.read_metrics(each.metrics_csv) for each in (run, *others)], ignore_index=True)
    update_readme(REPOSITORY / "docs" / "results.md", results_table(results))
    update_readme(REPOSITORY / "README.md", headline_table(results))
    for path in sorted(path for path in run.figures.glob("*") if path.suffix in (".pdf", ".png", ".json")):
        with atomic(REPOSITORY / "figures" / path.name) as tmp:
            if path.suffix == ".png" and path.stem in README_FIGURES:
                shrink_png(path, tmp)
            else:
                shutil.copyfile(path, tmp)
    with atomic(RESULTS_CSV) as tmp:
        results.to_csv(tmp, index=False, float_format="%.6g")


def shrink_png(source: str | Path, target: str | Path, max_bytes: int = MAX_TRACKED_BYTES) -> None:
    """Copy a PNG; one that is too large for the repository with 256 colours, and smaller until it fits."""
    shutil.copyfile(source, target)
    with Image.open(source) as image:
        pixels = image.convert("RGB")
    for scale in np.arange(1, 0.1, -0.1):
        if Path(target).stat().st_size <= max_bytes:
            return
        size = (max(1, round(pixels.width * scale)), max(1, round(pixels.height * scale)))
        smaller = pixels.resize(size, Image.Resampling.LANCZOS).quantize(256, dither=Image.Dither.NONE)
        smaller.save(target, format="PNG", optimize=True)


@as_command
def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    about = "Show the runs' numbers, and the first's figures, in README.md."
    parser = argparse.ArgumentParser("python -m bioclip_lib.reproduce.readme", description=about)
    parser.add_argument("run", nargs="+")
    args = parser.parse_args(argv)
    export_run(*map(Run, args.run))
    print(f"figures/, data/results.csv and README.md now show {', '.join(args.run)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
