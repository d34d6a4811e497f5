"""Figures show what tables hold, whole and readable, and leave nothing behind; saved ones say how they were made."""

import hashlib
import json

import matplotlib
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from nbclient import NotebookClient
from PIL import Image

from bioclip_lib import RANKS, TEXT_TYPES, figures
from bioclip_lib.config import load_config
from bioclip_lib.errors import InputError
from bioclip_lib.figures import style
from bioclip_lib.run import open_run

MODELS = {"trained": 0.6, "frozen": 0.5, "pixels": 0.3, "random_init": 0.05, "hf-hub:imageomics/bioclip": 0.7}
DATASETS = ("birds100", "a_data_set_with_quite_a_long_name", "pollen73")


def score_rows(datasets=DATASETS, models=MODELS, profile="photos"):
    tasks = [f"zero_shot/{p}{t}" for p in ("seen", "unseen") for t in ("", "/com", "/sci", "/taxon", "/sci_com")]
    tasks += [f"few_shot/{k}{part}" for k in (1, 5) for part in ("", "/unseen", "/cumulative")]
    rows = []
    for i, (dataset, task, model) in enumerate((d, t, m) for d in datasets for t in tasks for m in models):
        value = MODELS[model] * (0.8 if "unseen" in task else 1) + 0.0001 * i
        rows.append((dataset, task, model, "top1", value, value - 0.04, min(1, value + 0.05), 0.05, profile))
    for dataset, model in ((d, m) for d in datasets for m in models):
        rows.append((dataset, "hierarchy/unseen", model, "spearman", MODELS[model] / 2, -0.1, 0.9, 0.0, profile))
    columns = ["dataset", "task", "model", "metric", "value", "ci_low", "ci_high", "chance", "profile"]
    return pd.DataFrame(rows, columns=columns).assign(run="r", n=100, seeds=1)


def catalog_table():
    rows = []
    for dataset in DATASETS:
        for i in range(12):
            splits = ["train", "train", "val", "test", "heldout_species"]
            rows += [(dataset, "species", f"Genus s{i}", "", "", splits[j % 5]) for j in range(3 * i + 2)]
    columns = ["source", "rank", "scientific_name", "verbatim_name", "excluded", "split"]
    return pd.DataFrame(rows, columns=columns).assign(class_key=lambda table: table["scientific_name"])


def training_log():
    step = np.arange(1, 301)
    val = np.where(step % 50 == 0, 3.0, np.nan)
    log = {
        "step": step,
        "loss": 4 * np.exp(-step / 100),
        "val_loss": val,
        "val_top1": val / 10,
        "lr": 1e-3 * step,
        "images_per_s": 1e4 + step,
    }
    return pd.DataFrame(log)


def rank_rows():
    rows = [
        ("trained", d, p, r, 0.9 - 0.1 * i, 0.8 - 0.1 * i, 0.95 - 0.1 * i, 0.1, 50)
        for d in DATASETS
        for p in ("seen", "unseen")
        for i, r in enumerate(RANKS)
    ]
    return pd.DataFrame(rows, columns=["model", "dataset", "part", "rank", "value", "ci_low", "ci_high", "chance", "n"])


def mistake_rows():
    rows = [
        ("trained", d, p, i, i / 28, 1 / 7, 1_234) for d in DATASETS for p in ("seen", "unseen") for i in range(1, 8)
    ]
    return pd.DataFrame(rows, columns=["model", "dataset", "part", "distance", "share", "chance", "n"])


def probe_details():
    rng, details = np.random.default_rng(0), {}
    tree = np.minimum(7, np.abs(np.subtract.outer(np.arange(12), np.arange(12))))
    for dataset in DATASETS:
        for model, value in MODELS.items():
            null = rng.normal(scale=0.1, size=300)
            found = {"observed": value - 0.1, "null": null, "tree": tree, "embedding": tree / 7 + 0.1}
            details[dataset, "hierarchy/unseen", model] = found
    return details


