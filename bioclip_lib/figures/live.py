"""Watching a training run: hooks that get each row of its log as it is made.

``training.fit(..., on_step=hook)`` calls ``hook(row)`` after every step; `row` is the log's, a dict of numbers. A
service needs no more than its own function: ``on_step=lambda row: trackio.log(row)``, or ``wandb.log``.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from IPython.display import display

from ..errors import InputError
from .data import plot_training

Hook = Callable[[dict[str, float]], None]


def tensorboard(folder: str | Path) -> Hook:
    """Return a hook that writes each number of a row to TensorBoard's event files: ``tensorboard --logdir runs``."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError("TensorBoard is not installed; pip install tensorboard, or leave this hook out") from None
    writer = SummaryWriter(str(folder))

    def write(row: dict[str, float]) -> None:
        for name, value in row.items():
            if name != "step" and not math.isnan(value):
                writer.add_scalar(f"train/{name}", value, int(row["step"]))
        writer.flush()

    return write


def live_figure(every_s: float = 30.0) -> Hook:
    """Return a hook that draws loss, schedule and throughput below the cell, again after `every_s` seconds or more."""
    rows: list[dict] = []
    shown, drawn_at = None, time.monotonic()

    def draw(row: dict[str, float]) -> None:
        nonlocal shown, drawn_at
        rows.append(row)
        if time.monotonic() - drawn_at < every_s:
            return
        figure, drawn_at = plot_training(pd.DataFrame(rows)), time.monotonic()
        if shown is None:
            shown = display(figure, display_id=True)
        else:
            shown.update(figure)

    return draw
