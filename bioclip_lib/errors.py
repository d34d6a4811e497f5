"""The one exception that stands for a user's mistake.

A command prints its message without a traceback and exits with status 2; a notebook shows it in one line.
"""

import functools
import sys
from collections.abc import Callable


class InputError(ValueError):
    """Something the user gave cannot be used; the message says what, where and the next action."""

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows in place of a traceback: where in the library it was found out helps nobody."""
        return [f"{type(self).__name__}: {self}"]


def as_command(main: Callable[..., int]) -> Callable[..., int]:
    """Let a command line end with one line and status 2 on a user's mistake, 130 where it was asked to stop."""

    @functools.wraps(main)
    def command(argv: list[str] | None = None) -> int:
        try:
            return main(argv)
        except InputError as error:
            sys.stderr.write(f"error: {error}\n")
            return 2
        except KeyboardInterrupt as asked:
            sys.stderr.write(f"{asked or 'stopped'}; the same command goes on from here\n")
            return 130

    return command
