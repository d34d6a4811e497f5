"""Who does the work: threads of this process, or the workers of a Ray cluster; and the bar that shows how far it is.

``inspect_images(raw, mapper=map_ray)`` and ``write_shards(..., mapper=map_ray)`` do as they do in threads. Ray is an
optional extra (``pip install ray``); every machine needs this library and sees the same paths.
"""

import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from tqdm import tqdm
from tqdm.auto import tqdm as tqdm_auto

from ..errors import InputError

CHUNK = 64  # items a task; one image alone takes less time than sending it
AHEAD = 4  # tasks a core under way
SHOWN_AFTER_S = 2
BARS = "BIOCLIP_TEXT_BARS"  # set where bars are to be lines of text

tqdm.set_lock(threading.RLock())  # bars are threads'; the semaphore that tqdm takes for processes outlives a killed one


def map_threads(function: Callable, items: Iterable, workers: int = 2, ahead: int = 256) -> Iterator:
    """Apply `function` in threads, in order, at most `ahead` results waiting.

    Pillow and hashlib release the interpreter lock, so threads decode in parallel.

    Examples
    --------
    >>> list(map_threads(abs, [-1, -2, 3]))
    [1, 2, 3]
    """
    iterator = iter(items)
    with ThreadPoolExecutor(workers) as pool:
        while chunk := list(itertools.islice(iterator, ahead)):
            yield from pool.map(function, chunk)


def map_ray(function: Callable, items: Iterable) -> Iterator:
    """Apply a function, of a module that every worker can import, on the workers of a Ray cluster, in order.

    Items are taken as workers become free; an exception of the function is raised as it is. ``ray.init(address=...)``
    chooses the cluster; without it Ray starts one on this machine.
    """
    try:
        import ray
    except ImportError:
        raise InputError("Ray is not installed; pip install ray, or leave mapper out to work in threads") from None
    if not ray.is_initialized():
        ray.init(log_to_driver=False, include_dashboard=False)
    task, under_way = ray.remote(_apply), deque()
    n_ahead = max(2, AHEAD * int(ray.cluster_resources().get("CPU", 1)))
    iterator = iter(items)
    chunks = iter(lambda: list(itertools.islice(iterator, CHUNK)), [])
    try:
        for chunk in chunks:
            under_way.append(task.remote(function, chunk))
            if len(under_way) == n_ahead:
                yield from ray.get(under_way.popleft())
        while under_way:
            yield from ray.get(under_way.popleft())
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    finally:
        for reference in under_way:
            ray.cancel(reference)


def _apply(function: Callable, items: list) -> list:
    """Apply a function to the items of one task."""
    return [function(item) for item in items]


def progress(what: str, unit: str, n: int, items: Iterable | None = None, done: int = 0, shown: bool = True) -> tqdm:
    """Return a bar of n units, `done` of them before: over items, or to be moved by ``update``.

    In JupyterLab it is a widget; under `reproduce`, which shows it in its terminal, and in a script, a line of text.
    """
    bar = tqdm if os.environ.get(BARS) else tqdm_auto
    options = {"delay": SHOWN_AFTER_S, "mininterval": 1, "ncols": 100 if os.environ.get(BARS) else None}
    return bar(items, total=n, desc=what, unit=f" {unit}", initial=done, disable=not shown, **options)
