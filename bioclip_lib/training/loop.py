"""Training, from pairs to weights, log and checkpoints; in one process or, started by `torchrun`, several.

Takes a model, `TrainData` (images in memory or in shards, or features of a frozen trunk, with their captions as tokens)
and a `Config`; trains the model in place and returns the log. Refuses data that do not fit together, and a loss or
gradient that is not finite.

Everything random at a step is a function of (seed, step) alone: an interrupted run that goes on from a checkpoint ends
with the same bits as one that was never interrupted, on the same machine; any number of processes draws the same pairs.
"""

import contextlib
import dataclasses
import signal
import threading
import time
import warnings
from collections.abc import Callable
from types import FrameType
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from ..config import FREE_SETTINGS, Config, TrainConfig
from ..errors import InputError
from ..model.load import model_digest
from ..model.text import compact_vocabulary
from ..run import Run, atomic
from ..run.workers import progress as show_progress
from ..shards.captions import CUT_AFTER
from .adapt import compiled, low_rank
from .batches import Pairs, TrainData
from .checkpoints import delete_checkpoints, read_checkpoint, write_checkpoint
from .distributed import check_agreement, joined, own_rows, sharded, world
from .objectives import CLASS_OBJECTIVES, Objective
from .optimizer import with_steps
from .trainer import Trainer

# settings with the same gradient, but for rounding; and with the same weights
_SPEED_SETTINGS = ("micro_batch_size", "grad_checkpointing", "compile", "processes", "shard")
CHECKPOINT_EVERY_S = 60
_PACE_SETTINGS = ("val_every_steps", *(name.removeprefix("train.") for name in FREE_SETTINGS))


def fit(  # noqa: PLR0913 (what is trained, on what, where, how it goes on, and how it is watched)
    model: torch.nn.Module,
    train: TrainData,
    val: TrainData,
    config: Config,
    run: Run,
    resume: bool = False,
    progress: bool = True,
    on_step: Callable[[dict[str, float]], None] | None = None,
) -> pd.DataFrame:
    """Train a model in place.

    Parameters
    ----------
    model : open_clip model
        Where `train` holds features of its frozen trunk, only the projection of its image tower is trained.
    train, val : TrainData
    config : Config
        Its `train` part.
    run : Run
        Takes ``tables/train_log.csv`` and ``checkpoints/step-%06d.pt``.
    resume : bool
        Go on from the newest whole checkpoint, if there is one; otherwise earlier checkpoints are deleted.
    progress : bool
        Show a bar with loss and images/s.
    on_step : callable, optional
        Gets each row of the log as it is made (`figures.live`); in the first process alone.

    Returns
    -------
    DataFrame
        One row a step: step, loss, val_loss and val_top1 (zero-shot among the classes of val; where evaluated), lr,
        logit_scale (the factor), grad_norm (before clipping), skipped (steps so far that fp16 left out), duplicates
        (share of pairs whose class occurs twice in the batch), unreadable (images for which others stand in),
        images_per_s, data_wait (share of the step), gpu_gib (peak so far; nan without a GPU), wall_s (all sittings).

    Raises
    ------
    InputError
        If the data do not fit the configuration, a checkpoint belongs to other settings, the processes do not share a
        batch evenly or lose each other, the loss or its gradient is not finite (``tables/bad_batch.csv`` then holds
        the batch), too many images in shards cannot be read, or SIGTERM or Stop asks to end: after a checkpoint.

    Warns
    -----
    UserWarning
        At the start, of a batch that is larger than the set; at the end, of images in shards that cannot be read.

    Notes
    -----
    Rows of the token table that no caption uses stay as they were initialised, without weight decay. The classifiers
    of an objective without texts are kept in the checkpoints alone; the model's text tower stays untrained. In several
    processes (``torchrun``, all with the same data and run directory) the first one writes the log and checkpoints;
    what follows in a script, such as the export, is for it too: ``if distributed.world().rank == 0``.
    """
    config = with_steps(config, len(train.labels))
    cfg = config.train
    with joined(model.logit_scale.device) as here:
        _check(model, train, val, cfg)
        _say_what_is_smaller(train, cfg)
        settings = _settings(model, train, val, config)
        replayed = torch.arange(model.vocab_size if train.replay is not None else 0)  # other texts have any token
        with (
            compact_vocabulary(model, train.tokens, val.tokens, replayed) as tokens,
            low_rank(model, cfg.lora_rank, cfg.seed, cfg.freeze_image_tower),
            sharded(model, cfg) as trained,
            compiled(trained, cfg.compile),
            StopRequest() as stop,
        ):
            objective = Objective(trained, cfg, train)
            trainer = Trainer(trained, objective, cfg, Pairs.of(train, tokens[0]), Pairs.of(val, tokens[1]))
            if resume:
                _load_newest(trainer, run, settings)
            check_agreement((settings, trainer.step), "settings, data, weights or checkpoint")
            if not resume and here.rank == 0:
                delete_checkpoints(run.checkpoints)
            with contextlib.closing(trainer.loader):
                _run_steps(trainer, settings, run, stop, progress, on_step)
            trainer.optimizer.finish()
    model.eval()
    if cfg.grad_checkpointing:
        model.set_grad_checkpointing(False)
    log = pd.DataFrame(trainer.log)
    if here.rank == 0:
        with atomic(run.tables / "train_log.csv") as tmp:
            log.to_csv(tmp, index=False)
    return log


