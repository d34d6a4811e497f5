"""When a stage of a run is up to date: what it was made of, and whether what it made is still there.

Takes a run's folder and a notebook, its settings and a digest of its data; returns reasons. A stage is made of its
notebook, settings and data, the code of the library that it imports, the versions of packages that decide numbers, and
the files of the run that its first cell says it reads, all by content.
"""

import ast
import functools
import json
import os
import re
import time
from collections.abc import Iterable
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from ..config import deciding, flat
from .folder import git_commit
from .manifest import NAME, PARTS_FOLDER, Manifest, append, fact_of, file_sha256, read_manifest, walk
from .writing import atomic, remove

LIBRARY = Path(__file__).resolve().parents[1]
DECISIVE = (
    *("torch", "open_clip_torch", "timm", "numpy", "scipy", "pandas", "pyarrow", "pillow", "simplejpeg"),
    *("scikit-learn", "umap-learn", "gnparser", "taxoniq", "matplotlib"),
)
_PASSING = (".log", ".failed.ipynb")  # ends of names of what no stage leaves for good
_NEVER_BY_HAND = (".tar", ".parquet", ".pt", ".safetensors", ".npy", ".jpg")
ASIDE = "set_aside"  # the folder of a run for what may have been changed by hand
_IMPORT = re.compile(r"^[ \t]*import[ \t]+([\w., \t]+)", re.MULTILINE)
_FROM = re.compile(r"^[ \t]*from[ \t]+(\.*)([\w.]*)[ \t]+import[ \t]+(\([^)]*\)|[^\n#]*)", re.MULTILINE)
_WORD = re.compile(r"\w+")
_READS = re.compile(r"^\| *Reads *\|(.*)\|", re.MULTILINE)


class Stage(NamedTuple):
    """A notebook, what it is made of, and the files and folders of the run that it reads."""

    name: str
    made_of: dict
    reads: tuple[str, ...]


def stage_of(notebook: Path, settings: dict, data: str) -> Stage:
    """Return the stage of a notebook under nested settings, with a digest of the data outside of the run."""
    cells = cells_of(notebook)
    code = "\n".join(source for kind, source, _ in cells if kind == "code")
    said = "".join(_READS.findall(cells[0][1])) if cells else ""
    made_of = {
        "notebook": sha256("\0".join(source for _, source, _ in cells).encode()).hexdigest(),
        "settings": settings,
        "data": data,
        "code": code_digests(_imported(code, "")),
        "versions": versions(),
    }
    return Stage(notebook.stem, made_of, tuple(re.findall(r"`([\w./-]+)`", said)))


