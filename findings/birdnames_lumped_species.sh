#!/usr/bin/env bash
# An English bird name converted between lists names only the part of the species that kept the scientific name
#
# Versions: Python 3.11; birdnames 0.1.3 (eBird 2021, AviList 2025).
# Behaviour: lists are joined by scientific name. Where the newer list splits a species, one expects no answer, or
#   several. There is one, without a warning: the part that inherited the name. So photographs labelled
#   "Yellow Warbler" by a list of 2021, most of them of the northern bird, become "Mangrove Warbler";
#   American herring gulls become European ones.
# Seen (2026-11-28):
#   Blue Jay -> Blue Jay
#   Yellow Warbler -> Mangrove Warbler
#   Herring Gull -> European Herring Gull
#   House Wren -> Northern House Wren
#   Whimbrel -> Eurasian Whimbrel
#   Barn Owl -> Western Barn Owl
#   Cattle Egret -> None
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet birdnames==0.1.3 2>"$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }
cd "$folder"
"$folder/venv/bin/python" - >seen.txt <<'CODE'
import birdnames

convert = birdnames.Converter("common_name", "common_name", from_authority="ebird", from_year=2021, to_authority="avilist")
for name in ("Blue Jay", "Yellow Warbler", "Herring Gull", "House Wren", "Whimbrel", "Barn Owl", "Cattle Egret"):
    print(name, "->", convert(name))
CODE
cat >expected.txt <<'SEEN'
Blue Jay -> Blue Jay
Yellow Warbler -> Mangrove Warbler
Herring Gull -> European Herring Gull
House Wren -> Northern House Wren
Whimbrel -> Eurasian Whimbrel
Barn Owl -> Western Barn Owl
Cattle Egret -> None
SEEN
diff expected.txt seen.txt || { echo "the behaviour has changed"; exit 1; }
cat seen.txt
