"""Name photographs from the command line: ``python -m bioclip_lib.identify new/ --run runs/photos --out names.csv``."""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from .. import RANKS
from ..errors import InputError, as_command
from ..files import write_csv
from ..model.load import LoadedModel, load_model
from ..run import write_json
from .asking import Trust, write_answers
from .candidates import TEMPLATES, TEXT_TYPE, labels_of_names, published, read_candidates, read_labels, write_labels
from .exchange import boxes_of_megadetector, provenance, to_camtrap_dp, to_darwin_core, to_megadetector
from .labels import LABEL, LabelSet
from .naming import FLOOR
from .photographed import read_classes
from .photos import list_photos
from .trained import TrainedRun, load_run


@as_command
def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit status (0 done, 2 a mistake in the input)."""
    parser = argparse.ArgumentParser("python -m bioclip_lib.identify", description="Name the taxa on photographs.")
    parser.add_argument(
        "photos", nargs="+", help="files, folders, archives, patterns, or tables with a column of paths"
    )
    parser.add_argument("--run", help="folder of a run: its model, and the classes that it was trained on")
    parser.add_argument("--model", help="without --run: a model's address, as hf-hub:imageomics/bioclip-2")
    parser.add_argument(
        "--labels", help="candidates: a text file with a name a line, a table, or the folder of a label set"
    )
    parser.add_argument("--only", nargs="*", default=[], help="keep candidates of these taxa, or of a file of them")
    parser.add_argument("--text-type", default=TEXT_TYPE, help="what is said of a taxon; asis: labels as they are")
    parser.add_argument("--templates", default=TEMPLATES, help="as evaluate.templates (default: %(default)s)")
    parser.add_argument("--rank", default="species", help="of the choices: a rank, label or group (default: species)")
    parser.add_argument("--k", type=int, default=5, help="choices a photograph (default: 5)")
    parser.add_argument("--floor", type=float, help=f"probability that the answer must reach (default: {FLOOR})")
    parser.add_argument("--coverage", type=float, default=0.9, help="of a run: share of right answers (default: 0.9)")
    parser.add_argument("--batch-size", type=int, default=64, help="photographs embedded at once (default: 64)")
    parser.add_argument("--out", default="names.csv", help="a .csv, .parquet or .json (default: names.csv)")
    parser.add_argument(
        "--events", default="", help="also name each event: a column of the table of photographs, or folder"
    )
    parser.add_argument("--embeddings", help="also write features of the photographs, a .parquet")
    parser.add_argument("--add", help="of a run: a folder with a folder of photographs a new class, two at least")
    parser.add_argument("--save-labels", help="also keep the candidates, as a folder that --labels takes")
    parser.add_argument("--megadetector", help="also write MegaDetector's JSON, given as the photographs, with names")
    parser.add_argument("--darwin-core", help="also write a CSV of Darwin Core identifications")
    parser.add_argument(
        "--camtrap-dp", nargs=2, metavar=("MEDIA", "OBSERVATIONS"), help="also write observations of media"
    )
    args = parser.parse_args(argv)
    return _run(args)


def _run(args: argparse.Namespace) -> int:
    """Name the photographs, write the table and say what came out."""
    if not any(args.photos):
        raise InputError("no photographs are given; pass files, folders, patterns or a table (PHOTOS=path/to/folder)")
    if not (args.run or args.model):
        raise InputError("no model is given; pass RUN=path/to/run (--run), or --model hf-hub:imageomics/bioclip-2")
    detections = args.photos[0] if len(args.photos) == 1 and args.photos[0].lower().endswith(".json") else ""
    content, photos = boxes_of_megadetector(detections) if detections else ({}, list_photos(args.photos, args.events))
    if args.megadetector and not content:
        raise InputError("--megadetector adds names to boxes; give MegaDetector's JSON as the photographs")
    if args.camtrap_dp:
        _media(args.camtrap_dp[0])  # before hours of naming
    run = load_run(args.run) if args.run else None
    model = run.model if run else load_model(args.model)
    of_run = _of_run(args, run)
    labels = _labels(args, model, of_run)
    trust = run.trust(args.coverage, of_run) if of_run is not None else Trust()
    if args.floor is not None:
        trust = dataclasses.replace(trust, floor=args.floor)
    if args.save_labels:
        write_labels(labels, args.save_labels)
    asked = args.rank, args.k, trust, args.batch_size
    table = write_answers(args.out, photos, labels, model, *asked, embeddings=args.embeddings)
    _exchange(args, content, table, (model, labels, trust))
    among = _of_candidates(run, labels, trust) if of_run is not None and not args.only else []
    print(_summary(table, args.out, among))
    return 0


def _of_run(args: argparse.Namespace, run: TrainedRun | None) -> LabelSet | None:
    """Return the candidates that are the run's, and those that are added; None where others are asked for."""
    if args.add and (not run or args.labels or args.only):
        raise InputError("--add puts classes beside those of a run; give --run, without --labels and --only")
    if not run or args.labels:
        return None
    return run.candidates(*read_classes(args.add, run.model)) if args.add else run.candidates()


