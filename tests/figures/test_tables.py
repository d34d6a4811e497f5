"""Result tables for a paper: rows by hand, and names that are markup in no format."""

import pandas as pd

from bioclip_lib.figures import tables
from bioclip_lib.figures.words import task_label
from bioclip_lib.files.markdown import markdown_table

ROWS = pd.DataFrame(
    [
        ("zoo", "few_shot/5/unseen", "trained", "top1", 2 / 3, 0.5, 0.8, 0.04, 1_234),
        ("zoo", "few_shot/5/unseen", "pixels", "top1", 0.25, 0.2, 0.3, 0.04, 1_234),
        ("zoo", "hierarchy/seen", "trained", "spearman", 0.456, -0.1, 0.7, 0.0, 24),
    ],
    columns=["dataset", "task", "model", "metric", "value", "ci_low", "ci_high", "chance", "n"],
)


def test_a_table_by_hand():
    frame = tables.result_frame(ROWS, ("top1", "spearman"))
    assert list(frame) == ["data set", "task", "measure", "trained", "colours only", "chance", "n"]
    assert frame.to_numpy().tolist() == [
        [
            "zoo",
            "5 shots, unseen species",
            "top-1 %, mean over images",
            "66.7 [50.0, 80.0]",
            "25.0 [20.0, 30.0]",
            "4",
            "1,234",
        ],
        ["zoo", "hierarchy, seen species", "Spearman's rho", "0.46 [-0.10, 0.70]", "", "0", "24"],
    ]
    assert task_label("zero_shot/seen") == "zero-shot, seen species"


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


def test_missing_values_are_empty_cells():
    assert markdown_table(pd.DataFrame({"a": [1.5, None], "b": ["x", None]})).splitlines()[3] == "|  |  |"
