"""When a connection is read: only while nothing asks for a pause."""

import asyncio
from enum import IntFlag

from uvicorn.protocols.http.flow_control import FlowControl


class Pause(IntFlag):
    """Why a connection is not read."""

    BODY = 1  # an application on the ordinary road has not taken the body yet
    PIPELINE = 2  # too many requests are under way
    UNREAD = 4  # the client does not read its replies


class ReadGate(FlowControl):
    """Uvicorn's flow control, whose two callers may not resume what the others paused."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self._reasons = Pause(0)

    def pause_reading(self) -> None:
        """Called by the ordinary road when a body piles up."""
        self.pause(Pause.BODY)

    def resume_reading(self) -> None:
        """Called by the ordinary road when the application asks for the body."""
        self.resume(Pause.BODY)

    def pause(self, reason: Pause) -> None:
        """Stop reading until ``reason`` and all others are gone."""
        self._reasons |= reason
        if not self.read_paused and not self._transport.is_closing():
            super().pause_reading()

    def resume(self, reason: Pause) -> None:
        """Read again if nothing else asks for the pause."""
        self._reasons &= ~reason
        if not self._reasons and self.read_paused and not self._transport.is_closing():
            super().resume_reading()

    def resume_for_good(self) -> None:
        """Read whatever comes, to throw it away."""
        self.resume(Pause.BODY | Pause.PIPELINE | Pause.UNREAD)

    @property
    def blocked(self) -> bool:
        """Whether requests that are here already must wait too."""
        return bool(self._reasons & (Pause.PIPELINE | Pause.UNREAD))
