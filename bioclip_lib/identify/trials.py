"""What a trained run can be trusted with: its answers for images whose taxa are known, beside the truth.

Takes a `trained.TrainedRun`; returns tables. Test images are of the candidates, held-out species are not among them:
the right answer for these is a taxon above (`unknown` asks whether that is noticed).
"""

from collections.abc import Iterator, Mapping
from itertools import product

import numpy as np
import pandas as pd

from .. import RANKS
from ..catalog.splits import group_keys
from ..evaluation.tasks import PARTS, with_interval
from ..model.features import load_split
from .calibrate import UNKNOWN, conformal_floor, expected_share, places, wrong_up_to
from .labels import LABEL, LabelSet
from .naming import FLOOR, Naming, answers, combine, name_features, trusted_depth
from .photographed import add_images, labels_of_images
from .trained import Split, TrainedRun

COVERAGE = 0.9  # stated share of right answers
STRICT = 0.8  # a floor that others take, beside `FLOOR`
DRAWS, SIZES, SHOTS, ADDED_DRAWS = 5, (1, 2, 4, 8), (2, 5), 3  # of halves; photographs an event, a new class; of these
N_EXAMPLES = 6  # of a kind
N_STEPS = 50  # of floors
_OPTIONS = ("right, to species", "backed off", "wrong", "unknown species")


def _parts(run: TrainedRun) -> Iterator[tuple[str, Split]]:
    """Yield the splits of species seen and unseen, with their names, that have images."""
    yield from ((name, run.split(name)) for name in PARTS if len(run.split(name).rows))


def named(run: TrainedRun, split: Split) -> tuple[Naming, np.ndarray]:
    """Return the calibrated naming of a split, and the places of its taxa."""
    return name_features(split.features, run.labels, run.calibrated_scale), places(split.rows, run.labels)


def rules(run: TrainedRun) -> pd.DataFrame:
    """Compare the calibrated floor with fixed ones, on species seen and unseen.

    Returns
    -------
    DataFrame
        ``part`` (seen, unseen), and the columns of `compare_rules`. "no floor" asks every rank. Of the calibrated
        floor and seen species, ``expected_low`` and ``expected_high``: `calibrate.expected_share`.
    """
    trust, tables = run.trust(COVERAGE), []
    floors = {f"{COVERAGE:.0%} of images": trust.conformal, f"{FLOOR}": FLOOR, f"{STRICT}": STRICT, "no floor": 0.0}
    for name, split in _parts(run):
        taxa = places(split.rows, run.labels), split.classes
        found = compare_rules(split.features, taxa, run.labels, run.calibrated_scale, floors)
        tables.append(found.assign(part=PARTS[name]))
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["rule", "part"])
    stated = (table["rule"] == next(iter(floors))) & (table["part"] == PARTS["test"]) & ~np.isnan(trust.conformal)
    n = len(run.split("val").rows), len(run.split("test").rows)
    share = expected_share(COVERAGE, *n) if stated.any() else (np.nan, np.nan)
    for column, value in zip(("expected_low", "expected_high"), share, strict=True):
        table[column] = np.where(stated, value, np.nan)
    return table


def judge(naming: Naming, labels: LabelSet, truth: np.ndarray, floor: float) -> pd.DataFrame:
    """Tell of each image how many ranks are answered, and whether that is right, as no answer is."""
    depth = trusted_depth(naming, labels, floor)
    answer, own = naming.lineage[np.arange(len(depth)), depth], truth[np.arange(len(depth)), depth]
    return pd.DataFrame({"depth": depth + 1, "right": (depth < 0) | (own == answer) | (own == UNKNOWN)})


