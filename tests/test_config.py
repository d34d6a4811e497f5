"""Profiles are differences from the defaults; what is not known is refused with what there is."""

import dataclasses
import inspect
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bioclip_lib import config
from bioclip_lib.config import PROFILES, Config, flat, load_config, setting_names
from bioclip_lib.errors import InputError
from bioclip_lib.run import open_run
from bioclip_lib.run.writing import write_json


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_differs_from_the_defaults_only_where_it_says(profile):
    config, default = load_config(profile), Config(profile)
    for name in setting_names():
        section, _, _field = name.partition(".")
        value, other = config, default
        for part in name.split("."):
            value, other = getattr(value, part), getattr(other, part)
        assert value == PROFILES[profile].get(name, other), (section, name)


@given(st.text())
def test_unknown_profiles_and_settings_are_refused(text):
    if text and text not in PROFILES:
        with pytest.raises(InputError, match="mini"):
            load_config(text)
    if text not in setting_names():
        with pytest.raises(InputError, match="unknown setting"):
            load_config("mini", {text: 1})


@pytest.mark.parametrize(
    ("profile", "changes", "steps", "epochs"),
    [
        ("photos", {}, 0, 36.0),
        ("photos", {"train.steps": "150"}, 150, 0.0),
        ("photos", {"train.epochs": "2"}, 0, 2.0),
        ("mini", {"train.epochs": 2}, 0, 2.0),
        ("mini", {"train.epochs": 2, "train.steps": 0}, 0, 2.0),
        ("mini", {"train.epochs": 0, "train.steps": 9}, 9, 0.0),
    ],
)
def test_of_steps_and_epochs_the_one_that_is_given_counts(profile, changes, steps, epochs):
    config = load_config(profile, changes)
    assert (config.train.steps, config.train.epochs) == (steps, epochs)
    again = flat(config.to_dict())
    assert load_config(again.pop("profile"), again) == config  # as a process, or a notebook, is told of it


def test_config_of_an_older_run_is_read_as_it_was_meant(tmp_path):
    written = load_config("photos").to_dict()
    written["train"] |= {"steps": 0, "epochs": 18.0}
    written["data"]["synthetic"]["shuffle_traits"] = False  # is no setting any more
    (tmp_path / "config.json").write_text(json.dumps(written))
    with pytest.warns(UserWarning, match=r"no more are left out: data\.synthetic\.shuffle_traits$"):
        train = load_config("", run_dir=str(tmp_path)).train
    assert (train.steps, train.epochs) == (0, 18.0)
    written["data"]["synthetic"].pop("shuffle_traits")
    written["model"].pop("bag_of_words")  # a setting newer than the run: what was done then, not today's profile
    (tmp_path / "config.json").write_text(json.dumps(written))
    assert written["profile"] == "photos" and not load_config("", run_dir=str(tmp_path)).model.bag_of_words
    (tmp_path / "config.json").write_text(json.dumps(written | {"train": {"steps": 250, "epochs": 0.0}}))
    train = load_config("", run_dir=str(tmp_path)).train
    assert (train.steps, train.epochs) == (250, 0.0)
    assert load_config("", {"train.steps": 9}, str(tmp_path)).train.steps == 9


def test_steps_and_epochs_at_once_are_refused():
    with pytest.raises(InputError, match=r"train\.steps is 9 and train\.epochs 2; give one"):
        load_config("photos", {"train.steps": 9, "train.epochs": 2})


@pytest.mark.parametrize(
    ("key", "value", "result"),
    [
        ("train.steps", "7", 7),
        ("train.lr", "1e-4", 1e-4),
        ("train.lr", 1, 1.0),
        ("train.freeze_image_tower", "true", True),
        ("train.text_types", "com,sci", ("com", "sci")),
        ("evaluate.shots", "1,2", (1, 2)),
        ("train.text_weights", "1,0.5,1,0,0", (1.0, 0.5, 1.0, 0.0, 0.0)),
        ("train.text_weights", [2, 1, 0, 0, 0], (2.0, 1.0, 0.0, 0.0, 0.0)),
        ("train.text_weights", "", ()),
        ("train.crop_area", "0.9,1", (0.9, 1.0)),
        ("data.licenses", "cc0,cc-by", ("cc0", "cc-by")),
        ("data.licenses", ["cc0"], ("cc0",)),
        ("data.licenses", "", ()),
    ],
)
def test_strings_become_the_type_of_the_field(key, value, result):
    section, name = key.split(".")
    assert getattr(getattr(load_config("mini", {key: value}), section), name) == result


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train.steps", "many"),
        ("train.steps", True),
        ("train.steps", 2.5),
        ("train.steps", float("inf")),
        ("train.freeze_image_tower", "perhaps"),
        ("data.photos", 3),
        ("data.licenses", [4]),
        ("train.text_weights", "often"),
        ("train.text_weights", 3),
        ("train", 1),
    ],
)
def test_values_of_another_type_are_refused(key, value):
    with pytest.raises(InputError, match=r"train|data\.(photos|licenses)"):
        load_config("mini", {key: value})


