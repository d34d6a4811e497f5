#!/usr/bin/env bash
# "cf." leaves a canonical name that looks like a certain identification
#
# Versions: Python 3.11; gnparser 0.1.3.
# Behaviour: of "Turdus sp." the canonical name is the genus, so one expects the same of "Turdus cf. merula", which
#   says no more for sure. It is the binomial with cardinality 2; that it is doubtful stands in "surrogate"
#   and the quality alone. "aff." is treated otherwise.
# Seen (2026-11-28):
#   Turdus sp. -> Turdus (cardinality 0, quality 4, APPROXIMATION)
#   Turdus cf. merula -> Turdus merula (cardinality 2, quality 4, COMPARISON)
#   Turdus cf merula -> Turdus merula (cardinality 2, quality 4, COMPARISON)
#   Turdus aff. merula -> Turdus (cardinality 0, quality 4, APPROXIMATION)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet gnparser==0.1.3 2>"$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }
cd "$folder"
"$folder/venv/bin/python" - >seen.txt <<'CODE'
import json

import gnparser


def show(name):
    parsed = json.loads(gnparser.parse_to_string(name))
    canonical = parsed["canonical"]
    print(f"{name} -> {canonical['simple']} (cardinality {parsed['cardinality']}, quality {parsed['quality']}, {parsed.get('surrogate')})")


for name in ("Turdus sp.", "Turdus cf. merula", "Turdus cf merula", "Turdus aff. merula"):
    show(name)
CODE
cat >expected.txt <<'SEEN'
Turdus sp. -> Turdus (cardinality 0, quality 4, APPROXIMATION)
Turdus cf. merula -> Turdus merula (cardinality 2, quality 4, COMPARISON)
Turdus cf merula -> Turdus merula (cardinality 2, quality 4, COMPARISON)
Turdus aff. merula -> Turdus (cardinality 0, quality 4, APPROXIMATION)
SEEN
diff expected.txt seen.txt || { echo "the behaviour has changed"; exit 1; }
cat seen.txt
