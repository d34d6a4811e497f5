"""The results table from rows by hand, the README between its markers, PNGs that a repository can hold."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bioclip_lib import figures
from bioclip_lib.errors import InputError
from bioclip_lib.evaluation import metrics
from bioclip_lib.figures.tables import headline_table
from bioclip_lib.reproduce import readme
from bioclip_lib.run import Run

KEYS = {"run": "mini", "profile": "mini", "notebook": "04", "seeds": 1, "seconds": np.nan}


def row(dataset, model, task, metric, value, low, high, n=1_234, chance=0.05):
    numbers = {"value": value, "ci_low": low, "ci_high": high, "n": n, "chance": chance}
    return {**KEYS, "dataset": dataset, "model": model, "task": task, "metric": metric, **numbers}


def results(**changes):
    rows = [
        row("birds", "hub:x|y", "zero_shot/seen", "top1", 0.5, 0.4, 0.6),
        row("birds", "trained", "zero_shot/seen", "top1", 0.6789, 0.6543, 0.7),
        row("birds", "trained", "zero_shot/seen", "macro_top1", 0.5789, 0.5543, 0.6),
        row("birds", "trained", "zero_shot/unseen/taxon", "macro_top1", 0.25, 0.1, 0.5),
        row("birds", "trained", "zero_shot/seen", "top5", 0.9, 0.8, 1.0),
        row("birds", "trained", "zero_shot/seen/com", "top1", 0.1, 0.0, 0.2),
        row("birds", "trained", "few_shot/10", "top1", 0.8, 0.7, 0.9, n=900),
        row("birds", "pixels", "few_shot/10", "top1", 0.2, 0.1, 0.3, n=800),
        row("birds", "trained", "few_shot/5/unseen", "top1", 0.7, 0.6, 0.8),
        row("birds", "trained", "few_shot/5/cumulative", "top1", 0.7, 0.6, 0.8),
        row("birds", "trained", "few_shot/1", "top1", 1 / 3, 0.3, 0.4),
        row("birds", "trained", "hierarchy/unseen", "spearman", 0.456, 0.3, 0.55, n=24, chance=0.0),
        row("birds", "trained", "hierarchy/unseen", "p_value", 0.0001, 0.0, 0.001, n=24, chance=0.5),
        row("birds", "trained", "hierarchy/unseen", "p_value_in_kingdoms", 0.02, 0.01, 0.03, n=24, chance=0.5),
        row("aphids", "trained", "hierarchy/seen", "spearman", -0.1, -0.4, 0.2, n=30, chance=0.0),
    ]
    return pd.DataFrame(rows).assign(**changes)


TABLE = """\
| data set | task | trained | colours only | hub:x\\|y | chance | n |
| --- | --- | ---: | ---: | ---: | ---: | ---: |
| aphids | hierarchy, seen species, Spearman's rho | -0.10 [-0.40, 0.20] |  |  | 0 | 30 species |
| birds | zero-shot, seen species, top-1 % | 57.9 [55.4, 60.0]; 67.9 of images |  | 50.0 of images | 5.0 | 1,234 |
| birds | zero-shot, unseen species, taxonomic name, top-1 % | 25.0 [10.0, 50.0] |  |  | 5.0 | 1,234 |
| birds | 1 shot, top-1 % | 33.3 of images |  |  | 5.0 | 1,234 |
| birds | 10 shots, top-1 % | 80.0 of images | 20.0 of images |  | 5.0 | 800 to 900 |
| birds | 5 shots, unseen species, top-1 % | 70.0 of images |  |  | 5.0 | 1,234 |
| birds | hierarchy, unseen species, Spearman's rho | 0.46 [0.30, 0.55], p 0.0001, p inside kingdoms 0.02 |  |  | 0 | 24 species |"""  # noqa: E501


HEADLINES = """\
| data set | task | trained | best baseline | chance | n |
| --- | --- | ---: | ---: | ---: | ---: |
| birds | zero-shot, seen species, top-1 % | 57.9 [55.4, 60.0] |  | 5.0 | 1,234 |
| birds | hierarchy, unseen species, Spearman's rho | 0.46 [0.30, 0.55] |  | 0 | 24 species |"""


def test_the_headlines_by_hand():
    assert headline_table(results()) == HEADLINES
    rows = [row("birds", "pixels", "zero_shot/seen", "macro_top1", 0.25, 0.2, 0.3)]
    rows += [row("birds", "frozen", "zero_shot/seen", "macro_top1", 0.5, 0.4, 0.6)]
    rows += [row("birds", "ranks_dealt", "zero_shot/seen", "macro_top1", 0.9, 0.8, 0.95)]  # a control is no rival
    more = headline_table(pd.concat([results(), pd.DataFrame(rows)], ignore_index=True))
    assert "| 57.9 [55.4, 60.0] | 50.0 [40.0, 60.0], pretrained tower | 5.0 |" in more


def test_published_sets_are_in_the_table_and_in_the_overview():
    rows = pd.DataFrame([row("plankton", "trained", "zero_shot", "top1", 0.5, 0.4, 0.6)])
    assert "| plankton | zero-shot, top-1 % | 50.0 of images | 5.0 | 1,234 |" in figures.results_table(rows)
    labels = figures.plot_results_overview(rows).axes[0].get_yticklabels()
    assert [label.get_text() for label in labels] == ["plankton", "zero-shot"]


def test_the_table_by_hand():
    assert figures.results_table(results()) == TABLE


def test_the_order_of_rows_does_not_matter():
    assert figures.results_table(results().sample(frac=1, random_state=0)) == TABLE


