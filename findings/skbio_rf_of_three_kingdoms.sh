#!/usr/bin/env bash
# scikit-bio's Robinson-Foulds distance of a taxonomy and a dendrogram changes with the side it is asked from
#
# Versions: Python 3.11; scikit-bio 0.7.1.
# Behaviour: one expects a distance to be symmetric and a taxonomy to be a rooted tree. Whether trees are rooted is
#   taken from the first of the two alone, by its number of children: a taxonomy of two kingdoms is rooted, one of
#   three or more is not, and a dendrogram (two children) is. Unrooted, a group counts as found when the rest of
#   the tree is one: a dendrogram in which lion and wolf never meet is at distance 0 from a taxonomy of three
#   kingdoms that unites them, and at distance 3 the other way round. `rooted=True` has to be said.
# Seen (2026-11-28):
#   three kingdoms against dendrogram: 0, dendrogram against three kingdoms: 3
#   two kingdoms against dendrogram: 2, dendrogram against two kingdoms: 2
#   three kingdoms, rooted=True: 3 and 3
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet scikit-bio==0.7.1 2>"$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }
cd "$folder"
"$folder/venv/bin/python" - >seen.txt <<'CODE'
from skbio import TreeNode

three = TreeNode.read(["((lion,wolf),(oak,rose),(morel,truffle));"])
two = TreeNode.read(["((lion,wolf),((oak,rose),(morel,truffle)));"])
dendrogram = TreeNode.read(["(lion,(wolf,((oak,rose),(morel,truffle))));"])
for name, taxonomy in (("three kingdoms", three), ("two kingdoms", two)):
    there, back = taxonomy.compare_rfd(dendrogram), dendrogram.compare_rfd(taxonomy)
    print(f"{name} against dendrogram: {there:.0f}, dendrogram against {name}: {back:.0f}")
there, back = three.compare_rfd(dendrogram, rooted=True), dendrogram.compare_rfd(three, rooted=True)
print(f"three kingdoms, rooted=True: {there:.0f} and {back:.0f}")
CODE
cat >expected.txt <<'SEEN'
three kingdoms against dendrogram: 0, dendrogram against three kingdoms: 3
two kingdoms against dendrogram: 2, dendrogram against two kingdoms: 2
three kingdoms, rooted=True: 3 and 3
SEEN
diff expected.txt seen.txt || { echo "the behaviour has changed"; exit 1; }
cat seen.txt
