"""Recipes of training side by side on worlds of `mini`'s size: ``python -m speed.recipes FOLDER``.

A seed is another invented world with other held-out species, and other initial weights. Trains, embeds and scores each
recipe through `ablations.run_grid`; what was finished before is only read. Prints means over seeds of the first recipe,
and differences from it on the same seeds with 95 % intervals (Student's t over seeds), in points; `time` is processor
time of training over that of the first recipe on the same seed.
"""

import argparse

from bioclip_lib.ablations import Cell, compared, run_grid
from bioclip_lib.ablations.cells import SMALL
from bioclip_lib.config import flat, load_config
from bioclip_lib.errors import InputError
from bioclip_lib.run import open_run

from .measuring import print_table

FIRST = "AdamW, 250 x 256"
RECIPES = {  # steps x pairs
    FIRST: {"train.optimizer": "adamw", "train.steps": 250, "train.batch_size": 256, "train.warmup_steps": 50,
            "train.lr": 1e-3},
    "Muon, 225 x 128": {"train.optimizer": "muon", "train.steps": 225, "train.batch_size": 128,
                        "train.warmup_steps": 25, "train.lr": 4e-3},
}  # fmt: skip


def cells(config, names, seeds):
    """List the cells: whole worlds of the profile, not the small ones of the ablations."""
    whole = {key: value for key, value in flat(config.to_dict()).items() if key in SMALL}
    return [Cell(name, seed, {**whole, **RECIPES[name]}) for seed in seeds for name in names]


def table(scores):
    """A row a recipe: differences from the first, and the share of its time."""
    found = compared(scores, FIRST)
    found["shown"] = [
        f"{100 * row.value:.1f}"
        if row.recipe == FIRST
        else f"{100 * row.difference:+.1f} [{100 * row.difference_low:.1f}, {100 * row.difference_high:.1f}]"
        for row in found.itertuples()
    ]
    wide = found[found["chance"] > 0].pivot_table("shown", "recipe", "measured", aggfunc="first", sort=False)
    spent = scores.groupby(["recipe", "seed"])["seconds"].first().unstack("recipe")
    share = spent.div(spent[FIRST], axis=0).mean().round(2)
    return wide.assign(seeds=spent.notna().sum(), time=share).reset_index()


def main(argv=None):
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="takes the worlds and what each training makes")
    parser.add_argument("--profile", default="mini")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[21, 22, 23, 24, 25])
    args = parser.parse_args(argv)
    config = load_config(args.profile)
    scores, failed = run_grid(open_run(args.folder, config), config, cells(config, args.recipes, args.seeds))
    if len(failed):
        raise InputError(f"{len(failed)} trainings failed; the first: {failed['why'][0]}; run the command again")
    print_table(table(scores))


if __name__ == "__main__":
    main()
