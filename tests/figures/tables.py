"""Tables as a run keeps them, small, with names that are long, marked up or formulas."""

import numpy as np
import pandas as pd

from bioclip_lib import RANKS, TEXT_TYPES, figures

MODELS = {"trained": 0.6, "frozen": 0.5, "pixels": 0.3, "random_init": 0.05, "hf-hub:imageomics/bioclip": 0.7}
DATASETS = ("birds100", "a_data_set_with_quite_a_long_name_$x_1$", "pollen73")


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


def class_counts(n_taxa=12):
    rows = []
    for dataset in DATASETS:
        for i in range(n_taxa):
            for split, n in {"train": 2 * i + 2, "val": i, "test": i, "heldout_species": 0}.items():
                taxa = [("Animalia", "Fictoplantae")[i % 2], f"P{i % 3}", f"C{i % 4}", f"Ordines{i}", f"F{i}"]
                rows.append((dataset, f"Genus s{i}", split, *taxa, n))
    table = pd.DataFrame(rows, columns=["source", "class_key", "split", *RANKS[:5], "n_images"])
    return table[table["n_images"] > 0].reset_index(drop=True)


def training_log():
    step = np.arange(1, 301)
    val = np.where(step % 50 == 0, 3.0, np.nan)
    log = {"step": step, "loss": 4 * np.exp(-step / 100), "val_loss": val, "val_top1": val / 10}
    return pd.DataFrame({**log, "lr": 1e-3 * step, "images_per_s": 1e4 + step})


def rank_rows():
    rows = [
        ("trained", d, p, r, 0.9 - 0.1 * i, 0.8 - 0.1 * i, 0.95 - 0.1 * i, 1.0 if r == "kingdom" else 0.1, 50)
        for d in DATASETS
        for p in ("seen", "unseen")
        for i, r in enumerate(RANKS)
    ]
    return pd.DataFrame(rows, columns=["model", "dataset", "part", "rank", "value", "ci_low", "ci_high", "chance", "n"])


def mistake_rows(n=1_234):
    rows = [("trained", d, p, i, i / 28, 1 / 7, n) for d in DATASETS for p in ("seen", "unseen") for i in range(1, 8)]
    return pd.DataFrame(rows, columns=["model", "dataset", "part", "distance", "share", "chance", "n"])


def null_rows():
    rows = []
    for dataset in (*DATASETS, "synthetic_shuffled"):
        for model, value in MODELS.items():
            keys = (dataset, "hierarchy/unseen", model, value - 0.1, 0.0001 if value > 0.5 else 0.25, 9_999, 24)
            rows += [(*keys, -0.2 + 0.1 * i, -0.1 + 0.1 * i, n) for i, n in enumerate((10, 20, 5))]
    columns = ["dataset", "task", "model", "observed", "p_value", "n_permutations", "n_species", "low", "high", "n"]
    return pd.DataFrame(rows, columns=columns)


def risk_rows():
    rows = [
        {"floor": floor, "rank": rank, "part": part, "answered": 1 - floor, "risk": (1 - floor) / (i + 2)}
        for part in ("seen", "unseen")
        for i, rank in enumerate(RANKS)
        for floor in (0.0, 0.5, 1.0)
    ]
    return pd.DataFrame(rows)


def saliency_rows():
    rng = np.random.default_rng(0)
    png = contact_sheet()["png"][0]
    maps = {name: list(rng.random((4, 144))) for name in ("occlusion", "gradient")}
    return pd.DataFrame({"title": ["Drujuskus fergoides"] * 4, "png": [png] * 4, **maps})


def text_matrix_rows():
    rows = [
        (part, trained, tested, 0.4 + 0.05 * i - 0.02 * j, 0.3, 0.6, 5, 0.05)
        for part in ("seen", "unseen")
        for i, trained in enumerate((*TEXT_TYPES, "mixture", "mixture, ranks dealt"))
        for j, tested in enumerate(TEXT_TYPES)
    ]
    columns = ["part", "trained", "tested", "value", "ci_low", "ci_high", "n_seeds", "chance"]
    return pd.DataFrame(rows, columns=columns)


def recipe_rows():
    rows = [
        (question, baseline, recipe, measured, 0.4, 0.3, 0.5, 5, 0.1, 0.01 * i - 0.03, 0.01 * i - 0.06, 0.01 * i)
        for question, baseline, recipes in (
            ("objective", "multi_positive", ("clip", "siglip", "hierarchical_contrastive")),
            ("image tower", "mixture", ("Lite2, frozen", "Lite0 at 112 px, all layers trained")),
        )
        for i, recipe in enumerate(recipes)
        for measured in ("zero-shot, seen species", "zero-shot, unseen species", "hierarchy, unseen species", "1 shot")
    ]
    rows[0] = (*rows[0][:10], -np.inf, np.inf)  # of one seed
    columns = ["question", "baseline", "recipe", "measured", "value", "ci_low", "ci_high", "n_seeds", "chance"]
    return pd.DataFrame(rows, columns=[*columns, "difference", "difference_low", "difference_high"])


def consistency_rows():
    ways = ("each rank by itself", "summed from species", "top down", "of the species")
    rows = [
        ("birds100", part, model, way, measure, value, value - 0.1, min(1, value + 0.1), 0.05, 480, 80, "")
        for part in ("seen", "unseen")
        for model, value in {"trained": 0.9, "random_init": 0.1}.items()
        for measure in ("full path", "hierarchical F", "inconsistent")
        for way in (ways[:2] if measure == "inconsistent" else ways)
    ]
    rows.append(("other", "unseen", *[np.nan] * 9, "1 of two species have all seven ranks"))
    columns = ["dataset", "part", "model", "way", "measure", "value", "ci_low", "ci_high", "by_chance"]
    return pd.DataFrame(rows, columns=[*columns, "n", "n_species", "why"])


