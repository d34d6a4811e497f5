"""Towers compiled by `torch.compile` while they are trained, or as they are where that fails.

Takes a model; changes only how its towers are called: weights and their names stay.
"""

import contextlib
import warnings
from collections.abc import Iterator

import torch
from torch._dynamo.exc import TorchDynamoException

BACKEND = "inductor"


@contextlib.contextmanager
def compiled(model: torch.nn.Module, enabled: bool) -> Iterator[None]:
    """Compile the image and the text tower for the time of the context.

    Warns
    -----
    UserWarning
        Once, if a tower cannot be compiled (no compiler, an operation it does not know); training goes on without.

    Notes
    -----
    Compiled products are rounded differently, and which kernels are chosen may depend on the first shapes seen: a run
    that is resumed with it agrees with an uninterrupted one to rounding, not always to the bit.
    """
    if not enabled:
        yield
        return
    text = model.text if hasattr(model, "text") else model.transformer
    towers = [model.visual, text]

    def undo() -> None:
        for tower in towers:
            tower._compiled_call_impl = None

    for tower in towers:
        tower.compile(backend=BACKEND)
        tower._compiled_call_impl = _or_eager(tower, tower._compiled_call_impl, undo)
    try:
        yield
    finally:
        undo()


def _or_eager(tower: torch.nn.Module, call, undo):
    """Return a call of a compiled tower that, where compiling fails, undoes it for all towers and goes on."""

    def guarded(*args, **kwargs):
        try:
            return call(*args, **kwargs)
        except TorchDynamoException as error:
            undo()
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
            warnings.warn(f"torch.compile failed ({reason}); training goes on without it", stacklevel=2)
            return tower(*args, **kwargs)

    return guarded
