"""Figures show what tables hold, whole and readable at a journal's widths, and leave nothing behind."""

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

from bioclip_lib import RANKS, TEXT_TYPES, figures
from bioclip_lib.figures import style, words
from bioclip_lib.figures.words import in_words

from .tables import (
    DATASETS,
    MODELS,
    class_counts,
    consistency_rows,
    contact_sheet,
    map_quality,
    map_rows,
    mistake_rows,
    modality_rows,
    null_rows,
    pair_rows,
    power_rows,
    probe_rows,
    rank_rows,
    recipe_rows,
    risk_rows,
    saliency_rows,
    score_rows,
    shared_words,
    text_matrix_rows,
    training_log,
)

IN_WORDS = ["trained", "pretrained tower", "colours only", "untrained", "hf-hub:imageomics/bioclip"]
DRAWN = {
    "contact_sheet": lambda: figures.plot_contact_sheet(contact_sheet()),
    "taxon_counts": lambda: figures.plot_taxon_counts(class_counts()),
    "taxon_treemap": lambda: figures.plot_taxon_treemap(class_counts()),
    "shared_words": lambda: figures.plot_shared_words(shared_words()),
    "training": lambda: figures.plot_training(training_log(), chance=0.1),
    "zero_shot": lambda: figures.plot_zero_shot(score_rows()),
    "zero_shot_of_one": lambda: figures.plot_zero_shot(score_rows(DATASETS[:1], ["trained"])),
    "few_shot": lambda: figures.plot_few_shot(score_rows()),
    "rank_accuracy": lambda: figures.plot_rank_accuracy(rank_rows()),
    "mistakes": lambda: figures.plot_mistakes(mistake_rows()),
    "risk": lambda: figures.plot_risk(risk_rows()),
    "saliency": lambda: figures.plot_saliency(saliency_rows()),
    "text_matrix": lambda: figures.plot_text_matrix(text_matrix_rows()),
    "recipes": lambda: figures.plot_recipes(recipe_rows()),
    "map": lambda: figures.plot_map(map_rows(), map_quality(), "trained"),
    "mantel": lambda: figures.plot_mantel(null_rows()),
    "distance_by_rank": lambda: figures.plot_distance_by_rank(pair_rows()),
    "consistency": lambda: figures.plot_consistency(in_words(consistency_rows())),
    "probes": lambda: figures.plot_probes(in_words(probe_rows())),
    "power": lambda: figures.plot_power(in_words(power_rows())),
    "image_text": lambda: figures.plot_image_text(in_words(modality_rows())),
    "overview": lambda: figures.plot_results_overview(score_rows()),
    "overview_smoke": lambda: figures.plot_results_overview(score_rows(profile="smoke")),
}
WIDTHS_MM = (85, 180)


@pytest.fixture(scope="module")
def at_widths():
    settings, figs = dict(matplotlib.rcParams), {}
    for width in WIDTHS_MM:
        with figures.with_style(width_mm=width):
            figs[width] = {name: draw() for name, draw in DRAWN.items()}
    assert dict(matplotlib.rcParams) == settings, "a setting of matplotlib was changed"
    assert not plt.get_fignums(), "a figure is left with pyplot"
    return figs


@pytest.fixture
def drawn(at_widths):
    return at_widths[180]


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


@pytest.mark.parametrize("width_mm", WIDTHS_MM)
@pytest.mark.parametrize("name", DRAWN)
def test_nothing_is_cut_off_and_type_can_be_read_at_a_journals_width(at_widths, name, width_mm):
    fig = at_widths[width_mm][name]
    assert isinstance(fig, Figure) and 25.4 * fig.get_figwidth() == pytest.approx(
        85 if fig.get_figwidth() < 4 else 180, abs=0.1
    )
    assert 25.4 * fig.get_figwidth() <= width_mm + 0.1
    width, height = fig.canvas.get_width_height()
    for text in shown(fig):
        box = text.get_window_extent()
        assert box.x0 > -2 and box.y0 > -2 and box.x1 < width + 2 and box.y1 < height + 2, (text, box)
        assert text.get_fontsize() >= style.SMALLEST_PT, text