def probe_rows():
    names = [("cophenetic", ""), ("clades found", ""), ("effective dimension", "")]
    names += [(probe, rank) for probe in ("silhouette", "purity", "linear probe") for rank in ("order", "genus")]
    rows = [
        ("birds100", part, model, probe, rank, 20.0 if probe == "effective dimension" else value)
        for part in ("seen", "unseen")
        for model, value in MODELS.items()
        for probe, rank in names
    ]
    table = pd.DataFrame(rows, columns=["dataset", "part", "model", "probe", "rank", "value"])
    table = table.assign(ci_low=table["value"] - 0.2, ci_high=table["value"] + 0.2, by_chance=0.1, n=20, why="")
    left_out = {"dataset": "birds100", "part": "seen", "model": "trained", "probe": "purity", "rank": "kingdom"}
    left_out = pd.DataFrame([{**left_out, "n": 20, "why": "all are of one group"}])
    return pd.concat([table.assign(p_value=0.01, p_holm=0.03), left_out], ignore_index=True)


def power_rows():
    rows = [
        ("birds100", part, test, signal, min(1.0, signal / (i + 0.5)))
        for part in ("seen", "unseen")
        for i, test in enumerate(("any structure", "inside kingdoms", "inside orders"))
        for signal in (0.0, 0.2, 0.8)
    ]
    table = pd.DataFrame(rows, columns=["dataset", "part", "test", "signal", "value"])
    ends = {"ci_low": (table["value"] - 0.1).clip(0), "ci_high": (table["value"] + 0.1).clip(upper=1)}
    return table.assign(**ends, n=30, n_species=20)


def modality_rows():
    rows = [
        ("birds100", part, model, "texts follow the tree" if text else "images follow the tree", text, value)
        for part in ("seen", "unseen")
        for model, value in {"trained": 0.6, "random_init": 0.1}.items()
        for text in ("", "taxon", "sci", "com")
    ]
    table = pd.DataFrame(rows, columns=["dataset", "part", "model", "question", "text", "value"])
    table = table.assign(rank="", ci_low=table["value"] - 0.3, ci_high=table["value"] + 0.3, by_chance=0.0, n=20)
    return table.assign(p_value=0.01, p_holm=0.03, why="")


def pair_rows():
    tables, rng = [], np.random.default_rng(0)
    for model in MODELS:
        for rank, n in (("none", 200), ("kingdom", 40), ("genus", 3), ("family", 1)):
            keys = {"dataset": "birds100", "task": "hierarchy/unseen", "model": model, "rank": rank, "n_pairs": n}
            tables.append(pd.DataFrame({**keys, "distance": rng.uniform(0.2, 1.2, n)}))
    return pd.concat(tables, ignore_index=True)


def map_rows(n=200):
    code = np.arange(n)
    taxa = {r: [f"Zwathroxosp{r}{i % (2 + 4 * j)}" for i in code] for j, r in enumerate(RANKS)}
    rows = pd.DataFrame(taxa).assign(kingdom=np.where(code % 2, "Animalia", "Fictoplantae"))
    rows.loc[:9, list(RANKS[3:])] = ""
    xy = np.random.default_rng(0).normal(size=(n, 2))
    return rows.assign(image_id=code, trained_x=xy[:, 0], trained_y=xy[:, 1])


def map_quality():
    rows = {"model": "trained", "rank": list(RANKS), "embedding": 0.8, "map": 0.7, "chance": 0.1, "n": 200}
    return pd.DataFrame(rows).assign(trustworthiness=0.954, continuity=0.961)


def contact_sheet():
    names = ["Drujuskus fergoides", "Drujuskus fergoides", "", "Blaukosphaera <i>vumbescens</i> $x_1$"] * 4
    taxa = pd.DataFrame({rank: [f"{rank}{i % 4}" for i in range(14)] for rank in RANKS})
    taxa = taxa.assign(scientific_name=names[:14], verbatim_name="BLACK_CAPPED_CHICKADEE " * 15)
    taxa.loc[taxa["scientific_name"] == "", list(RANKS)] = ""
    images = np.random.default_rng(0).integers(0, 256, (14, 20, 20, 3), dtype=np.uint8)
    return figures.contact_sheet_table(images, taxa)


def shared_words():
    words = pd.DataFrame({t: np.arange(7.0) * (i + 1) for i, t in enumerate(TEXT_TYPES)}, index=["none", *RANKS[:-1]])
    return words.assign(pairs=1_000)


def write(run):
    """Write all tables of a run that figures are drawn from."""
    run.tables.mkdir(parents=True, exist_ok=True)
    for name, table in {
        "class_counts": class_counts(),
        "train_log": training_log(),
        "zero_shot": score_rows(),
        "few_shot": score_rows(),
        "rank_accuracy": rank_rows(),
        "mistakes": mistake_rows(),
        "identify_risk": risk_rows(),
        "ablation_text_types": text_matrix_rows(),
        "ablation_recipes": recipe_rows(),
        "map": map_rows(),
        "map_quality": map_quality(),
        "hierarchy_null": null_rows(),
        "consistency": consistency_rows(),
        "modalities": modality_rows(),
        "structure_probes": probe_rows(),
        "power": power_rows(),
    }.items():
        table.to_csv(run.tables / f"{name}.csv", index=False)
    shared_words().to_csv(run.tables / "caption_words.csv", index_label="rank")
    contact_sheet().to_parquet(run.tables / "contact_sheet.parquet", index=False)
    saliency_rows().to_parquet(run.tables / "identify_saliency.parquet", index=False)
    pair_rows().to_parquet(run.tables / "hierarchy_pairs.parquet", index=False)
    score_rows().to_csv(run.metrics_csv, index=False)
