"""The one exception that stands for a user's mistake.

A command prints its message without a traceback and exits with status 2; a notebook shows it in one line.
"""


class InputError(ValueError):
    """Something the user gave cannot be used; the message says what, where and the next action."""

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows in place of a traceback: where in the library it was found out helps nobody."""
        return [f"{type(self).__name__}: {self}"]