def winners_of_ranks(features: np.ndarray, labels: LabelSet, scale: float) -> tuple[Naming, np.ndarray]:
    """Take the likeliest taxon of each rank by itself: in place of a lineage, and down to where it is none, (n, 7)."""
    found = [name_features(features, labels, scale, rank, k=1) for rank in RANKS]
    taxa, trust = (np.concatenate([getattr(each, what) for each in found], axis=1) for what in ("choices", "scores"))
    apart = np.zeros(taxa.shape, dtype=bool)
    for depth in range(1, len(RANKS)):
        apart[:, depth] = labels.tree.above[depth][taxa[:, depth]] != taxa[:, depth - 1]
    return found[-1]._replace(lineage=taxa, trust=trust), np.logical_or.accumulate(apart, axis=1)


def compare_rules(
    features: np.ndarray,
    taxa: tuple[np.ndarray, np.ndarray],
    labels: LabelSet,
    scale: float,
    floors: Mapping[str, float],
) -> pd.DataFrame:
    """Compare floors, and one lineage with the winner of each rank, on images with `places` and classes.

    Gives the share of right answers with its interval for another set of classes, ``macro`` (the mean over classes),
    ``depth`` (the mean number of ranks), the share answered to species, and ``broken``, the share of answers whose taxa
    do not contain each other.
    """
    truth, classes = taxa
    winners, apart = winners_of_ranks(features, labels, scale)
    namings = {"one lineage": name_features(features, labels, scale), "winner of each rank": winners}
    rows = []
    for name, floor in floors.items():
        for kind, naming in namings.items():
            found = judge(naming, labels, truth, floor)
            deepest = found["depth"].to_numpy() - 1
            broken = apart[np.arange(len(apart)), deepest] & (deepest >= 0) & (kind != "one lineage")
            row = {"rule": name, "taxa": kind, "floor": floor, **with_interval(found["right"].to_numpy(float), classes)}
            row |= {"macro": found.groupby(classes)["right"].mean().mean(), "depth": found["depth"].mean()}
            rows.append({**row, "species": (found["depth"] == 7).mean(), "broken": broken.mean(), "n": len(found)})
    return pd.DataFrame(rows)


def draws(run: TrainedRun) -> pd.DataFrame:
    """Calibrate on one half of the known images and count in the other, as `coverage_over_draws`.

    Returns
    -------
    DataFrame
        ``coverage, of, right, lowest, highest, least, depth, n_images, n_seeds``; `right` is above `coverage` where
        `least`, the share right without a floor, is.
    """
    val, test = run.split("val"), run.split("test")
    known = Split(pd.concat([val.rows, test.rows]), np.concatenate([val.features, test.features]))
    if len(known.rows) < 2:
        return pd.DataFrame()
    naming, truth = named(run, known)
    found = coverage_over_draws(naming, run.labels, (truth, known.classes), seeds=range(DRAWS))
    of = found.groupby(["coverage", "of"], as_index=False)
    table = of.agg(right=("right", "mean"), lowest=("right", "min"), highest=("right", "max"))
    table[["least", "depth"]] = of[["least", "depth"]].mean()[["least", "depth"]]
    return table.assign(n_images=len(known.rows), n_seeds=DRAWS)


