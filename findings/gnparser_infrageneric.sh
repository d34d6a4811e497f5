#!/usr/bin/env bash
# The canonical name of a subgenus or section is a uninomial that has lost its genus
#
# Versions: Python 3.11; gnparser 0.1.3.
# Behaviour: one expects the genus, or both words, from "Carex subg. Vignea". The simple canonical name is "Vignea",
#   cardinality 1, just like a genus; looked up as such it is not found, or is another taxon. Only the full
#   canonical name keeps "Carex". A subgenus in brackets inside a binomial is dropped instead.
# Seen (2026-11-28):
#   Carex subg. Vignea -> Vignea; full: Carex subgen. Vignea (cardinality 1, quality 2)
#   Taraxacum sect. Ruderalia -> Ruderalia; full: Taraxacum sect. Ruderalia (cardinality 1, quality 2)
#   Mus (Mus) musculus -> Mus musculus; full: Mus musculus (cardinality 2, quality 1)
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
    print(f"{name} -> {canonical['simple']}; full: {canonical['full']} (cardinality {parsed['cardinality']}, quality {parsed['quality']})")


for name in ("Carex subg. Vignea", "Taraxacum sect. Ruderalia", "Mus (Mus) musculus"):
    show(name)
CODE
cat >expected.txt <<'SEEN'
Carex subg. Vignea -> Vignea; full: Carex subgen. Vignea (cardinality 1, quality 2)
Taraxacum sect. Ruderalia -> Ruderalia; full: Taraxacum sect. Ruderalia (cardinality 1, quality 2)
Mus (Mus) musculus -> Mus musculus; full: Mus musculus (cardinality 2, quality 1)
SEEN
diff expected.txt seen.txt || { echo "the behaviour has changed"; exit 1; }
cat seen.txt
