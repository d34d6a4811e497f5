"""The look of figures: one style sheet, one colour a model, a kingdom, a part; and how a figure is saved.

Takes drawing functions and names; returns figures and colours. `save_figure` writes PDF, PNG and the JSON that says how
the figure was made. Nothing here knows a score, and no global setting of matplotlib is touched.
"""

import datetime
import functools
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import matplotlib.style
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..errors import InputError
from ..run import Run, atomic, file_sha256, git_commit, write_json

STYLE = Path(__file__).parent / "bioclip.mplstyle"
COLUMN_IN, PAGE_IN = 85 / 25.4, 180 / 25.4  # a journal's column and page
# Okabe & Ito's colours, told apart under the common forms of colour blindness, and three darker ones.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#7A5195", "#8C6D31", "#444444", "#F0E442")
MODEL_COLOURS = {"trained": "#0072B2", "frozen": "#E69F00", "pixels": "#CC79A7", "random_init": "#888888"}
KINGDOM_COLOURS = {
    **{"Animalia": "#D55E00", "Plantae": "#009E73", "Fungi": "#CC79A7", "Chromista": "#0072B2", "Protozoa": "#E69F00"},
    **{"Bacteria": "#56B4E9", "Archaea": "#7A5195", "Viruses": "#444444"},
    # invented kingdoms look like their models
    **{"Fictanimalia": "#D55E00", "Fictoplantae": "#009E73", "Fictofungi": "#CC79A7", "Fictochromista": "#0072B2"},
}
PART_COLOURS = {"seen": "#0072B2", "unseen": "#D55E00"}
OTHERS = "#d4d4d4"
_SMOKE = "smoke numbers: not a result"


class NotebookFigure(Figure):
    """A figure outside pyplot: no window, no global state; a notebook shows it once, where a cell ends with it."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        with matplotlib.style.context(STYLE):
            self.savefig(buffer, format="png", dpi=self.dpi)
        return buffer.getvalue()


def styled(function: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw under the style sheet; scores of the profile smoke are marked as no result."""

    @functools.wraps(function)
    def draw(*args, **kwargs) -> Figure:
        with matplotlib.style.context(STYLE):
            fig = function(*args, **kwargs)
            tables = [arg for arg in args if isinstance(arg, pd.DataFrame) and "profile" in arg]
            if any((table["profile"] == "smoke").any() for table in tables):
                mark_smoke(fig)
            fig.canvas.draw()  # some of the style is looked up only now
        return fig

    return draw


