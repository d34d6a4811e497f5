"""The look of figures: one style sheet, one colour a meaning, a journal's widths. Nothing here knows a score."""

import contextlib
import functools
import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path

import matplotlib.style
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from ..errors import InputError
from .words import MODELS, START

STYLE = Path(__file__).parent / "bioclip.mplstyle"
COLUMN_IN, PAGE_IN = 85 / 25.4, 180 / 25.4  # a journal's column and page
SMALLEST_PT = 6  # of any type
GREY, OTHERS = "#9a9a9a", "#d4d4d4"  # bars and nulls; what has no colour of its own
_KINGDOMS = ("Animalia", "Plantae", "Fungi", "Chromista", "Protozoa", "Bacteria", "Archaea", "Viruses")
_INVENTED = {"Fictanimalia": 0, "Fictoplantae": 1, "Fictofungi": 2, "Fictochromista": 3}  # look like their models
_N_MODELS = 10  # colours before those of taxa
_SMOKE = "smoke numbers: not a result"
# names are text, dollar signs too; fonts are embedded; the same figure is the same file
_FIXED = {"text.parse_math": False, "text.usetex": False, "pdf.fonttype": 42, "svg.hashsalt": "bioclip"}
LAID_OUT = {"figure.constrained_layout.use": False}  # else a figure that is saved gets a layout of its own again
_LOOK: ContextVar[tuple] = ContextVar("look", default=(STYLE, _FIXED))


@contextlib.contextmanager
def with_style(style: str | Path = "", width_mm: float | None = None) -> Iterator[None]:
    """Draw with a style file of matplotlib over the project's own, no wider than `width_mm`."""
    if style and not Path(style).is_file():
        raise InputError(f"{style} is no style file; pass STYLE=path/to/my.mplstyle, or leave it out")
    if width_mm is not None and not 50 <= width_mm <= 400:
        raise InputError(f"a figure {width_mm:g} mm wide cannot be read; pass WIDTH=85, WIDTH=180, or 50 to 400")
    width = {} if width_mm is None else {"figure.figsize": (width_mm / 25.4, 4)}
    token = _LOOK.set((STYLE, *([Path(style)] if style else []), width, _FIXED))
    try:
        yield
    finally:
        _LOOK.reset(token)


def in_look(*more: dict) -> contextlib.AbstractContextManager:
    """Return a context in which matplotlib's settings are those of the look, and some more."""
    return matplotlib.style.context([*_LOOK.get(), *more])


class NotebookFigure(Figure):
    """A figure outside pyplot: no window, no global state; a notebook shows it once, where a cell ends with it."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        with in_look(LAID_OUT):
            self.savefig(buffer, format="png", dpi=1.3 * self.dpi)
        return buffer.getvalue()


def styled(function: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw under the look; scores of the profile smoke are marked as no result."""

    @functools.wraps(function)
    def draw(*args, **kwargs) -> Figure:
        with in_look():
            fig = function(*args, **kwargs)
            tables = [arg for arg in args if isinstance(arg, pd.DataFrame) and "profile" in arg]
            if any((table["profile"] == "smoke").any() for table in tables):
                mark_smoke(fig)
            fig.draw_without_rendering()  # some of the style is looked up only now
        return fig

    return draw


def keep_layout(fig: Figure) -> None:
    """Lay a figure out no more: what is placed stays, and each format is drawn once instead of twice."""
    with in_look(LAID_OUT):
        fig.set_layout_engine(None)


def page_in() -> float:
    """Return the widest that a figure may be, in inches."""
    return matplotlib.rcParams["figure.figsize"][0]


def new_figure(width_in: float, height_in: float) -> Figure:
    """Start a figure, no wider than the page."""
    fig = NotebookFigure(figsize=(min(width_in, page_in()), height_in))
    FigureCanvasAgg(fig)
    return fig


