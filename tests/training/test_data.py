"""What training reads from a run's shards: views, labels and groups that belong together; the projection's start."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from bioclip_lib.catalog import splits
from bioclip_lib.catalog import table as catalogs
from bioclip_lib.config import load_config
from bioclip_lib.errors import InputError
from bioclip_lib.evaluation import contestants
from bioclip_lib.model import features
from bioclip_lib.model.load import model_digest
from bioclip_lib.model.towers import build_model
from bioclip_lib.run import Run
from bioclip_lib.shards import read
from bioclip_lib.shards.write import write_shards
from bioclip_lib.training import data

CONFIG = load_config("photos", {"split.seed": 1, "shards.image_size_px": 224})
CONFIG_OF_TWO = load_config("photos", {"train.text_types": "sci,taxon"})


@pytest.fixture(scope="module")
def run(tmp_path_factory, catalog):
    """A run of the photos profile on the garden of conftest, up to its shards."""
    run = Run(tmp_path_factory.mktemp("run"))
    table = splits.assign_splits(catalog, CONFIG.split)
    catalogs.write_catalog(table, run.catalog)
    write_shards(table, run.shards, CONFIG.shards)
    return run


@pytest.fixture(scope="module")
def clip():
    return build_model(CONFIG.model, seed=0)


@pytest.mark.numerical
def test_frozen_features_of_both_views_keep_their_labels(run, clip):
    training, validation = data.load_training_data(run, CONFIG, clip)
    image_ids = read.read_image_ids(run.shards, "train")
    n = len(image_ids)
    assert training.inputs.shape == (2 * n, 1280) and training.labels.shape == (2 * n,)
    assert (training.labels[:n] == training.labels[n:]).all()
    plain = features.trunk_table(run, clip, ["train"]).values
    assert (training.inputs[:n] == plain).all() and not np.allclose(training.inputs[n:], plain, atol=1e-3)
    assert len(validation.inputs) == len(validation.labels) == len(read.read_image_ids(run.shards, "val"))
    table = catalogs.read_catalog(run.catalog).set_index("image_id")
    keys = table["class_key"]
    by_label = {label: set(keys[np.array(image_ids)[training.labels[:n] == label]]) for label in training.labels}
    assert all(len(classes) == 1 for classes in by_label.values())
    held_out = set(keys[table["split"] == "heldout_species"])
    assert held_out and not held_out & set.union(*by_label.values())


def test_a_mirrored_mirror_image_is_the_image(run, clip, monkeypatch):
    plain = features.trunk_table(run, clip, ["val"]).values
    images = read.load_images(run.shards, ["val"], 224)[1]
    monkeypatch.setattr(features, "load_images", lambda *_: (None, images[:, :, ::-1]))
    assert np.allclose(features.trunk_table(run, clip, ["val"], mirrored=True).values, plain, atol=1e-4)


def test_higher_taxa_share_their_group(run):
    table = catalogs.read_catalog(run.catalog)
    _, captioned = data.captioned_classes(table, CONFIG)
    assert captioned.tokens.shape[:2] == captioned.groups.shape
    classes = sorted(table["class_key"].unique())
    tits = [i for i, name in enumerate(classes) if name.startswith("Parus")]
    genus = captioned.groups[:, -1]
    assert genus[tits[0]] == genus[tits[1]] and (genus == genus[tits[0]]).sum() == 2
    assert len(set(captioned.groups[:, 0])) == len(classes)


def test_captions_longer_than_the_context_are_counted_in_one_warning(run):
    table = catalogs.read_catalog(run.catalog)
    table = table[table["split"].isin(["train", "val"])]
    config = load_config("photos", {"model.context_length": 12, "train.text_types": "sci,taxon"})
    with pytest.warns(UserWarning, match=r"captions are longer than model\.context_length=12 tokens") as warned:
        _, captioned = data.captioned_classes(table, config)
    assert len(warned) == 1
    _, whole = data.captioned_classes(table, CONFIG_OF_TWO)
    ends = whole.tokens.argmax(dim=-1)  # the place of the end token
    distinct = {tuple(row) for row in whole.tokens[ends >= 12].tolist()}
    assert int(str(warned[0].message).split()[0]) == len(distinct) > 0
    assert (captioned.tokens[ends >= 12][:, -1] == 49_407).all()  # cut, and still ended


def test_captions_that_just_fit_are_not_warned_of(run, recwarn):
    table = catalogs.read_catalog(run.catalog)
    _, whole = data.captioned_classes(table, CONFIG_OF_TWO)
    longest = int(whole.tokens.argmax(dim=-1).max()) + 1
    config = load_config("photos", {"model.context_length": longest, "train.text_types": "sci,taxon"})
    _, fitting = data.captioned_classes(table, config)
    assert not recwarn.list
    assert (fitting.tokens == whole.tokens[:, :, :longest]).all()


@pytest.mark.parametrize(
    ("text_types", "message"),
    [(("latin",), "unknown train.text_types 'latin'; choose"), ((), "is empty; choose some of")],
)
def test_text_types_that_there_are_not_are_refused(text_types, message):
    with pytest.raises(InputError, match=rf"{message} com, sci"):
        load_config("photos", {"train.text_types": text_types})


def test_lineages_number_taxa_and_leave_unknown_ranks_open(run):
    table = catalogs.read_catalog(run.catalog)
    _, captioned = data.captioned_classes(table, CONFIG)
    classes = sorted(table["class_key"].unique())
    major, ater = (captioned.lineages[i] for i, name in enumerate(classes) if name.startswith("Parus"))
    assert (major[:6] == ater[:6]).all() and major[6] != ater[6] and (major >= 0).all()
    eggs = next(row for row in captioned.lineages if row[3] == -1)
    assert (eggs[:3] >= 0).all() and (eggs[3:] == -1).all() and eggs[0] == major[0] != -1


def test_an_epithet_of_two_genera_and_a_genus_of_two_kingdoms_are_two_taxa(catalog):
    rows = catalog[catalog["species"] == "major"].iloc[[0, 0, 0]].reset_index(drop=True)
    rows = rows.assign(image_id=["a", "b", "c"], genus=["Parus", "Corvus", "Parus"])
    rows = rows.assign(kingdom=["Animalia", "Animalia", "Plantae"])
    keys = rows["class_key"]
    codes = data.class_lineages(rows, keys.drop_duplicates().sort_values())
    assert len(set(codes[:, 6])) == len(codes)
    assert len(set(codes[:, 5])) == len(codes)


def test_the_projection_starts_from_half_whitened_principal_components(clip):
    rng = np.random.default_rng(0)
    spread = np.concatenate([[8.0, 4.0, 1.0], np.zeros(1277)])
    values = (rng.normal(size=(4_000, 1280)) * spread + 3).astype(np.float32)
    head = build_model(CONFIG.model, seed=0)
    data.start_projection(head, values)
    out = values @ head.visual.head.proj.weight.detach().numpy().T + head.visual.head.proj.bias.detach().numpy()
    assert np.abs(out.mean(axis=0)).max() < 1e-2 * out.std(axis=0).max()
    of_parts = out.std(axis=0)[:3]
    assert of_parts / of_parts[2] == pytest.approx(np.sqrt([8, 4, 1]), rel=0.05)
    assert np.abs(out[:, 3:]).max() < 1e-2 * of_parts[2]


def test_the_projection_is_the_same_whatever_number_of_threads_a_process_has():
    values = np.random.default_rng(0).normal(size=(2_000, 1280)).astype(np.float32)
    digests = set()
    for n in (1, 2):
        clip = build_model(CONFIG.model, seed=0)
        with threadpool_limits(n):
            data.start_projection(clip, values)
        digests.add(model_digest(clip))
    assert len(digests) == 1


def test_a_run_without_training_images_is_refused(tmp_path, catalog, clip):
    table = splits.assign_splits(catalog, CONFIG.split)
    nothing = table[table["split"] == "test"]
    catalogs.write_catalog(nothing, Run(tmp_path).catalog)
    with pytest.raises(InputError, match="no training images; rerun 01"):
        data.load_training_data(Run(tmp_path), CONFIG, clip)


def test_a_run_without_images_to_test_on_says_so(tmp_path, catalog):
    run, config = Run(tmp_path), load_config("photos", {"split.test_fraction": 0, "split.heldout_fraction": 0})
    write_shards(splits.assign_splits(catalog, config.split), run.shards, config.shards)
    with pytest.raises(InputError, match="has no image to test on"):
        contestants.load_features(run, config, ["pixels"])
