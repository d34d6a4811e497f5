"""The one exception that stands for a user's mistake.

A command prints its message without a traceback and exits with status 2; a notebook shows it as usual.
"""


class InputError(ValueError):
    """Something the user gave cannot be used; the message says what, where and the next action."""
