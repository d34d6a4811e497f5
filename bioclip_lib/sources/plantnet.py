"""Pl@ntNet-300K as published: two JSON files, and ``images/<split>/<species id>/<id>.jpg``.

Takes its folder; returns the raw table with the makers' splits, photographs of one observation as a group.
"""

import json
from pathlib import Path

import pandas as pd

from ..errors import InputError
from .columns import GROUP_COLUMN, SPLIT_COLUMN
from .match import check_some_image, find_images, match_images, missing_reason, stems
from .walk import globbed

_IMAGES, _NAMES = "plantnet300K_metadata.json", "plantnet300K_species_id_2_name.json"
_ACTION = "put the folder images/ beside its JSON files"


def find_plantnet(root: Path) -> Path | None:
    """Return the metadata of the images, in a folder or in a folder of it."""
    found = [path for path in (root / _IMAGES, *globbed(root, f"*/{_IMAGES}")) if path.is_file()]
    return found[0] if found else None


def read_plantnet(path: str | Path) -> pd.DataFrame:
    """Read Pl@ntNet-300K; ``source_id`` is the id of the image."""
    root = Path(path).expanduser().resolve()
    metadata = find_plantnet(root)
    names, images = (_read(metadata.with_name(name)) for name in (_NAMES, _IMAGES))
    columns = ["species_id", "obs_id", "author", "license", "split"]
    table = pd.DataFrame.from_dict(images, orient="index").reindex(columns=columns).fillna("").astype(str)
    said = pd.DataFrame(
        {
            **{"source": "plantnet300k", "source_id": table.index.astype(str)},
            "verbatim_name": [names.get(key, "") for key in table["species_id"]],
            **{"license": table["license"].to_numpy(), "rights_holder": table["author"].to_numpy()},
            **{SPLIT_COLUMN: table["split"].to_numpy(), GROUP_COLUMN: table["obs_id"].to_numpy()},
        },
        dtype=object,
    )
    files, damaged = find_images(root)
    keys = pd.DataFrame({"id": stems(files["path"])})
    raw = match_images(said, said[["source_id"]].set_axis(["id"], axis=1), files, keys, missing=missing_reason(damaged))
    return check_some_image(raw, root, damaged, _ACTION)


def _read(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {str(key): value for key, value in content.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is not a file of Pl@ntNet-300K ({error}); download it again") from None
