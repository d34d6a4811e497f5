"""The measurements of the resolver, at toy size and in this process."""

import pytest

from speed import names


@pytest.fixture
def in_this_process(monkeypatch):
    """Measure here: opening NCBI in a process for each number would take minutes."""
    monkeypatch.setattr(names, "measured", lambda tree, task, **asked: getattr(names, f"measure_{task}")(**asked))


def tables_of(text):
    """Return the Markdown tables of a text: header -> rows."""
    tables = {}
    for block in text.strip().split("\n\n"):
        header, _, *rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in block.splitlines())
        tables[header[0]] = rows
    return tables


def test_every_table_is_printed_and_its_counts_add_up(in_this_process, photos, capsys):
    names.main(["--names", "30", "--rows", "4", "--repeats", "1"])
    tables = tables_of(capsys.readouterr().out)
    assert list(tables) == ["first name of a process", "names", "labels", "rare", "homonyms A-L"]
    assert [row[2] for row in tables["first name of a process"]] == ["Parus major", "Cyanocitta cristata"]
    assert [(row[0], row[1]) for row in tables["names"]] == [
        ("six genera", "30"),
        ("any genus", "30"),
        ("misspelt", "30"),
    ]
    for asked, n, _, *reached, others in [*tables["labels"], *tables["rare"]]:
        assert sum(map(int, reached)) == int(n) and int(others) == 0, asked
    (n, _, *judged, _), *_ = tables["homonyms A-L"]
    assert sum(map(int, judged)) == int(n) == 4 and judged[1] == "0"


def test_two_trees_are_measured_in_turn(monkeypatch, capsys):
    asked = []

    def measured(tree, task, **arguments):
        asked.append(tree)
        return {"wall_s": 2.0, "cpu_s": 1.0, "again_cpu_s": 0.5, "n": arguments.get("n"), "peak_mib": 3.0,
                "scientific_name": "x"}  # fmt: skip

    monkeypatch.setattr(names, "measured", measured)
    names.rates({"old": "a", "new": "b"}, n=100, repeats=2)
    assert asked == ["a", "b"] * 6  # three kinds of names, two repeats
    rows = tables_of(capsys.readouterr().out)["names"]
    assert rows[0] == ["six genera", "100", "old", "100", "200", "50"]


def test_another_taxon_is_one_that_differs_at_a_rank_that_both_know():
    import pandas as pd

    rows = [("A", "B", "C", "D", "E", "F", "g"), ("A", "B", "C", "D", "E", "F", "h"), ("A", "B", "C", "D", "E", "", "")]
    first, second, above = (pd.DataFrame([row], columns=list(names.RANKS)) for row in rows)
    assert names.moved(first, first) == 0 == names.moved(above, first)
    assert names.moved(second, first) == 1


def test_two_letters_of_an_epithet_are_exchanged():
    import random

    name = names.swapped("Parus montanus", random.Random(1))
    assert name.startswith("Parus m") and name != "Parus montanus" and sorted(name) == sorted("Parus montanus")
