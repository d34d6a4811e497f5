"""How often intervals hold the truth, and how often tests find what is not there: `python -m speed.intervals`.

Draws classes, images and trees with a known truth, and asks the library's intervals and tests, beside the percentile
bootstraps that they replaced. Prints percentages; a fixed seed, minutes on one core. ``--draws 20`` is a toy run.
"""

import itertools

import numpy as np
import pandas as pd
from scipy import stats

from bioclip_lib import RANKS
from bioclip_lib.evaluation import statistics
from bioclip_lib.structure import hierarchy
from bioclip_lib.taxonomy.ranks import tree_distance

from .measuring import print_simulations

CLASSES, MEANS = (5, 10, 24, 96), (0.02, 0.1, 0.5, 0.9)
N_BOOTSTRAPS = 500


def class_sizes(rng, n_classes, uneven):
    """Images of each class: 20 each, or log-normal around it."""
    if not uneven:
        return np.full(n_classes, 20)
    return np.maximum(1, (20 * rng.lognormal(0, 1, n_classes) / np.exp(0.5)).astype(int))


def answers(rng, sizes, accuracy):
    """Right and wrong answers of each image, and its class."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    return (rng.random(len(groups)) < accuracy[groups]).astype(float), groups


def bootstrap_means(rng, values, groups):
    """Means over classes drawn with all their images, (N_BOOTSTRAPS,): what was used before."""
    sums, counts = np.bincount(groups, values), np.bincount(groups)
    drawn = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=N_BOOTSTRAPS)
    return (drawn @ sums) / (drawn @ counts)


def coverage_of_means(rng, n_draws):
    """Coverage of 95 % intervals of an accuracy, for another set of classes whose accuracies are beta distributed."""
    rows = []
    for n_classes, uneven, mean in itertools.product(CLASSES, (False, True), MEANS):
        held = []
        for _ in range(n_draws):
            sizes = class_sizes(rng, n_classes, uneven)
            values, groups = answers(rng, sizes, rng.beta(4 * mean, 4 * (1 - mean), n_classes))
            ends = (
                statistics.mean_interval(values, groups),
                np.quantile(bootstrap_means(rng, values, groups), [0.025, 0.975]),
            )
            held.append([low <= mean <= high for low, high in ends])
        rows.append((n_classes, "uneven" if uneven else "even", mean, *np.mean(held, axis=0)))
    return pd.DataFrame(rows, columns=["classes", "sizes", "accuracy", "jackknife t", "bootstrap"])


def size_of_paired_tests(rng, n_draws):
    """How often equal models differ with p < 0.05: each is better in half of the classes, by chance."""
    rows = []
    for n_classes, uneven in itertools.product(CLASSES, (False, True)):
        found = []
        for _ in range(n_draws):
            sizes, easy = class_sizes(rng, n_classes, uneven), rng.beta(2, 2, n_classes)
            (a, groups), (b, _) = (
                answers(rng, sizes, np.clip(easy + 0.15 * rng.normal(size=n_classes), 0, 1)) for _ in range(2)
            )
            means, test = bootstrap_means(rng, a - b, groups), statistics.paired_difference(a, b, groups)
            p_bootstrap = 2 * (min((means <= 0).sum(), (means >= 0).sum()) + 1) / (N_BOOTSTRAPS + 1)
            found.append([test.p_value < 0.05, test.p_flips < 0.05, p_bootstrap < 0.05])
        rows.append((n_classes, "uneven" if uneven else "even", *np.mean(found, axis=0)))
    return pd.DataFrame(rows, columns=["classes", "sizes", "jackknife t", "sign flips", "bootstrap"])


def floors(rng, _):
    """Holm over 17 sets x 4 baselines, 90 % right against 10 % everywhere: how many differences are significant."""
    p_values = []
    for _ in range(17 * 4):
        (a, groups), (b, _) = (answers(rng, np.full(40, 10), np.full(40, p)) for p in (0.9, 0.1))
        test, means = statistics.paired_difference(a, b, groups), bootstrap_means(rng, a - b, groups)
        p_values.append([test.p_value, test.p_flips, 2 * ((means <= 0).sum() + 1) / (N_BOOTSTRAPS + 1)])
    share = (np.apply_along_axis(statistics.holm, 0, np.array(p_values)) < 0.05).mean(axis=0)
    return pd.DataFrame([("68 tests", *share)], columns=["Holm", "jackknife t", "sign flips", "bootstrap"])


def size_of_friedmans_test(rng, n_draws):
    """How often equal models have p < 0.05 over n sets: by Iman and Davenport's F, and by chi-square as before."""
    rows = []
    for n_sets, n_models in itertools.product((5, 7, 10, 17), (3, 5)):
        tables = [pd.DataFrame(rng.random((n_sets, n_models))) for _ in range(n_draws)]
        found = [[statistics.rank_table(t)[1], stats.friedmanchisquare(*t.to_numpy().T).pvalue] for t in tables]
        rows.append((n_sets, n_models, *(np.array(found) < 0.05).mean(axis=0)))
    return pd.DataFrame(rows, columns=["sets", "models", "F", "chi-square"])