def _of_candidates(run: TrainedRun, labels: LabelSet, trust: Trust) -> list[str]:
    """Say among which candidates was named, which species of the run are none, and what the floor promises."""
    trained = int(labels.names[LABEL].isin(run.labels.names[LABEL]).sum())
    told = f"candidates: {trained} classes that it was trained on"
    if len(labels) > trained:
        told += f", and {len(labels) - trained} by photographs that it was not trained on"
    lines = [f"{told}; floor {trust.floor:.2f}: {trust.said}"]
    if none := run.none_of(labels):
        lines.append(
            f"no candidates, as held out with too few photographs: {_some(none)}; to add them give two or more of "
            "each, a folder a species: ADD=path/to/folder (--add)"
        )
    bare = labels.names.loc[(labels.names[list(RANKS)] == "").all(axis=1), LABEL]
    if len(bare):
        lines.append(
            f"candidates without ranks, so that no kingdom gets their part: {_some(list(bare))}; settle them "
            f"with their lines of {run.run.root / 'classes.csv'}"
        )
    return lines


def _some(names: list[str]) -> str:
    """Name some of many."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _exchange(args: argparse.Namespace, content: dict, table: pd.DataFrame, asked: tuple) -> None:
    """Write the forms that are asked for beside the table."""
    model, labels, trust = asked
    made = provenance(model.address, labels, trust)
    if args.megadetector:
        write_json(Path(args.megadetector), to_megadetector(content, table, labels, made))
    if args.darwin_core:
        write_csv(to_darwin_core(table, made), args.darwin_core, digits=6)
    if args.camtrap_dp:
        write_csv(to_camtrap_dp(table, _media(args.camtrap_dp[0]), made), args.camtrap_dp[1], digits=6)


def _media(path: str) -> pd.DataFrame:
    """Read the media.csv of a Camtrap DP; InputError where it is none."""
    try:
        media = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}); pass the media.csv of a Camtrap DP") from None
    if lacking := {"mediaID", "deploymentID", "filePath", "timestamp"} - set(media.columns):
        raise InputError(f"{path} lacks {', '.join(sorted(lacking))}; pass the media.csv of a Camtrap DP")
    return media


def _labels(args: argparse.Namespace, model: LoadedModel, labels: LabelSet | None) -> LabelSet:
    """Return the candidates that are asked for."""
    if args.labels:
        path = Path(args.labels).expanduser()
        if path.is_dir() or path.suffix == ".npy":
            labels = read_labels(path)
        else:
            labels = labels_of_names(read_candidates(path), model, args.text_type, args.templates)
    elif labels is None:
        labels = published(args.model)
    taxa = [name for item in args.only for name in (_read_list(item) if Path(item).is_file() else [item])]
    return labels.only(taxa) if taxa else labels


def _read_list(path: str) -> list[str]:
    """Read the taxa of a file, one a line, or of a table's column of names."""
    found = read_candidates(path)
    return list(found["label"]) if isinstance(found, pd.DataFrame) else found


def _summary(table: pd.DataFrame, out: str, candidates: Sequence[str] = ()) -> str:
    """Say how many photographs were named at which rank, among which candidates, and what was not."""
    read = table[table["problem"] == ""]
    ranks = read.loc[read["taxon"] != "", "rank"].replace("", "label").value_counts()
    none = {"not even to kingdom": int((read["taxon"] == "").sum())}
    told = [f"{n} {how}" for how, n in {**{f"to {rank}": n for rank, n in ranks.items()}, **none}.items() if n]
    lines = [f"{len(read)} of {len(table)} photographs read; named: {', '.join(told) or 'none'}"]
    lines += candidates
    if none["not even to kingdom"] and "score_1" in read:
        best = read.loc[read["taxon"] == "", "score_1"].max()
        lines.append(
            f"without a name: no taxon reaches the floor (the best choice has {best:.2f}); what is likeliest stands in "
            "choice_1, and more photographs or a longer training make it surer"
        )
    if n_strange := int((read["unknown"] == "yes").sum()):
        lines.append(f"{n_strange} look like none of the candidates: yes in column unknown")
    broken = table[table["problem"] != ""]
    lines += [f"not read: {row.file_name}: {row.problem}" for row in broken.head(5).itertuples()]
    if len(broken) > 5:
        lines.append(f"and {len(broken) - 5} more, in column problem")
    return "\n".join([*lines, out])


if __name__ == "__main__":
    sys.exit(main())
