"""Our trainer beside open_clip's own, on the same shards, model and recipe: ``python -m speed.trainers``.

Each run is a process of its own, in turn: ours in memory, ours streamed, open_clip's. All start from the same exported
weights, read the same tars and train with the plain CLIP loss on one caption an image, in fp32 and in bf16. What cannot
be matched is listed in README.md. Time is that of the processors, with workers: a step's is the difference of a long
job and a short one. `mini`'s recipe, Muon, runs beside them to the same loss.
"""

import functools
import json
import re
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from .measuring import in_a_process, print_head, print_row

SHORT = 2  # steps of the job whose time is taken off
SPEED = {"steps": 10, "seeds": (0,), "px": 64, "vision_layers": 6, "vision_width": 192, "text_layers": 3,
         "text_width": 192, "text_heads": 6, "embed_dim": 192}  # fmt: skip
CURVES = {"steps": 60, "seeds": (0, 1, 2), "px": 32, "vision_layers": 2, "vision_width": 64, "text_layers": 1,
          "text_width": 64, "text_heads": 2, "embed_dim": 64}  # fmt: skip
BATCH, N_IMAGES = 128, 25 * 128
LR, WARMUP, WEIGHT_DECAY, BETAS, EPS = 5e-4, 20, 0.2, (0.9, 0.98), 1e-6
MUON_LR = 4e-3  # of profile mini
PRECISIONS = {"fp32": "fp32", "bf16": "amp_bf16"}  # ours, and open_clip's word for it
LOG_LINE = re.compile(r"Data \(t\): .* Loss: ([\d.]+)")


def our_config(size, seed, steps, precision="fp32", **changed):
    """Return the configuration that matches open_clip's recipe, but for what is changed."""
    from bioclip_lib.config import load_config
    from bioclip_lib.shards.captions import DEFAULT_TEXT

    names = ("vision_layers", "vision_width", "text_layers", "text_width", "text_heads", "embed_dim")
    model = {f"model.{name}": size[name] for name in names} | {"model.image_size_px": size["px"]}
    train = {"steps": steps, "batch_size": BATCH, "optimizer": "adamw", "lr": LR, "warmup_steps": WARMUP,
             "weight_decay": WEIGHT_DECAY, "beta1": BETAS[0], "beta2": BETAS[1], "eps": EPS,
             "objective": "clip", "text_types": (DEFAULT_TEXT,),
             "higher_rank_share": 0.0, "mirror": False, "precision": precision,
             "val_every_steps": 10**6, "checkpoint_every_steps": 10**6,
             "seed": seed} | changed  # fmt: skip
    return load_config("mini", model | {f"train.{key}": value for key, value in train.items()})


def train_ours(run_folder, model_folder, size, seed, steps, precision, **changed):
    """Train with `training.loop.fit`, images in memory or streamed; return the loss of each step."""
    from bioclip_lib.model.load import load_model
    from bioclip_lib.run import Run
    from bioclip_lib.training import data as train_data
    from bioclip_lib.training import loop as train

    with tempfile.TemporaryDirectory() as out:
        config, run = our_config(size, seed, steps, precision, **changed), Run(run_folder)
        clip = load_model(f"local-dir:{model_folder}").model
        data, val = train_data.load_training_data(run, config, clip)
        return list(train.fit(clip, data, val, config, Run(out), progress=False)["loss"])


