"""Profiles are differences from the defaults; what is not known is refused with what there is."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bioclip_lib.config import PROFILES, load_config, setting_names
from bioclip_lib.errors import InputError
from bioclip_lib.run import atomic, open_run, write_json


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_differs_from_the_defaults_only_where_it_says(profile):
    config, default = load_config(profile), load_config("mini")
    for name in setting_names():
        section, _, _field = name.partition(".")
        value, other = config, default
        for part in name.split("."):
            value, other = getattr(value, part), getattr(other, part)
        assert value == PROFILES[profile].get(name, other), (section, name)


@given(st.text())
def test_unknown_profiles_and_settings_are_refused(text):
    if text not in PROFILES:
        with pytest.raises(InputError, match="mini"):
            load_config(text)
    if text not in setting_names():
        with pytest.raises(InputError, match="unknown setting"):
            load_config("mini", {text: 1})


@pytest.mark.parametrize(
    ("key", "value", "result"),
    [
        ("train.steps", "7", 7),
        ("train.lr", "1e-4", 1e-4),
        ("train.lr", 1, 1.0),
        ("train.freeze_image_tower", "true", True),
        ("train.text_types", "com,sci", ("com", "sci")),
        ("evaluate.shots", "1,2", (1, 2)),
        ("train.text_weights", "1,0.5", (1.0, 0.5)),
        ("train.text_weights", [2, 1], (2.0, 1.0)),
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


def test_an_unreadable_configuration_is_one_message(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match="not readable JSON"):
        open_run(tmp_path, load_config("smoke"))


def test_atomic_leaves_the_old_file_when_writing_fails(tmp_path):
    write_json(tmp_path / "a.json", {"old": 1})
    with pytest.raises(OSError, match="disk"), atomic(tmp_path / "a.json") as tmp:
        tmp.write_text("half")
        raise OSError("disk full")
    assert json.loads((tmp_path / "a.json").read_text()) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_atomic_replaces_a_directory(tmp_path):
    for content in ("one", "two"):
        with atomic(tmp_path / "d") as tmp:
            tmp.mkdir()
            (tmp / content).write_text(content)
    assert [p.name for p in (tmp_path / "d").iterdir()] == ["two"]