def map_rows(n=200):
    code = np.arange(n)
    taxa = {r: [f"Zwathroxosp{r}{i % (2 + 4 * j)}" for i in code] for j, r in enumerate(RANKS)}
    rows = pd.DataFrame(taxa).assign(kingdom=np.where(code % 2, "Animalia", "Fictoplantae"))
    rows.loc[:9, list(RANKS[3:])] = ""
    xy = np.random.default_rng(0).normal(size=(n, 2))
    return rows.assign(trained_x=xy[:, 0], trained_y=xy[:, 1])


def contact_sheet():
    titles = [
        "Drujuskus fergoides",
        "Drujuskus fergoides",
        "BLACK_CAPPED_CHICKADEE_OF_THE_NORTH",
        "Blaukosphaera vumbescens",
    ]
    images = np.random.default_rng(0).integers(0, 256, (14, 20, 20, 3), dtype=np.uint8)
    return images, (titles * 4)[:14]


WORDS = pd.DataFrame({t: np.arange(7.0) * (i + 1) for i, t in enumerate(TEXT_TYPES)}, index=["none", *RANKS[:-1]])
WORDS["pairs"] = 1_000
DRAWN = {
    "contact_sheet": lambda: figures.plot_contact_sheet(*contact_sheet(), n_columns=8),
    "taxon_counts": lambda: figures.plot_taxon_counts(catalog_table()),
    "taxon_treemap": lambda: figures.plot_taxon_treemap(map_rows().assign(excluded="")),
    "shared_words": lambda: figures.plot_shared_words(WORDS),
    "training": lambda: figures.plot_training(training_log()),
    "zero_shot": lambda: figures.plot_zero_shot(score_rows()),
    "zero_shot_of_one": lambda: figures.plot_zero_shot(score_rows(DATASETS[:1], ["trained"])),
    "few_shot": lambda: figures.plot_few_shot(score_rows()),
    "rank_accuracy": lambda: figures.plot_rank_accuracy(rank_rows()),
    "mistakes": lambda: figures.plot_mistakes(mistake_rows()),
    "map": lambda: figures.plot_map(map_rows(), "trained"),
    "mantel": lambda: figures.plot_mantel(probe_details(), "hierarchy/unseen"),
    "distance_by_rank": lambda: figures.plot_distance_by_rank(probe_details(), "hierarchy/unseen", "frozen"),
    "overview": lambda: figures.plot_results_overview(score_rows()),
    "overview_smoke": lambda: figures.plot_results_overview(score_rows(profile="smoke")),
}


@pytest.fixture(scope="module")
def drawn():
    settings = dict(matplotlib.rcParams)
    figs = {name: draw() for name, draw in DRAWN.items()}
    assert dict(matplotlib.rcParams) == settings, "a setting of matplotlib was changed"
    assert not plt.get_fignums(), "a figure is left with pyplot"
    return figs


def shown(fig):
    """Return the texts that are drawn: matplotlib keeps tick labels beyond the limits, and does not draw them."""
    beyond = {id(label) for ax in fig.axes for axis in (ax.xaxis, ax.yaxis) for label in labels_beyond(axis)}
    texts = fig.findobj(matplotlib.text.Text)
    return [t for t in texts if t.get_visible() and t.get_text().strip() and id(t) not in beyond]


def labels_beyond(axis):
    low, high = sorted(axis.get_view_interval()) if axis.axes.axison else (0, -1)
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    return [t.label1 for t in ticks if not low <= t.get_loc() <= high] + [t.label2 for t in ticks]


def texts_of(fig):
    return [t.get_text() for t in shown(fig)]


def overlapping(texts, shrink):
    boxes = [t.get_window_extent().shrunk(shrink, shrink) for t in texts]
    return [(texts[i], texts[j]) for i, a in enumerate(boxes) for j, b in enumerate(boxes[:i]) if a.overlaps(b)]


