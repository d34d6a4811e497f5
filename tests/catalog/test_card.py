"""The card of a small catalog by hand; text of strangers does no harm; licences and drops are told."""

import pandas as pd
import yaml

from bioclip_lib.catalog import card
from bioclip_lib.catalog.splits import assign_splits
from bioclip_lib.config import SplitConfig


def licensed(catalog):
    table = assign_splits(catalog, SplitConfig(heldout_fraction=0.25))
    dropped = table.index[:3]
    table.loc[dropped, "excluded"], table.loc[dropped, "split"] = "truncated", ""
    table["license"] = ["CC BY 4.0"] * 20 + [""] * (len(table) - 20)
    table.loc[5, "license"] = "https://creativecommons.org/licenses/by/3.0/"
    table["rights_holder"] = ["A", "B"] * 10 + [""] * (len(table) - 20)
    return table


def test_ranks_by_hand(catalog):
    counts = card.count_ranks(catalog).set_index("rank")
    assert counts.loc["kingdom"].tolist() == [2, 40, 0]
    assert counts.loc["class"].tolist() == [3, 40, 10]  # the copepods end here
    assert counts.loc["genus"].tolist() == [2, 30, 0]
    assert counts.loc["species"].tolist() == [3, 30, 30]
    assert counts.loc["none"].tolist() == [0, 0, 0]


def test_a_name_in_two_kingdoms_is_two_taxa(catalog):
    table = catalog.assign(genus="Morus")
    assert card.count_ranks(table).set_index("rank").loc["genus", "n_taxa"] == 3


def test_sources_licences_and_the_long_tail_by_hand(catalog):
    table = licensed(catalog)
    row = card.count_sources(table).iloc[0]
    assert (row["images"], row["usable"], row["classes"]) == (40, 37, 4)
    assert row[["train", "val", "test", "heldout_species"]].sum() == 37
    licences = card.count_licenses(table)
    assert licences.values.tolist() == [
        ["not-stated", 20, 0, "not-stated (20)"],
        ["cc-by", 17, 2, "CC BY 4.0 (16); https://creativecommons.org/licenses/by/3.0/ (1)"],
    ]
    assert card.count_long_tail(table).values.tolist() == [[1, 4], [2, 4], [5, 4], [10, 3]]


def test_groups_that_published_splits_tear_are_counted_and_said(catalog):
    table = licensed(catalog)
    assert card.count_groups(table).empty and "Groups" not in card.make_card(table, "x")
    kept = table.index[table["excluded"] == ""]
    table.loc[kept[:4], "group"], table.loc[kept[:4], "split"] = list("aabb"), ["train", "test", "val", "val"]
    assert card.count_groups(table).to_numpy().tolist() == [["garden", 2, 4, 1]]
    assert "**1 groups are torn" in card.make_card(table, "x")


def test_of_many_wordings_the_most_frequent_are_named(catalog):
    table = licensed(catalog).assign(license=[f"CC BY {i % 8}.0" for i in range(len(catalog))])
    (row,) = card.count_licenses(table).to_dict("records")
    assert row["license"] == "cc-by" and row["as_given"].startswith("CC BY 3.0 (5); CC BY 4.0 (5); ")
    assert row["as_given"].endswith("; 3 more wordings") and row["n_images"] == 37


def test_the_card_is_read_as_a_hub_reads_it_and_says_what_was_dropped(catalog, tmp_path):
    paths = card.write_card(licensed(catalog), tmp_path / "run", "Garden's *best*")
    text = paths[0].read_text(encoding="utf-8")
    head = yaml.safe_load(text.split("---\n")[1])
    assert head["pretty_name"] == "Garden's *best*" and head["size_categories"] == ["n<1K"]
    assert "37 usable images of 40, 4 classes, from 1 sources" in text and "| truncated | 3 |" in text
    attribution = pd.read_csv(paths[1], keep_default_na=False)
    assert len(attribution) == 37 and tuple(attribution.columns) == card.ATTRIBUTION_COLUMNS
    assert not list((tmp_path / "run").glob("*.tmp"))


def test_the_card_shows_the_treemap_where_it_lies_beside_it(catalog, tmp_path):
    before = card.write_card(licensed(catalog), tmp_path, "t")[0].read_text(encoding="utf-8")
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "taxon_treemap.png").write_bytes(b"png")
    after = card.write_card(licensed(catalog), tmp_path, "t")[0].read_text(encoding="utf-8")
    line = "![Taxa, an area in proportion to its images](figures/taxon_treemap.png)\n\n"
    assert line not in before and after.replace(line, "") == before


def test_markdown_and_html_in_names_stay_text(catalog):
    table = licensed(catalog).assign(license="<script>x</script> | [a](javascript:b)\n# c")
    text = card.make_card(table, "t")
    assert "<script>" not in text and "\n# c" not in text and "[a](" not in text


def test_no_sign_of_markdown_or_html_is_left_bare(catalog):
    text = card.make_card(catalog.assign(license="~~x~~ &lt;b&gt; $y$ <i>", split="train"), "t")
    assert "\\~\\~x\\~\\~ \\&lt;b\\&gt; \\$y\\$ \\<i\\>" in text
