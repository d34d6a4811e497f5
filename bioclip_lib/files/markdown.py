"""The one writer of Markdown tables: whatever a stranger's name holds, it stays text in its cell."""

import re

import pandas as pd


def escape(text: object) -> str:
    """Keep a stranger's text on one line and out of Markdown and HTML.

    >>> print(escape("<b>a|b</b>\\n$x_1$"))
    \\<b\\>a\\|b\\</b\\> \\$x\\_1\\$
    """
    return re.sub(r"([\\`*_{}\[\]<>|#!~$&])", r"\\\1", " ".join(str(text).split()))


def markdown_table(table: pd.DataFrame, escaped: bool = True, n_left: int | None = None) -> str:
    """Return a table as Markdown; numbers, or all columns after the first `n_left`, stand to the right."""
    right = [pd.api.types.is_numeric_dtype(dtype) for dtype in table.dtypes]
    if n_left is not None:
        right = [i >= n_left for i in range(table.shape[1])]
    rows = [[escape(c) if escaped else str(c) for c in table.columns], ["---:" if r else "---" for r in right]]
    for row in table.astype(object).to_numpy():
        rows.append([_cell(value, escaped) for value in row])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _cell(value: object, escaped: bool) -> str:
    """Return a value as the text of a cell."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if value is None or value != value:
        return ""
    return escape(value) if escaped else str(value)