def coverage_over_draws(
    naming: Naming, labels: LabelSet, taxa: tuple[np.ndarray, np.ndarray], coverages=(0.8, 0.9, 0.95), seeds=range(5)
) -> pd.DataFrame:
    """Calibrate on one half of known images, count right answers in the other; ``least``: the share without a floor."""
    truth, classes = taxa
    scores, rows = wrong_up_to(naming, labels, truth), []
    deepest = judge(naming, labels, truth, 0.0)["right"]
    for seed in seeds:
        order = np.random.default_rng(seed).permutation(len(scores))
        fit, rest = order[: len(order) // 2], order[len(order) // 2 :]
        for coverage in coverages:
            for of in ("images", "classes"):
                floor = conformal_floor(scores[fit], coverage, classes[fit] if of == "classes" else None)
                found = judge(naming, labels, truth, floor).iloc[rest]
                unit = rest if of == "images" else classes[rest]
                right, least = (x.groupby(unit).mean().mean() for x in (found["right"], deepest.iloc[rest]))
                row = {"coverage": coverage, "of": of, "seed": seed, "floor": floor, "right": right, "least": least}
                rows.append({**row, "depth": found["depth"].mean()})
    return pd.DataFrame(rows)


def risk(run: TrainedRun) -> pd.DataFrame:
    """Trace what each floor costs, on species seen and unseen: ``part`` and the columns of `risk_by_floor`."""
    tables = [pd.DataFrame(columns=["floor", "rank", "answered", "risk", "part"])]
    for name, split in _parts(run):
        naming, truth = named(run, split)
        tables.append(risk_by_floor(naming, run.labels, truth).assign(part=PARTS[name]))
    return pd.concat(tables[1:] or tables)


def risk_by_floor(naming: Naming, labels: LabelSet, truth: np.ndarray) -> pd.DataFrame:
    """Trace what a floor costs: ``floor, rank``, the share ``answered`` to that rank or deeper, and their ``risk``."""
    rows = []
    for floor in np.linspace(0, 1, N_STEPS + 1):
        depth = trusted_depth(naming, labels, floor)
        for d, rank in enumerate(RANKS):
            answered = depth >= d
            wrong = (truth[:, d] != UNKNOWN) & (truth[:, d] != naming.lineage[:, d])
            risk = wrong[answered].mean() if answered.any() else np.nan
            rows.append({"floor": floor, "rank": rank, "answered": answered.mean(), "risk": risk})
    return pd.DataFrame(rows)


def events(run: TrainedRun) -> pd.DataFrame:
    """Name several test images of a class at once, as if they showed one individual: does that help, is it calibrated?

    Returns
    -------
    DataFrame
        ``n_photographs, value, ci_low, ci_high`` (the share named right, each class as often as it has groups),
        ``confidence`` (the mean probability of what is named), ``n_events``.
    """
    test = run.split("test")
    order = np.random.default_rng(0).permutation(len(test.rows))
    classes, features, rows = test.classes[order], test.features[order], []
    place = pd.Series(classes).groupby(classes).cumcount().to_numpy()  # of an image among those of its class
    for size in SIZES:
        sizes_of = pd.Series(classes).groupby(classes).transform("size").to_numpy()
        whole = place < sizes_of // size * size
        if not whole.any():
            continue
        group = np.array([f"{name}#{n}" for name, n in zip(classes[whole], place[whole] // size, strict=True)])
        names, means = combine(features[whole], group)
        found = name_features(means, run.labels, run.calibrated_scale, "label", k=1)
        own = np.array([name.rpartition("#")[0] for name in names])
        right = run.labels.names[LABEL].to_numpy()[found.choices[:, 0]] == own
        interval = with_interval(right.astype(float), own)
        rows.append({"n_photographs": size, **interval, "confidence": found.scores[:, 0].mean(), "n_events": len(own)})
    return pd.DataFrame(rows)


def with_added(run: TrainedRun) -> pd.DataFrame:
    """Add held-out species to the candidates, by a few photographs each, and name all others and the test images.

    Those of which there are more photographs than shots.

    Returns
    -------
    DataFrame
        ``shots``, ``classes`` ("as they are": the means of photographs beside texts; "evened": of `add_images`), the
        share named right of ``seen`` and of ``unseen`` images, ``seen_lost``, the share of seen ones that added classes
        take, and ``surer``, the mean probability of the answers less the share that is right, over both parts.
    """
    test, unseen, scale = run.split("test"), run.split("heldout_species"), run.calibrated_scale
    val, rows = run.split("val"), []
    many = unseen.rows.groupby("class_key")["class_key"].transform("size").to_numpy() > max(SHOTS)
    known = np.isin(val.classes, run.labels.names[LABEL])
    unseen = Split(unseen.rows[many], unseen.features[many])
    if min(len(test.rows), len(val.rows), len(unseen.rows)) == 0 or not known.all():
        return pd.DataFrame()
    taxa = unseen.rows.drop_duplicates("class_key").set_index("class_key")
    for k, seed in product(SHOTS, range(ADDED_DRAWS)):
        given, asked = _given_and_asked(unseen, k, max(SHOTS), np.random.default_rng(seed))
        if not len(asked):
            continue
        images = unseen.features[given], unseen.classes[given]
        evened = add_images(run.labels, images, taxa, (val.features, val.classes), scale)
        plain = np.concatenate([run.labels.weights, labels_of_images(*images, taxa).weights])
        for kind, labels in {"as they are": LabelSet(evened.names, plain, {}), "evened": evened}.items():
            found = [name_features(x, labels, scale, LABEL, k=1) for x in (test.features, unseen.features[asked])]
            own = [pd.Index(labels.names[LABEL]).get_indexer(x) for x in (test.classes, unseen.classes[asked])]
            right = [(a.choices[:, 0] == b).mean() for a, b in zip(found, own, strict=True)]
            row = {"shots": k, "classes": kind, "seen": right[0], "unseen": right[1]}
            row |= {"seen_lost": (found[0].choices[:, 0] >= len(run.labels)).mean()}
            rows.append({**row, "surer": np.mean([a.scores[:, 0].mean() for a in found]) - np.mean(right)})
    if not rows:
        return pd.DataFrame()
    table = pd.DataFrame(rows).groupby(["shots", "classes"], as_index=False).mean()
    return table.assign(n_species=len(taxa), n_seen=len(test.rows), n_seeds=ADDED_DRAWS)


def _given_and_asked(split: Split, k: int, most: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw k images of each class, of `most` that it could be; asked are those of no group (burst) of these."""
    order = rng.permutation(len(split.rows))
    place = pd.Series(split.classes[order]).groupby(split.classes[order]).cumcount().to_numpy()
    unit = group_keys(split.rows.rename_axis("image_id").reset_index())[order]
    asked = (place >= most) & ~unit.isin(unit[place < most]).to_numpy()
    return order[place < k], order[asked]


def examples(run: TrainedRun) -> tuple[np.ndarray, pd.DataFrame]:
    """Draw images of four kinds: right to species, backed off to a rank above, wrong, and of an unseen species.

    Returns
    -------
    pixels : ndarray of shape (m, S, S, 3), uint8
    table : DataFrame
        ``kind, truth, taxon, rank, score`` in the same order, m rows, at most `N_EXAMPLES` a kind.
    """
    rng, trust, pixels, tables = np.random.default_rng(0), run.trust(), [], []
    for name, split in _parts(run):
        naming, truth = named(run, split)
        table = answers(naming, run.labels, trust.floor)[["taxon", "rank", "score"]]
        judged = judge(naming, run.labels, truth, trust.floor)
        kind = np.where(judged["depth"] == len(RANKS), _OPTIONS[0], _OPTIONS[1])
        kind = np.where(judged["right"], kind, _OPTIONS[2])
        table.insert(0, "kind", kind if name == "test" else _OPTIONS[3])
        scientific = split.rows["scientific_name"].to_numpy()
        table.insert(1, "truth", np.where(scientific == "", split.classes, scientific))
        chosen = [rng.permutation(rows)[:N_EXAMPLES] for rows in table.groupby("kind").indices.values()]
        rows = np.concatenate(chosen)
        pixels.append(load_split(run.run, run.model.model, name)[rows])
        tables.append(table.iloc[rows])
    if not tables:
        return np.zeros((0, 1, 1, 3), np.uint8), pd.DataFrame(columns=["kind", "truth", "taxon", "rank", "score"])
    found = pd.concat(tables, ignore_index=True)
    order = np.argsort([_OPTIONS.index(kind) for kind in found["kind"]], kind="stable")
    return np.concatenate(pixels)[order], found.iloc[order].reset_index(drop=True)
