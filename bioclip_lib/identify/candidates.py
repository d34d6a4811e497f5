"""Where label sets come from: names, a catalog, a folder, and what was published for TreeOfLife.

Takes names or a folder; returns a `labels.LabelSet`. Weights of texts are computed once for a model and kept in the
cache. Refuses weights that would have to be unpickled, names that stand twice, and models without a text tower.
"""

import datetime
import hashlib
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save_file

from .. import RANKS
from ..errors import InputError
from ..evaluation.tasks import class_strings
from ..evaluation.zero_shot import zero_shot_weights
from ..files.tables import read_strings
from ..model.encode import encode_texts
from ..model.load import LoadedModel
from ..model.text import read_templates
from ..run import atomic, file_sha256, write_json
from ..sources.columns import find_column, known_columns
from ..taxonomy import resolve
from ..taxonomy.cache import cache_folder
from .labels import COLUMNS, GROUP, LABEL, LabelSet, binomial

TEXT_TYPE, TEMPLATES = "taxon_com", "one"
_WEIGHTS, _NAMES, _MADE = "weights.safetensors", "names.parquet", "made_of.json"
_NAMED = (LABEL, "name", "class_name", "scientific_name", "common_name", "species")
_BINS = (GROUP, "bin", "bins")
PUBLISHED = {
    "hf-hub:imageomics/bioclip": ("imageomics/TreeOfLife-10M", "txt_emb_bioclip", "txt_emb_species"),
    "hf-hub:imageomics/biocap": ("imageomics/TreeOfLife-10M", "txt_emb_biocap"),
    "hf-hub:imageomics/bioclip-2": ("imageomics/TreeOfLife-200M", "txt_emb_bioclip-2", "txt_emb_species"),
    "hf-hub:imageomics/bioclip-2.5-vith14": ("imageomics/TreeOfLife-200M", "txt_emb_bioclip-2.5-vith14"),
}
"""By a model's address: the data set of the hub with its text embeddings of the tree of life, their name, an older one.

As pybioclip will fetch them (its branch feat/tol-models, of which BioCAP's file was not merged in April 2026).
"""
_ASKED = 16  # published candidates whose texts are compared with the model's own
_TEXTS_AT_ONCE = 50_000


def labels_of_names(
    names: Sequence[str] | pd.DataFrame, model: LoadedModel, text_type: str = TEXT_TYPE, templates: str = TEMPLATES
) -> LabelSet:
    """Make a label set of names, or of a table with names and ranks.

    Parameters
    ----------
    names : sequence of str, or DataFrame
        Names of taxa, common or scientific, are resolved to seven ranks; others stand for themselves. A table has
        ``label``, and any of the ranks, ``scientific_name``, ``common_name``, ``rank`` and ``group``.
    text_type : str
        What is said of a taxon (`captions.name_string`); ``asis`` says the label, as is said of what has no ranks.
    templates : str
        As ``evaluate.templates``.

    Returns
    -------
    LabelSet
        Weights in float16, mapped into memory; those of the same model and texts are computed once, and kept in the
        cache. Refuses names that stand twice, and a model without a text tower.
    """
    table = names if isinstance(names, pd.DataFrame) else resolved(list(names))
    table = table.reindex(columns=list(COLUMNS), fill_value="").fillna("").astype(str).reset_index(drop=True)
    empty, twice = table[LABEL].str.strip() == "", table[LABEL].duplicated()
    if not len(table) or empty.any() or twice.any():
        what = f"stands twice: {table.loc[twice, LABEL].iloc[0]!r}" if twice.any() else "is empty, or there is none"
        raise InputError(f"a label {what}; give each candidate once")
    if model.tokenizer is None:
        raise InputError(f"{model.address} has no text tower and cannot name by texts; choose another model")
    strings = class_strings(table.assign(verbatim_name=table[LABEL]), text_type)
    is_taxon = (table[list(RANKS)] != "").any(axis=1) & (strings.str.strip() != "")
    strings = list(strings.where(is_taxon, table[LABEL]))
    asked = [model.digest, strings, read_templates(templates), table.to_csv(index=False)]
    folder = cache_folder() / "labels" / hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:24]
    if not (folder / _MADE).is_file():
        made = {"model": model.address, "model_sha256": model.digest, "text_type": text_type, "templates": templates}
        made["date"] = datetime.date.today().isoformat()
        write_labels(LabelSet(table, _encoded(strings, model, read_templates(templates)), made), folder)
    return read_labels(folder)


