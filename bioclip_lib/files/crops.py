"""A box of a photograph as an image of its own: ``<location>#xywh=percent:x,y,w,h``, as the web writes it.

Takes boxes in shares of a photograph (percent) or in its pixels, from its upper left; returns locations, and back. The
crop is cut where its location is read: no photograph is copied. (W3C, Media Fragments URI 1.0, 2012.)
"""

import math
import re

_BOX = re.compile(r"#xywh=(percent|pixel):(-?[\d.]+),(-?[\d.]+),(-?[\d.]+),(-?[\d.]+)$")
_SLACK_PX = 1e-3  # of shares that were rounded
_INSIDE = 0.5  # of a box; less of it on the photograph is a mistake
NO_AREA, OUTSIDE, NO_BOX = "box without an area", "box outside the photograph", "box that is not four numbers"


def box_of(values: object, width: float = 0, height: float = 0) -> str:
    """Write x, y, width and height as a box: in pixels, or percent where the photograph's size is known; '' if none."""
    try:
        x, y, w, h = (float(value) for value in values)
    except (TypeError, ValueError):
        return ""
    if not all(map(math.isfinite, (x, y, w, h))):
        return ""
    if width > 0 and height > 0:
        x, y, w, h = (100 * value / side for value, side in zip((x, y, w, h), (width, height) * 2, strict=True))
    return _written("percent" if width > 0 and height > 0 else "pixel", x, y, w, h)


def box_problem(box: str) -> str:
    """Return why a box is none of its photograph, '' where it is one as far as can be told without it."""
    unit, (x, y, w, h) = _parts(box)
    if w <= 0 or h <= 0:
        return NO_AREA
    side = 100.0 if unit == "percent" else math.inf
    inside = (min(x + w, side) - max(x, 0)) * (min(y + h, side) - max(y, 0))
    return "" if min(x + w, y + h) > 0 and max(x, y) < side and inside >= _INSIDE * w * h else OUTSIDE


def with_margin(box: str, margin: float) -> str:
    """Make a box larger on each side by a share of its own width and height."""
    unit, (x, y, w, h) = _parts(box)
    return _written(unit, x - margin * w, y - margin * h, w * (1 + 2 * margin), h * (1 + 2 * margin))


def _written(unit: str, *values: float) -> str:
    return f"{unit}:" + ",".join(f"{value:.6f}".rstrip("0").rstrip(".") for value in values)


def _parts(box: str) -> tuple[str, tuple[float, ...]]:
    unit, _, numbers = box.partition(":")
    return unit, tuple(map(float, numbers.split(",")))


def split_crop(location: str) -> tuple[str, str]:
    """Return the location of the photograph, and the box, '' for a whole one."""
    match = _BOX.search(location) if location.rpartition("#")[2].startswith("xywh=") else None
    return (location[: match.start()], match[0].removeprefix("#xywh=")) if match else (location, "")


def crop_location(location: str, box: str) -> str:
    """Return the location of a box."""
    return f"{location}#xywh={box}"


def pixels_of(box: str, width: int, height: int) -> tuple[int, int, int, int] | None:
    """Return left, upper, right and lower pixel of a box, as far as it lies on the photograph; None if it does not."""
    unit, (x, y, w, h) = _parts(box)
    if unit == "percent":
        x, y, w, h = (value * side / 100 for value, side in zip((x, y, w, h), (width, height) * 2, strict=True))
    if min(x + w, y + h) <= 0 or x >= width or y >= height:
        return None
    left, upper = (max(0, min(math.floor(at + _SLACK_PX), side - 1)) for at, side in ((x, width), (y, height)))
    right, lower = (math.ceil(at - _SLACK_PX) for at in (x + w, y + h))
    return left, upper, min(max(right, left + 1), width), min(max(lower, upper + 1), height)
