"""What a link to a replica promises to whoever uses it: the values, the events and the calls."""

from collections.abc import Sequence
from typing import Protocol

from clipper_container.wire import BatchReply, Hello, ItemError

__all__ = ["BatchReply", "Hello", "ItemError", "Link", "LinkEvents"]


class LinkEvents(Protocol):
    """Told by a link, on the event loop, what happens at its replica. None of these may raise."""

    def on_ready(self, link: "Link", /) -> None:
        """Connected, and the model is loaded and warm: ``link.hello`` is set. Comes again after each reconnect."""

    def on_reply(self, link: "Link", batch_id: int, reply: BatchReply, /) -> None:
        """The batch was executed; one output or error per row."""

    def on_refused(self, link: "Link", batch_id: int, reason: str, /) -> None:
        """The replica is draining or not ready: nothing of the batch was executed."""

    def on_draining(self, link: "Link", /) -> None:
        """Send no more; replies (or refusals) to what is outstanding still come."""

    def on_progress(self, link: "Link", state: str, detail: str, /) -> None:
        """The replica is ``loading`` or ``warming``, or has ``failed`` (``detail`` is the sentence)."""

    def on_lost(self, link: "Link", reason: str, /) -> None:
        """The connection is gone; what is outstanding gets no reply. The link redials by itself."""


class Link(Protocol):
    """One replica as a frontend sees it.

    ``hello`` is what the replica last said it serves; ``ready`` whether ``send`` is allowed now; ``problem`` says why
    there is no connection, or why the model failed.
    """

    replica_id: str
    address: str
    hello: Hello | None
    ready: bool
    problem: str | None

    @property
    def last_heard_s(self) -> float | None:
        """When bytes last came, on the link's clock; with batches outstanding, silence means busy before dead."""

    @property
    def outstanding(self) -> int:
        """Batches sent on this connection without a reply."""

    def send(self, batch_id: int, rows: Sequence[bytes], deadlines_s: Sequence[float]) -> None:
        """Sends a batch; deadlines are on the local monotonic clock, one per row. Only while ``ready``.

        A batch id is not reused while it is outstanding. A batch too large for a frame is answered by item errors.
        """

    def stop(self) -> None:
        """Asks the replica to drain and end. Without a connection it does nothing: stop its process instead."""

    def close(self) -> None:
        """Ends the link. No event comes after it."""