@pytest.mark.parametrize("width_mm", WIDTHS_MM)
@pytest.mark.parametrize("name", DRAWN)
def test_titles_legends_and_tick_labels_do_not_overlap(at_widths, name, width_mm):
    fig = at_widths[width_mm][name]
    visible = {id(t) for t in shown(fig)}
    titles = [t for ax in fig.axes for t in (ax.title, ax._left_title) if id(t) in visible]
    assert not overlapping([*titles, *fig.legends], 0.97)
    for ax in fig.axes:
        for labels in (ax.get_xticklabels(), ax.get_yticklabels()):
            upright = [t for t in labels if id(t) in visible]
            assert not overlapping(upright, 0.95)


@pytest.mark.parametrize("name", DRAWN)
def test_no_code_is_shown(drawn, name):
    codes = {"random_init", "pixels", "sci_com", "taxon_com", "heldout_species", "few_shot", "zero_shot"}
    said = texts_of(drawn[name])
    assert "frozen" not in said  # in a recipe ("Lite2, frozen") it is a word
    assert not [text for text in said if codes & set(text.replace(",", " ").split())]


def test_scientific_names_are_in_italics(drawn):
    sheet = {t.get_text(): t.get_fontstyle() for t in drawn["contact_sheet"].axes[0].texts}
    assert sheet["Drujuskus fergoides"] == "italic" and sheet["family0"] == "normal"
    assert {s for name, s in sheet.items() if name.startswith("BLACK")} == {"normal"}
    for ax in drawn["map"].axes:
        styles = {t.get_fontstyle() for t in ax.get_legend().get_texts()}
        assert styles == {"italic" if ax.get_title().startswith(("genus", "species")) else "normal"}


def test_smoke_numbers_say_so(drawn):
    notes = [name for name, fig in drawn.items() if any("not a result" in text for text in texts_of(fig))]
    assert notes == ["overview_smoke"]


def test_odd_names_are_text_on_one_line():
    assert style.shorten("a\nb\t<b>\x07$x_1$", 40) == "a b <b> $x_1$"
    assert style.shorten("hf-hub:imageomics/bioclip", 12) == "hf-hub:…clip"
    assert len(style.shorten("W" * 300, 30)) == 30


# Contents


def drawn_values(ax, model):
    container = next(c for c in ax.containers if c.get_label() == model)
    return container[0].get_xdata(), container[2][0].get_segments()


def test_zero_shot_shows_values_intervals_and_chance(drawn):
    rows, axs = score_rows(), drawn["zero_shot"].axes
    assert len(axs) == 6 and axs[2].get_title() == "birds100\nseen species, 100 images"
    assert [t.get_text() for t in axs[0].get_yticklabels()] == [words.TEXT_TYPES[t] for t in TEXT_TYPES]
    for model, said in zip(MODELS, IN_WORDS, strict=True):
        mine = rows[(rows["dataset"] == "birds100") & (rows["model"] == model)].set_index("task")
        tasks = [f"zero_shot/seen{'' if t == 'taxon_com' else '/' + t}" for t in TEXT_TYPES]
        values, segments = drawn_values(axs[2], said)
        assert sorted(values) == pytest.approx(sorted(mine.loc[tasks, "value"]))
        ends = sorted(s[:, 0].tolist() for s in segments)
        assert ends == pytest.approx(np.sort(mine.loc[tasks, ["ci_low", "ci_high"]].to_numpy(), axis=0))
    assert axs[2].get_xlim() == (0, 1)


def test_a_whisker_that_ends_at_100_percent_is_drawn_whole(drawn):
    rows = score_rows().assign(value=1.0, ci_high=1.0)
    for ax in figures.plot_zero_shot(rows).axes:
        assert not [c for c in (*ax.lines, *ax.collections) if c.get_clip_on() and c in drawn_children(ax)]


def drawn_children(ax):
    return [artist for container in ax.containers for artist in container.get_children()]


def test_figures_take_means_over_species_where_a_table_has_them():
    rows = pd.concat([score_rows(), score_rows().query("metric == 'top1'").assign(metric="macro_top1", value=0.123)])
    ax = figures.plot_few_shot(rows).axes[0]
    assert ax.get_xlabel() == "top-1 accuracy, mean over species"
    assert set(drawn_values(ax, "trained")[0]) == {0.123}


