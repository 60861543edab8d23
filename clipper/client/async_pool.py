"""Connections for queries that are kept between them, for one event loop."""

import asyncio

import httptools

from clipper.client.steps import Reply, Request
from clipper.client.wire import Broken, Place, ReplyReader, reason_of


class AsyncPool:
    """`clipper.client.blocking_pool.BlockingPool`, awaited.

    A task that is cancelled takes its query back: the connection is closed, and the server does not execute it.
    """

    def __init__(self, url: str, timeout_s: float, connect_timeout_s: float, max_connections: int) -> None:
        self.url = url
        self._place = Place.of(url)
        self._timeout_s = timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._max_connections = max_connections
        self._free = asyncio.Semaphore(max_connections)
        self._idle: list[_Connection] = []
        self._closed = False

    def close(self) -> None:
        """Close every connection that is idle now; those in use follow when they are given back."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    async def ask(self, request: Request) -> Reply:
        """The answer; asked a second time where the connection broke before it and a repeat does no harm.

        Raises:
            Unreachable: There is no server, no answer in time, or the connection broke.
        """
        deadline_s = asyncio.get_running_loop().time() + self._timeout_s
        await self._acquire(deadline_s)
        try:
            data = self._place.request(request)
            try:
                connection = self._idle_one() or await self._open(deadline_s)
                return await self._ask(connection, data, deadline_s, repeated=False)
            except Broken as broken:
                if not request.repeatable:
                    raise self._place.broke(str(broken)) from None
            try:
                return await self._ask(await self._open(deadline_s), data, deadline_s, repeated=True)
            except Broken as broken:
                raise self._place.broke(str(broken)) from None
        finally:
            self._free.release()

    async def _acquire(self, deadline_s: float) -> None:
        try:
            async with asyncio.timeout_at(deadline_s):
                await self._free.acquire()
        except TimeoutError:
            raise self._place.busy(self._max_connections) from None

    async def _ask(self, connection: "_Connection", data: bytes, deadline_s: float, *, repeated: bool) -> Reply:
        try:
            async with asyncio.timeout_at(deadline_s):
                reader = await connection.ask(data)
        except TimeoutError:
            connection.close()
            raise self._place.late() from None
        except BaseException:  # cancelled too: an answer that is not read now would be the next query's
            connection.close()
            raise
        if reader.keeps_alive and not self._closed:
            self._idle.append(connection)
        else:
            connection.close()
        return reader.reply(repeated=repeated)

    def _idle_one(self) -> "_Connection | None":
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable:
                return connection
        return None

    async def _open(self, deadline_s: float) -> "_Connection":
        place, loop = self._place, asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(min(deadline_s, loop.time() + self._connect_timeout_s)):
                _, connection = await loop.create_connection(
                    lambda: _Connection(place), place.host, place.port, ssl=place.tls
                )
        except TimeoutError:
            raise place.unreachable("it does not answer") from None
        except OSError as error:
            raise place.unreachable(reason_of(error)) from None
        return connection


class _Connection(asyncio.Protocol):
    _transport: asyncio.Transport

    def __init__(self, place: Place) -> None:
        self._place = place
        self._reader = ReplyReader()
        self._answered: asyncio.Future[ReplyReader] | None = None
        self.is_usable = True

    def close(self) -> None:
        self.is_usable = False
        self._transport.abort()

    async def ask(self, data: bytes) -> ReplyReader:
        """The whole reply to one request; raises `Broken` where there was not a byte of one, or `Unreachable`."""
        self._reader = ReplyReader()
        self._answered = asyncio.get_running_loop().create_future()
        if not self.is_usable:
            raise Broken("it was closed")
        self._transport.write(data)
        return await self._answered

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a TCP transport can write

    def data_received(self, data: bytes) -> None:
        if self._answered is None:  # out of step: nobody has asked
            self.close()
            return
        try:
            self._reader.feed(data)
        except httptools.HttpParserError as error:
            self._fail(self._place.broke(f"what came is no HTTP ({error})"))
            return
        if self._reader.complete:
            self._finish()

    def eof_received(self) -> bool:
        self.is_usable = False
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_usable = False
        if self._answered is None:
            return
        reason = "it was closed" if exc is None else reason_of(exc)
        if self._reader.end():
            self._finish()
        elif self._reader.begun:
            self._fail(self._place.broke(f"{reason} in the middle of the answer"))
        else:
            self._fail(Broken(reason))

    def _finish(self) -> None:
        answered, self._answered = self._answered, None
        if answered is not None and not answered.done():
            answered.set_result(self._reader)

    def _fail(self, error: Exception) -> None:
        answered, self._answered = self._answered, None
        if answered is not None and not answered.done():
            answered.set_exception(error)
