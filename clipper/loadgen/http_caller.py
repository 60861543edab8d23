"""Queries over a pool of HTTP connections: as many as there are queries under way, up to a limit."""

import asyncio
import contextlib
import errno
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from clipper.errors import Unreachable
from clipper.loadgen.caller import OnDone
from clipper.loadgen.dialect import HttpDialect
from clipper.loadgen.http_connection import HttpConnection
from clipper.loadgen.outcomes import CLOSED, INTERRUPTED, TIMED_OUT, UNREADABLE, Outcome
from clipper.loadgen.plan import Target

_AT_ONCE = 64
"""Connections that are being opened at a time: a server's backlog of them is not what is measured."""
_PAUSE_AFTER_FAILURE_S = 0.05
_SWEEP_S = 0.1
_CONNECT_TIMEOUT_S = 5.0


class _Waiting(NamedTuple):
    number: int
    due_s: float
    since_s: float


class HttpCaller:
    """Asks queries, each on a connection of its own while it is under way (no pipelining: clients do not)."""

    def __init__(
        self,
        target: Target,
        dialect: HttpDialect,
        max_connections: int,
        timeout_s: float,
        on_done: OnDone,
        on_waited: Callable[[float], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """A caller without connections; see `clipper.loadgen.caller` for the callbacks."""
        self._target = target
        self._dialect = dialect
        self._max_connections = max_connections
        self._timeout_s = timeout_s
        self._on_done = on_done
        self._on_waited = on_waited
        self._clock = clock
        self._open: set[HttpConnection] = set()
        self._idle: list[HttpConnection] = []
        self._waiting: deque[_Waiting] = deque()
        self._connecting: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._again: asyncio.TimerHandle | None = None
        self._closing = False
        self._all_closed = asyncio.Event()

    @property
    def connections(self) -> int:
        """Open now."""
        return len(self._open)

    @property
    def under_way(self) -> int:
        """Queries that have no outcome yet."""
        return len(self._open) - len(self._idle) + len(self._waiting)

    async def open(self) -> None:
        """Open the first connections.

        Raises:
            Unreachable: There is no server.
        """
        count = min(_AT_ONCE, self._max_connections)
        opened = await asyncio.gather(*(self._connect() for _ in range(count)), return_exceptions=True)
        for result in opened:
            if isinstance(result, HttpConnection):
                self._idle.append(result)
            elif isinstance(result, OSError):
                await self.close()
                raise Unreachable(
                    f"Cannot reach http://{self._target.address}: {_reason(result)}. Is the server up (clipper up)?"
                )
            else:
                raise result
        self._sweep()

    async def close(self) -> None:
        """Close all connections; what is under way is lost."""
        self._closing = True
        for handle in (self._sweeper, self._again):
            if handle is not None:
                handle.cancel()
        for task in self._connecting:
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        self._lose_waiting(INTERRUPTED)
        for connection in list(self._open):
            self._lose(connection, INTERRUPTED)
        while self._open:
            self._all_closed.clear()
            await self._all_closed.wait()

    def ask(self, index: int, due_s: float) -> None:
        """Send query ``index`` now, or as soon as there is a connection for it."""
        if self._idle:
            self._idle.pop().send(self._dialect.request(index), due_s)
            return
        self._waiting.append(_Waiting(index, due_s, self._clock()))
        self._grow()

    def on_reply(self, connection: HttpConnection, status: int, body: bytes) -> None:
        """`ConnectionEvents`: the connection takes the next query that waits."""
        self._end(connection, self._dialect.outcome(status, body))
        if not connection.transport.is_closing():
            self._use(connection)

    def on_unreadable(self, connection: HttpConnection) -> None:
        """`ConnectionEvents`: its query is lost."""
        self._end(connection, UNREADABLE)

    def on_closed(self, connection: HttpConnection) -> None:
        """`ConnectionEvents`: its query, if it had one, is lost."""
        self._open.discard(connection)
        self._end(connection, CLOSED)
        with contextlib.suppress(ValueError):  # it was not idle
            self._idle.remove(connection)
        self._all_closed.set()
        if self._waiting:
            self._grow()

    def _end(self, connection: HttpConnection, outcome: Outcome) -> None:
        due_s, connection.due_s = connection.due_s, None
        if due_s is not None:
            self._on_done(outcome, self._clock() - due_s)

    def _lose(self, connection: HttpConnection, outcome: Outcome) -> None:
        connection.transport.abort()
        self._end(connection, outcome)

    def _lose_waiting(self, outcome: Outcome) -> None:
        waiting, self._waiting = self._waiting, deque()
        now_s = self._clock()
        for query in waiting:
            self._on_done(outcome, now_s - query.due_s)

    def _use(self, connection: HttpConnection) -> None:
        """A connection is free: for the query that waits longest, or for those to come."""
        if self._waiting:
            number, due_s, since_s = self._waiting.popleft()
            self._on_waited(self._clock() - since_s)
            connection.send(self._dialect.request(number), due_s)
        else:
            self._idle.append(connection)

    def _grow(self) -> None:
        """Open as many connections as queries wait, within the limits."""
        if self._again is not None or self._closing:
            return
        room = min(self._max_connections - len(self._open), _AT_ONCE, len(self._waiting)) - len(self._connecting)
        for _ in range(room):
            task = asyncio.ensure_future(self._connect_for_use())
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    async def _connect_for_use(self) -> None:
        try:
            connection = await self._connect()
        except OSError as error:
            self._connect_failed(error)
        else:
            self._use(connection)

    async def _connect(self) -> HttpConnection:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            _, connection = await loop.create_connection(
                lambda: HttpConnection(self), self._target.host, self._target.port
            )
        if connection.transport.is_closing():
            raise ConnectionResetError(errno.ECONNRESET, "the connection was closed as soon as it was open")
        self._open.add(connection)
        return connection

    def _connect_failed(self, error: OSError) -> None:
        """Whoever waits gets an answer from one of the open connections; where there is none, it is lost.

        A server that is gone is asked for only so often.
        """
        if not self._open:
            self._lose_waiting(f"lost:{_failure(error)}")
        if self._again is None and not self._closing:
            self._again = asyncio.get_running_loop().call_later(_PAUSE_AFTER_FAILURE_S, self._try_again)

    def _try_again(self) -> None:
        self._again = None
        self._grow()

    def _sweep(self) -> None:
        """Give up on queries whose caller would not wait any longer."""
        oldest_s = self._clock() - self._timeout_s
        for connection in [c for c in self._open if c.due_s is not None and c.due_s < oldest_s]:
            self._lose(connection, TIMED_OUT)
        while self._waiting and self._waiting[0].due_s < oldest_s:
            self._on_done(TIMED_OUT, self._clock() - self._waiting.popleft().due_s)
        self._sweeper = asyncio.get_running_loop().call_later(_SWEEP_S, self._sweep)


def _failure(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection_refused"
    return "out_of_file_descriptors" if error.errno == errno.EMFILE else "cannot_connect"


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error or "it does not answer").lower()
