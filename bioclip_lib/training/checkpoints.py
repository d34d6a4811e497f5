"""Checkpoints of training: written whole, loaded without unpickling code, checked against the settings of the run.

Takes and returns plain dicts of tensors, numbers, strings and lists. Refuses a checkpoint of other settings.
"""

import pickle
import re
import warnings
from pathlib import Path

import torch

from ..errors import InputError
from ..run import atomic, differences

_NAME = re.compile(r"step-(\d{6,})\.pt")


def list_checkpoints(folder: Path) -> list[Path]:
    """List the checkpoints of a folder, oldest step first."""
    found = [(int(match[1]), path) for path in folder.glob("step-*.pt") if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def write_checkpoint(folder: Path, step: int, settings: dict, state: dict, keep: int) -> Path:
    """Write ``step-%06d.pt`` after a number of steps, with what decides the result; keep the newest `keep`."""
    path = folder / f"step-{step:06d}.pt"
    with atomic(path) as tmp, open(tmp, "wb") as file:
        try:
            torch.save({"step": step, "settings": settings, "state": state}, file)
        except RuntimeError as error:  # torch's writer hides that the disk is full
            raise error.__context__ if isinstance(error.__context__, OSError) else error from None
    for old in list_checkpoints(folder)[: -max(1, keep)]:
        old.unlink()
    return path


def read_checkpoint(folder: Path, settings: dict) -> tuple[int, dict] | None:
    """Read the newest checkpoint that is whole: the steps done, and the state on the CPU; None where there is none."""
    for path in reversed(list_checkpoints(folder)):
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            step, found, state = content["step"], content["settings"], content["state"]
        except (OSError, RuntimeError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError):
            warnings.warn(f"{path} is damaged; going on from the checkpoint before it", stacklevel=2)
            continue
        if found != settings:
            lines = "; ".join(differences(found, settings)[:4])
            raise InputError(
                f"{path} belongs to another training ({lines}); start over with resume=False, or use another run"
            )
        return step, state
    return None


def delete_checkpoints(folder: Path) -> None:
    """Delete the checkpoints of a folder: what starts over must not be resumed from them."""
    for path in list_checkpoints(folder):
        path.unlink()
