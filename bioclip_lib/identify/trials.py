"""What a trained run can be trusted with: its answers for images whose taxa are known, of species seen and unseen.

Takes a `trained.TrainedRun`; returns tables. Test images are of the candidates, held-out species are not among them:
the right answer for these is a taxon above.
"""

from itertools import product

import numpy as np
import pandas as pd

from .. import RANKS
from ..catalog.splits import group_keys
from ..evaluation.tasks import PARTS, with_interval
from ..model import encode_images
from ..model.features import load_split
from .calibrate import expected_share, places
from .judging import N_STEPS, attached, compare_rules, coverage_over_draws, judge, risk_by_floor
from .labels import LabelSet
from .naming import FLOOR, Naming, answers, combine, name_features, trusted_depth
from .photographed import add_images, labels_of_images
from .trained import Split, TrainedRun
from .tree import LABEL
from .unknown import folds, known_scores, left_out, nearest_taxon, no_organism, separation, with_both

COVERAGE = 0.9  # stated share of right answers
STRICT = 0.8  # a floor that others take, beside `FLOOR`
DRAWS, SIZES, SHOTS, ADDED_DRAWS = 5, (1, 2, 4, 8), (2, 5), 3  # of halves; photographs an event, a new class; of these
N_EXAMPLES = 6  # of a kind
N_NOTHING = 200  # images of which some without an organism are made
_OPTIONS = ("right, to species", "backed off", "wrong", "unknown species")


def _named(run: TrainedRun, split: Split) -> tuple[Naming, np.ndarray]:
    """Return the calibrated naming of a split, and the places of its taxa."""
    naming = name_features(split.features, run.labels, run.calibrated_scale)
    return naming, places(split.rows, run.labels)


def rules(run: TrainedRun) -> pd.DataFrame:
    """Compare the calibrated floor with fixed ones, on species seen and unseen.

    Returns
    -------
    DataFrame
        ``part`` (seen, unseen), and the columns of `judging.compare_rules`. "no floor" asks every rank. Of the
        calibrated floor and seen species, ``expected_low`` and ``expected_high``: `calibrate.expected_share`.
    """
    trust = run.trust(COVERAGE)
    floors = {f"{COVERAGE:.0%} of images": trust.conformal, f"{FLOOR}": FLOOR, f"{STRICT}": STRICT, "no floor": 0.0}
    tables = []
    for name, part in PARTS.items():
        split = run.split(name)
        if len(split.rows):
            taxa = places(split.rows, run.labels), split.classes
            found = compare_rules(split.features, taxa, run.labels, run.calibrated_scale, floors)
            tables.append(found.assign(part=part))
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["rule", "part"])
    stated = (table["rule"] == next(iter(floors))) & (table["part"] == PARTS["test"]) & ~np.isnan(trust.conformal)
    for n, column in enumerate(("expected_low", "expected_high")):
        table.loc[stated, column] = expected_share(COVERAGE, len(run.split("val").rows), len(run.split("test").rows))[n]
    return table


def draws(run: TrainedRun) -> pd.DataFrame:
    """Calibrate on one half of the known images and count in the other, as `judging.coverage_over_draws`.

    Returns
    -------
    DataFrame
        ``coverage, of, right, lowest, highest, least, depth, n_images, n_seeds``; `right` is above `coverage` where
        `least`, the share right without a floor, is.
    """
    known = _joined(run.split("val"), run.split("test"))
    if len(known.rows) < 2:
        return pd.DataFrame()
    naming, truth = _named(run, known)
    found = coverage_over_draws(naming, run.labels, (truth, known.classes), seeds=range(DRAWS))
    of = found.groupby(["coverage", "of"], as_index=False)
    table = of.agg(right=("right", "mean"), lowest=("right", "min"), highest=("right", "max"))
    table[["least", "depth"]] = of[["least", "depth"]].mean()[["least", "depth"]]
    return table.assign(n_images=len(known.rows), n_seeds=DRAWS)


def _joined(one: Split, other: Split) -> Split:
    """Put two splits together."""
    return Split(pd.concat([one.rows, other.rows]), np.concatenate([one.features, other.features]))


def risk(run: TrainedRun) -> pd.DataFrame:
    """Trace what each floor costs, on species seen and unseen: ``part`` and the columns of `judging.risk_by_floor`."""
    splits = [(part, run.split(name)) for name, part in PARTS.items()]
    asked = [(part, *_named(run, split)) for part, split in splits if len(split.rows)]
    traced = [risk_by_floor(naming, run.labels, truth).assign(part=part) for part, naming, truth in asked]
    return pd.concat(traced) if traced else pd.DataFrame(columns=["floor", "rank", "answered", "risk", "part"])


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


