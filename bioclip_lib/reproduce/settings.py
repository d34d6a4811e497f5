"""Settings as a user gives them: paths made absolute, and what they name looked for before anything is computed.

Takes dotted settings and a `Config`; returns settings, and the files on disk that they name. Refuses at once, by name,
what a notebook would refuse after hours of work on the ones before it; the limits of a value are kept by `config`.
"""

import dataclasses
import inspect
import json
import os
from hashlib import sha256
from pathlib import Path

from ..config import AVILIST, DESCRIPTION, NCBI, Config, flat, load_config
from ..errors import InputError

_LISTS = ("data.backbones", "evaluate.models")
_PATHS = ("data.photos", "data.names", "data.descriptions", "data.benchmark", "data.extends")
_PATHS += ("train.replay", "evaluate.sets", "evaluate.templates", "evaluate.traits")
_MODELS = ("evaluate.models", "model.name")
_FOLDERS = ("local-dir:", "run:", "timm:local-dir:")


def absolute(key: str, value: str) -> str:
    """Make the paths in a setting absolute, since notebooks run in a folder of their own; what is no path stays.

    >>> absolute("evaluate.models", "run:/a/../runs/mini,ViT-B-16:openai"), absolute("evaluate.templates", "original")
    ('run:/runs/mini,ViT-B-16:openai', 'original')
    """
    return ",".join(_absolute(key, item) for item in (value.split(",") if key in _LISTS else [value]))


def _absolute(key: str, value: str) -> str:
    """Make one path absolute."""
    from ..model.text import TEMPLATES
    from ..sources.hub import HUB_NAME

    if key in _MODELS:
        name, colon, file = value.partition(":")
        prefix = _scheme(value) or (name + colon if colon and os.path.isfile(file) else value)
        return prefix + _path(value.removeprefix(prefix)) if prefix != value else value
    is_word = value in {"data.backbones": ["", NCBI, AVILIST], "evaluate.templates": [*TEMPLATES]}.get(key, [""])
    is_word |= key == "data.photos" and bool(HUB_NAME.fullmatch(value)) and not os.path.exists(value)
    is_path = key in _PATHS or key in _LISTS or (key == "model.pretrained" and os.path.isfile(value))
    return _path(value) if is_path and not is_word else value


def listed(config: Config) -> str:
    """List every setting: its name, its value in a configuration, what it means and its limits."""
    values, lines = flat(config.to_dict()), []
    for section in (getattr(config, f.name) for f in dataclasses.fields(config) if f.name != "profile"):
        for part in (section, *(v for v in vars(section).values() if dataclasses.is_dataclass(v))):
            lines += ["", (inspect.getdoc(type(part)) or "").partition("\n")[0]]
            for f in dataclasses.fields(part):
                if meaning := f.metadata.get("meaning"):
                    limits, key = f.metadata["limits"], f"{part.section}.{f.name}"
                    said = " or ".join(word or "none" for word in limits) if isinstance(limits, tuple) else limits
                    lines.append(f"  {key} = {_as_given(values[key])}\n      {meaning}{f' ({said})' if said else ''}")
    return "\n".join(lines[1:])


def _as_given(value: object) -> str:
    """Write a value as SET takes it."""
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _path(value: str) -> str:
    return os.path.abspath(os.path.expanduser(value))


def check_settings(config: Config) -> None:
    """Check what `config` cannot know: raise `InputError` for a file, folder, model or device that is not there."""
    from ..catalog import descriptions, licences
    from ..evaluation.sets import survey_sets
    from ..model import load, text, towers
    from ..structure import control, traits
    from ..taxonomy.resolution import check_backbones
    from ..training import data, processes

    check_backbones(config.data)
    licences.check_licenses(config.data.licenses)
    if config.data.descriptions:
        descriptions.read_descriptions(config.data.descriptions)
    elif DESCRIPTION in (*config.train.text_types, config.evaluate.text_type):
        raise InputError(
            "the text type description needs a table of how species look: set data.descriptions, or leave it out of "
            "train.text_types and evaluate.text_type"
        )
    towers.model_config_dict(config.model)
    towers.autocast(config.train.precision, towers.default_device())
    data.check_replay(config.train)
    processes.check_gpus(config.train)
    control.check_controls(config)
    text.read_templates(config.evaluate.templates)
    for address in config.evaluate.models:
        load.check_address(address)
    if config.evaluate.traits:
        traits.read_traits(config)
    if config.evaluate.sets:
        survey_sets(config.evaluate.sets)


