"""Which pixels speak for a name: images, and maps of saliency over them."""

import io

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from .style import new_figure, page_in, say_empty, shorten, styled

MAPS = {"occlusion": "covered", "gradient": "gradient"}
_SHOWN = 6
_CHARACTER_IN = 0.06


@styled
def plot_saliency(table: pd.DataFrame) -> Figure:
    """Show images of `identify.saliency_examples` above both maps, each over its image, dark where nothing speaks."""
    table = table.head(_SHOWN)
    if table.empty:
        return say_empty("no image is kept for tests")
    maps = {name: words for name, words in MAPS.items() if name in table}
    size = page_in() / max(len(table), 4)
    fig = new_figure(page_in(), size * (1 + len(maps)) + 0.2)
    axs = fig.subplots(1 + len(maps), len(table), squeeze=False)
    for column, row in enumerate(table.itertuples()):
        image = np.asarray(Image.open(io.BytesIO(row.png)).convert("RGB"))
        axs[0, column].imshow(image)
        words = [shorten(word, max(6, int(size / _CHARACTER_IN))) for word in row.title.split(" ", 1)]
        axs[0, column].set_title("\n".join(words), style="italic")
        for ax, name in zip(axs[1:, column], maps, strict=True):
            values = np.asarray(getattr(row, name), dtype=float)
            side = int(np.sqrt(len(values)))
            ax.imshow(image.mean(axis=2), cmap="gray", alpha=0.6)
            ax.imshow(
                np.maximum(values, 0).reshape(side, side),
                cmap="magma",
                alpha=0.6,
                extent=(-0.5, image.shape[1] - 0.5, image.shape[0] - 0.5, -0.5),
                interpolation="bilinear",
            )
    for ax in axs.flat:
        ax.set(xticks=[], yticks=[])
        ax.grid(False)
    for ax, words in zip(axs[:, 0], ("image", *maps.values()), strict=True):
        ax.set_ylabel(words)
    return fig