IMPOSSIBLE = [
    ("data.source", "photo", "choose synthetic or photos"),
    ("data.max_unreadable", "nan", "give a number from 0 to 1"),
    ("data.max_unreadable", 1.5, "give a number from 0 to 1"),
    ("data.synthetic.n_species", 3, "give a number from 4 to 1e6"),
    ("data.synthetic.n_images", 100, "take at least 2 a species"),
    ("data.synthetic.image_size_px", 15, "give a number from 16"),
    ("data.synthetic.convergence", -0.1, "give a number from 0 to 1"),
    ("data.synthetic.noise", "inf", "give a number from 0 to 100"),
    ("split.val_fraction", 1, "give a number from 0 up, below 1"),
    ("split.test_fraction", 0.95, "make their sum less than 1"),
    ("split.heldout_fraction", -1, "give a number from 0 up, below 1"),
    ("split.min_images", 0, "give a number from 1"),
    ("split.seed", -1, "give a number from 0"),
    ("shards.jpeg_quality", 101, "give a number from 1 to 100"),
    ("shards.image_size_px", -1, "give a number from 1"),
    ("shards.samples_per_shard", 0, "give a number from 1"),
    ("model.image_tower", "resnet", "choose vit, efficientnet-lite0 or efficientnet-lite2"),
    ("model.normalisation", "clip", "choose imagenet, or leave it out"),
    ("model.embed_dim", 0, "give a number from 1"),
    ("model.vision_layers", 0, "give a number from 1"),
    ("model.text_layers", -2, "give a number from 1"),
    ("model.text_heads", 0, "give a number from 1"),
    ("model.context_length", 1, "give a number from 3"),
    ("model.text_width", 129, "is not a multiple of model.text_heads=4"),
    ("model.bag_of_words", True, "model.text_layers is 2; set model.text_layers=1, or"),
    ("model.image_size_px", 50, "is not a multiple of model.patch_size_px=8"),
    ("model.vision_width", 400, "is not a multiple of its head width, 64"),
    ("train.steps", -1, "give a number from 0"),
    ("train.steps", 0, "train.epochs 0; give one of them"),
    ("train.epochs", "nan", "give a number from 0"),
    ("train.batch_size", 10**14, "give a number from 1 to 1e7"),
    ("train.micro_batch_size", -1, "give a number from 0"),
    ("train.lr", "inf", "give a number from 0 up"),
    ("train.beta2", 1, "give a number from 0 up, below 1"),
    ("train.objective", "clipp", "choose clip, multi_positive"),
    ("train.tree_temperature", 0, "give a number above 0"),
    ("train.crop_area", "0,1", "give a number above 0, at most 1"),
    ("train.crop_area", "0.9,0.5", "first <= second"),
    ("train.crop_area", "0.5", "give two shares"),
    ("train.text_types", "common", "choose com, sci"),
    ("train.text_types", [], "is empty"),
    ("train.text_weights", "1,1", "do not fit 5"),
    ("train.text_weights", "0,0,0,0,0", "not all 0"),
    ("train.text_weights", "1,1,1,1,nan", "give a number from 0 up"),
    ("train.text_mixture", "pair", "choose sample or batch"),
    ("train.token_dropout", 1.1, "give a number from 0 to 1"),
    ("train.precision", "half", "choose auto, fp32, bf16 or fp16"),
    ("train.layer_decay", 0, "give a number above 0, at most 1"),
    ("train.ema_decay", 1, "give a number from 0 up, below 1"),
    ("train.keep_checkpoints", 0, "give a number from 1"),
    ("train.seed", 2**32, "give a number from 0 up, below 4,294,967,296"),
    ("evaluate.text_type", "latin", "choose com, sci"),
    ("evaluate.shots", "0", "give a number from 1"),
    ("evaluate.shots", "1,1", "give distinct numbers"),
    ("evaluate.shots", [], "give distinct numbers"),
    ("evaluate.n_folds", 0, "give a number from 1"),
    ("evaluate.n_permutations", -5, "give a number from 1"),
    ("evaluate.batch_size", 0, "give a number from 1"),
    ("evaluate.seed", -1, "give a number from 0"),
]


@pytest.mark.parametrize(("key", "value", "action"), IMPOSSIBLE, ids=lambda part: str(part)[:30])
def test_an_impossible_value_is_refused_by_its_name_with_the_next_action(key, value, action):
    with pytest.raises(InputError, match=rf"{re.escape(key.partition('.')[0])}.*{key.rpartition('.')[2]}") as told:
        load_config("mini", {key: value})
    assert action in str(told.value) and "\n" not in str(told.value)


