"""The resolved names of a catalog as a table, and of each raw row the integer of its name in its context.

A million rows of few words take little memory. Refuses names that were not resolved, or twice.
"""

import numpy as np
import pandas as pd
import pyarrow as pa

from ..config import DESCRIPTION
from ..sources.columns import SPLIT_COLUMN, STATE_COLUMNS
from ..taxonomy.resolution import CONTEXT_COLUMNS, KEY, context_of
from .table import COLUMNS, NUMBERS, broken_names, name_classes, refuse

SCHEMA = pa.schema([(name, pa.int64() if name in NUMBERS else pa.string()) for name in COLUMNS])
_RESOLVED = COLUMNS[COLUMNS.index("kingdom") : COLUMNS.index("license")]
_SCHEMA_OF_NAMES = pa.schema([SCHEMA.field(name) for name in (*_RESOLVED, "class_key")])
OF_RAW = (  # the columns of raw rows that a catalog is made of
    *("source", "source_id", "location", "verbatim_name", "license", "rights_holder", "source_url", "confidence"),
    *STATE_COLUMNS,
    *("group", *CONTEXT_COLUMNS, SPLIT_COLUMN),
)
_UNRESOLVED = "each name must be resolved once;{} resolve the names of this table"


class Names:
    """The resolved names as a table of integers' meanings, and the integer of each raw row."""

    def __init__(self, names: pd.DataFrame) -> None:
        names = names if DESCRIPTION in names else names.assign(**{DESCRIPTION: ""})
        text = names[[*KEY, *_RESOLVED]].fillna("")
        table = encoded(pa.Table.from_pandas(text, preserve_index=False))  # rows of one word share it
        rows = table.select([*KEY[:2], "family", "kingdom", "rank", "name_status", "scientific_name"]).to_pandas()
        rows = rows.astype(object)
        refuse(broken_names(rows))
        rows["class_key"] = name_classes(rows)
        self.rows = rows.drop(columns=["family", "kingdom", "name_status"])
        self._table = table.select(_RESOLVED).append_column(
            "class_key", pa.array(rows["class_key"]).dictionary_encode()
        )
        columns = {name: table[name].combine_chunks() for name in KEY}
        self._words = {name: pd.Index(column.dictionary.to_pandas()) for name, column in columns.items()}
        self._index = pd.Index(self._code({name: column.indices.to_numpy() for name, column in columns.items()}))
        if not self._index.is_unique:
            raise ValueError(_UNRESOLVED.format(""))

    def _code(self, numbers: dict[str, np.ndarray]) -> np.ndarray:
        """Return one integer for the numbers of source, name and context; -1 where one of them is not known."""
        code = np.zeros(len(numbers["source"]), np.int64)
        for name in KEY:
            code = code * len(self._words[name]) + numbers[name].astype(np.int64)
        return np.where(np.minimum.reduce([numbers[name] for name in KEY]) < 0, -1, code)

    def find(self, raw: pa.Table) -> np.ndarray:
        """Return the row of each raw row's name in its context, int32 (n,)."""
        words = encoded(raw.select(["source", "verbatim_name"]))
        numbers = {}
        for name, column in zip(words.column_names, words.columns, strict=True):
            column = column.combine_chunks()
            numbers[name] = self._words[name].get_indexer(column.dictionary.to_pandas())[column.indices.to_numpy()]
        contexts = raw.select([rank for rank in CONTEXT_COLUMNS if rank in raw.column_names])
        number = row_numbers(contexts) if contexts.num_columns else np.zeros(len(raw), int)
        first = np.unique(number, return_index=True)[1]
        said = contexts.take(first).to_pandas() if contexts.num_columns else pd.DataFrame(index=[0])
        numbers["context"] = self._words["context"].get_indexer(context_of(said))[number]
        rows = self._index.get_indexer(self._code(numbers))
        if (rows < 0).any():
            missing = raw["verbatim_name"].filter(pa.array(rows < 0)).unique().to_pylist()
            raise ValueError(_UNRESOLVED.format(f" missing: {missing[:5]};"))
        return rows.astype(np.int32)

    def take(self, rows: np.ndarray) -> pa.Table:
        """Return what the integers stand for."""
        return self._table.take(pa.array(rows)).cast(_SCHEMA_OF_NAMES)


def row_numbers(table: pa.Table) -> np.ndarray:
    """Return which of its distinct rows each row of a table of text is, numbered as they appear: int (n,)."""
    words = encoded(table).to_pandas()
    return words.groupby(list(words), sort=False, observed=True).ngroup().to_numpy()


def encoded(table: pa.Table) -> pa.Table:
    """Return a table of text with each column as integers and words."""
    columns = zip(table.column_names, table.columns, strict=True)
    return pa.table({name: column.combine_chunks().cast(pa.string()).dictionary_encode() for name, column in columns})
