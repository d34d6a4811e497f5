"""Which file is the image of an address: by the end of its path, by an id in it, or by the record's id and a number.

Takes addresses (URLs or paths), the ids of their records, and the files there are; returns the file of each. A key
counts only where it is certain: one file has it, and no two addresses. So no file is given to two records, unless both
state the same address.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

_TAILS = (3, 2, 1)  # components of a path that name its image, the most telling first
_SCHEME = r"^[A-Za-z][A-Za-z0-9+.-]*://[^/]*"
_SUFFIX = r"\.[A-Za-z]{3,4}$"
NOT_FOUND = -1


def match_addresses(addresses: pd.Series, ids: pd.Series, paths: pd.Series) -> np.ndarray:
    """Return the row of each address's file, `NOT_FOUND` where none is certain; the ids of a record in image order."""
    codes, distinct = pd.factorize(addresses.astype(object))
    whole = pa.array(distinct, pa.string())
    ends, files = _end_of_path(whole, False), _end_of_path(pa.array(paths, pa.string()), False)
    found = np.full(len(distinct), NOT_FOUND)
    free = np.ones(len(paths), bool)

    def settle(keys: pa.Array, may: np.ndarray, file_keys: pa.Array) -> None:
        """Give free files to addresses without one, by keys that are certain among those that may have it."""
        settled = _certain(keys, may, file_keys, free)
        new = (settled != NOT_FOUND) & (found == NOT_FOUND)
        found[new] = settled[new]
        free[settled[new]] = False

    absolute = pc.match_substring_regex(whole, r"^(?:[A-Za-z]:|[\\/]|[A-Za-z][A-Za-z0-9+.-]*://)")
    n_parts = np.asarray(pc.count_substring(whole, "/")) + 1  # of a relative path all agree: its folders are no chance
    n_needed = np.where(np.asarray(absolute, bool), 1, np.minimum(n_parts, max(_TAILS)))
    keys_of = [*_keys_by_tail(ends, files)]
    for n, (of_addresses, of_files) in zip(_TAILS, reversed(keys_of), strict=True):
        for keys, file_keys in zip(of_addresses, of_files, strict=True):
            settle(keys, n_needed <= n, file_keys)
    names = keys_of[0][1][1]
    open_ends = np.flatnonzero((found == NOT_FOUND) & (n_needed == 1) & free.any())
    open_paths = _end_of_path(whole.take(pa.array(open_ends)), True)
    for keys in _ids_inside(open_paths, names.filter(pa.array(free))):
        settle(pa.array(_spread(keys, open_ends, len(distinct)), pa.string()), np.ones(len(distinct), bool), names)
    place = found[codes]
    place[(addresses == "").to_numpy()] = NOT_FOUND
    ids = ids.where((n_needed[codes] == 1), "")
    return _by_record(place, ids, np.where(free, names.to_numpy(zero_copy_only=False), ""))


def _keys_by_tail(ends: pa.Array, files: pa.Array) -> Iterator[tuple[list[pa.Array], list[pa.Array]]]:
    """Yield the last components, 1 first, with and without suffix, of addresses and files.

    Addresses whose shorter tail no file has are left out of the longer ones.
    """
    may = np.arange(len(ends))
    for n in reversed(_TAILS):
        tails, of_files = _tails(ends.take(pa.array(may)), n), _tails(files, n)
        bare, of_bare = (pc.replace_substring_regex(keys, _SUFFIX, "") for keys in (tails, of_files))
        place = np.full(len(ends), NOT_FOUND)
        place[may] = np.arange(len(may))
        index = pa.array(place, mask=place == NOT_FOUND)
        yield [pc.fill_null(keys.take(index), "") for keys in (tails, bare)], [of_files, of_bare]
        may = may[np.asarray(pc.is_in(bare, of_bare))]


def match_other_ids(place: np.ndarray, records: pd.Series, ids: pd.Series, paths: pd.Series) -> np.ndarray:
    """Give rows without a file one by another id of their record, where no other record has it."""
    free = ~np.isin(np.arange(len(paths)), place)
    if not free.any() or (place != NOT_FOUND).all():
        return place
    pairs = pd.DataFrame({"id": ids, "record": records}).drop_duplicates()
    shared = pairs["id"][pairs["id"].duplicated()]
    names = pc.replace_substring_regex(_end_of_path(pa.array(paths, pa.string()), False), _SUFFIX, "")
    names = np.where(free, _tails(names, 1).to_numpy(zero_copy_only=False), "")
    return _by_record(place, ids.where(~ids.isin(shared), ""), names)


def _spread(values: np.ndarray, places: np.ndarray, n: int) -> np.ndarray:
    """Return n texts with some at their places, '' elsewhere."""
    spread = np.full(n, "", object)
    spread[places] = values
    return spread


