#!/usr/bin/env bash
# A word for sex or life stage behind a name is parsed as a subspecies, without a warning
#
# Versions: Python 3.11; gnparser 0.1.3 (the wheel of GNparser for Python).
# Behaviour: labels of collections and cameras say "female", "larva" or "juvenile" after the name. One expects them in
#   the unparsed tail with a lower quality, as "(male)" in brackets is. They become the third word of the
#   canonical name, quality 1 (no problem seen), even after an authorship with its year.
# Seen (2026-11-28):
#   Parus major Linnaeus, 1758 female -> Parus major female (cardinality 3, quality 1)
#   Vanessa atalanta larva -> Vanessa atalanta larva (cardinality 3, quality 1)
#   Cyanistes caeruleus juvenile -> Cyanistes caeruleus juvenile (cardinality 3, quality 1)
#   Bubo bubo (male) -> Bubo bubo (cardinality 2, quality 4)
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
    print(f"{name} -> {canonical['simple']} (cardinality {parsed['cardinality']}, quality {parsed['quality']})")


for name in ("Parus major Linnaeus, 1758 female", "Vanessa atalanta larva", "Cyanistes caeruleus juvenile", "Bubo bubo (male)"):
    show(name)
CODE
cat >expected.txt <<'SEEN'
Parus major Linnaeus, 1758 female -> Parus major female (cardinality 3, quality 1)
Vanessa atalanta larva -> Vanessa atalanta larva (cardinality 3, quality 1)
Cyanistes caeruleus juvenile -> Cyanistes caeruleus juvenile (cardinality 3, quality 1)
Bubo bubo (male) -> Bubo bubo (cardinality 2, quality 4)
SEEN
diff expected.txt seen.txt || { echo "the behaviour has changed"; exit 1; }
cat seen.txt
