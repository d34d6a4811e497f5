"""The comparison with pybioclip at toy size: the same taxa and scores, at every rank, from files to answers."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from bioclip_lib import RANKS
from bioclip_lib.identify import identify, name_features, read_labels
from speed import identify as script

DIM = 24


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labels")
    script.write_published(folder, 3_000, DIM)
    return folder


@pytest.fixture(scope="module")
def model():
    return script.small_model(DIM, image_size_px=16, vision_layers=1)


@pytest.mark.parametrize("rank", ["species", "family", "kingdom"])
def test_files_are_named_as_pybioclip_names_them(tmp_path, published, model, rank):
    files = []
    for i in range(5):
        files.append(tmp_path / f"{i}.png")
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (30, 40, 3), np.uint8)).save(files[-1])
    theirs = script.Injected(published, model).predict(list(map(str, files)), script.Rank[rank.upper()], min_prob=0)
    labels = replace(read_labels(published), made_of={})  # numbers in place of texts: of no model at all
    ours = identify(files, labels, model, rank=rank)
    for i, (_, row) in enumerate(ours.iterrows()):
        for place in range(1, len(theirs) // 5 + 1):
            other = theirs[i * (len(theirs) // 5) + place - 1]
            deepest = next(other[r] for r in RANKS[RANKS.index(rank) :: -1] if other[r])
            assert row[f"choice_{place}"] == deepest
            assert row[f"score_{place}"] == pytest.approx(other["score"], abs=1e-5)


def test_features_as_well_at_every_rank(published, model, capsys):
    script.compare(published, 2, DIM)
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows] == list(reversed(RANKS))
    assert all(float(row[1]) < 1e-5 and row[3] == "all" for row in rows)


def test_memory_start_and_files_are_measured(tmp_path, published, model, capsys):
    script.measure_memory(published, 3, DIM)
    script.measure_start(published)
    script.end_to_end(published, 2, model, tmp_path)
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert rows[0][:2] == ["3", "3,000"] and rows[1][1] == "3,000" and rows[2][:2] == ["2", "3,000"]


def test_a_family_that_is_missing_is_a_taxon_of_its_own(published):
    labels = read_labels(published)
    found = name_features(script.unit_rows(2, DIM, 1), labels, 10.0, "family", k=10_000)
    blank = labels.names["family"].iloc[labels.tree.first[4]] == ""
    assert blank.any() and found.scores.sum(axis=1) == pytest.approx(1)
