"""Which taxon is on a photograph, at which rank that can be trusted, among 10^2 to 10^6 candidates.

Photographs (`photos`), candidates and a model go in; a table comes out, an image a row (`asking`). `candidates` makes
label sets of names, catalogs and published embeddings, `labels` holds them and cuts them to a clade or checklist,
`tree` adds probabilities up, `naming` turns features into names, `trained` takes all from a run.
"""

from .asking import Trust, identify, write_answers
from .candidates import labels_of_catalog, labels_of_names, read_labels, read_names, write_labels
from .labels import LabelSet
from .naming import answers, name_features
from .photos import Photo, list_photos
from .trained import load_run

__all__ = [
    "LabelSet",
    "Photo",
    "Trust",
    "answers",
    "identify",
    "labels_of_catalog",
    "labels_of_names",
    "list_photos",
    "load_run",
    "name_features",
    "read_labels",
    "read_names",
    "write_answers",
    "write_labels",
]
