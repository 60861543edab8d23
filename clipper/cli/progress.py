"""How far a deployment is, on standard error: a spinner for people, a line for each stage in a log."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.filesize import decimal
from rich.status import Status

from clipper.client import DeployProgress

_WORDS = {
    "packaging": "packaging",
    "registered": "waiting for the controller",
    "starting": "starting",
    "warming": "warming up",
    "ready": "ready",
}


@contextmanager
def watching(name: str) -> Iterator[Callable[[DeployProgress], None]]:
    """Something to tell the progress of the deployment of ``name`` to."""
    console = Console(stderr=True, highlight=False)
    if console.is_terminal:
        with console.status(f"{name}: ...") as spinner:
            yield _Spinner(name, spinner)
    else:
        yield _Lines(name, console)


class _Spinner:
    def __init__(self, name: str, status: Status) -> None:
        self._name = name
        self._status = status

    def __call__(self, progress: DeployProgress) -> None:
        self._status.update(f"{self._name}: {_sentence(progress)}")


class _Lines:
    """One line when the stage changes, or what is done in it."""

    def __init__(self, name: str, console: Console) -> None:
        self._name = name
        self._console = console
        self._shown = ("", "")

    def __call__(self, progress: DeployProgress) -> None:
        shown = (progress.stage, progress.detail or "")
        if shown != self._shown:
            self._shown = shown
            detail = f" ({progress.detail})" if progress.detail else ""
            self._console.print(f"{self._name}: {_stage(progress)}{detail}", soft_wrap=True, markup=False)


def _stage(progress: DeployProgress) -> str:
    if progress.stage == "uploading":
        return f"uploading {decimal(progress.total_bytes)}"
    return _WORDS.get(progress.stage, progress.stage)


def _sentence(progress: DeployProgress) -> str:
    if progress.stage == "uploading":
        return f"uploading {decimal(progress.sent_bytes)} of {decimal(progress.total_bytes)}"
    return _stage(progress) + (f" ({progress.detail})" if progress.detail else "")
