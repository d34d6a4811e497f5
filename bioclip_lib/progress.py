"""A progress bar that is shown only where work takes longer than some seconds."""

from collections.abc import Iterable

from tqdm import tqdm

SHOWN_AFTER_S = 10


def progress(what: str, unit: str, n: int, items: Iterable | None = None) -> tqdm:
    """Return a bar of n units: over items, or to be moved by ``update``."""
    return tqdm(items, total=n, desc=what, unit=f" {unit}", delay=SHOWN_AFTER_S, mininterval=1)
