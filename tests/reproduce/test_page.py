"""The answer page: what it says is computed by hand here, names are harmless, and a browser shows a planted label."""

import html
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bioclip_lib import RANKS, catalog, shards
from bioclip_lib.config import ShardConfig, load_config
from bioclip_lib.errors import InputError
from bioclip_lib.evaluation import append_metrics
from bioclip_lib.model.features import write_features
from bioclip_lib.reproduce import answer, page
from bioclip_lib.run import file_sha256, open_run, stages
from bioclip_lib.run.manifest import read_manifest
from bioclip_lib.taxonomy.unsettled import names_to_settle, say_names
from tests.reproduce.test_readme import row

CLASSES = ["Acer rubrum", "Parus ater", "Parus major", "<b>moss</b> & ü \n" + "x" * 300]
CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="module")
def run(tmp_path_factory, write_image):
    """A finished run of four classes with ten images each, made by hand: image 3 of the first class is planted."""
    folder = tmp_path_factory.mktemp("page")
    run = open_run(folder / "run <i>1</i>", load_config("photos", {"data.photos": str(folder)}))
    rows = []
    for i, name in enumerate(CLASSES):
        for j in range(10):
            path = write_image(folder / "images" / f"{i}_{j}.jpg", seed=10 * i + j)
            rows.append({"image_id": f"{10 * i + j:016x}", "source_id": f"{name[:40]}/{j}.jpg", "location": str(path)})
            split = "heldout_species" if i == 2 else "test" if j < 5 else "train"
            rows[-1] |= {"verbatim_name": name, "class_key": name, "split": split}
    table = pd.DataFrame(rows).reindex(columns=catalog.table.COLUMNS, fill_value="").assign(source="set")
    table["excluded"] = np.where(table["image_id"] == f"{9:016x}", f"near duplicate of {8:016x}", "")
    table.loc[table["excluded"] != "", "split"] = ""
    table = table.assign(width=40, height=30, sha256=table["location"].map(file_sha256), name_status="accepted")
    table["common_name"] = table["class_key"].map({"Acer rubrum": "red maple", "Parus ater": "<u>coal tit"}).fillna("")
    catalog.write_catalog(table, run.catalog)
    shards.write_shards(table, run.shards, ShardConfig(image_size_px=30))
    write_tables(run, table)
    write_embeddings(run, table)
    return run


def write_tables(run, table):
    """Write what notebooks 01 to 05 leave."""
    run.tables.mkdir()
    names = pd.DataFrame({"verbatim_name": CLASSES, "scientific_name": [*CLASSES[:3], ""]}).assign(alternatives="")
    names["rank"], names["name_status"] = ["species"] * 3 + [""], ["accepted"] * 3 + ["unresolved"]
    names.assign(reason=["", "", "", "no taxon has this name"]).to_csv(run.tables / "names.csv", index=False)
    asked = table[table["split"].isin(["test", "heldout_species"])]
    part = asked["split"].map({"test": "seen", "heldout_species": "unseen"})
    called = asked["class_key"].where(asked["image_id"] != f"{0:016x}", "Parus ater")
    predictions = asked[["image_id", "class_key"]].assign(model="trained", dataset="set", part=part, predicted=called)
    predictions.assign(confidence=0.5).to_csv(run.tables / "zero_shot_predictions.csv", index=False)
    pd.DataFrame(columns=["group", "source", "source_id", "class_key"]).to_csv(
        run.tables / "near_conflicts.csv", index=False
    )
    queries = predictions.assign(method="simple_shot", part="all", k=1, fold=0, correct=True)
    queries.to_parquet(run.tables / "few_shot_queries.parquet")
    scores = [("zero_shot/seen", 0.93, 0.7, 0.99), ("zero_shot/unseen", 0.3, 0.1, 0.6), ("few_shot/1", 0.9, 0.8, 0.95)]
    rows = [row("set", "trained", task, "macro_top1", *found, n=15, chance=0.2) for task, *found in scores]
    rows += [
        row("set", "trained", "zero_shot/seen", "top1", 0.9, 0.8, 0.95),
        row("set", "pixels", "few_shot/1", "top1", 0, 0, 1),
    ]
    append_metrics(run.metrics_csv, pd.DataFrame(rows))


