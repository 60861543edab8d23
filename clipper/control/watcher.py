"""The controller's ear at each replica."""

from collections.abc import Callable
from typing import Protocol

from clipper.control.slots import Slot, became_ready, lost, progressed
from clipper.rpc.contract import BatchReply, Link


class Watching(Protocol):
    """Who is told: the controller."""

    def news(self, replica_id: str, transition: Callable[[Slot], Slot]) -> None:
        """Something came over a replica's link."""

    def now_s(self) -> float:
        """The time, on a monotonic clock."""

    def mismatch(self, link: Link) -> str | None:
        """Why what is behind the link is not what should be there; None: it is."""


class Watcher:
    """The controller's ear at one replica; it never sends batches."""

    def __init__(self, controller: Watching) -> None:
        self._controller = controller

    def on_ready(self, link: Link) -> None:
        """It serves, if it is what it should be."""
        wrong = self._controller.mismatch(link)
        if wrong is not None:
            self.on_progress(link, "failed", wrong)
            return
        width = link.hello.input_width if link.hello is not None else None
        self._controller.news(link.replica_id, lambda slot: became_ready(slot, width, self._controller.now_s()))

    def on_progress(self, link: Link, state: str, detail: str) -> None:
        """It loads, warms or has failed."""
        self._controller.news(link.replica_id, lambda slot: progressed(slot, state, detail, self._controller.now_s()))

    def on_draining(self, link: Link) -> None:
        """It takes no more work."""
        self._controller.news(link.replica_id, lambda slot: lost(slot, self._controller.now_s()))

    def on_lost(self, link: Link, _reason: str) -> None:
        """It is out of reach."""
        self._controller.news(link.replica_id, lambda slot: lost(slot, self._controller.now_s()))

    def on_reply(self, _link: Link, _batch_id: int, _reply: BatchReply) -> None:
        """Never comes."""
        raise AssertionError("the controller sends no batches")

    def on_refused(self, _link: Link, _batch_id: int, _reason: str) -> None:
        """Never comes."""
        raise AssertionError("the controller sends no batches")