def _certain(keys: pa.Array, may: np.ndarray, file_keys: pa.Array, free: np.ndarray) -> np.ndarray:
    """Return the free file of each key that one address, of those that may have it, and one file have."""
    rows = np.flatnonzero(free & np.asarray(pc.not_equal(file_keys, "")))
    distinct, n_files = np.unique(file_keys.take(pa.array(rows)).to_numpy(zero_copy_only=False), return_counts=True)
    index = pc.index_in(keys, pa.array(distinct, pa.string()))
    at = np.where(may, np.asarray(pc.fill_null(index, NOT_FOUND)), NOT_FOUND)
    n_addresses = np.bincount(at[at >= 0], minlength=len(distinct))
    row_of = np.full(len(distinct) + 1, NOT_FOUND)
    place = pc.index_in(pa.array(distinct, pa.string()), file_keys.take(pa.array(rows)))
    row_of[: len(distinct)] = np.where((n_files == 1) & (n_addresses == 1), rows[np.asarray(place)], NOT_FOUND)
    return row_of[at]


def _end_of_path(addresses: pa.Array, query: bool) -> pa.Array:
    """Return addresses without scheme and host, with or without query."""
    paths = pc.replace_substring(addresses, "\\", "/")
    if not (pc.all(pc.string_is_ascii(paths)).as_py() or not len(paths)):
        paths = pc.utf8_normalize(paths, "NFC")  # macOS writes accents in two signs
    paths = pc.replace_substring_regex(paths, _SCHEME, "")
    if not query and (_any_has(paths, "?") or _any_has(paths, "#")):
        paths = pc.replace_substring_regex(paths, r"[?#].*$", "")
    paths = pc.replace_substring_regex(paths, "/{2,}", "/") if _any_has(paths, "//") else paths
    return pc.utf8_trim(paths, "/ ")


def _any_has(texts: pa.Array, part: str) -> bool:
    return pc.any(pc.match_substring(texts, part)).as_py() or False


def _tails(paths: pa.Array, n: int) -> pa.Array:
    """Return the last n components of paths, '' where there are fewer."""
    tail = pc.struct_field(pc.extract_regex(paths, rf"(?P<tail>{'[^/]+/' * (n - 1)}[^/]+)$"), "tail")
    return pc.fill_null(tail, "")


def _ids_inside(addresses: pa.Array, names: pa.Array) -> list[np.ndarray]:
    """Return, from the last to the first, the parts of each address that are the name of a file and hold a digit."""
    if not len(addresses) or not len(names):
        return []
    parts = pc.split_pattern_regex(addresses, r"[/?&=#;]")
    named = np.asarray(pc.and_(pc.is_in(pc.list_flatten(parts), names), pc.not_equal(pc.list_flatten(parts), "")))
    rows = np.unique(np.asarray(pc.list_parent_indices(parts))[named])
    known = set(names.to_pylist())
    lists = [
        [p for p in reversed(row) if p in known and _is_id(p, row)] for row in parts.take(pa.array(rows)).to_pylist()
    ]
    depth = max(map(len, lists), default=0)
    return [
        _spread(np.array([row[i] if i < len(row) else "" for row in lists], object), rows, len(addresses))
        for i in range(depth)
    ]


def _is_id(part: str, parts: list[str]) -> bool:
    """Tell a part of an address that may be an image's id; years, and days after one, are dates."""
    years = [p for p in parts if len(p) == 4 and p[:2] in ("19", "20") and p.isdigit()]
    return any(map(str.isdigit, part)) and part not in years and not (years and len(part) < 3)


def _by_record(place: np.ndarray, ids: pd.Series, names: np.ndarray) -> np.ndarray:
    """Match what is left by ``<id>_<number>``, counted from 0 where any is; by ``<id>`` alone a record's only image."""
    left = np.flatnonzero(place == NOT_FOUND)
    if not len(left) or not (names != "").any():
        return place
    short = ids.str.extract(r"([^/:]*)$", expand=False).fillna("").reset_index(drop=True)
    split = pd.Series(names).str.extract(r"^(?P<id>.+)[_. -](?P<number>\d{1,4})$").fillna("")
    known = split["id"].isin(set(short)) & (split["id"] != "")
    number = pd.to_numeric(split["number"].where(known, "")).fillna(-1).astype(int)
    first = 0 if (number == 0).any() else 1
    numbered = ids.groupby(ids.to_numpy()).cumcount().to_numpy() + first
    only = ~ids.duplicated(keep=False).to_numpy()
    keys = (short + "\x1f" + numbered.astype(str)).where((short != "").to_numpy(), "").to_numpy(object)
    file_keys = (split["id"] + "\x1f" + number.astype(str)).where(known, "").to_numpy(object)
    every = np.ones(len(names), bool)
    for row_keys, names_of_files in ((keys, file_keys), (short.where(only, "").to_numpy(object), names)):
        settled = _certain(
            pa.array(row_keys, pa.string()), row_keys != "", pa.array(names_of_files, pa.string()), every
        )
        place = np.where(place == NOT_FOUND, settled, place)
    return place