def test_legends_name_every_model_known_or_not(drawn):
    for name in ("zero_shot", "few_shot", "overview"):
        assert [t.get_text() for t in drawn[name].legends[0].get_texts()] == [*IN_WORDS, "chance"]


def test_few_shot_leaves_the_cumulative_folds_out(drawn):
    axs = drawn["few_shot"].axes
    assert len(axs) == 6 and {ax.get_title().split("\n")[1] for ax in axs} == {
        "all species, 100 images",
        "unseen species, 100 images",
    }
    rows = score_rows().set_index(["dataset", "model", "task"])["value"]
    assert list(drawn_values(axs[2], "colours only")[0]) == [
        rows["birds100", "pixels", f"few_shot/{k}"] for k in (1, 5)
    ]


def test_overview_has_a_line_a_task(drawn):
    accuracy, probe = drawn["overview"].axes
    lines = [t.get_text() for t in accuracy.get_yticklabels()]
    assert lines[7:14] == [
        *("birds100", "zero-shot, seen species", "zero-shot, unseen species", "1 shot", "5 shots"),
        *("1 shot, unseen species", "5 shots, unseen species"),
    ]
    assert [t.get_text() for t in probe.get_yticklabels()][2:4] == ["birds100", "unseen species"]
    assert drawn_values(probe, "pretrained tower")[0].tolist() == [0.25] * 3
    assert probe.get_xlim() == pytest.approx((-0.12, 0.92)) and accuracy.get_xlim() == (0, 1)


def test_counts_training_and_words_show_their_tables(drawn):
    left, right = drawn["taxon_counts"].axes
    per_class = class_counts().groupby(["source", "class_key"])["n_images"].sum()
    assert left.patches[0].get_data().values.tolist() == sorted(per_class["birds100"], reverse=True)
    assert left.get_ylabel() == "images (log scale)" and left.get_xlim()[0] == 0.5
    assert sum(bar.get_width() for bar in right.patches) == class_counts()["n_images"].sum()
    loss, probe = drawn["training"].axes[:2]
    assert loss.lines[0].get_ydata().tolist() == training_log()["loss"].tolist()
    assert loss.lines[2].get_xdata().tolist() == [50, 100, 150, 200, 250, 300]
    assert probe.lines[1].get_ydata() == [10, 10]  # chance
    shared = drawn["shared_words"].axes[0]
    assert [t.get_text() for t in shared.texts[7:14]] == [f"{2.0 * i:.1f}" for i in range(7)]
    assert shared.get_xticklabels()[0].get_text() == "none\n1,000"


def test_classes_of_about_the_same_size_are_counted_from_zero():
    left = figures.plot_taxon_counts(class_counts().assign(n_images=20)).axes[0]
    assert left.get_yscale() == "linear" and left.get_ylim()[0] == 0
    assert all(float(tick).is_integer() for tick in left.get_xticks())


def test_ranks_that_tell_nobody_apart_are_left_out(drawn):
    ax = drawn["rank_accuracy"].axes[0]
    assert [t.get_text() for t in ax.get_xticklabels()] == list(RANKS[1:])
    assert ax.lines[0].get_ydata() == pytest.approx(0.9 - 0.1 * np.arange(1, 7))
    for plot, table in ((figures.plot_rank_accuracy, rank_rows()), (figures.plot_mistakes, mistake_rows())):
        assert "of the trained model" in texts_of(plot(table[table["model"] != "trained"]))[-1]


def test_mistakes_are_told_in_words_and_few_of_them_not_as_shares(drawn):
    ax = drawn["mistakes"].axes[0]
    assert [t.get_text() for t in ax.get_yticklabels()][::6] == ["same genus", "other kingdom"]
    assert [bar.get_width() for bar in ax.patches] == pytest.approx(np.arange(1, 8) / 28)
    impossible = mistake_rows()["distance"] > 4
    table = mistake_rows().assign(
        share=mistake_rows()["share"].mask(impossible, 0), chance=mistake_rows()["chance"].mask(impossible, 0)
    )
    assert len(figures.plot_mistakes(table).axes[0].patches) == 4
    few = figures.plot_mistakes(mistake_rows(n=7)).axes[0]
    assert not few.patches and few.get_title().endswith("7 mistakes")
    assert figures.plot_mistakes(mistake_rows(n=1)).axes[0].get_title().endswith(", 1 mistake")


