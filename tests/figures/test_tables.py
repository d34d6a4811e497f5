"""Tables for a paper: names that are markup in no format."""

import pandas as pd

from bioclip_lib.figures import tables
from bioclip_lib.files.markdown import markdown_table


def test_names_are_text_in_every_format(tmp_path):
    odd = "<script>$x_1$ & 50 % | \\input{a}\n~#{}^_" + "W" * 300
    tables.write_table(pd.DataFrame({"name": [odd], "n": [1_234]}), tmp_path / "odd")
    latex, markdown = ((tmp_path / f"odd.{suffix}").read_text() for suffix in ("tex", "md"))
    assert (
        r"\$x\_1\$ \& 50 \% | \textbackslash input\{a\}" in latex
        and r"\textasciitilde \#\{\}\textasciicircum \_" in latex
    )
    assert len(markdown.splitlines()) == 3 and "<script>" not in markdown and r"\<script\>\$x\_1\$" in markdown
    assert "| ---: |" in markdown and "1,234" in markdown
    assert pd.read_csv(tmp_path / "odd.csv").loc[0, "name"] == odd


def test_a_name_is_no_formula_and_a_number_with_its_interval_is_as_it_was(tmp_path):
    cells = [
        '=HYPERLINK("x")',
        "-0.02 [-0.10, 0.05]",
        "\u202eevil",
        "-2+3",
        "-0.10 [-0.40, 0.20], p 0.01; 50.3 of images",
    ]
    tables.write_table(pd.DataFrame({"name": cells}), tmp_path / "odd")
    assert pd.read_csv(tmp_path / "odd.csv")["name"].tolist() == [
        '\'=HYPERLINK("x")',
        cells[1],
        "\ufffdevil",
        "'-2+3",
        cells[4],
    ]


def test_missing_values_are_empty_cells():
    assert markdown_table(pd.DataFrame({"a": [1.5, None], "b": ["x", None]})).splitlines()[3] == "|  |  |"
