"""Every script of speed/ at toy size: it runs to its end, and its table holds numbers above 0."""

import contextlib
import importlib.util
import io
import logging
import pkgutil
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import speed
from bioclip_lib import RANKS
from bioclip_lib.config import load_config
from bioclip_lib.errors import InputError
from bioclip_lib.run import Run, open_run
from bioclip_lib.structure import control
from speed import __main__ as stages
from speed import (
    annotations,
    download,
    embedding,
    interval_times,
    intervals,
    measuring,
    photographs,
    power,
    probes,
    readme,
    recipes,
    scale,
    seeds,
    sorting,
    streaming,
    text_encoding,
    trainers,
)

TINY = {"vision_layers": 1, "vision_width": 32, "text_layers": 1, "text_width": 32, "text_heads": 1, "embed_dim": 16}


def rows_of(printed):
    """Return the cells of the Markdown rows below the heads."""
    lines = [line for line in printed.splitlines() if line.startswith("|")]
    heads = [i for i, line in enumerate(lines) if line.startswith("| ---")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for i, row in enumerate(cells) if i not in heads and i + 1 not in heads]


def numbers_of(row):
    """Return the numbers in a row's cells after the first."""
    return [float(n.replace(",", "")) for n in re.findall(r"-?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?", " ".join(row[1:]))]


@pytest.fixture
def in_this_process(monkeypatch):
    """What a script starts as a process of its own runs here."""

    def run(module, *arguments):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            starts = {"trainers": trainers.child, "scale": scale.run_stage}[module]
            starts(*arguments)
        return printed.getvalue()

    for module in (scale, trainers):
        monkeypatch.setattr(module, "in_a_process", run)
    root = logging.getLogger()  # open_clip's trainer gives it handlers, and every logger its level
    loggers = [root, *map(logging.getLogger, list(root.manager.loggerDict))]
    handlers, levels = root.handlers[:], [logger.level for logger in loggers]
    yield
    root.handlers[:] = handlers
    for logger in map(logging.getLogger, list(root.manager.loggerDict)):
        logger.setLevel(logging.NOTSET)
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def change(monkeypatch, module, **constants):
    for name, value in constants.items():
        assert hasattr(module, name)
        monkeypatch.setattr(module, name, value)


def test_no_script_is_left_out():
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    for name in {module.name for module in pkgutil.iter_modules(speed.__path__)} - {"__main__"}:  # is test_the_stages
        used = rf"\b{name}\.\w|change\(monkeypatch, {name},|import {name} as \w"
        assert re.search(used, tests), f"run {name} at toy size here"


def test_the_readme_is_made_block_by_block(monkeypatch):
    text = readme.README.read_text(encoding="utf-8")
    commands = [block["command"].split()[0] for block in readme.BLOCK.finditer(text)]
    assert len(commands) == text.count("<!-- python -m ") == text.count("<!-- end -->")
    for command in commands:
        assert importlib.util.find_spec(command), command
        assert f"python -m {command}`" in text or command == "speed", f"the heading of {command} does not name it"
    monkeypatch.setattr(readme, "printed_by", lambda command: f"| {command} |")
    monkeypatch.setattr(readme, "machine", lambda: "here")
    blocks = (
        "a\n<!-- python -m speed.x --seeds 1 -->\nold\n<!-- end -->\nb\n<!-- python -m speed.y -->\nold\n<!-- end -->\n"
    )
    made = readme.renew(blocks, ["x"])
    assert made == blocks.replace("old", "here\n\n| speed.x --seeds 1 |", 1)
    assert readme.renew(blocks, []).count("here") == 2 and readme.renew(made, ["x"]) == made


def test_the_machine_is_one_line():
    assert "threads, torch" in readme.machine() and "\n" not in readme.machine()


def test_the_stages(monkeypatch, capsys):
    change(monkeypatch, stages, N_IMAGES=64, N_SPECIES=8, N_LARGE=2)
    change(monkeypatch, photographs, N_IMAGES=2, SIZE=(400, 300), REPEATS=1, N_HASHES=4)
    stages.main()
    rows = rows_of(capsys.readouterr().out)
    assert [row[0] for row in rows][:3] == ["render 64 px", "decode and check files", "write shards"]
    assert len(rows) == 7 + 4 and all(min(numbers_of(row)) > 0 for row in rows)