def training_files(config: Config) -> list[Path]:
    """List the files by which settings decide the model, all below a folder: checklists, weights to start from."""
    checklists = [item for item in config.data.backbones if item not in (NCBI, AVILIST)]
    if checklists:
        from ..taxonomy.resolution import check_backbones

        check_backbones(config.data)
    weights = (config.model.pretrained, _model_path(config.model.name))
    return _files([*checklists, config.data.descriptions, *weights, config.train.replay])


def digest_of_evaluation(config: Config) -> str:
    """Return a digest of the files by which settings decide what is asked of whom: prompt templates, sets, models."""
    cfg = config.evaluate
    return digest_of_files(_files([cfg.templates, cfg.sets, cfg.traits, *map(_model_path, cfg.models)]))


def _model_path(address: str) -> str:
    """Return the path in a model's address."""
    scheme = _scheme(address)
    path = address.removeprefix(scheme) if scheme else address.partition(":")[2]
    return os.path.join(path, "model") if scheme == "run:" else path


def _scheme(address: str) -> str:
    """Return what says that a folder follows in a model's address, or ''."""
    return next((scheme for scheme in _FOLDERS if address.startswith(scheme)), "")


def _files(named: list[str]) -> list[Path]:
    """List what there is of the named files, and below the named folders."""
    paths = [Path(name) for name in named if name and os.path.exists(name)]
    return [file for path in paths for file in sorted([path, *path.rglob("*")])]


def changed(config: Config) -> dict:
    """Return the settings in which a configuration differs from its profile, as dotted keys."""
    asked, profile = (flat(each.to_dict()) for each in (config, load_config(config.profile)))
    changed = {key: value for key, value in asked.items() if value != profile[key]}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in changed.items()}


def as_written(config: Config) -> dict:
    """Return a configuration as config.json holds it."""
    return json.loads(json.dumps(config.to_dict()))


def digest_of_photos(config: Config) -> str:
    """Return a digest of what is said of the photographs (raw table, names) and of their files' sizes and times."""
    if config.data.source != "photos":
        if config.data.photos or config.data.names:
            raise InputError("photographs go with the profile photos: pass PROFILE=photos PHOTOS=path/to/folder")
        return ""
    from ..files import archives
    from ..files.crops import split_crop
    from ..files.tables import digest_of_table
    from ..sources import read_names, read_source

    raw = read_source(config.data)
    said = read_names(config.data, raw)
    files = sorted({str((archives.split_location(name) or split_crop(name))[0]) for name in raw["location"]})
    return digest_of_table(raw) + ("" if said is None else digest_of_table(said)) + digest_of_files(files)


def digest_of_training(config: Config) -> str:
    """Return a digest of all that decides the catalog and the model: settings, and the content that they name."""
    catalogs = str([(path, _digest_of_catalog(path)) for path in (config.data.extends, config.data.benchmark) if path])
    content = digest_of_photos(config) + catalogs + digest_of_files(training_files(config))
    return sha256(content.encode()).hexdigest()


def _digest_of_catalog(path: str) -> str:
    """Return a digest of what a catalog holds."""
    from ..catalog import table
    from ..files.tables import digest_of_table

    return digest_of_table(table.read_catalog(path))


def digest_of_files(files: list[str | Path]) -> str:
    """Return a digest of the names, sizes and times of files; one that is not there counts as nothing."""
    sha = sha256()
    for file in map(Path, files):
        if file.exists():
            sha.update(f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}\n".encode())
    return sha.hexdigest()
