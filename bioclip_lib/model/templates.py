"""Prompt templates: what a class string is put into before a text tower reads it.

Takes a name or a file; returns templates with one ``{}`` each. Refuses unknown names and templates without a place for
the class.
"""

from pathlib import Path

from . import _torchvision_ops  # noqa: F401 (before open_clip and timm)

# isort: split
from open_clip import OPENAI_IMAGENET_TEMPLATES

from ..errors import InputError
from ..shards.captions import TEMPLATES_ONE

TEMPLATES = {
    "none": ("{}",),
    "one": TEMPLATES_ONE,
    "original": (*TEMPLATES_ONE, *(template("{}") for template in OPENAI_IMAGENET_TEMPLATES)),
}
"""By name. "original" are the 81 of BioCLIP: its caption's own template, then OpenAI's 80 for ImageNet."""


def read_templates(name: str) -> tuple[str, ...]:
    """Return the templates of a name, or those of a file.

    Parameters
    ----------
    name : str
        A key of `TEMPLATES`, or the path of a text file with a template a line.

    Returns
    -------
    tuple of str

    Raises
    ------
    InputError
        If it is neither, the file is empty or no text, or a line has not exactly one ``{}``.

    Examples
    --------
    >>> read_templates("one"), len(read_templates("original"))
    (('a photo of {}.',), 81)
    """
    if name in TEMPLATES:
        return TEMPLATES[name]
    path = Path(name).expanduser()
    if not path.is_file():
        raise InputError(f"no templates {name!r}: choose {', '.join(TEMPLATES)}, or a text file with a template a line")
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors on Windows put a mark before the first letter
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text; give a text file with a template a line") from None
    lines = tuple(line.strip() for line in text.splitlines() if line.strip())
    wrong = [line for line in lines if line.count("{}") != 1 or line.count("{") != 1 or line.count("}") != 1]
    if wrong or not lines:
        raise InputError(
            f"{path}: {wrong[0] if wrong else 'no template'!r}; give a template a line, with one {{}} each"
        )
    return lines
