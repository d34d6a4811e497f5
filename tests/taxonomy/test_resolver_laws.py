"""Laws of the resolver: whatever the names, these hold."""

import functools
import time

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bioclip_lib import RANKS
from bioclip_lib.taxonomy import open_backbones

from .acceptance import context_of, open_named, read_cases, resolved, write_checklists

DECIDED = [*RANKS, "scientific_name", "rank", "name_status", "rule", "reason"]
CASES = [case for case in read_cases() if case["backbones"] == "ncbi"]
SOME = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
FEW = settings(SOME, max_examples=8)  # of the whole table
MANY = settings(SOME, max_examples=30)  # of five labels each: the call takes longer than a name
STATUSES = {"accepted", "synonym", "corrected", "ambiguous", "unverified", "unresolved"}


@functools.cache
def backbones():
    from bioclip_lib.config import DataConfig

    return open_backbones(DataConfig())


@pytest.fixture(scope="module")
def checklists(tmp_path_factory):
    return open_named("names+ncbi", write_checklists(tmp_path_factory.mktemp("checklists")))


def table_of(cases, source: str = "") -> pd.DataFrame:
    rows = [
        {"source": source or str(i), "verbatim_name": case["name"], **context_of(case)} for i, case in enumerate(cases)
    ]
    return pd.DataFrame(rows).fillna("")


@functools.cache
def whole() -> pd.DataFrame:
    return resolved(table_of(CASES), backbones())


def assert_sound(table: pd.DataFrame):
    """No row contradicts itself."""
    assert set(table["name_status"]) <= STATUSES
    assert table.map(lambda value: isinstance(value, str)).all(axis=None)
    for row in table.to_dict("records"):
        known = [rank for rank in RANKS if row[rank]]
        assert row["rank"] == (known[-1] if known else "")
        assert (row["rank"] == "") == (row["scientific_name"] == "") == (row["taxon_id"] == "") or row["backbone"]
        assert row["name_status"] != "unresolved" or not known
        assert row["name_status"] in ("ambiguous", "unresolved") or known
        assert row["name_status"] != "unverified" or row["rank"] in ("genus", "family")
        assert row["rank"] != "species" or row["genus"] or row["kingdom"] == "Viruses"
        assert row["reason"] or row["rank"] == "species"


def test_every_case_gives_a_sound_row():
    assert_sound(whole())


@SOME
@given(st.permutations(range(len(CASES))))
def test_the_order_of_rows_is_irrelevant(order):
    order = order[:60]
    mine = resolved(table_of([CASES[i] for i in order]), backbones())[DECIDED]
    pd.testing.assert_frame_equal(mine, whole().iloc[order][DECIDED].reset_index(drop=True))


def test_the_order_of_rows_of_one_source_is_irrelevant():
    table = table_of(CASES, "one").drop_duplicates(ignore_index=True)
    forward = resolved(table, backbones())[DECIDED]
    backward = resolved(table[::-1].reset_index(drop=True), backbones())[DECIDED]
    pd.testing.assert_frame_equal(forward, backward[::-1].reset_index(drop=True))


@FEW
@given(st.lists(st.integers(1, len(CASES) - 1), max_size=4, unique=True).map(sorted))
def test_in_parts_as_whole(cuts):
    table = table_of(CASES)
    parts = [table[a:b] for a, b in zip([0, *cuts], [*cuts, len(table)], strict=True)]
    done = pd.concat([resolved(part, backbones()) for part in parts], ignore_index=True)
    pd.testing.assert_frame_equal(done[DECIDED], whole()[DECIDED])


def test_rows_said_twice_give_the_same_twice():
    table = table_of(CASES[:80])
    double = pd.concat([table, table], ignore_index=True)
    rows = resolved(double, backbones())[DECIDED]
    pd.testing.assert_frame_equal(rows[:80], rows[80:].reset_index(drop=True))


def test_a_resolver_leaves_its_input_as_it_was():
    table = table_of(CASES[:40])
    before = table.copy()
    resolved(table, backbones())
    pd.testing.assert_frame_equal(table, before)


def clear_rows() -> pd.DataFrame:
    rows = whole()
    return rows[rows["name_status"].isin(["accepted", "synonym", "corrected"]) & (rows["rank"] != "")]


@functools.cache
def named_alone() -> pd.DataFrame:
    """Return the rows of the cases' names without their contexts, those that reach a taxon."""
    names = list(dict.fromkeys(case["name"] for case in CASES))
    rows = resolved(table_of([{"name": name, "context": ""} for name in names]), backbones())
    return rows[~rows["name_status"].isin(["ambiguous", "unresolved"])].reset_index(drop=True)