def unknowns(run: TrainedRun) -> pd.DataFrame:
    """Ask which score tells images of the candidates from others, by how far these others are.

    Returns
    -------
    DataFrame
        ``others`` and the columns of `unknown.separation`. "validation species left out" chooses a score, all below it
        judge: held-out species by the rank at which they join the candidates, and images of no organism.
    """
    train, val, test, unseen = (run.split(name) for name in ("train", "val", "test", "heldout_species"))
    if min(len(train.rows), len(val.rows), len(test.rows)) == 0:
        return pd.DataFrame()
    scale = run.calibrated_scale
    tables = [left_out(val.features, val.classes, (train.features, train.classes), run.labels, scale)]
    tables[0]["others"] = "validation species left out"

    def scored(features: np.ndarray) -> pd.DataFrame:
        return known_scores(name_features(features, run.labels, scale), features, train.features)

    like = scored(val.features)
    known = with_both(scored(test.features), like)
    if len(unseen.rows):
        found, join = with_both(scored(unseen.features), like), nearest_taxon(places(unseen.rows, run.labels))
        tables.append(separation(known, found, unseen.classes).assign(others="all held-out species"))
        for rank in (r for r in ("", *RANKS) if (join == r).any()):
            of = separation(known, found[join == rank], unseen.classes[join == rank])
            tables.append(of.assign(others=f"of a known {rank}" if rank else "of another kingdom"))
    for kind, pixels in no_organism(_pixels(run)).items():
        features = encode_images(run.model.model, pixels, precision=run.precision)
        tables.append(separation(known, with_both(scored(features), like), np.arange(len(pixels))).assign(others=kind))
    return pd.concat(tables, ignore_index=True)


def attachments(run: TrainedRun) -> pd.DataFrame:
    """Ask where unknown species belong: is the answer the taxon at which they join the candidates?

    An unknown species is none of the candidates, so that answers end above species, at a rank and a floor.

    Returns
    -------
    DataFrame
        A row a ``rule``: ``value, ci_low, ci_high`` (the share of images of held-out species whose answer is exactly
        that taxon, for another set of species), the shares ``above`` it, ``below`` it and ``elsewhere``, ``n``,
        ``n_species``. "floor ..., down to ..." and "always to ..." (no floor) are the best for validation species, a
        fifth of them at a time left out of the candidates; the others are as in `rules`.
    """
    val, unseen = run.split("val"), run.split("heldout_species")
    if min(len(val.rows), len(unseen.rows)) == 0:
        return pd.DataFrame()
    species = len(RANKS) - 1
    options = list(product(np.linspace(0, 1, N_STEPS + 1), range(species)))
    hits: list[list] = [[] for _ in options]
    for kept, out in folds(run.labels, val.classes):
        naming, truth = name_features(val.features[out], kept, run.calibrated_scale), places(val.rows[out], kept)
        for found, option in zip(hits, options, strict=True):
            found.extend(attached(naming, truth, _depth(naming, kept, *option)) == "exact")
    share = dict(zip(options, np.mean(hits, axis=1), strict=True))
    floor, deepest = max(options, key=share.get)
    always = max((option for option in options if option[0] == 0), key=share.get)[1]
    asked = {
        f"floor {floor:.2f}, down to {RANKS[deepest]}": (floor, deepest),
        f"always to {RANKS[always]}": (0.0, always),
    }
    asked |= {f"{COVERAGE:.0%} of images": (run.trust(COVERAGE).floor, species), f"{FLOOR}": (FLOOR, species)}
    naming, truth = _named(run, unseen)
    rows = []
    for name, option in asked.items():
        found = attached(naming, truth, _depth(naming, run.labels, *option))
        row = {"rule": name, **with_interval((found == "exact").astype(float), unseen.classes)}
        row |= {where: (found == where).mean() for where in ("above", "below", "elsewhere")}
        rows.append({**row, "n": len(found), "n_species": len(set(unseen.classes))})
    return pd.DataFrame(rows)


def _depth(naming: Naming, labels: LabelSet, floor: float, deepest: int) -> np.ndarray:
    """Return how deep answers go: to where they clear a floor, and no deeper than one rank."""
    return np.minimum(trusted_depth(naming, labels, floor), deepest)


def _pixels(run: TrainedRun) -> np.ndarray:
    """Return some test images, uint8."""
    images = load_split(run.run, run.model.model, "test")
    return images[:: max(1, len(images) // N_NOTHING)][:N_NOTHING]


def examples(run: TrainedRun) -> tuple[np.ndarray, pd.DataFrame]:
    """Draw images of four kinds: right to species, backed off to a rank above, wrong, and of an unseen species.

    Returns
    -------
    pixels : ndarray of shape (m, S, S, 3), uint8
    table : DataFrame
        ``kind, truth, taxon, rank, score`` in the same order, m rows, at most `N_EXAMPLES` a kind.
    """
    rng, trust, pixels, tables = np.random.default_rng(0), run.trust(), [], []
    for name in (name for name in PARTS if len(run.split(name).rows)):
        split = run.split(name)
        naming, truth = _named(run, split)
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