def panels(n: int, height_in: float, panel_in: float = 1.6, **options) -> tuple[Figure, list[Axes]]:
    """Start a figure of n panels (0 gives one) no narrower than `panel_in`: one to a column, more to a page."""
    n = max(1, n)
    n_columns = max(1, min(n, int(page_in() / panel_in)))
    n_rows = -(-n // n_columns)
    fig = new_figure(COLUMN_IN if n_columns == 1 else page_in(), height_in * n_rows)
    axs = list(fig.subplots(n_rows, n_columns, squeeze=False, **options).flat)
    for ax in axs[n:]:
        ax.remove()
    return fig, axs[:n]


def say_empty(message: str) -> Figure:
    """Say in a figure why it shows nothing."""
    fig, (ax,) = panels(1, 1.2)
    ax.axis("off")
    ax.text(0.5, 0.5, message, ha="center", va="center", transform=ax.transAxes, wrap=True)
    return fig


def legend_above(fig: Figure, handles: dict[str, object]) -> None:
    """Put one legend above the panels, in as many columns as fit, and give the figure its height."""
    labels = [shorten(label, 44) for label in handles]
    n_columns = max(1, int(72 * fig.get_figwidth() / (3.6 * max(map(len, labels), default=1) + 24)))
    fig.set_figheight(fig.get_figheight() + 0.06 + 0.15 * -(-len(labels) // n_columns))
    fig.legend(list(handles.values()), labels, loc="outside upper center", ncols=n_columns)


def mark_smoke(fig: Figure) -> None:
    """Note below a figure, once, that its numbers are no result; the layout leaves a strip for it."""
    if any(text.get_gid() == "smoke" for text in fig.texts):
        return
    strip = 0.14 / fig.get_figheight()
    engine = fig.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        engine.set(rect=(0, strip, 1, 1 - strip))
    fig.text(0.995, 0.1 * strip, _SMOKE, ha="right", va="bottom", fontsize=SMALLEST_PT, color="#b00000", gid="smoke")


def clean(name: str) -> str:
    """Keep a name on one line and free of what cannot be printed."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(name)).split())


def shorten(name: str, n_characters: int) -> str:
    """Clean a name and cut it to a number of characters, an ellipsis at its end; a model's address keeps its end."""
    name = clean(name)
    if len(name) <= n_characters:
        return name
    scheme, colon, path = name.partition(":")
    n_tail = n_characters - len(scheme) - 2
    if colon and "/" in path and n_tail > 0:
        return f"{scheme}:…{path[-n_tail:]}"
    return name[: max(1, n_characters - 1)].rstrip() + "…"


def in_order(names: Iterable[str], first: Iterable[str]) -> list[str]:
    """Return the names that occur: those of `first` in its order, then all others sorted."""
    found, first = set(names), list(dict.fromkeys(first))
    return [name for name in first if name in found] + sorted(found - set(first))


def models_in_order(names: Iterable[str]) -> list[str]:
    """Return models, by code or word, as all figures show them."""
    return in_order(names, [*MODELS, *MODELS.values(), START])


def model_colours(names: Iterable[str]) -> dict[str, str]:
    """Give each model, by code or word, its one colour."""
    places = {**{word: i for i, word in enumerate(MODELS)}, **{word: i for i, word in enumerate(MODELS.values())}}
    places[START] = places["untrained"]
    return _colours(names, places, _cycle()[:_N_MODELS])


def taxon_colours(names: Iterable[str]) -> dict[str, str]:
    """Give each kingdom its one colour, and other taxa, in this order, those that are left."""
    names = list(names)
    places = {**{name: i for i, name in enumerate(_KINGDOMS)}, **_INVENTED}
    colours = _cycle()[_N_MODELS:]
    if set(names) & set(places):
        return _colours(names, places, colours)
    return {name: colours[i % len(colours)] for i, name in enumerate(names)}


def tint(colour: str, share: float) -> tuple[float, float, float]:
    """Mix a colour with a share of white, or, below 0, of black."""
    return tuple(share + (1 - share) * x if share >= 0 else (1 + share) * x for x in matplotlib.colors.to_rgb(colour))


def _cycle() -> list[str]:
    """Return the colours of the look; where its style file gives fewer, the project's own follow."""
    given = matplotlib.rcParams["axes.prop_cycle"].by_key().get("color", [])
    return [*given, *_own_cycle()[len(given) :]]


@functools.cache
def _own_cycle() -> list[str]:
    return matplotlib.rc_params_from_file(STYLE, use_default_template=False)["axes.prop_cycle"].by_key()["color"]


def _colours(names: Iterable[str], places: dict[str, int], colours: Sequence[str]) -> dict[str, str]:
    """Give each name the colour of its place, or one by its hash, or the next that is free and nobody's."""
    chosen = {name: colours[places[name]] for name in set(names) & set(places)}
    spare = colours[max(places.values()) + 1 :] or colours
    for name in sorted(set(names) - set(places)):
        start = int(hashlib.sha256(name.encode()).hexdigest(), 16) % len(spare)
        around = [*spare[start:], *spare[:start], *colours]
        chosen[name] = next((colour for colour in around if colour not in chosen.values()), around[0])
    return chosen