def test_a_map_draws_every_image_in_every_panel(drawn):
    for ax, rank in zip(drawn["map"].axes, RANKS, strict=True):
        assert sum(len(c.get_offsets()) for c in ax.collections) == 200
        known = map_rows()[lambda rows, rank=rank: rows[rank] != ""]
        n_taxa = len(known.groupby(["genus", "species"])) if rank == "species" else known[rank].nunique()
        assert ax.get_title() == f"{rank} ({n_taxa})" and len(ax.get_legend().get_texts()) == min(8, n_taxa)


def test_a_map_says_how_far_it_can_be_trusted():
    said = texts_of(figures.plot_map(map_rows(), map_quality(), "trained"))
    assert "trustworthiness 0.95, continuity 0.96" in said
    older = figures.plot_map(map_rows(), map_quality().drop(columns="continuity"), "trained")
    assert "trustworthiness 0.95" in texts_of(older)


def test_a_map_leaves_ranks_of_one_taxon_out_and_parts_look_like_their_parents():
    rows = map_rows().assign(kingdom="Animalia", phylum="Chordata")
    rows["class"] = np.where(np.arange(len(rows)) % 2, "Aves", "Mammalia")
    rows["order"] = rows["class"] + (np.arange(len(rows)) // 2 % 2).astype(str)
    fig = figures.plot_map(rows, map_quality(), "trained")
    assert fig.axes[0].get_title() == "class (2)" and len(fig.axes) == 5
    legend = {t.get_text(): h.get_color() for ax in fig.axes[:2] for t, h in legend_of(ax)}
    for parent in ("Aves", "Mammalia"):
        hue = matplotlib.colors.rgb_to_hsv(matplotlib.colors.to_rgb(legend[parent]))[0]
        hues = [matplotlib.colors.rgb_to_hsv(legend[f"{parent}{i}"])[0] for i in range(2)]
        assert hues == pytest.approx([hue, hue], abs=0.01) and legend[f"{parent}0"] != legend[f"{parent}1"]


def legend_of(ax):
    legend = ax.get_legend()
    return list(zip(legend.get_texts(), legend.legend_handles, strict=True))


def test_species_of_two_genera_with_one_epithet_are_two_groups():
    rows = pd.DataFrame([("A", "", "", "", "", g, "major") for g in ("Parus", "Puma") * 3], columns=list(RANKS))
    fig = figures.plot_map(rows.assign(m_x=0, m_y=0), map_quality(), "m")
    assert [ax.get_title() for ax in fig.axes] == ["genus (2)", "species (2)"]


def test_mantel_tells_p_on_the_scale_of_its_control(drawn):
    axs = drawn["mantel"].axes
    assert len(axs) == 4 and len({ax.get_xlim() for ax in axs}) == 1
    assert axs[-1].get_title().startswith("synthetic, looks shuffled\n")
    assert [t.get_text() for t in axs[0].texts] == ["p ≤ 0.0001", *["p = 0.25"] * 3, "p ≤ 0.0001"]
    constant = null_rows().assign(observed=np.nan)
    assert "all distances are equal" in texts_of(figures.plot_mantel(constant))


def test_distances_are_boxed_by_shared_rank_and_few_pairs_are_dots(drawn):
    (ax,) = drawn["distance_by_rank"].axes
    labels = [t.get_text().split("\n") for t in ax.get_xticklabels()]
    assert labels == [["none", "200"], ["kingdom", "40"], ["family", "1"], ["genus", "3"]]
    n_dots = sum(len(c.get_offsets()) for c in ax.collections if len(c.get_offsets()) in (1, 3))
    assert n_dots >= len(MODELS) * 4


@pytest.mark.parametrize(
    "draw",
    [
        lambda: figures.plot_zero_shot(score_rows().iloc[:0]),
        lambda: figures.plot_few_shot(score_rows().iloc[:0]),
        lambda: figures.plot_results_overview(score_rows().iloc[:0]),
        lambda: figures.plot_map(map_rows().iloc[:0], map_quality(), "trained"),
        lambda: figures.plot_mantel(null_rows().iloc[:0]),
        lambda: figures.plot_distance_by_rank(pair_rows().iloc[:0]),
        lambda: figures.plot_taxon_counts(class_counts().iloc[:0]),
        lambda: figures.plot_consistency(consistency_rows().iloc[:0]),
        lambda: figures.plot_power(power_rows().iloc[:0]),
        lambda: figures.plot_probes(probe_rows().iloc[:0]),
        lambda: figures.plot_image_text(modality_rows().iloc[:0]),
    ],
)
def test_nothing_to_show_is_said(draw):
    assert len(texts_of(draw())) == 1


# Colours


@given(st.lists(st.text(st.characters(codec="ascii"), min_size=1), max_size=4, unique=True), st.randoms())
def test_each_model_has_a_colour_of_its_own_in_any_order(names, rnd):
    names = [*MODELS, "ranks_dealt", *(f"run:{name}" for name in names)]
    with style.in_look():
        colours = style.model_colours(names)
        shuffled = list(names)
        rnd.shuffle(shuffled)
        assert style.model_colours(shuffled) == colours
    assert len(set(colours.values())) >= min(len(names), 9)


def test_a_meaning_has_one_colour_and_no_other_meaning_has_it():
    with style.in_look():
        models = style.model_colours([*words.MODELS, "a", "b"])
        said = style.model_colours([*words.MODELS.values(), words.START])
        kingdoms = style.taxon_colours(["Animalia", "Plantae", "Fungi", "Chromista", "Protozoa", "Bacteria"])
    assert not set(models.values()) & set(kingdoms.values()) and len(set(kingdoms.values())) == 6
    assert all(models[code] == said[word] for code, word in words.MODELS.items())
    assert said[words.START] == said["untrained"]


def test_an_untrained_model_on_a_pretrained_tower_is_called_so():
    table = in_words(score_rows(), {**words.MODELS, "random_init": words.START})
    labels = [t.get_text() for t in figures.plot_few_shot(table).legends[0].get_texts()]
    assert words.START in labels and "untrained" not in labels


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


def test_consistency_shows_each_way_to_ask(drawn):
    fig = drawn["consistency"]
    assert [ax.get_title().split("\n")[1] for ax in fig.axes] == [
        "seen species, 480 images",
        "unseen species, 480 images",
    ]
    assert len(fig.axes[0].get_yticklabels()) == 6
    assert list(drawn_values(fig.axes[0], "trained")[0]) == pytest.approx([0.9] * 6)


def test_each_probe_has_a_panel_and_the_dimension_none(drawn):
    axs = drawn["probes"].axes
    assert [ax.get_title().split("\n")[2] for ax in axs] == ["whole tree", "silhouette", "purity", "linear probe"] * 2
    assert [label.get_text() for label in axs[1].get_yticklabels()] == ["order", "genus"]
    assert list(drawn_values(axs[1], "trained")[0]) == pytest.approx([MODELS["trained"]] * 2)


def test_power_is_a_line_a_test(drawn):
    ax = drawn["power"].axes[0]
    assert [line.get_ydata()[-1] for line in ax.get_lines()] == pytest.approx([1, 0.8 / 1.5, 0.8 / 2.5])


def test_images_and_texts_stand_beside_each_other(drawn):
    ax = drawn["image_text"].axes[0]
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == ["images", "taxonomic name", "scientific name", "common name"]
    assert list(drawn_values(ax, "trained")[0]) == pytest.approx([0.6] * 4)


def test_species_that_are_no_candidates_have_no_line_of_their_species(drawn):
    seen, unseen = (len(ax.lines) for ax in drawn["risk"].axes)
    assert (seen, unseen) == (5, 4)  # species to class; genus to class


def test_without_two_species_no_words_are_shared():
    fig = figures.plot_shared_words(pd.DataFrame(columns=["com", "pairs"]))
    assert "fewer than two classes" in "".join(text.get_text() for text in (*fig.texts, *fig.axes[0].texts))