def test_smoke_numbers_say_so():
    assert figures.results_table(results(profile="smoke")) == TABLE + "\n\nSmoke numbers: not a result."


def test_the_name_of_a_data_set_stays_text_in_its_cell():
    odd = row("<img src=x onerror=a()>|[x](http://y)\n# z", "trained", "zero_shot", "top1", 0.5, 0.4, 0.6)
    line = figures.results_table(pd.DataFrame([odd])).splitlines()[-1]
    assert line.startswith(r"| \<img src=x onerror=a()\>\|\[x\](http://y) \# z | zero-shot, top-1 % |")


def test_two_runs_of_one_data_set_are_no_table():
    with pytest.raises(InputError, match="of the runs a, mini several have the data set birds"):
        figures.results_table(pd.concat([results(), results(run="a")]))
    birds = results()[lambda rows: rows["dataset"] == "birds"]
    assert (
        figures.results_table(pd.concat([birds, results(run="a")[lambda rows: rows["dataset"] == "aphids"]])) == TABLE
    )


def test_the_table_is_that_of_the_file(tmp_path):
    path = tmp_path / "metrics.csv"
    metrics.append_metrics(path, results())
    assert figures.results_table(metrics.read_metrics(path)) == TABLE


# README


def test_the_readme_keeps_everything_else(tmp_path):
    page = tmp_path / "README.md"
    page.write_text(f"# Tïtle\n\n{readme.BEGIN}\nold\n| x |\n{readme.END}\n\nafter\n", encoding="utf-8")
    readme.update_readme(page, TABLE)
    once = page.read_bytes()
    assert once.decode() == f"# Tïtle\n\n{readme.BEGIN}\n{TABLE}\n{readme.END}\n\nafter\n"
    readme.update_readme(page, TABLE)
    assert page.read_bytes() == once
    assert list(tmp_path.iterdir()) == [page]


@pytest.mark.parametrize(
    "text",
    [
        "no markers\n",
        readme.BEGIN,
        readme.END,
        f"{readme.END}\n{readme.BEGIN}\n",
        f"{readme.BEGIN}\n{readme.BEGIN}\n{readme.END}\n",
        f"{readme.BEGIN}\n{readme.END}\n{readme.END}\n",
    ],
)
def test_a_readme_without_its_markers_is_left_alone(tmp_path, text):
    page = tmp_path / "README.md"
    page.write_text(text)
    with pytest.raises(InputError, match="once each"):
        readme.update_readme(page, TABLE)
    assert page.read_text() == text


def test_a_missing_readme_is_named(tmp_path):
    with pytest.raises(InputError, match="README"):
        readme.update_readme(tmp_path / "README.md", TABLE)


# Export


def noise(path, size):
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path.read_bytes()


def test_a_large_png_is_made_to_fit_and_a_small_one_is_not_touched(tmp_path):
    small = noise(tmp_path / "small.png", (50, 40))
    readme.shrink_png(tmp_path / "small.png", tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == small
    noise(tmp_path / "large.png", (600, 400))
    for limit in (150_000, 100_000):
        readme.shrink_png(tmp_path / "large.png", tmp_path / "b.png", limit)
        assert (tmp_path / "b.png").stat().st_size <= limit
        with Image.open(tmp_path / "b.png") as image:
            assert image.width / image.height == pytest.approx(1.5, abs=0.01) and image.width > 250


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.setattr(readme, "REPOSITORY", tmp_path)
    monkeypatch.setattr(readme, "RESULTS_CSV", tmp_path / "data" / "results.csv")
    (tmp_path / "docs").mkdir()
    for page in ("README.md", "docs/results.md"):
        (tmp_path / page).write_text(f"{readme.BEGIN}\n{readme.END}\n")
    return tmp_path


def test_a_run_is_exported_whole(repository):
    run = Run(repository / "runs" / "mini")
    metrics.append_metrics(run.metrics_csv, results())
    run.figures.mkdir()
    noise(run.figures / "contact_sheet.png", (900, 600))
    big = noise(run.figures / "zero_shot.png", (900, 600))
    (run.figures / "zero_shot.pdf").write_bytes(b"%PDF")
    (run.figures / "zero_shot.json").write_text('{"figure": "zero_shot", "inputs": {"a.csv": "0"}, "notebook": "04"}')
    assert readme.main([str(run.root)]) == 0
    assert TABLE in (repository / "docs" / "results.md").read_text()
    assert HEADLINES in (repository / "README.md").read_text()
    assert (repository / "data" / "results.csv").read_bytes() == run.metrics_csv.read_bytes()
    copied = {path.name: path for path in (repository / "figures").iterdir()}
    assert set(copied) == {"contact_sheet.png", "zero_shot.png", "zero_shot.pdf", "zero_shot.json"}
    assert copied["contact_sheet.png"].stat().st_size <= readme.MAX_TRACKED_BYTES
    assert copied["zero_shot.png"].read_bytes() == big  # not tracked, so not shrunk
    index = figures.figure_index(run)
    assert index[["figure", "notebook", "inputs"]].values.tolist() == [["zero_shot", "04", "a.csv"]]


def test_a_run_without_metrics_is_an_error_and_nothing_is_copied(repository, capsys):
    run = Run(repository / "runs" / "mini")
    run.figures.mkdir(parents=True)
    noise(run.figures / "overview.png", (9, 9))
    assert readme.main([str(run.root)]) == 2
    assert "run the notebooks" in capsys.readouterr().err
    assert not (repository / "figures").exists() and not (repository / "data").exists()
