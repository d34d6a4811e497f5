#!/usr/bin/env bash
# jupyter-scatter takes and returns row positions, though a frame with an index was given
#
# Versions: Python 3.11; jupyter-scatter 1.0.1, pandas 2.3.3, numpy 2.2.6.
# Behaviour: the docstring of selection() selects the index of a query, so one expects labels of the index in and out.
#   Unless data_use_index=True is set, both are positions: of a frame that was filtered before, other
#   photographs are selected, and labels that are words select nothing, without an error.
# Seen (2026-11-28):
#   asked for jay, marked on the map: ['kite']
#   asked for the label jay, marked: 0 points
#   with data_use_index=True: ['jay']
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet jupyter-scatter==1.0.1 pandas==2.3.3 numpy==2.2.6 2>"$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }
cd "$folder"
"$folder/venv/bin/python" - >seen.txt <<'CODE'
import jscatter
import pandas as pd

table = pd.DataFrame({"x": [0.0, 1.0, 2.0, 3.0], "y": 0.0, "name": ["wren", "jay", "kite", "owl"]})
some = table[table["x"] > 0]  # index 1, 2, 3
scatter = jscatter.Scatter(data=some, x="x", y="y")
scatter.selection(some.query("name == 'jay'").index)
print("asked for jay, marked on the map:", some.iloc[scatter.widget.selection]["name"].tolist())
named = some.set_index("name")
scatter = jscatter.Scatter(data=named, x="x", y="y")
scatter.selection(["jay"])
print("asked for the label jay, marked:", len(scatter.widget.selection), "points")
scatter = jscatter.Scatter(data=named, x="x", y="y", data_use_index=True)
scatter.selection(["jay"])
print("with data_use_index=True:", list(scatter.selection()))
CODE
cat >expected.txt <<'SEEN'
asked for jay, marked on the map: ['kite']
asked for the label jay, marked: 0 points
with data_use_index=True: ['jay']
SEEN
diff expected.txt seen.txt || { echo "the behaviour has changed"; exit 1; }
cat seen.txt
