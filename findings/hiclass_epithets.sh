#!/usr/bin/env bash
# hiclass counts an epithet as right in another genus of another kingdom
#
# Versions: Python 3.11; hiclass 5.0.8, numpy 2.4.6.
# Behaviour: hierarchical precision and recall compare the taxon of each level with all its ancestors, so one expects
#   a level to be right only where the levels above it are. The sets hold bare labels: of "Plantago major"
#   for "Parus major" the epithet counts as right, a third of the lineage, as if the kingdom had been. Levels
#   have to be made unique first (genus and epithet together); a subgenus that repeats the name of its genus
#   counts once.
# Seen (2026-11-28):
#   Animalia Pica pica for Animalia Parus major: hierarchical precision 0.33
#   Plantae Plantago major for Animalia Parus major: hierarchical precision 0.33
#   Plantae Acer rubrum for Animalia Parus major: hierarchical precision 0.00
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet hiclass==5.0.8 numpy==2.4.6 2>"$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }
cd "$folder"
"$folder/venv/bin/python" - >seen.txt <<'CODE'
import numpy as np
from hiclass.metrics import precision

truth = ["Animalia", "Parus", "major"]
for predicted in (["Animalia", "Pica", "pica"], ["Plantae", "Plantago", "major"], ["Plantae", "Acer", "rubrum"]):
    score = precision(np.array([truth], dtype=object), np.array([predicted], dtype=object))
    print(" ".join(predicted), f"for {' '.join(truth)}: hierarchical precision {score:.2f}")
CODE
cat >expected.txt <<'SEEN'
Animalia Pica pica for Animalia Parus major: hierarchical precision 0.33
Plantae Plantago major for Animalia Parus major: hierarchical precision 0.33
Plantae Acer rubrum for Animalia Parus major: hierarchical precision 0.00
SEEN
diff expected.txt seen.txt || { echo "the behaviour has changed"; exit 1; }
cat seen.txt
