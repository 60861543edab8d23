"""The pictures beside the tables: one look, one place."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from table import RESULTS

_DPI = 150
_PANEL_INCHES = (6.4, 4.2)


def panels(count: int = 1, title: str | None = None) -> tuple[Figure, list[Any]]:
    """A figure with so many axes side by side."""
    figure = Figure(figsize=(_PANEL_INCHES[0] * count, _PANEL_INCHES[1]), dpi=_DPI, layout="constrained")
    axes = list(figure.subplots(1, count, squeeze=False)[0])
    for one in axes:
        one.grid(alpha=0.3)
        one.spines[["top", "right"]].set_visible(False)
    if title is not None:
        figure.suptitle(title)
    return figure, axes


def save_picture(name: str, figure: Figure) -> Path:
    """Write ``results/<name>.png``."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.png"
    figure.savefig(path)
    return path
