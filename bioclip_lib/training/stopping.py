"""A polite end of long work: SIGTERM (a scheduler's time limit, `kill`) is noted, and obeyed at the next safe point."""

import signal
import threading
from types import FrameType


class StopRequest:
    """Within the context SIGTERM does not end the process but sets `made`.

    Notes
    -----
    Python takes signals in the main thread alone; in another one nothing is noted, and SIGTERM ends the process.
    """

    def __init__(self) -> None:
        self.made = False

    def __enter__(self) -> "StopRequest":
        self._in_main = threading.current_thread() is threading.main_thread()
        if self._in_main:
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self._in_main:
            signal.signal(signal.SIGTERM, self._before or signal.SIG_DFL)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.made = True
