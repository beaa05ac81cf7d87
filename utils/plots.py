"""One look for all figures of the course, and a way to show them that also tells their content."""

from __future__ import annotations

import base64
import io

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

COLORS: dict[str, str] = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "vermillion": "#D55E00",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
    "yellow": "#F0E442",
    "black": "#000000",
    "grey": "#8A8A8A",
}
"""Colours that people with any colour vision can tell apart (Okabe & Ito 2008), and a grey."""


def use_course_style() -> None:
    """Set matplotlib's defaults: white ground (readable on dark pages too), light grid, one palette."""
    cycle = [COLORS[c] for c in ("blue", "orange", "green", "vermillion", "purple", "sky", "black")]
    mpl.rcParams.update(
        {
            "figure.figsize": (7.0, 3.5),
            "figure.dpi": 100,
            "figure.facecolor": "white",
            "figure.constrained_layout.use": True,
            "savefig.facecolor": "white",
            "axes.facecolor": "white",
            "axes.prop_cycle": mpl.cycler(color=cycle),
            "axes.grid": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 11,
            "axes.titlelocation": "left",
            "grid.color": "#DDDDDD",
            "grid.linewidth": 0.6,
            "axes.axisbelow": True,
            "legend.frameon": False,
            "font.size": 10,
            "image.cmap": "cividis",
        }
    )


def show(alt: str, fig: Figure | None = None) -> None:
    """Show a figure in the notebook with a description, then close it.

    Args:
        alt: what the picture shows, in words, for readers who cannot see it.
        fig: the figure; the current one when left out.

    Raises:
        ValueError: ``alt`` is empty, or there is no figure to show.
    """
    from IPython.display import display

    if not alt.strip():
        raise ValueError("describe the figure in words: readers with a screen reader need it")
    if fig is None and not plt.get_fignums():
        raise ValueError("there is no figure to show")
    fig = fig or plt.gcf()
    drawn = io.BytesIO()
    fig.savefig(drawn, format="png")
    plt.close(fig)
    png = base64.b64encode(_compact(Image.open(drawn).convert("RGB"))).decode("ascii")
    display(
        {
            "image/png": png,
            "text/plain": f"Figure: {alt}",
        },
        metadata={"image/png": {"alt": alt}},
        raw=True,
    )


def _compact(picture: Image.Image) -> bytes:
    """A PNG of the picture; a large one with 256 colours, which takes a third of the space."""
    png = _png(picture)
    return png if len(png) <= 30_000 else _png(picture.quantize(256, dither=Image.Dither.NONE))


def _png(picture: Image.Image) -> bytes:
    """Nothing but pixels goes into the file: the same figure gives the same bytes."""
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return file.getvalue()
