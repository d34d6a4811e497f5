"""The one exception that stands for a user's mistake, and how a command says it and what is less than a mistake.

A command prints its message without a traceback and exits with status 2; a notebook shows it in one line. A warning of
this library is a line too.
"""

import contextlib
import functools
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

_LIBRARY = Path(__file__).parent


class InputError(ValueError):
    """Something the user gave cannot be used; the message says what, where and the next action."""

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows in place of a traceback: where in the library it was found out helps nobody."""
        return [f"{type(self).__name__}: {self}"]


def as_command(main: Callable[..., int]) -> Callable[..., int]:
    """Let a command line end with one line and status 2 on a user's mistake, 130 where it was asked to stop.

    Where nobody reads its output any more (``| head``) it ends in silence, with 141.
    """

    @functools.wraps(main)
    def command(argv: list[str] | None = None) -> int:
        try:
            with _notes():
                status = main(argv)
            sys.stdout.flush()
            return status
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python flushes once more as it ends
            return 141
        except InputError as error:
            sys.stderr.write(f"error: {error}\n")
            return 2
        except KeyboardInterrupt as asked:
            sys.stderr.write(f"{asked or 'stopped'}; the same command goes on from here\n")
            return 130

    return command


@contextlib.contextmanager
def _notes() -> Iterator[None]:
    """Show a warning of this library in one line: where in it the warning was given helps nobody."""
    before = warnings.formatwarning

    def in_one_line(message: Warning, category: type, filename: str, *rest: object) -> str:
        own = category is UserWarning and _LIBRARY in Path(filename).parents
        return f"note: {message}\n" if own else before(message, category, filename, *rest)

    warnings.formatwarning = in_one_line
    try:
        yield
    finally:
        warnings.formatwarning = before
