"""Training of a run in several processes, one a GPU: started from a notebook, or by `torchrun` on several machines.

Takes a run that has its shards; leaves its checkpoints: `loop.fit` with ``resume=True`` loads what they trained. By
hand, ``torchrun --nproc-per-node 8 -m bioclip_lib.training.processes <run>`` does the same; with its ``--nnodes``
and ``--rdzv-endpoint``, and one folder of the run that all see, on several machines.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator

import torch
from tqdm import tqdm

from ..config import Config, TrainConfig, flat, load_config
from ..errors import InputError
from ..model.towers import build_model
from ..run import Run, open_run
from . import data, loop
from .distributed import LOST

Hook = Callable[[dict[str, float]], None]

STEP, ERROR = "bioclip_lib.step", "bioclip_lib.error"  # begin the lines that the processes write; others are no concern
STOP_S = 120  # for the step and the checkpoint after SIGTERM, before torchrun kills


def train_in_processes(run: Run, config: Config, on_step: Hook | None = None) -> None:
    """Train the model of a run in ``train.processes`` processes of this machine; with 1, do nothing.

    Parameters
    ----------
    run : Run
        With catalog and shards.
    config : Config
        That of the run's ``config.json``, which the processes read.
    on_step : callable, optional
        As of `loop.fit`.

    Raises
    ------
    InputError
        If the run has another configuration, or there are fewer GPUs than processes (without a GPU they share the
        CPU); what `loop.fit` raises in one of the processes; or with the log of processes that end otherwise.

    Notes
    -----
    Each process loads the data by itself: with ``train.stream`` that is little, in memory it is the whole set in each.
    An interrupt ends the processes, after a checkpoint: step and checkpoint have two minutes.
    """
    n = config.train.processes
    if n <= 1:
        return
    check_gpus(config.train)
    open_run(run.root, config)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n}"]
    command += [f"--shutdown-timeout={STOP_S}", "-m", "bioclip_lib.training.processes", str(run.root)]
    log = run.root / "processes.log"
    threads = str(max(1, (os.cpu_count() or 1) // n))  # torchrun would take 1
    with (
        open(log, "w", encoding="utf-8") as stderr,
        subprocess.Popen(  # a notebook's interrupt is not for them: they are asked to stop below
            command,
            stdout=subprocess.PIPE,
            stderr=stderr,
            encoding="utf-8",
            errors="replace",
            env={"OMP_NUM_THREADS": threads, **os.environ},
            start_new_session=True,
        ) as launched,
    ):
        try:
            with _terminated_as_interrupted():
                errors = _follow(launched.stdout, f"train in {n} processes", on_step)
        except BaseException:
            launched.terminate()
            for _ in launched.stdout:  # what is written until they have stopped
                pass
            raise
    if launched.returncode:
        told = [message for message in errors if LOST not in message]  # who lost another one knows least
        raise InputError(
            told[0]
            if told
            else f"a training process failed; its messages are in {log}; run again to go on from the newest checkpoint"
        )


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Take SIGTERM as an interrupt, so that the processes are asked to stop too."""
    in_main = threading.current_thread() is threading.main_thread()  # Python takes signals there alone
    before = signal.signal(signal.SIGTERM, signal.default_int_handler) if in_main else None
    try:
        yield
    finally:
        if in_main:
            signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def check_gpus(cfg: TrainConfig) -> None:
    """Refuse more processes than GPUs, where there is any."""
    n_gpus = torch.cuda.device_count()
    if 0 < n_gpus < cfg.processes:
        raise InputError(f"train.processes is {cfg.processes}, but there are {n_gpus} GPUs; set it to that or fewer")


def _follow(lines: Iterable[str], title: str, on_step: Hook | None) -> list[str]:
    """Show the steps that the processes tell of; return their errors."""
    errors = []
    with tqdm(desc=title, unit="step", mininterval=0.5) as bar:
        for line in lines:
            kind, _, content = line.partition(" ")
            if kind == ERROR:
                errors.append(json.loads(content))
            elif kind == STEP:
                row = json.loads(content)
                bar.set_postfix_str(f"loss {row['loss']:.3f}, {row['images_per_s']:.0f} images/s", refresh=False)
                bar.update()
                if on_step is not None:
                    on_step(row)
    return errors


def main(root: str) -> int:
    """Train the model of a run as notebook 03 does, as one of torchrun's processes; go on from its newest checkpoint.

    The first process writes the rows of the log to standard output, each writes its error.
    """
    run = Run(root)
    try:
        if not run.config_json.is_file():
            raise InputError(f"{run.root} is no run; begin it by make reproduce RUN={run.root}")
        settings = flat(json.loads(run.config_json.read_text(encoding="utf-8")))
        config = load_config(settings.pop("profile"), settings)
        clip = build_model(config.model, seed=config.train.seed)
        training, validation = data.load_training_data(run, config, clip)
        if config.train.freeze_image_tower:
            data.start_projection(clip, training.inputs)
        say_step = lambda row: _say(STEP, row)  # noqa: E731
        loop.fit(clip, training, validation, config, run, resume=True, progress=False, on_step=say_step)
    except InputError as error:
        _say(ERROR, str(error))
        return 2
    return 0


def _say(kind: str, content: object) -> None:
    sys.stdout.write(f"\n{kind} {json.dumps(content)}\n")  # at the start of a line, whatever a library left there
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