class StopRequest:
    """Within the context SIGTERM, as of a scheduler's time limit, or Stop does not end the process but sets `made`.

    A second Stop ends it at once.
    """

    _NAMES: ClassVar = {signal.SIGTERM: "SIGTERM", signal.SIGINT: "Stop"}

    def __init__(self) -> None:
        self.made, self.by = False, "another process"

    def __enter__(self) -> "StopRequest":
        in_main = threading.current_thread() is threading.main_thread()  # Python takes signals there alone
        self._before = {number: signal.signal(number, self._note) for number in (self._NAMES if in_main else ())}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler or signal.SIG_DFL)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.made and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.made, self.by = True, self._NAMES[number]


def _load_newest(trainer: Trainer, run: Run, settings: dict) -> None:
    """Go back to the newest whole checkpoint, if there is one; what was read of it is not kept."""
    if checkpoint := read_checkpoint(run.checkpoints, settings, trainer.cfg.other_code):
        trainer.load_state(*checkpoint)


def _run_steps(
    trainer: Trainer, settings: dict, run: Run, stop: StopRequest, progress: bool, on_step: Callable | None
) -> None:
    """Do the steps that are left, with checkpoints; obey a request to stop."""
    cfg, first = trainer.cfg, world().rank == 0
    due = SaveDue()
    with show_progress("training", "steps", cfg.steps, done=trainer.step, shown=progress and first) as bar:
        while trainer.step < cfg.steps:
            row, stopping = trainer.train_step(run.tables / "bad_batch.csv", stop.made)
            bar.set_postfix_str(f"loss {row['loss']:.3f}, {row['images_per_s']:,.0f} images/s", refresh=False)
            bar.update()
            if first and on_step is not None:
                on_step(dict(row))
            done = trainer.step == cfg.steps
            if stopping or done or trainer.step % cfg.checkpoint_every_steps == 0 or due.now():
                with due:
                    _save(trainer, settings, run)
            if stopping and not done:
                raise InputError(
                    f"stopped after step {trainer.step} of {cfg.steps}, as {stop.by} asked; run 03_training again, or "
                    f"fit(..., resume=True), to go on from there: {run.checkpoints} holds the state"
                )


class SaveDue:
    """Tells when a checkpoint is due by the clock, so that a slow training loses no more than a minute or so.

    Where writing one takes long, 20 times as long lies between two. Several processes go by the number of steps alone.
    """

    def __init__(self) -> None:
        self._at, self._write_s = time.monotonic(), 0.0

    def now(self) -> bool:
        """Tell whether a checkpoint is due."""
        return world().size == 1 and time.monotonic() - self._at >= max(CHECKPOINT_EVERY_S, 20 * self._write_s)

    def __enter__(self) -> None:
        self._begun = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._at = time.monotonic()
        self._write_s = self._at - self._begun


def _save(trainer: Trainer, settings: dict, run: Run) -> None:
    """Write a checkpoint, in the first process; gathered weights are let go after it."""
    state = trainer.state()
    if world().rank == 0:
        write_checkpoint(run.checkpoints, trainer.step, settings, state, trainer.cfg.keep_checkpoints)


def _check(model: torch.nn.Module, train: TrainData, val: TrainData, cfg: TrainConfig) -> None:
    """Refuse settings and data that do not fit together."""
    if not len(train.labels):
        raise InputError("there are no training images; rerun 01_dataset_construction")
    for name, data in (("training", train), ("validation", val)):
        if data.tokens.shape[1] - len(cfg.text_types) not in (0, len(CUT_AFTER)):
            raise InputError(
                f"the {name} captions hold {data.tokens.shape[1]} text types, train.text_types {len(cfg.text_types)}; "
                "load the data again under this configuration"
            )
        if cfg.objective.startswith("hierarchical") and len(data.labels) and data.lineages is None:
            raise InputError(
                f"train.objective={cfg.objective} needs the ranks of each class; give the {name} data lineages, as "
                "training.load_training_data does"
            )
    if cfg.freeze_image_tower != train.holds_features:
        raise InputError(
            f"train.freeze_image_tower={cfg.freeze_image_tower}, but the training inputs are "
            f"{'features' if train.holds_features else 'images'}; load the data again under this configuration"
        )
    if cfg.stream != train.streamed or val.streamed:
        raise InputError(
            f"train.stream={cfg.stream}, but the training images are {'in shards' if train.streamed else 'in memory'} "
            f"(and those of validation {'in shards' if val.streamed else 'in memory'}, where they have to be); load "
            "the data again under this configuration"
        )
    if len(val.labels):
        _check_validation(train, val, cfg)
    _check_replay(train, cfg)
    _check_shares(model, train, cfg)