# Looks


@pytest.mark.parametrize("name", DRAWN)
def test_nothing_is_cut_off_and_widths_are_a_journals(drawn, name):
    fig = drawn[name]
    assert isinstance(fig, Figure) and fig.get_figwidth() <= style.PAGE_IN + 1e-6
    width, height = fig.canvas.get_width_height()
    for text in shown(fig):
        box = text.get_window_extent()
        assert box.x0 > -2 and box.y0 > -2 and box.x1 < width + 2 and box.y1 < height + 2, (text, box)
        assert text.get_fontsize() >= 5


@pytest.mark.parametrize("name", DRAWN)
def test_titles_legends_and_tick_labels_do_not_overlap(drawn, name):
    fig = drawn[name]
    visible = {id(t) for t in shown(fig)}
    titles = [t for ax in fig.axes for t in (ax.title, ax._left_title) if id(t) in visible]
    assert not overlapping([*titles, *fig.legends], 0.97)
    for ax in fig.axes:
        for labels in (ax.get_xticklabels(), ax.get_yticklabels()):
            upright = [t for t in labels if id(t) in visible and t.get_rotation() == 0]
            assert not overlapping(upright, 0.95)


def test_scientific_names_are_in_italics(drawn):
    sheet = {ax._left_title.get_text(): ax._left_title.get_fontstyle() for ax in drawn["contact_sheet"].axes}
    assert sheet["Drujuskus fergoides"] == "italic"
    assert {s for name, s in sheet.items() if name.startswith("BLACK")} == {"normal"}
    for ax in drawn["map"].axes[:7]:
        styles = {t.get_fontstyle() for t in ax.get_legend().get_texts()}
        assert styles == {"italic" if ax.get_title().startswith(("genus", "species")) else "normal"}


def test_smoke_numbers_say_so(drawn):
    notes = [name for name, fig in drawn.items() if any("not a result" in text for text in texts_of(fig))]
    assert notes == ["overview_smoke"]


# Contents


def drawn_values(ax, model):
    container = next(c for c in ax.containers if c.get_label() == model)
    return container[0].get_ydata(), container[2][0].get_segments()


def test_zero_shot_shows_values_intervals_and_chance(drawn):
    rows, axs = score_rows(), drawn["zero_shot"].axes
    assert len(axs) == 6 and axs[0].get_title() == "a_data_set_with_quite_a_l…\nseen: 100 images"
    birds = axs[2]
    assert [t.get_text() for t in birds.get_xticklabels()] == list(TEXT_TYPES)
    for model in MODELS:
        mine = rows[(rows["dataset"] == "birds100") & (rows["model"] == model)].set_index("task")
        tasks = [f"zero_shot/seen{'' if t == 'taxon_com' else '/' + t}" for t in TEXT_TYPES]
        values, segments = drawn_values(birds, model)
        assert values.tolist() == mine.loc[tasks, "value"].tolist()
        assert [s[:, 1].tolist() for s in segments] == pytest.approx(mine.loc[tasks, ["ci_low", "ci_high"]].to_numpy())
    assert 0.05 in [line.get_ydata()[0] for line in birds.lines if line.get_linestyle() == ":"]
    assert len({ax.get_ylim() for ax in axs}) == 1


def test_legends_name_every_model_known_or_not(drawn):
    for name in ("zero_shot", "few_shot", "overview"):
        labels = [t.get_text() for t in drawn[name].legends[0].get_texts()]
        assert labels == ["trained", "frozen", "pixels", "random_init", "hf-hub:imageomics/bioclip", "chance"]


def test_few_shot_leaves_the_cumulative_folds_out(drawn):
    axs = drawn["few_shot"].axes
    assert len(axs) == 6 and not any("cumulative" in ax.get_title() for ax in axs)
    values, _ = drawn_values(axs[2], "pixels")
    rows = score_rows().set_index(["dataset", "model", "task"])["value"]
    assert values.tolist() == [rows["birds100", "pixels", f"few_shot/{k}"] for k in (1, 5)]