def calibration(rng, n_draws):
    """Mean calibration error of n answers whose true error is 0 or 0.05, debiased and plain."""
    rows = []
    for n, error in itertools.product((100, 400, 1_600), (0.0, 0.05)):
        means = []
        for _ in range(n_draws):
            sure = rng.uniform(0.2, 1, n)
            right = rng.random(n) < sure - error
            place = np.digitize(sure, np.linspace(0, 1, 16)[1:-1], right=True)
            plain = np.abs(np.bincount(place, right - sure)).sum() / n
            means.append([statistics.expected_calibration_error(sure, right), plain])
        rows.append((n, error, *np.mean(means, axis=0)))
    return pd.DataFrame(rows, columns=["answers", "true error", "debiased", "plain"])


def random_tree(rng, strengths, n_classes=14):
    """A tree of seven ranks and centroids that add a step for each taxon, of a given strength at each rank."""
    rows, parent = [], [()]
    for depth, rank in enumerate(RANKS):
        children = {0: (4, 5), 1: (1, 3), 2: (2, 3)}.get(depth, (1, 3))
        parent = [(*p, f"{rank}{i}.{j}") for i, p in enumerate(parent) for j in range(rng.integers(*children))]
    rows = pd.DataFrame(parent, columns=list(RANKS))
    kept = rows["class"].isin(rows["class"].unique()[:n_classes])
    rows = rows[kept].reset_index(drop=True)
    codes = [pd.factorize(rows[rank])[0] for rank in RANKS]
    steps = [s * rng.normal(size=(c.max() + 1, 16))[c] for s, c in zip(strengths, codes, strict=True)]
    return rows, np.sum(steps, axis=0)


def coverage_of_rho(rng, n_draws):
    """Coverage of 95 % intervals of the hierarchy's rank correlation, for another tree of the same kind."""
    rows, upper = [], lambda m: m[np.triu_indices(len(m), k=1)]
    for name, strengths in {
        "all ranks": np.ones(7),
        "kingdoms": [1, 0, 0, 0, 0, 0, 1.5],
        "lower ranks": [0, 0, 0, 1, 1, 1, 1],
    }.items():
        found = []
        for _ in range(n_draws):
            ranks, points = random_tree(rng, strengths)
            tree, embedding = tree_distance(ranks), hierarchy.embedding_distance(points)
            low, high = hierarchy.over_clades(hierarchy.spearman, embedding, tree, hierarchy.clades_of(ranks)[1])
            drawn = []
            for _ in range(99):
                i = rng.integers(len(tree), size=len(tree))
                a, b = upper(embedding[np.ix_(i, i)]), upper(tree[np.ix_(i, i)])
                drawn.append(stats.spearmanr(a[upper(i[:, None] != i)], b[upper(i[:, None] != i)]).statistic)
            found.append((hierarchy.spearman(embedding, tree), low, high, *np.quantile(drawn, [0.025, 0.975])))
        rho, low, high, low_b, high_b = np.array(found).T
        truth = rho.mean()
        rows.append(
            (name, truth, ((low <= truth) & (truth <= high)).mean(), ((low_b <= truth) & (truth <= high_b)).mean())
        )
    return pd.DataFrame(rows, columns=["signal", "rho", "jackknife over clades", "bootstrap over species"])


SIMULATIONS = {
    coverage_of_means: 400,
    size_of_paired_tests: 400,
    floors: 1,
    size_of_friedmans_test: 1_000,
    calibration: 200,
    coverage_of_rho: 100,
}


def main(arguments=None):
    """Print the tables."""
    print_simulations(SIMULATIONS, __doc__, arguments)


if __name__ == "__main__":
    main()