def test_images_out_of_shards_beside_an_older_commit(monkeypatch, capsys):
    """That commit is not in every clone: this tree stands for both."""
    change(monkeypatch, streaming, N_IMAGES=40, BATCH=8, ROUNDS=1)
    tree = Path(speed.__file__).parents[1]
    monkeypatch.setattr(streaming, "checkouts", lambda base: contextlib.nullcontext({base: tree, "this tree": tree}))
    streaming.main(["--base", "before"])
    rows = rows_of(capsys.readouterr().out)
    assert [row[0] for row in rows[4:]] == ["first epoch", "second epoch"] and len(rows) == 6
    assert all(min(numbers_of(row)) > 0 for row in rows)


def test_image_files_beside_pybioclip(monkeypatch, capsys):
    sizes = {f"model.{name}": value for name, value in TINY.items()} | {"model.image_size_px": 16}
    change(monkeypatch, embedding, BATCH=2, REPEATS=1, N_SMALL=2, N_LARGE=1, LARGE=(500, 500), SIZES=sizes)
    embedding.main()
    printed = capsys.readouterr().out
    rows = rows_of(printed)
    ways = ["ours, fp32", "ours, fp32, all pixels decoded", "ours", "pybioclip"]
    assert [row[:2] for row in rows[:4]] == [["small", way] for way in ways]
    assert len(rows) == 8 and [row[3] for row in rows if row[1] == "pybioclip"] == ["1.00", "1.00"]
    assert 0.9 < float(printed.split()[-1]) <= 1.0001


def test_intervals_and_tests_of_known_truths(monkeypatch, capsys):
    change(monkeypatch, intervals, CLASSES=(5, 10), MEANS=(0.5,), N_BOOTSTRAPS=50)
    intervals.main(["--draws", "4"])
    printed = capsys.readouterr().out
    assert next(row for row in rows_of(printed) if row[0] == "68 tests")[1:] == ["1.0", "1.0", "0"]
    assert len(rows_of(printed)) == 4 + 4 + 1 + 8 + 6 + 3


def test_intervals_are_asked_of_a_runs_answers(monkeypatch, capsys):
    """The answers are made up here, as the tables of no run are at hand; the older commit is not in every clone."""
    rng, species = np.random.default_rng(0), np.arange(40) // 2
    right, points = rng.random((2, 400)) < 0.5, rng.normal(size=(40, 8))
    of = np.repeat(np.arange(20), 20)
    distances = np.linalg.norm(points[:, None] - points, axis=-1)
    asked = {"means": [(right[0], of)] * 3, "differences": [(*right.astype(float), of)]}
    asked["correlations"] = [(distances, (species[:, None] != species) + 1.0 - np.eye(40), species)]
    monkeypatch.setattr(interval_times, "questions", lambda root: asked)
    interval_times.main(["runs/a"])
    rows = rows_of(capsys.readouterr().out)
    assert [row[:3] for row in rows[:4]] == [["a", what, n] for what, n in zip(["all", *asked], "5311", strict=True)]
    times = [float(row[4]) for row in rows]
    assert min(times[1:]) > 0 and times[0] == pytest.approx(sum(times[1:4]), rel=0.1)


def test_signals_and_held_out_species(monkeypatch, capsys):
    change(monkeypatch, power, WORLDS=((40, 0.5),), SEES=(0.0, 1.0), CHOICES=("any",), N_PERMUTATIONS=199)
    power.main(["--draws", "4"])
    held_out, *signals = rows_of(capsys.readouterr().out)
    assert held_out[:3] == ["40", "20", "any"] and float(held_out[3]) < 0.5 < float(held_out[4])
    assert len(signals) == 8


def test_the_whole_probe_set_is_timed(capsys):
    probes.main(["--images", "240", "--species", "24", "--width", "8"])
    rows = rows_of(capsys.readouterr().out)
    assert len(rows) == 5 and [float(row[1]) > 0 for row in rows] == [False, True, True, True, True]
    assert all(float(row[2]) > 0 and 0 < float(row[3]) < 50 for row in rows)


