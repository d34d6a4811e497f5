"""Descriptions of taxa: joined by either name, and what cannot be joined is refused."""

import pandas as pd
import pytest

from bioclip_lib.catalog.descriptions import described
from bioclip_lib.errors import InputError

NAMES = pd.DataFrame(
    {
        "verbatim_name": ["Blue_Jay", "blue jay", "Mallard", "rock"],
        "scientific_name": ["Cyanocitta cristata", "Cyanocitta cristata", "Anas platyrhynchos", ""],
    }
)


def _table(folder, text):
    path = folder / "looks.csv"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    "text",
    [
        "scientific_name,description\nCyanocitta cristata,blue,\nAnas platyrhynchos,\n".replace(
            "blue,", '"blue,  a\ncrest"'
        ),
        'class_name,description\nBlue-Jay,"blue, a crest"\nOstrich,tall\n',
        "Scientific Name;Description\ncyanocitta cristata;blue, a crest\n",
        'scientific_name,class_name,description\n,blue jay,"blue, a crest"\n',
        'genus,species,description\nCyanocitta,cristata,"blue, a crest"\n',
    ],
)
@pytest.mark.filterwarnings("ignore:.*describe no class")
def test_a_line_is_found_by_scientific_or_class_name(tmp_path, text):
    found = described(NAMES, _table(tmp_path, text))["description"].tolist()
    assert found == ["blue, a crest", "blue, a crest", "", ""]
    assert described(NAMES, "")["description"].tolist() == [""] * 4


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (
            "Artname,Aussehen\nAnas platyrhynchos,green head\n",
            "has columns Artname, Aussehen; call one scientific_name and one description",
        ),
        ("a,description\nb,green head\n", "call one scientific_name and one description"),
        ("class_name,description\nOstrich,tall\n", "describes none of the 4 names"),
        ("class_name,description\nMallard,\n", "describes nothing"),
        ("class_name,description\nMallard,green\nmallard,brown\n", "describes 'mallard' twice"),
    ],
)
def test_a_table_that_says_nothing_or_two_things_is_refused(tmp_path, text, what):
    with pytest.raises(InputError, match=what):
        described(NAMES, _table(tmp_path, text))


def test_lines_that_describe_no_class_are_told(tmp_path):
    with pytest.warns(UserWarning, match="2 of 3 lines describe no class: moa, ostrich"):
        described(NAMES, _table(tmp_path, "class_name,description\nOstrich,tall\nMallard,green\nMoa,gone\n"))