@pytest.mark.parametrize("n_ranks", [1, 2, 3, 5, 6])
def test_ranks_that_agree_never_change_the_taxon(n_ranks):
    """All ranks above the taxon, from the kingdom down or from the genus up, alone or together."""
    rows = named_alone()
    for ranks in (RANKS[:n_ranks], RANKS[:6][-n_ranks:]):
        asked = rows[["verbatim_name"]].assign(source=[str(i) for i in range(len(rows))]).reset_index(drop=True)
        for rank in ranks:
            asked[rank] = rows[rank].to_numpy()
        again = resolved(asked, backbones())
        changed = again["scientific_name"].to_numpy() != rows["scientific_name"].to_numpy()
        assert not changed.any(), list(zip(asked[changed].to_dict("records"), again[changed]["reason"], strict=True))


def test_accepted_names_are_their_own():
    """A scientific name that came out, put in beside its kingdom, comes out."""
    rows = clear_rows().drop_duplicates("scientific_name")
    asked = rows[["kingdom"]].assign(verbatim_name=rows["scientific_name"]).reset_index(drop=True)
    again = resolved(asked.assign(source=[str(i) for i in asked.index]), backbones())
    changed = again["scientific_name"].to_numpy() != rows["scientific_name"].to_numpy()
    assert not changed.any(), list(zip(asked[changed]["verbatim_name"], again[changed]["reason"], strict=True))
    columns = [rank for rank in RANKS if rank != "kingdom"]
    pd.testing.assert_frame_equal(again[columns], rows[columns].reset_index(drop=True))


@MANY
@given(st.lists(st.text(max_size=40), min_size=5, max_size=5))
def test_no_text_breaks_it(texts):
    assert_sound(resolved(pd.DataFrame({"verbatim_name": texts}), backbones()))


WORDS = ["Parus", "major", "Quercus", "robur", "Blue", "jay", "sp.", "cf.", "×", "x", "†", "*", "(", ")", "[", "]", ";",
         ":", ",", ".", "/", "_", "-", "?", "and", "or", "vs", "&", "sect.", "subg.", "var.", "L.", "1758", "male",
         "♀", "n01530575", "001.", "s__", "g__", "Animalia", "Aves", "NA", "unknown", "sensu", "non", "'", '"', "aff.",
         "agg.", "hybrid", "virus", "Candidatus", "\u00a0", "\u200b", "é", "Œ", "ß", "İ", "\ud83d\ude00"]  # fmt: skip


@MANY
@given(st.lists(st.lists(st.sampled_from(WORDS), max_size=7), min_size=5, max_size=5), st.sampled_from(["", " ", "_"]))
def test_no_words_of_names_break_it(labels, separator):
    texts = [separator.join(words).encode("utf-16", "surrogatepass").decode("utf-16") for words in labels]
    rows = pd.DataFrame({"verbatim_name": [*texts, *texts], "family": [*[""] * len(texts), *texts]})
    assert_sound(resolved(rows, backbones()))


@SOME
@given(st.lists(st.dictionaries(st.sampled_from(RANKS[:6]), st.text(max_size=12), max_size=6), min_size=1, max_size=5))
def test_no_context_breaks_it(contexts):
    rows = pd.DataFrame([{"verbatim_name": "Parus major", **context} for context in contexts])
    table = resolved(rows.fillna(""), backbones())
    assert_sound(table)
    unknown = table[[not set(context) - {"family", "order"} for context in contexts]]
    assert (unknown["scientific_name"] == "Parus major").all()  # words that nobody knows say nothing


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, ""])
def test_a_missing_name_has_a_reason(missing):
    row = resolved(pd.DataFrame({"verbatim_name": pd.Series([missing], dtype=object)}), backbones()).iloc[0]
    assert (row["name_status"], row["rank"]) == ("unresolved", "") and row["reason"]


def test_a_long_label_takes_no_longer_than_its_length_allows():
    """A column of descriptions that is taken for names must not stop the work."""
    asked = pd.DataFrame({"verbatim_name": ["Parus major " * 2_000]})
    resolved(asked, backbones())
    start = time.process_time()
    resolved(asked, backbones())
    assert time.process_time() - start < 0.2  # 0.01 s for a label of 300 characters


def test_a_backbone_more_never_takes_a_species_away(checklists):
    """Behind NCBI, a list may only add."""
    first, second = backbones(), [*backbones(), checklists[0]]
    table = table_of([case for case in CASES if case["rule"] in ("trailing matter", "shape", "English name")])
    mine, more = resolved(table, first), resolved(table, second)
    species = mine["rank"] == "species"
    pd.testing.assert_frame_equal(mine[species][DECIDED[:9]], more[species][DECIDED[:9]])
