"""Which taxon is on a photograph, at which rank that can be trusted, among 10^2 to 10^6 candidates; or none of them.

Photographs (`photos`), candidates and a model go in; a table comes out, an image a row (`asking`). `candidates` makes
label sets of names, catalogs and published embeddings, `photographed` makes them of images; `labels` holds them as
a tree, adds probabilities up, and cuts them to a clade or checklist, `changes` compares two. `naming` turns features
into names. `trained` takes all from a run and calibrates it (`calibrate`); `trials` asks how far that can be
trusted, `unknown` whether it notices what is no candidate, `saliency` what speaks for a name. `sorting` groups
photographs without labels. `exchange` writes answers as MegaDetector's JSON, Camtrap DP and Darwin Core.
"""

from .asking import Trust, identify, write_answers
from .candidates import labels_of_names, read_candidates, read_labels, write_labels
from .changes import compare_labels, map_answers
from .labels import LabelSet
from .naming import answers, combine, name_features
from .photographed import add_images, labels_of_images
from .photos import Photo, list_photos
from .saliency import saliency_examples, saliency_scores
from .trained import load_run, nearest_images
from .trials import draws, events, examples, risk, rules, with_added
from .unknown import attachments, unknowns

__all__ = [
    "LabelSet",
    "Photo",
    "Trust",
    "add_images",
    "answers",
    "attachments",
    "combine",
    "compare_labels",
    "draws",
    "events",
    "examples",
    "identify",
    "labels_of_images",
    "labels_of_names",
    "list_photos",
    "load_run",
    "map_answers",
    "name_features",
    "nearest_images",
    "read_candidates",
    "read_labels",
    "risk",
    "rules",
    "saliency_examples",
    "saliency_scores",
    "unknowns",
    "with_added",
    "write_answers",
    "write_labels",
]
