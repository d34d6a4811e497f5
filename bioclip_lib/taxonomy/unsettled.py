"""Names that stop before their species: said aloud, with what was made of them and the line that settles them.

Takes the resolved names and a row an image (``verbatim_name``, and ``excluded`` or ``problem``, '' where it is used);
returns tables and lines of text. A name none of whose images is used is no name to settle.
"""

import csv
import io

import pandas as pd

_ABBREVIATED = r"[A-Z]\.[ _]?[a-z-]{3,}"  # "C. sinensis"
_N_SHOWN = 20
_STATUS = {"unresolved": "not understood", "ambiguous": "means several taxa"}


def names_to_settle(names: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """List the names that stop before the species, those with most photographs first.

    Columns ``class_name, photographs, read_as, rank, why, understood, alternatives`` and ``line``, of classes.csv.
    """
    names, rows = _in_use(names, rows)
    n_images = rows["verbatim_name"].value_counts()
    partial = names[names["rank"] != "species"]
    status = partial["name_status"].map(_STATUS).fillna("")
    table = pd.DataFrame({"class_name": partial["verbatim_name"], "read_as": partial["scientific_name"]})
    table["photographs"] = partial["verbatim_name"].map(n_images).fillna(0).astype(int)
    why = partial["reason"].where(partial["reason"] != "", "named no deeper")
    why = why.mask(
        partial["verbatim_name"].str.fullmatch(_ABBREVIATED) & (status != ""), "its genus is cut; write it out"
    )
    table["why"] = (status + ": ").where(status != "", "") + why
    table = table.assign(rank=partial["rank"], understood=status == "", alternatives=partial["alternatives"])
    table["line"] = [_csv_line(name) for name in table["class_name"]]
    order = ["understood", "photographs", "class_name"]
    return table.drop_duplicates("class_name").sort_values(order, ascending=[True, False, True], ignore_index=True)


def _in_use(names: pd.DataFrame, rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the images that are used, and their names."""
    reason = next((column for column in ("excluded", "problem") if column in rows), "")
    rows = rows[rows["verbatim_name"] != ""]
    rows = rows[rows[reason] == ""] if reason else rows
    return names[names["verbatim_name"].isin(rows["verbatim_name"])], rows


def say_names(names: pd.DataFrame, rows: pd.DataFrame) -> list[str]:
    """Say in a few lines what the names were read as, which were not understood, and what to do; `rows` have images."""
    unsettled, said = names_to_settle(names, rows), [names_in_words(names, rows)]
    for row in unsettled[:_N_SHOWN].to_dict("records"):
        read_as = f"read as {row['read_as']} ({row['rank']}): " if row["read_as"] else ""
        said.append(f"  {row['class_name']}: {read_as}{row['why']} ({_photographs(row['photographs'])})")
    if len(unsettled) > _N_SHOWN:
        said.append(f"  and {len(unsettled) - _N_SHOWN:,} more")
    is_corrected = (names["name_status"] == "corrected") | names["rule"].str.startswith("common name of a plant")
    corrected = names[is_corrected]
    pairs = zip(corrected["verbatim_name"][:_N_SHOWN], corrected["scientific_name"], strict=False)
    said += [f"  {name}: taken for {taxon}" for name, taxon in pairs]
    said += _read_as(_in_use(names[~is_corrected & (names["rank"] == "species")], rows)[0])
    if len(unsettled):
        said.append("  to settle one, add a line class_name,scientific_name to classes.csv in the folder, or to NAMES=")
    if not unsettled["understood"].all():
        said.append(
            "  names that are not English are understood with a checklist that has them: data.backbones, data.language"
        )
    return said


def _read_as(names: pd.DataFrame) -> list[str]:
    """Say, one after the other, which species is meant by names that do not name its genus."""
    pairs = names[["verbatim_name", "scientific_name"]].drop_duplicates().itertuples(index=False)
    read = [f"{name} = {taxon}" for name, taxon in pairs if taxon.partition(" ")[0].lower() not in name.lower()]
    more = f"; and {len(read) - _N_SHOWN:,} more" if len(read) > _N_SHOWN else ""
    return [f"  read as: {'; '.join(read[:_N_SHOWN])}{more}"] if read else []


def _photographs(n: int) -> str:
    return f"{n:,} photograph{'' if n == 1 else 's'}"


def _csv_line(name: str) -> str:
    """Return the line of classes.csv for a name, to be completed."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow([name, "", ""])
    return buffer.getvalue()


def names_in_words(names: pd.DataFrame, rows: pd.DataFrame) -> str:
    """Say how many names were understood, and how many photographs are under the others."""
    unsettled, (names, _) = names_to_settle(names, rows), _in_use(names, rows)
    lost = unsettled[~unsettled["understood"]]
    n, n_partial = names["verbatim_name"].nunique(), int(unsettled["understood"].sum())
    said = f"{n - len(unsettled):,} of {n:,} names understood as species"
    said += f", {n_partial:,} as a genus or higher" if n_partial else ""
    if len(lost):
        said += f"; {len(lost):,} not understood, with {_photographs(lost['photographs'].sum())}"
    return said