def open_clip_arguments(run_folder, model_folder, out, seed, steps, precision="fp32", workers=1):
    """Return the command line of open_clip's trainer for the same recipe."""
    tars = sorted((Path(run_folder) / "shards" / "train").glob("*.tar"))
    epochs = max(1, steps * BATCH // N_IMAGES)
    values = {"model": f"local-dir:{model_folder}", "train-data": "::".join(map(str, tars)), "logs": out, "name": "run",
              "dataset-type": "webdataset", "train-num-samples": steps * BATCH // epochs, "epochs": epochs,
              "batch-size": BATCH, "workers": workers, "precision": precision, "lr": LR, "warmup": WARMUP,
              "wd": WEIGHT_DECAY, "beta1": BETAS[0], "beta2": BETAS[1], "eps": EPS, "seed": seed, "device": "cpu",
              "log-every-n-steps": 1, "save-frequency": 0}  # fmt: skip
    return [f"--{key}={value}" for key, value in values.items()] + ["--aug-cfg", "scale=(0.5,1.0)"]


def train_open_clip(run_folder, model_folder, size, seed, steps, precision):
    """Train with open_clip_train.main as installed; return the loss of each step, from its log."""
    import bioclip_lib.model  # noqa: F401 (before open_clip)

    # isort: split
    from open_clip_train.main import main as open_clip_main

    with tempfile.TemporaryDirectory() as out:
        open_clip_main(open_clip_arguments(run_folder, model_folder, out, seed, steps, PRECISIONS[precision]))
        losses = list(map(float, LOG_LINE.findall((Path(out) / "run" / "out.log").read_text(encoding="utf-8"))))
    if len(losses) != steps:
        raise RuntimeError(f"{len(losses)} steps in the log of open_clip's trainer, {steps} asked for")
    return losses


TRAINERS = {
    "ours": train_ours,
    "streamed": functools.partial(train_ours, stream=True),
    "open_clip": train_open_clip,
    "ours, Muon": functools.partial(train_ours, optimizer="muon", lr=MUON_LR),
}
SPEED_JOBS = [(name, precision) for precision in PRECISIONS for name in ("ours", "streamed", "open_clip")]
CURVE_JOBS = [("ours", "fp32"), ("open_clip", "fp32"), ("open_clip", "bf16"), ("ours, Muon", "bf16")]


def child(name, precision, folder, sizes, seed, steps):
    """Train in this process; print losses, processor time and peak memory of the process and its workers, as JSON."""
    before = time.process_time()
    size = {"speed": SPEED, "curves": CURVES}[sizes]
    loss = TRAINERS[name](folder, Path(folder) / f"model-{sizes}", size, int(seed), int(steps), precision)
    workers = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = {"loss": loss, "cpu_s": time.process_time() - before + workers.ru_utime + workers.ru_stime}
    for key, who in (("peak_mib", resource.RUSAGE_SELF), ("worker_peak_mib", resource.RUSAGE_CHILDREN)):
        found[key] = resource.getrusage(who).ru_maxrss / 2**10
    print("RESULT " + json.dumps(found))


def alternate(folder, sizes, jobs, *lengths):
    """Run jobs of some numbers of steps, the trainers in turn, a process each; return job -> results a seed."""
    results = {job: [] for job in jobs}
    for seed in {"speed": SPEED, "curves": CURVES}[sizes]["seeds"]:
        for job in jobs:
            found = []
            for steps in lengths:
                printed = in_a_process("trainers", *job, folder, sizes, seed, steps)
                line = next(line for line in printed.splitlines() if line.startswith("RESULT "))
                found.append(json.loads(line.removeprefix("RESULT ")))
                print(*job, sizes, seed, line, file=sys.stderr, flush=True)
            results[job].append(found)
    return results


def print_speed(results):
    """Print rates and memory, medians over the runs, and the ratio of ours to open_clip's, in each precision."""
    n = BATCH * SPEED["steps"]
    rows = {
        "steps alone, images a second of processor time": lambda short, long: (
            (n - BATCH * SHORT) / (long["cpu_s"] - short["cpu_s"])
        ),
        "whole job, images a second of processor time": lambda _, long: n / long["cpu_s"],
        "peak memory of the trainer, MiB": lambda _, long: long["peak_mib"],
        "peak memory of its worker, MiB": lambda _, long: long["worker_peak_mib"],
    }
    print_head("", "ours", "streamed", "open_clip_train", "ours / open_clip_train", "streamed / open_clip_train")
    for label, value in rows.items():
        for precision in PRECISIONS:
            names = ("ours", "streamed", "open_clip")
            found = {name: [value(*jobs) for jobs in results[name, precision]] for name in names}
            ratios = []
            for name in names[:2]:
                pairs = zip(found[name], found["open_clip"], strict=True)
                ratios.append(", ".join(f"{a / b:.2f}" for a, b in pairs if b))
            print_row(f"{precision}: {label}", *map(statistics.median, found.values()), *ratios)


def print_curves(results):
    """Print the mean loss of each quarter of the steps, and when open_clip's last one is reached."""
    quarters = np.array_split(np.arange(CURVES["steps"]), 4)
    print_head("trainer, precision, seed", *(f"steps {q[0] + 1}-{q[-1] + 1}" for q in quarters), "reached after, s")
    for i, seed in enumerate(CURVES["seeds"]):
        goal = np.mean(results["open_clip", "fp32"][i][0]["loss"][quarters[-1][0] :])
        for (name, precision), runs in results.items():
            loss, seconds = np.array(runs[i][0]["loss"]), runs[i][0]["cpu_s"]
            smooth = np.convolve(loss, np.ones(len(quarters[-1])) / len(quarters[-1]), "valid")
            first = np.flatnonzero(smooth <= goal + 1e-9)  # its own is reached, however it is rounded
            reached = f"{seconds * (first[0] + len(quarters[-1])) / len(loss):.1f}" if len(first) else "-"
            print_row(f"{name}, {precision}, {seed}", *(f"{loss[q].mean():.3f}" for q in quarters), reached)


def main():
    """Write shards and models, run everything, print the tables."""
    from bioclip_lib.model import build_model, export_model

    from . import world

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        world.write_shards(folder, N_IMAGES)
        for sizes, size in (("speed", SPEED), ("curves", CURVES)):
            config = our_config(size, 0, size["steps"]).model
            export_model(build_model(config), config, folder / f"model-{sizes}")
        print_speed(alternate(folder, "speed", SPEED_JOBS, SHORT, SPEED["steps"]))
        print()
        print_curves(alternate(folder, "curves", CURVE_JOBS, CURVES["steps"]))


if __name__ == "__main__":
    child(*sys.argv[1:]) if len(sys.argv) > 1 else main()