def write_embeddings(run, table):
    """Write features of clusters, in which image 3 of the first class lies among the third."""
    rng, kept = np.random.default_rng(0), table[table["excluded"] == ""]
    of = kept["class_key"].map(CLASSES.index).to_numpy()
    of = np.where(kept["image_id"] == f"{3:016x}", 2, of)
    values = rng.normal(size=(4, 32))[of] + 0.2 * rng.normal(size=(len(kept), 32))
    write_features(run.embeddings / "trunk_test.parquet", list(kept["image_id"]), values, "a", "b")


def test_the_page_says_what_was_found(run):
    lines = page.write_page(run)
    assert lines[:3] == [
        "New photographs of species it was trained on: 93 % (70 to 99) named right; above chance.",
        "Species it never saw, by their names alone: 30 % (10 to 60) named right; not shown to be above chance.",
        "One labelled photograph a species (5 species): 90 % (80 to 95) named right; above chance.",
    ]
    assert lines[3] == "3 of 4 names understood as species; 1 not understood, with 10 photographs."
    text = (run.root / "index.html").read_text(encoding="utf-8")
    assert text.count('<figure class="pair suspicious">') == 1 and "<b>1</b> of 10 taken" in text
    assert pd.read_csv(run.tables / "dropped_files.csv").loc[0, "reason"] == "near duplicate of Acer rubrum/8.jpg"
    suspicious = pd.read_csv(run.tables / "suspicious.csv")
    assert suspicious[["file", "label", "suggested"]].values.tolist() == [
        ["Acer rubrum/3.jpg", "Acer rubrum", "Parus major"]
    ]
    assert pd.read_csv(run.root / "classes.csv")["class_name"].tolist() == [CLASSES[3]]


def test_the_first_screen_answers_and_leads_to_the_rest(run):
    body = page.show_answer(run).data
    first = re.sub(
        r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", "", body.partition('id="verdict"')[0].partition("<h1>")[2]))
    )
    assert (
        "species are confused, for instance Acer rubrum red maple and Parus ater <u>coal tit (1 of 10 photographs)."
        in first
    )
    assert "1 photograph looks clearly like another species than the one on the label." in first
    assert "Names that are not understood and wait for a line of yours: 1." in first
    worst = body.partition("named worst")[2].partition("</table>")[0]
    best = body.partition("named best")[2].partition("</table>")[0]
    assert re.findall(r"(\d of \d)", worst) == ["4 of 5"] and re.findall(r"(\d of \d)", best) == ["5 of 5"] * 2
    drawn = body.partition('id="photographs"')[2].partition("<h2")[0]
    assert "50 % sure among 3 species)" in drawn
    assert set(re.findall(r'href="#(\w+)"', body)) <= set(re.findall(r'id="(\w+)"', body))


def test_a_photograph_unlike_all_others_is_not_said_to_look_like_another_species(run, monkeypatch):
    found, n = page.find_wrong_labels(run, catalog.read_catalog(run.catalog))
    monkeypatch.setattr(page, "find_wrong_labels", lambda *_: (found.assign(clear=False, odd=True), n))
    body = page.show_answer(run).data.partition('id="suspicious"')[2].partition("<h2")[0]
    assert "like no other photograph here</b>; nearest" in body and 'class="wrong"' not in body
    assert "No photograph looks clearly" in body and "1 is like no other" in body


def test_names_are_harmless_and_nothing_is_loaded(run):
    body = page.show_answer(run).data
    assert "red maple</bdi>" in body and "<u>coal" not in body and html.escape("<u>coal tit") in body
    assert "<b>moss" not in body and html.escape("<b>moss</b> & ü") in body and "run &lt;i&gt;1" in body
    assert not re.search(r"<script|src=\"(?!data:image/jpeg;base64,)|https?:|@import|url\(", body)