def resolved(names: list[str]) -> pd.DataFrame:
    """Return the taxa of names, in their order; without ranks where they are not clear."""
    names = [name.strip() for name in names]
    found = resolve(names).drop_duplicates("verbatim_name").set_index("verbatim_name").reindex(names)
    unclear = found["name_status"].isin(("unresolved", "ambiguous")).to_numpy()
    found.loc[unclear, [*RANKS, "scientific_name", "common_name", "rank"]] = ""
    return found.rename_axis(LABEL).reset_index()


def _encoded(strings: list[str], model: LoadedModel, templates: Sequence[str]) -> np.ndarray:
    """Encode texts a part at a time, (C, D), float16."""
    encode = partial(encode_texts, model.model, tokenizer=model.tokenizer)
    parts = [strings[i : i + _TEXTS_AT_ONCE] for i in range(0, len(strings), _TEXTS_AT_ONCE)]
    return np.concatenate([zero_shot_weights(encode, part, templates).astype(np.float16) for part in parts])


def read_candidates(path: str | Path) -> pd.DataFrame | list[str]:
    """Read candidates: a text file with a name a line, or a table with names, maybe their seven ranks and groups."""
    path = Path(path).expanduser()
    if path.suffix.lower() == ".txt":
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
        return [line for line in lines if line]
    given = read_strings(path)
    table = known_columns(given)
    column = find_column(path, "name", table, _NAMED)
    bins = next((given[name] for name in _BINS if name in given), pd.Series("", index=given.index))
    rows = table.assign(**{LABEL: table[column], GROUP: bins}).drop_duplicates([LABEL, GROUP], ignore_index=True)
    return rows if set(RANKS) <= set(table) else resolved(list(rows[LABEL])).assign(**{GROUP: rows[GROUP]})


def write_labels(labels: LabelSet, folder: str | Path) -> None:
    """Write a label set: weights in float16, names, and what they were made of with one hash; whole or not at all."""
    with atomic(folder) as tmp:
        tmp.mkdir()
        save_file({"weights": np.ascontiguousarray(labels.weights, dtype=np.float16)}, tmp / _WEIGHTS)
        pq.write_table(pa.Table.from_pandas(labels.names, preserve_index=False), tmp / _NAMES)
        whole = hashlib.sha256((file_sha256(tmp / _WEIGHTS) + file_sha256(tmp / _NAMES)).encode()).hexdigest()
        made = {key: value for key, value in labels.made_of.items() if key != "files"}
        write_json(tmp / _MADE, {**made, "n_labels": len(labels), "sha256": whole})


def read_labels(folder: str | Path) -> LabelSet:
    """Read a label set of ours, or the embeddings and names that were published for TreeOfLife, mapped into memory.

    A folder with ``weights.safetensors`` and ``names.parquet``; or, maybe in ``embeddings/``, one ``.npy`` of shape (D,
    C) and a ``.json`` of the same name, ``[[seven ranks], common name]`` a candidate; or that ``.npy`` itself. Refuses
    files that do not fit each other, and an array that would have to be unpickled.
    """
    folder = Path(folder).expanduser()
    if folder.suffix == ".npy":
        return _published(folder, folder.with_suffix(".json"))
    if (folder / _MADE).is_file():
        try:
            made = json.loads((folder / _MADE).read_text(encoding="utf-8"))
            return LabelSet(pq.read_table(folder / _NAMES).to_pandas(), _mapped(folder / _WEIGHTS), made)
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            raise InputError(f"{folder} is no whole label set ({error}); delete it and make it again") from None
    pairs = [(path, path.with_suffix(".json")) for path in sorted([*folder.glob("*.npy"), *folder.glob("*/*.npy")])]
    pairs = [pair for pair in pairs if pair[1].is_file()]
    if len(pairs) != 1:
        raise InputError(
            f"{folder} holds {len(pairs)} .npy with a .json of the same name ({', '.join(p[0].name for p in pairs)}), "
            f"and no {_MADE}; give the .npy itself, or the folder of one label set"
        )
    return _published(*pairs[0])