def test_overview_has_a_line_a_task_in_both_panels(drawn):
    accuracy, probe = drawn["overview"].axes
    lines = [t.get_text() for t in accuracy.get_yticklabels()]
    assert lines[5:10] == ["birds100", "zero-shot, seen species", "zero-shot, unseen species", "1 shot", "5 shots"]
    assert [t.get_text() for t in probe.get_yticklabels()][2:4] == ["birds100", "hierarchy, unseen species"]
    assert accuracy.get_ylim() == probe.get_ylim()
    found = next(c for c in probe.containers if c.get_label() == "frozen")[0].get_xdata()
    assert found.tolist() == [0.25] * 3


def test_counts_training_and_words_show_their_tables(drawn):
    left, right = drawn["taxon_counts"].axes
    assert left.lines[0].get_ydata().tolist() == [3 * i + 2 for i in range(11, -1, -1)]
    assert sum(bar.get_width() for bar in right.patches) == len(catalog_table())
    loss = drawn["training"].axes[0]
    assert loss.lines[0].get_ydata().tolist() == training_log()["loss"].tolist()
    assert loss.lines[2].get_xdata().tolist() == [50, 100, 150, 200, 250, 300]
    words = drawn["shared_words"].axes[0]
    assert words.lines[1].get_ydata().tolist() == WORDS["sci"].tolist()
    assert words.get_xticklabels()[0].get_text() == "none\n1,000"
    assert len({ax.get_xlim() for ax in drawn["training"].axes}) == 1


def test_classes_are_counted_in_whole_numbers_and_one_mistake_is_singular():
    left = figures.plot_taxon_counts(catalog_table()).axes[0]
    assert all(float(tick).is_integer() for tick in left.get_xticks())
    fig = figures.plot_mistakes(mistake_rows().assign(n=1))
    assert fig.axes[0].get_title().endswith(": 1 mistake")


def test_excluded_images_are_not_counted():
    table = catalog_table()
    table.loc[0, "excluded"] = "zero bytes"
    right = figures.plot_taxon_counts(table).axes[1]
    assert sum(bar.get_width() for bar in right.patches) == len(table) - 1


def test_rank_accuracy_and_mistakes_are_of_the_named_model(drawn):
    assert drawn["rank_accuracy"].axes[0].lines[0].get_ydata() == pytest.approx(0.9 - 0.1 * np.arange(7))
    assert [bar.get_height() for bar in drawn["mistakes"].axes[0].patches] == pytest.approx(np.arange(1, 8) / 28)
    for plot, table in ((figures.plot_rank_accuracy, rank_rows()), (figures.plot_mistakes, mistake_rows())):
        assert "of frozen" in texts_of(plot(table, model="frozen"))[-1]


def test_a_map_draws_every_image_in_every_panel(drawn):
    for ax, rank in zip(drawn["map"].axes, RANKS, strict=False):
        assert sum(len(c.get_offsets()) for c in ax.collections) == 200
        rows = map_rows()
        known = rows[rows[rank] != ""]
        n_taxa = len(known.groupby(["genus", "species"])) if rank == "species" else known[rank].nunique()
        assert ax.get_title() == f"{rank} ({n_taxa})" and len(ax.get_legend().get_texts()) == min(8, n_taxa)
    few = figures.plot_map(map_rows(), "trained", n_groups=3)
    assert len(few.axes[5].get_legend().get_texts()) == 3


def test_species_of_two_genera_with_one_epithet_are_two_groups():
    rows = pd.DataFrame([("A", "", "", "", "", g, "major") for g in ("Parus", "Puma") * 3], columns=list(RANKS))
    fig = figures.plot_map(rows.assign(m_x=0, m_y=0), "m")
    assert fig.axes[6].get_title() == "species (2)" and fig.axes[5].get_title() == "genus (2)"


