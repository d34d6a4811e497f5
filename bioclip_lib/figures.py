"""Figures: a table in, a Figure out. One style sheet, one colour a model, a part, a group.

The functions never show, save or change matplotlib's settings; `save_figure` writes PDF, PNG and a JSON that says how
the figure was made. Widths are those of a journal: 3.5 inches a column, 7.2 a page.
"""

import datetime
import functools
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from . import RANKS, TEXT_TYPES
from .paths import Run, atomic, git_commit, write_json

STYLE = Path(__file__).parent / "bioclip.mplstyle"
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#7A5195", "#8C6D31", "#444444")
MODEL_COLOURS = {"trained": "#0072B2", "frozen": "#E69F00", "pixels": "#CC79A7", "random_init": "#888888"}
PART_COLOURS = {"seen": "#0072B2", "unseen": "#D55E00"}
OTHERS = "#d0d0d0"
PAGE_IN, COLUMN_IN = 7.2, 3.5


def styled(function: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw under the style sheet, and leave no figure open."""

    @functools.wraps(function)
    def draw(*args, **kwargs) -> Figure:
        with matplotlib.style.context(STYLE):
            fig = function(*args, **kwargs)
            fig.canvas.draw()
        plt.close(fig)
        return fig

    return draw


def model_colour(name: str) -> str:
    """Return the one colour of a model; a model without one gets a stable choice from the palette."""
    return MODEL_COLOURS.get(name, PALETTE[int(hashlib.sha256(name.encode()).hexdigest(), 16) % len(PALETTE)])


def save_figure(fig: Figure, name: str, run: Run, provenance: dict) -> list[Path]:
    """Write a figure as PDF and PNG, and how it was made as JSON.

    Parameters
    ----------
    fig : Figure
        Under the profile smoke it gets a note that its numbers are no result.
    name : str
        Letters, digits, ``_`` and ``-``.
    run : Run
    provenance : dict
        ``notebook``; ``inputs``, a list of paths whose SHA-256 is recorded; anything else that is JSON.

    Returns
    -------
    list of Path
    """
    if not re.fullmatch(r"[\w-]+", name):
        raise ValueError(f"a figure's name has letters, digits, _ and - only, not {name!r}")
    config = json.loads(run.config_json.read_text(encoding="utf-8")) if run.config_json.is_file() else {}
    if config.get("profile") == "smoke" and not fig.texts:
        fig.text(0.995, 0.005, "smoke run: not a result", ha="right", va="bottom", fontsize=6, color="#b00000")
    inputs = {str(Path(p).name): _sha256(Path(p)) for p in provenance.get("inputs", [])}
    written = [run.figures / f"{name}.{suffix}" for suffix in ("pdf", "png", "json")]
    with matplotlib.style.context(STYLE):
        for path in written[:2]:
            with atomic(path) as tmp:
                fig.savefig(
                    tmp, format=path.suffix[1:], metadata={"CreationDate": None} if path.suffix == ".pdf" else None
                )
    made = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    write_json(
        written[2],
        {**provenance, "figure": name, "inputs": inputs, "git_commit": git_commit(), "run": run.name, "made": made,
         "profile": config.get("profile", "")},
    )  # fmt: skip
    return written


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@styled
def plot_contact_sheet(images: np.ndarray, titles: Sequence[str], n_columns: int = 12) -> Figure:
    """Show images (n, H, W, 3) uint8 side by side; neighbours with one title share it."""
    n_rows = -(-len(images) // n_columns)
    fig, axs = plt.subplots(
        n_rows, n_columns, figsize=(PAGE_IN * 1.4, PAGE_IN * 1.4 * n_rows / n_columns * 1.12), squeeze=False
    )
    fig.get_layout_engine().set(w_pad=0.005, h_pad=0.005, wspace=0.0, hspace=0.02)
    for i, ax in enumerate(axs.flat):
        ax.axis("off")
        if i < len(images):
            ax.imshow(images[i], interpolation="lanczos")
            first = i % n_columns == 0 or titles[i] != titles[i - 1]
            if first:
                label = titles[i] if len(titles[i]) <= 26 else titles[i][:25] + "…"
                ax.set_title(label, fontsize=6, fontstyle="italic", loc="left", pad=2)
    return fig


@styled
def plot_taxon_counts(catalog: pd.DataFrame) -> Figure:
    """Draw images per class in falling order (the long tail), a line a source, and images per split."""
    kept = catalog[catalog["excluded"] == ""]
    fig, axs = plt.subplots(1, 2, figsize=(PAGE_IN, 2.5), width_ratios=[2, 1])
    for colour, (source, rows) in zip(PALETTE * 9, kept.groupby("source"), strict=False):
        counts = rows.groupby(
            np.where(rows["rank"] == "species", rows["scientific_name"], rows["verbatim_name"])
        ).size()
        axs[0].plot(
            np.arange(1, len(counts) + 1),
            np.sort(counts)[::-1],
            color=colour,
            label=f"{source} ({len(counts)} classes)",
        )
    axs[0].set(xlabel="class, by number of images", ylabel="images", yscale="log", title="images per class")
    axs[0].legend()
    counts = kept["split"].value_counts().reindex(["train", "val", "test", "heldout_species"]).fillna(0)
    bars = axs[1].barh(counts.index[::-1], counts.to_numpy()[::-1], color="#7fb0d0")
    axs[1].bar_label(bars, fmt="{:,.0f}", padding=2, fontsize=7)
    axs[1].set(title="images per split", xlim=(0, counts.max() * 1.25))
    axs[1].grid(axis="y", visible=False)
    return fig


@styled
def plot_shared_words(by_rank: pd.DataFrame) -> Figure:
    """Draw the words that two captions share by the deepest shared rank, a line a text type."""
    fig, ax = plt.subplots(figsize=(COLUMN_IN * 1.3, 2.6))
    for colour, text_type in zip(PALETTE, by_rank, strict=False):
        ax.plot(by_rank.index, by_rank[text_type], "o-", color=colour, label=text_type)
    ax.set(xlabel="deepest rank that two species share", ylabel="shared words (mean)")
    ax.legend(title="text type")
    return fig


@styled
def plot_training(log: pd.DataFrame) -> Figure:
    """Draw loss, learning rate with logit scale, and images per second against steps."""
    fig, axs = plt.subplots(1, 3, figsize=(PAGE_IN, 2.3))
    axs[0].plot(log["step"], log["loss"], color="#9ecae1", linewidth=0.8, label="train, each step")
    smooth = log["loss"].ewm(span=max(2, len(log) // 20)).mean()
    axs[0].plot(log["step"], smooth, color=PALETTE[0], label="train, smoothed")
    val = log.dropna(subset=["val_loss"])
    axs[0].plot(val["step"], val["val_loss"], "o-", color=PALETTE[5], label="validation")
    axs[0].set(xlabel="step", ylabel="loss (nats)", title="contrastive loss")
    axs[0].legend()
    axs[1].plot(log["step"], log["lr"], color=PALETTE[2])
    axs[1].set(xlabel="step", ylabel="learning rate", title="schedule")
    axs[2].plot(log["step"], log["images_per_s"].rolling(9, min_periods=1, center=True).median(), color=PALETTE[3])
    axs[2].set(xlabel="step", ylabel="images / s", title="throughput", ylim=(0, None))
    return fig


@styled
def plot_zero_shot(scores: pd.DataFrame) -> Figure:
    """Draw top-1 accuracy by text type for each data set, seen and unseen, with intervals; chance dashed."""
    rows = scores[(scores["metric"] == "top1") & scores["task"].str.startswith("zero_shot/")].copy()
    rows["part"] = rows["task"].str.split("/").str[1]
    rows["text_type"] = rows["task"].str.split("/").str[2].fillna("")
    named = set(rows["text_type"]) - {""}
    rows.loc[rows["text_type"] == "", "text_type"] = next((t for t in TEXT_TYPES if t not in named), "")
    datasets = sorted(rows["dataset"].unique())
    fig, axs = plt.subplots(
        1, len(datasets), figsize=(max(COLUMN_IN * 1.3, 1.8 * len(datasets) + 1), 2.6), sharey=True, squeeze=False
    )
    for ax, dataset in zip(axs[0], datasets, strict=True):
        for offset, (part, colour) in zip((-0.12, 0.12), PART_COLOURS.items(), strict=True):
            for model, marker, fade in (("random_init", "x", 0.5), ("trained", "o", 1.0)):
                mine = rows[(rows["dataset"] == dataset) & (rows["part"] == part) & (rows["model"] == model)]
                mine = mine.set_index("text_type").reindex(TEXT_TYPES).dropna(subset=["value"])
                if mine.empty:
                    continue
                x = np.array([TEXT_TYPES.index(t) for t in mine.index]) + offset
                error = [mine["value"] - mine["ci_low"], mine["ci_high"] - mine["value"]]
                ax.errorbar(
                    x,
                    mine["value"],
                    yerr=error,
                    fmt=marker,
                    color=colour,
                    alpha=fade,
                    capsize=2,
                    label=f"{part}, {model}",
                )
                if model == "trained":
                    ax.axhline(mine["chance"].iloc[0], color=colour, linestyle=":", linewidth=1)
        ax.set_xticks(range(len(TEXT_TYPES)), TEXT_TYPES, rotation=30)
        ax.set(title=dataset, ylim=(0, None))
    axs[0, 0].set_ylabel("top-1 accuracy")
    axs[0, -1].legend(loc="upper left", bbox_to_anchor=(1, 1), title="dotted: chance")
    return fig


@styled
def plot_rank_accuracy(table: pd.DataFrame) -> Figure:
    """Draw accuracy at each rank for the trained model, seen and unseen, with chance."""
    table = table[table["model"] == "trained"]
    datasets = sorted(table["dataset"].unique())
    fig, axs = plt.subplots(
        1, len(datasets), figsize=(max(COLUMN_IN * 1.3, 1.8 * len(datasets) + 1), 2.5), sharey=True, squeeze=False
    )
    for ax, dataset in zip(axs[0], datasets, strict=True):
        for part, colour in PART_COLOURS.items():
            rows = table[(table["dataset"] == dataset) & (table["part"] == part)]
            x = [RANKS.index(rank) for rank in rows["rank"]]
            ax.plot(x, rows["value"], "o-", color=colour, label=part)
            ax.fill_between(x, rows["ci_low"], rows["ci_high"], color=colour, alpha=0.15, linewidth=0)
            ax.plot(x, rows["chance"], ":", color=colour, linewidth=1)
        ax.set_xticks(range(len(RANKS)), RANKS, rotation=40)
        ax.set(title=dataset, ylim=(0, 1.02))
    axs[0, 0].set_ylabel("accuracy at this rank")
    axs[0, -1].legend(loc="upper left", bbox_to_anchor=(1, 1), title="dotted: chance")
    return fig


@styled
def plot_mistakes(table: pd.DataFrame) -> Figure:
    """Draw the tree distances of the trained model's mistakes beside those of random wrong candidates."""
    table = table[table["model"] == "trained"]
    groups = list(table.groupby(["dataset", "part"]))
    fig, axs = plt.subplots(
        1, max(1, len(groups)), figsize=(max(COLUMN_IN, 1.9 * len(groups)), 2.4), sharey=True, squeeze=False
    )
    for ax, ((dataset, part), rows) in zip(axs[0], groups, strict=False):
        ax.bar(rows["distance"], rows["share"].fillna(0), color=PART_COLOURS[part], width=0.7, label="mistakes")
        ax.step(
            rows["distance"],
            rows["chance"],
            where="mid",
            color="black",
            linestyle="--",
            linewidth=1,
            label="random mistakes",
        )
        ax.set(title=f"{dataset}, {part}\n{rows['n'].iloc[0]} mistakes", xlabel="tree distance", xticks=range(1, 8))
    axs[0, 0].set_ylabel("share")
    axs[0, 0].legend()
    return fig


@styled
def plot_few_shot(scores: pd.DataFrame) -> Figure:
    """Draw top-1 accuracy against the number of shots, a line a model, all classes and unseen ones; chance dotted."""
    rows = scores[(scores["metric"] == "top1") & scores["task"].str.startswith("few_shot/")].copy()
    parts = rows["task"].str.split("/", expand=True).reindex(columns=[0, 1, 2])
    rows["k"], rows["kind"] = parts[1].astype(int), parts[2].fillna("all classes")
    rows = rows[rows["kind"] != "cumulative"]
    panels = sorted(set(zip(rows["kind"], rows["dataset"], strict=True)))
    fig, axs = plt.subplots(
        1, len(panels), figsize=(max(COLUMN_IN * 1.3, 1.75 * len(panels) + 1), 2.5), sharey=True, squeeze=False
    )
    for ax, (kind, dataset) in zip(axs[0], panels, strict=True):
        mine = rows[(rows["kind"] == kind) & (rows["dataset"] == dataset)]
        shots = sorted(mine["k"].unique())
        for i, name in enumerate(n for n in MODEL_COLOURS if n in set(mine["model"])):
            line = mine[mine["model"] == name].sort_values("k")
            x = np.array([shots.index(k) for k in line["k"]]) + 0.06 * (i - 1.5)
            error = [line["value"] - line["ci_low"], line["ci_high"] - line["value"]]
            ax.errorbar(x, line["value"], yerr=error, fmt="o-", color=model_colour(name), capsize=2, label=name)
        ax.axhline(mine["chance"].iloc[0], color="black", linestyle=":", linewidth=1)
        ax.set_xticks(range(len(shots)), shots)
        ax.set(title=f"{dataset}\n{kind}", xlabel="shots", ylim=(0, None), xlim=(-0.4, len(shots) - 0.6))
    axs[0, 0].set_ylabel("top-1 accuracy")
    axs[0, -1].legend(loc="upper left", bbox_to_anchor=(1, 1), title="dotted: chance")
    return fig


@styled
def plot_map(xy: np.ndarray, rows: pd.DataFrame, title: str = "", n_groups: int = 8) -> Figure:
    """Draw one map seven times, coloured by taxon at each rank; beyond the largest groups grey.

    Parameters
    ----------
    xy : ndarray of shape (n, 2)
    rows : DataFrame with the seven ranks, n rows
    title : str
    n_groups : int
    """
    fig, axs = plt.subplots(2, 4, figsize=(PAGE_IN * 1.25, 4.9))
    for ax, rank in zip(axs.flat, RANKS, strict=False):
        taxon = rows[rank].to_numpy()
        if rank == "species":
            taxon = np.where(taxon == "", "", rows["genus"].str[:1].to_numpy() + ". " + taxon)
        largest = pd.Series(taxon[taxon != ""]).value_counts().index[:n_groups]
        grey = ~np.isin(taxon, largest)
        ax.scatter(*xy[grey].T, s=2, color=OTHERS, linewidths=0, rasterized=True)
        for colour, name in zip(PALETTE, largest, strict=False):
            ax.scatter(*xy[taxon == name].T, s=4, color=colour, linewidths=0, label=name, rasterized=True)
        ax.set(title=rank, xticks=[], yticks=[])
        ax.legend(
            fontsize=5,
            markerscale=2,
            loc="upper center",
            bbox_to_anchor=(0.5, 0.0),
            ncols=2,
            handletextpad=0.1,
            columnspacing=0.6,
        )
    axs.flat[-1].axis("off")
    axs.flat[-1].text(
        0.02,
        0.95,
        f"{title}\n{len(xy):,} images\ncolour: the {n_groups} largest groups\ngrey: all others",
        va="top",
        fontsize=8,
    )
    return fig


@styled
def plot_mantel(details: dict, task: str) -> Figure:
    """Draw the null distribution of the rank correlation and the observed one, a panel a model.

    Parameters
    ----------
    details : dict
        Of `bioclip_lib.benchmarks.score_hierarchy`.
    task : str
    """
    panels = {key: value for key, value in details.items() if key[1] == task}
    n = max(1, len(panels))
    n_columns = min(4, n)
    fig, axs = plt.subplots(
        -(-n // n_columns),
        n_columns,
        figsize=(max(COLUMN_IN, 1.8 * n_columns), 1.9 * -(-n // n_columns)),
        sharex=True,
        squeeze=False,
    )
    for ax in axs.flat[len(panels) :]:
        ax.axis("off")
    for ax, ((dataset, _, model), found) in zip(axs.flat, panels.items(), strict=False):
        p_value = (1 + (found["null"] >= found["observed"]).sum()) / (1 + len(found["null"]))
        ax.hist(found["null"], bins=40, color=OTHERS)
        ax.axvline(found["observed"], color=model_colour(model), linewidth=2)
        ax.set(
            title=f"{dataset}, {model}\nrho {found['observed']:.2f}, p {p_value:.2g}",
            yticks=[],
            xlabel="Spearman's rho",
        )
    return fig


@styled
def plot_distance_by_rank(details: dict, task: str, model: str) -> Figure:
    """Draw distances in the embedding by the deepest rank that two species share, a panel a data set."""
    panels = {key: value for key, value in details.items() if key[1:] == (task, model)}
    fig, axs = plt.subplots(
        1, max(1, len(panels)), figsize=(max(COLUMN_IN * 1.3, 2.4 * len(panels)), 2.5), sharey=True, squeeze=False
    )
    names = ["none", *RANKS]
    for ax, ((dataset, _, _), found) in zip(axs[0], panels.items(), strict=False):
        upper = np.triu_indices(len(found["tree"]), k=1)
        tree, embedding = found["tree"][upper], found["embedding"][upper]
        shown = sorted(np.unique(tree), reverse=True)
        ax.boxplot(
            [embedding[tree == d] for d in shown],
            showfliers=False,
            widths=0.6,
            medianprops={"color": model_colour(model)},
        )
        labels = [f"{names[len(RANKS) - d]}\n{(tree == d).sum()}" for d in shown]
        ax.set_xticks(range(1, len(shown) + 1), labels)
        ax.set(title=f"{dataset}, {model}", xlabel="deepest shared rank, number of pairs")
    axs[0, 0].set_ylabel("cosine distance of centroids")
    return fig


@styled
def plot_results_overview(results: pd.DataFrame) -> Figure:
    """Draw the main tasks of a run in one figure: value, interval and chance, a row a data set and a task."""
    main = results["task"].isin(["zero_shot/seen", "zero_shot/unseen", "few_shot/1", "few_shot/5", "hierarchy/unseen"])
    rows = results[main & results["metric"].isin(["top1", "spearman"])]
    keys = sorted(set(zip(rows["dataset"], rows["task"], strict=True)), reverse=True)
    fig, ax = plt.subplots(figsize=(PAGE_IN * 0.85, 0.32 * len(keys) + 0.9))
    for i, name in enumerate(n for n in MODEL_COLOURS if n in set(rows["model"])):
        mine = rows[rows["model"] == name].set_index(["dataset", "task"])
        y = [keys.index(key) + 0.14 * (1.5 - i) for key in mine.index]
        error = [mine["value"] - mine["ci_low"], mine["ci_high"] - mine["value"]]
        ax.errorbar(mine["value"], y, xerr=error, fmt="o", color=model_colour(name), capsize=2, label=name)
    for y, key in enumerate(keys):
        chance = rows[(rows["dataset"] == key[0]) & (rows["task"] == key[1])]["chance"].iloc[0]
        ax.plot([chance, chance], [y - 0.4, y + 0.4], color="black", linestyle=":", linewidth=1)
    ax.set_yticks(range(len(keys)), [f"{dataset}: {task}" for dataset, task in keys])
    ax.set(xlabel="top-1 accuracy (hierarchy: Spearman's rho); dotted: chance")
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return fig
