import pandas as pd
import pytest

from bioclip_lib.files import write_csv
from bioclip_lib.files.spreadsheets import as_it_was, harmless
from bioclip_lib.taxonomy.user import stated_by_user


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "=", "-a", "+1x"])
def test_a_name_that_a_spreadsheet_would_compute_comes_back_as_it_was(text):
    said = pd.DataFrame({"class_name": [harmless(text)], "scientific_name": ["Parus major"]})
    assert as_it_was(harmless(text)) == text.replace("\0", "\ufffd")
    assert stated_by_user(said)[text]["scientific_name"] == "Parus major"


@pytest.mark.parametrize("text", ["Parus major", "'s-Gravenhage", "'t", "-3.5", ""])
def test_other_names_stay(text):
    assert as_it_was(harmless(text)) == text


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "=", "-a", "+1x"])
def test_text_that_a_spreadsheet_would_compute_stands_as_text(text):
    assert harmless(text) == "'" + text


@pytest.mark.parametrize(
    "text", ["Parus major", "", "-3.5", "+1e-3", "-.5", "-1,000", "-5%", "a=b", " =1", "O'Neil", "×=", "ß"]
)
def test_other_text_and_numbers_stay(text):
    assert harmless(text) == text


def test_control_characters_and_those_that_turn_the_writing_are_marked():
    assert harmless("a\x00b\x1b[31mc\x7f\x85d\u202eg") == "a\ufffdb\ufffd[31mc\ufffd\ufffdd\ufffdg"
    assert harmless("two\nlines\tand") == "two\nlines\tand" and harmless(3) == 3 and harmless(None) is None


def test_a_table_for_people(tmp_path):
    table = pd.DataFrame({"name": ["=1+1", "Parus"], "n": [-1, 2], "x": [0.5, -0.5], "yes": [True, False]})
    write_csv(table, tmp_path / "people.csv")
    assert (tmp_path / "people.csv").read_text() == "name,n,x,yes\n'=1+1,-1,0.5,True\nParus,2,-0.5,False\n"
    write_csv(table.assign(x=[2 / 3, 1e-9]), tmp_path / "digits.csv", digits=3)
    assert pd.read_csv(tmp_path / "digits.csv")["x"].tolist() == [0.667, 1e-9]
    write_csv(table.set_index("name"), tmp_path / "index.csv", index=True)
    assert (tmp_path / "index.csv").read_bytes() == (tmp_path / "people.csv").read_bytes()
