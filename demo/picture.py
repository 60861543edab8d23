"""What the demo of selection draws: who was wrong when, and whom feedback made answer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from clipper.evaluation import History

Errors = Mapping[str, tuple[Sequence[float], Sequence[float]]]
"""Application -> (seconds since the start, 1.0 where the answer was wrong)."""

_WINDOW_QUERIES = 300
_SIZE_INCHES = (9.0, 8.0)
_DPI = 150


def draw(
    path: Path, errors: Errors, histories: Mapping[str, History], started_at: float, broken_s: tuple[float, float]
) -> None:
    """Write the picture: the error lately of each application, and the weights of those that learn."""
    figure = Figure(figsize=_SIZE_INCHES, dpi=_DPI, layout="constrained")
    axes = figure.subplots(1 + len(histories), 1, sharex=True)
    _draw_errors(axes[0], errors)
    for below, (application, history) in zip(axes[1:], histories.items(), strict=True):
        _draw_weights(below, application, history, started_at)
    axes[-1].set_xlabel("seconds")
    for one in axes:
        one.axvspan(*broken_s, color="black", alpha=0.06)
        one.grid(alpha=0.3)
        one.spines[["top", "right"]].set_visible(False)
        one.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    figure.savefig(path)


def _draw_errors(axes: Any, errors: Errors) -> None:
    for application, (due_s, wrong) in errors.items():
        lately = np.convolve(wrong, np.ones(_WINDOW_QUERIES) / _WINDOW_QUERIES, mode="valid")
        axes.plot(due_s[_WINDOW_QUERIES - 1 :], lately, label=application)
    axes.set(title="In the shaded time the best model is broken", ylabel=f"error, last {_WINDOW_QUERIES}")


def _draw_weights(axes: Any, application: str, history: History, started_at: float) -> None:
    seconds = [point.accepted_at - started_at for point in history.points]
    for index, model in enumerate(history.models):
        axes.plot(seconds, [point.weights[index] for point in history.points], label=model)
    axes.set(ylabel=f"{application}: weight", ylim=(0.0, 1.02))