def test_class_names_both_ways(monkeypatch, capsys):
    change(monkeypatch, text_encoding, TOWER={name: TINY[name] for name in TINY if name.startswith(("text", "embed"))})
    text_encoding.main(["--classes", "3", "--templates", "2", "--repeats", "1"])
    printed = capsys.readouterr().out
    assert [row[0] for row in rows_of(printed)] == ["class by class", "`encode_texts`"]
    assert float(re.search(r"differ by (\S+)", printed)[1]) < 1e-5


def test_a_catalog_out_of_core(monkeypatch, capsys, in_this_process):
    change(monkeypatch, scale, SIZES=(500,), LEAST_NAMES=20)
    scale.main()
    (row,) = rows_of(capsys.readouterr().out)
    assert row[0] == "500" and 20 <= int(row[1]) <= 60 and 0 < int(row[2]) < 100


def test_both_trainers(monkeypatch, capsys, in_this_process):
    for sizes in (trainers.SPEED, trainers.CURVES):
        change_of = {"steps": 4, "seeds": (0,), "px": 16, **TINY}
        for name, value in change_of.items():
            monkeypatch.setitem(sizes, name, value)
    change(monkeypatch, trainers, BATCH=4, N_IMAGES=16, SHORT=2)
    trainers.main()
    rows = rows_of(capsys.readouterr().out)
    assert len(rows) == 2 * 4 + 4
    trained = ["ours, fp32, 0", "open_clip, fp32, 0", "open_clip, bf16, 0", "ours, Muon, bf16, 0"]
    assert [row[0] for row in rows[-4:]] == trained
    assert all(0 < number < 20 for row in rows[-4:] for number in numbers_of(row[:-1]))
    assert rows[-3][-1] != "-"  # open_clip reaches its own last loss


