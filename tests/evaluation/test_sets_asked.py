"""Published sets from their files to the leaderboard: what is asked, by whom, and beside which published numbers."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bioclip_lib.catalog import splits
from bioclip_lib.catalog import table as catalogs
from bioclip_lib.config import load_config
from bioclip_lib.errors import InputError
from bioclip_lib.evaluation import classifiers, contestants, few_shot, leaderboard, metrics, sets, zero_shot
from bioclip_lib.model import encode as embed
from bioclip_lib.model import load as loading
from bioclip_lib.model.load import export_model
from bioclip_lib.model.text import TEMPLATES
from bioclip_lib.model.towers import build_model
from bioclip_lib.run import Run

TINY = {"image_size_px": 16, "vision_layers": 1, "vision_width": 32, "text_layers": 1, "text_width": 32}
SETTINGS = {f"model.{key}": value for key, value in {**TINY, "text_heads": 2, "embed_dim": 16}.items()}
LABELS = ("Pest_one", "Pest two", "Pest_three")


@pytest.fixture
def config(tmp_path):
    settings = {**SETTINGS, "evaluate.sets": str(tmp_path / "sets"), "evaluate.n_folds": 2}
    return load_config("mini", settings)


@pytest.fixture
def run(tmp_path, config, write_image, catalog):
    """An untrained model; a set of three classes with seven images, one of them not there."""
    run = Run(tmp_path / "run")
    catalogs.write_catalog(splits.assign_splits(catalog, config.split), run.catalog)
    export_model(build_model(config.model, seed=1), config.model, run.model)
    lines = ["FILE_NAME,CATEGORY"]
    for i in range(21):
        lines.append(f"{i}.png,{LABELS[i % 3]}")
        if i:
            write_image(tmp_path / "sets" / "PLK_Mini" / "images" / f"{i}.png", seed=i)
    (tmp_path / "sets" / "PLK_Mini" / "labels.csv").write_text("\n".join(lines))
    return run


def test_a_set_is_asked_as_published_and_stands_beside_the_published_numbers(run, config, tmp_path):
    (tmp_path / "sets" / "my_own").mkdir()
    by_set, found = sets.score_sets(run, config)
    assert list(by_set) == ["plankton"]
    assert found.loc["sets/my_own", ["title", "n_images", "differs", "notes"]].tolist() == ["", 0, "", ""]
    assert "rename it" in found.loc["sets/my_own", "to_do"]
    assert found.loc["plankton", ["n_images", "to_do"]].tolist() == [20, ""]
    assert "21 images, 3,440 expected" in found.loc["plankton", "differs"]
    assert "file not found" in found.loc["plankton", "differs"] and "newt" not in found.index
    assert "https://" in found.loc["rare_species", "to_do"]

    loaded = loading.load_model(f"run:{run.root}")
    files = [tmp_path / "sets" / "PLK_Mini" / "images" / f"{i}.png" for i in range(1, 21)]
    features, labels = embed.encode_images(loaded.model, files), np.array([LABELS[i % 3] for i in range(1, 21)])
    classes = sorted(LABELS)
    weights = zero_shot.zero_shot_weights(
        lambda texts: embed.encode_texts(loaded.model, texts, loaded.tokenizer), classes, TEMPLATES["original"]
    )
    right = np.array(classes)[zero_shot.zero_shot_predict(features, weights, 1)[:, 0]] == labels
    rows = by_set["plankton"].set_index(["task", "metric"])
    assert rows.loc[("zero_shot", "top1"), ["value", "n", "chance"]].tolist() == pytest.approx(
        [right.mean(), 20, 1 / 3]
    )
    for k, folds in few_shot.few_shot_folds(labels, (1, 5), 2, "cumulative").items():
        hits = [(classifiers.simple_shot(features, labels, *fold) == labels[fold[1]]).mean() for fold in folds]
        assert rows.loc[(f"few_shot/{k}", "top1"), "value"] == pytest.approx(np.mean(hits))

    metrics.append_metrics(run.metrics_csv, by_set["plankton"], run="r", profile="mini", notebook="04_zero_shot")
    board = leaderboard.build_leaderboard(
        leaderboard.read_results([run.metrics_csv]), leaderboard.read_published(), found["differs"]
    )
    row = leaderboard.score_table(board).loc[("plankton", "zero_shot", "top1")]
    assert row["BioCLIP 2"] == "3.9 (published)" and "[" in row["trained"]


def test_a_second_call_embeds_nothing_and_a_changed_file_is_seen(run, config, tmp_path, monkeypatch, write_image):
    calls, encode = [], embed.encode_images_by
    monkeypatch.setattr(embed, "encode_images_by", lambda *asked: calls.append(1) or encode(*asked))
    first, _ = sets.score_sets(run, config)
    again, _ = sets.score_sets(run, config)
    assert len(calls) == 1 and first["plankton"].equals(again["plankton"])
    write_image(tmp_path / "sets" / "PLK_Mini" / "images" / "1.png", seed=99)
    sets.score_sets(run, config)
    assert len(calls) == 2


def test_models_share_one_decoding_of_the_files(run, config, tmp_path, monkeypatch):
    export_model(build_model(config.model, seed=2), config.model, tmp_path / "other")
    config = replace(config, evaluate=replace(config.evaluate, models=(f"local-dir:{tmp_path / 'other'}",)))
    opened, open_image = [], embed.open_image
    monkeypatch.setattr(embed, "open_image", lambda path, *asked: opened.append(path) or open_image(path, *asked))
    by_set, _ = sets.score_sets(run, config)
    assert len(opened) == len(set(opened)) == 20
    top1 = by_set["plankton"].query("metric == 'top1' and task == 'few_shot/1'").set_index("model")["value"]
    config = replace(config, evaluate=replace(config.evaluate, models=()))
    alone, _ = sets.score_sets(run, config)
    assert list(top1.index) == ["trained", f"local-dir:{tmp_path / 'other'}"] and len(opened) == 20
    assert alone["plankton"].query("metric == 'top1' and task == 'few_shot/1'")["value"].tolist() == [top1["trained"]]


def test_each_model_is_loaded_once_however_many_the_sets_and_nothing_is_embedded_before_all_fit(
    run, config, tmp_path, monkeypatch, write_image
):
    for i in range(21):
        write_image(tmp_path / "sets" / "birds525" / f"BIRD {i % 3}" / f"{i}.jpg", seed=50 + i)
    loads, load = [], contestants.load_model
    monkeypatch.setattr(contestants, "load_model", lambda address: loads.append(address) or load(address))
    by_set, found = sets.score_sets(run, config)
    assert list(by_set) == ["birds525", "plankton"] and found["n_images"].sum() == 41 and len(loads) == 1
    assert "398 strings for 400 species" in found.loc["rare_species", "notes"]
    assert {"zero_shot", "few_shot/1", "few_shot/5"} == set(by_set["birds525"]["task"])
    (tmp_path / "sets" / "PLK_Mini" / "labels.csv").write_text("FILE_NAME,CATEGORY\n1.png,one\n")
    with pytest.raises(InputError, match="Plankton has no two classes"):
        sets.score_sets(run, config)
    assert len(loads) == 1


def trap_table(folder, part, n, offset=0):
    """Write one of the five tables of the camera traps: two species in turn, with their ranks."""
    ranks = {"kingdom": "Animalia", "phylum": "Chordata", "cls": "Mammalia", "order": "Carnivora", "family": "Felidae"}
    rows = pd.DataFrame({"filepath": [f"{offset + i}.png" for i in range(n)], **ranks, "genus": "Panthera"})
    rows["species"] = [("leo", "onca", "pardus")[(i + offset) % 2 + (part == "island")] for i in range(n)]
    rows.assign(common_name="").to_csv(folder / f"{part}-balanced.csv")


def test_camera_traps_are_the_mean_of_sets_asked_one_by_one(run, config, tmp_path, write_image):
    """Pooled there are three candidates; one by one there are two, in each set others."""
    folder, sizes = tmp_path / "sets" / "camera_traps", {"ENA24": 14, "island": 16}
    for part, n in sizes.items():
        for i in range(n):
            write_image(folder / "data" / "test" / part / f"{i}.png", seed=i + 100 * n)
        trap_table(folder, part, n)
    by_set, found = sets.score_sets(run, config)
    assert "pooled" not in found.loc["camera_traps", "differs"] and "order" not in found.loc["camera_traps", "differs"]
    rows = by_set["camera_traps"].set_index(["task", "metric"])
    assert (rows.loc[[("zero_shot/ENA24", "top1"), ("zero_shot/island", "top1")], "chance"] == 0.5).all()
    for task in ("zero_shot", "few_shot/1"):
        each = rows.loc[[(f"{task}/{part}", "top1") for part in sizes], "value"]
        mean = rows.loc[(task, "top1")]
        assert mean["value"] == pytest.approx(each.mean()) and mean["ci_low"] <= mean["value"] <= mean["ci_high"]
    assert rows.loc[("zero_shot", "top1"), "n"] == 30
    metrics.append_metrics(run.metrics_csv, by_set["camera_traps"], run="r", profile="mini", notebook="04_zero_shot")


def test_shots_of_train_and_queries_of_test(run, config, tmp_path, write_image):
    """As PlantDoc is asked by BioCLIP 2; a class of train without test images is a candidate all the same."""
    folder = tmp_path / "sets" / "plantdoc_full"
    for split, classes in {"train": "abc", "test": "ab"}.items():
        for i, name in enumerate(classes):
            for j in range(3):
                write_image(folder / split / f"leaf {name}" / f"{j}.jpg", seed=10 * i + j + 100 * (split == "test"))
    by_set, found = sets.score_sets(run, config)
    rows = by_set["plantdoc_few_shot"].set_index(["task", "metric"])
    assert set(rows.index.get_level_values("task")) == {"few_shot/1"}  # three images of train are no five shots
    assert rows.loc[("few_shot/1", "top1"), ["n", "chance"]].tolist() == [6, pytest.approx(1 / 3)]
    differs = found.loc["plantdoc_few_shot", "differs"]
    assert "classes of test numbered by themselves" in differs and "keep these two folders" not in differs
    for path in folder.glob("test/*/*.jpg"):
        path.rename(folder / "train" / path.parent.name / f"test {path.name}")
    for name in "abc":
        (folder / "train" / f"leaf {name}").rename(folder / f"leaf {name}")
    shutil.rmtree(folder / "test")
    (folder / "train").rmdir()
    assert "keep these two folders" in sets.score_sets(run, config)[1].loc["plantdoc_few_shot", "differs"]


def test_folds_from_train_to_test():
    labels, is_shot = np.array(list("aaabbbcc")), np.array([1, 1, 0, 1, 0, 0, 1, 1], bool)
    folds = few_shot.train_to_test_folds(labels, is_shot, (1, 2), 4)
    for shots, queries in folds[1]:
        assert sorted(labels[shots]) == ["a", "b", "c"] and is_shot[shots].all() and list(queries) == [2, 4, 5]
    assert len({tuple(shots) for shots, _ in folds[1]}) > 1
    assert [sorted(labels[shots]) for shots, _ in folds[2]] == [list("aacc")] * 4  # b has one image of train
    assert [list(queries) for _, queries in folds[2]] == [[2]] * 4


def test_a_data_set_of_the_run_with_the_name_of_a_published_one_is_refused(run, config, catalog):
    """Their few-shot scores have one key in metrics.csv: those of notebook 05 replaced those of the set."""
    own = splits.assign_splits(catalog, config.split).assign(source="plankton")
    catalogs.write_catalog(own, run.catalog)
    with pytest.raises(InputError, match=r"^plankton: this run has a data set of the same name"):
        sets.score_sets(run, config)


def test_without_a_text_tower_only_shots_are_asked_and_without_sets_nothing(run, config, tmp_path):
    trained_by_class = replace(config, train=replace(config.train, objective="classification"))
    tasks = sets.score_sets(run, trained_by_class)[0]["plankton"]["task"]
    assert set(tasks) == {"few_shot/1", "few_shot/5"}
    with pytest.raises(InputError, match=r"evaluate\.shots"):
        sets.score_sets(run, replace(config, evaluate=replace(config.evaluate, shots=())))
    none, found = sets.score_sets(run, replace(config, evaluate=replace(config.evaluate, sets="")))
    assert none == {} and found.empty
    (tmp_path / "sets" / "PLK_Mini" / "labels.csv").write_text("FILE_NAME,CATEGORY\n1.png,one\n0.png,two\n")
    with pytest.raises(InputError, match=r"Plankton has no two classes with readable images \(.*file not found.*\)"):
        sets.score_sets(run, config)