def test_the_page_says_which_version_made_what(run):
    begun = stages.begin(run.root)
    stages.finish(run.root, stages.Stage("03_training", {"versions": {"torch": "9.9", "taxoniq": ""}}, ()), begun)
    body, commit = page.show_answer(run).data, read_manifest(run.root).stages["03_training"]["commit"]
    assert re.search(rf"<td>03_training</td><td>{commit}</td><td>20[\d:TZ-]+</td><td>torch 9\.9</td>", body)


def test_a_run_without_shards_has_a_page_without_pictures(run):
    away = run.shards.rename(run.root / "away")
    try:
        page.write_page(run)
        assert "no picture" in (run.root / "index.html").read_text(encoding="utf-8")
    finally:
        away.rename(run.shards)


def test_an_unfinished_run_is_refused(tmp_path):
    run = open_run(tmp_path / "a", load_config("smoke"))
    with pytest.raises(InputError, match="finished run: run its notebooks"):
        page.write_page(run)


def test_a_browser_shows_the_planted_label_with_its_picture(run):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}")
    page.write_page(run)
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        tab, asked = browser.new_page(), []
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto((run.root / "index.html").as_uri())
        found = tab.locator("figure.suspicious")
        assert "labelled Acer rubrum red maple, looks like Parus major" in found.inner_text().replace("\n", " ")
        assert found.locator("img").evaluate_all("images => images.every(i => i.naturalWidth == 128)")
        assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        browser.close()
    assert [url for url in asked if not url.startswith("data:")] == [(run.root / "index.html").as_uri()]


def test_verdicts_beside_chance_and_in_the_tree_by_hand():
    rows = [row("a", "trained", "zero_shot/seen", "macro_top1", 0.1, 0.05, 0.15, chance=0.2)]
    rows += [row("a control", "trained", "hierarchy/seen", "spearman", 0.1, 0, 0.2)]
    tests = [("spearman", 0.5, 0.3, 0.7), ("p_value", 0.01, 0, 0), ("p_value_in_kingdoms", 0.2, 0, 0)]
    rows += [row("a", "trained", "hierarchy/seen", metric, *found, n=9) for metric, *found in tests]
    rows += [row("a", "trained", "hierarchy/unseen", metric, 0.1, -1, 1, n=6) for metric in ("spearman", "p_value")]
    queries = pd.DataFrame(columns=["part", "model", "method", "k", "dataset", "class_key"])
    found = answer.verdicts(pd.DataFrame(rows), queries)
    assert found["verdict"].tolist() == [
        "below chance: worse than guessing",
        "shown, no deeper than kingdoms (p 0.01 for any structure)",
        "not shown",
    ]
    assert found["shown"].tolist() == [False, True, False]
    assert found["found"].iloc[-1] == "rank correlation 0.10 (too few groups for an interval)"


@pytest.mark.parametrize(
    ("low", "high", "chance", "n", "found", "verdict"),
    [
        (0.0534, 0.2, 0.0526, 90, "10.0 % (5.3 to 20.0) named right", "not shown to be above chance"),  # 5.3 beside 5.3
        (0.054, 0.2, 0.05, 90, "10.0 % (5.4 to 20.0) named right", "above chance"),
        (0.06, 0.2, 0.25, 90, "10 % (6 to 20) named right", "too few species for a verdict (4)"),
        (0.06, 0.2, 0.2, 90, "10.0 % (6.0 to 20.0) named right", "not shown to be above chance"),
    ],
)
def test_a_verdict_follows_from_the_interval_as_printed(low, high, chance, n, found, verdict):
    rows = pd.DataFrame([row("a", "trained", "zero_shot/seen", "macro_top1", 0.1, low, high, n=n, chance=chance)])
    said = answer.verdicts(rows, pd.DataFrame(columns=["part", "model", "method", "k", "dataset", "class_key"]))
    assert said["found"].tolist() == [found] and said["verdict"].tolist() == [verdict]