def test_mantel_tells_observed_and_p(drawn):
    axs = drawn["mantel"].axes
    assert len(axs) == 15 and "ρ = 0.50\np = 0.0033" in [t.get_text() for t in axs[0].texts]
    assert axs[0].lines[0].get_xdata()[0] == 0.5
    details = {("d", "t", "trained"): {"observed": np.nan, "null": np.zeros(9)}}
    assert "all distances are equal" in texts_of(figures.plot_mantel(details, "t"))


def test_distances_are_boxed_by_shared_rank(drawn):
    labels = [t.get_text().split("\n") for t in drawn["distance_by_rank"].axes[0].get_xticklabels()]
    assert labels[-1] == ["genus", "11"] and labels[0] == ["none", str(5 * 6 // 2)]
    assert sum(int(n) for _, n in labels) == 12 * 11 // 2


@pytest.mark.parametrize(
    "draw",
    [
        lambda: figures.plot_zero_shot(score_rows().iloc[:0]),
        lambda: figures.plot_few_shot(score_rows().iloc[:0]),
        lambda: figures.plot_results_overview(score_rows().iloc[:0]),
        lambda: figures.plot_map(map_rows().iloc[:0], "trained"),
        lambda: figures.plot_mantel({}, "hierarchy/unseen"),
        lambda: figures.plot_distance_by_rank({}, "hierarchy/unseen", "trained"),
    ],
)
def test_nothing_to_show_is_said(draw):
    assert len(texts_of(draw())) == 1


def test_a_given_axes_is_drawn_into():
    fig = Figure()
    first, second = fig.subplots(1, 2)
    assert figures.plot_shared_words(WORDS, ax=second) is fig
    assert len(second.lines) == 5 and not first.lines


# Colours


@given(st.lists(st.text(st.characters(codec="ascii"), min_size=1), min_size=1, max_size=10, unique=True), st.randoms())
def test_each_name_has_a_colour_of_its_own_in_any_order(names, rnd):
    colours = style.colours_of(names, {})
    assert len(set(colours.values())) == len(names)
    shuffled = list(names)
    rnd.shuffle(shuffled)
    assert style.colours_of(shuffled, {}) == colours


def test_a_name_without_a_fixed_colour_takes_nobodys():
    names = [f"model {i}" for i in range(6)]
    assert not set(style.MODEL_COLOURS.values()) & set(style.colours_of(names, style.MODEL_COLOURS).values())


def test_fixed_colours_stay_and_many_names_still_get_one():
    names = [*style.MODEL_COLOURS, *[f"m{i}" for i in range(30)], "pretrained"]
    colours = style.colours_of(names, style.MODEL_COLOURS)
    assert set(colours) == set(names)
    assert {name: colours[name] for name in style.MODEL_COLOURS} == style.MODEL_COLOURS
    assert style.model_colour("trained") == style.MODEL_COLOURS["trained"]
    assert style.model_colour("x") in style.PALETTE


# Notebooks


def test_a_notebook_shows_a_figure_once_and_only_where_a_cell_ends_with_it():
    draw = "figures.plot_shared_words(pd.DataFrame({'sci': [1, 2], 'pairs': [5, 5]}, index=['none', 'genus']))"
    cells = [
        f"import pandas as pd\nfrom bioclip_lib import figures\nfig = {draw}",
        "fig",
        "import matplotlib.pyplot as plt\nplt.get_backend()",
        f"fig = {draw}\nfig",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    shown = [sum("image/png" in o.get("data", {}) for o in cell.outputs) for cell in notebook.cells]
    assert shown == [0, 1, 0, 1]


# Saved figures


@pytest.fixture
def run(tmp_path):
    return open_run(tmp_path / "r", load_config("mini"))


def save(run, name="flow", **provenance):
    fig = figures.plot_shared_words(WORDS)
    return figures.save_figure(fig, name, run, {"notebook": "01_dataset_construction", **provenance})


def test_a_figure_is_saved_with_how_it_was_made(run):
    table = run.root / "tables" / "dropped.csv"
    table.parent.mkdir()
    table.write_bytes(b"reason,n_images\n")
    paths = save(run, inputs=[table], shots=[1, 5])
    assert [p.name for p in paths] == ["flow.pdf", "flow.png", "flow.json"]
    assert sorted(p.name for p in run.figures.iterdir()) == ["flow.json", "flow.pdf", "flow.png"]
    made_by = json.loads(paths[2].read_text())
    assert made_by["inputs"] == {"tables/dropped.csv": hashlib.sha256(b"reason,n_images\n").hexdigest()}
    assert made_by["notebook"] == "01_dataset_construction" and made_by["shots"] == [1, 5]
    assert made_by["parameters"]["evaluate"]["shots"] == [1, 5] and made_by["profile"] == "mini"
    assert {"git_commit", "made", "run", "figure"} <= set(made_by)
    assert paths[0].read_bytes().startswith(b"%PDF")
    with Image.open(paths[1]) as png:
        assert png.width == pytest.approx(1.35 * style.COLUMN_IN * 200, abs=1)


def test_the_same_figure_is_the_same_file(run):
    before = [p.read_bytes() for p in save(run)[:2]]
    assert [p.read_bytes() for p in save(run)[:2]] == before


@pytest.mark.parametrize("name", ["../flow", "a/b", "", ".hidden", "-rf", "flow.png", "flöw", "a b"])
def test_a_name_cannot_leave_the_folder(run, name):
    with pytest.raises(ValueError, match="name"):
        save(run, name)
    assert not run.figures.exists()


def test_a_missing_input_or_notebook_stops_it_before_anything_is_written(run):
    with pytest.raises(InputError, match="nowhere"):
        save(run, inputs=[run.root / "nowhere.csv"])
    with pytest.raises(ValueError, match="names no notebook"):
        save(run, notebook="")
    assert not run.figures.exists()


def test_a_saver_saves_under_its_notebook_and_hands_the_figure_back(run):
    (run.tables / "words.csv").parent.mkdir(parents=True, exist_ok=True)
    (run.tables / "words.csv").write_text("a\n")
    fig = figures.plot_shared_words(WORDS)
    assert figures.saver(run, "02_captions")(fig, "words", "tables/words.csv") is fig
    made = json.loads((run.figures / "words.json").read_text())
    assert made["notebook"] == "02_captions" and list(made["inputs"]) == ["tables/words.csv"]
    with pytest.raises(InputError, match="cannot be read"):
        figures.saver(run, "02_captions")(fig, "words", "tables/none.csv")


def test_an_interrupted_save_leaves_no_account_of_it(run, monkeypatch):
    save(run)
    savefig = Figure.savefig

    def full_disk(self, path, **options):
        savefig(self, path, **options)
        if options["format"] == "png":
            raise OSError("no space left on device")

    monkeypatch.setattr(Figure, "savefig", full_disk)
    with pytest.raises(OSError, match="no space"):
        save(run)
    assert sorted(p.name for p in run.figures.iterdir()) == ["flow.pdf", "flow.png"]


def test_a_smoke_run_marks_its_figures_once(tmp_path):
    run = open_run(tmp_path / "smoke", load_config("smoke"))
    fig = figures.plot_results_overview(score_rows(profile="smoke"))
    for _ in range(2):
        figures.save_figure(fig, "overview", run, {"notebook": "10_paper_figures"})
    assert sum("not a result" in text for text in texts_of(fig)) == 1
    bare = figures.plot_shared_words(WORDS)
    figures.save_figure(bare, "flow", run, {"notebook": "01_dataset_construction"})
    assert any("not a result" in text for text in texts_of(bare))
