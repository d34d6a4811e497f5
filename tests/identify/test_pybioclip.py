"""Notebook 09 says of each call and option of pybioclip, as it is installed, how it is written here."""

import argparse
import json
import re
from pathlib import Path

import pytest

import bioclip_lib.model  # noqa: F401 (mends torchvision for pybioclip)
from bioclip_lib.identify import __main__ as command
from bioclip_lib.run import REPOSITORY

INSIDE = re.compile(
    r"^_|^(forward|make_key|ensure_rgb_image|create_classification_dict|join_names|record_event|is_json_file|save|"
    r"verify_recorder_path|PredictionRecorder|PredictionLogReport|add_prediction|create_report|create_dictionary|"
    r"format_key)$"
)
"""What its own functions call."""


def names_of_pybioclip() -> set[str]:
    """The functions, classes and methods, and the commands with their options."""
    predict = pytest.importorskip("bioclip.predict")
    recorder, parser = __import__("bioclip.recorder").recorder, __import__("bioclip.__main__").__main__.create_parser()
    found = set()
    for module in (predict, recorder):
        own = {
            name: value for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__
        }
        found |= set(own)
        found |= {name for value in own.values() if isinstance(value, type) for name in vars(value)}
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    found |= set(commands.choices)
    for sub in commands.choices.values():
        found |= {option for action in sub._actions for option in action.option_strings if option.startswith("--")}
    return {name for name in found - {"--help"} if not INSIDE.match(name)}


def table() -> str:
    notebook = json.loads(Path(REPOSITORY, "notebooks", "09_identify.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"]]
    return next(cell for cell in cells if "| pybioclip | here |" in cell)


def test_each_name_of_pybioclip_stands_in_the_table():
    left = " ".join(row.split(" | ")[0] for row in table().splitlines() if row.startswith("|"))
    missing = sorted(
        name for name in names_of_pybioclip() if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", left)
    )
    assert missing == []


def test_each_option_that_the_table_names_is_one_of_ours(capsys):
    with pytest.raises(SystemExit):
        command.main(["--help"])
    ours = set(re.findall(r"--[\w-]+", capsys.readouterr().out))
    right = " ".join(row.split(" | ")[1] for row in table().splitlines() if row.startswith("|"))
    assert set(re.findall(r"--\w[\w-]+", right)) <= ours