def cells_of(notebook: Path) -> list[tuple[str, str, list[str]]]:
    """Return type, source and tags of each cell; `nbformat` takes a second to be imported."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [(cell["cell_type"], "".join(cell["source"]), cell["metadata"].get("tags", [])) for cell in cells]


@functools.cache
def versions(packages: tuple[str, ...] = DECISIVE) -> dict[str, str]:
    """Return the versions of packages; of one that is not installed ''."""
    found = {}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = ""
    return found


@functools.cache  # seconds
def code_without_comments(packages: tuple[str, ...]) -> str:
    """Return a digest of what packages of the library do: comments and docstrings take no part."""
    digest = sha256()
    for path in sorted(path for package in packages for path in (LIBRARY / package).rglob("*.py")):
        tree = ast.parse(path.read_bytes())
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
                node.body = node.body[1:] or [ast.Pass()]
        digest.update(ast.unparse(tree).encode())
    return digest.hexdigest()[:16]


def code_digests(modules: Iterable[str]) -> dict[str, str]:
    """Return a digest of each package of the library that these modules, and all that they import, belong to."""
    found, todo = set(), [name for name in modules if name in _modules()]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += _needed(name) - found
    packages: dict[str, list[Path]] = {}
    for name in sorted(found):
        path = _modules()[name]
        files = path.parent.glob("*.mplstyle") if path.name == "__init__.py" else []
        packages.setdefault(".".join(name.split(".")[1:2]) or "bioclip_lib", []).extend([path, *files])
    return {package: _digest_of_sources(tuple(files)) for package, files in packages.items()}


@functools.cache
def _digest_of_sources(files: tuple[Path, ...]) -> str:
    digest = sha256()
    for file in files:
        digest.update(f"{file.name} ".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


@functools.cache
def _modules() -> dict[str, Path]:
    """Return the modules of the library, by name."""
    paths = {path.relative_to(LIBRARY.parent): path for path in LIBRARY.rglob("*.py")}
    return {".".join(name.with_suffix("").parts).removesuffix(".__init__"): path for name, path in paths.items()}


@functools.cache
def _needed(module: str) -> set[str]:
    """Return the modules of the library that a module imports, anywhere in it, and those that hold it."""
    path = _modules()[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    holders = {module.rsplit(".", n)[0] for n in range(1, module.count(".") + 1)}
    return (_imported(path.read_text(encoding="utf-8"), package) | holders) & set(_modules())


def _imported(source: str, package: str) -> set[str]:
    """Return what a source imports, anywhere in it; names of a module may be modules themselves."""
    found = {name.strip() for names in _IMPORT.findall(source) for name in names.split(",")}
    for dots, module, names in _FROM.findall(source):  # parsing all of the library takes a second
        base = package.rsplit(".", len(dots) - 1)[0] if len(dots) > 1 else package if dots else ""
        base = ".".join(part for part in (base, module) if part)
        found.update([base, *(f"{base}.{name}" for name in _WORD.findall(names))])
    return found


def stale(root: Path, stage: Stage, damaged: dict[str, str] | None = None) -> list[str]:
    """Return why a stage has to be made again: what it was made of is another, or its files are lost (`damage`)."""
    known = read_manifest(root)
    if stage.name not in known.stages:
        return ["never ended here"]
    fact = known.stages[stage.name]
    old, new, reasons = fact["made_of"], _with_inputs(known, stage), []
    for kind in new:
        values = [each.get(kind, "") for each in (old, new)]
        before, now = map(deciding, values) if kind == "settings" else (flat({kind: value}) for value in values)
        keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        if keys:
            named = [key.removeprefix(f"{kind}.") for key in keys[:4] if key != kind]
            reasons.append(f"other {kind}" + f" ({', '.join(named)})" * bool(named))
    lost = fact.get("lost", {}) | {name: what for name, what in (damaged or {}).items() if name in fact["files"]}
    return reasons + [f"{name} is {what}" for name, what in sorted(lost.items())]


def give_up(root: Path, damaged: dict[str, str]) -> dict[str, Path]:
    """Remove damaged files; what is lost stays so for each of its makers until that has ended again.

    What somebody may have changed by hand is kept elsewhere in the run: returns where.
    """
    kept = {}
    if damaged:
        known = read_manifest(root)
        for fact in known.stages.values():
            lost = {name: what for name, what in damaged.items() if name in fact["files"]}
            fact["lost"] = fact.get("lost", {}) | lost
        write_manifest(root, known)
        for name in damaged:  # whoever makes it again may have to read it
            if (root / name).is_file() and not name.endswith(_NEVER_BY_HAND):
                kept[name] = root / ASIDE / time.strftime("%Y%m%d-%H%M%S") / name
                kept[name].parent.mkdir(parents=True, exist_ok=True)
                os.replace(root / name, kept[name])
            remove(root / name)
    return kept


def _with_inputs(known: Manifest, stage: Stage) -> dict:
    """Return what a stage is made of, with the digests of what it reads of the files that other stages made."""
    own = set(known.stages.get(stage.name, {}).get("files", ()))
    made = {name for fact in known.stages.values() for name in fact["files"]} - own
    inputs = {}
    for place in stage.reads:
        names = [name for name in made if name == place or (place[-1] == "/" and name.startswith(place))]
        facts = sorted(f"{name} {known.files[name]['sha256']}" for name in names if name in known.files)
        inputs[place] = sha256("\n".join(facts).encode()).hexdigest()[:16]
    return stage.made_of | {"inputs": inputs}


def damage(root: Path, by_digest: bool = False) -> dict[str, str]:
    """Return the files of finished stages that are "missing" or "damaged", by size and time or of all by digest."""
    known, found = read_manifest(root), {}
    wanted = {name for fact in known.stages.values() for name in fact["files"]}
    there = dict(walk(root))
    for name in sorted(wanted):
        if name not in there:
            found[name] = "missing"
        elif name not in known.files or not is_same(there[name], known.files[name], by_digest):
            found[name] = "damaged or changed"
    return found


def is_same(path: str, fact: dict, by_digest: bool = False) -> bool:
    """Tell whether a file is the one that was recorded."""
    stat = os.stat(path)
    if stat.st_size != fact["size"]:
        return False
    return (stat.st_mtime_ns == fact["mtime_ns"] and not by_digest) or file_sha256(path) == fact["sha256"]


class Begun(NamedTuple):
    """What a stage finds as it begins: what is recorded, and size and time of each file of the run."""

    known: Manifest
    files: dict[str, tuple[int, int]]


def begin(root: Path) -> Begun:
    """Note what a stage finds; files that nobody recorded are recorded."""
    known, files = read_manifest(root), _stats(root)
    append(root, [fact_of(root / name, name) for name in files if name not in known.files])
    return Begun(read_manifest(root), files)


def finish(root: Path, stage: Stage, begun: Begun) -> None:
    """Record that a stage has ended: what it was made of, and all files that were written since."""
    known, now, files = read_manifest(root), _stats(root), {}
    for name, stat in now.items():
        fact = known.files.get(name)
        is_known = fact and (fact["size"], fact["mtime_ns"]) == stat
        files[name] = fact if is_known else fact_of(root / name, name)
    kept = known.stages.get(stage.name, {}).get("files", [])
    own = [name for name in files if name in kept or begun.files.get(name) != now[name]]
    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    found = Manifest(begun.known.files, known.stages | {stage.name: {"files": own}})
    fact = {"made_of": _with_inputs(found, stage), "commit": git_commit(), "made": made, "files": own}
    write_manifest(root, Manifest(files, known.stages | {stage.name: fact}))
    remove(root / PARTS_FOLDER)


def _stats(root: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of each file of a run."""
    stats = ((name, os.stat(path)) for name, path in walk(root) if not name.endswith(_PASSING))
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in stats}


def write_manifest(root: Path, known: Manifest) -> None:
    """Write a manifest anew: a line a file and a stage."""
    lines = [fact | {"file": name} for name, fact in known.files.items()]
    lines += [{"stage": name} | fact for name, fact in known.stages.items()]
    with atomic(root / NAME) as tmp:
        tmp.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
