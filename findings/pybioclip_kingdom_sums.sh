#!/usr/bin/env bash
# Probabilities of kingdoms drift in pybioclip: they are added one by one in float32
#
# Versions: Python 3.11; pybioclip 2.1.6, torch 2.13.0, numpy 2.4.6.
# Behaviour: TreeOfLifeClassifier adds up the probabilities of the species in a taxon. One expects sums as exact as the
#   softmax, to 1e-7 or so. They are added one after the other to a float32, which rounds each small term the same way
#   as soon as the sum is large. For an image that all 450,000 labels fit equally well, half of them get 0.5013 and all
#   of them 0.9975; ten labels of a genus are right to 1e-11. A threshold on the score of a kingdom needs that room.
# Seen (2026-11-28):
#   half of the labels: 0.50130, exactly 0.50000
#   all labels: 0.99751, exactly 1.00000
#   ten labels of a genus: off by less than 1e-11: True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pybioclip==2.1.6 torch==2.13.0 torchvision==0.28.0 open_clip_torch==3.3.0 timm==1.0.31 numpy==2.4.6 2>"$folder/pip.log" || { cat "$folder/pip.log"; exit 1; }
cd "$folder"
"$folder/venv/bin/python" - >seen.txt <<'CODE'
import torch

try:
    import torchvision
except RuntimeError:  # beside a CPU build of torch its operators have no declaration; none is called here
    operators = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from bioclip import TreeOfLifeClassifier
from bioclip.predict import Rank


def asked(kingdoms, probabilities, rank):
    """Ask the classifier of a label set of our own, without a model: names and probabilities are all it looks at."""
    classifier = TreeOfLifeClassifier.__new__(TreeOfLifeClassifier)
    torch.nn.Module.__init__(classifier)
    middle = ["P", "C", "O", "F"]
    classifier.txt_names = [[[name, *middle, f"G{i // 10}", f"s{i}"], ""] for i, name in enumerate(kingdoms)]
    classifier._subset_txt_names = None
    return classifier.format_grouped_probs("image", probabilities, rank, k=1)[0]["score"]


n = 450_000
even = torch.softmax(torch.zeros(n), dim=0)
half = ["Animalia", "Plantae"] * (n // 2)
print(f"half of the labels: {asked(half, even, Rank.KINGDOM):.5f}, exactly {even[::2].double().sum().item():.5f}")
print(f"all labels: {asked(['Animalia'] * n, even, Rank.KINGDOM):.5f}, exactly {even.double().sum().item():.5f}")
genus = asked(["Animalia"] * n, even, Rank.GENUS)
print(f"ten labels of a genus: off by less than 1e-11: {abs(genus - even[:10].double().sum().item()) < 1e-11}")
CODE
cat >expected.txt <<'SEEN'
half of the labels: 0.50130, exactly 0.50000
all labels: 0.99751, exactly 1.00000
ten labels of a genus: off by less than 1e-11: True
SEEN
diff expected.txt seen.txt || { echo "the behaviour has changed"; exit 1; }
cat seen.txt
