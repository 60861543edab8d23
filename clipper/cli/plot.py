"""Pictures of what a policy did."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipper.cli.outcome import BadUsage

if TYPE_CHECKING:
    from clipper.evaluation import History

SUFFIXES = (".png", ".svg", ".pdf")
_SIZE_INCHES = (9.0, 6.5)
_DPI = 150


def require_matplotlib(path: Path) -> None:
    """Say what is missing before the log is read.

    Raises:
        BadUsage: The file is of no kind that can be drawn, or matplotlib is not installed.
    """
    if path.suffix not in SUFFIXES:
        raise BadUsage(f"The picture's name ends in {', '.join(SUFFIXES)}; '{path.name}' does not.")
    if find_spec("matplotlib") is None:
        raise BadUsage("A picture needs matplotlib: pip install 'clipper-serving[plot]'.")


def draw_history(history: "History", title: str, path: Path) -> None:
    """Weights above, mean losses so far below, over the feedbacks.

    Raises:
        BadUsage: The file cannot be written.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415  # an extra; pyplot would ask for a display

    figure = Figure(figsize=_SIZE_INCHES, dpi=_DPI, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    feedbacks = [point.feedbacks for point in history.points]
    for index, model in enumerate(history.models):
        above.plot(feedbacks, [point.weights[index] for point in history.points], label=model)
        below.plot(feedbacks, [_or_gap(point.losses[index]) for point in history.points], label=model)
    below.plot(feedbacks, [_or_gap(point.answered) for point in history.points], "k--", label="answers")
    above.set(title=title, ylabel="weight", ylim=(0.0, 1.02))
    below.set(xlabel="feedbacks", ylabel="mean loss so far", ylim=(0.0, None))
    for axes in (above, below):
        _make_readable(axes)
    try:
        figure.savefig(path)
    except OSError as error:
        raise BadUsage(f"'{path}' cannot be written: {error.strerror or error}.") from None


def _or_gap(value: float | None) -> float:
    return float("nan") if value is None else value


def _make_readable(axes: Any) -> None:
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