def test_class_names_of_published_sets(monkeypatch, capsys, tmp_path):
    change(monkeypatch, annotations, SETS={"INS": "insects"})
    ranks = {"kingdom": "Animalia", "phylum": "Chordata", "cls": "Aves", "class": "0", "order": "Passeriformes",
             "family": "Paridae", "genus": "Parus", "species": "major"}  # fmt: skip
    pd.DataFrame([ranks]).to_csv(tmp_path / "rare_species.csv")
    pd.DataFrame({"class": ["Apis mellifera", "no such beast at all"]}).to_csv(tmp_path / "INS_Mini.csv")
    annotations.main(["--folder", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "insects" in printed and "Rare Species" in printed


def test_seeds_train_and_score_a_runs_pictures_again(monkeypatch, capsys, tmp_path):
    """A world of 12 species, two steps; a seed that is there is only read, and one seed alone has no spread."""
    sizes = {f"model.{name}": value for name, value in TINY.items()}
    settings = {"data.synthetic.n_species": 12, "data.synthetic.n_images": 240, "evaluate.shots": (1,)}
    settings |= {"train.steps": 2, "train.warmup_steps": 1, "train.batch_size": 16, "evaluate.n_permutations": 9}
    config = load_config("smoke", {**sizes, **settings, "evaluate.n_folds": 1})
    run = open_run(tmp_path / "world", config)
    control.build(run, config, "shuffled")
    run.embeddings.mkdir()
    asked = [str(run.root), "--folder", str(tmp_path / "seeds"), "--seeds"]
    seeds.main([*asked, "1", "2"])
    rows = {tuple(row[1:4]): row for row in rows_of(capsys.readouterr().out)}
    one, two, mean, sd, half, chance = map(float, rows["few_shot/1", "macro_top1", "trained"][4:])
    assert mean == pytest.approx((one + two) / 2, abs=1e-3) and sd == pytest.approx(abs(one - two) / 2**0.5, abs=2e-3)
    assert chance == pytest.approx(1 / 12, abs=1e-3) and half > 0 and (tmp_path / "seeds" / "world.csv").is_file()
    monkeypatch.setattr(seeds.control, "train", None)  # nothing is trained again
    seeds.main([*asked, "2", "1"])
    assert rows_of(capsys.readouterr().out) == list(rows.values())
    with pytest.raises(SystemExit, match="the seeds change nothing"):
        seeds.spread(pd.concat([seeds.trained_with(run, config, 1, tmp_path / "seeds" / "world-1")] * 2)
                     .assign(seed=lambda rows: rows.groupby(seeds.KEYS).cumcount()))  # fmt: skip
    with pytest.raises(InputError, match="no finished run"):
        seeds.main([str(tmp_path)])


def test_recipes_are_compared_on_whole_worlds_seed_by_seed():
    rows = [(recipes.FIRST, 1, 0.4, 8.0), (recipes.FIRST, 2, 0.5, 10.0), ("b", 1, 0.5, 4.0), ("b", 2, 0.7, 6.0)]
    scores = pd.DataFrame(rows, columns=["recipe", "seed", "value", "seconds"])
    scores = scores.assign(dataset="synthetic", task="few_shot/5", metric="macro_top1", chance=0.01, n=9)
    first, other = recipes.table(scores).to_dict("records")
    assert (first["5 shots"], first["time"]) == ("45.0", 1.0)
    assert other == {"recipe": "b", "5 shots": "+15.0 [-48.5, 78.5]", "seeds": 2, "time": 0.55}  # t of one degree: 12.7
    config = load_config("smoke")
    cell = recipes.cells(config, recipes.RECIPES, [3])[0].config(config)
    assert cell.data.synthetic == config.data.synthetic and (cell.split.seed, cell.train.seed) == (3, 3)
    assert (cell.train.batch_size, cell.train.optimizer) == (256, "adamw")


def test_ways_take_turns_and_their_rates_are_of_all_runs():
    called, clock = [], iter(range(100))
    ways = {"a": lambda: called.append("a"), "b": lambda: (called.append("b"), next(clock))}
    assert measuring.in_turn(ways, 6, 2, clock=lambda: next(clock)) == {"a": [6, 6], "b": [3, 3]}
    assert called == ["a", "b", "a", "b"]


def test_a_process_that_fails_is_told():
    with pytest.raises(RuntimeError, match="nowhere"):
        measuring.in_a_process("nowhere")


def test_download_counts_files_a_second(capsys):
    download.main(12)
    said = r"12 files of [45]\d,\d{3} bytes, \d+ processors: [\d,]+ files/s; [\d,]+ files/s"
    assert re.match(said, capsys.readouterr().out)


def test_sorting_reads_runs_and_sorts_folders(monkeypatch, capsys, tmp_path, write_image):
    """Two folders of one picture each, six times over, are two groups; tables of a run are shown as they are."""
    monkeypatch.setattr("bioclip_lib.structure.clusters.REDUCTIONS", ("pca",))
    for species in range(2):
        for i in range(6):
            write_image(tmp_path / "set" / f"s{species}" / f"{i}.jpg", seed=species)
    run = Run(tmp_path / "run")
    run.tables.mkdir(parents=True)
    with pytest.raises(InputError, match="run 11_sort_and_correct"):
        sorting.main([str(run.root)])
    row = {"question": "asked", "value": 0.5, "ci_low": 0.25, "ci_high": 0.75, "chance": 0.05, "n": 9}
    pd.DataFrame([row]).to_csv(run.tables / "planted_labels.csv", index=False)
    keys = {"dataset": "old", "model": "m", "reduction": "pca", "method": "kmeans", "number given": True}
    pd.DataFrame([keys | {"measure": "v_measure"} | row]).to_csv(run.tables / "clusters.csv", index=False)
    monkeypatch.setattr(sorting.importlib.util, "find_spec", lambda name: None)
    sorting.main([str(run.root), "--photos", str(tmp_path / "set")])
    rows = rows_of(capsys.readouterr().out)
    assert [cell.split(" [")[0] for cell in rows[-2][-3:]] == ["17", "", "100"]  # 2 clicks of 12; none is left out
    assert rows[-1] == ["run", "asked", "50 [25, 75]", "5.0", "9"] and "50 [25, 75]" in rows[0]


def test_cleanlab_is_given_the_same_moved_labels():
    pytest.importorskip("cleanlab.rank", reason="cleanlab is not installed")
    rng, names = np.random.default_rng(0), [f"G s{i}" for i in range(4)]
    labels = np.repeat(names, 25)
    classes = pd.DataFrame(dict.fromkeys(RANKS[:5], "x"), index=names).assign(genus="G", species=[n[2:] for n in names])
    features = rng.normal(size=(4, 20))[np.repeat(np.arange(4), 25)] + 0.1 * rng.normal(size=(100, 20))
    found = sorting.by_cleanlab(features, labels, classes)
    assert found["value"].item() == 1 and found["n"].item() == 15