def test_a_section_cannot_be_made_with_an_impossible_value():
    config = load_config("mini").train
    for change in ({"steps": -1}, {"objective": "x"}, {"crop_area": (2.0, 3.0)}):
        with pytest.raises(InputError, match=r"train\."):
            dataclasses.replace(config, **change)


def test_values_that_fit_only_together_are_set_together():
    config = load_config("mini", {"model.text_width": 130, "model.text_heads": 5, "split.test_fraction": 0.95,
                                  "split.val_fraction": 0.01})  # fmt: skip
    assert (config.model.text_width, config.split.test_fraction) == (130, 0.95)


@pytest.mark.parametrize("section", [getattr(config, name) for name in dir(config) if name.endswith("Config")])
def test_help_of_a_section_shows_meaning_default_and_limits(section):
    shown = inspect.getdoc(section)
    for f in dataclasses.fields(section):
        if f.name != "profile" and not dataclasses.is_dataclass(f.type):
            assert f.metadata["meaning"], f.name
            (line,) = [line for line in shown.splitlines() if line.startswith(f"{f.name} : ")]
            assert f"default {f.default!r}" in line
            limits = f.metadata["limits"]
            assert all(repr(word) in line for word in limits) if isinstance(limits, tuple) else limits in line
            assert f.type in (bool, str, tuple[str, ...]) or limits, f"{f.name} is a number without limits"


def test_a_misspelt_setting_is_answered_with_the_nearest():
    with pytest.raises(InputError, match=r"train\.steps"):
        load_config("mini", {"train.step": 1})


def test_a_run_directory_keeps_its_configuration(tmp_path):
    run = open_run(tmp_path / "a", load_config("smoke"))
    assert json.loads(run.config_json.read_text())["profile"] == "smoke"
    assert json.loads(run.environment_json.read_text())["packages"]["torch"]
    assert open_run(tmp_path / "a", load_config("smoke")).root == run.root
    run.catalog.touch()
    before = run.config_json.read_bytes()
    with pytest.raises(InputError, match=r"train\.steps: 60 there, 61 wanted.*RUN="):
        open_run(tmp_path / "a", load_config("smoke", {"train.steps": 61}))
    assert run.config_json.read_bytes() == before


def test_a_run_without_a_catalog_takes_another_configuration(tmp_path):
    open_run(tmp_path / "a", load_config("smoke"))
    run = open_run(tmp_path / "a", load_config("smoke", {"split.min_images": 1}))
    assert json.loads(run.config_json.read_text())["split"]["min_images"] == 1


def test_a_run_that_cannot_be_written_is_one_message(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot be written.*RUN="):
        open_run(tmp_path / "file" / "run", load_config("smoke"))


def test_a_directory_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="not a run directory"):
        open_run(tmp_path, load_config("smoke"))
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_notebooks_open_on_the_run_that_the_environment_names(tmp_path, monkeypatch):
    assert load_config("") == load_config("mini")
    begun = load_config("photos", {"data.photos": "a", "train.epochs": 3})
    run = open_run(tmp_path / "a", begun)
    monkeypatch.setenv("BIOCLIP_RUN", str(run.root))
    assert load_config("") == begun and open_run("", begun).root == run.root
    assert load_config("", {"train.steps": 9}).train.epochs == 0
    other = load_config("smoke")
    monkeypatch.setattr("bioclip_lib.run.folder.REPOSITORY", tmp_path)
    assert open_run("", other).root == tmp_path / "runs" / "smoke"


def test_photographs_that_are_not_named_leave_no_folder(tmp_path):
    with pytest.raises(InputError, match="PHOTOS="):
        open_run(tmp_path / "run", load_config("photos"))
    assert not (tmp_path / "run").exists()


def test_a_notebook_shows_a_mistake_in_one_line():
    assert InputError("no such file")._render_traceback_() == ["InputError: no such file"]


def test_a_run_from_before_a_setting_is_opened_with_its_default(tmp_path):
    run = open_run(tmp_path / "a", load_config("smoke"))
    settings = json.loads(run.config_json.read_text())
    del settings["data"]["owner"], settings["train"]["ema_decay"]
    write_json(run.config_json, {**settings, "shards": {**settings["shards"], "gone": 1}})
    run.catalog.touch()
    assert open_run(run.root, load_config("smoke")).root == run.root
    write_json(run.config_json, settings)
    with pytest.raises(InputError, match=r"data\.owner: '' there, 'cc0, me' wanted"):
        open_run(run.root, load_config("smoke", {"data.owner": "cc0, me"}))