def published(address: str) -> LabelSet:
    """Fetch what was published of the whole tree of life for a model of the hub; `InputError` where nothing was."""
    from huggingface_hub import hf_hub_download

    if address not in PUBLISHED:
        raise InputError(
            f"no text embeddings of the tree of life were published for {address}; give --labels, or a model of "
            f"{', '.join(PUBLISHED)}"
        )
    owner, *stems = PUBLISHED[address]
    reasons = []
    for stem in stems:
        try:
            names, array = (
                hf_hub_download(owner, f"embeddings/{stem}.{kind}", repo_type="dataset") for kind in ("json", "npy")
            )
        except Exception as error:  # of the network, the hub, the disk: each has its own
            reasons.append(str(error).partition("\n")[0][:200])
        else:
            return _published(Path(array), Path(names))
    raise InputError(
        f"{stems[0]} of {owner} cannot be fetched ({reasons[0]}); check the network, or download it and give its "
        "folder as --labels"
    )


def check_texts(labels: LabelSet, model: LoadedModel) -> None:
    """Refuse published embeddings of another model, which they do not state: texts of some must be nearest."""
    if model.tokenizer is None or "published" not in labels.made_of:
        return
    names = labels.names.iloc[np.unique(np.linspace(0, len(labels) - 1, _ASKED).astype(int))]
    strings = class_strings(names.assign(verbatim_name=names[LABEL]), "taxon")
    texts = list(strings.mask(strings == "", names[LABEL]))
    own = zero_shot_weights(partial(encode_texts, model.model, tokenizer=model.tokenizer), texts, read_templates("one"))
    theirs = labels.weights[names.index].astype(np.float32)
    fits = theirs.shape == own.shape
    if fits:
        cosines = (own - own.mean(axis=0)) @ (theirs - theirs.mean(axis=0)).T  # what texts share says nothing
        fits = (cosines.argmax(axis=1) == np.arange(len(texts))).mean() > 0.5
    if not fits:
        raise InputError(
            f"{labels.made_of['published']} holds texts of another model than {model.address} (widths "
            f"{theirs.shape[1]} and {own.shape[1]}); give the model that they were published for, or names instead"
        )


def _mapped(path: Path) -> np.ndarray:
    """Map the weights of a safetensors file into memory: its header says where they lie."""
    with open(path, "rb") as file:
        n_bytes = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(n_bytes))["weights"]
    return np.memmap(path, np.float16, "r", 8 + n_bytes + header["data_offsets"][0], tuple(header["shape"]))


def _published(array: Path, names: Path) -> LabelSet:
    """Read embeddings (D, C) and names as published beside TreeOfLife-10M and TreeOfLife-200M."""
    try:
        weights = np.load(array, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"{array} cannot be read ({reason}); nothing is unpickled: save it again as a plain array, by np.save"
        ) from None
    try:
        ranks, common = zip(*json.loads(names.read_text(encoding="utf-8")), strict=True)
        table = pd.DataFrame(list(ranks), columns=list(RANKS), dtype=object).fillna("")
    except (ValueError, TypeError) as error:
        raise InputError(f"{names} is no list of [[seven ranks], common name] ({error}); download it again") from None
    if weights.ndim != 2 or weights.shape[1] != len(table) or weights.dtype.kind != "f":
        shape = f"{weights.dtype} {weights.shape}"
        raise InputError(f"{array} holds {shape} and {names} {len(table)} names; give a column of numbers a name")
    table = table.assign(scientific_name=binomial(table), common_name=pd.Series(common).fillna(""), rank="", group="")
    deepest = table[list(RANKS[:-1])].where(lambda ranks: ranks != "").ffill(axis=1)["genus"].fillna("")
    table.insert(0, LABEL, table["scientific_name"].where(table["scientific_name"] != "", deepest))
    return LabelSet(table[list(COLUMNS)], weights.T, {"published": str(array), "files": [str(array), str(names)]})