def _check_validation(train: TrainData, val: TrainData, cfg: TrainConfig) -> None:
    """Refuse validation data that the model of the training data cannot judge."""
    shapes = (train.inputs.shape[1:], val.inputs.shape[1:])
    classes = (train.tokens, val.tokens) if cfg.objective == "classification" else (train.lineages, val.lineages)
    numbered_apart = cfg.objective in CLASS_OBJECTIVES and not np.array_equal(*map(np.asarray, classes))
    if numbered_apart or ((train.holds_features or val.holds_features) and shapes[0] != shapes[1]):
        what = "their classes are numbered apart" if numbered_apart else f"the inputs are {shapes[0]} and {shapes[1]}"
        raise InputError(
            f"training and validation data do not fit together: {what}; load both by "
            "training.load_training_data, under this configuration"
        )


def _check_replay(train: TrainData, cfg: TrainConfig) -> None:
    """Refuse pairs to replay that do not go with the settings."""
    if (train.replay is not None) != (cfg.replay_batch > 0):
        raise InputError(
            f"train.replay_batch is {cfg.replay_batch}, but the training data have "
            f"{'no' if train.replay is None else 'other'} pairs to replay; set train.replay to their folder and load "
            "the data again, or set train.replay_batch=0"
        )
    if cfg.replay_batch and (cfg.objective != "clip" or train.holds_features):
        raise InputError(
            "train.replay_batch needs train.objective=clip, as other texts belong to no class, and "
            "train.freeze_image_tower=false, as other images have no features yet"
        )


def _check_shares(model: torch.nn.Module, train: TrainData, cfg: TrainConfig) -> None:
    """Refuse a batch that the processes cannot share, or that must not be encoded in parts."""
    n_pairs, n_processes = min(cfg.batch_size, len(train.labels)), world().size
    if n_pairs % n_processes:
        raise InputError(
            f"{n_processes} processes cannot share a batch of {n_pairs} pairs evenly; set train.batch_size to a "
            f"multiple of {n_processes}, at most {len(train.labels)}"
        )
    if cfg.replay_batch and (n_replayed := min(cfg.replay_batch, len(train.replay))) % n_processes:
        raise InputError(
            f"{n_processes} processes cannot share {n_replayed} replayed pairs evenly; set train.replay_batch to a "
            f"multiple of {n_processes}, at most {len(train.replay)}"
        )
    n_rows = own_rows(n_pairs).stop - own_rows(n_pairs).start
    in_parts = n_processes > 1 or 0 < cfg.micro_batch_size < n_rows
    if in_parts and not train.holds_features and any(isinstance(m, _BatchNorm) for m in model.visual.modules()):
        raise InputError(
            "the image tower normalises over the batch (BatchNorm), so that its parts are not the whole; set "
            "train.micro_batch_size=0 and use one process, or train.freeze_image_tower=true"
        )


def _say_what_is_smaller(train: TrainData, cfg: TrainConfig) -> None:
    """Warn, in one process, of a batch that is larger than the set it is drawn from."""
    sets = [("batch_size", cfg.batch_size, train, "training images")]
    if train.replay is not None:
        sets.append(("replay_batch", cfg.replay_batch, train.replay, "pairs to replay"))
    for name, wanted, data, what in sets:
        n = len(data.labels) if data is train else len(data)
        if n < wanted and world().rank == 0:
            warnings.warn(f"train.{name} is {wanted}, but there are {n} {what}: a step takes all {n}", stacklevel=3)


def _settings(model: torch.nn.Module, train: TrainData, val: TrainData, config: Config) -> dict:
    """Return what decides the trained weights, as a checkpoint records it."""
    recipe = dataclasses.asdict(config.train)
    for name in (*_PACE_SETTINGS, *_SPEED_SETTINGS, "replay"):  # the folder may move
        del recipe[name]
    return {
        "train": recipe,
        "model": dataclasses.asdict(config.model),
        "initial_weights": model_digest(model),
        "training_data": train.digest(),
        "validation_data": val.digest(),
    }