def panels(n: int, height_in: float, n_columns: int = 4, **options) -> tuple[Figure, list[Axes]]:
    """Start a figure of n panels (0 gives one), one or two to a column's width each, more to a page's; return both."""
    n = max(1, n)
    n_columns = min(n, n_columns)
    n_rows = -(-n // n_columns)
    width_in = PAGE_IN if n_columns > 2 else COLUMN_IN * 1.25 * n_columns**0.5
    fig = NotebookFigure(figsize=(min(width_in, PAGE_IN), height_in * n_rows))
    FigureCanvasAgg(fig)
    axs = list(fig.subplots(n_rows, n_columns, squeeze=False, **options).flat)
    for ax in axs[n:]:
        ax.remove()
    return fig, axs[:n]


def one_panel(ax: Axes | None, width_in: float, height_in: float) -> tuple[Figure, Axes]:
    """Return the given axes and their figure, or start a figure of this size."""
    if ax is not None:
        return ax.figure, ax
    fig = NotebookFigure(figsize=(width_in, height_in))
    FigureCanvasAgg(fig)
    return fig, fig.subplots()


def say_empty(fig: Figure, message: str) -> Figure:
    """Say in a figure why it shows nothing."""
    for ax in fig.axes:
        ax.axis("off")
    fig.axes[0].text(0.5, 0.5, message, ha="center", va="center", transform=fig.axes[0].transAxes, wrap=True)
    return fig


def mark_smoke(fig: Figure) -> None:
    """Note below a figure, once, that its numbers are no result; the layout leaves a strip for it."""
    if any(text.get_gid() == "smoke" for text in fig.texts):
        return
    strip = 0.14 / fig.get_figheight()
    engine = fig.get_layout_engine()
    if engine is not None:
        engine.set(rect=(0, strip, 1, 1 - strip))
    fig.text(0.995, 0.1 * strip, _SMOKE, ha="right", va="bottom", fontsize=5.5, color="#b00000", gid="smoke")


def shorten(name: str, n_characters: int) -> str:
    """Cut a name to a number of characters, an ellipsis at its end; the address of a model keeps its end."""
    if len(name) <= n_characters:
        return name
    scheme, colon, path = name.partition(":")
    n_tail = n_characters - len(scheme) - 2
    if colon and "/" in path and n_tail > 0:
        return f"{scheme}:…{path[-n_tail:]}"
    return name[: max(1, n_characters - 1)].rstrip() + "…"


def in_order(names: Iterable[str], first: Iterable[str]) -> list[str]:
    """Return the names that occur: those of `first` in its order, then all others sorted."""
    found, first = set(names), list(first)
    return [name for name in first if name in found] + sorted(found - set(first))


def colours_of(names: Sequence[str], fixed: Mapping[str, str]) -> dict[str, str]:
    """Give each name its own colour: its fixed one, or one by its hash, or the next that is free and nobody's."""
    chosen = {name: fixed[name] for name in set(names) & set(fixed)}
    for name in sorted(set(names) - set(fixed)):
        start = int(hashlib.sha256(name.encode()).hexdigest(), 16) % len(PALETTE)
        around = PALETTE[start:] + PALETTE[:start]
        free = [colour for colour in around if colour not in chosen.values()] or list(around)
        chosen[name] = next((colour for colour in free if colour not in fixed.values()), free[0])
    return chosen


def model_colour(name: str) -> str:
    """Return the one colour of a model."""
    return colours_of([name], MODEL_COLOURS)[name]


def task_label(task: str) -> str:
    """Put a task of metrics.csv in words."""
    kind, _, rest = task.partition("/")
    words = [part + " species" if part in PART_COLOURS else part for part in rest.split("/") if part]
    if kind == "few_shot" and words:
        return ", ".join([f"{words[0]} shot{'' if words[0] == '1' else 's'}", *words[1:]])
    return ", ".join([kind.replace("zero_shot", "zero-shot"), *words])


def save_figure(fig: Figure, name: str, run: Run, provenance: dict) -> list[Path]:
    """Write a figure as PDF and PNG, and how it was made as JSON.

    Parameters
    ----------
    fig : Figure
        Under the profile smoke it gets a note that its numbers are no result.
    name : str
        Letters, digits, ``_`` and ``-``.
    run : Run
    provenance : dict
        ``notebook``; ``inputs``, a list of paths whose SHA-256 is recorded; anything else that is JSON.

    Returns
    -------
    list of Path
        The PDF, the PNG and the JSON.

    Raises
    ------
    InputError
        If an input does not exist.
    ValueError
        If the name is none, or the provenance does not name a notebook.

    Notes
    -----
    The JSON is removed first and written last: where it lies, the figure beside it is the one it speaks of. It holds
    the run's resolved configuration as ``parameters``.
    """
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]*", name):
        raise ValueError(f"a figure's name has letters, digits, _ and - only, not {name!r}")
    if not provenance.get("notebook"):
        raise ValueError(f"the provenance of figure {name} names no notebook")
    parameters = json.loads(run.config_json.read_text(encoding="utf-8")) if run.config_json.is_file() else {}
    profile = parameters.get("profile", "")
    made_by = {
        **provenance,
        **{"figure": name, "run": run.name, "profile": profile, "parameters": parameters, "git_commit": git_commit()},
        "inputs": {_relative(path, run): _digest_of_input(path) for path in provenance.get("inputs", [])},
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    if profile == "smoke":
        mark_smoke(fig)
    pdf, png, made_json = (run.figures / f"{name}.{suffix}" for suffix in ("pdf", "png", "json"))
    made_json.unlink(missing_ok=True)
    with matplotlib.style.context(STYLE):
        for path, metadata in (
            (pdf, {"CreationDate": None}),
            (png, None),
        ):  # without a date the same figure is the same
            with atomic(path) as tmp:
                fig.savefig(tmp, format=path.suffix[1:], metadata=metadata)
    write_json(made_json, made_by)
    return [pdf, png, made_json]


def saver(run: Run, notebook: str) -> Callable[..., Figure]:
    """Return a function that saves the figures of a notebook.

    Parameters
    ----------
    run : Run
    notebook : str
        Its name, as ``04_zero_shot``.

    Returns
    -------
    callable
        ``save(fig, name, *inputs)`` writes a figure by `save_figure` and returns it, so that a cell that ends with it
        shows it. Inputs are files of the run, such as ``"tables/zero_shot.csv"``, from which the figure can be drawn
        again.
    """

    def save(fig: Figure, name: str, *inputs: str) -> Figure:
        save_figure(fig, name, run, {"notebook": notebook, "inputs": [run.root / path for path in inputs]})
        return fig

    return save


def _relative(path: str | Path, run: Run) -> str:
    """Name an input by its path within the run, or by its file name."""
    path = Path(path).resolve()
    return path.relative_to(run.root).as_posix() if path.is_relative_to(run.root) else path.name


def _digest_of_input(path: str | Path) -> str:
    """Return the SHA-256 of a file's content; InputError where there is none."""
    try:
        return file_sha256(path)
    except OSError as error:
        raise InputError(
            f"{path} is an input of the figure but cannot be read ({error.strerror}); write it first"
        ) from None
