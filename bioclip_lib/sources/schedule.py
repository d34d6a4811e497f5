"""Which of many tasks is next, so that each host is asked politely: few tasks at once, and its waits kept.

Takes pairs of host and item; gives them out to threads. A host that does not answer at all, several times on end, is
given up.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_N_DEAF = 8


@dataclass
class Task:
    """An item of a host, and how often it was tried before."""

    host: str
    item: Any
    n_tries: int = 0


class Schedule:
    """Tasks of several hosts, taken by threads."""

    def __init__(self, items: Iterable[tuple[str, Any]], per_host: int) -> None:
        self._waiting: dict[str, deque[Task]] = {}
        for host, item in items:
            self._waiting.setdefault(host, deque()).append(Task(host, item))
        self.n_hosts, self._per_host = len(self._waiting), per_host
        self._active: Counter[str] = Counter()
        self._deaf: Counter[str] = Counter()
        self._not_before: dict[str, float] = {}
        self._changed, self._stopped = threading.Condition(), False

    def take(self) -> Task | None:
        """Wait for a task that may begin; None when all are done."""
        with self._changed:
            while self._waiting and not self._stopped:
                now = time.monotonic()
                free = [host for host in self._waiting if self._active[host] < self._per_host]
                host = next((host for host in free if self._not_before.get(host, 0) <= now), None)
                if host is not None:
                    return self._begun(host)
                until = min((self._not_before[host] for host in free), default=None)
                self._changed.wait(None if until is None else max(until - now, 0.001))
            return None

    def _begun(self, host: str) -> Task:
        """Take the next task of a host, which goes to the end of the line."""
        tasks = self._waiting.pop(host)
        task = tasks.popleft()
        if tasks:
            self._waiting[host] = tasks
        self._active[host] += 1
        self._changed.notify_all()
        return task

    def again(self, task: Task, wait_s: float) -> None:
        """Put a task back, and leave its host alone for so long, twice as long each time."""
        with self._changed:
            self._active[task.host] -= 1
            until = time.monotonic() + wait_s * 2**task.n_tries
            self._not_before[task.host] = max(until, self._not_before.get(task.host, 0))
            self._waiting.setdefault(task.host, deque()).append(Task(task.host, task.item, task.n_tries + 1))
            self._changed.notify_all()

    def done(self, task: Task, is_deaf: bool) -> list[Any]:
        """End a task; return the items that are given up with a host that does not answer."""
        with self._changed:
            self._active[task.host] -= 1
            self._deaf[task.host] = self._deaf[task.host] + 1 if is_deaf else 0
            left: list[Any] = []
            if self._deaf[task.host] >= _N_DEAF:
                left = [other.item for other in self._waiting.pop(task.host, ())]
            self._changed.notify_all()
            return left

    def stop(self) -> None:
        """Give out nothing more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
