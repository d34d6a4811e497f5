"""Sections of settings whose fields say what they mean, their default and limits; a value beyond them is refused.

Takes a value; returns nothing, or raises an `InputError` with the setting's name, the value and what to give instead.
"""

import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..errors import InputError


def setting(default: Any, meaning: str, limits: str | tuple[str, ...] = "") -> Any:
    """Return the field of a setting; its limits are an interval, as "[0, 1)", or the words to choose from."""
    return field(default=default, metadata={"meaning": meaning, "limits": limits})


class Section:
    """Settings that belong together; refuses values out of their limits by name."""

    section: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            for item in value if isinstance(value, tuple) else (value,):
                _check_limits(f"{self.section}.{f.name}", item, f.metadata.get("limits", ""))
        self._check_together()

    def _check_together(self) -> None:
        """Refuse values that do not fit each other."""


def section(name: str) -> Callable[[type], type]:
    """Make a class a frozen dataclass under a dotted name, and say in its docstring what each setting means."""

    def decorate(cls: type) -> type:
        cls.section, cls = name, dataclass(frozen=True)(cls)
        lines = [cls.__doc__, "", "Parameters", "----------"]
        for f in dataclasses.fields(cls):
            if meaning := f.metadata.get("meaning"):
                limits = f.metadata["limits"]
                limits = "one of " + ", ".join(map(repr, limits)) if isinstance(limits, tuple) else limits
                kind = f"{inspect.formatannotation(f.type)}, default {f.default!r}" + f", {limits}" * bool(limits)
                lines += [f"{f.name} : {kind}", f"    {meaning}"]
        cls.__doc__ = "\n".join(lines)
        return cls

    return decorate


def _check_limits(key: str, value: Any, limits: str | tuple[str, ...]) -> None:
    """Raise `InputError` for a value outside an interval, or not among the words to choose from."""
    if isinstance(limits, tuple):
        if value not in limits:
            *words, last = [word for word in limits if word]
            choice = (f"{', '.join(words)} or {last}" if words else last) + ", or leave it out" * ("" in limits)
            raise InputError(f"unknown {key} {value!r}; choose {choice}")
        return
    if not limits:
        return
    low, high = map(float, limits[1:-1].split(","))
    below = value <= high if limits[-1] == "]" else value < high
    if not ((value >= low if limits[0] == "[" else value > low) and below):
        shown = value if isinstance(value, int) else f"{value:g}"
        raise InputError(f"{key} is {shown}; give a number {_in_words(limits)}")


def _in_words(limits: str) -> str:
    """Say an interval in words.

    Examples
    --------
    >>> [_in_words(limits) for limits in ("[1, inf)", "[0, 1)", "[0, 1]", "(0, 1]", "(0, inf)")]
    ['from 1 up', 'from 0 up, below 1', 'from 0 to 1', 'above 0, at most 1', 'above 0']
    """
    low, high = limits[1:-1].replace("_", ",").split(", ")
    if limits[0] + limits[-1] == "[]":
        return f"from {low} to {high}"
    start = f"from {low} up" if limits[0] == "[" else f"above {low}"
    return start + ("" if high == "inf" else f", at most {high}" if limits[-1] == "]" else f", below {high}")