@pytest.mark.parametrize(
    ("low", "n", "verdict"),
    [
        (0.004, 9, "not shown beyond these species (among them p 0.01)"),  # printed as 0.00
        (0.3, 9, "shown, no deeper than kingdoms (p 0.01 for any structure)"),
        (0.3, 4, "too few species for a verdict (4)"),
    ],
)
def test_structure_is_shown_where_its_test_and_its_interval_say_so(low, n, verdict):
    values = [("spearman", 0.5, low, 0.7), ("p_value", 0.01, 0, 0)]
    rows = pd.DataFrame([row("a", "trained", "hierarchy/unseen", name, *found, n=n) for name, *found in values])
    rows = pd.concat([rows, rows.assign(task="zero_shot/seen", metric="macro_top1", chance=0.1)[:1]])
    queries = pd.DataFrame(columns=["part", "model", "method", "k", "dataset", "class_key"])
    said = answer.verdicts(rows, queries).iloc[-1]
    assert said["verdict"] == verdict and said["shown"] == verdict.startswith("shown, ")


@pytest.mark.parametrize(
    ("n_classes", "worse", "start"),
    [
        (12, {}, "shown"),
        (12, {"ridge"}, "not shown"),
        (4, {}, "too few species"),
        (12, {"ridge", "simple_shot"}, "not"),
    ],
)
def test_training_helps_where_both_ways_of_naming_say_so(n_classes, worse, start):
    n = 10 * n_classes
    asked = pd.DataFrame({"image_id": np.arange(n), "class_key": [f"c{i // 10}" for i in range(n)]})
    asked = asked.assign(dataset="a", part="all", k=5, fold=0)
    rows = []
    for method in ("ridge", "simple_shot"):
        for model in ("trained", "frozen"):
            # of ten images, trained names 8 or 9 and the other 3; where it is no better, half of the classes turn round
            good = np.arange(n) % 10 < 8 + (asked["class_key"].str.len() - 2)
            turned = (method in worse) & ((np.arange(n) // 10) % 2 == 0)
            correct = np.where((model == "trained") ^ turned, good, np.arange(n) % 10 < 3)
            rows.append(asked.assign(method=method, model=model, correct=correct))
    results = pd.DataFrame([row("a", "trained", "zero_shot/seen", "macro_top1", 0.5, 0.4, 0.6, chance=0.1)])
    said = answer.verdicts(results, pd.concat(rows, ignore_index=True)).iloc[-1]
    assert said["question"] == "Training helps" and said["verdict"].startswith(start)
    low = float(said["found"].split("(")[1].split(" ")[0])
    assert said["shown"] == (low > 0 and n_classes >= 5)


@pytest.mark.parametrize(
    ("ridge", "simple_shot", "verdict", "shown_of"),  # difference and interval in points
    [
        ((5, 2, 8), (4, 1, 9), "shown (p 0.01)", "SimpleShot"),
        ((5, 2, 8), (1, -10, 12), "not shown (p 0.01)", "SimpleShot"),
        ((5, 2, 8), (1, 0.04, 3), "not shown (p 0.01)", "SimpleShot"),  # printed as 0.0
        ((5, 2, 8), (-5, -8, -2), "not shown: it harms by this classifier alone (p 0.01)", "SimpleShot"),
        ((-3, -5, -1), (-1, -10, 8), "not shown: it harms by this classifier alone (p 0.01)", "ridge probe"),
        ((-3, -5, -1), (-5, -8, -2), "it harms (p 0.01)", "ridge probe"),
    ],
)
def test_training_helps_or_harms_where_both_classifiers_show_it(monkeypatch, ridge, simple_shot, verdict, shown_of):
    found = pd.DataFrame(np.array([ridge, simple_shot]) / 100, columns=["value", "ci_low", "ci_high"])
    found = found.assign(dataset="a", method=["ridge", "simple_shot"], k=5, n=60, n_classes=12, p_value=0.01)
    monkeypatch.setattr(answer, "compare_few_shot", lambda *_: found)
    asked = pd.DataFrame({"model": ["trained", "frozen"], "method": "ridge", "part": "all", "k": 5, "dataset": "a"})
    results = pd.DataFrame([row("a", "trained", "zero_shot/seen", "macro_top1", 0.5, 0.4, 0.6, chance=0.1)])
    said = answer.verdicts(results, asked.assign(class_key="x")).iloc[-1]
    assert said["verdict"] == verdict and said["shown"] == verdict.startswith("shown")
    value = (ridge if shown_of == "ridge probe" else simple_shot)[0]
    assert said["found"].startswith(f"{value:+.1f} points (") and said["found"].endswith(f"by {shown_of}")


def test_a_few_species_have_no_verdict_and_are_counted():
    rows = [row("a", "trained", "few_shot/5", "macro_top1", 0.96, 0.9, 1, n=28, chance=0.5)]
    rows += [row("b", "trained", "few_shot/5", "macro_top1", 0.5, 0.4, 0.6, n=90, chance=0.1)]
    keys = pd.DataFrame({"dataset": ["a", "a", "b"], "class_key": ["x", "y", "z"], "part": "unseen"})
    found = answer.verdicts(pd.DataFrame(rows), keys.assign(model="trained", method="simple_shot", k=5))
    assert found["question"].tolist() == [
        "5 labelled photographs a species (2 species, none of which it was trained on)",
        "5 labelled photographs a species (10 species, 1 of them never seen in training)",
    ]
    assert found["verdict"].tolist() == ["too few species for a verdict (2)", "above chance"]
    assert found["shown"].tolist() == [False, True]


def test_names_without_a_species_make_a_line_to_complete():
    names = pd.DataFrame({"verbatim_name": ["a,b", "c"], "rank": ["", "genus"], "scientific_name": ["", "Acer"]})
    names = names.assign(name_status=["ambiguous", "accepted"], reason=["x", ""], alternatives="", rule="")
    table = pd.DataFrame({"verbatim_name": ["c", "c", "a,b"], **dict.fromkeys(RANKS, "")})
    found = names_to_settle(names, table)
    assert found["line"].tolist() == ['"a,b",,', "c,,"] and found["photographs"].tolist() == [1, 2]
    assert found["why"].tolist() == ["means several taxa: x", "named no deeper"]
    cut = names_to_settle(names.assign(verbatim_name=["C. sinensis", "c"]), table.replace("a,b", "C. sinensis"))
    assert cut["why"][0] == "means several taxa: its genus is cut; write it out"
    lines = say_names(names, table)
    assert lines[0] == "0 of 2 names understood as species, 1 as a genus or higher; 1 not understood, with 1 photograph"
    assert lines[1:3] == [
        "  a,b: means several taxa: x (1 photograph)",
        "  c: read as Acer (genus): named no deeper (2 photographs)",
    ]
    settled = names.assign(rule="common name of a plant", rank="species")
    assert say_names(settled, table)[2] == "  c: taken for Acer"
    known = names.assign(name_status="accepted", rank="species", scientific_name=["Acer rubrum", "Acer alba"])
    known["verbatim_name"] = ["red maple", "acer_alba"]
    assert say_names(known, known[["verbatim_name"]]) == [
        "2 of 2 names understood as species",
        "  read as: red maple = Acer rubrum",
    ]


@pytest.mark.parametrize("column", ["problem", "excluded"])
def test_a_name_whose_photographs_are_all_left_out_is_not_to_be_settled(column):
    names = pd.DataFrame({"verbatim_name": ["to sort", "wren", ""], "rank": "", "scientific_name": ""})
    names = names.assign(name_status="unresolved", reason="x", alternatives="", rule="")
    reasons = ["image of no taxon (to sort)", "no name", "", "duplicate"]
    table = pd.DataFrame({"verbatim_name": ["to sort", "", "wren", "wren"], column: reasons})
    found = names_to_settle(names, table)
    assert found["class_name"].tolist() == ["wren"] and found["photographs"].tolist() == [1]
    assert say_names(names, table)[0] == "0 of 1 names understood as species; 1 not understood, with 1 photograph"
