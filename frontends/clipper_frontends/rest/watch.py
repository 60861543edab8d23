"""Everything that a connection may take too long for, on one lazy timer.

Making and cancelling a timer costs 2 us, which a query should not pay; here a query pays an assignment, and the timer,
when it fires, looks up what is due by then.
"""

import asyncio
import math
from typing import Protocol

from clipper_frontends.rest.limits import Limits

_MIN_INTERVAL_S = 0.05


class Watched(Protocol):
    """A connection, as its watch sees it."""

    arriving: bool
    received_body_bytes: int

    @property
    def busy(self) -> bool:
        """Whether replies are still to come from this server."""

    @property
    def reading_paused(self) -> bool:
        """Whether it is this server that does not read."""

    def on_request_overdue(self) -> None:
        """A request did not arrive in full in time."""

    def on_idle_too_long(self) -> None:
        """Nothing came since the last reply."""

    def on_client_stuck(self) -> None:
        """The client does not read its replies, or did not stop sending after a refusal."""


class Watch:
    """The due times of one connection.

    ``idle_due_s``, on the loop's clock, is set by the connection whenever everything is answered; the timer is due
    before the keep-alive time ends, and looks then.
    """

    __slots__ = ("_arrival_due_s", "_connection", "_limits", "_loop", "_stuck_due_s", "_timer", "idle_due_s")

    def __init__(self, connection: Watched, loop: asyncio.AbstractEventLoop, limits: Limits) -> None:
        self._connection = connection
        self._loop = loop
        self._limits = limits
        self._timer: asyncio.TimerHandle | None = None
        self.idle_due_s = self._arrival_due_s = self._stuck_due_s = math.inf

    def start(self) -> None:
        """A client connected; its first request has to begin within the time that a request may take."""
        now_s = self._loop.time()
        self.idle_due_s = now_s + self._limits.request_timeout_s
        self._arm(now_s + self._look_after_s())

    def stop(self) -> None:
        """The connection is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def request_incomplete(self) -> None:
        """A request has begun, and what came of it is not all."""
        self._arrival_due_s = self._loop.time() + self._limits.request_timeout_s
        self._arm(self._arrival_due_s)

    def replies_unread(self, *, unread: bool) -> None:
        """The client stopped reading, or reads again."""
        self._expect_by(self._limits.request_timeout_s if unread else math.inf)

    def lingering(self) -> None:
        """The last reply, a refusal, is sent while the client may still be sending."""
        self._expect_by(self._limits.linger_s)

    def _expect_by(self, seconds: float) -> None:
        self._stuck_due_s = self._loop.time() + seconds
        if self._stuck_due_s < math.inf:
            self._arm(self._stuck_due_s)

    def _arm(self, due_s: float) -> None:
        if self._timer is not None:
            if self._timer.when() <= due_s:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(due_s, self._check)

    def _check(self) -> None:
        self._timer = None
        connection, limits, now_s = self._connection, self._limits, self._loop.time()
        if now_s >= self._stuck_due_s:
            connection.on_client_stuck()
            return
        due_s = self._stuck_due_s
        if connection.arriving:
            arrival_due_s = self._arrival_due_s + self._extra_s()
            if now_s >= arrival_due_s:
                if not connection.reading_paused:
                    connection.on_request_overdue()
                    return
                self._arrival_due_s = arrival_due_s = now_s + limits.request_timeout_s
            due_s = min(due_s, arrival_due_s)
        elif not connection.busy:
            if now_s >= self.idle_due_s:
                connection.on_idle_too_long()
                return
            due_s = min(due_s, self.idle_due_s)
        self._arm(max(min(due_s, now_s + self._look_after_s()), now_s + _MIN_INTERVAL_S))

    def _look_after_s(self) -> float:
        """Nothing that begins now is due earlier."""
        return min(self._limits.keep_alive_s, self._limits.request_timeout_s)

    def _extra_s(self) -> float:
        """What a body has earned by arriving at a fair rate."""
        rate = self._limits.min_body_bytes_per_s
        return self._connection.received_body_bytes / rate if rate else 0.0
