"""Fixtures that several test modules share; real photographs are looked for beside the checkout."""

import io
import os
import tarfile
import zipfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read by huggingface_hub when it is first imported
if n_workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):  # of pytest-xdist; they share the processors
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // n_workers)))

import hypothesis
import nbformat
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bioclip_lib import RANKS
from bioclip_lib.catalog.assembly import join
from bioclip_lib.catalog.duplicates import inspect_images
from bioclip_lib.catalog.table import read_catalog
from bioclip_lib.run import REPOSITORY
from bioclip_lib.sources.folders import read_image_folder
from bioclip_lib.taxonomy.resolution import KEY, context_of

hypothesis.settings.register_profile("any machine", deadline=None)  # a busy one is no failure
hypothesis.settings.load_profile("any machine")

LINEAGES = {
    "Parus major": ("Animalia", "Chordata", "Aves", "Passeriformes", "Paridae", "Parus", "major"),
    "Parus ater": ("Animalia", "Chordata", "Aves", "Passeriformes", "Paridae", "Parus", "ater"),
    "Acer rubrum": ("Plantae", "Tracheophyta", "Magnoliopsida", "Sapindales", "Sapindaceae", "Acer", "rubrum"),
    "copepod eggs": ("Animalia", "Arthropoda", "Copepoda", "", "", "", ""),
}
COMMON = {"Parus major": "great tit", "Acer rubrum": "red maple"}


LONGEST = ("test_notebooks.py", "test_distributed.py", "test_processes.py", "test_loop.py", "test_checklists.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, so that no worker ends with one alone (`make test` gives a worker whole files)."""
    order = {name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(LONGEST)))


@pytest.fixture(scope="session")
def photos() -> Path:
    path = Path(__file__).resolve().parents[2] / "shared" / "photos"
    if not path.is_dir():
        pytest.skip(f"real photographs are looked for in {path}; not there")
    return path


@pytest.fixture(scope="session")
def write_image():
    """Write a seeded noise image; returns its path."""

    def write(path: Path, size: tuple[int, int] = (40, 30), seed: int = 0, **save) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (size[1] // 5, size[0] // 5, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR).save(path, **save)
        return path

    return write


@pytest.fixture(scope="session")
def jpeg():
    """Return the bytes of a seeded 16 x 12 JPEG."""

    def encode(seed: int) -> bytes:
        buffer = io.BytesIO()
        pixels = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(buffer, "JPEG")
        return buffer.getvalue()

    return encode


@pytest.fixture(scope="session")
def write_archive():
    """Write name -> bytes as a tar, tar.gz or zip, by the suffix; returns its path."""

    def write(path: Path, files: dict[str, bytes]) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".zip":
            with zipfile.ZipFile(path, "w") as file:
                for name, data in files.items():
                    file.writestr(name, data)
            return path
        with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as file:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                file.addfile(info, io.BytesIO(data))
        return path

    return write


@pytest.fixture(scope="session")
def run_cells():
    """Run the code cells of a notebook in this process, with parameters; returns the names they leave."""

    def run(notebook: str, **parameters) -> dict:
        names: dict = {"display": lambda *_: None}
        for cell in nbformat.read(REPOSITORY / "notebooks" / f"{notebook}.ipynb", as_version=4).cells:
            if "parameters" in cell.metadata.get("tags", []):
                names.update(parameters)
            elif cell.cell_type == "code":
                exec(compile(cell.source, cell.id, "exec"), names)
        return names

    return run


@pytest.fixture
def build_data_set(tmp_path, run_cells):
    """Run the code cells of 01_dataset_construction on a path of photographs; returns the names they leave."""

    def build(photos: Path, **settings) -> dict:
        overrides = {"data.photos": str(photos), "split.min_images": 1, **settings}
        names = run_cells(
            "01_dataset_construction", profile="photos", run_dir=str(tmp_path / "run"), overrides=overrides
        )
        assert read_catalog(names["run"].catalog).equals(names["table"])
        return names

    return build


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory, write_image) -> Path:
    """A set of four classes with ten images each, and the files that people leave beside them."""
    folder = tmp_path_factory.mktemp("data") / "garden"
    for i, name in enumerate(LINEAGES):
        for j in range(10):
            write_image(folder / name / f"{j}.jpg", size=(40 + 5 * j, 30), seed=100 * i + j)
    (folder / "README.md").write_text("about")
    (folder / ".DS_Store").write_bytes(b"x")
    return folder


@pytest.fixture(scope="session")
def resolve():
    """Stand-in for a backbone: the lineages above, everything else unresolved."""

    def resolved(raw: pd.DataFrame) -> pd.DataFrame:
        table = raw.assign(context=context_of(raw))[list(KEY)].drop_duplicates(ignore_index=True)
        lineages = [LINEAGES.get(name, ("",) * 7) for name in table["verbatim_name"]]
        table[list(RANKS)] = pd.DataFrame(lineages, columns=list(RANKS))
        depth = [sum(map(bool, lineage)) for lineage in lineages]
        table["scientific_name"] = [
            f"{lineage[5]} {lineage[6]}" if n == 7 else lineage[n - 1] if n else ""
            for lineage, n in zip(lineages, depth, strict=True)
        ]
        table["common_name"] = table["scientific_name"].map(COMMON).fillna("")
        table["rank"] = ["" if not n else RANKS[n - 1] for n in depth]
        table["name_status"] = ["accepted" if n else "unresolved" for n in depth]
        return table.assign(backbone="test", taxon_id="", rule="", alternatives="")

    return resolved


@pytest.fixture(scope="session")
def catalog(image_folder, resolve) -> pd.DataFrame:
    """The catalog of `image_folder`, before duplicates and splits."""
    raw = read_image_folder(image_folder)
    return join(raw, resolve(raw), inspect_images(raw))
