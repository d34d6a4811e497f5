"""Image files of a data set, loose and in archives, and their match with the rows of its table.

Takes a folder; returns one row an image file. Takes a table with a key an image; returns the raw table: every row of
the table and every image that no row names, with ``problem`` where there is one. Refuses a table none of whose images
is there.
"""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from .. import RANKS
from ..errors import InputError
from ..files.archives import ARCHIVE_SUFFIXES, SEPARATOR, open_archive
from ..files.images import IMAGE_SUFFIXES
from ..files.members import ArchiveError, escape
from ..files.tables import read_columns
from .columns import LISTED_AGAIN, RAW_COLUMNS, UNLISTED, in_parts
from .walk import FoundFile, files_of


class NoImageError(InputError):
    """None of the images that a source names is there; ``raw`` has its rows."""

    def __init__(self, message: str, raw: pd.DataFrame) -> None:
        super().__init__(message)
        self.raw = raw


def find_images(root: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """Find the images below a folder or in archives: ``path`` (inside), ``location``, ``problem``; what is damaged."""
    root = root.resolve()
    rows: list[tuple[str, str, str]] = []
    damaged: dict[str, str] = {}
    for folders, base, path, problem in [FoundFile((), root.name, str(root))] if root.is_file() else files_of(root):
        is_image, name = base.lower().endswith(IMAGE_SUFFIXES), "/".join((*folders, base))
        if not is_image and not base.lower().endswith(ARCHIVE_SUFFIXES):
            continue
        if is_image:
            rows.append((name, path, problem))
        else:
            members, damaged[name] = ([], problem) if problem else _archive_rows(path)
            rows += members
    damaged = {escape(name): reason for name, reason in damaged.items() if reason}
    return pd.DataFrame([escaped(row, 2) for row in rows], columns=["path", "location", "problem"]), damaged


def images_of(path: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """Find the images in a folder or archive, and of a packed one those in the folder of its name beside it."""
    files, damaged = find_images(path)
    beside = path.with_name(path.name.partition(".")[0]) if path.is_file() else path
    if path.is_file() and beside.is_dir():
        more, also = find_images(beside)
        return pd.concat([files, more], ignore_index=True), {**damaged, **also}
    return files, damaged


def _archive_rows(path: str) -> tuple[list[tuple[str, str, str]], str]:
    """Return the rows of the images in an archive, and its damage."""
    try:
        archive = open_archive(path)
    except ArchiveError as error:
        return [], str(error)
    rows = []
    for name, member in archive.members.items():  # a second of one name is x.jpg#2
        base = name.replace("\\", "/").rpartition("/")[2]
        if base.partition("#")[0].lower().endswith(IMAGE_SUFFIXES) and not base.startswith("."):
            rows.append((name, f"{path}{SEPARATOR}{name}", member.problem))
    return rows, archive.damage


def escaped(row: tuple[str, ...], problem_at: int) -> tuple[str, ...]:
    """Write the odd bytes of a row's paths as ``\\xe9``, for no table can hold them; then it has a problem."""
    written = tuple(map(escape, row))
    if written == row:
        return row
    problem = row[problem_at] or "file name is not UTF-8; rename it"
    return (*written[:problem_at], problem, *written[problem_at + 1 :])


def read_given(path: Path, columns: Sequence[str], needed: Collection[str]) -> pd.DataFrame:
    """Read the columns of a data set's table, '' where it has none; refuse one without those needed, or any row."""
    table = read_columns(path, columns)
    lacking = [column for column in columns if column in needed and column not in table]
    if lacking or (needed and table.empty):
        what = f"column {', '.join(lacking)}" if lacking else "row"
        raise InputError(f"{path} has no {what}; download it again, or export it anew")
    return table.reindex(columns=list(columns), fill_value="")


def first_said(table: pd.DataFrame, columns: Sequence[str]) -> pd.Series:
    """Return what the first column says that says anything."""
    value = table[columns[0]]
    for column in columns[1:]:
        value = value.where(value != "", table[column])
    return value


def base_names(paths: pd.Series) -> pd.Series:
    """Return the last component of each path."""
    return paths.map(lambda path: path.replace("\\", "/").rpartition("/")[2])


def stems(paths: pd.Series) -> pd.Series:
    """Return the last component of each path without its suffix."""
    return base_names(paths).map(lambda name: name.rpartition(".")[0])


def by_keys(*pairs: tuple[pd.Series, pd.Series]) -> np.ndarray:
    """Return each row's file, -1 for none: the first pair of keys of rows and of files that has one decides.

    '' names no file; of several of one key the first is taken.
    """
    place = np.full(len(pairs[0][0]), -1)
    for keys, of_files in pairs:
        first = of_files.reset_index(drop=True).drop_duplicates()
        lookup = pd.Series(first.index, first.to_numpy()).drop("", errors="ignore")
        place = np.where(place >= 0, place, keys.map(lookup).fillna(-1).astype(int))
    return place


def with_images(
    said: pd.DataFrame,
    place: np.ndarray,
    files: pd.DataFrame,
    root: Path,
    action: str,
    damaged: dict[str, str],
    missing: str | pd.Series = "",
) -> pd.DataFrame:
    """Give each row of a set the file at its place; refuse a set none of whose images is there, and say what to do."""
    raw = placed(said, place, files, missing if len(missing) else missing_reason(damaged))
    return check_some_image(raw, root, damaged, action)


def placed(table: pd.DataFrame, place: np.ndarray, files: pd.DataFrame, missing: str | pd.Series) -> pd.DataFrame:
    """Give each row of a data set's table the file at its place (-1: none), and each file without a row one after."""
    there = place >= 0
    problem = table["problem"].to_numpy(object) if "problem" in table else np.full(len(table), "", object)
    location, of_file = (np.append(files[column].to_numpy(object), "")[place] for column in ("location", "problem"))
    problem = np.where(problem != "", problem, np.where(there, of_file, missing))
    raw = table.assign(location=location, problem=problem)
    raw.loc[raw["source_id"].duplicated() & (raw["problem"] == ""), "problem"] = LISTED_AGAIN
    rest = files[~np.isin(np.arange(len(files)), place[there])]
    if len(rest):
        unlisted = rest.rename(columns={"path": "source_id"}).assign(source=raw["source"].iloc[0] if len(raw) else "")
        unlisted["problem"] = rest["problem"].where(rest["problem"] != "", UNLISTED)
        raw = pd.concat([raw, unlisted], ignore_index=True)
    return ordered(raw.assign(source_id=unique_ids(raw["source_id"])))


def unique_ids(ids: pd.Series) -> pd.Series:
    """Make ids unique: the second of a kind ends in ``#2``, and so on."""
    again = ids.index[ids.duplicated()]
    if not len(again):
        return ids
    ids, taken = ids.copy(), set(ids)
    count: dict[str, int] = {}
    for i in again:
        name = ids.loc[i]
        number = count.get(name, 1) + 1
        while f"{name}#{number}" in taken:
            number += 1
        count[name], ids.loc[i] = number, f"{name}#{number}"
        taken.add(ids.loc[i])
    return ids


def ordered(raw: pd.DataFrame) -> pd.DataFrame:
    """Put the columns of a raw table in order, fill blanks with '' and make all text."""
    rest = [column for column in raw.columns if column not in RAW_COLUMNS]
    raw = raw.reindex(columns=[*RAW_COLUMNS, *rest]).reset_index(drop=True)
    for column in raw:
        if raw[column].dtype != object or pd.api.types.infer_dtype(raw[column], skipna=False) != "string":
            raw[column] = raw[column].astype(object).fillna("").astype(str)
    return raw


def check_some_image(raw: pd.DataFrame, root: Path, damaged: dict[str, str], action: str) -> pd.DataFrame:
    """Return a raw table as it is; `InputError` where none of its rows has an image."""
    if len(raw) and not ((raw["location"] != "") & (raw["problem"] == "")).any():
        why = "; ".join(f"{name}: {reason}" for name, reason in list(damaged.items())[:3])
        raise NoImageError(
            f"none of the {len(raw)} images of {root} can be read ({why or raw['problem'].iloc[0]}); {action}", raw
        )
    return raw


def missing_reason(damaged: dict[str, str], gone: Iterable[str] = (), what: str = "image not found") -> str:
    """Return the problem of rows without an image, naming the archives that may have held it."""
    notes = [f"{name} is missing" for name in gone] + [f"{name}: {reason}" for name, reason in damaged.items()]
    return what + (f" ({'; '.join(notes[:3])}{'; ...' if len(notes) > 3 else ''})" if notes else "")


def lineage(table: pd.DataFrame, binomial: bool = True) -> pd.DataFrame:
    """Return the seven ranks, species as the epithet, and ``verbatim_name``, the deepest; `binomial` splits species."""
    ranks = table.reindex(columns=list(RANKS), fill_value="")
    ranks = ranks.assign(**in_parts(ranks, binomial))
    both = (ranks["genus"] + " " + ranks["species"]).str.strip()
    return ranks.assign(verbatim_name=first_said(ranks.assign(both=both), ("both", *reversed(RANKS[:5]))))
