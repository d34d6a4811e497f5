"""Hooks that get each row of a training log."""

import math
import sys

import pandas as pd
import pytest

from bioclip_lib.errors import InputError
from bioclip_lib.figures import live
from bioclip_lib.figures.data import plot_training

ROWS = [
    {"step": 1, "loss": 4.0, "val_loss": math.nan, "val_top1": math.nan, "lr": 1e-3, "images_per_s": 100.0},
    {"step": 2, "loss": 2.0, "val_loss": 3.0, "val_top1": 0.5, "lr": 1e-3, "images_per_s": 110.0},
]


def test_tensorboard_reads_what_was_logged(tmp_path):
    hook = live.tensorboard(tmp_path / "events")
    for row in ROWS:
        hook(row)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "events"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("train/loss")] == [(1, 4.0), (2, 2.0)]
    assert [(e.step, e.value) for e in events.Scalars("train/val_loss")] == [(2, 3.0)]
    assert "train/step" not in events.Tags()["scalars"]


def test_without_tensorboard_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(InputError, match="pip install tensorboard"):
        live.tensorboard(tmp_path)


def test_the_live_figure_is_drawn_once_and_then_updated(monkeypatch):
    figures = []

    class Shown:
        def update(self, figure):
            figures.append(figure)

    def display(figure, display_id):
        figures.append(figure)
        return Shown()

    monkeypatch.setattr(live, "display", display)
    hook = live.live_figure(every_s=0)
    for row in ROWS:
        hook(row)
    assert len(figures) == 2
    assert figures[1].axes[0].lines[0].get_xydata().tolist() == [[1, 4.0], [2, 2.0]]
    hook = live.live_figure(every_s=3_600)
    hook(ROWS[0])
    assert len(figures) == 2


def test_panels_are_equally_wide_before_the_first_validation():
    figure = plot_training(pd.DataFrame(ROWS[:1] * 3).assign(step=[1, 2, 3]))
    figure.draw_without_rendering()
    widths = [ax.get_window_extent().width for ax in figure.axes]
    assert len(widths) == 4 and min(widths) > 0.15 * figure.bbox.width
    assert max(widths) == pytest.approx(min(widths), rel=0.01)  # laid out as one row of equals
