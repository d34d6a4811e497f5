#!/usr/bin/env bash
# A rank that is unknown becomes a taxon of its own in scikit-bio
#
# Versions: Python 3.11; scikit-bio 0.7.1, numpy 2.4.6, scipy 1.17.1.
# Behaviour: NCBI Taxonomy knows no class for crocodiles and none for coelacanths. One expects such a gap to be passed
#   over, so that both stand apart under Chordata, as far from each other as from a bird.
#   TreeNode.from_taxonomy makes one node of the empty strings: crocodile and coelacanth become each other's
#   nearest kin.
# Seen (2026-11-28):
#   crocodile and coelacanth meet in '' (4 edges)
#   crocodile and tit meet in 'Chordata' (6 edges)
#   coelacanth and tit meet in 'Chordata' (6 edges)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet scikit-bio==0.7.1 numpy==2.4.6 scipy==1.17.1 2>"$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }
cd "$folder"
"$folder/venv/bin/python" - >seen.txt <<'CODE'
from skbio import TreeNode

lineages = {
    "crocodile": ["Animalia", "Chordata", "", "Crocodylia"],
    "coelacanth": ["Animalia", "Chordata", "", "Coelacanthiformes"],
    "tit": ["Animalia", "Chordata", "Aves", "Passeriformes"],
}
tree = TreeNode.from_taxonomy(list(lineages.items()))
for a, b in (("crocodile", "coelacanth"), ("crocodile", "tit"), ("coelacanth", "tit")):
    ancestor = tree.lca([a, b])
    print(a, "and", b, "meet in", repr(ancestor.name), f"({tree.find(a).distance(tree.find(b), use_length=False):.0f} edges)")
CODE
cat >expected.txt <<'SEEN'
crocodile and coelacanth meet in '' (4 edges)
crocodile and tit meet in 'Chordata' (6 edges)
coelacanth and tit meet in 'Chordata' (6 edges)
SEEN
diff expected.txt seen.txt || { echo "the behaviour has changed"; exit 1; }
cat seen.txt
