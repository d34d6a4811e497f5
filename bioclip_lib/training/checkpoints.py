"""Checkpoints of training: written whole, loaded without unpickling code, checked against the settings of the run.

Takes and returns plain dicts of tensors, numbers, strings and lists. Refuses a checkpoint of other settings and, unless
it is told what to do with one, of other code. One of other data is deleted, a damaged one passed over.
"""

import functools
import re
import warnings
import zipfile
from pathlib import Path

import torch

from ..config import flat
from ..errors import InputError
from ..run import atomic, differences, is_whole
from ..run.stages import code_without_comments, versions

_NAME = re.compile(r"step-(\d{6,})\.pt")
_VERSIONS = ("torch", "open_clip_torch", "timm", "numpy")
_DATA = {"training_data", "validation_data"}
_FOLLOWS = {"train.steps", "initial_weights"}  # from the data, as of epochs and of a projection that starts from them


def list_checkpoints(folder: Path) -> list[Path]:
    """List the checkpoints of a folder, oldest step first."""
    found = [(int(match[1]), path) for path in folder.glob("step-*.pt") if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


@functools.cache
def made_by() -> dict[str, str]:
    """Return what makes the weights beside settings and data: the code of model and training, and versions."""
    return {"code": code_without_comments(("model", "training")), **versions(_VERSIONS)}


def write_checkpoint(folder: Path, step: int, settings: dict, state: dict, keep: int) -> Path:
    """Write ``step-%06d.pt`` after a number of steps, with what decides the result; keep the newest `keep`."""
    path = folder / f"step-{step:06d}.pt"
    content = {"step": step, "settings": settings, "made_by": made_by(), "state": state}
    with atomic(path) as tmp, open(tmp, "wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # torch's writer hides that the disk is full
            raise error.__context__ if isinstance(error.__context__, OSError) else error from None
    for old in list_checkpoints(folder)[: -max(1, keep)]:
        old.unlink()
    return path


def read_checkpoint(folder: Path, settings: dict, other_code: str = "refuse") -> tuple[int, dict] | None:
    """Read the newest checkpoint that is whole: the steps done, and the state on the CPU; None where there is none.

    One that other code or versions made is refused, deleted with all others ("restart"), or returned ("resume"); one
    that was trained on other data is deleted with all others, but for other code that is to be refused.
    """
    for path in reversed(list_checkpoints(folder)):
        content = _content(path)
        if content is None:
            warnings.warn(f"{path} is damaged; going on from the checkpoint before it", stacklevel=2)
            continue
        code = "; ".join(differences(content.get("made_by", {}), made_by()))
        is_other = _has_other_data(path, content["settings"], settings, bool(code))
        if code and other_code == "refuse":
            raise InputError(
                f"{path} was made by other code ({code}); set train.other_code=restart to train anew, or "
                "train.other_code=resume to go on from it"
            )
        if is_other:
            what = "the photographs, names or captions that the model learns from have changed"
            warnings.warn(f"training starts anew, and {path.name} and older go: {what}", stacklevel=2)
        elif code:
            warnings.warn(f"{path} was made by other code ({code}): {other_code}", stacklevel=2)
        if is_other or (code and other_code == "restart"):
            delete_checkpoints(folder)
            return None
        return content["step"], content["state"]
    return None


def _has_other_data(path: Path, found: dict, wanted: dict, is_other_code: bool) -> bool:
    """Tell whether a checkpoint was trained on other data; refuse one of other settings."""
    old, new = flat(found), flat(wanted)
    changed = {key for key in {*old, *new} if old.get(key) != new.get(key)}
    excused = _DATA | _FOLLOWS if changed & _DATA else {"initial_weights"} if is_other_code else set()
    if changed - excused:
        lines = "; ".join(differences(found, wanted)[:4])
        raise InputError(
            f"{path} belongs to another training ({lines}); delete {path.parent} to train anew, or pass another RUN="
        )
    return bool(changed & _DATA)


def _content(path: Path) -> dict | None:
    """Return what a checkpoint holds; None where it is damaged: its parts have check sums, which torch leaves out."""
    try:
        with zipfile.ZipFile(path) as parts:
            if parts.testzip() is not None or not is_whole(path):
                return None
        content = torch.load(path, map_location="cpu", weights_only=True)
        return content if isinstance(content["step"], int) and {"settings", "state"} <= set(content) else None
    except Exception:  # whatever a damaged file makes of its readers
        return None


def delete_checkpoints(folder: Path) -> None:
    """Delete the checkpoints of a folder: what starts over must not be resumed from them."""
    for path in list_checkpoints(folder):
        path.unlink(missing_ok=True)
